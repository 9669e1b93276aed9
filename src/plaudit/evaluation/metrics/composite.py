"""Blends of shares, and their intervals: a mean of parts, each a weighted mean of cells, and so on."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Union

import numpy as np

from plaudit.evaluation.metrics.estimates import Estimator
from plaudit.evaluation.metrics.traced import Made, Traced, Tracing, table_of_entries
from plaudit.records import Interval
from plaudit.statistics.intervals import effective_clusters, percentile_ends, wilson_interval
from plaudit.statistics.weighted_shares import weighted_shares_interval

_BLOCK = 4_000_000
"""Numbers of resampling held at once."""

ALL = "all"
"""The cell that all comparisons are in, where it is one."""


Part = Union[str, tuple[str, ...], "Blend", "Total", "Difference"]
"""A cell, several cells whose comparisons are pooled, or a figure made of such."""


@dataclass(frozen=True, slots=True)
class Blend:
    """A weighted mean of parts, given as (weight, part); a part without any comparison does not count."""

    parts: tuple[tuple[float, Part], ...]

    def of(self, totals: Totals) -> np.ndarray:
        """Return [resample] its value; NaN where no part has one."""
        values = np.stack([_value(part, totals) for _, part in self.parts])
        weights = np.array([weight for weight, _ in self.parts])[:, None] * ~np.isnan(values)
        total = weights.sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(total > 0, np.where(np.isnan(values), 0.0, values * weights).sum(axis=0) / total, np.nan)


@dataclass(frozen=True, slots=True)
class Total:
    """A weighted sum of parts, given as (weight, part); without a value where a part has none."""

    parts: tuple[tuple[float, Part], ...]

    def of(self, totals: Totals) -> np.ndarray:
        """Return [resample] its value; NaN where it has none."""
        return np.stack([weight * _value(part, totals) for weight, part in self.parts]).sum(axis=0)


@dataclass(frozen=True, slots=True)
class Difference:
    """One part less another; without a value where one of them has none."""

    first: Part
    second: Part

    def of(self, totals: Totals) -> np.ndarray:
        """Return [resample] its value; NaN where it has none."""
        return _value(self.first, totals) - _value(self.second, totals)


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums and numbers of comparisons, both [resample, cell], with the column of each cell."""

    sums: np.ndarray
    sizes: np.ndarray
    column: Mapping[str, int]

    def mean(self, pool: tuple[str, ...]) -> np.ndarray:
        """Return [resample] the mean over the comparisons of all cells of ``pool``; NaN where there are none."""
        columns = [self.column[cell] for cell in pool]
        sizes = self.sizes[:, columns].sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(sizes > 0, self.sums[:, columns].sum(axis=1) / sizes, np.nan)


def _leaves(part: Part) -> set[tuple[str, ...]]:
    """Return the pools of cells in ``part``."""
    if isinstance(part, str):
        return {(part,)}
    if isinstance(part, tuple):
        return {part}
    inside = (part.first, part.second) if isinstance(part, Difference) else [each for _, each in part.parts]
    return set().union(*map(_leaves, inside))


def _value(part: Part, totals: Totals) -> np.ndarray:
    if isinstance(part, str):
        return totals.mean((part,))
    return totals.mean(part) if isinstance(part, tuple) else part.of(totals)


def cells_of(part: Part) -> set[str]:
    """Return the cells that ``part`` is made of."""
    return {cell for pool in _leaves(part) for cell in pool}


def _is_share(part: Part, here: Collection[str]) -> bool:
    """Return whether ``part`` over rows of the cells ``here`` is the mean of one pool: a share, not a blend of some."""
    if not isinstance(part, Blend):
        return not isinstance(part, Total | Difference)
    inside = [each for _, each in part.parts if not cells_of(each).isdisjoint(here)]
    return len(set(inside)) == 1 and _is_share(inside[0], here)


def mean_of(*parts: Part) -> Blend:
    """Return the blend of parts that weigh the same."""
    return Blend(tuple((1.0, part) for part in parts))


def weighted(weights: Mapping[str, float]) -> Blend:
    """Return the blend of cells with these weights."""
    return Blend(tuple((weight, cell) for cell, weight in weights.items()))


def blended(
    values: Sequence[float], cells: Sequence[str], prompts: Sequence[str], part: Part, estimate: Estimator
) -> Interval | None:
    """Return the value of ``part`` over the rows of ``values`` [row], with an interval that resamples prompts.

    Rows of other cells do not count; None where it has no value. Where all rows are of different prompts the interval
    is Wilson's for the share of one pool, and for several that of Price and Bonett (see ``weighted_shares_interval``);
    a figure that all resamples agree on has Wilson's over prompts.
    """
    column = {cell: number for number, cell in enumerate(sorted(cells_of(part)))}
    rows = [index for index, cell in enumerate(cells) if cell in column]
    if not rows:
        return None
    kept = np.array([values[index] for index in rows], dtype=float)
    place = np.array([column[cells[index]] for index in rows])
    if isinstance(estimate, Tracing):
        return _traced(kept, place, [prompts[index] for index in rows], part, column)
    _, cluster = np.unique([prompts[index] for index in rows], return_inverse=True)
    if _is_share(part, {cells[index] for index in rows}):
        return estimate.mean_share(kept, cluster)
    count = int(cluster.max()) + 1
    sums, sizes = np.zeros((count, len(column))), np.zeros((count, len(column)))
    np.add.at(sums, (cluster, place), kept)
    np.add.at(sizes, (cluster, place), 1.0)
    value = float(_value(part, Totals(sums.sum(axis=0)[None], sizes.sum(axis=0)[None], column))[0])
    if np.isnan(value):
        return None
    if count == 1:
        return _interval(value, 0.0, 1.0, "none: one prompt", len(rows), estimate)
    if count == len(rows) and kept.min() >= 0.0 and kept.max() <= 1.0:
        of_shares = _of_shares(sums.sum(axis=0), sizes.sum(axis=0), part, column, estimate.confidence)
        if of_shares is not None:
            return of_shares.model_copy(update={"value": value})
    draws = _draws(sums, sizes, part, column, estimate)
    clusters = effective_clusters(sizes.sum(axis=1))
    low, high = percentile_ends(draws[~np.isnan(draws)], clusters, estimate.confidence)
    if low == high:
        # of a difference, nothing is known but that differing is rare
        differs = isinstance(part, Difference)
        share = 0.0 if differs else min(max(value, 0.0), 1.0)
        known = wilson_interval(share * count, count, confidence=estimate.confidence)
        assert known is not None  # there is a prompt
        low, high = (value - known.high, value + known.high) if differs else (known.low, known.high)
        method = f"wilson over {count} prompts"
    else:
        method = f"cluster bootstrap ({count} clusters)"
    return _interval(value, min(float(low), value), max(float(high), value), method, len(rows), estimate)


def _of_shares(
    sums: np.ndarray, sizes: np.ndarray, part: Part, column: Mapping[str, int], confidence: float
) -> Interval | None:
    """Return the interval of ``part`` as a weighted sum of shares; None where a cell is in two of its pools.

    ``sums`` and ``sizes`` are [cell]. The weight of a pool is what ``part`` is where all of the pool is won and nothing
    else is.
    """
    pools = [[column[cell] for cell in pool] for pool in sorted(_leaves(part))]
    pools = [pool for pool in pools if sizes[pool].any()]
    cells = [cell for pool in pools for cell in pool]
    if len(set(cells)) < len(cells):
        return None
    won = np.zeros((len(pools), len(sizes)))
    for number, pool in enumerate(pools):
        won[number, pool] = sizes[pool]
    weights = _value(part, Totals(won, np.broadcast_to(sizes, won.shape), column))
    if not weights.any():
        return None
    right, counts = (np.array([each[pool].sum() for pool in pools]) for each in (sums, sizes))
    found = weighted_shares_interval(weights, right, counts, confidence=confidence)
    least, most = float(np.minimum(weights, 0.0).sum()), float(np.maximum(weights, 0.0).sum())
    return found.model_copy(update={"low": max(found.low, least), "high": min(found.high, most)})


def _traced(
    values: np.ndarray, place: np.ndarray, prompts: Sequence[str], part: Part, column: Mapping[str, int]
) -> Interval | None:
    """Return the value of ``part`` with its sums over prompts: of each cell that of values, then its number of rows."""
    if is_share := _is_share(part, column):
        column, part, place = {ALL: 0}, ALL, np.zeros_like(place)
    width = len(column)

    def formula(totals: np.ndarray) -> np.ndarray:
        return _value(part, Totals(totals[:, :width], totals[:, width:], column))

    names = (*column, *(f"{cell}: rows" for cell in column))
    entries = np.concatenate([values, np.ones(len(values))]), np.concatenate([place, place + width])
    table = table_of_entries(*entries, names, [*prompts, *prompts])
    value = float(formula(np.asarray(table.sums.sum(axis=0))[None])[0])
    return None if np.isnan(value) else Traced.of(value, len(values), Made(table, formula, is_share=is_share))


def _draws(
    sums: np.ndarray, sizes: np.ndarray, part: Part, column: Mapping[str, int], estimate: Estimator
) -> np.ndarray:
    """Return [resample] the value over as many prompts as there are, drawn with replacement."""
    generator = np.random.default_rng(estimate.seed)
    count = len(sums)
    block = max(1, _BLOCK // count)
    found = []
    for start in range(0, estimate.resamples, block):
        times = generator.multinomial(count, np.full(count, 1.0 / count), size=min(block, estimate.resamples - start))
        found.append(_value(part, Totals(times @ sums, times @ sizes, column)))
    return np.concatenate(found)


def _interval(value: float, low: float, high: float, method: str, n: int, estimate: Estimator) -> Interval:
    return Interval(value=value, low=low, high=high, confidence=estimate.confidence, method=method, n=n)


def exact(values: Sequence[float], cells: Sequence[str], part: Part, estimate: Estimator) -> Interval | None:
    """Return the value of ``part`` over ``values`` known without data, such as the chance of a coin; None of none."""
    column = {cell: number for number, cell in enumerate(sorted(cells_of(part)))}
    sums, sizes = np.zeros((1, len(column))), np.zeros((1, len(column)))
    for each, cell in zip(values, cells, strict=True):
        if cell in column:
            sums[0, column[cell]] += each
            sizes[0, column[cell]] += 1
    value = float(_value(part, Totals(sums, sizes, column))[0])
    return None if np.isnan(value) else _interval(value, value, value, "exact", int(sizes.sum()), estimate)
