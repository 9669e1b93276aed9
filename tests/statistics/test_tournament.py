"""Tournaments find planted strengths; probabilities of pairs are symmetric to the last bit."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from plaudit.statistics.tournament import (
    Knockout,
    RoundRobin,
    comparable,
    differences,
    number_of_kept,
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


# ------------------------------------------------------------------------------------------ who meets whom

PLANTED = np.array([0.3, 2.0, -1.0, 1.1, 0.6])
BIAS = 0.7


def results(pairs, count):
    """Return the log-odds of planted strengths, with a bias for the one named first, of the given pairs alone."""
    table = np.full((count, count), NAN)
    for i, j in pairs:
        table[i, j] = PLANTED[i] - PLANTED[j] + BIAS
        table[j, i] = PLANTED[j] - PLANTED[i] + BIAS
    return table


@pytest.mark.parametrize(("anchor", "meetings"), [(None, 10), (4, 4), (0, 4)])
def test_a_round_robin_finds_the_planted_order_whatever_the_bias_for_a_place(anchor, meetings):
    robin = RoundRobin(tuple(range(5)), anchor)
    assert len({frozenset(pair) for pair in robin.pairs}) == len(robin.pairs) == meetings
    probabilities, log_odds = robin.tables(results(robin.pairs, 5))
    assert (np.diag(probabilities) == 0.5).all()
    assert (log_odds == -log_odds.T).all()
    everyone = comparable(probabilities, [1] * 5)
    assert everyone.all()
    for number, table in ((win_rates, probabilities), (strengths, log_odds)):
        assert np.argsort(number_of_kept(number, table, everyone)).tolist() == np.argsort(PLANTED).tolist()


def test_against_an_anchor_a_missing_result_is_of_one_response_only():
    robin = RoundRobin((0, 1, 2, 3), anchor=1)
    probabilities, _ = robin.tables(results(robin.pairs[:-1], 4))
    kept = comparable(probabilities, [1] * 4)
    assert kept.tolist() == [True, True, True, False]
    found = number_of_kept(win_rates, probabilities, kept)
    assert np.isnan(found).tolist() == [False, False, False, True]
    assert found[:3].mean() == pytest.approx(0.5)
    assert np.isnan(number_of_kept(win_rates, probabilities, np.zeros(4, dtype=bool))).all()


def played(entrants, lead):
    """Return a knockout played to its end, its number of rounds, and who met whom."""
    bracket, rounds, met = Knockout(entrants), 0, []
    while pairs := bracket.meetings:
        met += pairs
        rounds += 1
        bracket.play([lead(*pair) for pair in pairs])
    return bracket, rounds, met


@settings(max_examples=200, deadline=None)
@given(st.permutations(range(9)), st.integers(1, 9))
def test_a_knockout_finds_the_planted_best_in_the_fewest_meetings_and_ranks_everyone(order, count):
    entrants = order[:count]
    bracket, rounds, met = played(entrants, lambda i, j: float(i - j))
    assert len(met) == count - 1
    assert rounds == math.ceil(math.log2(count))
    assert bracket.ranks[max(entrants)] == 1
    assert bracket.winner == (max(entrants) if count > 1 else None)
    # 9 entrants: one is out in the first round, 4 in the second, 2 in the third
    by_rank = {1: [1], 2: [1, 2], 3: [1, 2, 3], 4: [1, 2, 3, 3], 5: [1, 2, 3, 3, 5], 6: [1, 2, 3, 3, 5, 5]}
    by_rank |= {7: [1, 2, 3, 3, 5, 5, 5], 8: [1, 2, 3, 3, 5, 5, 5, 5], 9: [1, 2, 3, 3, 5, 5, 5, 5, 9]}
    assert sorted(bracket.ranks.values()) == by_rank[count]
    # whoever is out lost to someone of a better rank
    assert all(bracket.ranks[max(pair)] < bracket.ranks[min(pair)] for pair in met)


def test_the_first_seeds_have_the_byes_and_the_two_best_meet_last():
    seeds = [40, 30, 20, 10, 5]
    bracket, _, met = played(seeds, lambda i, j: float(i - j))
    assert met == [(10, 5), (40, 10), (30, 20), (40, 30)]
    assert bracket.ranks == {40: 1, 30: 2, 20: 3, 10: 3, 5: 5}


def test_a_tie_goes_to_the_better_seed_and_who_was_compared_beats_who_never_was():
    assert played([3, 1, 2], lambda i, j: 0.0)[0].winner == 3
    # nobody can be compared with 0: the winner of the other two goes on
    assert played([0, 1, 2], lambda i, j: NAN if 0 in (i, j) else float(i - j))[0].winner == 2
    nobody, _, _ = played([0, 1, 2], lambda i, j: NAN)
    assert nobody.winner is None
    assert Knockout([]).winner is None
    assert (Knockout([]).meetings, Knockout([7]).meetings, Knockout([7]).ranks) == ([], [], {7: 1})


def test_results_that_are_not_one_per_meeting_are_refused():
    with pytest.raises(ValueError, match="zip"):
        Knockout([0, 1, 2, 3]).play([1.0])
