"""The pairwise preference model finds planted preferences, and its broken variants do not."""

from __future__ import annotations

import pytest

from . import experiments_comparison as experiments

# experiment: what the right one must reach, what the broken one must not
BOUNDS = {experiments.read_position: (0.95, 0.7), experiments.drawn_order: (0.9, 0.6)}


def test_every_experiment_has_its_bounds():
    assert set(BOUNDS) == set(experiments.EXPERIMENTS)


@pytest.mark.slow
@pytest.mark.parametrize("experiment", experiments.EXPERIMENTS, ids=lambda experiment: experiment.__name__)
def test_the_right_one_finds_the_signal_and_the_broken_one_does_not(experiment):
    found, (right, broken) = experiment(), BOUNDS[experiment]
    assert found["right"] >= right > broken >= found["broken"], found
