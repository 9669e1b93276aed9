"""Objectives of one's own: values by hand, soft labels, what a class must have, and errors that name the path."""

from __future__ import annotations

import pytest
import torch

from plaudit.errors import ConfigError, ModelError
from plaudit.objectives.config import CustomObjective
from plaudit.objectives.objective import ItemLosses, Needs, Rewards
from plaudit.objectives.pairwise import bradley_terry_loss

from .batches import batch_labels, pair_labels

HERE = "tests_of_custom_losses"


def hinge(chosen, rejected, *, margin=1.0):
    return (margin - (chosen - rejected)).clamp(min=0.0)


def exponential(chosen, rejected):
    return torch.exp(rejected - chosen)


def reduced(chosen, rejected):
    return (rejected - chosen).mean()


class Length:
    """Squared distance of the reward from the length. An item is a response."""

    needs = Needs(labels="outcomes")
    reward_scale = None

    def __init__(self, factor):
        self.factor = factor

    def weights(self, labels):
        return torch.ones(labels.num_responses)

    def __call__(self, rewards, labels, step=None):
        return ItemLosses((rewards.response - self.factor * labels.length).square(), self.weights(labels), {})


class Weightless:
    needs = Needs(labels="outcomes")


@pytest.fixture(autouse=True)
def module(monkeypatch):
    import sys
    import types

    made = types.ModuleType(HERE)
    for each in (hinge, exponential, reduced, Length, Weightless):
        setattr(made, each.__name__, each)
    monkeypatch.setitem(sys.modules, HERE, made)


def objective(name, **options):
    return CustomObjective(path=f"{HERE}:{name}", **options)


def test_a_hinge_by_hand():
    # leads 2 and -0.5: 1.5 - 2 < 0, and 1.5 + 0.5
    labels = batch_labels(4, pairs=pair_labels([0, 3], [1, 2]))
    items = objective("hinge", margin=1.5)(Rewards(response=torch.tensor([3.0, 1.0, 0.5, 0.0])), labels)
    assert items.losses.tolist() == [0.0, 2.0]
    assert items.weights.tolist() == [1.0, 1.0]
    assert items.logged["accuracy"].tolist() == [1.0, 0.0]


def test_a_soft_label_mixes_the_loss_of_both_orders():
    # p = 0.75 at a lead of 0.5: 0.75 * (1 - 0.5) + 0.25 * (1 + 0.5)
    labels = batch_labels(2, pairs=pair_labels([0], [1], probability=[0.75]))
    assert objective("hinge")(Rewards(response=torch.tensor([0.5, 0.0])), labels).losses.tolist() == [0.75]


def test_a_hard_label_takes_nothing_from_the_other_order_even_where_that_is_infinite():
    rewards = torch.tensor([200.0, 0.0], requires_grad=True)
    items = objective("exponential")(Rewards(response=rewards), batch_labels(2, pairs=pair_labels([0], [1])))
    items.losses.sum().backward()
    assert items.losses.tolist() == [0.0]
    assert rewards.grad.isfinite().all()


def test_a_library_function_trains_as_our_own_does():
    labels = batch_labels(3, pairs=pair_labels([0, 1], [2, 2]))
    rewards = torch.tensor([1.0, -2.0, 0.3])
    ours = CustomObjective(path="plaudit.objectives.pairwise:bradley_terry_loss")(Rewards(response=rewards), labels)
    assert torch.equal(ours.losses, bradley_terry_loss(rewards[:2], rewards[[2, 2]]))


def test_a_class_states_its_labels_and_its_losses():
    found = objective("Length", factor=2.0)
    assert found.needs.labels == "outcomes"
    assert (found.reward_scale, objective("hinge").reward_scale) == (None, "order")
    items = found(Rewards(response=torch.tensor([5.0, 1.0])), batch_labels(2, length=[2, 3]))
    assert items.losses.tolist() == [1.0, 25.0]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"path": "no_such_package:loss"}, r"objective\.path is 'no_such_package:loss', which cannot be imported"),
        ({"path": f"{HERE}:focal"}, f"'{HERE}:focal', which cannot be imported: .*has no attribute 'focal'"),
        ({"path": f"{HERE}:Length"}, "cannot be made of {}: .*'factor'"),
        ({"path": f"{HERE}:Weightless"}, "has no weights, __call__, which every objective has"),
    ],
)
def test_a_path_that_leads_to_no_objective_is_named(config, words):
    with pytest.raises(ConfigError, match=words):
        _ = CustomObjective(**config).needs


def test_a_loss_that_reduces_is_refused():
    labels = batch_labels(2, pairs=pair_labels([0], [1]))
    with pytest.raises(ModelError, match=r"gave a tensor \[\]; it must give one loss per pair, \[1\]"):
        objective("reduced")(Rewards(response=torch.zeros(2)), labels)
