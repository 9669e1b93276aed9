"""Figures that know what they are made of, so that two models can be compared on the same resamples of prompts.

A benchmark measures items with an ``Estimator``. With ``Tracing`` in its place each figure is a ``Traced``: it has no
interval, but carries the sums over each prompt and the formula that makes the figure of their totals.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self, final

import numpy as np
from numpy.typing import NDArray
from pydantic import PrivateAttr
from scipy import sparse
from typing_extensions import override

from plaudit.evaluation.metrics.estimates import Estimator
from plaudit.records import Interval
from plaudit.statistics.intervals import cluster_index

Floats = NDArray[np.float64]

_METHOD = "traced: no interval"
_RIGHT, _COUNT = "right", "n"


@final
@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Sums over the rows of each prompt, by column."""

    prompts: tuple[object, ...]
    """Label of each prompt."""
    columns: tuple[str, ...]
    """Name of each column."""
    sums: sparse.csr_array
    """[prompt, column]."""
    sizes: NDArray[np.int64]
    """[prompt] number of rows, or of entries."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """A figure of totals over prompts."""

    table: Table
    """What is added."""
    formula: Callable[[Floats], Floats]
    """From totals [resample, column] to the figure [resample]; NaN where it has no value."""
    is_share: bool
    """Whether it is column 0, of shares, over column 1, the number of rows, and nothing else."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """A figure of rows that is no formula of sums, such as a rank statistic."""

    prompts: tuple[object, ...]
    """[row] label of its prompt."""
    statistic: Callable[[NDArray[np.int64]], float | None]
    """From the numbers of rows to the figure; None where it has no value."""


@final
class Traced(Interval):
    """A figure without an interval, with what it is made of."""

    _origin: Made | Drawn = PrivateAttr()

    @property
    def origin(self) -> Made | Drawn:
        """Return what the figure is made of."""
        return self._origin

    @classmethod
    def of(cls, value: float, n: int, origin: Made | Drawn) -> Self:
        """Return the figure of ``value`` over ``n`` things."""
        found = cls(value=value, low=value, high=value, method=_METHOD, n=n)
        found._origin = origin
        return found


@final
@dataclass(frozen=True, slots=True)
class Tracing(Estimator):
    """Makes traced figures in place of intervals; draws nothing."""

    @classmethod
    def new(cls) -> Self:
        """Return one; the settings of an estimator mean nothing to it."""
        return cls(confidence=0.95, resamples=1, seed=0)

    @override
    def share(self, outcomes: np.ndarray, prompts: np.ndarray) -> Interval | None:
        """Return the mean of ``outcomes``, traced; None where there are none."""
        return self.mean_share(outcomes, prompts)

    @override
    def mean_share(self, shares: np.ndarray, prompts: np.ndarray) -> Interval | None:
        """Return the mean of ``shares``, traced; None where there are none."""
        if not len(shares):
            return None
        columns = {_RIGHT: np.asarray(shares, dtype=float), _COUNT: np.ones(len(shares))}
        made = Made(table_of(columns, list(prompts)), mean_of_totals, is_share=True)
        return Traced.of(float(np.mean(shares)), len(shares), made)

    @override
    def mean(self, values: np.ndarray, prompts: np.ndarray) -> Interval | None:
        """Return the mean of ``values``, traced; None for fewer than two prompts."""
        if len(set(np.asarray(prompts).tolist())) < 2:
            return None
        columns = {_RIGHT: np.asarray(values, dtype=float), _COUNT: np.ones(len(values))}
        made = Made(table_of(columns, list(prompts)), mean_of_totals, is_share=False)
        return Traced.of(float(np.mean(values)), len(values), made)

    @override
    def of_rows(self, statistic: Callable[[np.ndarray], float | None], prompts: np.ndarray) -> Interval | None:
        """Return ``statistic`` of the numbers of all rows, traced; None where it has no value."""
        value = statistic(np.arange(len(prompts)))
        if value is None or not math.isfinite(value):
            return None
        return Traced.of(value, len(prompts), Drawn(tuple(np.asarray(prompts).tolist()), statistic))

    @override
    def of_rows_biased(self, statistic: Callable[[np.ndarray], float | None], prompts: np.ndarray) -> Interval | None:
        """Return ``of_rows``."""
        return self.of_rows(statistic, prompts)


def table_of(columns: Mapping[str, NDArray[np.generic]], prompts: Sequence[object]) -> Table:
    """Return the sums of ``columns``, each [row], over the rows of each prompt."""
    values = np.concatenate([np.asarray(each, dtype=np.float64) for each in columns.values()])
    place = np.repeat(np.arange(len(columns)), len(prompts))
    return table_of_entries(values, place, tuple(columns), [*prompts] * len(columns))


def table_of_entries(
    values: NDArray[np.float64], place: NDArray[np.int64], columns: tuple[str, ...], prompts: Sequence[object]
) -> Table:
    """Return the sums of ``values`` over prompts: each entry has a column, its ``place``, and a prompt.

    Prompts come in the order in which they appear.
    """
    index = cluster_index(prompts)
    labels = tuple(dict.fromkeys(prompts))
    sums = sparse.csr_array((values, (index, place)), shape=(len(labels), len(columns)))
    return Table(labels, columns, sums, np.bincount(index, minlength=len(labels)))


def mean_of_totals(totals: Floats) -> Floats:
    """Return [resample] column 0 ÷ column 1, NaN where that is 0."""
    part, whole = totals[:, 0], totals[:, 1]
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)
