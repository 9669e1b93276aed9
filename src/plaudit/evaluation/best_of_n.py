"""What choosing the best of n responses by a scorer's reward is worth in gold reward."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from plaudit.data.group import Group
from plaudit.errors import DataError
from plaudit.evaluation.estimates import Estimator
from plaudit.evaluation.items import prompt_hash, scored_groups
from plaudit.records import Interval, Record
from plaudit.scoring.scorer import Scorer
from plaudit.statistics.best_of_n import expected_best_of_n

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
    resamples: int = 1000,
    seed: int = 0,
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
    table: list[list[tuple[float, float, float]]] = []
    prompts: dict[str, int] = {}
    clusters: list[int] = []
    left_out = 0
    for done, (group, item) in enumerate(scored_groups(scorer, groups), start=1):
        rewards, golds = _numbers(item.rewards), _numbers(_checked(group, gold(group)))
        if rewards is None or golds is None or len(rewards) < ordered[-1]:
            left_out += 1
        else:
            table.append([_expected(rewards, golds, n) for n in ordered])
            clusters.append(prompts.setdefault(prompt_hash(group), len(prompts)))
        if progress is not None:
            progress(done)
    estimate = Estimator(confidence=confidence, resamples=resamples, seed=seed)
    return BestOfN(
        name=name,
        model=model,
        gold=gold_name,
        groups=len(table),
        left_out=left_out,
        rows=_rows(np.array(table, dtype=float), np.array(clusters, dtype=int), ordered, estimate),
    )


def _rows(
    table: np.ndarray, clusters: np.ndarray, counts: Sequence[int], estimate: Estimator
) -> tuple[BestOfNRow, ...]:
    rows = []
    for index, n in enumerate(counts if len(table) else ()):
        chosen, oracle, mean = (estimate.mean(table[:, index, side], clusters) for side in range(3))
        if chosen is not None and oracle is not None and mean is not None:
            rows.append(BestOfNRow(n=n, chosen=chosen, oracle=oracle, mean=mean))
    return tuple(rows)


def _expected(rewards: list[float], golds: list[float], n: int) -> tuple[float, float, float]:
    return (
        expected_best_of_n(rewards, golds, n),
        expected_best_of_n(golds, golds, n),
        math.fsum(golds) / len(golds),
    )


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
