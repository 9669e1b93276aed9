"""Areas under the ROC curve, their intervals, accuracy and F1 against hand-worked values and slow formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from plaudit.errors import DataError
from plaudit.statistics.classification import accuracy, auc, auc_interval, f1_score, harmonic_mean


def slow_auc(values, positive):
    wins = [v for v, p in zip(values, positive, strict=True) if p]
    losses = [v for v, p in zip(values, positive, strict=True) if not p]
    return sum((w > x) + 0.5 * (w == x) for w in wins for x in losses) / (len(wins) * len(losses))


def test_a_tie_counts_half_by_hand():
    # positives 3, 2; negatives 2, 1: 3>2, 3>1, 2=2, 2>1 → 3.5 of 4
    assert auc([3, 2, 2, 1], [True, True, False, False]) == 3.5 / 4
    assert auc([1, 1, 1], [True, False, False]) == 0.5
    assert auc([1, 2], [True, False]) == 0.0


def test_one_class_alone_has_no_area():
    assert auc([1.0, 2.0], [True, True]) is None
    assert auc([], []) is None
    assert auc_interval([1.0, 2.0], [False, False], ["a", "b"]) is None


@settings(deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=20))
def test_the_area_is_the_share_of_pairs_in_order(rows):
    values, positive = zip(*rows, strict=True)
    found = auc(values, positive)
    if all(positive) or not any(positive):
        assert found is None
    else:
        assert found == pytest.approx(slow_auc(values, positive))
        statistic = stats.mannwhitneyu(
            [v for v, p in rows if p], [v for v, p in rows if not p], method="asymptotic"
        ).statistic
        assert found == pytest.approx(statistic / (sum(positive) * (len(rows) - sum(positive))))


def test_nan_and_unequal_lengths_are_refused():
    with pytest.raises(DataError, match="not finite"):
        auc([math.nan, 1.0], [True, False])
    with pytest.raises(DataError, match="one per item"):
        auc([1.0], [True, False])
    with pytest.raises(DataError, match="clusters has 1 entries"):
        auc_interval([1.0, 2.0], [True, False], ["a"])


def test_delongs_interval_by_hand():
    # positives 4, 2, 1; negatives 3, 0. Wins: 4 beats both, 2 and 1 beat 0: θ = 4/6.
    # V of the positives 1, ½, ½: Σ(V − 2/3)² = 1/9 + 1/36 + 1/36 = 1/6, ÷ 2 ÷ 3 = 1/36
    # V of the negatives 1/3, 1:   Σ(V − 2/3)² = 1/9 + 1/9 = 2/9,           ÷ 1 ÷ 2 = 1/9
    found = auc_interval([4, 2, 1, 3, 0], [True, True, True, False, False], list("abcde"))
    assert (found.value, found.n, found.method) == (pytest.approx(2 / 3), 5, "delong")
    # three clusters of one class and two of the other: their harmonic mean 2.4, twice as they share none
    half = stats.t.ppf(0.975, 4.8 - 1) * math.sqrt(1 / 36 + 1 / 9) / (2 / 9)
    ends = [1 / (1 + math.exp(-(math.log(2) + side * half))) for side in (-1, 1)]
    assert (found.low, found.high) == pytest.approx(ends)


def test_the_clustered_interval_by_hand():
    # Cluster a: positive 2, negative 1; b: positive 3, negative 0; c: positive 1, negative 2.
    # Against negatives 1, 0, 2: V of 2 is 5/6 (the tie ½), of 3 is 1, of 1 is ½; θ = (5/6 + 1 + 1/2) ÷ 3 = 7/9.
    # Against positives 2, 3, 1: V of 1 is 5/6, of 0 is 1, of 2 is ½. So s = t = (1/18, 4/18, −5/18), Σs² = 42/324.
    # variance = 3/2 (42/324 + 42/324 + 2 · 42/324) ÷ 9 = 1.5 · 168/324 ÷ 9
    found = auc_interval([2, 1, 3, 0, 1, 2], [True, False] * 3, list("aabbcc"))
    assert found.value == pytest.approx(7 / 9)
    assert found.method == "obuchowski (3 clusters)"
    half = 4.302652730 * math.sqrt(1.5 * 168 / 324 / 9) / (7 / 9 * 2 / 9)
    ends = [1 / (1 + math.exp(-(math.log(7 / 2) + side * half))) for side in (-1, 1)]
    assert (found.low, found.high) == pytest.approx(ends)


def test_a_perfect_area_has_wilsons_interval_over_the_rarer_class():
    found = auc_interval([3, 4, 5, 6, 1, 2], [True] * 4 + [False] * 2, range(6))
    assert (found.value, found.high, found.method) == (1.0, 1.0, "wilson over 2 prompts")
    assert found.low == pytest.approx(2 / (2 + 3.841459), abs=1e-5)


def test_equal_values_are_known_to_say_nothing_and_one_prompt_says_nothing_of_others():
    found = auc_interval(np.ones(6), [True, False] * 3, range(6))
    assert (found.low, found.value, found.high, found.method) == (0.5, 0.5, 0.5, "exact: all values are equal")
    found = auc_interval([3, 1, 2, 0], [True, True, False, False], ["a", "a", "b", "c"])
    assert (found.low, found.high, found.method) == (0.0, 1.0, "none: one prompt holds a whole class")


def test_the_clustered_interval_covers_where_delongs_is_too_narrow():
    generator = np.random.default_rng(5)
    runs, prompts, each = 300, 60, 8
    index = np.repeat(np.arange(prompts), each)
    truth = stats.norm.cdf(0.5 / 2)  # the difference of two values has variance 2 (1 + 1) = 4
    covered = naive = 0
    for _ in range(runs):
        # All items of a prompt are of one class and share an effect as large as their own noise.
        positive = np.repeat(generator.random(prompts) < 0.5, each)
        values = 0.5 * positive + np.repeat(generator.normal(size=prompts), each) + generator.normal(size=len(index))
        by_prompt = auc_interval(values, positive, index)
        by_item = auc_interval(values, positive, np.arange(len(index)))
        covered += by_prompt.low <= truth <= by_prompt.high
        naive += by_item.low <= truth <= by_item.high
    assert 0.91 < covered / runs < 0.98  # √(0.95 · 0.05 ÷ 300) = 0.013
    assert naive / runs < 0.75


def test_f1_accuracy_and_harmonic_mean_by_hand():
    # 2 found, 1 missed, 1 false alarm, 2 left alone: F1 = 4 ÷ 6, accuracy 4/6
    predicted = [True, True, False, True, False, False]
    positive = [True, True, True, False, False, False]
    assert f1_score(predicted, positive) == pytest.approx(4 / 6)
    assert accuracy(predicted, positive) == pytest.approx(4 / 6)
    assert f1_score([False, False], [True, False]) == 0.0
    assert f1_score([False, False], [False, False]) is None
    assert accuracy([], []) is None
    assert harmonic_mean(0.5, 1.0) == pytest.approx(2 / 3)
    assert (harmonic_mean(0.0, 1.0), harmonic_mean(0.0, 0.0)) == (0.0, 0.0)
    with pytest.raises(DataError, match="they must be the same"):
        f1_score([True], [True, False])
