"""Two models by step labels: each step right or wrong, where the first error is, and the areas under their curves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from plaudit.evaluation.compare.benchmark import Asked, Figures, Terms, compared
from plaudit.evaluation.compare.paired_metrics import Pairing
from plaudit.evaluation.compare.records import LeftOut
from plaudit.evaluation.metrics.pooled import harmonic, ratio
from plaudit.evaluation.metrics.step import labels_have_three_classes, measure_steps, reads_steps
from plaudit.evaluation.metrics.traced import Drawn, Floats, Made, Traced, Tracing, table_of_entries
from plaudit.records import Interval, ItemScore, Measure
from plaudit.statistics.classification import auc

_Ranked = tuple[float, bool, str]
"""A reward, whether what has it is right, and its prompt."""

_TIES = "a step whose reward is at the threshold is right; equal rewards of a right and a wrong step count ½ in an area"


def compare_steps(
    first: Sequence[ItemScore],
    second: Sequence[ItemScore],
    pairing: Pairing,
    *,
    models: tuple[str, str],
    alpha: float,
    left_out: LeftOut,
) -> Figures:
    """Return the figures of step labels of two models on the same items, each with its paired difference and test.

    The figures are those of ``measure_steps``. Responses that only one of the models gave all their rewards are left
    out for both, and counted. ``first_error_f1`` is tested as a formula of the two accuracies that it is made of.
    """
    three_classes = labels_have_three_classes(first)
    reads = [reads_steps(items) for items in (first, second)]
    lacking = [_lacking(items, by_step) for items, by_step in zip((first, second), reads, strict=True)]
    one_only = [ours ^ theirs for ours, theirs in zip(*lacking, strict=True)]
    sides = [[_without(*each) for each in zip(items, one_only, strict=True)] for items in (first, second)]
    measures = [
        measure_steps(items, three_classes=three_classes, by_step=by_step, estimate=Tracing.new())
        for items, by_step in zip(sides, reads, strict=True)
    ]
    figures = [
        dict(measure.figures)
        | _first_error_f1(measure)
        | _areas(items, measure, three_classes=three_classes, by_step=by_step)
        for measure, items, by_step in zip(measures, sides, reads, strict=True)
    ]
    names = dict.fromkeys([*figures[0], *figures[1]])
    asked = [
        Asked("steps", name, figures[0].get(name), figures[1].get(name), _absent(measures, name)) for name in names
    ]
    lost = left_out.model_copy(update={"unmade": sum(map(len, one_only))})
    return compared(asked, pairing, Terms("step", models, alpha, _TIES, lost))


def _absent(measures: Sequence[Measure], name: str) -> str:
    return next((measure.absent[name] for measure in measures if name in measure.absent), "")


def _lacking(items: Sequence[ItemScore], by_step: bool) -> list[set[int]]:
    """Return for each item the labelled responses without the reward of each step, or without their own."""
    return [
        {k for k, labels in enumerate(item.step_labels or ()) if labels and not _is_rewarded(item, k, by_step)}
        for item in items
    ]


def _is_rewarded(item: ItemScore, k: int, by_step: bool) -> bool:
    if not by_step:
        return item.rewards[k] is not None
    steps = None if item.steps is None else item.steps[k]
    return steps is not None and len(steps) == len((item.step_labels or ())[k] or ()) and None not in steps


def _without(item: ItemScore, responses: set[int]) -> ItemScore:
    """Return the item as if the model had given no reward to ``responses`` or to any of their steps."""
    if not responses:
        return item
    rewards = tuple(None if k in responses else reward for k, reward in enumerate(item.rewards))
    steps = item.steps and tuple(None if k in responses else each for k, each in enumerate(item.steps))
    return item.model_copy(update={"rewards": rewards, "steps": steps})


def _first_error_f1(measure: Measure) -> dict[str, Interval]:
    """Return F1 of the first error as a formula of totals; none where one of its accuracies has no value."""
    value = measure.figures.get("first_error_f1")
    parts = [measure.figures.get(f"first_error_accuracy_{kind}") for kind in ("erroneous", "correct")]
    origins = [part.origin for part in parts if isinstance(part, Traced)]
    tables = [origin.table for origin in origins if isinstance(origin, Made)]
    if value is None or len(tables) < 2:
        return {}
    entries = [table.sums.tocoo() for table in tables]
    columns = tuple(f"{kind} {name}" for kind, table in zip("ec", tables, strict=True) for name in table.columns)
    table = table_of_entries(
        np.concatenate([each.data for each in entries]),
        np.concatenate([each.col + 2 * number for number, each in enumerate(entries)]).astype(np.int64),
        columns,
        [table.prompts[row] for table, each in zip(tables, entries, strict=True) for row in each.row.tolist()],
    )
    return {"first_error_f1": Traced.of(value.value, value.n, Made(table, _harmonic, is_share=False))}


def _harmonic(totals: Floats) -> Floats:
    erroneous, correct = ratio(totals[:, 0], totals[:, 1]), ratio(totals[:, 2], totals[:, 3])
    return harmonic(erroneous, correct)


def _areas(items: Sequence[ItemScore], measure: Measure, *, three_classes: bool, by_step: bool) -> dict[str, Interval]:
    """Return the areas that the measure has as statistics of rewards, of steps and of whole responses."""
    steps: list[_Ranked] = []
    responses: list[_Ranked] = []
    for item in items:
        for k, labels in enumerate(item.step_labels or ()):
            verdicts = [_verdict(label, three_classes) for label in labels or ()]
            if not any(verdict is not None for verdict in verdicts) or not _is_rewarded(item, k, by_step):
                continue
            rewards = item.steps[k] or () if by_step and item.steps is not None else ()
            steps += [
                (reward, verdict, item.prompt_key)
                for reward, verdict in zip(rewards, verdicts, strict=False)
                if reward is not None and verdict is not None
            ]
            reward, first = item.rewards[k], verdicts.index(False) if False in verdicts else None
            if reward is not None and None not in verdicts[:first]:
                responses.append((reward, first is None, item.prompt_key))
    found = {"step_auc": steps, "response_auc": responses}
    return {
        name: Traced.of(figure.value, figure.n, _area(rows))
        for name, rows in found.items()
        if (figure := measure.figures.get(name)) is not None
    }


def _verdict(label: float | None, three_classes: bool) -> bool | None:
    if label is None or (label == 0.5 and not three_classes):
        return None
    return label >= 0.0 if three_classes else label > 0.5


def _area(rows: Sequence[_Ranked]) -> Drawn:
    rewards = np.array([reward for reward, _, _ in rows], dtype=float)
    right = np.array([verdict for _, verdict, _ in rows], dtype=bool)
    return Drawn(tuple(prompt for _, _, prompt in rows), lambda chosen: auc(rewards[chosen], right[chosen]))
