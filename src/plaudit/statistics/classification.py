"""Separation of two classes by a number: area under the ROC curve with its interval, accuracy, F1.

``ChainTable`` holds the predicted first error of a chain of steps, at every threshold at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from plaudit.errors import DataError
from plaudit.records import Interval
from plaudit.statistics.intervals import (
    Clusters,
    check_confidence,
    cluster_index,
    effective_clusters,
    finished_interval,
    finite_values,
    student_quantile,
    wilson_ends,
)
from plaudit.statistics.metric import RowStatistic

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
    return float((stats.rankdata(numbers)[classes].sum() - wins * (wins + 1) / 2) / (wins * losses))


def auc_interval(
    values: ArrayLike,
    positive: ArrayLike,
    clusters: Clusters,
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
    The interval is made on the logit scale, so that it stays within 0 to 1, with Student's quantile for as many
    clusters as both classes rest on: of two classes that share all clusters their mean effective number, of two that
    share none the sum. Where the variance is none, as for an
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
    return finished_interval(area, low, high, confidence=confidence, method=method, n=len(numbers))


def auc_metric(values: ArrayLike, positive: ArrayLike, prompts: Clusters) -> RowStatistic:
    """Return the area under the ROC curve as a metric; its interval is ``auc_interval``."""
    numbers, classes = _checked(values, positive)

    def analytic(confidence: float) -> Interval | None:
        return auc_interval(numbers, classes, prompts, confidence=confidence)

    return RowStatistic(lambda rows: auc(numbers[rows], classes[rows]), prompts, analytic=analytic)


@dataclass(frozen=True, slots=True)
class ChainTable:
    """For each chain, the thresholds at which its first error is located exactly: above ``low``, up to ``high``.

    With p the rewards of the steps, the prediction at threshold t is the first step with p < t, or none. A chain
    whose first error is step e is right for p_e < t ≤ min(p_0 … p_{e−1}), a chain without an error for t ≤ min p.
    """

    low: NDArray[np.float64]
    """[chain] −∞ for a chain without an error."""
    high: NDArray[np.float64]
    """[chain] ∞ where the first step is the error."""
    has_error: NDArray[np.bool_]
    """[chain] whether there is an error."""

    def where(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> ChainTable:
        """Return the chains at ``rows``, a mask or positions."""
        return ChainTable(self.low[rows], self.high[rows], self.has_error[rows])


def chain_table(steps: Sequence[Sequence[float]], errors: Sequence[int | None]) -> ChainTable:
    """Return the table of chains, given the rewards of their steps and their first error (None: no error)."""
    chains = list(zip(steps, errors, strict=True))
    low = [-np.inf if error is None else rewards[error] for rewards, error in chains]
    high = [min(rewards[:error], default=np.inf) for rewards, error in chains]
    return ChainTable(
        np.array(low, dtype=np.float64),
        np.array(high, dtype=np.float64),
        np.array([error is not None for error in errors], dtype=np.bool_),
    )


def best_threshold(chains: ChainTable, *, default: float) -> float | None:
    """Return a threshold with the highest F1 over ``chains``; None unless there are chains of both kinds.

    F1 is the harmonic mean of the accuracy on chains with an error and on chains without (Zheng et al., 2024,
    ProcessBench, arXiv 2412.06559).
    F1 changes only where a chain's ``low`` or ``high`` is passed, so every distinct value is tried. The middle
    between two passed values is returned; of equally good ones, that nearest to ``default``.
    """
    wrong = chains.has_error
    if not wrong.any() or wrong.all():
        return None
    ends = np.concatenate([chains.low, chains.high])
    ends = np.unique(ends[np.isfinite(ends)])
    # Between two neighbouring ends, and beyond them on either side, nothing changes.
    candidates = np.concatenate([[ends[0]], (ends[1:] + ends[:-1]) / 2, [np.nextafter(ends[-1], np.inf)], [default]])
    located = _held(chains.where(wrong), candidates) / wrong.sum()
    cleared = _held(chains.where(~wrong), candidates) / (~wrong).sum()
    total = located + cleared
    scores = np.divide(2 * located * cleared, total, out=np.zeros_like(total), where=total > 0)
    best = candidates[scores >= scores.max() - 1e-12]
    return float(best[np.argmin(np.abs(best - default))])


def _held(chains: ChainTable, thresholds: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return [threshold] how many chains are right at each; a chain with low ≥ high never is."""
    kept = chains.where(chains.low < chains.high)
    begun = np.searchsorted(np.sort(kept.low), thresholds, side="left")
    ended = np.searchsorted(np.sort(kept.high), thresholds, side="left")
    return begun - ended


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
        half = (
            student_quantile(confidence, _clusters_behind(positive, index))
            * math.sqrt(variance)
            / (area * (1.0 - area))
        )
        low, high = (float(special.expit(special.logit(area) + side * half)) for side in (-1, 1))
        return low, high, "delong" if count == len(index) else f"obuchowski ({count} clusters)"
    return *wilson_ends(area, fewer, confidence), f"wilson over {fewer} prompts"


def _clusters_behind(positive: NDArray[np.bool_], index: NDArray[np.int64]) -> float:
    """Return the number of clusters that an area rests on, at least 2."""
    held = [np.unique(index[part], return_counts=True)[1] for part in (positive, ~positive)]
    mean = 2.0 / sum(1.0 / effective_clusters(sizes) for sizes in held)
    return max(2.0, mean * 2 * (int(index.max()) + 1) / sum(map(len, held)))


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
    overall = stats.rankdata(values)
    above = (overall[positive] - stats.rankdata(values[positive])) / losses
    below = 1.0 - (overall[~positive] - stats.rankdata(values[~positive])) / wins
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
    numbers, classes = finite_values(values, "values"), np.asarray(positive, dtype=np.bool_)
    if numbers.shape != classes.shape:
        raise DataError(f"values has shape {numbers.shape} and positive {classes.shape}; both must hold one per item")
    return numbers, classes


def _both(predicted: ArrayLike, positive: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    guesses, classes = np.asarray(predicted, dtype=np.bool_), np.asarray(positive, dtype=np.bool_)
    if guesses.shape != classes.shape:
        raise DataError(f"predicted has shape {guesses.shape} and positive {classes.shape}; they must be the same")
    return guesses, classes
