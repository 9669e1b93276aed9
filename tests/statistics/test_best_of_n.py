import itertools
import math

import numpy as np
import pytest

from plaudit.errors import ConfigError, DataError
from plaudit.statistics.best_of_n import expected_best_of_n, selection_weights


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
    weights = selection_weights(np.random.default_rng(0).normal(size=1000), n)
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
        selection_weights([1.0], 0)
    with pytest.raises(ConfigError, match="n is 1 for 0 samples"):
        selection_weights([], 1)
    with pytest.raises(DataError, match="not finite"):
        selection_weights([1.0, float("nan")], 1)
    with pytest.raises(DataError, match="gold"):
        expected_best_of_n([1.0, 2.0], [1.0], 1)
