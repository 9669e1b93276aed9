"""Figures of totals for two models: swaps against worked p-values, shared resamples, and the level of the tests."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from plaudit.errors import ConfigError, DataError
from plaudit.statistics.compare import PairedTotals, bootstrap_p_value, draws_interval
from plaudit.statistics.intervals import wilson_interval
from plaudit.statistics.paired_tests import paired_difference, permutation_test


def mean(totals):
    with np.errstate(invalid="ignore", divide="ignore"):
        return totals[:, 0] / totals[:, 1]


def totals(first, second, sizes=None, **how):
    sizes = np.ones(len(first)) if sizes is None else np.asarray(sizes, dtype=float)
    sides = (sparse.csr_array(np.stack([np.asarray(each, float), sizes], axis=1)) for each in (first, second))
    return PairedTotals(*sides, np.maximum(sizes, 1).astype(int), **how)


def test_the_swaps_of_four_clusters_are_the_sixteen_there_are():
    # All four are right for the first only: of 16 ways 2 lie as far from 0, p = 1/8.
    found = totals([1, 1, 1, 1], [0, 0, 0, 0], permutations=40_000)
    assert found.swap_test(mean, mean) == pytest.approx(1 / 8, abs=4 * math.sqrt(1 / 8 * 7 / 8 / 40_000))
    # Three and one: ½ is reached by every way but the 6 that are even, p = 10/16.
    found = totals([1, 1, 1, 0], [0, 0, 0, 1], permutations=40_000)
    assert found.swap_test(mean, mean) == pytest.approx(10 / 16, abs=0.01)


def test_it_is_the_sign_flip_test_where_the_figure_is_a_mean():
    rng = np.random.default_rng(0)
    first, second = (rng.integers(0, 5, 60) / 4 for _ in range(2))
    found = totals(first, second, permutations=20_000).swap_test(mean, mean)
    assert found == pytest.approx(permutation_test(first - second, np.arange(60)), abs=0.015)


def test_models_that_agree_everywhere_cannot_be_told_apart():
    found = totals([1, 0, 1], [1, 0, 1])
    assert found.swap_test(mean, mean) == 1.0
    difference = found.difference(mean, mean, n=3)
    assert (difference.value, difference.high) == (0.0, wilson_interval(0, 3).high)
    assert difference.low == -difference.high
    assert difference.method == "wilson over 3 prompts: no resample differs"


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(1, 3)), min_size=1, max_size=12))
def test_the_other_model_first_gives_the_same_p_value_and_the_mirrored_interval(rows):
    first, second, sizes = ([float(row[k]) for row in rows] for k in range(3))
    one, other = (totals(*sides, sizes, resamples=50, permutations=50) for sides in ((first, second), (second, first)))
    assert one.swap_test(mean, mean) == other.swap_test(mean, mean)
    found, mirrored = (each.difference(mean, mean, n=len(rows)) for each in (one, other))
    assert (found.value, found.low, found.high) == pytest.approx((-mirrored.value, -mirrored.high, -mirrored.low))
    assert found.low <= found.value <= found.high


def test_the_interval_is_as_wide_as_that_of_the_differences():
    rng = np.random.default_rng(1)
    first = (rng.random(300) < 0.7).astype(float)
    second = np.where(rng.random(300) < 0.8, first, rng.random(300) < 0.6)
    found = totals(first, second, resamples=4000).difference(mean, mean, n=300)
    student = paired_difference(first - second, np.arange(300))
    assert found.value == pytest.approx(student.value)
    assert (found.low, found.high) == pytest.approx((student.low, student.high), abs=0.006)
    assert found.method == "paired bootstrap (300 prompts, 4000 resamples)"


def test_one_cluster_says_nothing_and_resamples_without_a_value_are_counted():
    alone = totals([1], [0]).difference(mean, mean, n=4)
    assert (alone.low, alone.high, alone.method, alone.n) == (-1.0, 1.0, "none: one prompt", 4)
    assert totals([1, 0], [0, 0], [0, 0]).difference(mean, mean, n=2) is None
    found = totals([1, 1, 0], [0, 0, 0], [1, 1, 0], resamples=1000).difference(mean, mean, n=2)
    # Without one of the two clusters that have rows, 1 resample of 27, there is no mean.
    lost = int(found.method.split("; ")[1].split()[0])
    assert lost / 1000 == pytest.approx(1 / 27, abs=0.025)


def test_swaps_without_a_value_count_against_a_difference():
    def needs_first(sums):
        return np.where(sums[:, 0] > 0, sums[:, 0], np.nan)

    # The first has 2 of 3 rights. Of eight ways six part them 2 to 1, and two leave one model with none and no value.
    found = totals([1, 1, 0], [0, 0, 1], permutations=500)
    assert found.swap_test(needs_first, needs_first) == 1.0
    with pytest.raises(DataError, match="has no value"):
        totals([0], [0]).swap_test(needs_first, needs_first)


def test_the_p_value_of_draws_is_the_level_at_which_their_interval_reaches_zero():
    draws = np.random.default_rng(2).normal(1.0, 0.5, 100_000)
    p_value = bootstrap_p_value(draws, 20)
    at = draws_interval(draws, 1.0, clusters=20, prompts=20, n=1, confidence=1 - p_value)
    assert at.low == pytest.approx(0.0, abs=0.01)
    # With many clusters it is the normal tail: 2 Φ(−2).
    assert bootstrap_p_value(draws, 1e6) == pytest.approx(2 * 0.02275, abs=0.003)
    assert bootstrap_p_value(np.zeros(10), 5) == 1.0
    assert bootstrap_p_value(np.ones(99), 1e6) == pytest.approx(2 * 0.01, rel=1e-3)


def test_bad_input_is_refused():
    with pytest.raises(DataError, match="for 3 clusters"):
        PairedTotals(sparse.csr_array((2, 1)), sparse.csr_array((2, 1)), np.ones(3, dtype=int))
    with pytest.raises(ConfigError, match="at least 1"):
        totals([1], [1], permutations=0)
    with pytest.raises(ConfigError, match="confidence"):
        totals([1, 0], [1, 1]).difference(mean, mean, n=2, confidence=95)
