"""Figures made of sums over rows, such as F1 scores, with intervals that resample prompts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import final

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from plaudit.evaluation.metrics.estimates import Estimator
from plaudit.evaluation.metrics.traced import Floats, Made, Table, Traced, Tracing
from plaudit.records import Interval
from plaudit.statistics.intervals import cluster_index, effective_clusters, percentile_ends, wilson_interval

_BLOCK = 4_000_000
"""Numbers of resampling held at once."""


@final
class Sums:
    """The sum of every column, each [resample]; a column that no row has is 0."""

    def __init__(self, table: Floats, place: Mapping[str, int]) -> None:
        self._table = table
        self._place = place

    def of(self, column: str) -> Floats:
        """Return [resample] the sum of ``column``."""
        place = self._place.get(column)
        return np.zeros(len(self._table)) if place is None else self._table[:, place]


Formula = Callable[[Sums], Floats]
"""Computes a figure [resample] from sums; NaN where it has no value."""


@final
class Pool:
    """Columns of numbers over rows that belong to prompts; every figure of them sees the same resamples."""

    def __init__(self, columns: Mapping[str, ArrayLike], prompts: Sequence[str], estimate: Estimator) -> None:
        """Take ``columns``, each [row], and the prompt of each row."""
        self._place = {name: number for number, name in enumerate(columns)}
        self._estimate = estimate
        index = cluster_index(prompts)
        self._prompts = tuple(dict.fromkeys(prompts))
        self._rows = np.bincount(index)
        self._count = len(self._prompts)
        self._effective = effective_clusters(self._rows) if len(index) else 0.0
        self._sums = np.zeros((self._count, len(self._place)))
        for name, number in self._place.items():
            self._sums[:, number] = np.bincount(
                index, weights=np.asarray(columns[name], dtype=np.float64), minlength=self._count
            )

    def value(self, formula: Formula) -> float | None:
        """Return the figure, or None where it has no value."""
        found = float(formula(Sums(self._sums.sum(axis=0)[None], self._place))[0])
        return None if np.isnan(found) else found

    def figure(self, formula: Formula, n: int) -> Interval | None:
        """Return the figure, a share over ``n`` things, with an interval over prompts; None where it has no value.

        Resamples without a value are left out, and counted in the method's name. Where most are, or there is one prompt
        only, nothing is known about others: the interval is 0 to 1. It is Wilson's, for as many rows as there are
        prompts, where all resamples agree: they cannot tell how far the truth may lie from it.
        """
        value = self.value(formula)
        if value is None:
            return None
        if isinstance(self._estimate, Tracing):
            made = Made(self._table, lambda totals: formula(Sums(totals, self._place)), is_share=False)
            return Traced.of(value, n, made)
        if self._count == 1:
            return self._interval(value, 0.0, 1.0, "none: one prompt", n)
        draws = formula(Sums(self._resampled, self._place))
        known = draws[~np.isnan(draws)]
        if 2 * len(known) < len(draws):
            method = f"none: {len(draws) - len(known)} of {len(draws)} resamples have no value"
            return self._interval(value, 0.0, 1.0, method, n)
        confidence = self._estimate.confidence
        low, high = percentile_ends(known, self._effective, confidence)
        if low == high:
            by_prompt = wilson_interval(min(max(value, 0.0), 1.0) * self._count, self._count, confidence=confidence)
            assert by_prompt is not None
            return self._interval(value, by_prompt.low, by_prompt.high, f"wilson over {self._count} prompts", n)
        left_out = len(draws) - len(known)
        counted = f", {left_out} of {len(draws)} resamples without a value left out" if left_out else ""
        method = f"cluster bootstrap ({self._count} clusters{counted})"
        return self._interval(value, min(float(low), value), max(float(high), value), method, n)

    def exact(self, formula: Formula, n: int) -> Interval | None:
        """Return a figure that needs no data to know, such as the chance of a coin, over ``n`` things."""
        value = self.value(formula)
        return None if value is None else self._interval(value, value, value, "exact", n)

    @cached_property
    def _resampled(self) -> Floats:
        """Return [resample, column] sums over as many prompts as there are, drawn with replacement."""
        generator = np.random.default_rng(self._estimate.seed)
        resamples, even = self._estimate.resamples, np.full(self._count, 1.0 / self._count)
        block = max(1, _BLOCK // self._count)
        sizes = [min(block, resamples - start) for start in range(0, resamples, block)]
        return np.concatenate([generator.multinomial(self._count, even, size=size) @ self._sums for size in sizes])

    @cached_property
    def _table(self) -> Table:
        """Return the sums over each prompt."""
        return Table(self._prompts, tuple(self._place), sparse.csr_array(self._sums), self._rows)

    def _interval(self, value: float, low: float, high: float, method: str, n: int) -> Interval:
        return Interval(value=value, low=low, high=high, confidence=self._estimate.confidence, method=method, n=n)


def ratio(part: Floats, whole: Floats) -> Floats:
    """Return [resample] ``part`` ÷ ``whole``, NaN where ``whole`` is 0."""
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)


def harmonic(first: Floats, second: Floats) -> Floats:
    """Return [resample] 2ab ÷ (a + b): 0 where both are 0, NaN where one has no value."""
    total = first + second
    return np.divide(2.0 * first * second, total, out=np.where(np.isnan(total), np.nan, 0.0), where=total > 0)
