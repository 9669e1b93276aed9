"""The objectives at tokens and steps find planted signals that their broken variants miss."""

from __future__ import annotations

import pytest

from . import experiments_token as experiments

# experiment: what the right formula must reach, what the broken one must not come near
BOUNDS = {
    experiments.padding_tokens: (0.04, 0.09),
    experiments.pooled_tokens: (0.04, 0.25),
    experiments.joint_language_model: (1.45, 2.5),
    experiments.padding_steps: (0.02, 0.3),
    experiments.first_error: (0.03, 0.4),
    experiments.three_classes: (0.95, 0.4),
    experiments.soft_steps: (0.01, 0.3),
    experiments.class_tokens: (0.03, 0.15),
    experiments.vocabulary: (0.95, 0.4),
    experiments.response_weight: (0.001, 0.5),
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
