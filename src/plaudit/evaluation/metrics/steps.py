"""Metrics of step labels: each step right or wrong, where the first error of a chain is, and whole responses.

The metrics of the first error are defined as ProcessBench does.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from plaudit.evaluation.metrics.metric_set import (
    ONLY_WITHIN_GROUPS,
    MetricSet,
    Status,
    in_first_half,
    label_counts,
    scored_with_prompts,
)
from plaudit.evaluation.metrics.reward_scale import Threshold, right_threshold
from plaudit.records import ItemScore
from plaudit.statistics.classification import best_threshold, chain_table, f1_score, harmonic_mean
from plaudit.statistics.intervals import Floats, proportion_interval
from plaudit.statistics.metric import (
    PromptSums,
    RowStatistic,
    TotalsFormula,
    Unsettled,
    harmonic,
    ratio,
)
from plaudit.statistics.steps import first_error

Verdicts = tuple[bool | None, ...]
"""For each step of a response whether its label holds it to be right; None where it says nothing."""

_NO_CHAINS = "there is no chain whose first error is certain"
_NOT_BOTH = "F1 needs chains with an error and chains without"
_TWO_CLASSES = "a label above 0.5 is a right step, below it a wrong one, and 0.5 or null says nothing"
_THREE_CLASSES = "a label below 0 is a wrong step, 0 (neutral) and above a right one, and null says nothing"


@dataclass(frozen=True, slots=True)
class Chain:
    """One response whose steps are labelled: verdicts, rewards of steps where the model gives them, its own reward."""

    verdicts: Verdicts
    steps: tuple[float, ...]
    reward: float | None
    length: int
    prompt: int
    key: str

    @property
    def first_error(self) -> int | None:
        """Return the first step that is wrong, or None where none is."""
        return self.verdicts.index(False) if False in self.verdicts else None

    @property
    def is_clear(self) -> bool:
        """Return whether the first error, or that there is none, is certain: no step before it is without a label."""
        return None not in self.verdicts[: self.first_error]


def labels_have_three_classes(items: Iterable[ItemScore]) -> bool:
    """Return whether some step label of ``items`` is below 0, so that 0 is neutral and not wrong."""
    return any(
        label is not None and label < 0.0
        for item in items
        for labels in item.step_labels or ()
        for label in labels or ()
    )


def reads_steps(items: Iterable[ItemScore]) -> bool:
    """Return whether the model that gave the rewards of ``items`` gives them to single steps.

    A model that judges a response as a whole gives it one step reward, however many labelled steps it has.
    """
    counts = [
        (len(labels), len(steps))
        for item in items
        for labels, steps in zip(item.step_labels or (), item.steps or (), strict=False)
        if labels and steps is not None
    ]
    of_several = [given == labelled for labelled, given in counts if labelled > 1]
    return any(of_several) if of_several else bool(counts)


def _step_status(item: ItemScore, *, three_classes: bool, by_step: bool) -> Status:
    """Return the status of ``item``.

    Absent where no step has a label, unscored where no label says right or wrong, failed where every labelled response
    lacks the reward of a step (``by_step``), or its own where the model gives none to steps. A chain is compared with
    no other one of its group, so those that have their rewards are kept where another lacks them.
    """
    if not any(label is not None for labels in item.step_labels or () for label in labels or ()):
        return "absent"
    labelled = _labelled(item, three_classes)
    if not labelled:
        return "unscored"
    return "scored" if any(step_is_rewarded(item, k, by_step) for k in labelled) else "failed"


def step_metrics(
    items: Sequence[ItemScore], *, three_classes: bool, by_step: bool, relative: bool = False
) -> MetricSet:
    """Return how well the rewards of steps agree with their labels; steps without a label carry nothing.

    - ``step_auc`` (the primary metric): probability that a right step has a higher reward than a wrong one; beside it
      the earlier step;
    - ``step_accuracy``: right or wrong by a threshold (see ``right_threshold``); ``step_error_f1``: F1 of wrong steps;
    - ``first_error_…``: see ``_put_first_error``;
    - ``response_auc``: probability that the reward of a chain without an error is higher than of one with an error;
      beside it the length. It is there for models that give no rewards to steps too, but not for ``relative``
      rewards, which are numbers of their group.

    Chains without rewards are counted and left out. A step that several responses of a group share counts in each of
    them. Intervals are over prompts.
    """
    statuses = [_step_status(item, three_classes=three_classes, by_step=by_step) for item in items]
    chains = [
        chain
        for item, prompt in scored_with_prompts(items, statuses)
        for chain in _chains(item, prompt, three_classes=three_classes, by_step=by_step)
    ]
    clear = [chain for chain in chains if chain.is_clear]
    found = MetricSet("step", "step_auc" if by_step else "response_auc", label_counts(statuses), statuses=statuses)
    found.rules = {"labels": _THREE_CLASSES if three_classes else _TWO_CLASSES}
    found.details = _details(chains, clear)
    found.details["chains_not_scored"] = sum(len(_labelled(item, three_classes)) for item in items) - len(chains)
    if by_step:
        cut = right_threshold(np.array([reward for chain in chains for reward in chain.steps]), name="step reward")
        found.rules["threshold"] = cut.rule
        _put_steps(found, chains, cut)
        _put_first_error(found, clear, cut.value)
    else:
        why = "the model gives no rewards to steps"
        found.absent |= dict.fromkeys(("step_auc", "step_accuracy", "step_error_f1", "first_error_f1"), why)
    if relative:
        found.absent["response_auc"] = ONLY_WITHIN_GROUPS
    else:
        _put_responses(found, clear)
    return found


def _put_steps(found: MetricSet, chains: Sequence[Chain], cut: Threshold) -> None:
    rows = [
        (reward, verdict, place, chain.prompt)
        for chain in chains
        for place, (reward, verdict) in enumerate(zip(chain.steps, chain.verdicts, strict=True))
        if verdict is not None
    ]
    rewards, places = (np.array([row[side] for row in rows], dtype=float) for side in (0, 2))
    right = np.array([row[1] for row in rows], dtype=bool)
    prompts = np.array([row[3] for row in rows], dtype=int)
    why = "no step was scored" if not len(rows) else f"every step is {'right' if right.all() else 'wrong'}"
    found.put_auc("step_auc", rewards, right, prompts, why, earlier_step=-places)
    if cut.reason is not None or not len(rows):
        found.absent |= dict.fromkeys(("step_accuracy", "step_error_f1"), cut.reason or why)
        return
    passed = rewards >= cut.value
    found.put_mean("step_accuracy", passed == right, prompts, why, {"always_right": right, "always_wrong": ~right})
    found.put(
        "step_error_f1",
        _f1(~passed, ~right, prompts),
        "in most resamples of the prompts no step is wrong or taken for wrong, or there is one prompt",
    )
    if not right.all():
        found.beside("step_error_f1", always_wrong=_f1(np.ones_like(right), ~right, prompts))


def _f1(taken: np.ndarray, wrong: np.ndarray, prompts: np.ndarray) -> RowStatistic:
    """Return F1 of the steps ``taken`` for wrong.

    Where all resamples agree, as where none is taken, they cannot tell how far the truth may lie from it. With J the
    proportion of the steps that are both taken and wrong among those that are either, F1 = 2J ÷ (1 + J): its ends are
    then made of those of J.
    """
    either = taken | wrong

    def agreed(confidence: float) -> tuple[float, float, str] | None:
        both = proportion_interval((taken & wrong)[either], prompts[either], confidence=confidence)
        if both is None:
            return None
        low, high = (2 * end / (1 + end) for end in (both.low, both.high))
        return low, high, f"{both.method}, of the intersection"

    return RowStatistic(lambda rows: f1_score(taken[rows], wrong[rows]), prompts, agreed=agreed)


def _put_first_error(found: MetricSet, chains: Sequence[Chain], threshold: float) -> None:
    """Put how exactly the first error of chains is located, and the rule of the tuned threshold.

    The prediction is the first step whose reward is below the threshold, or "no error".

    - ``first_error_accuracy``: proportion of all chains whose first error, or that there is none, is predicted exactly;
    - ``first_error_accuracy_erroneous``, ``first_error_accuracy_correct``: over chains with an error, and without;
    - ``first_error_f1``: the harmonic mean of these two;
    - ``first_error_f1_tuned``, ``first_error_accuracy_tuned``: at the threshold with the highest F1 on the chains of
      half of the prompts (see ``in_first_half``), measured on the others. Beside it the fixed threshold there.

    Baselines are constant predictions: "no error", the first step, and the commonest place of the first error.

    Source: Zheng et al. (2024), ProcessBench, arXiv 2412.06559.
    """
    predicted = [first_error(chain.steps, threshold=threshold) for chain in chains]
    _put_located(found, "", chains, predicted, _constants(chains))
    chosen_on = np.array([in_first_half(chain.key) for chain in chains], dtype=bool)
    table = chain_table([chain.steps for chain in chains], [chain.first_error for chain in chains])
    tuned = best_threshold(table.where(chosen_on), default=threshold)
    if tuned is None:
        why = f"no threshold can be chosen: {_NOT_BOTH}, in the half it is chosen on"
        found.absent |= dict.fromkeys(("first_error_f1_tuned", "first_error_accuracy_tuned"), why)
        return
    kept = np.flatnonzero(~chosen_on).tolist()
    rest = [chains[k] for k in kept]
    rules = {"fixed_threshold": [predicted[k] for k in kept]} | _constants(rest)
    at_tuned = [first_error(chain.steps, threshold=tuned) for chain in rest]
    _put_located(found, "_tuned", rest, at_tuned, rules)
    found.rules["tuned_threshold"] = (
        f"{tuned:.6g}, chosen for the highest F1 on the {int(chosen_on.sum())} chains of half of the prompts, picked "
        f"by a hash; figures that end in _tuned are of the {len(rest)} other chains"
    )


def _constants(chains: Sequence[Chain]) -> dict[str, list[int | None]]:
    places = Counter(chain.first_error for chain in chains if chain.first_error is not None)
    rules: dict[str, int | None] = {"no_error": None, "first_step": 0}
    if places:
        rules["commonest_place"] = max(places, key=lambda place: (places[place], -place))
    return {rule: [place] * len(chains) for rule, place in rules.items()}


def _put_located(
    found: MetricSet,
    ending: str,
    chains: Sequence[Chain],
    predicted: Sequence[int | None],
    rules: dict[str, list[int | None]],
) -> None:
    """Put the metrics of ``predicted`` beside those of ``rules``; of a tuned threshold, over all chains and F1 only."""
    errors = [chain.first_error for chain in chains]
    has_error = np.array([error is not None for error in errors], dtype=bool)
    prompts = np.array([chain.prompt for chain in chains], dtype=int)
    right, *beside = (
        np.array([place == error for place, error in zip(places, errors, strict=True)], dtype=float)
        for places in (predicted, *rules.values())
    )
    parts = {"first_error_accuracy": (np.ones_like(has_error), _NO_CHAINS)}
    if not ending:
        parts["first_error_accuracy_erroneous"] = (has_error, "no chain has an error")
        parts["first_error_accuracy_correct"] = (~has_error, "every chain has an error")
    for name, (rows, why) in parts.items():
        of_rules = {rule: each[rows] for rule, each in zip(rules, beside, strict=True)}
        found.put_mean(name + ending, right[rows], prompts[rows], why, of_rules)
    f1 = [_first_error_f1(each, has_error, prompts) for each in (right, *beside)]
    found.put("first_error_f1" + ending, f1[0], _NOT_BOTH)
    found.beside("first_error_f1" + ending, **dict(zip(rules, f1[1:], strict=True)))


def _first_error_f1(right: np.ndarray, has_error: np.ndarray, prompts: np.ndarray) -> TotalsFormula | None:
    """Return F1 of the first error; None unless there are chains of both kinds.

    Where all resamples agree, or most lack a kind, its ends are made of those of the two accuracies.
    """
    if not has_error.any() or has_error.all():
        return None

    def ends(_: Unsettled, confidence: float) -> tuple[float, float, str]:
        parts = [
            proportion_interval(right[rows], prompts[rows], confidence=confidence) for rows in (has_error, ~has_error)
        ]
        low, high = (harmonic_mean(*(getattr(part, end) for part in parts)) for end in ("low", "high"))
        return low, high, "ends of the two accuracies"

    kinds = {"erroneous": has_error, "correct": ~has_error}
    columns = {
        f"{kind} {of}": part * (right if of == "right" else 1.0)
        for kind, part in kinds.items()
        for of in ("right", "n")
    }
    sums = PromptSums.of_rows(columns, prompts.tolist())
    return TotalsFormula(sums, _harmonic_accuracies, len(right), unsettled=ends, drawn="one by one")


def _harmonic_accuracies(totals: Floats) -> Floats:
    return harmonic(ratio(totals[:, 0], totals[:, 1]), ratio(totals[:, 2], totals[:, 3]))


def _put_responses(found: MetricSet, clear: Sequence[Chain]) -> None:
    rewarded = [chain for chain in clear if chain.reward is not None]
    rewards = np.array([chain.reward for chain in rewarded], dtype=float)
    lengths = np.array([chain.length for chain in rewarded], dtype=float)
    right = np.array([chain.first_error is None for chain in rewarded], dtype=bool)
    prompts = np.array([chain.prompt for chain in rewarded], dtype=int)
    every = "no chain has an error" if right.all() else "every chain has an error"
    why = every if len(right) else "no chain has a certain first error and a reward"
    found.put_auc("response_auc", rewards, right, prompts, why, longer_response=lengths)


def _details(chains: Sequence[Chain], clear: Sequence[Chain]) -> dict[str, int]:
    verdicts = [verdict for chain in chains for verdict in chain.verdicts]
    return {
        "steps": len(verdicts),
        "right_steps": verdicts.count(True),
        "wrong_steps": verdicts.count(False),
        "unlabelled_steps": verdicts.count(None),
        "chains": len(chains),
        "chains_without_an_error": sum(chain.first_error is None for chain in clear),
        "chains_with_an_error": sum(chain.first_error is not None for chain in clear),
        "chains_of_uncertain_first_error": len(chains) - len(clear),
        "chains_without_a_reward_of_their_own": sum(chain.reward is None for chain in clear),
    }


def _verdicts(labels: Sequence[float | None], three_classes: bool) -> Verdicts:
    if three_classes:
        return tuple(None if label is None else label >= 0.0 for label in labels)
    return tuple(None if label is None or label == 0.5 else label > 0.5 for label in labels)


def _labelled(item: ItemScore, three_classes: bool) -> list[int]:
    return [
        k
        for k, labels in enumerate(item.step_labels or ())
        if any(verdict is not None for verdict in _verdicts(labels or (), three_classes))
    ]


def step_is_rewarded(item: ItemScore, k: int, by_step: bool) -> bool:
    """Return whether response ``k`` has the rewards of all its steps (``by_step``), or else its own."""
    if not by_step:
        return item.rewards[k] is not None
    steps = None if item.steps is None else item.steps[k]
    labels = (item.step_labels or ())[k] or ()
    return steps is not None and len(steps) == len(labels) and None not in steps


def _chains(item: ItemScore, prompt: int, *, three_classes: bool, by_step: bool) -> list[Chain]:
    labels, steps = item.step_labels or (), item.steps or (None,) * len(item.rewards)
    return [
        Chain(
            verdicts=_verdicts(labels[k] or (), three_classes),
            steps=tuple(math.nan if reward is None else reward for reward in steps[k] or ()) if by_step else (),
            reward=item.rewards[k],
            length=item.lengths[k],
            prompt=prompt,
            key=item.prompt_key,
        )
        for k in _labelled(item, three_classes)
        if step_is_rewarded(item, k, by_step)
    ]
