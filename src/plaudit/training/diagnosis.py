"""Signs that a run which ended learned little, in its metrics and held-out result, each with one thing to try."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from plaudit.objectives.config import BradleyTerry
from plaudit.records import ItemScore, Result
from plaudit.training.config import TrainConfig

FEW_STEPS = 50
"""Optimiser steps below which a run hardly learns anything, with a warm-up and a decay inside them."""
_CHANCE = math.log(2)
"""Loss of a model that finds the two responses of every pair equally good: −log σ(0)."""
_LEARNED = 0.02
"""Fall of the loss below ln 2 that counts as learning; the mean loss of 100 pairs near chance moves by about 0.01."""
_EXPLODED = 1.5
"""A loss of so many times that at the start, or at chance, was thrown up by steps that are too long."""
_GAP = 0.15
"""Lead of the training accuracy over the held-out one that counts as over-fitting where the loss has risen too."""
_NO_SPREAD = 0.01
"""Median range of the rewards of one prompt, in log-odds, below which all its responses are rewarded alike."""

Row = Mapping[str, float]


def steps_in_words(steps: int, config: TrainConfig) -> str:
    """Return the length of a run, before it begins; of a short one how to make it longer."""
    words = f"{steps:,} {'step' if steps == 1 else 'steps'} in all, of {config.step.groups_per_step} groups"
    if steps >= FEW_STEPS:
        return words
    return f"{words}: few to learn from; lower step.groups_per_step, or raise step.epochs"


def diagnosis(
    rows: Sequence[Row], config: TrainConfig, result: Result | None = None, items: Iterable[ItemScore] = ()
) -> list[str]:
    """Return each sign of a run that failed, as a sentence with one thing to try; none where nothing is wrong.

    ``rows`` are those of ``metrics.jsonl``, ``result`` and ``items`` the evaluation on the held-out groups.
    """
    found = [*_of_loss(rows, config), *_of_fit(rows, config)]
    return [*found, *_of_spread(items, config), *_of_length(result)]


def _of_loss(rows: Sequence[Row], config: TrainConfig) -> Iterator[str]:
    loss, lr = _column(rows, "train/rm/loss"), config.optim.lr
    if len(loss) == 0:
        return
    late, start = _late(loss), max(loss[0], _CHANCE)
    highest = float(max(loss))
    if highest > _EXPLODED * start:
        yield (
            f"the learning rate: the loss rose from {loss[0]:.3f} to {highest:.3f} on the way, so the steps were too "
            f"long; try optim.lr={lr / 10:.1g}"
        )
    elif isinstance(config.objective, BradleyTerry) and late > _CHANCE - _LEARNED:
        trial = lr / 10 if late > _CHANCE + _LEARNED else lr * 3
        yield (
            f"the training loss is still ln 2: it ended at {late:.3f}, and a model that has learned nothing has 0.693; "
            f"try optim.lr={trial:.1g}"
        )


def _of_fit(rows: Sequence[Row], config: TrainConfig) -> Iterator[str]:
    accuracy = _column(rows, "train/rm/accuracy")
    held_out, held_out_loss = _column(rows, "eval/rm/accuracy"), _column(rows, "eval/rm/loss")
    if len(held_out) == 0 or len(accuracy) == 0 or len(held_out_loss) == 0:
        return
    seen, loss = _late(accuracy), held_out_loss[-1]
    if seen - held_out[-1] > _GAP and (loss > 1.05 * min(held_out_loss) or loss > _CHANCE):
        fewer = f"step.epochs={config.step.epochs / 2:g}" if config.step.max_steps is None else "fewer step.max_steps"
        yield (
            f"over-fitting: accuracy {seen:.1%} on the training groups and {held_out[-1]:.1%} on those held out, whose "
            f"loss is {loss:.3f}; try {fewer}"
        )


def _of_spread(items: Iterable[ItemScore], config: TrainConfig) -> Iterator[str]:
    ranges = [max(known) - min(known) for item in items if len(known := [x for x in item.rewards if x is not None]) > 1]
    spread = float(np.median(ranges)) if ranges else math.inf
    if config.objective.reward_scale in ("log_odds_differences", "log_odds_values") and spread < _NO_SPREAD:
        yield (
            f"the rewards have no spread: those of one held-out prompt lie {spread:.1g} apart (median), so all of its "
            "responses count alike; try plaudit data audit --max-length, which tells whether they are equal where they "
            "are cut"
        )


def _of_length(result: Result | None) -> Iterator[str]:
    found = None if result is None else result.preference
    if found is None or "accuracy" not in found.metrics:
        return
    ours, longer = found.metrics["accuracy"], found.baselines.get("accuracy", {}).get("longer_response")
    if longer is not None and ours.value <= longer.value:
        yield (
            f"held-out accuracy is {ours.value:.1%}, and always taking the longer response would get "
            f"{longer.value:.1%}: nothing shows that more than length was learned; try plaudit data audit on the "
            "training data"
        )


def _late(values: np.ndarray) -> float:
    """Return the mean of the last quarter."""
    return float(np.mean(values[-max(1, len(values) // 4) :]))


def _column(rows: Sequence[Row], name: str) -> np.ndarray:
    return np.array([row[name] for row in rows if name in row], dtype=np.float64)
