"""The objectives on single responses find planted signals that their broken variants miss."""

from __future__ import annotations

import pytest

from . import experiments_pointwise as experiments

# experiment: what the right formula must reach, what the broken one must not come near
BOUNDS = {
    experiments.missing_ratings: (0.05, 1.0),
    experiments.scale: (0.65, 0.2),
    experiments.soft_outcomes: (0.001, 0.2),
    experiments.unknown_outcomes: (0.001, 0.1),
    experiments.outcome_broadcast: (0.95, 0.6),
    experiments.positive_weight: (0.001, 0.3),
}


def test_every_experiment_has_its_bounds():
    assert set(BOUNDS) == set(experiments.EXPERIMENTS)


@pytest.mark.parametrize("experiment", experiments.EXPERIMENTS, ids=lambda experiment: experiment.__name__)
def test_the_right_formula_finds_the_signal_and_the_broken_one_does_not(experiment):
    found, (right, broken) = experiment(), BOUNDS[experiment]
    if right < broken:
        assert found["right"] <= right < broken <= found["broken"], found
    else:
        assert found["right"] >= right > broken >= found["broken"], found
