"""Self-training gains from unlabelled pairs, and does not where the pseudo-labels are not applied."""

from __future__ import annotations

import pytest

from . import experiments_semi_supervised as experiments

# experiment: what the applied labels must reach, what the unapplied ones must not come near
BOUNDS = {
    experiments.pseudo_labels: (0.92, 0.56),
    experiments.rounds: (0.98, 0.65),
}


def test_every_experiment_has_its_bounds():
    assert set(BOUNDS) == set(experiments.EXPERIMENTS)


@pytest.mark.parametrize("experiment", experiments.EXPERIMENTS, ids=lambda experiment: experiment.__name__)
def test_applied_labels_find_the_signal_and_unapplied_ones_do_not(experiment):
    found, (right, broken) = experiment(), BOUNDS[experiment]
    assert found["right"] >= right > broken >= found["broken"], found


def test_the_labelled_pairs_alone_leave_room_for_a_gain():
    assert experiments.supervised_accuracy() < 0.9
