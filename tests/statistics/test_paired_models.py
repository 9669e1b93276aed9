"""Two models on the same items: exact tests against enumeration and scipy, intervals, false discovery rate."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from plaudit.errors import ConfigError, DataError
from plaudit.statistics.intervals import wilson_interval
from plaudit.statistics.paired_tests import (
    benjamini_hochberg,
    mcnemar_exact,
    paired_difference,
    permutation_test,
)


def by_enumeration(differences, clusters) -> float:
    """Share of all assignments of signs to clusters whose total is at least as far from 0."""
    sums = [sum(d for d, c in zip(differences, clusters, strict=True) if c == each) for each in sorted(set(clusters))]
    totals = [
        abs(sum(sign * s for sign, s in zip(signs, sums, strict=True)))
        for signs in itertools.product((1, -1), repeat=len(sums))
    ]
    return sum(total >= abs(sum(sums)) - 1e-9 for total in totals) / len(totals)


def test_benjamini_hochberg_multiplies_by_m_over_rank_and_never_falls():
    # Sorted .01 × 4/1, .02 × 4/2, .03 × 4/3, .5 × 4/4 in the order given: the smaller ones take the least that follows.
    assert benjamini_hochberg([0.02, 0.5, 0.01, 0.03]) == pytest.approx([0.04, 0.5, 0.04, 0.04])
    assert benjamini_hochberg([0.01, 0.9]) == pytest.approx([0.02, 0.9])
    assert benjamini_hochberg([]) == []
    with pytest.raises(DataError, match="outside 0 to 1"):
        benjamini_hochberg([-0.1])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=10))
def test_benjamini_hochberg_equals_scipys(values):
    assert benjamini_hochberg(values) == pytest.approx(stats.false_discovery_control(values))


def test_mcnemar_equals_its_worked_value():
    # 1 against 7 of 8: 2 (C(8,0) + C(8,1)) ÷ 2⁸ = 18 ÷ 256.
    assert mcnemar_exact(7, 1) == mcnemar_exact(1, 7) == pytest.approx(18 / 256)
    assert mcnemar_exact(0, 0) == mcnemar_exact(3, 3) == 1.0
    with pytest.raises(DataError, match="at least 0"):
        mcnemar_exact(-1, 2)


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_equals_scipys_binomial_test(wins, losses):
    expected = stats.binomtest(wins, wins + losses, 0.5).pvalue if wins + losses else 1.0
    assert mcnemar_exact(wins, losses) == pytest.approx(expected)


@given(st.lists(st.tuples(st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0]), st.integers(0, 6)), max_size=16))
def test_the_permutation_test_equals_enumeration_and_knows_no_sides(rows):
    differences, clusters = [d for d, _ in rows], [c for _, c in rows]
    found = permutation_test(differences, clusters)
    assert found == pytest.approx(by_enumeration(differences, clusters) if rows else 1.0)
    assert permutation_test([-d for d in differences], clusters) == pytest.approx(found)


def test_the_permutation_test_of_single_items_is_mcnemars():
    differences = np.array([1.0] * 12 + [-1.0] * 4 + [0.0] * 9)
    assert permutation_test(differences, range(25)) == pytest.approx(mcnemar_exact(12, 4))
    # As twenty-five copies of one prompt they are no evidence.
    assert permutation_test(differences, [0] * 25) == 1.0


def test_drawn_permutations_come_close_to_all_of_them():
    # Thirds are no quarters, so signs are drawn: standard deviation √(p (1 − p) ÷ 20,000) < 0.0036.
    rng = np.random.default_rng(0)
    differences = rng.choice([-1 / 3, 1 / 3, 2 / 3], 12)
    expected = by_enumeration(differences, range(12))
    assert permutation_test(differences, range(12)) == pytest.approx(expected, abs=4 * 0.0036)
    assert permutation_test(differences, range(12), seed=1) != permutation_test(differences, range(12), seed=2)


def test_the_difference_has_students_interval_over_prompts():
    # Differences 1, 0, −1, 1 of four prompts: mean ¼, s² = 2.75 ÷ 3, t = 3.182446 for three degrees of freedom.
    found = paired_difference([1.0, 0.0, -1.0, 1.0], range(4))
    half = 3.182446 * math.sqrt(2.75 / 3 / 4)
    assert (found.value, found.low, found.high) == (0.25, -1.0, 1.0)
    narrow = paired_difference([0.1, 0.0, -0.1, 0.1], range(4))
    assert (narrow.low, narrow.high) == pytest.approx((0.025 - half / 10, 0.025 + half / 10))


def test_a_difference_seen_on_one_side_only_may_still_be_on_the_other():
    found = paired_difference([0.1, 0.0, 0.0], range(3))
    assert found.low < 0.0 < found.high
    assert found.high - found.value == pytest.approx(found.value - found.low)


def test_models_that_never_differ_may_still_differ_rarely():
    found = paired_difference(np.zeros(40), np.repeat(range(20), 2))
    assert (found.low, found.high) == (-wilson_interval(0, 20).high, wilson_interval(0, 20).high)
    one = paired_difference([1.0, 0.0], [7, 7])
    assert (one.value, one.low, one.high) == (0.5, -1.0, 1.0)
    assert paired_difference([], []) is None


def test_bad_input_is_refused():
    with pytest.raises(DataError, match="clusters has 1 entries for 2 differences"):
        permutation_test([1.0, 0.0], [1])
    with pytest.raises(ConfigError, match="permutations is 0"):
        permutation_test([1.0], [1], permutations=0)
    with pytest.raises(DataError, match="not finite"):
        permutation_test([math.nan], [1])
    with pytest.raises(DataError, match="outside −1 to 1"):
        paired_difference([2.0], [1])
