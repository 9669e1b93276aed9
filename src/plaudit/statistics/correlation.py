"""Correlations of two numbers per item, and the reason where there is none.

A correlation of something that does not vary is no number: the functions return None, never NaN, and
``why_undefined`` says in words why.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from plaudit.errors import DataError
from plaudit.statistics.intervals import finite_values

CorrelationKind = Literal["pearson", "spearman", "kendall"]


def correlation(x: ArrayLike, y: ArrayLike, kind: CorrelationKind) -> float | None:
    """Return the correlation of ``kind`` of x and y, both [item]; None where ``why_undefined`` gives a reason.

    Raises:
        DataError: when the lengths differ or a value is not finite.
    """
    return {"pearson": pearson, "spearman": spearman, "kendall": kendall_tau_b}[kind](x, y)


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


def mean_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rank of each value from 1, equal values sharing the mean of their ranks."""
    # Equal to scipy.stats.rankdata, which takes two and a half times as long for the few rows of a resample.
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (counts.cumsum() - (counts - 1) / 2)[place]


def _is_constant(values: NDArray[np.float64]) -> bool:
    return not len(values) or bool((values == values[0]).all())


def _unit(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the deviations from the mean, scaled to length 1; no square in between overflows or vanishes."""
    scaled = np.ldexp(values, -int(np.frexp(np.abs(values).max())[1]))
    centred = scaled - scaled.mean()
    centred = centred / np.abs(centred).max()
    return centred / np.sqrt((centred * centred).sum())


def _pair(x: ArrayLike, y: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    first, second = finite_values(x, "x"), finite_values(y, "y")
    if first.shape != second.shape:
        raise DataError(f"x has shape {first.shape} and y {second.shape}; both must hold one number per item")
    return first, second
