"""Losses on rankings against values worked out by hand, the slow definition, invariances and extremes."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict

import jaxtyping
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plaudit.objectives.listwise import orders_something, plackett_luce_loss, same_group_pairs, top_one_loss
from plaudit.objectives.pairwise import bradley_terry_loss

from .batches import finite, t

LOSSES = pytest.mark.parametrize("loss_of", [plackett_luce_loss, top_one_loss])


def ints(*values):
    return torch.tensor(values, dtype=torch.int64)


def one_group(loss_of, rewards, ranks, **options):
    rewards = rewards if isinstance(rewards, torch.Tensor) else t(*rewards)
    group = torch.zeros(len(rewards), dtype=torch.int64)
    return loss_of(rewards, ints(*ranks), group, num_groups=1, **options)


def slow_logsumexp(values):
    top = max(values)
    return top + math.log(math.fsum(math.exp(value - top) for value in values))


def slow_groups(rewards, ranks, groups):
    members = defaultdict(list)
    for reward, rank, group in zip(rewards, ranks, groups, strict=True):
        members[group].append((rank, reward))
    return members


def slow_order(members, partial):
    """Blocks of tied rewards, best first, and the rewards behind them all; None where nothing is ordered."""
    ranked = [each for each in members if each[0] > 0]
    blocks = [[r for rank, r in ranked if rank == level] for level in sorted({rank for rank, _ in ranked})]
    behind = [r for rank, r in members if rank == 0] if partial == "top" else []
    return (blocks, behind) if len(blocks) + bool(behind) > 1 and blocks else None


def slow_plackett_luce(members, partial):
    """Choice after choice in plain Python; Efron's form for ties."""
    order = slow_order(members, partial)
    if order is None:
        return 0.0
    blocks, behind = order
    total = 0.0
    for index, block in enumerate(blocks):
        rest = [r for later in blocks[index + 1 :] for r in later] + behind
        for place, reward in enumerate(block):
            share = math.log((len(block) - place) / len(block))
            total += slow_logsumexp(rest + [r + share for r in block]) - reward
    return total


def slow_top_one(members, partial):
    order = slow_order(members, partial)
    if order is None:
        return 0.0
    blocks, behind = order
    everything = [r for block in blocks for r in block] + behind
    return slow_logsumexp(everything) - sum(blocks[0]) / len(blocks[0])


def mean_over_orders(rewards, ranks):
    """The mean of the negative log-likelihood over all full orders that a tied ranking allows."""
    levels = [[r for r, rank in zip(rewards, ranks, strict=True) if rank == level] for level in sorted(set(ranks))]
    costs = []
    for orders in itertools.product(*(itertools.permutations(level) for level in levels)):
        row = [r for level in orders for r in level]
        costs.append(sum(slow_logsumexp(row[k:]) - row[k] for k in range(len(row))))
    return sum(costs) / len(costs)


# ---------------------------------------------------------------------------------------------- values


def test_three_equal_rewards_have_six_equally_likely_orders():
    torch.testing.assert_close(one_group(plackett_luce_loss, [1.0, 1.0, 1.0], [2, 1, 3]), t(math.log(6)))


def test_a_ranking_of_three_is_two_choices():
    # weights 4, 2, 1: the best is chosen with 4/7, the second of the rest with 2/3
    rewards = [math.log(2), math.log(4), 0.0]
    torch.testing.assert_close(one_group(plackett_luce_loss, rewards, [2, 1, 3]), t(-math.log(4 / 7 * 2 / 3)))
    torch.testing.assert_close(one_group(top_one_loss, rewards, [2, 1, 3]), t(-math.log(4 / 7)))


def test_ranks_may_have_gaps():
    rewards = [math.log(2), math.log(4), 0.0]
    torch.testing.assert_close(one_group(plackett_luce_loss, rewards, [5, 2, 9]), t(-math.log(4 / 7 * 2 / 3)))


def test_an_unranked_response_is_left_out_or_stands_behind():
    # weights 4, 2, 1, the last unranked: 4/6 alone, or 4/7 · 2/3
    rewards = [math.log(4), math.log(2), 0.0]
    only = one_group(plackett_luce_loss, rewards, [1, 2, 0], partial="ranked_only")
    torch.testing.assert_close(only, t(-math.log(4 / 6)))
    top = one_group(plackett_luce_loss, rewards, [1, 2, 0], partial="top")
    torch.testing.assert_close(top, t(-math.log(4 / 7 * 2 / 3)))
    torch.testing.assert_close(one_group(top_one_loss, rewards, [1, 0, 0], partial="top"), t(-math.log(4 / 7)))


def test_ties_have_efrons_form():
    # weights 1 for the best, 4 and 2 tied behind: 1/7, then 4/6 and 2/3 (half of the tied weight is left)
    rewards = [math.log(4), 0.0, math.log(2)]
    wanted = -math.log(1 / 7) - math.log(4 / 6) - math.log(2 / 3)
    torch.testing.assert_close(one_group(plackett_luce_loss, rewards, [2, 1, 2]), t(wanted))


def test_ties_of_the_best_share_the_target():
    # weights 4, 2, 1; the first two tied: log 7 − (log 4 + log 2) / 2
    found = one_group(top_one_loss, [math.log(4), math.log(2), 0.0], [1, 1, 2])
    torch.testing.assert_close(found, t(math.log(7) - math.log(8) / 2))


@pytest.mark.parametrize("ranks", [(1, 1, 2, 3), (1, 2, 2, 2), (2, 2, 1, 1), (1, 1, 1, 2)])
def test_efrons_form_is_the_mean_over_the_orders_where_tied_rewards_are_equal(ranks):
    rewards = [0.7 * rank for rank in ranks]
    torch.testing.assert_close(one_group(plackett_luce_loss, rewards, ranks), t(mean_over_orders(rewards, ranks)))


@pytest.mark.parametrize("ranks", [(1, 1, 2, 3), (1, 2, 2, 2), (2, 2, 1, 1), (1, 1, 1, 2)])
def test_efrons_form_is_close_above_the_mean_over_the_orders(ranks):
    rewards = [0.5, -0.3, 0.1, 0.9]
    found = float(one_group(plackett_luce_loss, rewards, ranks))
    wanted = mean_over_orders(rewards, ranks)
    assert wanted < found < wanted + 0.25


# ----------------------------------------------------------------------------------------- equivalences


def test_two_responses_give_bradley_terry_in_value_and_gradient():
    rewards = t(0.3, -1.2, 4.0, 5.0, -2.0, 2.0).requires_grad_()
    rank, group = ints(1, 2, 2, 1, 1, 2), ints(0, 0, 1, 1, 2, 2)
    wanted = bradley_terry_loss(rewards[[0, 3, 4]], rewards[[1, 2, 5]])
    (wanted_gradient,) = torch.autograd.grad(wanted.sum(), rewards, retain_graph=True)
    for loss_of in (plackett_luce_loss, top_one_loss):
        found = loss_of(rewards, rank, group, num_groups=3)
        torch.testing.assert_close(found, wanted)
        torch.testing.assert_close(torch.autograd.grad(found.sum(), rewards)[0], wanted_gradient)


def test_one_ranked_response_before_unranked_ones_is_the_top_one_loss():
    rewards, group = t(0.5, -1.0, 2.0, 0.1), ints(0, 0, 0, 0)
    rank = ints(0, 1, 0, 0)
    a = plackett_luce_loss(rewards, rank, group, num_groups=1, partial="top")
    b = top_one_loss(rewards, rank, group, num_groups=1, partial="top")
    torch.testing.assert_close(a, b)


# ---------------------------------------------------------------------------- derivatives, invariances


@LOSSES
@pytest.mark.parametrize("partial", ["ranked_only", "top"])
def test_derivatives_agree_with_finite_differences(loss_of, partial):
    rewards = torch.randn(11, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    rank = ints(1, 2, 3, 2, 2, 1, 0, 1, 1, 0, 0)
    group = ints(0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 3)
    assert torch.autograd.gradcheck(
        lambda values: loss_of(values, rank, group, num_groups=4, partial=partial), (rewards,)
    )


@LOSSES
@pytest.mark.parametrize("partial", ["ranked_only", "top"])
def test_a_shift_of_a_group_moves_nothing_and_its_gradient_sums_to_zero(loss_of, partial):
    rewards = torch.randn(8, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    rank, group = ints(2, 1, 0, 3, 1, 2, 2, 0), ints(0, 0, 0, 0, 1, 1, 1, 1)
    found = loss_of(rewards, rank, group, num_groups=2, partial=partial)
    shifted = loss_of(rewards + t(7.0, -3.0)[group], rank, group, num_groups=2, partial=partial)
    torch.testing.assert_close(found, shifted)
    (gradient,) = torch.autograd.grad(found.sum(), rewards)
    torch.testing.assert_close(gradient.view(2, 4).sum(1), t(0.0, 0.0), atol=1e-12, rtol=0)


ragged = st.lists(
    st.lists(st.tuples(st.integers(0, 4), st.floats(-20, 20)), min_size=1, max_size=6), min_size=1, max_size=5
)


@LOSSES
@settings(max_examples=100, deadline=None, derandomize=True)
@given(groups=ragged, partial=st.sampled_from(["ranked_only", "top"]), seed=st.integers(0, 1000))
def test_it_equals_the_slow_definition_in_any_order_of_the_responses(loss_of, groups, partial, seed):
    slow = slow_plackett_luce if loss_of is plackett_luce_loss else slow_top_one
    rows = [(rank, reward, index) for index, members in enumerate(groups) for rank, reward in members]
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed)).tolist()
    ranks, rewards, group = zip(*(rows[k] for k in order), strict=True)
    values = t(*rewards).requires_grad_()
    found = loss_of(values, ints(*ranks), ints(*group), num_groups=len(groups), partial=partial)
    members = slow_groups(rewards, ranks, group)
    wanted = t(*(slow(members[index], partial) for index in range(len(groups))))
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)
    assert finite(torch.autograd.grad(found.sum(), values)[0])
    orders = [slow_order(members[index], partial) is not None for index in range(len(groups))]
    assert orders_something(ints(*ranks), ints(*group), num_groups=len(groups), partial=partial).tolist() == orders


def test_the_pairs_of_a_group_are_all_of_them():
    group = ints(1, 0, 1, 2)
    first, second = same_group_pairs(group)
    assert sorted(zip(first.tolist(), second.tolist(), strict=True)) == [
        (i, j) for i in range(4) for j in range(4) if group[i] == group[j]
    ]


# --------------------------------------------------------------------------------------------- extremes


@LOSSES
@pytest.mark.parametrize("partial", ["ranked_only", "top"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_extreme_rewards_are_finite_in_loss_and_gradient(loss_of, partial, dtype):
    rewards = torch.tensor([1e4, -1e4, 1e4, 0.0, -1e4, -1e4, 1e4], dtype=dtype, requires_grad=True)
    rank, group = ints(2, 1, 1, 0, 1, 2, 3), ints(0, 0, 0, 0, 1, 1, 1)
    losses = loss_of(rewards, rank, group, num_groups=2, partial=partial)
    losses.sum().backward()
    assert losses.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert finite(losses, rewards.grad)
    assert float(losses[1].detach()) == pytest.approx(2e4 if loss_of is top_one_loss else 4e4, rel=4e-3)


@LOSSES
@pytest.mark.parametrize("partial", ["ranked_only", "top"])
@pytest.mark.parametrize("ranks", [(1,), (0,), (2, 2, 2), (0, 0, 0)])
def test_groups_that_order_nothing_are_zero_in_loss_and_gradient(loss_of, partial, ranks):
    count = len(ranks)
    rewards = torch.tensor([*[1e4, -3.0, 0.5][:count], 1.0, 0.0], dtype=torch.float32, requires_grad=True)
    group = ints(*[0] * count, 1, 1)
    rank = ints(*ranks, 1, 2)
    losses = loss_of(rewards, rank, group, num_groups=2, partial=partial)
    losses.sum().backward()
    assert float(losses[0].detach()) == 0.0
    assert torch.equal(rewards.grad[:count], torch.zeros(count))
    torch.testing.assert_close(losses[1], torch.tensor(math.log1p(math.exp(-1))))
    ordered = orders_something(rank, group, num_groups=2, partial=partial)
    assert ordered.tolist() == [False, True]


@LOSSES
def test_a_ranked_response_alone_orders_nothing_unless_unranked_ones_stand_behind(loss_of):
    only = one_group(loss_of, [1.0, 1.0], [1, 0], partial="ranked_only")
    assert only.tolist() == [0.0]
    torch.testing.assert_close(one_group(loss_of, [1.0, 1.0], [1, 0], partial="top"), t(math.log(2)))


@LOSSES
def test_no_responses_and_groups_without_any_give_zeros(loss_of):
    nothing = torch.zeros(0, requires_grad=True)
    losses = loss_of(nothing, ints(), ints(), num_groups=2)
    losses.sum().backward()
    assert losses.detach().tolist() == [0.0, 0.0]
    assert nothing.grad is not None


@LOSSES
def test_a_column_in_place_of_a_row_is_refused(loss_of):
    with pytest.raises(jaxtyping.TypeCheckError):
        loss_of(torch.rand(2, 1), ints(1, 2), ints(0, 0), num_groups=1)
