"""Calibration of reward margins as probabilities, accuracy on the most confident items, and histograms.

A reward model states σ(r_chosen − r_rejected) as the probability that chosen wins. Every pair is written
'chosen first', so a plain table of that number against 'did chosen win?' has one outcome only, 1, and a model
would be best calibrated by being always sure. Which response stands first carries no information, so each
pair is read from the side of the *predicted winner*: its confidence c = σ(|margin|) ≥ ½, and whether that
winner is the chosen response. A tie has c = ½ and is half right. The Brier score is the same from either
side.

``selective_accuracy`` and the area under the risk–coverage curve say how well the size of a margin ranks errors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, sparse, special

from plaudit.errors import ConfigError, DataError
from plaudit.records import Interval
from plaudit.statistics.intervals import (
    Clusters,
    check_confidence,
    check_proportions,
    cluster_index,
    effective_clusters,
    finished_interval,
    finite_values,
    proportion_interval,
    student_quantile,
    wilson_ends,
    wilson_interval,
)

_DRAWS = 4000
"""Draws of the sampling errors of bins."""

_TEMPERATURES = (1e-3, 1e3)
"""Search range of the temperature of margins with mean absolute value 1; at an end there is none."""


def confidence_and_correct(margins: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return ([pair] probability given to the predicted winner, [pair] 1 right, 0 wrong, ½ tie).

    Raises:
        DataError: for margins that are not finite.
    """
    array = _margins(margins)
    correct = np.where(array > 0.0, 1.0, np.where(array < 0.0, 0.0, 0.5))
    return special.expit(np.abs(array)), correct


def brier_scores(margins: ArrayLike) -> NDArray[np.float64]:
    """Return [pair] (1 − σ(margin))², whose mean is the Brier score.

    0 is sure and right, ¼ is no opinion, 1 is sure and wrong.
    """
    return special.expit(-_margins(margins)) ** 2


def reliability_bins(margins: ArrayLike, *, bins: int = 10, confidence: float = 0.95) -> list[dict[str, float]]:
    """Return bins of equal mass, by rising confidence: mean confidence, accuracy with its Wilson interval, n.

    Bins hold as equal a number of pairs as they can, and pairs with the same confidence are never parted:
    with many equal confidences there are fewer bins than asked for. Each has the keys confidence, accuracy,
    low, high, n.

    Raises:
        ConfigError: for fewer than one bin.
    """
    if bins < 1:
        raise ConfigError(f"bins is {bins}; it must be at least 1")
    sure, correct = confidence_and_correct(margins)
    order = np.argsort(sure, kind="stable")
    sure, correct = sure[order], correct[order]
    rows = []
    for part in np.split(np.arange(len(sure)), _edges(sure, bins)):
        interval = wilson_interval(float(correct[part].sum()), len(part), confidence=confidence)
        if interval is not None:
            rows.append({"confidence": float(sure[part].mean())} | _accuracy(interval))
    return rows


def _edges(ordered: NDArray[np.float64], bins: int) -> NDArray[np.int64]:
    """Return where bins begin among confidences in order, but the first."""
    if not len(ordered):
        return np.zeros(0, dtype=np.int64)
    wanted = (np.arange(1, bins) * len(ordered) / bins).astype(np.int64)
    return np.unique(np.searchsorted(ordered, ordered[wanted], side="left"))


def _bin_of_each(sure: NDArray[np.float64], bins: int) -> NDArray[np.int64]:
    """Return [pair] its bin among those of ``reliability_bins``, without those that are empty."""
    order = np.argsort(sure, kind="stable")
    place = np.empty(len(sure), dtype=np.int64)
    place[order] = np.searchsorted(_edges(sure[order], bins), np.arange(len(sure)), side="right")
    return np.unique(place, return_inverse=True)[1]


def _accuracy(found: Interval) -> dict[str, float]:
    return {"accuracy": found.value, "low": found.low, "high": found.high, "n": float(found.n)}


def expected_calibration_error(margins: ArrayLike, *, bins: int = 10) -> float | None:
    """Return Σ (n_b ÷ n) |accuracy_b − confidence_b| over ``reliability_bins``; None if empty.

    Chance alone raises it, up to about 0.4 ÷ √(pairs per bin) for a model that is perfectly calibrated.
    """
    rows = reliability_bins(margins, bins=bins)
    total = sum(row["n"] for row in rows)
    if total == 0:
        return None
    return sum(row["n"] * abs(row["accuracy"] - row["confidence"]) for row in rows) / total


def calibration_error_interval(
    margins: ArrayLike, clusters: Clusters, *, bins: int = 10, confidence: float = 0.95
) -> Interval | None:
    """Return ``expected_calibration_error`` with an interval over clusters; None of fewer than two clusters.

    Chance alone raises the error, and most where the model is calibrated, so that the truth often lies below it, and a
    bootstrap never gets there. With d the shares of the error of each bin, accuracy less confidence over all pairs, and
    h draws of their sampling errors (normal, with the covariance of the sums over clusters, as far as the bins of a
    calibrated model would vary at least), the lower end takes from the error the quantile at ``confidence`` of

        Σ sign(d) h where |d| > κ √Var h,   Σ |h| elsewhere,   κ = √(log C)

    for C clusters: bins that are plainly off move to either side, and the others may all be 0 (Fang and Santos, 2019,
    Review of Economic Studies 86). The upper end adds the quantile of Σ sign(d) h, and is at least the largest
    difference of mean confidence and Wilson's interval of the accuracy, which no calibration error is below. Where few
    bins are plainly off, it holds the truth more often than stated.

    Raises:
        DataError: for margins that are not finite, or where the lengths differ.
        ConfigError: for fewer than one bin, or a confidence outside 0 to 1.
    """
    check_confidence(confidence)
    value, index = expected_calibration_error(margins, bins=bins), cluster_index(clusters)
    if value is None or int(index.max()) == 0:
        return None
    sure, correct = confidence_and_correct(margins)
    count, places = int(index.max()) + 1, _bin_of_each(sure, bins)
    errors = (correct - sure) / len(sure)
    sums = sparse.csr_array((errors, (index, places)), shape=(count, int(places.max()) + 1))
    covariance = np.asarray((sums.T @ sums).todense()) * count / (count - 1)
    calibrated = np.bincount(places, weights=sure * (1.0 - sure)) / len(sure) ** 2
    covariance += np.diag(np.maximum(calibrated - np.diag(covariance), 0.0))
    shares, clusters_behind = np.asarray(sums.sum(axis=0)).ravel(), effective_clusters(np.bincount(index))
    generator = np.random.default_rng(0)
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    drawn = generator.standard_normal((_DRAWS, len(shares))) @ root.T
    drawn /= np.sqrt(generator.chisquare(clusters_behind - 1, size=(_DRAWS, 1)) / (clusters_behind - 1))
    is_off = np.abs(shares) > math.sqrt(math.log(max(count, 3))) * np.sqrt(np.diag(covariance))
    signed = np.sign(shares) * drawn
    lower = float(np.quantile(np.where(is_off, signed, np.abs(drawn)).sum(axis=1), confidence))
    upper = float(np.quantile(signed.sum(axis=1), 0.5 + confidence / 2))
    right, stated = wilson_ends(float(correct.mean()), count, confidence), float(sure.mean())
    return finished_interval(
        value,
        value - lower,
        max(value + upper, stated - right[0], right[1] - stated),
        confidence=confidence,
        method=f"bins that may be calibrated ({count} clusters)",
        n=len(sure),
        least=0.0,
        most=1.0,
    )


def error_of_calibrated(margins: ArrayLike, *, bins: int = 10) -> float | None:
    """Return the expected calibration error that chance alone gives a calibrated model of these confidences.

    Of each bin it is E|h| of a normal h with the variance of the errors of independent pairs; None of no pairs.
    """
    sure, _ = confidence_and_correct(margins)
    if not len(sure):
        return None
    variances = np.bincount(_bin_of_each(sure, bins), weights=sure * (1.0 - sure))
    return float(np.sqrt(2.0 / math.pi * variances).sum()) / len(sure)


def best_temperature(margins: ArrayLike, *, low: float = 1e-3, high: float = 1e3) -> float | None:
    """Return the temperature to divide margins by that minimises their log loss, from ``low`` to ``high``.

    The loss is convex in 1 ÷ temperature and is searched over its logarithm. At an end of the range (``low``
    for a model that is never wrong, ``high`` for one worse than chance) there is no finite best temperature.
    None when there is nothing to fit: no pairs, or only ties.
    """
    array = _margins(margins)
    if not array.any():
        return None

    def loss_at(temperature: float) -> float:
        return float(-special.log_expit(array / temperature).mean())

    def loss_at_log(log_temperature: float) -> float:
        return loss_at(math.exp(log_temperature))

    found = optimize.minimize_scalar(
        loss_at_log,
        bounds=(math.log(low), math.log(high)),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return min((low, math.exp(float(found.x)), high), key=loss_at)


def finite_temperature(margins: ArrayLike) -> float | None:
    """Return ``best_temperature`` in a range that is set by the size of the margins, or None where there is none.

    There is none where no margin is above 0, or none below, or where they are no better than chance: then the more they
    are divided, the better. The range is from 0.001 to 1000 times the mean absolute margin, so that the answer of
    margins in another unit is that in the other unit.
    """
    array = _margins(margins)
    if not (array > 0.0).any() or not (array < 0.0).any():
        return None
    # Divided first, as the sum of large margins does not fit a float.
    largest = float(np.abs(array).max())
    size = float(np.abs(array / largest).mean())
    low, high = _TEMPERATURES
    best = best_temperature(array / largest / size, low=low, high=high)
    found = best * size * largest if best is not None and low < best < high else 0.0
    return found if 0.0 < found < math.inf else None


def temperature_interval(margins: ArrayLike, clusters: Clusters, *, confidence: float = 0.95) -> Interval | None:
    """Return ``finite_temperature`` with an interval over clusters; None where there is none, or one cluster.

    It is τ exp(± t s), with s the cluster-robust (sandwich) error of log τ at the least log loss, and Student's t.

    Raises:
        DataError: for margins that are not finite.
        ConfigError: for a confidence outside 0 to 1.
    """
    check_confidence(confidence)
    array, index = _margins(margins), cluster_index(clusters)
    value, count = finite_temperature(array), int(index.max()) + 1 if len(index) else 0
    if value is None or count < 2:
        return None
    scaled = array / value
    chance = special.expit(-scaled)
    slopes = np.bincount(index, weights=scaled * chance)
    curvature = float((scaled**2 * chance * (1.0 - chance)).sum())
    clusters_behind = effective_clusters(np.bincount(index))
    error = math.sqrt(count / (count - 1) * float((slopes**2).sum())) / curvature
    half = student_quantile(confidence, clusters_behind) * error
    low, high = (value * math.exp(min(side * half, 700.0)) for side in (-1, 1))
    method = f"sandwich ({count} clusters)"
    return finished_interval(value, low, high, confidence=confidence, method=method, n=len(array))


def held_out_margins(margins: ArrayLike, first_half: ArrayLike) -> NDArray[np.float64] | None:
    """Return [pair] each margin ÷ the temperature that fits the other half best; None where a half has none.

    So no pair is measured at a temperature that it had a part in.

    Args:
        margins: [pair].
        first_half: [pair] whether the pair belongs to the first half; pairs of one prompt should share it.

    Raises:
        DataError: for margins that are not finite, or when the lengths differ.
    """
    array, first = _margins(margins), np.asarray(first_half, dtype=bool)
    if len(array) != len(first):
        raise DataError(f"first_half has {len(first)} entries for {len(array)} margins")
    of_first, of_second = finite_temperature(array[first]), finite_temperature(array[~first])
    if of_first is None or of_second is None:
        return None
    return array / np.where(first, of_second, of_first)


def expected_errors(confidence: ArrayLike, correct: ArrayLike) -> NDArray[np.float64]:
    """Return [k] the expected number of errors among the k + 1 most confident items, equally sure ones in any order.

    Args:
        confidence: [item] how sure the model is, such as the absolute margin.
        correct: [item] 1 right, 0 wrong, between for a tie.

    Raises:
        DataError: when the lengths differ, a value is not finite, or ``correct`` lies outside 0 to 1.
    """
    sure, wrong = _confidence_and_errors(confidence, correct)
    _, place, sizes = np.unique(-sure, return_inverse=True, return_counts=True)
    mean_error = np.bincount(place, weights=wrong, minlength=len(sizes)) / np.maximum(sizes, 1)
    return np.cumsum(np.repeat(mean_error, sizes))


def area_under_risk_coverage(confidence: ArrayLike, correct: ArrayLike) -> float | None:
    """Return the mean over k of the error rate on the k most confident items, from 0 (best) to 1; None of none.

    A confidence that says nothing gives the error rate itself; one that ranks every error last gives the least.

    Raises:
        DataError: as for ``expected_errors``.

    Source: Geifman, Uziel and El-Yaniv (2019), arXiv 1805.08206.
    """
    errors = expected_errors(confidence, correct)
    return float((errors / np.arange(1, len(errors) + 1)).mean()) if len(errors) else None


def excess_risk_coverage(confidence: ArrayLike, correct: ArrayLike) -> float | None:
    """Return ``area_under_risk_coverage`` less its least value at this error rate: 0 where errors all come last.

    Raises:
        DataError: as for ``expected_errors``.
    """
    found = area_under_risk_coverage(confidence, correct)
    best = area_under_risk_coverage(correct, correct)
    return None if found is None or best is None else max(0.0, found - best)


def selective_accuracy(
    confidence: ArrayLike,
    correct: ArrayLike,
    clusters: Sequence[object] | NDArray[np.generic],
    *,
    coverages: Sequence[float] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
    level: float = 0.95,
) -> list[dict[str, float]]:
    """Return the accuracy on the most confident items, for each share of items in ``coverages``; none of no items.

    A row has the keys coverage (the share of items it is over: at least the one asked for, as equally sure items stay
    together), threshold (the least confidence of an item in it), accuracy, low, high (with an interval over clusters)
    and n.

    Args:
        confidence: [item] how sure the model is, such as the absolute margin.
        correct: [item] 1 right, 0 wrong, between for a tie.
        clusters: [item], a label per item; equal labels belong together.
        coverages: shares of items, above 0 and at most 1.
        level: stated coverage of the intervals.

    Raises:
        DataError: as for ``expected_errors``, or when ``clusters`` has another length.
        ConfigError: for a coverage outside 0 to 1, or a level outside 0 to 1.
    """
    sure, wrong = _confidence_and_errors(confidence, correct)
    labels = np.asarray(clusters)
    if len(labels) != len(sure):
        raise DataError(f"clusters has {len(labels)} entries for {len(sure)} items")
    outside = [coverage for coverage in coverages if not 0.0 < coverage <= 1.0]
    if outside:
        raise ConfigError(f"coverage is {outside[0]}; it must be above 0 and at most 1")
    rows = []
    for coverage in coverages if len(sure) else ():
        kept = most_confident(sure, coverage)
        found = proportion_interval(1.0 - wrong[kept], labels[kept], confidence=level)
        assert found is not None
        rows.append({"coverage": float(kept.mean()), "threshold": float(sure[kept].min())} | _accuracy(found))
    return rows


def most_confident(confidence: NDArray[np.float64], coverage: float) -> NDArray[np.bool_]:
    """Return [item] whether it is of the most confident share ``coverage``, with all that are as sure as its last."""
    # rounding must not ask for one more than 0.3 of ten
    count = max(int(np.ceil(coverage * len(confidence) - 1e-9)), 1)
    return confidence >= np.partition(confidence, len(confidence) - count)[len(confidence) - count]


def _confidence_and_errors(
    confidence: ArrayLike, correct: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    sure, right = finite_values(confidence, "confidence"), finite_values(correct, "correct")
    if len(sure) != len(right):
        raise DataError(f"correct has {len(right)} entries for {len(sure)} of confidence")
    check_proportions(right, "correct")
    return sure, 1.0 - right


def shared_histogram(samples: Mapping[str, ArrayLike], *, bins: int = 30) -> list[dict[str, float]]:
    """Return one row per bin: low, high, and for each sample the number of its values in the bin.

    The bins have equal width and span all samples, so that no value is left out; the last one holds its upper
    end. With no values there are no rows; where all values are equal there is one bin of width 0.

    Raises:
        DataError: for values that are not finite.
        ConfigError: for fewer than one bin, or a sample named low or high.
    """
    if bins < 1:
        raise ConfigError(f"bins is {bins}; it must be at least 1")
    arrays = {name: np.asarray(values, dtype=np.float64).ravel() for name, values in samples.items()}
    for name, array in arrays.items():
        if name in ("low", "high"):
            raise ConfigError(f"a sample is named {name!r}, which is the name of a bin's end")
        if not np.isfinite(array).all():
            raise DataError(f"sample {name!r} holds {int((~np.isfinite(array)).sum())} values that are not finite")
    filled = [array for array in arrays.values() if len(array)]
    if not filled:
        return []
    low = min(float(array.min()) for array in filled)
    high = max(float(array.max()) for array in filled)
    if low == high:
        return [{"low": low, "high": high, **{name: float(len(array)) for name, array in arrays.items()}}]
    edges = np.linspace(low, high, bins + 1)
    counts = {name: np.histogram(array, edges)[0] for name, array in arrays.items()}
    return [
        {
            "low": float(edges[index]),
            "high": float(edges[index + 1]),
            **{name: float(count[index]) for name, count in counts.items()},
        }
        for index in range(bins)
    ]


def _margins(margins: ArrayLike) -> NDArray[np.float64]:
    return finite_values(margins, "margins")
