"""ODIN against values worked out by hand: correlation, its derivative over any cut of a step, guards, overlap."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plaudit.errors import ModelError
from plaudit.objectives.config import Odin
from plaudit.objectives.disentangle import correlation, head_overlap, length_loss
from plaudit.objectives.objective import OptimizerStepRewards, Rewards
from plaudit.objectives.pairwise import bradley_terry_loss

from .batches import batch_labels, finite, pair_labels, t


def pearson(x, y):
    """The definition, with a gradient."""
    x, y = x - x.mean(), y - y.mean()
    return (x * y).sum() / (x.norm() * y.norm())


def step_of(attributes, lengths, weight=1.0):
    return OptimizerStepRewards(attributes.detach(), lengths, torch.tensor(weight, dtype=torch.float64))


# ------------------------------------------------------------------------------------------ correlation


def test_the_correlation_and_its_derivative_are_those_worked_out_by_hand():
    # r = 0, 1, 2 and L = 0, 2, 1: covariance 1/3, both variances s² = 2/3, so ρ = ½; z_r = (−1, 0, 1) / s and
    # z_L = (−1, 1, 0) / s, so dρ/dr = (z_L − ½ z_r) / (3 s) = (−½, 1, −½) / (3 s²) = (−¼, ½, −¼)
    rewards, lengths = t(0.0, 1.0, 2.0), t(0.0, 2.0, 1.0)
    found = correlation(rewards, lengths)
    torch.testing.assert_close(found.value, t(0.5)[0])
    torch.testing.assert_close(found.derivative(rewards, lengths), t(-0.25, 0.5, -0.25))


def test_the_closed_form_is_the_derivative_of_the_definition():
    generator = torch.Generator().manual_seed(0)
    rewards = torch.randn(20, generator=generator, dtype=torch.float64, requires_grad=True)
    lengths = 5 * torch.rand(20, generator=generator, dtype=torch.float64) + rewards.detach()
    wanted = pearson(rewards, lengths)
    (gradient,) = torch.autograd.grad(wanted, rewards)
    found = correlation(rewards, lengths)
    torch.testing.assert_close(found.value, wanted.detach())
    torch.testing.assert_close(found.derivative(rewards.detach(), lengths), gradient)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_the_correlation_does_not_depend_on_offset_or_scale(scale):
    rewards, lengths = t(0.1, 0.7, -0.4, 0.9), t(3.0, 9.0, 4.0, 4.0)
    found = correlation(3.0 * scale + scale * rewards, 100 + 7 * lengths)
    torch.testing.assert_close(found.value, correlation(rewards, lengths).value)


GUARDED = {
    "no response": ([], []),
    "one response": ([1.0], [3.0]),
    "two responses": ([1.0, 2.0], [3.0, 5.0]),
    "constant rewards": ([0.1, 0.1, 0.1, 0.1], [3.0, 5.0, 2.0, 9.0]),
    "rewards of zero": ([0.0, 0.0, 0.0], [3.0, 5.0, 2.0]),
    "rewards constant but for rounding": ([1e4, 1e4, 1e4 + 1e-4], [3.0, 5.0, 2.0]),
    "constant lengths": ([0.1, 0.2, 0.3], [7.0, 7.0, 7.0]),
}


@pytest.mark.parametrize(("rewards", "lengths"), GUARDED.values(), ids=GUARDED.keys())
def test_where_a_correlation_is_not_defined_the_term_and_its_gradient_are_zero(rewards, lengths):
    # the length head the other way round: two points would cost |ρ| − (−ρ) = 2
    attributes = (
        torch.tensor([rewards, [-reward for reward in rewards]], dtype=torch.float64).T.clone().requires_grad_()
    )
    lengths = torch.tensor(lengths, dtype=torch.float64)
    shares = length_loss(attributes, lengths, step_of(attributes, lengths))
    shares.sum().backward()
    assert torch.equal(shares.detach(), torch.zeros(len(rewards), dtype=torch.float64))
    assert torch.equal(attributes.grad, torch.zeros_like(attributes))


def test_unguarded_two_responses_correlate_perfectly_and_constants_give_nan():
    assert float(pearson(t(1.0, 2.0), t(3.0, 5.0))) == pytest.approx(1.0)
    assert pearson(t(0.5, 0.5, 0.5), t(3.0, 5.0, 2.0)).isnan()


# ------------------------------------------------------------------------------------------- length term


@settings(max_examples=40, deadline=None, derandomize=True)
@given(count=st.integers(3, 12), seed=st.integers(0, 10_000), data=st.data())
def test_any_cut_of_a_step_sums_to_the_term_and_to_its_gradient(count, seed, data):
    generator = torch.Generator().manual_seed(seed)
    attributes = torch.randn(count, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    lengths = torch.randint(1, 50, (count,), generator=generator).double() + torch.rand(count, generator=generator)
    wanted = pearson(attributes[:, 0], lengths).abs() - pearson(attributes[:, 1], lengths)
    (gradient,) = torch.autograd.grad(wanted, attributes)
    cuts = sorted(data.draw(st.sets(st.integers(1, count - 1))))
    step = step_of(attributes, lengths)
    total = 0.0
    for start, stop in zip([0, *cuts], [*cuts, count], strict=True):
        shares = length_loss(attributes[start:stop], lengths[start:stop], step)
        shares.sum().backward()
        total += float(shares.detach().sum())
    assert total == pytest.approx(float(wanted.detach()))
    torch.testing.assert_close(attributes.grad, gradient)


def test_extreme_rewards_are_finite_in_the_term_and_its_gradient():
    attributes = torch.tensor([[1e4, -1e4], [-1e4, 1e4], [1e4, 0.0], [0.0, 0.0]], dtype=torch.bfloat16)
    attributes.requires_grad_()
    lengths = torch.tensor([3.0, 100.0, 5.0, 2000.0])
    shares = length_loss(attributes, lengths, step_of(attributes, lengths))
    shares.sum().backward()
    assert shares.dtype == torch.float32
    assert finite(shares, attributes.grad)


# ---------------------------------------------------------------------------------------- orthogonality


def test_the_overlap_is_the_absolute_cosine_of_the_rows():
    # (3, 4)·(−4, 0) = −12, over 5 · 4
    torch.testing.assert_close(head_overlap(torch.tensor([[3.0, 4.0], [-4.0, 0.0]])), torch.tensor(0.6))
    torch.testing.assert_close(head_overlap(torch.tensor([[0.0, 4.0], [-4.0, 0.0]])), torch.tensor(0.0))


def test_the_overlap_depends_on_directions_alone_and_its_derivative_is_right():
    weight = torch.randn(2, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(head_overlap(weight * t(1e4, 1e-3)[:, None]), head_overlap(weight))
    assert torch.autograd.gradcheck(head_overlap, (weight,))


def test_a_head_of_zeros_overlaps_with_nothing():
    weight = torch.tensor([[0.0, 0.0], [1.0, 2.0]], requires_grad=True)
    head_overlap(weight).backward()
    assert torch.equal(weight.grad, torch.zeros(2, 2))


# -------------------------------------------------------------------------------------------- objective


def groups_of_pairs(seed=0):
    """Three groups: two responses and a pair, three and all their pairs, three and one pair; with weights."""
    generator = torch.Generator().manual_seed(seed)
    attributes = torch.randn(8, 2, generator=generator, dtype=torch.float64)
    head = torch.randn(2, 4, generator=generator, dtype=torch.float64)
    labels = batch_labels(
        8,
        pairs=pair_labels([0, 2, 2, 3, 6], [1, 3, 4, 4, 5], weight=[1.0, 1 / 3, 1 / 3, 1 / 3, 1.0]),
        group=[0, 0, 1, 1, 1, 2, 2, 2],
        length=[3, 9, 4, 4, 1, 7, 12, 2],
    )
    return attributes, head, labels


def part_of(labels, responses, pairs):
    """The labels of some responses that stand side by side and of some pairs, as a batch of their own."""
    first = responses.start
    return replace(
        batch_labels(responses.stop - first),
        pairs=replace(
            labels.pairs,
            chosen=labels.pairs.chosen[pairs] - first,
            rejected=labels.pairs.rejected[pairs] - first,
            margin=labels.pairs.margin[pairs],
            probability=labels.pairs.probability[pairs],
            weight=labels.pairs.weight[pairs],
        ),
        group=labels.group[responses] - labels.group[first],
        length=labels.length[responses],
    )


def true_loss(attributes, head, labels, weights, config):
    total, lengths = attributes.sum(1), labels.length.double()
    ranking = bradley_terry_loss(total[labels.pairs.chosen], total[labels.pairs.rejected])
    rho = [pearson(attributes[:, column], lengths) for column in (0, 1)]
    cosine = torch.cosine_similarity(head[0], head[1], dim=0).abs()
    mean = (ranking * weights).sum() / weights.sum()
    return mean + config.length * (rho[0].abs() - rho[1]) + config.orthogonality * cosine


@pytest.mark.parametrize("weight", ["pair", "group"])
def test_the_items_of_a_step_have_the_loss_and_the_gradient_of_the_paper_however_it_is_cut(weight):
    config = Odin(length=0.7, orthogonality=0.3, weight=weight)
    objective = config
    assert objective.needs.whole_step
    attributes, head, labels = groups_of_pairs()
    attributes, head = attributes.requires_grad_(), head.requires_grad_()
    weights = objective.weights(labels)
    assert weights.tolist() == ([1.0] * 5 if weight == "pair" else labels.pairs.weight.tolist())
    wanted = true_loss(attributes, head, labels, weights.double(), config)
    gradients = torch.autograd.grad(wanted, (attributes, head))
    cuts = {
        "whole": [(slice(0, 8), slice(0, 5))],
        "two": [(slice(0, 5), slice(0, 4)), (slice(5, 8), slice(4, 5))],
        "three": [(slice(0, 2), slice(0, 1)), (slice(2, 5), slice(1, 4)), (slice(5, 8), slice(4, 5))],
    }
    step = OptimizerStepRewards(attributes.detach(), labels.length.double(), weights.sum())
    per_item = {}
    for name, parts in cuts.items():
        total, found, losses = 0.0, [torch.zeros_like(attributes), torch.zeros_like(head)], []
        for responses, pairs in parts:
            rewards = Rewards(attributes=attributes[responses], head_weight=head)
            items = objective(rewards, part_of(labels, responses, pairs), step)
            loss = (items.losses * items.weights).sum() / weights.sum()
            found = [a + b for a, b in zip(found, torch.autograd.grad(loss, (attributes, head)), strict=True)]
            total += float(loss.detach())
            losses += items.losses.tolist()
        assert total == pytest.approx(float(wanted.detach()), rel=1e-6)
        for a, b in zip(found, gradients, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-8)
        per_item[name] = losses
    # an item does not depend on its neighbours in the micro-batch
    assert per_item["two"] == pytest.approx(per_item["whole"])
    assert per_item["three"] == pytest.approx(per_item["whole"])


def test_without_a_step_the_batch_is_the_step():
    attributes, head, labels = groups_of_pairs()
    objective = Odin()
    rewards = Rewards(attributes=attributes, head_weight=head)
    step = OptimizerStepRewards(attributes, labels.length.double(), objective.weights(labels).sum())
    torch.testing.assert_close(objective(rewards, labels).losses, objective(rewards, labels, step).losses)


def test_the_ranking_term_is_per_pair_over_the_sum_of_both_heads():
    # 15 pairs right by 2 and one wrong by 3: summed over the batch they would cost 2e-12 and push nothing
    lead = torch.tensor([2.0] * 15 + [-3.0])
    attributes = torch.stack([torch.stack([lead, torch.zeros(16)], 1).flatten(), torch.zeros(32)], 1).requires_grad_()
    labels = batch_labels(
        32, pairs=pair_labels(list(range(0, 32, 2)), list(range(1, 32, 2))), group=[k // 2 for k in range(32)]
    )
    rewards = Rewards(attributes=attributes, head_weight=torch.eye(2))
    items = Odin(length=0.0)(rewards, labels)
    wanted = [math.log1p(math.exp(-2))] * 15 + [math.log1p(math.exp(3))]
    assert items.losses.tolist() == pytest.approx(wanted)
    items.losses.sum().backward()
    assert float(attributes.grad[30, 0]) == pytest.approx(-1 / (1 + math.exp(-3)))
    assert torch.equal(attributes.grad[:, 0], attributes.grad[:, 1])


def test_what_is_logged_is_of_the_quality_head_and_of_the_step():
    attributes = torch.tensor([[1.0, -5.0], [0.0, 0.0], [0.0, 9.0], [2.0, 0.0]])
    labels = batch_labels(4, pairs=pair_labels([0, 2], [1, 3]), group=[0, 0, 1, 1], length=[1, 2, 3, 4])
    items = Odin()(Rewards(attributes=attributes, head_weight=torch.eye(2)), labels)
    assert items.logged["accuracy"].tolist() == [1.0, 0.0]
    assert items.logged["sum_accuracy"].tolist() == [0.0, 1.0]
    assert items.logged["chosen_rewards"].tolist() == [1.0, 0.0]
    assert items.logged["reward_margin"].tolist() == [1.0, -2.0]
    for column, name in enumerate(("quality_length_correlation", "length_head_correlation")):
        rho = float(pearson(attributes[:, column], torch.tensor([1.0, 2.0, 3.0, 4.0])))
        assert items.logged[name].tolist() == pytest.approx([rho, rho])
    assert items.logged["head_overlap"].tolist() == [0.0, 0.0]


def test_heads_other_than_two_are_an_error():
    labels = batch_labels(2, pairs=pair_labels([0], [1]))
    with pytest.raises(ModelError, match="needs two heads, quality and length; this model has 3"):
        Odin()(Rewards(attributes=torch.zeros(2, 3), head_weight=torch.zeros(3, 4)), labels)
    with pytest.raises(ModelError, match=r"objective odin reads Rewards.attributes, .* it gives response"):
        Odin()(Rewards(response=torch.zeros(2)), labels)
