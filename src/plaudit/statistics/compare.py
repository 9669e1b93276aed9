"""Two models by one metric, over the same prompts: the difference with its interval, and a test of no difference."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, special, stats

from plaudit.errors import ConfigError, DataError
from plaudit.records import Interval
from plaudit.statistics.intervals import (
    Floats,
    check_confidence,
    cluster_index,
    effective_clusters,
    finished_interval,
    percentile_ends,
    wilson_ends,
)
from plaudit.statistics.metric import (
    Exact,
    Ints,
    Metric,
    PromptSums,
    RowMean,
    RowStatistic,
    TotalsFormula,
    drawn_times,
    ratio,
    resampled_rows,
)
from plaudit.statistics.paired_tests import paired_difference, permutation_test

PAIRED_ROW_RESAMPLES = 500
"""A statistic of rows is computed anew for both models in each resample: it gets no more than these."""

SIGN_FLIPS = "sign flips of prompts"
SWAPS = "swaps of the models of prompts"
BOOTSTRAP = "bootstrap over prompts"
"""The tests, in words."""

Formula = Callable[[Floats], Floats]
"""Computes a metric [resample] from totals [resample, column]; NaN where it has no value."""

_BLOCK = 4_000_000
"""Numbers of resampling held at once."""
_ROUNDING = 1e-9
"""Metrics that are closer than this are equal but for rounding."""
_STEP = 1e-4
"""Change of a total, of things that are counted, from which the slope of a metric is taken."""
_NO_VALUE = "most resamples of the prompts have no value"
_NOT_MADE = "its interval is not made from rows that belong to prompts"


@final
@dataclass(frozen=True, slots=True)
class PairedSettings:
    """Settings of a paired comparison of two models."""

    confidence: float = 0.95
    """Stated coverage of the interval."""
    resamples: int = 2000
    permutations: int = 2000
    seed: int = 0


@final
@dataclass(frozen=True, slots=True)
class PairedMetric:
    """One metric of two models."""

    first: float
    """The first model's."""
    second: float
    """The second model's."""
    n: tuple[int, int]
    """Number of items behind each."""
    prompts: int
    """Prompts that these belong to."""
    difference: Interval
    """First less second."""
    p_value: float
    """Two-sided, of no difference."""
    test: str
    """Test behind the p-value."""


def compare(first: Metric, second: Metric, settings: PairedSettings) -> PairedMetric | str:
    """Return the difference of a metric of two models, or why it cannot be tested.

    A proportion of rows that both models have has Student's interval and the sign-flip test over prompts (see
    ``paired_difference`` and ``permutation_test``); any other formula of sums has the paired bootstrap and the swap
    test (see ``PairedTotals``); a statistic of rows has the paired bootstrap for both.

    Raises:
        ConfigError: for a confidence outside 0 to 1, or fewer than one resample or permutation.
    """
    if isinstance(first, Exact) or isinstance(second, Exact):
        return _NOT_MADE
    if isinstance(first, RowStatistic) and isinstance(second, RowStatistic):
        return _of_rows(first, second, settings)
    if isinstance(first, RowStatistic) or isinstance(second, RowStatistic):
        return "the two models' metrics are made in different ways"
    values = first.value, second.value
    if values[0] is None or values[1] is None:
        return _NO_VALUE
    if isinstance(first, RowMean) and isinstance(second, RowMean) and first.kind == second.kind:
        paired = _of_proportions(first, second, values[0], values[1], settings)
        if paired is not None:
            return paired
    return _of_totals(_as_formula(first), _as_formula(second), settings)


def _as_formula(metric: RowMean | TotalsFormula) -> TotalsFormula:
    if isinstance(metric, TotalsFormula):
        return metric
    sums = _sums_of(metric)
    root = metric.kind == "root_mean_square"
    return TotalsFormula(sums, _root_mean if root else _mean, metric.n)


def _sums_of(metric: RowMean) -> PromptSums:
    labels = metric.prompts.tolist() if isinstance(metric.prompts, np.ndarray) else metric.prompts
    return PromptSums.of_rows({"right": metric.values, "n": np.ones(metric.n)}, labels)


def _mean(totals: Floats) -> Floats:
    return ratio(totals[:, 0], totals[:, 1])


def _root_mean(totals: Floats) -> Floats:
    return np.sqrt(_mean(totals))


def _of_proportions(
    first: RowMean, second: RowMean, one: float, other: float, settings: PairedSettings
) -> PairedMetric | None:
    """Return the difference of two proportions or fractions of the same rows; None where it is of other things."""
    if first.kind not in ("proportion", "fraction"):
        return None
    sums, sizes = _by_prompt(_sums_of(first), _sums_of(second))
    if not np.array_equal(sizes[:, 0], sizes[:, 1]):
        return None
    counts = np.rint(sizes[:, 0]).astype(np.int64)
    differences = sums[:, 0] - sums[:, 1]
    rows = np.repeat(differences / counts, counts)
    difference = paired_difference(rows, np.repeat(np.arange(len(counts)), counts), confidence=settings.confidence)
    assert difference is not None  # there is a row
    p_value = permutation_test(differences, np.arange(len(counts)), seed=settings.seed)
    return PairedMetric(one, other, (first.n, second.n), len(counts), difference, p_value, SIGN_FLIPS)


def _by_prompt(first: PromptSums, second: PromptSums) -> tuple[Floats, Floats]:
    """Return [prompt, model] the sums and the numbers of rows of both models, over all prompts that either has."""
    labels = {label: number for number, label in enumerate(dict.fromkeys([*first.prompts, *second.prompts]))}
    table = np.zeros((len(labels), 2, 2))
    for model, side in enumerate((first, second)):
        rows = [labels[label] for label in side.prompts]
        table[rows, model] = side.sums.toarray()
    return table[:, :, 0], table[:, :, 1]


def _of_totals(first: TotalsFormula, second: TotalsFormula, settings: PairedSettings) -> PairedMetric | str:
    aligned = _aligned(first.sums, second.sums, settings)
    totals, values = aligned.totals, (first.value, second.value)

    def one(sums: Floats) -> Floats:
        return first.formula(sums[:, aligned.columns[0]])

    def other(sums: Floats) -> Floats:
        return second.formula(sums[:, aligned.columns[1]])

    difference = totals.difference(one, other, n=first.n, confidence=settings.confidence)
    if difference is None or values[0] is None or values[1] is None:
        return _NO_VALUE
    p_value = totals.swap_test(one, other)
    return PairedMetric(values[0], values[1], (first.n, second.n), totals.count, difference, p_value, SWAPS)


def _of_rows(first: RowStatistic, second: RowStatistic, settings: PairedSettings) -> PairedMetric | str:
    index = cluster_index(first.prompts)
    if not np.array_equal(np.asarray(first.prompts), np.asarray(second.prompts)):
        return "the two models have it over different rows, for a missing reward or a tie"
    if int(index.max()) == 0:
        return "all rows are of one prompt"
    values = first.value, second.value
    draws = []
    for rows in resampled_rows(index, min(settings.resamples, PAIRED_ROW_RESAMPLES), settings.seed):
        sides = first.of(rows), second.of(rows)
        draws.append(math.nan if sides[0] is None or sides[1] is None else sides[0] - sides[1])
    known = np.array([each for each in draws if math.isfinite(each)])
    if 2 * len(known) < len(draws) or values[0] is None or values[1] is None:
        return _NO_VALUE
    prompts = np.bincount(index)
    clusters = effective_clusters(prompts)
    difference = draws_interval(
        known,
        values[0] - values[1],
        clusters=clusters,
        prompts=len(prompts),
        n=first.n,
        confidence=settings.confidence,
    )
    p_value = bootstrap_p_value(known, clusters)
    return PairedMetric(values[0], values[1], (first.n, second.n), len(prompts), difference, p_value, BOOTSTRAP)


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Aligned:
    """The sums of two models over the prompts and columns that either has, and where each one's columns are."""

    totals: PairedTotals
    columns: tuple[Ints, Ints]


@lru_cache(maxsize=2)
def _aligned(first: PromptSums, second: PromptSums, settings: PairedSettings) -> _Aligned:
    """Return both sums aligned; the last ones are remembered, as many metrics are made of the same."""
    prompts = {label: number for number, label in enumerate(dict.fromkeys([*first.prompts, *second.prompts]))}
    columns = {name: number for number, name in enumerate(dict.fromkeys([*first.columns, *second.columns]))}
    placed: list[sparse.csr_array] = []
    places: list[Ints] = []
    sizes = np.zeros(len(prompts), dtype=np.int64)
    for side in (first, second):
        rows = np.array([prompts[label] for label in side.prompts], dtype=np.int64)
        place = np.array([columns[name] for name in side.columns], dtype=np.int64)
        entries = side.sums.tocoo()
        shape = len(prompts), len(columns)
        placed.append(sparse.csr_array((entries.data, (rows[entries.row], place[entries.col])), shape=shape))
        sizes[rows] = np.maximum(sizes[rows], side.sizes)
        places.append(place)
    totals = PairedTotals(
        placed[0],
        placed[1],
        sizes,
        resamples=settings.resamples,
        permutations=settings.permutations,
        seed=settings.seed,
    )
    return _Aligned(totals, (places[0], places[1]))


@final
class PairedTotals:
    """Sums of two models over the same clusters, in the same columns."""

    def __init__(
        self,
        first: sparse.csr_array,
        second: sparse.csr_array,
        sizes: NDArray[np.int64],
        *,
        resamples: int = 2000,
        permutations: int = 2000,
        seed: int = 0,
    ) -> None:
        """Take the sums of both models, each [cluster, column], and the number of rows of each cluster.

        Raises:
            DataError: where the shapes do not fit.
            ConfigError: for fewer than one resample or permutation.
        """
        if _shape(first) != _shape(second) or _shape(first)[0] != len(sizes):
            raise DataError(f"sums are {_shape(first)} and {_shape(second)}, for {len(sizes)} clusters")
        if min(resamples, permutations) < 1:
            raise ConfigError(f"resamples is {resamples} and permutations {permutations}; both must be at least 1")
        self.count = len(sizes)
        self._sums = first, second
        self._effective = effective_clusters(sizes) if len(sizes) else 0.0
        self._resamples, self._permutations, self._seed = resamples, permutations, seed

    def values(self, first: Formula, second: Formula) -> tuple[float, float]:
        """Return both metrics; NaN where one has no value."""
        totals = [_total(each) for each in self._sums]
        return float(first(totals[0])[0]), float(second(totals[1])[0])

    def difference(self, first: Formula, second: Formula, *, n: int, confidence: float = 0.95) -> Interval | None:
        """Return the first metric less the second, with an interval from resampling clusters, the same for both.

        The ends are those of ``percentile_ends``, for as many clusters as the difference rests on: with u_k the change
        that a little more of cluster k would make, (Σ u_k²)² ÷ Σ u_k⁴ (Satterthwaite's approximation). They are few
        where a small subset weighs much, or where the models seldom differ. Where all
        resamples agree, nothing is known but that differing is
        rare: Wilson's upper end for none in as many items as there are clusters is added on both sides. One cluster
        says nothing about others: −1 to 1. None where a metric has no value, or most resamples have none.

        Args:
            first: formula of the first model, from its totals.
            second: the same of the second.
            n: number of items behind each metric, for the record.
            confidence: stated coverage.

        Raises:
            ConfigError: for a confidence outside 0 to 1.
        """
        check_confidence(confidence)
        value = float(np.subtract(*self.values(first, second)))
        if math.isnan(value):
            return None
        if self.count == 1:
            return finished_interval(value, -1.0, 1.0, confidence=confidence, method="none: one prompt", n=n)
        ours, theirs = self._resampled
        draws = first(ours) - second(theirs)
        known = draws[~np.isnan(draws)]
        if 2 * len(known) < len(draws):
            return None
        clusters = self._informative(first, second)
        found = draws_interval(known, value, clusters=clusters, prompts=self.count, n=n, confidence=confidence)
        lost = len(draws) - len(known)
        counted = f"; {lost} of {len(draws)} resamples without a value left out" if lost else ""
        return found.model_copy(update={"method": found.method + counted})

    def swap_test(self, first: Formula, second: Formula) -> float:
        """Return the two-sided p-value of no difference: the models of whole clusters are swapped by coins.

        Were the models exchangeable in each cluster, every swap would be as likely. Of ``permutations`` drawn ways the
        hits are those at least as far from 0 as the observed difference, and those without a value: the p-value is
        (1 + hits) ÷ (1 + permutations). It is the larger one of two: of the difference, and of the difference over its
        standard error √Σ u_k², with u_k as in ``difference`` and computed anew after each swap. Both are exact for
        exchangeable models. Where equal metrics are made of unequal parts, the first finds too much in harmonic means,
        the second in composites with small parts. For a mean over clusters of one size both are ``permutation_test``.

        Source of the second: Chung and Romano (2013), Annals of Statistics 41.

        Raises:
            DataError: where a metric has no value.
        """
        if math.isnan(float(np.subtract(*self.values(first, second)))):
            raise DataError("a metric has no value; there is nothing to test")
        columns = [
            _columns_of(formula, _total(sums)[0]) for formula, sums in zip((first, second), self._sums, strict=True)
        ]
        found, hits = np.full(2, np.nan), np.zeros(2, dtype=np.int64)
        for coins in self._coins():
            far = np.abs(self._apart(first, second, columns, coins))
            if np.isnan(found).any():
                found, far = far[:, 0] * (1.0 - _ROUNDING), far[:, 1:]
            hits += (~(far < found[:, None])).sum(axis=1)
        return float(1 + hits.max()) / (1 + self._permutations)

    def _coins(self) -> Iterator[NDArray[np.bool_]]:
        """Yield blocks of [way, cluster] whether the models are swapped; in the first way none is."""
        generator = np.random.default_rng(self._seed)
        widest = max(self.count, *(_shape(each)[1] for each in self._sums))
        yield np.concatenate([np.zeros((1, self.count), dtype=bool), self._drawn(generator, 0)])
        for size in _sizes(self._permutations, widest):
            yield self._drawn(generator, size)

    def _drawn(self, generator: np.random.Generator, size: int) -> NDArray[np.bool_]:
        return generator.integers(2, size=(size, self.count), dtype=np.int8).astype(bool)

    def _apart(
        self, first: Formula, second: Formula, columns: list[NDArray[np.int64]], coins: NDArray[np.bool_]
    ) -> Floats:
        """Return [2, way] the difference, and that over its standard error: ∞ where it is without spread."""
        mine, other = self._sums
        moved = np.asarray(((other - mine).T @ coins.astype(np.float64).T).T)
        ours, theirs = _total(mine) + moved, _total(other) - moved
        difference = first(ours) - second(theirs)
        slopes = [_slopes(first, ours, columns[0]), _slopes(second, theirs, columns[1])]
        kept, exchanged = (
            [
                sparse.csr_array(each[:, which]) @ slope.T
                for each, which, slope in zip(sides, columns, slopes, strict=True)
            ]
            for sides in ((mine, other), (other, mine))
        )
        change = np.where(coins.T, exchanged[0] - exchanged[1], kept[0] - kept[1])
        error = np.sqrt((change**2).sum(axis=0))
        error = np.where(error > _ROUNDING, error, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            studentised = np.where(np.abs(difference) <= _ROUNDING, 0.0, difference / error)
        return np.stack([difference, studentised])

    def _informative(self, first: Formula, second: Formula) -> float:
        """Return the number of clusters that the difference rests on; at least 2, at most the effective number."""
        totals = [_total(each) for each in self._sums]
        ours, theirs = (
            sums @ _slopes(formula, total, np.arange(total.shape[1]))[0]
            for formula, sums, total in zip((first, second), self._sums, totals, strict=True)
        )
        squares = (np.asarray(ours) - np.asarray(theirs)) ** 2
        fourth = float((squares**2).sum())
        return min(self._effective, max(2.0, float(squares.sum()) ** 2 / fourth)) if fourth > 0.0 else self._effective

    @cached_property
    def _resampled(self) -> tuple[Floats, Floats]:
        """Return for each model [resample, column] totals over as many clusters as there are, drawn for both."""
        blocks = [
            [np.asarray((each.T @ times.T.astype(np.float64)).T) for each in self._sums]
            for times in drawn_times(self.count, self._resamples, self._seed, "one by one")
        ]
        ours, theirs = (np.concatenate(side) for side in zip(*blocks, strict=True))
        return ours, theirs


def draws_interval(
    draws: Floats, value: float, *, clusters: float, prompts: int, n: int, confidence: float = 0.95
) -> Interval:
    """Return ``value`` over ``n`` things with the expanded percentile interval of ``draws`` [resample], named so.

    ``clusters`` is the effective number of the ``prompts`` that were resampled. Draws that all agree are no evidence
    of how far the truth may lie from them: see ``PairedTotals.difference``.
    """
    if np.ptp(draws) <= _ROUNDING:
        _, reach = wilson_ends(0.0, prompts, confidence)
        low, high, method = value - reach, value + reach, f"wilson over {prompts} prompts: no resample differs"
    else:
        low, high = percentile_ends(draws, clusters, confidence)
        method = f"paired bootstrap ({prompts} prompts, {len(draws)} resamples)"
    return finished_interval(value, low, high, confidence=confidence, method=method, n=n)


def bootstrap_p_value(draws: Floats, clusters: float) -> float:
    """Return the level at which the expanded percentile interval of ``draws`` [resample] just reaches 0, two-sided.

    With q the share of the draws on the rarer side of 0, those at 0 on both and one more added to it, z = Φ⁻¹(q), the
    interval's quantile Φ(−t √(C ÷ (C − 1))) is q at t = |z| √((C − 1) ÷ C), and the p-value is 2 P(T > t) for Student's
    T of C − 1 degrees of freedom. It rests on the resamples being spread as the estimate is, and is no exact level.
    """
    count = len(draws)
    share = (1 + min(int((draws <= 0.0).sum()), int((draws >= 0.0).sum()))) / (1 + count)
    if share >= 0.5:
        return 1.0
    reach = -float(special.ndtri(share)) * math.sqrt((clusters - 1) / clusters)
    return min(1.0, 2.0 * float(stats.t.sf(reach, clusters - 1)))


def _shape(sums: sparse.csr_array) -> tuple[int, int]:
    clusters, columns = sums.shape or (0, 0)
    return clusters, columns


def _total(sums: sparse.csr_array) -> Floats:
    """Return [1, column] the sums over all clusters."""
    return np.asarray(sums.sum(axis=0), dtype=np.float64)[None]


def _slopes(formula: Formula, totals: Floats, columns: NDArray[np.int64]) -> Floats:
    """Return [way, column] the change of the metric with the total of each column; 0 where it has no value."""
    found = np.zeros((len(totals), len(columns)))
    moved = totals.copy()
    for number, column in enumerate(columns.tolist()):
        sides = []
        for step in (_STEP, -_STEP):
            moved[:, column] = totals[:, column] + step
            sides.append(formula(moved))
        moved[:, column] = totals[:, column]
        found[:, number] = (sides[0] - sides[1]) / (2.0 * _STEP)
    return np.nan_to_num(found)


def _columns_of(formula: Formula, totals: Floats) -> NDArray[np.int64]:
    """Return the columns that the metric reads: those whose total moves it, here or a little elsewhere."""
    places = np.stack([totals, 1.1 * totals + 1.0, 0.9 * totals + 2.0 + np.arange(len(totals))])
    slopes = _slopes(formula, places, np.arange(len(totals)))
    return np.flatnonzero(np.abs(slopes).max(axis=0) > 0.0)


def _sizes(total: int, width: int) -> list[int]:
    block = max(1, _BLOCK // max(width, 1))
    return [min(block, total - start) for start in range(0, total, block)]
