"""Correlations of two numbers per item, each with an interval, and the reason where there is none.

A correlation of something that does not vary is no number: the functions return None, never NaN, and
``why_undefined`` says in words why.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, assert_never

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from plaudit.errors import DataError
from plaudit.records import Interval
from plaudit.statistics.intervals import check_confidence, cluster_bootstrap, cluster_index, normal_quantile

CorrelationKind = Literal["pearson", "spearman", "kendall"]


@dataclass(frozen=True, slots=True)
class Correlation:
    """A correlation with its interval, or the reason why there is none: exactly one of the two is there."""

    interval: Interval | None
    """The estimate with its interval."""
    reason: str | None
    """Why there is no interval."""


def correlation(x: ArrayLike, y: ArrayLike, kind: CorrelationKind) -> float | None:
    """Return the correlation of ``kind`` of x and y, both [item]; None where ``why_undefined`` gives a reason.

    Raises:
        DataError: when the lengths differ or a value is not finite.
    """
    match kind:
        case "pearson":
            return pearson(x, y)
        case "spearman":
            return spearman(x, y)
        case "kendall":
            return kendall_tau_b(x, y)
        case _:
            assert_never(kind)


def pearson(x: ArrayLike, y: ArrayLike) -> float | None:
    """Return Pearson's r, Σ (x − x̄)(y − ȳ) ÷ √(Σ (x − x̄)² Σ (y − ȳ)²); None where one side does not vary.

    Raises:
        DataError: when the lengths differ or a value is not finite.
    """
    first, second = _pair(x, y)
    if _is_constant(first) or _is_constant(second):
        return None
    first, second = _unit(first), _unit(second)
    # Plain sums: threads of a matrix library cost more than they give for one product of this size.
    return float(np.clip((first * second).sum(), -1.0, 1.0))


def spearman(x: ArrayLike, y: ArrayLike) -> float | None:
    """Return Spearman's ρ: Pearson's r of the ranks, equal values sharing their mean rank; None as for ``pearson``.

    Raises:
        DataError: when the lengths differ or a value is not finite.
    """
    first, second = _pair(x, y)
    return pearson(mean_ranks(first), mean_ranks(second))


def kendall_tau_b(x: ArrayLike, y: ArrayLike) -> float | None:
    """Return Kendall's τ-b, (C − D) ÷ √((P − Tx)(P − Ty)); None where one side does not vary.

    Of the P pairs of items, C are ordered alike by x and y, D oppositely, and Tx and Ty are tied in x and in y.

    Raises:
        DataError: when the lengths differ or a value is not finite.

    Source: Kendall (1945), The treatment of ties in ranking problems, Biometrika 33.
    """
    first, second = _pair(x, y)
    if _is_constant(first) or _is_constant(second):
        return None
    return float(np.clip(stats.kendalltau(first, second).statistic, -1.0, 1.0))


def why_undefined(x: ArrayLike, y: ArrayLike, *, names: tuple[str, str] = ("x", "y")) -> str | None:
    """Return why x and y have no correlation, in words that call them by ``names``; None where they have one."""
    first, second = _pair(x, y)
    if len(first) < 2:
        return f"a correlation needs two items; there {'is 1' if len(first) else 'are none'}"
    constant = [name for name, values in zip(names, (first, second), strict=True) if _is_constant(values)]
    return f"{' and '.join(constant)} {'do' if len(constant) > 1 else 'does'} not vary" if constant else None


def analytic_interval(
    x: ArrayLike,
    y: ArrayLike,
    kind: CorrelationKind,
    *,
    confidence: float = 0.95,
    names: tuple[str, str] = ("x", "y"),
) -> Correlation:
    """Return the correlation of independent items, with an interval on Fisher's scale: tanh(atanh r ± z·SE).

    SE is 1 ÷ √(n − 3) for Pearson (Fisher, 1921: exact for normal data only), √((1 + ρ²/2) ÷ (n − 3)) for Spearman
    (Bonett & Wright, 2000, Psychometrika 65), √(0.437 ÷ (n − 4)) for Kendall (Fieller, Hartley & Pearson, 1957).
    A correlation of exactly ±1 has an interval of no width. Where several items come from one prompt, use
    ``clustered_interval``.

    Raises:
        DataError: when the lengths differ or a value is not finite.
        ConfigError: for a confidence outside 0 to 1.
    """
    check_confidence(confidence)
    value = correlation(x, y, kind)
    if value is None:
        return Correlation(None, why_undefined(x, y, names=names))
    n = len(np.asarray(x))
    least = 5 if kind == "kendall" else 4
    if n < least:
        return Correlation(None, f"an interval of {kind} needs {least} items; there are {n}")
    half = normal_quantile(confidence) * _fisher_error(value, n, kind)
    at = math.atanh(value) if abs(value) < 1.0 else math.copysign(math.inf, value)
    low, high = math.tanh(at - half), math.tanh(at + half)
    methods = {"pearson": "fisher z", "spearman": "bonett-wright", "kendall": "fieller"}
    return Correlation(
        Interval(value=value, low=low, high=high, confidence=confidence, method=methods[kind], n=n), None
    )


def clustered_interval(
    x: ArrayLike,
    y: ArrayLike,
    clusters: Sequence[object] | NDArray[np.generic],
    kind: CorrelationKind,
    *,
    confidence: float = 0.95,
    resamples: int = 200,
    seed: int,
    names: tuple[str, str] = ("x", "y"),
) -> Correlation:
    """Return the correlation over all items, with a percentile interval from resampling whole clusters.

    Resamples in which one side does not vary have no value: they are left out, and counted in the method's name.

    Raises:
        DataError: when the lengths differ or a value is not finite.
        ConfigError: for fewer than one resample, or a confidence outside 0 to 1.
    """
    first, second = _pair(x, y)
    reason = why_undefined(first, second, names=names)
    if reason is not None:
        return Correlation(None, reason)
    if len(clusters) == len(first) and int(cluster_index(clusters).max()) == 0:
        return Correlation(None, "all items are of one prompt, which says nothing about others")

    def of_rows(rows: NDArray[np.float64]) -> float:
        chosen = rows.astype(np.int64)
        value = correlation(first[chosen], second[chosen], kind)
        return math.nan if value is None else value

    interval = cluster_bootstrap(
        np.arange(len(first)),
        clusters,
        statistic=of_rows,
        confidence=confidence,
        resamples=resamples,
        seed=seed,
    )
    if interval is None:
        return Correlation(None, "most resamples of the prompts have no correlation: one side hardly varies")
    return Correlation(interval, None)


def mean_ranks(values: ArrayLike) -> NDArray[np.float64]:
    """Return [item] the rank of each value, from 1 for the smallest; equal values share the mean of their ranks."""
    _, place, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]


def _fisher_error(value: float, n: int, kind: CorrelationKind) -> float:
    match kind:
        case "pearson":
            return math.sqrt(1.0 / (n - 3))
        case "spearman":
            return math.sqrt((1.0 + value * value / 2) / (n - 3))
        case "kendall":
            return math.sqrt(0.437 / (n - 4))
        case _:
            assert_never(kind)


def _is_constant(values: NDArray[np.float64]) -> bool:
    return not len(values) or bool((values == values[0]).all())


def _unit(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the deviations from the mean, scaled to length 1; no square in between overflows or vanishes."""
    scaled = np.ldexp(values, -int(np.frexp(np.abs(values).max())[1]))
    centred = scaled - scaled.mean()
    centred = centred / np.abs(centred).max()
    return centred / np.sqrt((centred * centred).sum())


def _pair(x: ArrayLike, y: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    first, second = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if first.ndim != 1 or first.shape != second.shape:
        raise DataError(f"x has shape {first.shape} and y {second.shape}; both must hold one number per item")
    for name, values in (("x", first), ("y", second)):
        if not np.isfinite(values).all():
            raise DataError(f"{name} holds {int((~np.isfinite(values)).sum())} values that are not finite")
    return first, second
