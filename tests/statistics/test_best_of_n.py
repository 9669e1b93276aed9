import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plaudit.errors import ConfigError, DataError
from plaudit.statistics.best_of_n import best_of_n_table, place_weights

SETS = st.lists(
    st.lists(st.tuples(st.integers(0, 3), st.integers(-4, 4)), min_size=1, max_size=6), min_size=1, max_size=5
)


def expected_best_of_n(rewards, gold, n: int) -> float:
    return float(best_of_n_table([rewards], [gold], (n,))[0, 0])


def selection_weights(rewards, n: int) -> np.ndarray:
    """How often each response is the pick: its own expected gold where it alone has any."""
    return np.array([expected_best_of_n(rewards, own, n) for own in np.eye(len(rewards))])


def by_enumeration(rewards, gold, n: int) -> float:
    """Mean over every n-subset of the mean gold of its highest-reward members."""
    picks = []
    for subset in itertools.combinations(range(len(rewards)), n):
        top = max(rewards[k] for k in subset)
        picks.append(np.mean([gold[k] for k in subset if rewards[k] == top]))
    return float(np.mean(picks))


def test_two_of_three_equals_the_worked_value():
    # Subsets by reward order 1<2<3: {1,2}->2, {1,3}->3, {2,3}->3, so gold (10 + 20 + 20) / 3.
    assert expected_best_of_n([1, 2, 3], [0, 10, 20], 2) == pytest.approx(50 / 3)
    assert selection_weights([1, 2, 3], 2) == pytest.approx([0, 1 / 3, 2 / 3])


@pytest.mark.parametrize("n", range(1, 8))
def test_it_equals_enumeration_without_ties(n):
    generator = np.random.default_rng(n)
    rewards, gold = generator.permutation(7).astype(float), generator.normal(size=7)
    assert expected_best_of_n(rewards, gold, n) == pytest.approx(by_enumeration(rewards, gold, n))


@given(SETS, st.data())
def test_the_table_of_sets_of_any_sizes_equals_enumeration_with_ties(sets, data):
    smallest = min(map(len, sets))
    counts = data.draw(st.lists(st.integers(1, smallest), min_size=1, max_size=smallest, unique=True))
    rewards, gold = [[reward for reward, _ in each] for each in sets], [[worth for _, worth in each] for each in sets]
    expected = [[by_enumeration(own, true, n) for n in counts] for own, true in zip(rewards, gold, strict=True)]
    assert best_of_n_table(rewards, gold, counts) == pytest.approx(np.array(expected), abs=1e-12)


@given(SETS, st.data())
def test_the_weights_are_how_often_a_response_is_the_pick(sets, data):
    rewards = [reward for reward, _ in sets[0]]
    n = data.draw(st.integers(1, len(rewards)))
    picked = np.zeros(len(rewards))
    subsets = list(itertools.combinations(range(len(rewards)), n))
    for subset in subsets:
        best = [k for k in subset if rewards[k] == max(rewards[j] for j in subset)]
        picked[best] += 1 / len(best) / len(subsets)
    assert selection_weights(rewards, n) == pytest.approx(picked, abs=1e-12)


@pytest.mark.parametrize("n", [1, 2, 7, 500, 999, 1000])
def test_the_weights_of_a_thousand_places_are_the_exact_fractions(n):
    exact = [float(Fraction(math.comb(place - 1, n - 1), math.comb(1000, n))) for place in range(1, 1001)]
    assert place_weights(1000, (n,))[0] == pytest.approx(exact, rel=1e-11, abs=1e-300)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 6])
def test_a_random_tie_break_gives_the_same_weights(n):
    # Ties broken at random = averaging over all orders of the tied samples.
    rewards, gold = [2.0, 1.0, 2.0, 0.0, 2.0, 1.0], [5.0, 1.0, -3.0, 2.0, 0.5, 4.0]
    expected = np.mean(
        [
            expected_best_of_n([r + 1e-3 * place for r, place in zip(rewards, order, strict=True)], gold, n)
            for order in itertools.permutations(range(6))
        ]
    )
    assert expected_best_of_n(rewards, gold, n) == pytest.approx(expected)
    assert expected_best_of_n(rewards, gold, n) == pytest.approx(by_enumeration(rewards, gold, n))


def test_all_ties_and_n_of_one_are_the_mean():
    gold = [1.0, 2.0, 6.0]
    assert expected_best_of_n([0.0, 0.0, 0.0], gold, 2) == pytest.approx(3.0)
    assert expected_best_of_n([5.0, 1.0, 9.0], gold, 1) == pytest.approx(3.0)


def test_n_of_all_samples_is_the_argmax():
    assert expected_best_of_n([5.0, 9.0, 1.0], [1.0, 2.0, 6.0], 3) == pytest.approx(2.0)


@pytest.mark.parametrize("n", [1, 7, 500, 1000])
def test_weights_sum_to_one_for_many_samples(n):
    weights = place_weights(1000, (n,))[0]
    assert weights.sum() == pytest.approx(1.0)
    assert (weights >= 0).all()


def test_it_is_unbiased_over_the_samples():
    # Gold = reward, uniform on 0..1: the expected best of 3 is 3/4.
    generator = np.random.default_rng(3)
    found = [expected_best_of_n(draw, draw, 3) for draw in generator.random((4000, 8))]
    assert np.mean(found) == pytest.approx(0.75, abs=5 * np.std(found) / math.sqrt(4000))


def test_only_the_order_of_the_rewards_matters_and_not_that_of_the_samples():
    generator = np.random.default_rng(4)
    rewards, gold = generator.normal(size=9), generator.normal(size=9)
    order = generator.permutation(9)
    expected = expected_best_of_n(rewards, gold, 4)
    assert expected_best_of_n(np.exp(rewards), gold, 4) == pytest.approx(expected)
    assert expected_best_of_n(rewards[order], gold[order], 4) == pytest.approx(expected)


def test_bad_input_is_refused():
    with pytest.raises(ConfigError, match="between 1 and 2"):
        expected_best_of_n([1.0, 2.0], [1.0, 2.0], 3)
    with pytest.raises(ConfigError, match="n is 0"):
        expected_best_of_n([1.0], [1.0], 0)
    with pytest.raises(ConfigError, match="n is 1 for 0 samples"):
        expected_best_of_n([], [], 1)
    with pytest.raises(DataError, match="not finite"):
        expected_best_of_n([1.0, float("nan")], [1.0, 1.0], 1)
    with pytest.raises(DataError, match="gold has 1 entries for 2 rewards, in set 0"):
        expected_best_of_n([1.0, 2.0], [1.0], 1)
    with pytest.raises(DataError, match="gold holds 1 values that are not finite"):
        expected_best_of_n([1.0, 2.0], [1.0, float("inf")], 1)
    with pytest.raises(DataError, match="1 sets of rewards and 2 of gold"):
        best_of_n_table([[1.0]], [[1.0], [2.0]], (1,))
    with pytest.raises(ConfigError, match="n is 2 for 1 samples"):
        best_of_n_table([[1.0, 2.0], [1.0]], [[1.0, 2.0], [1.0]], (2,))
