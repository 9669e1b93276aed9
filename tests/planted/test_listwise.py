"""The objectives on rankings find planted signals that their broken variants miss."""

from __future__ import annotations

import pytest

from . import experiments_listwise as experiments

# experiment: what the right formula must reach, what the broken one must not come near
BOUNDS = {
    experiments.full_ranking: (0.08, 0.5),
    experiments.reversed_ranking: (0.08, 1.0),
    experiments.unranked: (0.1, 0.4),
    experiments.only_the_best_are_ranked: (0.1, 0.3),
    experiments.ties: (0.03, 0.1),
    experiments.top_one: (0.95, 0.6),
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
