"""Selective accuracy against values worked out by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from plaudit.errors import ConfigError, DataError
from plaudit.statistics.calibration import (
    area_under_risk_coverage,
    excess_risk_coverage,
    expected_errors,
    selective_accuracy,
)
from plaudit.statistics.intervals import wilson_interval


def test_the_area_is_the_mean_error_rate_of_the_most_confident():
    # By falling confidence right, wrong, right: error rates 0, 1/2, 1/3, whose mean is 5/18; the least is 1/9.
    assert expected_errors([1.0, 3.0, 2.0], [1, 1, 0]).tolist() == [0, 1, 1]
    assert area_under_risk_coverage([1.0, 3.0, 2.0], [1, 1, 0]) == pytest.approx(5 / 18)
    assert excess_risk_coverage([1.0, 3.0, 2.0], [1, 1, 0]) == pytest.approx(5 / 18 - 2 / 18)
    assert excess_risk_coverage([1.0, 3.0, 2.0], [0, 1, 1]) == 0.0
    assert area_under_risk_coverage([], []) is None
    assert excess_risk_coverage([], []) is None


def test_equally_sure_items_stand_in_every_order():
    sure, right = [2.0, 1.0, 1.0, 1.0], [0.0, 1.0, 0.5, 0.0]
    orders = [[0, *order] for order in itertools.permutations([1, 2, 3])]
    expected = np.mean([np.cumsum([1 - right[k] for k in order]) for order in orders], axis=0)
    assert expected_errors(sure, right) == pytest.approx(expected)
    # A confidence that says nothing has the error rate itself.
    assert area_under_risk_coverage([1.0] * 4, right) == pytest.approx(2.5 / 4)


def test_points_hold_the_most_confident_items_with_wilsons_interval():
    sure = np.arange(10, 0, -1.0)
    right = np.array([1, 1, 1, 0, 1, 1, 0, 0, 1, 0], float)
    half, whole = selective_accuracy(sure, right, range(10), coverages=(0.5, 1.0))
    wilson = wilson_interval(4, 5)
    assert half == {"coverage": 0.5, "threshold": 6.0, "accuracy": 0.8, "low": wilson.low, "high": wilson.high, "n": 5}
    wilson = wilson_interval(6, 10)
    assert (whole["accuracy"], whole["low"], whole["high"], whole["n"]) == (0.6, wilson.low, wilson.high, 10)
    assert [point["coverage"] for point in selective_accuracy(sure, right, range(10), coverages=(0.3,))] == [0.3]


def test_a_cut_between_equally_sure_items_takes_them_all():
    (point,) = selective_accuracy([2.0, 1.0, 1.0, 0.0], [1, 1, 0, 0], range(4), coverages=(0.5,))
    assert (point["coverage"], point["accuracy"]) == (0.75, pytest.approx(2 / 3))
    assert selective_accuracy([], [], []) == []


def test_bad_input_is_refused():
    with pytest.raises(DataError, match="correct has 1 entries for 2"):
        expected_errors([1.0, 2.0], [1.0])
    with pytest.raises(DataError, match="outside 0 to 1"):
        area_under_risk_coverage([1.0], [2.0])
    with pytest.raises(ConfigError, match="coverage is 0"):
        selective_accuracy([1.0], [1.0], [0], coverages=(0,))
    with pytest.raises(DataError, match="clusters has 2"):
        selective_accuracy([1.0], [1.0], [0, 1])
