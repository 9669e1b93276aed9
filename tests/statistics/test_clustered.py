"""Means and shares over clusters: worked values, edges, and coverage for few clusters of unequal size."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from plaudit.errors import ConfigError, DataError
from plaudit.statistics.intervals import (
    effective_clusters,
    fraction_interval,
    mean_interval,
    percentile_ends,
    proportion_interval,
    student_quantile,
    wilson_interval,
)

T_2 = 4.302653  # Student's 97.5 % quantile for two degrees of freedom


def test_the_mean_of_items_of_their_own_has_the_textbook_interval():
    # 1, 2, 6: mean 3, s² = (4 + 1 + 9) ÷ 2 = 7; the jackknife of a plain mean is s² ÷ n = 7 ÷ 3.
    found = mean_interval([1.0, 2.0, 6.0], ["a", "b", "c"])
    half = T_2 * math.sqrt(7 / 3)
    assert found.value == 3.0
    assert found.low == 0.0  # 3 − 6.57, cut where values that are all above 0 end
    assert found.high == pytest.approx(3 + half)
    assert mean_interval([-4.0, 2.0, 6.0], "abc").low < -4


def test_the_jackknife_over_unequal_clusters_equals_its_worked_value():
    # Clusters {1, 1}, {0}, {0}: M = ½; without each: 0, ⅔, ⅔; v = ⅔ (¼ + 1/36 + 1/36) = 11 ÷ 54.
    found = fraction_interval([1, 1, 0, 0], ["a", "a", "b", "c"])
    # (2 + 1 + 1)² ÷ (4 + 1 + 1) = 8/3 effective clusters; Student's t for 5/3 degrees of freedom, on the logit's scale.
    half = stats.t.ppf(0.975, 5 / 3) * math.sqrt(11 / 54) * 4
    assert found.high == pytest.approx(1 / (1 + math.exp(-half)))
    assert found.low == pytest.approx(1 - found.high)
    assert found.method == "logit student (3 clusters)"
    assert proportion_interval([1, 1, 0, 0], ["a", "a", "b", "c"]) == found


def test_items_that_are_their_own_cluster_have_wilsons_interval_as_a_share_only():
    assert proportion_interval([1, 0, 0.5, 1], range(4)) == wilson_interval(2.5, 4)
    assert fraction_interval([1, 0, 0.5, 1], range(4)).method == "logit student (4 clusters)"


@pytest.mark.parametrize("of", [proportion_interval, fraction_interval])
def test_where_clusters_do_not_differ_the_interval_is_wilsons_over_clusters(of):
    found = of(np.ones(12), np.repeat(range(4), 3))
    assert (found.low, found.high, found.n) == (wilson_interval(4, 4).low, 1.0, 12)
    assert found.method == "wilson over 4 prompts"


@pytest.mark.parametrize("of", [proportion_interval, fraction_interval])
def test_one_cluster_and_nothing_say_nothing(of):
    assert (of([1, 0, 1], "aaa").low, of([1, 0, 1], "aaa").high) == (0.0, 1.0)
    assert of([], []) is None
    assert mean_interval([1.0, 2.0], "aa") is None
    assert mean_interval([], []) is None


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.integers(0, 5)), min_size=1, max_size=20))
def test_a_share_lies_in_its_interval_and_both_between_0_and_1(rows):
    values, clusters = zip(*rows, strict=True)
    for found in (proportion_interval(values, clusters), fraction_interval(values, clusters)):
        assert 0.0 <= found.low <= found.value <= found.high <= 1.0


def test_bad_input_is_refused():
    with pytest.raises(DataError, match="clusters has 1 entries for 2 values"):
        mean_interval([1.0, 2.0], ["a"])
    with pytest.raises(DataError, match="outside 0 to 1"):
        proportion_interval([2.0, 1.0], ["a", "a"])
    with pytest.raises(DataError, match="not finite"):
        mean_interval([math.nan, 1.0], ["a", "b"])
    with pytest.raises(ConfigError, match="confidence"):
        proportion_interval([1.0], ["a"], confidence=95)


def test_few_clusters_of_unequal_size_are_covered_where_the_plain_bootstrap_is_not():
    rng = np.random.default_rng(5)
    ours = plain = 0
    for _ in range(1000):
        sizes = rng.choice([1, 1, 2, 8], 10)
        rates = rng.beta(4.5, 4.5, 10)  # correlation 0.1 within a cluster, mean ½
        clusters = np.repeat(range(10), sizes)
        values = (rng.random(sizes.sum()) < np.repeat(rates, sizes)).astype(float)
        found = proportion_interval(values, clusters)
        ours += found.low <= 0.5 <= found.high
        totals = np.bincount(clusters, weights=values)
        drawn = rng.integers(10, size=(200, 10))
        low, high = np.quantile(totals[drawn].sum(1) / sizes[drawn].sum(1), [0.025, 0.975])
        plain += low <= 0.5 <= high
    assert 0.93 < ours / 1000 < 0.97
    assert plain / 1000 < 0.92


def test_shares_of_rare_things_over_many_small_clusters_are_covered():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        rates = rng.beta(1, 19, size=300)
        values = (rng.random((300, 3)) < rates[:, None]).astype(float).ravel()
        found = proportion_interval(values, np.repeat(np.arange(300), 3))
        covered += found.low <= 0.05 <= found.high
    # 95 % of 400 with standard deviation sqrt(.95 * .05 * 400) = 4.4; four of them.
    assert abs(covered - 380) < 18


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.25, 1.0]), st.integers(-3, 4)), min_size=1, max_size=20))
def test_whole_numbers_are_clusters_like_any_other_labels(rows):
    values, clusters = (np.array(side) for side in zip(*rows, strict=True))
    assert proportion_interval(values, clusters) == proportion_interval(values, [f"p{each}" for each in clusters])


def test_clusters_of_one_size_are_all_effective_and_one_large_one_is_not():
    assert effective_clusters(np.full(7, 3)) == pytest.approx(7)
    assert effective_clusters(np.array([1, 1, 2, 8])) == 144 / 70
    assert effective_clusters(np.array([1, 100])) == 2.0


def test_the_expanded_percentiles_of_ten_clusters_lie_at_nine_in_a_thousand():
    # t = 2.262157 for nine degrees of freedom; Φ(−2.262157 √(10 ÷ 9)) = Φ(−2.384527) = 0.008551.
    assert student_quantile(0.95, 10) == pytest.approx(2.262157, abs=1e-6)
    low, high = percentile_ends(np.linspace(0, 1, 100_001), 10)
    assert (low, high) == pytest.approx((0.008551, 0.991449), abs=1e-5)
    many = percentile_ends(np.linspace(0, 1, 100_001), 100_000)
    assert many == pytest.approx((0.025, 0.975), abs=1e-4)
