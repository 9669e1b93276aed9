"""Position bias is counted over pairs in both orders; its intervals know that pairs of a group belong together."""

from __future__ import annotations

import math

import numpy as np
import pytest

from plaudit.statistics.intervals import fraction_interval, fraction_of_sums, wilson_interval
from plaudit.statistics.position_bias import PositionBias, both_orders, pairs_in_both_orders

NAN = math.nan


def odds(p):
    return math.log(p / (1 - p))


def test_the_mean_is_over_both_orders_and_an_order_that_decides_is_counted():
    bias = PositionBias()
    # 0 and 1: the one named first wins with 0.8, whichever it is; 0 and 2: 0 wins both; 1 and 2 were not compared
    table = np.array([[NAN, odds(0.8), odds(0.9)], [odds(0.7), NAN, NAN], [odds(0.3), odds(0.6), NAN]])
    bias.add(pairs_in_both_orders(table))
    assert bias.pairs == 2
    assert bias.sums == [(pytest.approx((0.8 + 0.7 + 0.9 + 0.3) / 2), 1.0, 2)]
    # both name the second one: the order decides again
    bias.add(pairs_in_both_orders(np.array([[NAN, odds(0.4)], [odds(0.3), NAN]])))
    assert (bias.pairs, sum(decides for _, decides, _ in bias.sums)) == (3, 2.0)


def test_a_tie_in_one_order_is_no_contradiction():
    bias = PositionBias()
    bias.add(pairs_in_both_orders(np.array([[NAN, 0.0], [2.0, NAN]])))
    assert bias.sums[0][1] == 0.0


def test_nothing_compared_is_said_in_words():
    bias = PositionBias()
    assert bias.in_words() == "position bias: no pair was compared in both orders"
    bias.add(pairs_in_both_orders(np.array([[NAN, 1.0], [1.0, NAN]])))
    assert "with probability 0.731" in bias.in_words()
    assert "the order decides 100.0% of 1 pairs" in bias.in_words()
    bias.add(pairs_in_both_orders(np.array([[NAN, 1.0], [-1.0, NAN]])))
    assert "0.616 (0." in bias.in_words()


def test_the_interval_is_that_of_every_clustered_mean():
    rng = np.random.default_rng(0)
    totals, values, clusters = [], [], []
    for cluster in range(400):
        level = rng.uniform(0.2, 0.8)
        own = np.clip(level + rng.normal(0, 0.05, size=rng.integers(1, 8)), 0, 1)
        totals.append((own.sum(), len(own)))
        values += own.tolist()
        clusters += [cluster] * len(own)
    found = fraction_of_sums(*np.array(totals).T)
    wanted = fraction_interval(values, clusters)
    assert found.n == len(values)
    assert found.value == pytest.approx(wanted.value)
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), abs=1e-12)
    # items of a cluster taken for independent ones would give too narrow an interval
    items = 2 * 1.96 * np.std(values) / math.sqrt(len(values))
    assert found.high - found.low > 1.5 * items


def test_where_all_clusters_agree_the_interval_is_not_empty():
    found, wanted = fraction_of_sums(np.zeros(30), np.full(30, 4.0)), wilson_interval(0, 30)
    assert (found.value, found.low, found.high) == (0.0, wanted.low, wanted.high)
    assert found.n == 120


def test_one_group_has_no_interval():
    bias = PositionBias()
    bias.add([(0.2, 0.4)])
    bias.add([])
    assert len(bias.sums) == 1
    assert " to " not in bias.in_words()


def test_a_pair_is_known_where_both_orders_of_it_are():
    table = np.array([[NAN, 1.0, 2.0], [-3.0, NAN, NAN], [4.0, 0.5, NAN]])
    # pairs (0, 1) and (0, 2); of (1, 2) one order is not known
    assert pairs_in_both_orders(table) == ((1.0, -3.0), (2.0, 4.0))
    assert pairs_in_both_orders(np.full((1, 1), NAN)) == ()


def test_both_orders_give_the_mean_probability_of_the_first_and_whether_the_order_decides():
    first, decides = both_orders([odds(0.8), odds(0.9), 0.0], [odds(0.7), odds(0.3), odds(0.6)])
    assert first == pytest.approx([0.75, 0.6, 0.55])
    assert decides.tolist() == [1.0, 0.0, 0.0]
    assert [len(each) for each in both_orders([], [])] == [0, 0]
