"""Correlations equal values worked out by hand and scipy's; what does not vary has none, with the reason."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from plaudit.errors import DataError
from plaudit.statistics.correlation import (
    correlation,
    kendall_tau_b,
    mean_ranks,
    pearson,
    spearman,
    why_undefined,
)
from plaudit.statistics.metric import IntervalSettings, RowStatistic, interval

KINDS = ("pearson", "spearman", "kendall")
SCIPY = {"pearson": stats.pearsonr, "spearman": stats.spearmanr, "kendall": stats.kendalltau}


def test_pearson_by_hand():
    # deviations −1.5 −0.5 0.5 1.5 and −2 0 −1 3: Σxy = 3 + 0 − 0.5 + 4.5 = 7, Σx² = 5, Σy² = 14
    assert pearson([1, 2, 3, 4], [1, 3, 2, 6]) == pytest.approx(7 / math.sqrt(5 * 14))


def test_equal_values_share_their_mean_rank():
    # ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: covariance 4.5, variances 4.5 and 5
    x, y = np.array([1.0, 5.0, 5.0, 9.0]), np.array([1.0, 2.0, 3.0, 4.0])
    assert spearman(x, y) == pytest.approx(4.5 / math.sqrt(4.5 * 5))
    assert spearman(x, np.ones(4)) is None


def test_kendall_with_ties_by_hand():
    # Of the 6 pairs of (1,1) (2,1) (2,3) (4,2), three are ordered alike: (1,1)-(2,3), (1,1)-(4,2), (2,1)-(4,2); one is
    # not: (2,3)-(4,2); one is tied in y and one in x. τ-b = (3 − 1) ÷ √((6 − 1)(6 − 1))
    assert kendall_tau_b([1, 2, 2, 4], [1, 1, 3, 2]) == pytest.approx(2 / 5)


@pytest.mark.parametrize("kind", KINDS)
def test_scipy_agrees(kind):
    generator = np.random.default_rng(0)
    for size in (3, 10, 200):
        x = generator.integers(0, 6, size).astype(float)
        y = x + generator.normal(0, 2, size).round()
        x[0], y[0] = 7.0, 9.0
        assert correlation(x, y, kind) == pytest.approx(SCIPY[kind](x, y).statistic, abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_a_perfect_order_is_one_and_its_reverse_minus_one(kind):
    x = np.arange(6.0)
    assert correlation(x, 3 * x + 1, kind) == pytest.approx(1.0)
    assert correlation(x, -x, kind) == pytest.approx(-1.0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("x", "y", "reason"),
    [
        ([], [], "a correlation needs two items; there are none"),
        ([1.0], [2.0], "a correlation needs two items; there is 1"),
        ([1.0, 1.0, 1.0], [1.0, 2.0, 3.0], "the reward does not vary"),
        ([1.0, 2.0, 3.0], [0.1, 0.1, 0.1], "the rating does not vary"),
        ([0.3, 0.3], [0.1, 0.1], "the reward and the rating do not vary"),
    ],
)
def test_what_does_not_vary_has_no_correlation_and_a_reason(kind, x, y, reason):
    names = ("the reward", "the rating")
    assert correlation(x, y, kind) is None
    assert why_undefined(x, y, names=names) == reason


@settings(deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.floats(-1e300, 1e300), st.floats(-1e300, 1e300)), min_size=2, max_size=12))
def test_a_correlation_is_a_number_from_minus_one_to_one_or_none(rows):
    x, y = zip(*rows, strict=True)
    for kind in KINDS:
        value = correlation(x, y, kind)
        assert (value is None) == (why_undefined(x, y) is not None)
        assert value is None or -1.0 <= value <= 1.0


def test_huge_and_tiny_values_correlate_as_others_do():
    for size in (1e-300, 1e300):
        assert pearson([size, 2 * size / 4, 0.0], [3.0, 2.0, 1.0]) == pytest.approx(1.0)


def test_unequal_lengths_and_nan_are_refused():
    with pytest.raises(DataError, match="one number per item"):
        pearson([1.0, 2.0], [1.0])
    with pytest.raises(DataError, match="y holds 1 values that are not finite"):
        spearman([1.0, 2.0], [1.0, math.nan])


def test_clusters_make_the_interval_as_wide_as_their_number_allows():
    generator = np.random.default_rng(3)
    # 20 prompts, each repeated 30 times: 600 rows know no more than 20.
    x, y = generator.normal(size=20), generator.normal(size=20)
    rows = np.repeat(np.arange(20), 30)

    def made(x, y, prompts):
        return interval(RowStatistic(lambda rows: pearson(x[rows], y[rows]), prompts), IntervalSettings())

    by_prompt, by_row = (made(x[rows], y[rows], prompts) for prompts in (rows, np.arange(600)))
    alone = made(x, y, np.arange(20))
    assert by_prompt.high - by_prompt.low > 3 * (by_row.high - by_row.low)
    assert by_prompt.high - by_prompt.low == pytest.approx(alone.high - alone.low, rel=0.01)
    assert by_prompt.value == pytest.approx(pearson(x, y))
    assert "20 clusters" in by_prompt.method


def test_resamples_in_which_one_side_does_not_vary_are_left_out_and_counted():
    x, y = np.zeros(40), np.arange(40.0)
    x[0] = 1.0  # a resample without the first row has no correlation: (39/40)^40 = 36 % of them
    metric = RowStatistic(lambda rows: pearson(x[rows], y[rows]), np.arange(40))
    assert "resamples without a value left out" in interval(metric, IntervalSettings()).method


@given(st.lists(st.integers(-4, 4).map(float), min_size=1, max_size=30))
def test_mean_ranks_are_those_of_scipy(values):
    np.testing.assert_array_equal(mean_ranks(np.array(values)), stats.rankdata(values))
