"""Metrics of step labels: each step right or wrong, where the first error of a chain is, and whole responses.

The metrics of the first error are defined as ProcessBench does.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from plaudit.data.schema.group import THREE_CLASSES, TWO_CLASSES
from plaudit.evaluation.metrics.metric_set import (
    ONLY_WITHIN_GROUPS,
    MetricSet,
    Status,
    in_first_half,
    label_counts,
    scored_with_prompts,
)
from plaudit.evaluation.metrics.reward_scale import Threshold, step_threshold
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
from plaudit.statistics.steps import first_error, wrong_below

Verdicts = tuple[bool | None, ...]
"""For each step of a response whether its label holds it to be right; None where it says nothing."""

_NO_CHAINS = "there is no chain whose first error is certain"
_NOT_BOTH = "F1 needs chains with an error and chains without"


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


@dataclass(frozen=True, slots=True)
class StepClasses:
    """The classes of the step labels of items that do not state them."""

    unstated: tuple[float, ...]
    """Values of the classes, ascending; the lowest is wrong."""
    words: str = ""
    """How they were found; empty where every item states its own."""
    is_known: bool = True
    """False where 0 may be wrong or neutral."""

    def of(self, item: ItemScore) -> tuple[float, ...]:
        """Return the classes of the labels of ``item``."""
        return self.unstated if item.step_classes is None else item.step_classes


def step_classes(items: Iterable[ItemScore]) -> StepClasses:
    """Return the classes of step labels of which the data do not state them.

    Where no such label is below 0 they are 0 and 1; where each item has one below 0, or no label near 0, they are −1, 0
    and 1. Else the items without a negative label may be of either kind, and their zeros wrong or neutral.
    """
    unstated = [
        [label for labels in item.step_labels or () for label in labels or () if label is not None]
        for item in items
        if item.step_classes is None
    ]
    unstated = [labels for labels in unstated if labels]
    if not unstated:
        return StepClasses(TWO_CLASSES)
    negative = [min(labels) < 0.0 for labels in unstated]
    if not any(negative):
        return StepClasses(TWO_CLASSES, "the data do not state the classes; no label is below 0, so 0 is read as wrong")
    unclear = sum(
        not has_negative and any(label <= 0.5 for label in labels)
        for has_negative, labels in zip(negative, unstated, strict=True)
    )
    if unclear:
        return StepClasses(
            THREE_CLASSES,
            f"steps of {unclear} items are labelled 0, those of {sum(negative)} others below 0, so 0 may be wrong or "
            "neutral: state step_classes ([0, 1] or [-1, 0, 1]) in the rows, in the config, or with --step-classes",
            is_known=False,
        )
    return StepClasses(THREE_CLASSES, "the data do not state the classes; labels are below 0, so 0 is read as neutral")


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


def _step_status(item: ItemScore, classes: StepClasses, *, by_step: bool) -> Status:
    """Return the status of ``item``.

    Absent where no step has a label, unscored where no label is known to say right or wrong, failed where every
    labelled response lacks the reward of a step (``by_step``), or its own where the model gives none to steps. A chain
    is compared with no other one of its group, so those that have their rewards are kept where another lacks them.
    """
    if not any(label is not None for labels in item.step_labels or () for label in labels or ()):
        return "absent"
    labelled = _labelled(item, classes)
    if not labelled or (item.step_classes is None and not classes.is_known):
        return "unscored"
    return "scored" if any(step_is_rewarded(item, k, by_step) for k in labelled) else "failed"


def step_metrics(
    items: Sequence[ItemScore], *, classes: StepClasses, by_step: bool, relative: bool = False
) -> MetricSet:
    """Return how well the rewards of steps agree with their labels; steps without a label carry nothing.

    - ``step_auc`` (the primary metric): probability that a right step has a higher reward than a wrong one; beside it
      the earlier step;
    - ``step_accuracy``: right or wrong by a threshold (see ``step_threshold``); ``step_error_f1``: F1 of wrong steps;
    - ``first_error_…``: see ``_put_first_error``;
    - ``response_auc``: probability that the reward of a chain without an error is higher than of one with an error;
      beside it the length. It is there for models that give no rewards to steps too, but not for ``relative``
      rewards, which are numbers of their group.

    A label is wrong below the middle of its two lowest classes, and right above it: of 0 and 1 below ½, of −1, 0 and 1
    below −½, so that neutral steps are right. Chains without rewards are counted and left out. A step that several
    responses of a group share counts in each of them. Intervals are over prompts.
    """
    statuses = [_step_status(item, classes, by_step=by_step) for item in items]
    scored = scored_with_prompts(items, statuses)
    chains = [chain for item, prompt in scored for chain in _chains(item, prompt, classes.of(item), by_step=by_step)]
    clear = [chain for chain in chains if chain.is_clear]
    found = MetricSet("step", "step_auc" if by_step else "response_auc", label_counts(statuses), statuses=statuses)
    found.rules = {"labels": _label_rule(items, classes)}
    found.details = _details(chains, clear)
    found.details["chains_not_scored"] = sum(len(_labelled(item, classes)) for item in items) - len(chains)
    if not classes.is_known and not scored:
        found.absent[found.primary] = classes.words
        return found
    if by_step:
        cut = step_threshold([item for item, _ in scored])
        found.rules["threshold"] = cut.rule
        _put_steps(found, chains, cut)
        _put_first_error(found, clear, cut)
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
    if not cut.is_known or not len(rows):
        found.absent |= dict.fromkeys(("step_accuracy", "step_error_f1"), cut.rule if len(rows) else why)
        return
    passed = rewards >= cut.value
    found.put_mean("step_accuracy", passed == right, prompts, why, {"always_right": right, "always_wrong": ~right})
    found.put(
        "step_error_f1",
        _f1(~passed, ~right, prompts),
        "no step is wrong or taken for wrong, or one prompt holds them",
    )
    if not right.all():
        found.beside("step_error_f1", always_wrong=_f1(np.ones_like(right), ~right, prompts))


def _f1(taken: np.ndarray, wrong: np.ndarray, prompts: np.ndarray) -> RowStatistic:
    """Return F1 of the steps ``taken`` for wrong.

    Where no prompt moves it, as where no step is taken, the prompts cannot tell how far the truth may lie from it. With
    J the proportion of the steps that are both taken and wrong among those that are either, F1 = 2J ÷ (1 + J): its ends
    are then made of those of J.
    """
    either = taken | wrong

    def agreed(confidence: float) -> tuple[float, float, str] | None:
        both = proportion_interval((taken & wrong)[either], prompts[either], confidence=confidence)
        if both is None:
            return None
        low, high = (2 * end / (1 + end) for end in (both.low, both.high))
        return low, high, f"{both.method}, of the intersection"

    return RowStatistic(lambda rows: f1_score(taken[rows], wrong[rows]), prompts, "logit", agreed=agreed)


def _put_first_error(found: MetricSet, chains: Sequence[Chain], cut: Threshold) -> None:
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
    predicted = [first_error(chain.steps, threshold=cut.value) for chain in chains]
    if cut.is_known:
        _put_located(found, "", chains, predicted, _constants(chains))
    else:
        found.absent |= dict.fromkeys(("first_error_f1", "first_error_accuracy"), cut.rule)
    chosen_on = np.array([in_first_half(chain.key) for chain in chains], dtype=bool)
    table = chain_table([chain.steps for chain in chains], [chain.first_error for chain in chains])
    tuned = best_threshold(table.where(chosen_on), default=cut.value)
    if tuned is None:
        why = f"no threshold can be chosen: {_NOT_BOTH}, in the half it is chosen on"
        found.absent |= dict.fromkeys(("first_error_f1_tuned", "first_error_accuracy_tuned"), why)
        return
    kept = np.flatnonzero(~chosen_on).tolist()
    rest = [chains[k] for k in kept]
    fixed = {"fixed_threshold": [predicted[k] for k in kept]} if cut.is_known else {}
    rules = fixed | _constants(rest)
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


def _label_rule(items: Sequence[ItemScore], classes: StepClasses) -> str:
    """Return in words which labels are right and wrong, for each set of classes that ``items`` have."""
    used = dict.fromkeys(classes.of(item) for item in items if any(item.step_labels or ()))
    rules = [
        f"of the classes {', '.join(f'{value:g}' for value in each)} a label above {wrong_below(each):g} is a right "
        "step, below it a wrong one, and at it or null says nothing"
        for each in used
    ]
    return "; ".join([*rules, *([classes.words] if classes.words else [])])


def _verdicts(labels: Sequence[float | None], classes: Sequence[float]) -> Verdicts:
    cut = wrong_below(classes)
    return tuple(None if label is None or label == cut else label > cut for label in labels)


def _labelled(item: ItemScore, classes: StepClasses) -> list[int]:
    return [
        k
        for k, labels in enumerate(item.step_labels or ())
        if any(verdict is not None for verdict in _verdicts(labels or (), classes.of(item)))
    ]


def step_is_rewarded(item: ItemScore, k: int, by_step: bool) -> bool:
    """Return whether response ``k`` has the rewards of all its steps (``by_step``), or else its own."""
    if not by_step:
        return item.rewards[k] is not None
    steps = None if item.steps is None else item.steps[k]
    labels = (item.step_labels or ())[k] or ()
    return steps is not None and len(steps) == len(labels) and None not in steps


def _chains(item: ItemScore, prompt: int, classes: Sequence[float], *, by_step: bool) -> list[Chain]:
    labels, steps = item.step_labels or (), item.steps or (None,) * len(item.rewards)
    verdicts = [_verdicts(each or (), classes) for each in labels]
    return [
        Chain(
            verdicts=verdicts[k],
            steps=tuple(math.nan if reward is None else reward for reward in steps[k] or ()) if by_step else (),
            reward=item.rewards[k],
            length=item.lengths[k],
            prompt=prompt,
            key=item.prompt_key,
        )
        for k, own in enumerate(verdicts)
        if any(verdict is not None for verdict in own)
        if step_is_rewarded(item, k, by_step)
    ]
