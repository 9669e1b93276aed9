"""A weighted sum of shares has an interval that knows how few items a share rests on."""

from __future__ import annotations

import math

import numpy as np
import pytest

from plaudit.errors import DataError
from plaudit.statistics.intervals import weighted_proportions_interval


def test_the_interval_is_the_formula_worked_out_by_hand():
    """k = 2, h = 1: p̃ = 4/6 and 10/12; Σ w p̃ = 3/4; variances 2/9 ÷ 6 < 3 ÷ (16 · 3), and 5/36 ÷ 12 > 9 ÷ (100 · 9)."""
    found = weighted_proportions_interval([0.5, 0.5], [3, 9], [4, 10])
    assert found.value == pytest.approx(0.5 * 0.75 + 0.5 * 0.9)
    half = 1.959963984540054 * math.sqrt((1 / 16 + 5 / 432) / 4)
    assert (found.low, found.high) == pytest.approx((3 / 4 - half, 1.0))  # 3/4 + half is 1.017: no more than both right
    assert found.n == 14


def test_shares_of_one_item_each_vary_as_all_of_them_do():
    """40 lone items, 24 of them right: the mean has the width of a share of 40, though each of them has none."""
    found = weighted_proportions_interval([1 / 40] * 40, [1] * 24 + [0] * 16, [1] * 40)
    assert found.high - found.low == pytest.approx(2 * 1.96 * math.sqrt(0.6 * 0.4 / 40), rel=0.05)


def test_a_difference_of_two_shares_is_that_of_agresti_and_caffo():
    """Weights 1 and −1 add one success and one failure to each (2000, The American Statistician 54:280)."""
    found = weighted_proportions_interval([1, -1], [56, 48], [70, 80])
    first, second = 57 / 72, 49 / 82
    half = 1.959963984540054 * math.sqrt(first * (1 - first) / 72 + second * (1 - second) / 82)
    assert (found.low, found.high) == pytest.approx((first - second - half, first - second + half), abs=0.002)
    assert found.high - found.low >= 2 * half


def test_shares_that_are_all_right_still_have_a_width_and_hold_their_value():
    found = weighted_proportions_interval([0.5, 0.5], [3, 100], [3, 100])
    assert found.value == found.high == 1.0
    assert found.low < 0.9


@pytest.mark.parametrize(
    ("sizes", "shares"),
    [
        ((3, 100), (0.7, 0.7)),
        ((20,) * 4, (0.95,) * 4),
        ((100, 5), (0.95, 0.3)),
        ((50,) * 23, (0.98,) * 23),
        ((1,) * 40, (0.6,) * 40),
    ],
)
def test_it_covers_where_a_bootstrap_does_not(sizes, shares):
    """Stated 95 %; the bootstrap over items covers 83, 85, 83 and 93 % of the first four."""
    draws, weight = np.random.default_rng(0), np.full(len(sizes), 1 / len(sizes))
    truth, held, runs = float(weight @ np.array(shares)), 0, 2000
    for right in draws.binomial(sizes, shares, size=(runs, len(sizes))):
        found = weighted_proportions_interval(weight, right, sizes)
        held += found.low <= truth <= found.high
    assert held / runs >= 0.935


@pytest.mark.parametrize("bad", [([1], [2], [1]), ([1], [0], [0]), ([0], [1], [1]), ([1, 1], [1], [1]), ([], [], [])])
def test_what_is_out_of_range_is_refused(bad):
    with pytest.raises(DataError):
        weighted_proportions_interval(*bad)


def test_weights_that_are_not_alike_add_by_their_squares():
    """h = 2 · 0.82 ÷ 1² = 1.64, and the interval lies around Σ w (x + h) ÷ (n + 2h)."""
    found = weighted_proportions_interval([0.9, 0.1], [3, 6], [4, 10], confidence=0.5)
    assert (found.low + found.high) / 2 == pytest.approx(0.9 * 4.64 / 7.28 + 0.1 * 7.64 / 13.28)
