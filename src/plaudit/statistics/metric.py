"""A metric as a value: the data it is computed from, before any interval.

A measurer returns metrics. ``interval`` here and ``compare`` in ``statistics.compare`` quantify their uncertainty,
and both resample whole prompts: rows of one prompt rise and fall together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Literal, assert_never, final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from plaudit.records import Interval
from plaudit.statistics.intervals import (
    Clusters,
    Floats,
    check_confidence,
    cluster_index,
    effective_clusters,
    finished_interval,
    fraction_interval,
    jackknife_variance,
    logit_ends,
    mean_interval,
    percentile_ends,
    proportion_interval,
    student_quantile,
    weighted_proportions_interval,
    wilson_ends,
)

Ints = NDArray[np.int64]

ROW_RESAMPLES = 200
"""A statistic of rows whose interval is made of resamples is computed anew for as many at most."""

PARTS = 200
"""A statistic of rows is computed anew without each prompt, or, of more prompts, without each of these parts."""

_FEW = 20
"""Prompts below which resamples, or the spread of a correlation, are not trusted alone."""

_BLOCK = 4_000_000
"""Numbers of resampling held at once."""


@final
@dataclass(frozen=True, slots=True)
class IntervalSettings:
    """Settings of an interval."""

    confidence: float = 0.95
    """Stated coverage."""
    resamples: int = 1000
    """Resamples of the prompts, where any are drawn."""
    seed: int = 0
    """The same seed gives the same interval."""


MeanKind = Literal["proportion", "fraction", "signed", "number", "root_mean_square"]
"""Kind of the rows of a mean.

``proportion``: 1 right, 0 wrong, between for a tie. ``fraction``: from 0 to 1, each itself a mean of several things.
``signed``: from −1 to 1, as differences of proportions. ``number``: any numbers. ``root_mean_square``: squares, of
whose mean the metric is the root.
"""


@final
@dataclass(frozen=True, slots=True, eq=False)
class RowMean:
    """The mean over rows that belong to prompts."""

    values: Floats
    """[row]."""
    prompts: Clusters
    """[row] label of its prompt."""
    kind: MeanKind = "proportion"

    @property
    def n(self) -> int:
        """Return the number of rows."""
        return len(self.values)

    @property
    def value(self) -> float | None:
        """Return the metric, or None where there are no rows."""
        if not self.n:
            return None
        mean = math.fsum(self.values) / self.n
        return math.sqrt(mean) if self.kind == "root_mean_square" else mean


@final
@dataclass(frozen=True, slots=True, eq=False)
class PromptSums:
    """Sums over the rows of each prompt, by column."""

    prompts: tuple[object, ...]
    """Label of each prompt, in order of first appearance."""
    columns: tuple[str, ...]
    """Name of each column."""
    sums: sparse.csr_array
    """[prompt, column]."""
    sizes: Ints
    """[prompt] number of rows."""

    @classmethod
    def of_rows(cls, columns: Mapping[str, ArrayLike], prompts: Sequence[object]) -> PromptSums:
        """Return the sums of ``columns``, each [row], over the rows of each prompt."""
        index, labels = cluster_index(prompts), tuple(dict.fromkeys(prompts))
        sums = [np.bincount(index, weights=np.asarray(each), minlength=len(labels)) for each in columns.values()]
        table = sparse.csr_array(np.stack(sums, axis=1).astype(np.float64))
        return cls(labels, tuple(columns), table, np.bincount(index, minlength=len(labels)))

    @classmethod
    def of_entries(cls, values: Floats, place: Ints, columns: tuple[str, ...], prompts: Sequence[object]) -> PromptSums:
        """Return the sums of ``values`` over prompts: each entry has a column, its ``place``, and a prompt."""
        index = cluster_index(prompts)
        labels = tuple(dict.fromkeys(prompts))
        sums = sparse.csr_array((values, (index, place)), shape=(len(labels), len(columns)))
        return cls(labels, columns, sums, np.bincount(index, minlength=len(labels)))

    @property
    def total(self) -> Floats:
        """Return [1, column] the sums over all prompts."""
        return np.asarray(self.sums.sum(axis=0), dtype=np.float64)[None]

    def value(self, formula: Callable[[Columns], Floats]) -> float | None:
        """Return a formula of the totals, or None where it has no value."""
        found = float(formula(Columns(self.total, self._places()))[0])
        return None if math.isnan(found) else found

    def metric(self, formula: Callable[[Columns], Floats], n: int) -> TotalsFormula:
        """Return a proportion over ``n`` things that is a formula of the totals, by the names of their columns."""
        places = self._places()
        return TotalsFormula(self, lambda totals: formula(Columns(totals, places)), n)

    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.columns)}


@final
@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Totals by the name of their column, each [resample]; a column that is not there is 0."""

    totals: Floats
    places: Mapping[str, int]

    def __getitem__(self, column: str) -> Floats:
        """Return [resample] the totals of ``column``."""
        place = self.places.get(column)
        return np.zeros(len(self.totals)) if place is None else self.totals[:, place]

    def sum(self, columns: Iterable[str]) -> Floats:
        """Return [resample] the sum of the totals of ``columns``."""
        return np.sum([self[column] for column in columns], axis=0)


@final
@dataclass(frozen=True, slots=True)
class WeightedProportions:
    """A weighted sum of proportions of independent items: Σ weight × successes ÷ count, each [proportion]."""

    weights: Floats
    successes: Floats
    counts: Floats


Unsettled = Literal["one prompt", "no value", "all agree"]
"""Reason why resamples of prompts cannot give the interval of a metric.

There is one prompt; most resamples have no value; all resamples agree.
"""

Ends = tuple[float, float, str]
"""Lower end, upper end, and how they were made."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class TotalsFormula:
    """A formula of totals over prompts, as an F1, a ratio of pooled counts or a weighted mean of categories."""

    sums: PromptSums
    """Sums per prompt."""
    formula: Callable[[Floats], Floats]
    """Computes the metric [resample] from totals [resample, column]; NaN where it has no value."""
    n: int
    """Number of things that it is over, for the record."""
    least: float = 0.0
    """Smallest value that it can have."""
    most: float = 1.0
    """Largest one."""
    unsettled: Callable[[Unsettled, float], Ends | None] | None = None
    """From why resamples cannot tell, and the confidence, to the ends; or None: the metric is absent. By default one
    prompt says nothing, nor do resamples without a value, and where all agree it is Wilson's over prompts."""
    drawn: Literal["times by name", "times", "one by one"] = "times"
    """Way of drawing prompts: multiplicities, by name or as they stand; or one by one. All are the same resampling, but
    their random numbers differ."""

    proportions: WeightedProportions | None = None
    """The same as a weighted sum of independent proportions, where it is one: its interval needs no resampling."""

    @property
    def value(self) -> float | None:
        """Return the metric, or None where it has no value."""
        found = float(self.formula(self.sums.total)[0])
        return None if math.isnan(found) else found


@final
@dataclass(frozen=True, slots=True, eq=False)
class RowStatistic:
    """A statistic of rows that is no formula of sums, such as a rank correlation."""

    statistic: Callable[[Ints], float | None]
    """Computes the metric from row numbers; None, or not finite, where it has no value."""
    prompts: Clusters
    """[row] label of its prompt."""
    scale: Literal["logit", "fisher", "resampled"] = "resampled"
    """Scale on which Student's interval with the jackknife is made: ``logit`` for a metric from 0 to 1, ``fisher`` for
    a correlation. ``resampled``: quantiles over ``ROW_RESAMPLES`` resamples of the prompts, for a metric that single
    prompts do not move, such as the rank correlation of a few models."""
    analytic: Callable[[float], Interval | None] | None = None
    """Computes an interval over prompts by a formula of its own, from the confidence."""
    agreed: Callable[[float], Ends | None] | None = None
    """From the confidence to the ends on the scale ``logit`` where no prompt moves the metric; by default they are
    Wilson's over prompts."""

    @property
    def n(self) -> int:
        """Return the number of rows."""
        return len(self.prompts)

    @property
    def value(self) -> float | None:
        """Return the metric, or None where it has no value."""
        return self.of(np.arange(self.n))

    def of(self, rows: Ints) -> float | None:
        """Return the metric over ``rows``, or None where it has no value."""
        found = self.statistic(rows)
        return None if found is None or not math.isfinite(found) else found


@final
@dataclass(frozen=True, slots=True)
class Exact:
    """A number that is known without sampling error, such as the chance of a coin."""

    value: float
    n: int
    """Number of things that it is over, for the record."""
    method: str = "exact"


Metric = RowMean | TotalsFormula | RowStatistic | Exact


def exact_value(metric: Metric | None) -> Exact | None:
    """Return the value of a metric as one that is known without data; None where it has none."""
    value = None if metric is None else metric.value
    return None if metric is None or value is None else Exact(value, metric.n)


def interval(metric: Metric, settings: IntervalSettings) -> Interval | None:
    """Return the metric with an interval over prompts, or None where it has no value or one prompt gives it none.

    A mean over rows has Wilson's interval where each prompt comes once and the rows are right or wrong, else Student's
    with the jackknife over prompts (see ``statistics.intervals``), which most statistics of rows have too. A formula of
    totals has the expanded percentile interval of resampled prompts, unless there is a formula.

    Raises:
        ConfigError: for a confidence outside 0 to 1.
    """
    check_confidence(settings.confidence)
    match metric:
        case RowMean():
            return _of_mean(metric, settings.confidence)
        case TotalsFormula():
            return _of_formula(metric, settings)
        case RowStatistic():
            if metric.analytic is not None:
                return metric.analytic(settings.confidence)
            return _of_statistic(metric, settings)
        case Exact(value, n, method):
            return finished_interval(value, value, value, confidence=settings.confidence, method=method, n=n)
        case _:
            assert_never(metric)


def _of_mean(metric: RowMean, confidence: float) -> Interval | None:
    values, prompts = metric.values, metric.prompts
    match metric.kind:
        case "proportion":
            return proportion_interval(values, prompts, confidence=confidence)
        case "fraction":
            return _of_fractions(values, prompts, confidence)
        case "signed":
            found = _of_fractions((values + 1.0) / 2.0, prompts, confidence)
            if found is None or len(set(cluster_index(prompts).tolist())) < 2:
                return None
            value, low, high = (2.0 * each - 1.0 for each in (found.value, found.low, found.high))
            return found.model_copy(update={"value": value, "low": low, "high": high})
        case "number":
            return mean_interval(values, prompts, confidence=confidence)
        case "root_mean_square":
            found = mean_interval(values, prompts, confidence=confidence)
            if found is None:
                return None
            value, low, high = (math.sqrt(each) for each in (found.value, found.low, found.high))
            return found.model_copy(update={"value": value, "low": low, "high": high})
        case _:
            assert_never(metric.kind)


def _of_fractions(values: Floats, prompts: Clusters, confidence: float) -> Interval | None:
    if np.isin(values, (0.0, 1.0)).all() or int(cluster_index(prompts).max()) == 0:
        return proportion_interval(values, prompts, confidence=confidence)
    return fraction_interval(values, prompts, confidence=confidence)


def _of_formula(metric: TotalsFormula, settings: IntervalSettings) -> Interval | None:
    value, confidence, count = metric.value, settings.confidence, len(metric.sums.prompts)
    if value is None:
        return None
    unsettled = metric.unsettled or partial(_default_ends, metric, value)
    if count == 1:
        ends = unsettled("one prompt", confidence)
    elif metric.proportions is not None:
        parts = metric.proportions
        found = weighted_proportions_interval(parts.weights, parts.successes, parts.counts, confidence=confidence)
        ends = found.low, found.high, found.method
    else:
        draws = metric.formula(resampled_totals(metric.sums, metric.drawn, settings.resamples, settings.seed))
        known = draws[~np.isnan(draws)]
        if 2 * len(known) < len(draws):
            ends = unsettled("no value", confidence)
        else:
            low, high = percentile_ends(known, effective_clusters(metric.sums.sizes), confidence)
            if count < _FEW and low < high:
                low, high = _no_closer(metric, value, low, high, confidence)
            drawn = _left_out(len(draws) - len(known), len(draws))
            method = f"cluster bootstrap ({count} clusters, {len(draws)} resamples{drawn})"
            ends = (low, high, method) if low < high else unsettled("all agree", confidence)
    if ends is None:
        return None
    low, high, method = ends
    return finished_interval(value, low, high, confidence=confidence, method=method, n=metric.n)


def _no_closer(metric: TotalsFormula, value: float, low: float, high: float, confidence: float) -> tuple[float, float]:
    """Return the ends, no closer than Student's with the jackknife: resamples of few prompts lie too close together."""
    without = metric.formula(metric.sums.total - metric.sums.sums.toarray())
    spread = jackknife_variance(without[~np.isnan(without)], value)
    count, clusters = len(metric.sums.prompts), effective_clusters(metric.sums.sizes)
    if metric.least == 0.0 and metric.most == 1.0:
        ends = logit_ends(value, spread, count, clusters, confidence)[:2]
    else:
        half = student_quantile(confidence, clusters) * math.sqrt(spread)
        ends = max(value - half, metric.least), min(value + half, metric.most)
    return min(low, ends[0]), max(high, ends[1])


def _default_ends(metric: TotalsFormula, value: float, why: Unsettled, confidence: float) -> Ends:
    count, (least, most) = len(metric.sums.prompts), (metric.least, metric.most)
    match why:
        case "one prompt":
            return least, most, "none: one prompt"
        case "no value":
            return least, most, "none: most resamples of the prompts have no value"
        case "all agree":
            method = f"wilson over {count} prompts"
            if least == -most:  # of a difference nothing is known but that differing is rare
                _, reach = wilson_ends(0.0, count, confidence)
                return value - reach, value + reach, method
            return *wilson_ends(value, count, confidence), method
        case _:
            assert_never(why)


def _of_statistic(metric: RowStatistic, settings: IntervalSettings) -> Interval | None:
    index = cluster_index(metric.prompts)
    count = int(index.max()) + 1 if len(index) else 0
    value = metric.value if count > 1 else None
    if value is None:
        return None
    if metric.scale == "resampled":
        return _of_resamples(metric, index, value, settings)
    parts = index % PARTS
    found = [metric.of(np.flatnonzero(parts != part)) for part in range(min(count, PARTS))]
    without = np.array([each for each in found if each is not None])
    if 2 * len(without) < len(found):
        return None
    clusters, confidence = effective_clusters(np.bincount(index)), settings.confidence
    spread = jackknife_variance(without, value)
    reach = student_quantile(confidence, clusters)
    of_parts = f" in {PARTS} parts" if count > PARTS else ""
    match metric.scale:
        case "logit":
            low, high, method = logit_ends(value, spread, count, clusters, confidence)
            if method.startswith("wilson") and metric.agreed is not None:
                low, high, method = metric.agreed(confidence) or (low, high, method)
        case "fisher":
            # Without a prompt that alone makes a side vary, there is no correlation.
            spread = jackknife_variance(np.array([0.0 if each is None else each for each in found]), value)
            low, high = fisher_ends(value, spread, count, len(index), reach)
            method = f"fisher student ({count} clusters{of_parts})"
        case _:
            assert_never(metric.scale)
    return finished_interval(value, low, high, confidence=confidence, method=method, n=metric.n)


def _of_resamples(metric: RowStatistic, index: Ints, value: float, settings: IntervalSettings) -> Interval | None:
    resamples, count = min(settings.resamples, ROW_RESAMPLES), int(index.max()) + 1
    found = [metric.of(rows) for rows in resampled_rows(index, resamples, settings.seed)]
    draws = np.array([each for each in found if each is not None])
    if 2 * len(draws) < resamples:
        return None
    low, high = percentile_ends(draws, effective_clusters(np.bincount(index)), settings.confidence)
    drawn = f"{resamples} resamples{_left_out(resamples - len(draws), resamples)}"
    method = f"cluster bootstrap ({count} clusters, {drawn})"
    return finished_interval(value, low, high, confidence=settings.confidence, method=method, n=metric.n)


def fisher_ends(value: float, variance: float, prompts: int, rows: int, reach: float) -> tuple[float, float]:
    """Return the ends of a correlation of a jackknife variance: tanh(artanh r ± ``reach`` √v ÷ (1 − r²)).

    A correlation of 1 is no evidence that the true one is 1: r counts as at most 1 − 1 ÷ ``prompts``. Of fewer than
    twenty prompts v ÷ (1 − r²)² is at least 1 ÷ ``rows``, about that of independent rows, since few prompts may agree.
    """
    kept = math.copysign(min(abs(value), 1.0 - 1.0 / prompts), value)
    spread = variance / (1.0 - kept * kept) ** 2
    half = reach * math.sqrt(max(spread, 1.0 / rows) if prompts < _FEW else spread)
    return math.tanh(math.atanh(kept) - half), math.tanh(math.atanh(kept) + half)


def drawn_prompts(count: int, resamples: int, seed: int) -> Iterator[Ints]:
    """Yield for each resample [count] the numbers of the prompts drawn, with replacement and one by one."""
    generator = np.random.default_rng(seed)
    for _ in range(resamples):
        yield generator.integers(count, size=count)


def resampled_rows(index: Ints, resamples: int, seed: int) -> Iterator[Ints]:
    """Yield for each resample of prompts the numbers of their rows; ``index`` is [row] the number of its prompt."""
    members = np.split(np.argsort(index, kind="stable"), np.cumsum(np.bincount(index))[:-1])
    for prompts in drawn_prompts(len(members), resamples, seed):
        yield np.concatenate([members[k] for k in prompts])


@lru_cache(maxsize=4)
def resampled_totals(
    sums: PromptSums, drawn: Literal["times by name", "times", "one by one"], resamples: int, seed: int
) -> Floats:
    """Return [resample, column] totals over as many prompts as there are, drawn with replacement.

    Metrics of the same sums see the same resamples; the last ones are remembered.
    """
    count = len(sums.prompts)
    table = sums.sums
    if drawn == "times by name":
        table = sparse.csr_array(table[np.argsort(np.array(sums.prompts, dtype=str), kind="stable")])
    blocks = []
    for times in drawn_times(count, resamples, seed, drawn):
        blocks.append(np.asarray((table.T @ times.T.astype(np.float64)).T))
    return np.concatenate(blocks)


def drawn_times(count: int, resamples: int, seed: int, drawn: str) -> Iterator[NDArray[np.int64]]:
    """Yield blocks of [resample, prompt] how many times each prompt is drawn."""
    generator, even = np.random.default_rng(seed), np.full(count, 1.0 / count)
    one_by_one = drawn_prompts(count, resamples, seed)
    block = max(1, _BLOCK // count)
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        if drawn == "one by one":
            yield np.stack([np.bincount(next(one_by_one), minlength=count) for _ in range(size)])
        else:
            yield generator.multinomial(count, even, size=size)


def ratio(part: Floats, whole: Floats) -> Floats:
    """Return [resample] ``part`` ÷ ``whole``, NaN where ``whole`` is 0."""
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)


def harmonic(first: Floats, second: Floats) -> Floats:
    """Return [resample] 2ab ÷ (a + b): 0 where both are 0, NaN where one has no value."""
    total = first + second
    return np.divide(2.0 * first * second, total, out=np.where(np.isnan(total), np.nan, 0.0), where=total > 0)


def _left_out(number: int, resamples: int) -> str:
    return f", {number} of {resamples} resamples without a value left out" if number else ""
