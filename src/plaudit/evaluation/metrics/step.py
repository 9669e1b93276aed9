"""What the rewards of steps say about step labels: each step, and where the first error of a chain is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from plaudit.evaluation.metrics.estimates import Estimator
from plaudit.evaluation.metrics.first_error import put_first_error
from plaudit.evaluation.metrics.measure import (
    ONLY_WITHIN_GROUPS,
    Decision,
    Findings,
    Status,
    decision,
    known,
    label_counts,
    prompt_numbers,
)
from plaudit.records import Interval, ItemScore, Measure
from plaudit.statistics.classification import auc_interval, f1_score

Verdicts = tuple[bool | None, ...]
"""For each step of a response whether its label holds it to be right; None where it says nothing."""

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


def step_status(item: ItemScore, *, three_classes: bool, by_step: bool) -> Status:
    """Return what becomes of ``item``.

    Absent where no step has a label, unscored where no label says right or wrong, failed where every labelled response
    lacks the reward of a step (``by_step``), or its own where the model gives none to steps. A chain is compared with
    no other one of its group, so those that have their rewards are kept where another lacks them.
    """
    if not any(label is not None for labels in item.step_labels or () for label in labels or ()):
        return "absent"
    labelled = _labelled(item, three_classes)
    if not labelled:
        return "unscored"
    return "scored" if any(_is_rewarded(item, k, by_step) for k in labelled) else "failed"


def measure_steps(
    items: Sequence[ItemScore], *, three_classes: bool, by_step: bool, estimate: Estimator, relative: bool = False
) -> Measure:
    """Return how well the rewards of steps agree with their labels; steps without a label carry nothing.

    - ``step_auc`` (the main figure): probability that a right step has a higher reward than a wrong one; beside it
      the earlier step;
    - ``step_accuracy``: right or wrong by a threshold (see ``decision``), ``step_error_f1``: F1 of finding wrong steps;
    - ``first_error_…``: see ``put_first_error``;
    - ``response_auc``: probability that the reward of a chain without an error is higher than of one with an error;
      beside it the length. It is there for models that give no rewards to steps too, but not for ``relative``
      rewards, which are numbers of their group.

    Chains without rewards are counted and left out. A step that several responses of a group share counts in each of
    them. Intervals are over prompts.
    """
    statuses = [step_status(item, three_classes=three_classes, by_step=by_step) for item in items]
    chains = [
        chain
        for item, status, prompt in zip(items, statuses, prompt_numbers(items), strict=True)
        if status == "scored"
        for chain in _chains(item, prompt, three_classes=three_classes, by_step=by_step)
    ]
    clear = [chain for chain in chains if chain.is_clear]
    found = Findings()
    rules = {"labels": _THREE_CLASSES if three_classes else _TWO_CLASSES}
    details = _details(chains, clear)
    details["chains_not_scored"] = sum(len(_labelled(item, three_classes)) for item in items) - len(chains)
    if by_step:
        rewards = np.array([reward for chain in chains for reward in chain.steps])
        cut = decision(rewards, name="step reward")
        rules["threshold"] = cut.rule
        _put_steps(found, chains, cut, estimate)
        rules |= put_first_error(
            found,
            steps=[chain.steps for chain in clear],
            errors=[chain.first_error for chain in clear],
            prompts=np.array([chain.prompt for chain in clear], dtype=int),
            keys=[chain.key for chain in clear],
            threshold=cut.threshold,
            estimate=estimate,
        )
    else:
        why = "the model gives no rewards to steps"
        found.absent |= dict.fromkeys(("step_auc", "step_accuracy", "step_error_f1", "first_error_f1"), why)
    if relative:
        found.absent["response_auc"] = ONLY_WITHIN_GROUPS
    else:
        _put_responses(found, clear, estimate)
    return Measure(
        kind="step",
        headline="step_auc" if by_step else "response_auc",
        counts=label_counts(statuses),
        details=details,
        rules=rules,
        figures=found.figures,
        baselines=found.baselines,
        absent=found.absent,
    )


def _put_steps(found: Findings, chains: Sequence[Chain], cut: Decision, estimate: Estimator) -> None:
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
    area = auc_interval(rewards, right, prompts, confidence=estimate.confidence)
    found.put("step_auc", area, why)
    found.beside(
        "step_auc",
        earlier_step=auc_interval(-places, right, prompts, confidence=estimate.confidence),
        random=known(0.5, len(rows), estimate) if area is not None else None,
    )
    if cut.reason is not None or not len(rows):
        found.absent |= dict.fromkeys(("step_accuracy", "step_error_f1"), cut.reason or why)
        return
    passed = rewards >= cut.threshold
    found.put("step_accuracy", estimate.share((passed == right).astype(float), prompts), why)
    found.beside(
        "step_accuracy",
        always_right=estimate.share(right.astype(float), prompts),
        always_wrong=estimate.share((~right).astype(float), prompts),
    )
    found.put(
        "step_error_f1",
        _f1(~passed, ~right, prompts, estimate),
        "in most resamples of the prompts no step is wrong or taken for wrong, or there is one prompt",
    )
    if not right.all():
        found.beside("step_error_f1", always_wrong=_f1(np.ones_like(right), ~right, prompts, estimate))


def _f1(taken: np.ndarray, wrong: np.ndarray, prompts: np.ndarray, estimate: Estimator) -> Interval | None:
    """Return F1 of the steps ``taken`` for wrong, with an interval over prompts.

    Where all resamples agree, as where none is taken, they cannot tell how far the truth may lie from it. With J the
    share of the steps that are both taken and wrong among those that are either, F1 = 2J ÷ (1 + J): its ends are then
    made of those of J.
    """
    found = estimate.of_rows(lambda chosen: f1_score(taken[chosen], wrong[chosen]), prompts)
    if found is None or found.low < found.high:
        return found
    either = taken | wrong
    share = estimate.share((taken & wrong)[either].astype(float), prompts[either])
    if share is None:
        return found
    low, high = (2 * end / (1 + end) for end in (share.low, share.high))
    return found.model_copy(update={"low": low, "high": high, "method": f"{share.method}, of the intersection"})


def _put_responses(found: Findings, clear: Sequence[Chain], estimate: Estimator) -> None:
    rewarded = [chain for chain in clear if chain.reward is not None]
    rewards = np.array([chain.reward for chain in rewarded], dtype=float)
    lengths = np.array([chain.length for chain in rewarded], dtype=float)
    right = np.array([chain.first_error is None for chain in rewarded], dtype=bool)
    prompts = np.array([chain.prompt for chain in rewarded], dtype=int)
    area = auc_interval(rewards, right, prompts, confidence=estimate.confidence)
    every = "no chain has an error" if right.all() else "every chain has an error"
    found.put("response_auc", area, every if len(right) else "no chain has a certain first error and a reward")
    found.beside(
        "response_auc",
        longer_response=auc_interval(lengths, right, prompts, confidence=estimate.confidence),
        random=known(0.5, len(right), estimate) if area is not None else None,
    )


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


def _is_rewarded(item: ItemScore, k: int, by_step: bool) -> bool:
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
        if _is_rewarded(item, k, by_step)
    ]
