"""Paired tests over items that come in clusters, and adjustments for many tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from numpy.typing import ArrayLike
from scipy import stats

from plaudit.errors import ConfigError, DataError
from plaudit.records import Interval
from plaudit.statistics.intervals import (
    cluster_index,
    finished_interval,
    finite_values,
    mean_interval,
    wilson_ends,
)

_EXACT_WORK = 200_000_000
"""Additions above which the exact sign-flip distribution is drawn from instead."""


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the adjusted p-values of a family of tests (Holm, 1979), in the order given.

    With p sorted ascending, the i-th of m is max over j ≤ i of min(1, (m − j + 1) p_j): calling those at or below α
    findings makes one false finding or more with probability at most α, however the tests hang together.

    Raises:
        DataError: for a p-value outside 0 to 1.
    """
    values = np.asarray(p_values, dtype=np.float64)
    if not ((values >= 0.0) & (values <= 1.0)).all():
        raise DataError("p_values holds a value outside 0 to 1")
    order = np.argsort(values, kind="stable")
    factors = np.arange(len(values), 0, -1)
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(factors * values[order]))
    return [float(value) for value in adjusted]


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Return the p-values adjusted for the false discovery rate (Benjamini and Hochberg, 1995), in the order given.

    With p sorted ascending, the i-th of m is min over j ≥ i of min(1, m p_j ÷ j): of those at or below α, an expected
    share of at most α are false findings, where the tests are independent or rise and fall together.

    Raises:
        DataError: for a p-value outside 0 to 1.
    """
    values = np.asarray(p_values, dtype=np.float64)
    if not ((values >= 0.0) & (values <= 1.0)).all():
        raise DataError("p_values holds a value outside 0 to 1")
    return [float(value) for value in stats.false_discovery_control(values, method="bh")]


def mcnemar_exact(wins: int, losses: int) -> float:
    """Return the two-sided p-value of McNemar's exact test: are ``wins`` and ``losses`` as likely as each other?

    Of the items on which two models differ, ``wins`` are right for the first only and ``losses`` for the second only.
    The p-value is 2 P(X ≤ min(wins, losses)) for X of the binomial(wins + losses, ½), at most 1; 1 where they never
    differ. The items must be independent: of several items of one prompt use ``permutation_test``.

    Raises:
        DataError: for a negative count.

    Source: McNemar (1947), Psychometrika 12.
    """
    if min(wins, losses) < 0:
        raise DataError(f"wins is {wins} and losses is {losses}; both must be at least 0")
    return float(stats.binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0


def sign_test(differences: npt.NDArray[np.float64], clusters: npt.NDArray[np.int64]) -> float:
    """Return the two-sided p-value of no tendency in paired differences: an exact sign test over clusters.

    The differences of a cluster are added, as they rise and fall together; a cluster whose sum is 0 does not count.
    Under the null each other sum is as likely positive as negative: with k of m positive, the p-value is the
    probability of a count at least as far from m ÷ 2 under the binomial(m, ½); 1 where m is 0. With one pair per
    cluster and differences of −1, 0 and 1 it is McNemar's exact test.

    Args:
        differences: [pair] first side minus second.
        clusters: [pair] number of the pair's cluster, from 0.

    Raises:
        DataError: when the lengths differ.
    """
    if differences.shape != clusters.shape:
        raise DataError(f"clusters has {len(clusters)} entries for {len(differences)} differences")
    sums = np.bincount(clusters, weights=differences)
    positive, negative = int((sums > 0).sum()), int((sums < 0).sum())
    if positive + negative == 0:
        return 1.0
    return mcnemar_exact(positive, negative)


def permutation_test(
    differences: ArrayLike,
    clusters: Sequence[object] | npt.NDArray[np.generic],
    *,
    permutations: int = 20_000,
    seed: int = 0,
) -> float:
    """Return the two-sided p-value of no difference between two models: a sign-flip permutation over clusters.

    Were the models exchangeable, the sum of the differences of a cluster would be as likely to have the other sign.
    The p-value is the share of all 2^C assignments of signs to C clusters whose total lies at least as far from 0 as
    the one found. It is exact, by convolution, where all sums are multiples of ½ or ¼ (as for right, wrong and tied)
    and small enough; else ``permutations`` assignments are drawn and (1 + hits) ÷ (1 + permutations) is returned, which
    keeps its level too. With one item per cluster and differences of −1, 0 and 1 it is McNemar's exact test.

    Args:
        differences: [item] first model's value less the second's.
        clusters: [item], a label per item; equal labels belong together.
        permutations: assignments drawn where the exact sum is out of reach.
        seed: of those draws.

    Raises:
        DataError: when the lengths differ or a difference is not finite.
        ConfigError: for fewer than one permutation.
    """
    array = finite_values(differences, "differences")
    if len(clusters) != len(array):
        raise DataError(f"clusters has {len(clusters)} entries for {len(array)} differences")
    if permutations < 1:
        raise ConfigError(f"permutations is {permutations}; it must be at least 1")
    sums = np.bincount(cluster_index(clusters), weights=array) if len(array) else np.zeros(0)
    sizes = np.abs(sums[sums != 0.0])
    if not len(sizes):
        return 1.0
    found = abs(float(sums.sum()))
    quarters = np.rint(4 * sizes)
    if np.array_equal(quarters, 4 * sizes) and len(sizes) * quarters.sum() <= _EXACT_WORK:
        return _exact_sign_flips(quarters.astype(np.int64), round(4 * found))
    return _drawn_sign_flips(sizes, found, permutations, np.random.default_rng(seed))


def _exact_sign_flips(sizes: npt.NDArray[np.int64], found: int) -> float:
    """Return P(|Σ ± size| ≥ found), from the distribution of the sum of the sizes that are given a plus."""
    sizes = sizes // (unit := int(np.gcd.reduce(sizes)))
    total, far = int(sizes.sum()), -(-found // unit)
    chances = np.zeros(total + 1)
    chances[0] = 1.0
    reached = 0
    for size in sizes.tolist():
        chances[size : reached + size + 1] = (chances[size : reached + size + 1] + chances[: reached + 1]) / 2
        chances[:size] /= 2
        reached += size
    return min(1.0, float(chances[np.abs(2 * np.arange(total + 1) - total) >= far].sum()))


def _drawn_sign_flips(
    sizes: npt.NDArray[np.float64], found: float, permutations: int, generator: np.random.Generator
) -> float:
    hits, block = 0, max(1, 4_000_000 // len(sizes))
    for start in range(0, permutations, block):
        signs = generator.integers(2, size=(min(block, permutations - start), len(sizes))) * 2 - 1
        # a sum that equals the total but for rounding counts as far as it
        hits += int((np.abs(signs @ sizes) >= found - 1e-9 * sizes.sum()).sum())
    return (1 + hits) / (1 + permutations)


def paired_difference(
    differences: ArrayLike, clusters: Sequence[object] | npt.NDArray[np.generic], *, confidence: float = 0.95
) -> Interval | None:
    """Return the mean difference of two models on the same items, each difference from −1 to 1; None of none.

    Student's interval over clusters (see ``mean_interval``), cut at −1 and 1. Where every difference is 0, nothing is
    known but that differing is rare: both ends are Wilson's upper end for none in as many items as there are clusters.
    Items of one single cluster say nothing about others: −1 to 1.

    Raises:
        DataError: when the lengths differ, or a difference lies outside −1 to 1.
        ConfigError: for a confidence outside 0 to 1.
    """
    array = finite_values(differences, "differences")
    if not len(array):
        return None
    if np.abs(array).max() > 1.0:
        raise DataError("differences holds a value outside −1 to 1")
    found = mean_interval(array, clusters, confidence=confidence)
    if found is None:
        value, n = float(array.mean()), len(array)
        return finished_interval(value, -1.0, 1.0, confidence=confidence, method="none: one prompt", n=n)
    low, high, method = found.low, found.high, found.method
    if not array.any():
        count = int(cluster_index(clusters).max()) + 1
        _, reach = wilson_ends(0.0, count, confidence)
        low, high, method = -reach, reach, f"wilson over {count} prompts: they never differ"
    elif array.min() >= 0.0 or array.max() <= 0.0:
        # the mean of differences, unlike that of sizes, may lie on the side where none was seen
        half = max(high - found.value, found.value - low)
        low, high = found.value - half, found.value + half
    return finished_interval(
        found.value, low, high, confidence=confidence, method=method, n=found.n, least=-1.0, most=1.0
    )
