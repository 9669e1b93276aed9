"""Intervals of proportions and means, over independent items and over items that come in clusters.

A mean over clustered items has one formula here, the jackknife over clusters. With M the mean over all items, which is
the ratio of the totals T and S over the clusters, and M₋ₖ = (T − t_k) ÷ (S − s_k) that without cluster k of C,

    v = (C − 1) ÷ C Σ (M₋ₖ − M)²

which, unlike the variance of a linearised ratio, is not too small where some clusters are much larger than others. The
quantile is Student's, with one degree of freedom less than there are effective clusters (see ``effective_clusters``).
Means of numbers have the interval M ± t √v, proportions that on the logit scale.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from plaudit.errors import ConfigError, DataError
from plaudit.records import Interval

Floats = NDArray[np.float64]

Clusters = Sequence[object] | NDArray[np.generic]
"""[item], a label per item; equal labels belong together."""

NO_VARIANCE = 1e-15
"""A variance of proportions below this is rounding."""


def finished_interval(
    value: float,
    low: float,
    high: float,
    *,
    confidence: float,
    method: str,
    n: int,
    least: float = -math.inf,
    most: float = math.inf,
) -> Interval:
    """Return an interval whose ends lie within ``least`` to ``most``, and hold the value whatever rounding did."""
    return Interval(
        value=value,
        low=min(max(low, least), value),
        high=max(min(high, most), value),
        confidence=confidence,
        method=method,
        n=n,
    )


def wilson_interval(successes: float, n: int, confidence: float = 0.95) -> Interval | None:
    """Return the score interval of a proportion (Wilson, 1927), or None when ``n`` is 0.

    With p = successes ÷ n and z the normal quantile, centre = (p + z²/2n) ÷ (1 + z²/n) and half width
    = z √(p(1−p)/n + z²/4n²) ÷ (1 + z²/n). ``successes`` may be fractional (a tie counted as a half). The
    items must be independent; where several come from one prompt, use ``proportion_interval``.

    Raises:
        DataError: for a negative ``n`` or successes outside 0 to n.
        ConfigError: for a confidence outside 0 to 1.
    """
    check_confidence(confidence)
    if n < 0 or not 0.0 <= successes <= n:
        raise DataError(f"successes is {successes} of n = {n}; it must lie between 0 and n")
    if n == 0:
        return None
    value, low, high = successes / n, *wilson_ends(successes / n, n, confidence)
    return finished_interval(value, low, high, confidence=confidence, method="wilson", n=n, least=0.0, most=1.0)


def wilson_ends(proportion: float, n: int, confidence: float) -> tuple[float, float]:
    """Return the ends of Wilson's interval of a proportion of ``n`` items, at least 1; one outside 0 to 1 is cut."""
    kept = min(max(proportion, 0.0), 1.0)
    z = normal_quantile(confidence)
    shrink = 1.0 + z * z / n
    centre = (kept + z * z / (2 * n)) / shrink
    half = z * math.sqrt(kept * (1.0 - kept) / n + z * z / (4 * n * n)) / shrink
    return max(0.0, min(centre - half, kept)), min(1.0, max(centre + half, kept))


def mean_interval(values: ArrayLike, clusters: Clusters, *, confidence: float = 0.95) -> Interval | None:
    """Return the mean over items, M ± t √v over clusters; None for fewer than two clusters.

    The mean of values that are all at least 0 is no less than 0, and the interval ends there, as it does at 0 for
    values that are all at most 0. Values that are all equal have an interval of no width.

    Args:
        values: [item].
        clusters: [item].
        confidence: stated coverage.

    Raises:
        DataError: when the lengths differ or a value is not finite.
        ConfigError: for a confidence outside 0 to 1.
    """
    array, totals, sizes = _cluster_sums(values, clusters, confidence)
    if len(sizes) < 2:
        return None
    mean, variance = ratio_of_sums(totals, sizes)
    half = student_quantile(confidence, effective_clusters(sizes)) * math.sqrt(variance)
    return finished_interval(
        mean,
        mean - half,
        mean + half,
        confidence=confidence,
        method=f"student ({len(sizes)} clusters)",
        n=len(array),
        least=0.0 if array.min() >= 0.0 else -math.inf,
        most=0.0 if array.max() <= 0.0 else math.inf,
    )


def proportion_interval(values: ArrayLike, clusters: Clusters, *, confidence: float = 0.95) -> Interval | None:
    """Return the proportion of items that are right, with an interval over clusters; None where there are no items.

    Items that are each a cluster of their own have Wilson's interval. Else it is that of ``fraction_interval``.

    Args:
        values: [item] 1 right, 0 wrong, between for a tie.
        clusters: [item].
        confidence: stated coverage.

    Raises:
        DataError: when the lengths differ, or a value lies outside 0 to 1.
        ConfigError: for a confidence outside 0 to 1.
    """
    array, totals, sizes = _proportions(values, clusters, confidence)
    if len(sizes) < len(array):
        return _fraction_interval(math.fsum(array) / len(array), totals, sizes, confidence)
    return wilson_interval(math.fsum(array), len(array), confidence=confidence)


def fraction_interval(values: ArrayLike, clusters: Clusters, *, confidence: float = 0.95) -> Interval | None:
    """Return the mean of values from 0 to 1 with an interval over clusters; None where there are none.

    It is made on the logit scale, σ(logit M ± t √v ÷ (M (1 − M))), so that it stays within 0 to 1 and is longer on the
    side where there is room. Where v is 0, as when all items are right, it is Wilson's for as many items as there are
    clusters. Items of one single cluster say nothing about others: the interval is 0 to 1.

    Args:
        values: [item] from 0 to 1.
        clusters: [item].
        confidence: stated coverage.

    Raises:
        DataError: when the lengths differ, or a value lies outside 0 to 1.
        ConfigError: for a confidence outside 0 to 1.
    """
    array, totals, sizes = _proportions(values, clusters, confidence)
    return _fraction_interval(math.fsum(array) / len(array), totals, sizes, confidence) if len(array) else None


def fraction_of_sums(totals: Floats, sizes: Floats, *, confidence: float = 0.95) -> Interval | None:
    """Return ``fraction_interval`` of items of which [cluster] the sum and the number are known; None of none."""
    check_confidence(confidence)
    items = float(sizes.sum())
    return _fraction_interval(min(float(totals.sum()) / items, 1.0), totals, sizes, confidence) if items else None


def _fraction_interval(mean: float, totals: Floats, sizes: Floats, confidence: float) -> Interval:
    count, n = len(sizes), round(float(sizes.sum()))
    if count == 1 and n > 1:
        low, high, method = 0.0, 1.0, "none: one prompt"
    else:
        variance = ratio_of_sums(totals, sizes)[1] if count > 1 else 0.0
        low, high, method = logit_ends(mean, variance, count, effective_clusters(sizes), confidence)
    return finished_interval(mean, low, high, confidence=confidence, method=method, n=n)


def logit_ends(
    mean: float, variance: float, count: int, effective: float, confidence: float
) -> tuple[float, float, str]:
    """Return the ends of a proportion of a jackknife variance, and how they were made.

    They are Student's on the logit scale for as many clusters as are ``effective``; Wilson's for as many items as there
    are clusters (``count``) where the variance is none.
    """
    spread = mean * (1.0 - mean)
    if variance <= NO_VARIANCE or spread <= 0.0:
        return *wilson_ends(mean, count, confidence), f"wilson over {count} prompts"
    half = student_quantile(confidence, effective) * math.sqrt(variance) / spread
    low, high = (float(special.expit(special.logit(mean) + side * half)) for side in (-1, 1))
    return low, high, f"logit student ({count} clusters)"


def ratio_of_sums(totals: Floats, sizes: Floats) -> tuple[float, float]:
    """Return Σ totals ÷ Σ sizes over [cluster], at least two, and its jackknife variance."""
    mean = float(totals.sum() / sizes.sum())
    return mean, jackknife_variance(without_each(totals, sizes), mean)


def without_each(totals: Floats, sizes: Floats) -> Floats:
    """Return [cluster] the ratio of the sums of all other clusters."""
    return (totals.sum() - totals) / (sizes.sum() - sizes)


def jackknife_variance(without: Floats, whole: float) -> float:
    """Return (C − 1) ÷ C Σ (M₋ₖ − M)² of ``without``, M₋ₖ [cluster], about the ``whole`` M."""
    count = len(without)
    return float((count - 1) / count * ((without - whole) ** 2).sum())


def weighted_proportions_interval(
    weights: ArrayLike, successes: ArrayLike, counts: ArrayLike, *, confidence: float = 0.95
) -> Interval:
    """Return Σ w x/n over proportions of independent items, with the interval of Price and Bonett, widened for many.

    With z the normal quantile and h = 2 Σ w² ÷ (Σ |w|)², which is 2 ÷ k for k equal weights: p̃ = (x + h) ÷ (n + 2h),
    and the interval is Σ w p̃ ± z √(Σ w² v), widened where the value lies outside and cut at the sums of the negative
    and of the positive weights. v = p̃ (1 − p̃) ÷ (n + 2h) is that of Price and Bonett (2004, Computational Statistics
    and Data Analysis 45:449). With many proportions h is small, and v too small for proportions of few items; it is
    therefore at least the unbiased x (n − x) ÷ (n² (n − 1)), and for proportions of one item p̄ (1 − p̄), p̄ being their
    mean p̃ by w². A proportion of few items, or of items that are all right, so has a width where a bootstrap gives it
    none.

    Args:
        weights: [proportion] w, not all 0.
        successes: [proportion] x, from 0 to n; may be fractional (a tie counted as a half).
        counts: [proportion] n, at least 1.
        confidence: stated coverage.

    Raises:
        DataError: when the lengths differ, there is no proportion, or a number is out of its range.
        ConfigError: for a confidence outside 0 to 1.
    """
    check_confidence(confidence)
    weight, right, n = (np.asarray(each, dtype=np.float64) for each in (weights, successes, counts))
    if not weight.shape == right.shape == n.shape or weight.ndim != 1 or not weight.any():
        raise DataError(f"weights, successes and counts are {weight.shape}, {right.shape}, {n.shape}, or all weights 0")
    if (n < 1).any() or (right < 0).any() or (right > n).any():
        raise DataError("every proportion needs an item at least, and successes from 0 to their number")
    added = 2.0 * float((weight**2).sum()) / float(np.abs(weight).sum()) ** 2
    proportions = (right + added) / (n + 2 * added)
    own = right * (n - right) / (n**2 * np.maximum(n - 1, 1))
    lone = n == 1
    if (weight[lone] != 0).any():
        pooled = float(weight[lone] ** 2 @ proportions[lone] / (weight[lone] ** 2).sum())
        own[lone] = pooled * (1 - pooled)
    variance = float((weight**2 * np.maximum(proportions * (1 - proportions) / (n + 2 * added), own)).sum())
    centre, half = float(weight @ proportions), normal_quantile(confidence) * math.sqrt(variance)
    return finished_interval(
        float(weight @ (right / n)),
        centre - half,
        centre + half,
        confidence=confidence,
        method=f"Price and Bonett, widened ({len(weight)} shares)",
        n=int(n.sum()),
        least=float(np.minimum(weight, 0.0).sum()),
        most=float(np.maximum(weight, 0.0).sum()),
    )


def effective_clusters(sizes: NDArray[np.generic]) -> float:
    """Return (Σ n_k)² ÷ Σ n_k² for clusters of n_k items: their number where they are equally large, else fewer.

    Where a few clusters hold most of the items, an interval rests on those few. Never below 2.

    Source: Carter, Schnepel and Steigerwald (2017), Asymptotic behavior of a t test robust to cluster heterogeneity,
    Review of Economics and Statistics 99.
    """
    numbers = np.asarray(sizes, dtype=np.float64)
    return max(2.0, float(numbers.sum() ** 2 / (numbers**2).sum()))


def student_quantile(confidence: float, clusters: float) -> float:
    """Return t such that Student's t with ``clusters`` − 1 degrees of freedom lies within ±t at ``confidence``."""
    return float(stats.t.ppf(0.5 + confidence / 2, clusters - 1))


def percentile_ends(draws: Floats, clusters: float, confidence: float = 0.95) -> tuple[float, float]:
    """Return the ends of the expanded percentile interval of ``draws`` [resample], made by resampling ``clusters``.

    Plain quantiles of resamples are too close together by √(C ÷ (C − 1)), as a resample varies about the mean of the
    data, and by z ÷ t, as the spread of C clusters is estimated. The quantiles at Φ(∓ t √(C ÷ (C − 1))) are not, with
    t Student's quantile for C − 1 degrees of freedom: for C = 10 and 95 % they lie at 0.9 % and 99.1 %. ``clusters`` is
    the effective number where their sizes differ. Of fewer than ten clusters they still lie too close together.

    Source: Hesterberg (2015), What teachers should know about the bootstrap, section 5.3, The American Statistician 69.
    """
    reach = student_quantile(confidence, clusters) * math.sqrt(clusters / (clusters - 1))
    low, high = np.quantile(draws, [float(special.ndtr(-reach)), float(special.ndtr(reach))])
    return float(low), float(high)


def cluster_index(clusters: Clusters) -> NDArray[np.int64]:
    """Return [item] the number of each item's cluster, counted from 0 in order of first appearance."""
    if isinstance(clusters, np.ndarray) and clusters.dtype.kind in "iu":
        # An audit has millions of whole numbers: sorting them is much faster than a dictionary.
        _, first, inverse = np.unique(clusters, return_index=True, return_inverse=True)
        place = np.empty(len(first), dtype=np.int64)
        place[np.argsort(first)] = np.arange(len(first))
        return place[inverse]
    numbers: dict[object, int] = {}
    return np.array([numbers.setdefault(label, len(numbers)) for label in clusters], dtype=np.int64)


def finite_values(values: ArrayLike, name: str) -> Floats:
    """Return ``values`` as an array of one axis.

    Raises:
        DataError: calling them ``name``, where they have other axes or are not finite.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise DataError(f"{name} has {array.ndim} axes; it must have one")
    if not np.isfinite(array).all():
        raise DataError(f"{name} holds {int((~np.isfinite(array)).sum())} values that are not finite")
    return array


def check_proportions(values: Floats, name: str) -> None:
    """Raise DataError, calling them ``name``, where values lie outside 0 to 1."""
    if len(values) and (values.min() < 0.0 or values.max() > 1.0):
        raise DataError(f"{name} holds a value outside 0 to 1")


def check_confidence(confidence: float) -> None:
    """Raise ConfigError unless ``confidence`` lies between 0 and 1."""
    if not 0.0 < confidence < 1.0:
        raise ConfigError(f"confidence is {confidence}; it must lie between 0 and 1")


def normal_quantile(confidence: float) -> float:
    """Return z such that a standard normal draw lies within ±z with probability ``confidence``: 1.96 for 0.95."""
    return float(special.ndtri(0.5 + confidence / 2))


def _proportions(values: ArrayLike, clusters: Clusters, confidence: float) -> tuple[Floats, Floats, Floats]:
    array, totals, sizes = _cluster_sums(values, clusters, confidence)
    check_proportions(array, "values")
    return array, totals, sizes


def _cluster_sums(values: ArrayLike, clusters: Clusters, confidence: float) -> tuple[Floats, Floats, Floats]:
    """Return [item] the values, and [cluster] their sums and numbers."""
    check_confidence(confidence)
    array = finite_values(values, "values")
    if len(clusters) != len(array):
        raise DataError(f"clusters has {len(clusters)} entries for {len(array)} values")
    index = cluster_index(clusters)
    totals = np.asarray(np.bincount(index, weights=array), dtype=np.float64)
    return array, totals, np.bincount(index).astype(np.float64)
