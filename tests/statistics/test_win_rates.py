"""Probabilities of pairs are symmetric to the last bit, and win rates and strengths say what they say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from plaudit.statistics.win_rates import (
    comparable,
    differences,
    probabilities_from,
    strengths,
    symmetric_log_odds,
    symmetric_probabilities,
    win_rates,
)

NAN = math.nan
tables = arrays(np.float64, (4, 4), elements=st.floats(-50, 50))


def sigma(value):
    return 1 / (1 + math.exp(-value))


def test_a_probability_is_the_mean_of_both_orders():
    # named first with log-odds 2, named second the other one is first with log-odds -1
    found = symmetric_probabilities(np.array([[NAN, 2.0], [-1.0, NAN]]))
    assert found[0, 1] == pytest.approx((sigma(2) + 1 - sigma(-1)) / 2)


@settings(max_examples=200, deadline=None)
@given(tables)
def test_the_two_sides_of_a_pair_add_up_to_one_exactly(log_odds):
    probability, odds = symmetric_probabilities(log_odds), symmetric_log_odds(log_odds)
    assert (probability + probability.T == 1.0).all()
    assert (odds == -odds.T).all()
    antisymmetric = differences(log_odds[0])
    found = probabilities_from(antisymmetric)
    assert (found + found.T == 1.0).all()


@pytest.mark.parametrize("bias", [-40.0, -1.0, 0.0, 3.0])
def test_a_model_that_only_knows_a_position_says_nothing(bias):
    log_odds = np.full((4, 4), bias)
    assert (symmetric_probabilities(log_odds) == 0.5).all()
    assert (symmetric_log_odds(log_odds) == 0.0).all()


def test_log_odds_stay_finite_where_the_probability_rounds_to_one():
    log_odds = np.array([[NAN, 800.0], [-900.0, NAN]])
    assert symmetric_probabilities(log_odds)[0, 1] == 1.0
    # log p/(1-p) with 1-p = (exp(-800) + exp(-900)) / 2
    assert symmetric_log_odds(log_odds)[0, 1] == pytest.approx(800 + math.log(2))


def test_log_odds_are_those_of_the_probability():
    log_odds = np.array([[NAN, 2.0], [-1.0, NAN]])
    p = symmetric_probabilities(log_odds)[0, 1]
    assert symmetric_log_odds(log_odds)[0, 1] == pytest.approx(math.log(p / (1 - p)))


def test_a_win_rate_is_the_mean_over_the_others_and_the_mean_of_all_is_a_half():
    probability = np.array([[0.5, 0.9, 0.6], [0.1, 0.5, 0.2], [0.4, 0.8, 0.5]])
    assert win_rates(probability).tolist() == pytest.approx([0.75, 0.15, 0.6])
    assert win_rates(probability).mean() == pytest.approx(0.5)


def test_strengths_give_log_odds_back_where_they_add_up():
    given_strengths = np.array([1.0, -0.5, 2.0, 0.0])
    found = strengths(differences(given_strengths))
    assert found == pytest.approx(given_strengths - given_strengths.mean())


def test_strengths_of_two_differ_by_their_log_odds():
    found = strengths(np.array([[NAN, 3.0], [-3.0, NAN]]))
    assert found.tolist() == pytest.approx([1.5, -1.5])


def test_strengths_are_the_least_squares_solution():
    rng = np.random.default_rng(0)
    upper = np.triu(rng.normal(size=(5, 5)), 1)
    log_odds = upper - upper.T
    rows, columns = np.triu_indices(5, 1)
    design = np.zeros((len(rows) + 1, 5))
    design[np.arange(len(rows)), rows] = 1
    design[np.arange(len(rows)), columns] = -1
    design[-1] = 1  # mean 0
    solution = np.linalg.lstsq(design, np.append(log_odds[rows, columns], 0), rcond=None)[0]
    assert strengths(log_odds) == pytest.approx(solution)


def table(size, *missing):
    found = np.full((size, size), 0.5)
    np.fill_diagonal(found, NAN)
    for i, j in missing:
        found[i, j] = found[j, i] = NAN
    return found


@pytest.mark.parametrize(
    ("size", "missing", "lengths", "kept"),
    [
        (3, [], [1, 1, 1], [True, True, True]),
        # response 1 lacks two pairs, each of the others one: it alone goes
        (3, [(0, 1), (1, 2)], [9, 1, 9], [True, False, True]),
        # one pair is missing: the longer of the two goes
        (3, [(0, 2)], [5, 1, 9], [True, True, False]),
        (3, [(0, 2)], [9, 1, 5], [False, True, True]),
        # of equally long ones the first goes
        (3, [(0, 2)], [5, 1, 5], [False, True, True]),
        # nothing is left to compare with
        (2, [(0, 1)], [1, 2], [False, False]),
        (1, [], [3], [False]),
        (4, [(0, 1), (2, 3)], [1, 2, 1, 2], [True, False, True, False]),
    ],
)
def test_who_was_not_compared_with_everyone_is_left_out_longest_first(size, missing, lengths, kept):
    assert comparable(table(size, *missing), lengths).tolist() == kept
