"""How well a number tells two classes apart: area under the ROC curve with its interval, accuracy, F1."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from plaudit.errors import DataError
from plaudit.records import Interval
from plaudit.statistics.correlation import mean_ranks
from plaudit.statistics.intervals import check_confidence, cluster_index, normal_quantile, wilson_interval

_NO_VARIANCE = 1e-20
"""A variance below this is rounding."""


def auc(values: ArrayLike, positive: ArrayLike) -> float | None:
    """Return the probability that a positive item has a higher value than a negative one, a tie counting ½.

    That is the Mann–Whitney statistic, (Σ ranks of the positives − P(P + 1)/2) ÷ (P·N), over P positive and N
    negative items; None where there is no item of one class.

    Args:
        values: [item].
        positive: [item] whether the item is of the positive class.

    Raises:
        DataError: when the lengths differ or a value is not finite.
    """
    numbers, classes = _checked(values, positive)
    wins = int(classes.sum())
    losses = len(classes) - wins
    if not wins or not losses:
        return None
    return float((mean_ranks(numbers)[classes].sum() - wins * (wins + 1) / 2) / (wins * losses))


def auc_interval(
    values: ArrayLike,
    positive: ArrayLike,
    clusters: Sequence[object] | NDArray[np.generic],
    *,
    confidence: float = 0.95,
) -> Interval | None:
    r"""Return the area under the ROC curve with an interval over clusters; None where there is no item of one class.

    The variance is Obuchowski's (1997, Biometrics 53): DeLong's (1988) placements, summed within clusters, so that
    items of one prompt may rise and fall together. With θ the area, V_x the share of negative items below a positive
    one (ties ½), V_y the share of positive items above a negative one, and sums over the items of cluster i,

        s_i = Σ V_x − P_i θ,   t_i = Σ V_y − N_i θ
        variance = c(I_P) Σ s_i² ÷ P² + c(I_N) Σ t_i² ÷ N² + 2 c(I) Σ s_i t_i ÷ (P N),   c(I) = I ÷ (I − 1)

    over I clusters, of which I_P hold positive and I_N negative items. One item per cluster gives DeLong's variance.
    The interval is made on the logit scale, so that it stays within 0 to 1. Where the variance is none, as for an
    area of 0 or 1, it is Wilson's for as many items as the rarer class has clusters. Where all items of a class are
    of one cluster, nothing is known about others: the interval is 0 to 1. Values that are all equal have ½ in every
    sample, and an interval of no width.

    Raises:
        DataError: when the lengths differ or a value is not finite.
        ConfigError: for a confidence outside 0 to 1.
    """
    check_confidence(confidence)
    numbers, classes = _checked(values, positive)
    if len(clusters) != len(numbers):
        raise DataError(f"clusters has {len(clusters)} entries for {len(numbers)} values")
    area = auc(numbers, classes)
    if area is None:
        return None
    low, high, method = _ends(numbers, classes, cluster_index(clusters), area, confidence)
    return Interval(value=area, low=low, high=high, confidence=confidence, method=method, n=len(numbers))


def _ends(
    values: NDArray[np.float64],
    positive: NDArray[np.bool_],
    index: NDArray[np.int64],
    area: float,
    confidence: float,
) -> tuple[float, float, str]:
    """Return the ends of the interval of an area and how they were made."""
    count = int(index.max()) + 1
    fewer = min(len(np.unique(index[part])) for part in (positive, ~positive))
    if (values == values[0]).all():
        return area, area, "exact: all values are equal"
    if fewer < 2:
        return 0.0, 1.0, "none: one prompt holds a whole class"
    variance = _clustered_variance(values, positive, index, area)
    if variance > _NO_VARIANCE and 0.0 < area < 1.0:
        half = normal_quantile(confidence) * math.sqrt(variance) / (area * (1.0 - area))
        low, high = (float(special.expit(special.logit(area) + side * half)) for side in (-1, 1))
        return low, high, "delong" if count == len(index) else f"obuchowski ({count} clusters)"
    found = wilson_interval(area * fewer, fewer, confidence=confidence)
    assert found is not None
    return found.low, found.high, f"wilson over {fewer} prompts"


def f1_score(predicted: ArrayLike, positive: ArrayLike) -> float | None:
    """Return 2 TP ÷ (2 TP + FP + FN) of the positive class; None where it is neither predicted nor there.

    Args:
        predicted: [item] whether the item is taken for positive.
        positive: [item] whether it is.

    Raises:
        DataError: when the lengths differ.
    """
    guesses, classes = _both(predicted, positive)
    right = int((guesses & classes).sum())
    wrong = int((guesses != classes).sum())
    return 2 * right / (2 * right + wrong) if right or wrong else None


def accuracy(predicted: ArrayLike, positive: ArrayLike) -> float | None:
    """Return the accuracy, the share of items whose class is predicted; None where there are none.

    Raises:
        DataError: when the lengths differ.
    """
    guesses, classes = _both(predicted, positive)
    return float((guesses == classes).mean()) if len(classes) else None


def harmonic_mean(first: float, second: float) -> float:
    """Return 2ab ÷ (a + b) of two shares, and 0 where both are 0."""
    return 2.0 * first * second / (first + second) if first + second > 0.0 else 0.0


def _clustered_variance(
    values: NDArray[np.float64], positive: NDArray[np.bool_], index: NDArray[np.int64], area: float
) -> float:
    wins, losses = int(positive.sum()), int((~positive).sum())
    count = int(index.max()) + 1
    overall = mean_ranks(values)
    above = (overall[positive] - mean_ranks(values[positive])) / losses
    below = 1.0 - (overall[~positive] - mean_ranks(values[~positive])) / wins
    held_wins, held_losses = index[positive], index[~positive]
    s = np.bincount(held_wins, weights=above - area, minlength=count)
    t = np.bincount(held_losses, weights=below - area, minlength=count)

    def factor(clusters: int) -> float:
        return clusters / (clusters - 1)

    return float(
        factor(len(np.unique(held_wins))) * (s * s).sum() / wins**2
        + factor(len(np.unique(held_losses))) * (t * t).sum() / losses**2
        + 2 * factor(count) * (s * t).sum() / (wins * losses)
    )


def _checked(values: ArrayLike, positive: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    numbers, classes = np.asarray(values, dtype=np.float64), np.asarray(positive, dtype=np.bool_)
    if numbers.ndim != 1 or numbers.shape != classes.shape:
        raise DataError(f"values has shape {numbers.shape} and positive {classes.shape}; both must hold one per item")
    if not np.isfinite(numbers).all():
        raise DataError(f"values holds {int((~np.isfinite(numbers)).sum())} values that are not finite")
    return numbers, classes


def _both(predicted: ArrayLike, positive: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    guesses, classes = np.asarray(predicted, dtype=np.bool_), np.asarray(positive, dtype=np.bool_)
    if guesses.shape != classes.shape:
        raise DataError(f"predicted has shape {guesses.shape} and positive {classes.shape}; they must be the same")
    return guesses, classes
