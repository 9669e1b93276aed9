"""What a model says about ratings of one attribute, by its output of that name or, without one, by its reward."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import partial

import numpy as np

from plaudit.evaluation.metrics.best_of_n import put_curve
from plaudit.evaluation.metrics.estimates import Estimator
from plaudit.evaluation.metrics.measure import ONLY_WITHIN_GROUPS, TIES, Findings, Status, label_counts, prompt_numbers
from plaudit.evaluation.metrics.order import LabelledGroup, ordered_pairs, put_pairwise
from plaudit.records import Interval, ItemScore, Measure
from plaudit.statistics.agreement import TieRule
from plaudit.statistics.correlation import CorrelationKind

_KINDS: tuple[CorrelationKind, ...] = ("spearman", "pearson")


def rated_attributes(items: Iterable[ItemScore]) -> list[str]:
    """Return the attributes that some response of ``items`` has a rating of, in the order of the data."""
    names: dict[str, None] = {}
    for item in items:
        names.update((name, None) for name, values in item.ratings.items() if any(each is not None for each in values))
    return list(names)


def predicts(items: Iterable[ItemScore], attribute: str) -> bool:
    """Return whether the model that gave the rewards of ``items`` has an output named ``attribute``."""
    return any(attribute in item.attributes for item in items)


def rating_status(item: ItemScore, attribute: str, *, predicted: bool) -> Status:
    """Return what becomes of ``item``: failed where a rated response lacks the model's number."""
    rated = _rated(item, attribute)
    if not rated:
        return "absent"
    numbers = _numbers(item, attribute, predicted=predicted)
    return "failed" if any(numbers[k] is None for k in rated) else "scored"


def measure_rating(
    items: Sequence[ItemScore],
    attribute: str,
    *,
    predicted: bool,
    tie_rule: TieRule,
    estimate: Estimator,
    relative: bool = False,
) -> Measure:
    """Return how well the model's number of each response agrees with its rating of ``attribute``.

    The number is the model's output of that name where it has one (``predicted``), else its reward.

    - ``spearman`` (the main figure), ``pearson``: over all rated responses, with intervals over prompts;
    - ``pairwise_agreement``: over pairs of responses to one prompt with different ratings, each pair weighing the
      same; ``pairwise_agreement_by_group``: each group weighing the same;
    - ``rmse``: root mean squared error, where the model predicts the attribute.

    ``best_of_n`` of the measure is the expected rating of the best of n (see ``best_of_n.curve_of_groups``).

    ``relative`` rewards are numbers of their group: they have no correlations, and agreement is the main figure.
    Baselines: the length of the response in place of the number, and for ``rmse`` the mean rating of these data.
    """
    statuses = [rating_status(item, attribute, predicted=predicted) for item in items]
    groups = [
        _group(item, attribute, prompt, predicted=predicted)
        for item, status, prompt in zip(items, statuses, prompt_numbers(items), strict=True)
        if status == "scored"
    ]
    found = Findings()
    relative = relative and not predicted
    if relative:
        found.absent |= dict.fromkeys(_KINDS, ONLY_WITHIN_GROUPS)
    else:
        _put_correlations(found, groups, estimate)
    ties = put_pairwise(found, groups, tie_rule, estimate)
    if predicted:
        _put_error(found, groups, estimate)
    else:
        found.absent["rmse"] = (
            f"the model has no output {attribute!r}, and its reward is not in the units of the rating"
        )
    curve = put_curve(found, groups, estimate, is_share=False)
    carriers = [item for item, status in zip(items, statuses, strict=True) if status != "absent"]
    number = f"the model's output {attribute!r}" if predicted else f"its reward: the model has no output {attribute!r}"
    return Measure(
        kind="rating",
        attribute=attribute,
        headline="pairwise_agreement" if relative else "spearman",
        counts=label_counts(statuses),
        details=_details(groups, carriers, attribute) | {"pairs_of_equal_rewards": ties},
        rules={"number": number, "ties": TIES[tie_rule]},
        figures=found.figures,
        baselines=found.baselines,
        absent=found.absent,
        best_of_n=curve,
    )


def _details(groups: Sequence[LabelledGroup], carriers: Sequence[ItemScore], attribute: str) -> dict[str, int]:
    return {
        "responses": sum(len(group.worth) for group in groups),
        "unrated_responses": sum(len(item.rewards) - len(_rated(item, attribute)) for item in carriers),
        "groups_of_different_ratings": sum(group.has_order for group in groups),
        "pairs": len(ordered_pairs(groups)),
    }


def _put_correlations(found: Findings, groups: Sequence[LabelledGroup], estimate: Estimator) -> None:
    worth, rewards, lengths = (
        np.concatenate([np.zeros(0), *(getattr(group, side) for group in groups)])
        for side in ("worth", "rewards", "lengths")
    )
    prompts = np.array([group.prompt for group in groups for _ in group.worth], dtype=int)
    for kind in _KINDS:
        of = partial(estimate.correlation, kind=kind, prompts=prompts)
        own = of(rewards, worth, names=("the model's number", "the rating"))
        found.put(kind, own.interval, own.reason or "")
        found.beside(kind, length=of(lengths, worth, names=("the length", "the rating")).interval)


def _put_error(found: Findings, groups: Sequence[LabelledGroup], estimate: Estimator) -> None:
    worth = np.concatenate([np.zeros(0), *(group.worth for group in groups)])
    rewards = np.concatenate([np.zeros(0), *(group.rewards for group in groups)])
    prompts = np.array([group.prompt for group in groups for _ in group.worth], dtype=int)
    found.put("rmse", _root(estimate.mean((rewards - worth) ** 2, prompts)), "fewer than two prompts have a rating")
    if len(worth):
        found.beside("rmse", mean_rating=_root(estimate.mean((worth - worth.mean()) ** 2, prompts)))


def _root(squared: Interval | None) -> Interval | None:
    if squared is None:
        return None
    ends = {name: math.sqrt(getattr(squared, name)) for name in ("value", "low", "high")}
    return squared.model_copy(update=ends)


def _rated(item: ItemScore, attribute: str) -> list[int]:
    return [k for k, rating in enumerate(item.ratings.get(attribute, ())) if rating is not None]


def _numbers(item: ItemScore, attribute: str, *, predicted: bool) -> tuple[float | None, ...]:
    if not predicted:
        return item.rewards
    return item.attributes.get(attribute, (None,) * len(item.rewards))


def _group(item: ItemScore, attribute: str, prompt: int, *, predicted: bool) -> LabelledGroup:
    rated = _rated(item, attribute)
    numbers = _numbers(item, attribute, predicted=predicted)
    return LabelledGroup(
        worth=np.array([item.ratings[attribute][k] for k in rated], dtype=float),
        rewards=np.array([numbers[k] for k in rated], dtype=float),
        lengths=np.array([item.lengths[k] for k in rated], dtype=float),
        prompt=prompt,
    )
