"""Accuracy without the pull of length: worked values, planted pulls, and what has no value."""

from __future__ import annotations

import math

import numpy as np
import pytest

from plaudit.errors import DataError
from plaudit.statistics.agreement import length_balanced_accuracy, length_controlled_accuracy
from plaudit.statistics.intervals import proportion_interval, weighted_proportions_interval, wilson_interval


def two_sided(longer: int, shorter: int):
    """Ten pairs with a longer preferred response and ten with a shorter one, so many of each right."""
    right = np.array([1.0] * longer + [0.0] * (10 - longer) + [1.0] * shorter + [0.0] * (10 - shorter))
    return right, np.array([40.0] * 10 + [-40.0] * 10)


def test_the_fit_of_two_directions_is_the_mean_of_their_log_odds():
    # logit .9 = log 9 and logit .6 = log 1.5: α = ½ log 13.5, so σ(α) = √13.5 ÷ (1 + √13.5), whatever the spread.
    right, lengths = two_sided(9, 6)
    found = length_controlled_accuracy(right, lengths, range(20))
    assert found.interval.value == pytest.approx(math.sqrt(13.5) / (1 + math.sqrt(13.5)))
    assert found.slope == pytest.approx(math.log(6) / 2 / math.tanh(1))
    # The variance of α is ¼ (1 ÷ (10 · .9 · .1) + 1 ÷ (10 · .6 · .4)) = .381944, times C ÷ (C − 1) = 20 ÷ 19.
    half = 2.093024 * math.sqrt(0.381944 * 20 / 19)
    logit = math.log(13.5) / 2
    assert found.interval.low == pytest.approx(1 / (1 + math.exp(half - logit)), abs=1e-5)
    assert found.interval.high == pytest.approx(1 / (1 + math.exp(-half - logit)), abs=1e-5)


def test_balance_is_the_mean_of_both_directions():
    right, lengths = two_sided(9, 6)
    # Pairs of equal length do not count.
    found = length_balanced_accuracy(np.append(right, 0.0), np.append(lengths, 0.0), range(21))
    assert found.interval.value == pytest.approx(0.75)
    assert found.interval.n == 20
    assert found.interval.low < 0.75 < found.interval.high


def test_a_judge_of_length_alone_has_nothing_left():
    lengths = np.array([5.0, 3.0, 8.0, 2.0, -4.0, -1.0])
    right = (lengths > 0).astype(float)
    assert right.mean() == pytest.approx(2 / 3)
    balanced = length_balanced_accuracy(right, lengths, range(6)).interval
    assert balanced == weighted_proportions_interval([0.5, 0.5], [4, 0], [4, 2])
    # Prompts that all have one pair of either direction do not differ.
    clustered = length_balanced_accuracy([1, 0, 1, 0], [5, -5, 3, -3], [0, 0, 1, 1]).interval
    assert clustered == wilson_interval(1, 2).model_copy(update={"method": "wilson over 2 prompts", "n": 4})
    assert "length alone parts" in length_controlled_accuracy(right, lengths, range(6)).reason


def test_a_planted_pull_is_taken_out_and_the_interval_covers():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(300):
        lengths = rng.normal(60, 100, 400)  # mostly longer
        chance = 1 / (1 + np.exp(-(0.4 + 1.5 * np.tanh(lengths / lengths.std()))))
        right = (rng.random(400) < chance).astype(float)
        found = length_controlled_accuracy(right, lengths, np.repeat(range(200), 2))
        covered += found.interval.low <= 1 / (1 + math.exp(-0.4)) <= found.interval.high
        assert right.mean() > 0.62  # what is not controlled
    # 95 % of 300 with a standard deviation of 3.8; four of them.
    assert abs(covered - 285) < 15


def test_without_lengths_or_without_errors_there_is_nothing_to_control():
    right = np.array([1.0, 0.0, 1.0, 1.0])
    assert length_controlled_accuracy(right, np.zeros(4), range(4)).interval == proportion_interval(right, range(4))
    same = length_controlled_accuracy(np.ones(4), [1, 2, -3, 4], range(4)).interval
    assert same == proportion_interval(np.ones(4), range(4))


def test_what_has_no_value_says_why():
    right = [1.0, 0.0, 1.0]
    assert length_controlled_accuracy([], [], []).reason == "there are no pairs"
    assert "same difference" in length_controlled_accuracy(right, [7, 7, 7], range(3)).reason
    assert "one prompt" in length_controlled_accuracy([1, 0, 1, 0], [2, 2, -2, -2], [0] * 4).reason
    assert "never the shorter" in length_balanced_accuracy(right, [1, 2, 3], range(3)).reason
    assert "one prompt holds" in length_balanced_accuracy([*right, 1.0], [1, 2, -3, 1], [0, 1, 2, 2]).reason
    with pytest.raises(DataError, match="3 outcomes, 2 length differences and 3 clusters"):
        length_controlled_accuracy(right, [1, 2], range(3))
    with pytest.raises(DataError, match="outside 0 to 1"):
        length_balanced_accuracy([2.0], [1], [0])
