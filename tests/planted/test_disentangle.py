"""ODIN finds planted signals that its broken variants miss."""

from __future__ import annotations

import pytest

from . import experiments_disentangle as experiments

# experiment: what the right formula must reach, what the broken one must not come near
BOUNDS = {
    experiments.one_wrong_pair: (0.95, 1e-06),
    experiments.quality_of_pairs: (0.95, 0.75),
    experiments.length_of_quality: (0.02, 0.8),
    experiments.whole_step: (0.02, 0.3),
    experiments.overlap: (0.02, 0.1),
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
