"""The objectives on preferences find planted signals that their broken variants miss."""

from __future__ import annotations

import pytest

from . import experiments_pairwise as experiments

# experiment: what the right formula must reach, what the broken one must not come near
BOUNDS = {
    experiments.batch_sum: (0.08, 0.3),
    experiments.broadcast: (0.96, 0.75),
    experiments.soft_labels: (0.001, 0.2),
    experiments.margin: (0.5, -0.3),
    experiments.strength: (0.001, 0.2),
    experiments.smoothing: (0.001, 0.5),
    experiments.flipped_labels: (0.2, 1.0),
    experiments.group_weight: (0.001, 0.5),
    experiments.centering: (0.01, 4.0),
    experiments.language_model: (1.42, 4.0),
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
