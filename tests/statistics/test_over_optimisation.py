"""Regret, divergence and proxy against gold: worked values, brute force over every set of n, planted hacks."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plaudit.errors import ConfigError, DataError
from plaudit.statistics.best_of_n import (
    best_of_n_divergence,
    best_of_n_table,
    largest_mean,
    over_optimisation_curve,
    place_weights,
    recovered_share,
)
from plaudit.statistics.intervals import mean_interval

SAMPLES = st.tuples(st.integers(0, 3), st.integers(-4, 4))
POWERS = (1, 2, 4, 8, 16, 32, 64)


def of_all_subsets(rewards, gold, n: int) -> tuple[float, float, float]:
    """Mean over all sets of n of: the reward of the pick by reward, its gold, the largest gold."""
    rows = []
    for subset in itertools.combinations(range(len(rewards)), n):
        top = max(rewards[k] for k in subset)
        picks = [gold[k] for k in subset if rewards[k] == top]
        rows.append((top, sum(picks) / len(picks), max(gold[k] for k in subset)))
    return tuple(np.mean(rows, axis=0))


@given(st.integers(1, 6).flatmap(lambda k: st.lists(st.lists(SAMPLES, min_size=k, max_size=6), min_size=2, max_size=5)))
def test_every_point_of_a_curve_equals_the_enumeration_of_all_sets(sets):
    proxy, gold = ([[pair[side] for pair in each] for each in sets] for side in (0, 1))
    counts = range(1, min(map(len, sets)) + 1)
    curve = over_optimisation_curve(proxy, gold, counts)
    random = np.mean([np.mean(each) for each in gold])
    assert curve.random.value == pytest.approx(random)
    for point in curve.points:
        rows = [of_all_subsets(own, true, point.n) for own, true in zip(proxy, gold, strict=True)]
        own, reached, best = np.mean(rows, axis=0)
        assert point.proxy.value == pytest.approx(own, abs=1e-9)
        assert point.gold.value == pytest.approx(reached, abs=1e-9)
        assert point.oracle.value == pytest.approx(best, abs=1e-9)
        assert point.regret.value == pytest.approx(best - reached, abs=1e-9)
        assert point.divergence == pytest.approx(math.log(point.n) - (point.n - 1) / point.n)
        if point.recovered is not None:
            assert point.recovered.value == pytest.approx((reached - random) / (best - random), abs=1e-9)
            assert point.recovered.low <= point.recovered.value <= point.recovered.high <= 1.0 + 1e-12
    reached = [point.gold.value for point in curve.points]
    assert curve.fall.value == pytest.approx(max(reached) - reached[-1], abs=1e-9)
    assert reached[curve.peak - 1] == pytest.approx(max(reached), abs=1e-9)


def test_the_divergence_is_log_n_less_n_minus_one_over_n():
    assert best_of_n_divergence(1) == 0.0
    assert best_of_n_divergence(4) == pytest.approx(1.386294 - 0.75, abs=1e-6)
    with pytest.raises(ConfigError, match="n is 0"):
        best_of_n_divergence(0)


def test_the_divergence_is_that_of_the_best_of_n_of_a_large_set():
    # Best of 3 of many equally likely samples: Σ p log(p N) with p the weights of the exact estimator.
    weights = place_weights(4000, (3,))[0]
    weights = weights[weights > 0]
    assert (weights * np.log(weights * 4000)).sum() == pytest.approx(best_of_n_divergence(3), abs=1e-3)


def test_a_curve_that_falls_again_names_its_peak_and_how_far_it_falls():
    # Gold of the best of 1, 2, 3 by proxy: (0 + 5 + 1) ÷ 3 = 2; (5 + 1 + 1) ÷ 3; 1. Of two by gold: (5 + 1 + 5) ÷ 3.
    curve = over_optimisation_curve([[1, 2, 3]] * 3, [[0, 5, 1]] * 3, (3, 1, 2, 2))
    assert [point.n for point in curve.points] == [1, 2, 3]
    assert [point.gold.value for point in curve.points] == pytest.approx([2, 7 / 3, 1])
    assert [point.proxy.value for point in curve.points] == pytest.approx([2, 8 / 3, 3])
    assert [point.oracle.value for point in curve.points] == pytest.approx([2, 11 / 3, 5])
    assert [point.regret.value for point in curve.points] == pytest.approx([0, 4 / 3, 4])
    # A random response has 2. Of two: (7/3 − 2) ÷ (11/3 − 2) = 1/5; of three: (1 − 2) ÷ (5 − 2).
    assert curve.points[0].recovered is None
    assert [point.recovered.value for point in curve.points[1:]] == pytest.approx([1 / 5, -1 / 3])
    assert curve.points[1].divergence == pytest.approx(math.log(2) - 1 / 2)
    assert (curve.peak, curve.fall.value, curve.random.value) == (2, pytest.approx(4 / 3), 2)
    assert (curve.groups, curve.largest_k) == (3, 3)


@pytest.mark.parametrize("rising", [lambda gold: gold, lambda gold: 2 * gold - 7, np.exp, np.cbrt])
def test_a_proxy_in_the_order_of_gold_has_no_regret_at_all_and_never_falls(rising):
    gold = np.round(np.random.default_rng(0).normal(size=(20, 9)), 1)  # with ties
    curve = over_optimisation_curve(rising(gold), gold, (1, 2, 8, 9))
    assert [(point.regret.value, point.regret.high) for point in curve.points] == [(0.0, 0.0)] * 4
    # all of twenty prompts recover everything: Wilson's lower end is 1 ÷ (1 + 1.96² ÷ 20)
    recovered = [(point.recovered.value, point.recovered.low) for point in curve.points[1:]]
    assert recovered == [pytest.approx((1.0, 0.8389), abs=1e-4)] * 3
    assert (curve.peak, curve.fall.value, curve.fall.high, curve.falls) == (9, 0.0, 0.0, False)


def test_a_planted_proxy_of_gold_and_a_heavy_tailed_error_falls_after_a_peak():
    # Far out, an error of Student's t with one degree of freedom says nothing of gold: the best of n → random.
    rng = np.random.default_rng(0)
    gold = rng.normal(size=(300, 64))
    curve = over_optimisation_curve(gold + rng.standard_t(1.0, size=gold.shape), gold, POWERS)
    assert 1 < curve.peak < 64
    assert curve.falls
    proxy = [point.proxy.value for point in curve.points]
    assert proxy == sorted(proxy)
    regret = [point.regret.value for point in curve.points]
    assert regret == sorted(regret)
    recovered = [point.recovered.value for point in curve.points[1:]]
    assert recovered == sorted(recovered, reverse=True)


def test_a_proxy_with_a_light_tailed_error_never_falls():
    # Gold and error normal of one variance: gold of the best of n is proxy ÷ 2, which rises without end.
    rng = np.random.default_rng(1)
    gold = rng.normal(size=(300, 64))
    curve = over_optimisation_curve(gold + rng.normal(size=gold.shape), gold, POWERS)
    assert (curve.peak, curve.falls) == (64, False)
    for point in curve.points:
        assert point.gold.low - 0.05 < point.proxy.value / 2 < point.gold.high + 0.05


@pytest.mark.slow
def test_a_proxy_that_says_nothing_of_gold_is_seldom_held_to_fall():
    # The true curve is flat, and its highest point is one by chance: an interval that ignores that errs far more often.
    runs, wrong, naive = 300, 0, 0
    for run in range(runs):
        rng = np.random.default_rng(run)
        proxy, gold = rng.normal(size=(2, 40, 16))
        curve = over_optimisation_curve(proxy, gold, (1, 2, 4, 8, 16))
        wrong += curve.falls
        alone = mean_interval(best_of_n_table(proxy, gold, (curve.peak, 16)) @ [1, -1], range(40))
        naive += alone.low > 0.0
    assert wrong <= naive
    assert wrong / runs < 0.025 + 3 * math.sqrt(0.025 * 0.975 / runs)


def test_the_interval_of_the_largest_of_independent_means_is_that_of_sidak():
    # For five independent means and many clusters, all hold at once where each holds with 0.95^(1/5): z = 2.569.
    values = np.random.default_rng(2).normal(size=(4000, 5))
    found = largest_mean(values, range(4000))
    column = values[:, np.argmax(values.mean(axis=0))]
    assert found.value == pytest.approx(column.mean())
    assert (found.high - found.value) / (column.std(ddof=1) / math.sqrt(4000)) == pytest.approx(2.569, abs=0.05)


def test_the_interval_of_the_largest_mean_is_of_the_largest_truth_and_not_of_the_column_that_looks_largest():
    generator, missed, runs = np.random.default_rng(5), 0, 300
    for _ in range(runs):
        values = np.column_stack([generator.normal(0.1, 1.0, size=(40, 2)), np.zeros(40)])
        found = largest_mean(values, range(40))
        missed += not found.low <= 0.1 <= found.high
    assert missed / runs < 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)
    certain = np.column_stack([[-1.0, 0.5] * 10, np.zeros(20)])
    found = largest_mean(certain, range(20))
    assert (found.value, found.low) == (0.0, 0.0)
    assert found.high == pytest.approx(mean_interval(certain[:, 0], range(20)).high)


def test_the_interval_of_the_largest_of_equal_columns_is_that_of_one():
    values = np.random.default_rng(3).normal(size=(30, 1))
    alone = mean_interval(values[:, 0], range(30))
    for columns in (1, 4):
        found = largest_mean(np.repeat(values, columns, axis=1), range(30))
        assert found.low == pytest.approx(alone.low, abs=0.02)
        assert found.value == pytest.approx(alone.value)


def test_the_share_recovered_is_a_ratio_of_sums_with_the_jackknife_over_prompts():
    # (1 + 1 + 3) ÷ (2 + 2 + 4) = 5/8; without each prompt 4/6, 4/6, 2/4; the fourth set has nothing to gain.
    found = recovered_share(np.array([1.0, 1, 3, 0]), np.array([2.0, 2, 4, 0]), ["a", "b", "c", "d"])
    deviations = np.array([4 / 6, 4 / 6, 2 / 4]) - 5 / 8
    clusters = 8**2 / (2**2 + 2**2 + 4**2)  # of unequal weight: 2.67 in effect
    assert found.value == pytest.approx(5 / 8)
    assert found.n == 3
    from scipy import stats

    half = stats.t.ppf(0.975, clusters - 1) * math.sqrt(2 / 3 * (deviations**2).sum())
    assert found.low == pytest.approx(5 / 8 - half)
    assert found.high == 1.0  # 5/8 + half is more
    assert recovered_share(np.array([1.0, 0]), np.array([2.0, 0]), ["a", "b"]) is None
    assert recovered_share(np.array([1.0, 1.0]), np.array([2.0, 2.0]), ["a", "a"]) is None


def test_sets_of_one_prompt_are_one_cluster():
    rng = np.random.default_rng(4)
    proxy, gold = rng.normal(size=(2, 6, 4))
    apart = over_optimisation_curve(proxy, gold, (1, 4))
    pairs = over_optimisation_curve(proxy, gold, (1, 4), prompts=["a", "a", "b", "b", "c", "c"])
    assert pairs.points[1].gold.value == pytest.approx(apart.points[1].gold.value)
    assert "3 clusters" in pairs.points[1].gold.method
    assert "3 clusters" in pairs.points[1].recovered.method
    assert "3 clusters" in pairs.fall.method


@pytest.mark.parametrize("value", [0.1, -7.3, 1e9])
def test_gold_that_is_the_same_everywhere_has_nothing_to_lose_or_to_gain(value):
    proxy = np.random.default_rng(5).normal(size=(7, 6))
    curve = over_optimisation_curve(proxy, np.full((7, 6), value), (1, 2, 4, 6))
    assert all(point.regret.value == 0.0 and point.recovered is None for point in curve.points)
    assert (curve.peak, curve.fall.value, curve.falls) == (1, 0.0, False)


def test_a_proxy_that_gives_all_the_same_reward_chooses_at_random():
    gold = np.random.default_rng(6).normal(size=(7, 6))
    curve = over_optimisation_curve(np.zeros((7, 6)), gold, (1, 2, 6))
    assert [point.gold.value for point in curve.points] == pytest.approx([gold.mean()] * 3)
    assert [point.recovered.value for point in curve.points[1:]] == pytest.approx([0.0, 0.0], abs=1e-12)
    assert (curve.peak, curve.fall.value, curve.falls) == (1, 0.0, False)


def test_bad_input_is_refused():
    with pytest.raises(DataError, match="2 sets of proxy rewards, 1 of gold"):
        over_optimisation_curve([[1.0], [2.0]], [[1.0]], (1,))
    with pytest.raises(DataError, match="two prompts"):
        over_optimisation_curve([[1.0], [2.0]], [[1.0], [2.0]], (1,), prompts=["a", "a"])
    with pytest.raises(ConfigError, match="counts is empty"):
        over_optimisation_curve([[1.0], [2.0]], [[1.0], [2.0]], ())
    with pytest.raises(ConfigError, match="n is 2 for 1 samples"):
        over_optimisation_curve([[1.0], [2.0]], [[1.0], [2.0]], (2,))
    with pytest.raises(DataError, match="gold holds 1 values that are not finite"):
        over_optimisation_curve([[1.0], [2.0]], [[1.0], [float("nan")]], (1,))
