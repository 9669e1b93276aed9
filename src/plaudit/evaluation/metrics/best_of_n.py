"""What choosing the best of n responses by a scorer's reward is worth in gold reward."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import numpy as np

from plaudit.data.schema.group import Group
from plaudit.errors import DataError
from plaudit.evaluation.metrics.estimates import Estimator
from plaudit.evaluation.metrics.measure import Findings
from plaudit.evaluation.metrics.order import LabelledGroup
from plaudit.evaluation.store.items import prompt_hash, scored_groups
from plaudit.records import BestOfNCurve, Interval, Record
from plaudit.scoring.scorer import Scorer
from plaudit.statistics.over_optimisation import over_optimisation_curve

REACHED_BY = 0.9
"""Share of the groups with several responses that have as many as the largest n of a curve."""
_DIGITS = 12
"""Decimals of an expected share that are no rounding."""

GoldReward = Callable[[Group], Sequence[float | None]]
"""Gives the gold reward of each response of a group; None where there is none."""


class BestOfNRow(Record):
    """One n of a best-of-n table: gold rewards with intervals over prompts."""

    n: int
    """Responses to choose from."""
    chosen: Interval
    """Expected gold reward of the response that the model rewards most."""
    oracle: Interval
    """Expected gold reward of the best response."""
    mean: Interval
    """Expected gold reward of a response drawn at random."""


class BestOfN(Record):
    """What ``best_of_n.json`` holds."""

    name: str
    """The data."""
    model: str
    """The model as it was named."""
    gold: str
    """What the gold reward is."""
    groups: int
    """Groups that the table is over."""
    left_out: int
    """Groups with fewer responses than the largest n, or where a reward or a gold reward is missing."""
    rows: tuple[BestOfNRow, ...]
    """One row per n; none from fewer than two prompts."""


def best_of_n(
    scorer: Scorer,
    groups: Iterable[Group],
    gold: GoldReward,
    *,
    name: str,
    model: str,
    gold_name: str,
    counts: Sequence[int] = (1, 2, 4, 8, 16),
    confidence: float = 0.95,
    progress: Callable[[int], None] | None = None,
) -> BestOfN:
    """Return the expected gold reward of the best of n responses by ``scorer``, for each n of ``counts``.

    For each group the expectation is exact, over all sets of n of its K responses; equal rewards are drawn
    between. Beside it stand the best possible choice and a random one, over the same groups. A group with
    fewer responses than the largest n, a missing reward or a missing gold reward is left out of every row,
    and counted: so the rows differ in n and in nothing else. Fewer than two prompts give no rows, since they
    give no interval.

    Raises:
        DataError: when a count is below 1, or the gold rewards are not one per response.
        ModelError: when the scorer breaks its protocol.
    """
    if not counts or min(counts) < 1:
        raise DataError(f"best of n needs counts of at least 1, not {list(counts)}")
    ordered = sorted(set(counts))
    rewards: list[list[float]] = []
    golds: list[list[float]] = []
    prompts: list[str] = []
    left_out = 0
    for done, (group, item) in enumerate(scored_groups(scorer, groups), start=1):
        own, true = _numbers(item.rewards), _numbers(_checked(group, gold(group)))
        if own is None or true is None or len(own) < ordered[-1]:
            left_out += 1
        else:
            rewards.append(own)
            golds.append(true)
            prompts.append(prompt_hash(group))
        if progress is not None:
            progress(done)
    rows: tuple[BestOfNRow, ...] = ()
    if len(set(prompts)) > 1:
        curve = over_optimisation_curve(rewards, golds, ordered, prompts=prompts, confidence=confidence)
        rows = tuple(
            BestOfNRow(n=point.n, chosen=point.gold, oracle=point.oracle, mean=curve.random) for point in curve.points
        )
    return BestOfN(name=name, model=model, gold=gold_name, groups=len(rewards), left_out=left_out, rows=rows)


def curve_of_groups(
    groups: Sequence[LabelledGroup], *, estimate: Estimator, is_share: bool
) -> tuple[BestOfNCurve | None, str]:
    """Return the best-of-n curve of a label, or None and why there is none.

    Gold is the ``worth`` of a response, proxy its reward. The n are ``counts_up_to`` the number of responses that nine
    in ten of the groups of several have. Every n is over the same groups, those with that many responses or more: the
    points differ in n and in nothing else. The others are counted in ``left_out``, as are groups of one response.

    Args:
        groups: the labelled responses of each group.
        estimate: makes the intervals.
        is_share: whether the worth of a response lies between 0 and 1, and so do the intervals of its mean.
    """
    sizes = [len(group.worth) for group in groups]
    largest = reached_by_most(sizes)
    if largest is None:
        return None, "no group has two labelled responses to choose from"
    kept = [group for group, size in zip(groups, sizes, strict=True) if size >= largest]
    prompts = [group.prompt for group in kept]
    if len(set(prompts)) < 2:
        return None, f"fewer than two prompts have {largest} labelled responses to choose from"
    curve = over_optimisation_curve(
        [group.rewards for group in kept],
        [group.worth for group in kept],
        counts_up_to(largest),
        prompts=prompts,
        confidence=estimate.confidence,
        seed=estimate.seed,
        gold_interval=partial(_mean_share, estimate) if is_share else None,
    )
    return curve.model_copy(update={"left_out": len(groups) - len(kept)}), ""


def put_curve(
    found: Findings, groups: Sequence[LabelledGroup], estimate: Estimator, *, is_share: bool
) -> BestOfNCurve | None:
    """Return ``curve_of_groups``; where there is none, put the reason."""
    curve, reason = curve_of_groups(groups, estimate=estimate, is_share=is_share)
    if curve is None:
        found.absent["best_of_n"] = reason
    return curve


def reached_by_most(sizes: Sequence[int]) -> int | None:
    """Return the largest K such that nine in ten of the groups of at least two responses have K; None without any.

    One large group among many then does not leave the others out, and one small one does not cut the curve short.
    """
    several = sorted((size for size in sizes if size > 1), reverse=True)
    return several[math.ceil(REACHED_BY * len(several)) - 1] if several else None


def counts_up_to(largest: int) -> tuple[int, ...]:
    """Return 1, 2, 4 … below ``largest``, and ``largest``."""
    return (*(2**power for power in range((largest - 1).bit_length())), largest)


def _mean_share(estimate: Estimator, values: np.ndarray, prompts: Sequence[object]) -> Interval:
    """Return the mean of shares that are sums: rounded, so that those that are 1, or all equal, are seen to be."""
    found = estimate.mean_share(np.round(values, _DIGITS), np.asarray(prompts))
    assert found is not None  # there are groups
    return found


def _checked(group: Group, golds: Sequence[float | None]) -> Sequence[float | None]:
    if len(golds) != len(group.responses):
        raise DataError(
            f"the gold reward gave {len(golds)} numbers for the {len(group.responses)} responses of group {group.id!r}"
        )
    return golds


def _numbers(values: Sequence[float | None]) -> list[float] | None:
    """Return ``values`` when every one is a finite number, else None."""
    found = [float(value) for value in values if value is not None and math.isfinite(value)]
    return found if len(found) == len(values) else None
