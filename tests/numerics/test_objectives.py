"""What holds for every objective: one finite loss per item, nothing from what is not labelled, detached logs."""

from __future__ import annotations

import math
from dataclasses import replace

import jaxtyping
import pytest
import torch

from plaudit.errors import ModelError
from plaudit.objectives.config import (
    BradleyTerry,
    Odin,
    Outcome,
    PlackettLuce,
    Process,
    Regression,
    TokenOutcome,
    TopOne,
)
from plaudit.objectives.objective import ItemLosses, Needs, Objective, Rewards

from .batches import NAN, batch_labels, finite, pair_labels

CONFIGS = [
    BradleyTerry(),
    BradleyTerry(use_margin=True, margin_scale=0.5, label_smoothing=0.1, centering=0.01, sft=0.1, weight="group"),
    BradleyTerry(strength="scaled", flip_rate=0.2),
    PlackettLuce(),
    PlackettLuce(partial="top"),
    TopOne(),
    TopOne(partial="top"),
    Regression(attributes=("quality", "length")),
    Outcome(positive_weight=2.0),
    TokenOutcome(language_model=0.5),
    Process(classes=(-1.0, 0.0, 1.0)),
    Process(until_first_error=True, weight="response", over="vocabulary", classes=(0.0, 0.5, 1.0)),
    Odin(),
    Odin(weight="group", length=0.0),
]
EVERY = pytest.mark.parametrize("config", CONFIGS, ids=lambda config: repr(config)[:60])
ITEMS = {"bradley_terry": 4, "odin": 4, "plackett_luce": 4, "top_one": 4, "process": 7}


def mixed_labels():
    """Four groups: labelled in every way, labelled in part, a single response, nothing known."""
    return batch_labels(
        8,
        pairs=pair_labels(
            [0, 1, 0, 3],
            [1, 2, 2, 4],
            margin=[1.0, 0.0, 2.0, 0.5],
            probability=[1.0, 0.5, 0.8, 0.0],
            weight=[1 / 3] * 3 + [1.0],
        ),
        group=[0, 0, 0, 1, 1, 2, 3, 3],
        rank=[1, 2, 2, 1, 0, 1, 0, 0],
        outcome=[1.0, 0.0, 0.5, NAN, 1.0, NAN, NAN, NAN],
        ratings=[[1.0, 2.0], [NAN, 1.0], [0.0, NAN], [NAN, NAN], [3.0, 3.0], [NAN, NAN], [NAN, NAN], [NAN, NAN]],
        length=[3, 5, 2, 8, 1, 4, 4, 6],
        steps=[(0, 1.0), (0, 0.0), (0, 1.0), (1, NAN), (2, 0.5), (4, 1.0), (7, NAN)],
        tokens=[0, 0, 0, 1, 2, 2, 4, 6, 7],
    )


def leaves(scale=1.0, dtype=torch.float32, seed=0):
    """Rewards of every kind for ``mixed_labels``, with gradients."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape):
        values = scale * torch.randn(*shape, generator=generator)
        return (values.sign() * scale if scale > 100 else values).to(dtype).requires_grad_()

    return Rewards(
        response=random(8),
        attributes=random(8, 2),
        steps=random(7, 3),
        tokens=random(9),
        log_likelihood=random(9),
        head_weight=random(2, 5),
    )


def is_counted(value):
    return value is not None and value.requires_grad


def run(config, rewards, labels):
    """The items and the gradients of Σ weight · loss."""
    items = config(rewards, labels)
    inputs = [value for value in rewards if is_counted(value)]
    gradients = torch.autograd.grad((items.losses * items.weights).sum(), inputs, allow_unused=True)
    return items, [each for each in gradients if each is not None]


@EVERY
def test_it_is_an_objective_with_one_finite_loss_weight_and_log_per_item(config):
    labels = mixed_labels()
    objective = config
    assert isinstance(objective, Objective)
    assert isinstance(objective.needs, Needs)
    items, gradients = run(config, leaves(), labels)
    assert isinstance(items, ItemLosses)
    shape = (ITEMS.get(config.type, 8),)
    assert items.losses.shape == items.weights.shape == shape
    assert torch.equal(items.weights, objective.weights(labels))
    assert items.losses.requires_grad
    assert gradients
    assert finite(items.losses, items.weights, *gradients)
    assert bool((items.weights > 0).any())
    for values in items.logged.values():
        assert values.shape == shape
        assert finite(values)
        assert not values.requires_grad


@EVERY
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_extreme_rewards_are_finite_in_loss_and_gradient_and_at_least_float32(config, dtype):
    items, gradients = run(config, leaves(scale=1e4, dtype=dtype), mixed_labels())
    assert items.losses.dtype == torch.float32
    assert finite(items.losses, *gradients, *items.logged.values())


@EVERY
def test_double_precision_is_kept(config):
    items, _ = run(config, leaves(dtype=torch.float64), mixed_labels())
    assert items.losses.dtype == torch.float64


@EVERY
def test_what_weighs_nothing_has_no_loss_and_no_gradient(config):
    items = config(leaves(), mixed_labels())
    out = items.weights == 0
    assert torch.equal(items.losses[out], torch.zeros(int(out.sum())))
    for values in items.logged.values():
        assert torch.equal(values[out].double(), torch.zeros(int(out.sum()), dtype=torch.float64))
    rewards = leaves()
    lost = config(rewards, mixed_labels()).losses[out].sum()
    gradients = torch.autograd.grad(lost, [each for each in rewards if is_counted(each)], allow_unused=True)
    assert all(each is None or bool((each == 0).all()) for each in gradients)


@EVERY
def test_a_batch_without_any_label_weighs_nothing_and_is_finite(config):
    nothing = replace(
        batch_labels(3, group=[0, 0, 1], ratings=[[NAN, NAN]] * 3, steps=[(0, NAN)], tokens=[0, 1, 2]),
        pairs=pair_labels([], []),
    )
    rewards = Rewards(
        response=torch.randn(3, requires_grad=True),
        attributes=torch.randn(3, 2, requires_grad=True),
        steps=torch.randn(1, 3, requires_grad=True),
        tokens=torch.randn(3, requires_grad=True),
        log_likelihood=torch.randn(3, requires_grad=True),
        head_weight=torch.randn(2, 4, requires_grad=True),
    )
    items, gradients = run(config, rewards, nothing)
    assert float(items.weights.sum()) == 0.0
    assert items.losses.requires_grad
    assert all(bool((each == 0).all()) for each in (items.losses, *gradients))


@EVERY
def test_a_batch_of_nothing_has_items_of_nothing(config):
    empty = replace(batch_labels(0), ratings=torch.zeros(0, 2))
    rewards = Rewards(
        response=torch.zeros(0),
        attributes=torch.zeros(0, 2),
        steps=torch.zeros(0, 3),
        tokens=torch.zeros(0),
        log_likelihood=torch.zeros(0),
        head_weight=torch.ones(2, 4),
    )
    items = config(rewards, empty)
    assert items.losses.shape == items.weights.shape == (0,)


@EVERY
def test_a_model_without_the_head_it_reads_is_named(config):
    with pytest.raises(ModelError, match=rf"objective {config.type} reads Rewards\.\w+, .* it gives nothing"):
        config(Rewards(), mixed_labels())


@EVERY
def test_only_what_it_reads_and_asks_for_is_used(config):
    items = config(leaves(), mixed_labels())
    rewards = leaves()
    needs = config.needs
    kept = Rewards(
        response=rewards.response if config.type in ("bradley_terry", "plackett_luce", "top_one", "outcome") else None,
        attributes=rewards.attributes if config.type in ("regression", "odin") else None,
        steps=rewards.steps if config.type == "process" else None,
        tokens=rewards.tokens if config.type == "token_outcome" else None,
        log_likelihood=rewards.log_likelihood if needs.log_likelihood else None,
        head_weight=rewards.head_weight if config.type == "odin" else None,
    )
    labels = mixed_labels()
    if not needs.tokens:
        labels = replace(labels, token_response=torch.zeros(0, dtype=torch.int64))
    assert torch.equal(config(kept, labels).losses, items.losses)


@EVERY
def test_the_order_of_the_responses_moves_no_item(config):
    labels, rewards = mixed_labels(), leaves()
    order = torch.tensor([6, 3, 0, 5, 1, 7, 4, 2])
    place = torch.argsort(order)
    moved = replace(
        labels,
        pairs=replace(labels.pairs, chosen=place[labels.pairs.chosen], rejected=place[labels.pairs.rejected]),
        group=labels.group[order],
        rank=labels.rank[order],
        outcome=labels.outcome[order],
        ratings=labels.ratings[order],
        length=labels.length[order],
        step_response=place[labels.step_response],
        token_response=place[labels.token_response],
    )
    items = config(rewards, labels)
    again = config(rewards._replace(response=rewards.response[order], attributes=rewards.attributes[order]), moved)
    by_response = config.type in ("regression", "outcome", "token_outcome")
    wanted = order if by_response else torch.arange(len(items.losses))
    torch.testing.assert_close(again.losses, items.losses[wanted])
    torch.testing.assert_close(again.weights, items.weights[wanted])
    for name, values in again.logged.items():
        torch.testing.assert_close(values, items.logged[name][wanted])


@pytest.mark.parametrize("config", [PlackettLuce(), TopOne(partial="top")])
def test_a_ranking_logs_how_rewards_and_ranking_agree(config):
    labels = batch_labels(6, group=[0, 0, 0, 0, 1, 1], rank=[1, 2, 2, 3, 1, 2])
    items = config(Rewards(response=torch.tensor([3.0, 4.0, 1.0, 1.0, 0.5, 0.5])), labels)
    # group 0 orders (0,1) wrong, (0,2) (0,3) (1,3) right, (2,3) tied; group 1 is tied in rewards
    assert items.logged["accuracy"].tolist() == [0.0, 0.0]
    assert items.logged["pairwise_accuracy"].tolist() == pytest.approx([0.6, 0.0])
    assert items.logged["ties"].tolist() == pytest.approx([0.2, 1.0])
    assert items.logged["chosen_rewards"].tolist() == [3.0, 0.5]
    assert items.logged["rejected_rewards"].tolist() == [2.0, 0.5]
    assert items.logged["reward_margin"].tolist() == [1.0, 0.0]


def test_the_two_ranking_objectives_count_all_choices_or_the_first():
    # weights 4, 2, 1 in the order of the ranking; a group of one weighs nothing
    labels = batch_labels(4, group=[0, 0, 0, 1], rank=[1, 2, 3, 1])
    rewards = Rewards(response=torch.tensor([4.0, 2.0, 1.0, 5.0]).log())
    every, first = (config(rewards, labels) for config in (PlackettLuce(), TopOne()))
    assert every.losses.tolist() == pytest.approx([-math.log(4 / 7 * 2 / 3), 0.0])
    assert first.losses.tolist() == pytest.approx([-math.log(4 / 7), 0.0])
    assert every.weights.tolist() == first.weights.tolist() == [1.0, 0.0]


def test_unranked_responses_are_in_the_log_only_where_they_stand_behind():
    labels = batch_labels(3, rank=[1, 2, 0])
    rewards = Rewards(response=torch.tensor([1.0, 0.0, 2.0]))
    only, top = (PlackettLuce(partial=each)(rewards, labels) for each in ("ranked_only", "top"))
    assert (only.logged["accuracy"].item(), top.logged["accuracy"].item()) == (1.0, 0.0)
    assert only.logged["pairwise_accuracy"].item() == 1.0
    assert top.logged["pairwise_accuracy"].item() == pytest.approx(1 / 3)


@EVERY
def test_rewards_as_columns_are_refused(config):
    rewards = leaves()
    wide = Rewards(*(None if each is None else each[..., None] for each in rewards))
    with pytest.raises((jaxtyping.TypeCheckError, IndexError)):
        config(wide, mixed_labels())
