"""The difference of one figure between two models, over the same resamples of prompts, and its test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from scipy import sparse

from plaudit.evaluation.metrics.traced import Drawn, Floats, Made, Table, Traced
from plaudit.records import Interval
from plaudit.statistics.intervals import cluster_index, effective_clusters
from plaudit.statistics.paired_tests import paired_difference, permutation_test
from plaudit.statistics.paired_totals import PairedTotals, bootstrap_p_value, draws_interval

ROW_RESAMPLES = 500
"""A figure that is no formula of sums is computed anew for each resample: it gets no more than this."""

SIGN_FLIPS = "sign flips of prompts"
SWAPS = "swaps of the models of prompts"
BOOTSTRAP = "bootstrap over prompts"
"""The tests, in words."""

_NO_VALUE = "most resamples of the prompts have no value"
_NOT_MADE = "its interval is not made from rows that belong to prompts"


@dataclass(frozen=True, slots=True)
class PairedFigure:
    """One figure of two models."""

    first: float
    """The first model's."""
    second: float
    """The second model's."""
    n: tuple[int, int]
    """What each is over."""
    prompts: int
    """Prompts that these belong to."""
    difference: Interval
    """First less second."""
    p_value: float
    """Two-sided, of no difference."""
    test: str
    """What the p-value is of."""


@final
class Pairing:
    """Compares traced figures of two models; figures of the same sums see the same draws."""

    def __init__(
        self, *, confidence: float = 0.95, resamples: int = 2000, permutations: int = 2000, seed: int = 0
    ) -> None:
        """Take the stated coverage of the intervals, and how much is drawn from which seed."""
        self._confidence = confidence
        self._resamples, self._permutations, self._seed = resamples, permutations, seed
        self._latest: tuple[Table, Table, _Aligned] | None = None

    def compare(self, first: Interval, second: Interval) -> PairedFigure | str:
        """Return the difference of a figure of two models, or why it cannot be tested.

        A share of rows that both models have has Student's interval and the sign-flip test over prompts (see
        ``paired_difference`` and ``permutation_test``); any other formula of sums has the paired bootstrap and the swap
        test (see ``PairedTotals``); a statistic of rows has the paired bootstrap for both.
        """
        if not isinstance(first, Traced) or not isinstance(second, Traced):
            return _NOT_MADE
        ours, theirs = first.origin, second.origin
        if isinstance(ours, Made) and isinstance(theirs, Made):
            return self._of_totals(first, second, ours, theirs)
        if isinstance(ours, Drawn) and isinstance(theirs, Drawn):
            return self._of_rows(first, second, ours, theirs)
        return "the two models' figures are made in different ways"

    def _of_totals(self, first: Traced, second: Traced, ours: Made, theirs: Made) -> PairedFigure | str:
        aligned = self._aligned(ours.table, theirs.table)
        if ours.is_share and theirs.is_share:
            mine, other = aligned.first.sums.toarray(), aligned.second.sums.toarray()
            if np.array_equal(mine[:, 1], other[:, 1]):
                return self._of_shares(first, second, mine[:, 0] - other[:, 0], np.rint(mine[:, 1]).astype(np.int64))

        def figure(sums: Floats) -> Floats:
            return ours.formula(sums[:, aligned.first.columns])

        def rival(sums: Floats) -> Floats:
            return theirs.formula(sums[:, aligned.second.columns])

        totals = aligned.totals
        difference = totals.difference(figure, rival, n=first.n, confidence=self._confidence)
        if difference is None:
            return _NO_VALUE
        return _figure(first, second, totals.count, difference, totals.swap_test(figure, rival), SWAPS)

    def _of_shares(self, first: Traced, second: Traced, differences: Floats, sizes: np.ndarray) -> PairedFigure:
        """Return the difference of two shares, from [prompt] differences of sums over ``sizes`` rows."""
        index = np.repeat(np.arange(len(sizes)), sizes)
        rows = np.repeat(differences / sizes, sizes)
        difference = paired_difference(rows, index, confidence=self._confidence)
        assert difference is not None  # there is a row
        p_value = permutation_test(differences, np.arange(len(sizes)), seed=self._seed)
        return _figure(first, second, len(sizes), difference, p_value, SIGN_FLIPS)

    def _of_rows(self, first: Traced, second: Traced, ours: Drawn, theirs: Drawn) -> PairedFigure | str:
        if ours.prompts != theirs.prompts:
            return "the two models have it over different rows, for a missing reward or a tie"
        index = cluster_index(ours.prompts)
        members = np.split(np.argsort(index, kind="stable"), np.cumsum(np.bincount(index))[:-1])
        count = len(members)
        if count < 2:
            return "all rows are of one prompt"
        generator = np.random.default_rng(self._seed)
        draws = []
        for _ in range(min(self._resamples, ROW_RESAMPLES)):
            rows = np.concatenate([members[k] for k in generator.integers(count, size=count)])
            sides = ours.statistic(rows), theirs.statistic(rows)
            draws.append(np.nan if sides[0] is None or sides[1] is None else sides[0] - sides[1])
        known = np.array([each for each in draws if np.isfinite(each)])
        if 2 * len(known) < len(draws):
            return _NO_VALUE
        clusters = effective_clusters(np.bincount(index))
        difference = draws_interval(
            known, first.value - second.value, clusters=clusters, prompts=count, n=first.n, confidence=self._confidence
        )
        return _figure(first, second, count, difference, bootstrap_p_value(known, clusters), BOOTSTRAP)

    def _aligned(self, first: Table, second: Table) -> _Aligned:
        if self._latest is None or self._latest[0] is not first or self._latest[1] is not second:
            self._latest = first, second, self._align(first, second)
        return self._latest[2]

    def _align(self, first: Table, second: Table) -> _Aligned:
        prompts = {label: number for number, label in enumerate(dict.fromkeys([*first.prompts, *second.prompts]))}
        columns = {name: number for number, name in enumerate(dict.fromkeys([*first.columns, *second.columns]))}
        ours, theirs = _placed(first, prompts, columns), _placed(second, prompts, columns)
        totals = PairedTotals(
            ours.sums,
            theirs.sums,
            np.maximum(ours.sizes, theirs.sizes),
            resamples=self._resamples,
            permutations=self._permutations,
            seed=self._seed,
        )
        return _Aligned(ours, theirs, totals)


@dataclass(frozen=True, slots=True, eq=False)
class _Placed:
    """A table among the prompts and columns of two."""

    sums: sparse.csr_array
    sizes: np.ndarray
    columns: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class _Aligned:
    """The tables of two models over the prompts and columns that either has."""

    first: _Placed
    second: _Placed
    totals: PairedTotals


def _placed(table: Table, prompts: dict[object, int], columns: dict[str, int]) -> _Placed:
    rows = np.array([prompts[label] for label in table.prompts], dtype=np.int64)
    place = np.array([columns[name] for name in table.columns], dtype=np.int64)
    entries = table.sums.tocoo()
    shape = len(prompts), len(columns)
    sizes = np.zeros(len(prompts), dtype=np.int64)
    sizes[rows] = table.sizes
    sums = sparse.csr_array((entries.data, (rows[entries.row], place[entries.col])), shape=shape)
    return _Placed(sums, sizes, place)


def _figure(
    first: Traced, second: Traced, prompts: int, difference: Interval, p_value: float, test: str
) -> PairedFigure:
    return PairedFigure(first.value, second.value, (first.n, second.n), prompts, difference, p_value, test)
