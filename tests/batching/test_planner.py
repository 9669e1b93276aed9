"""Plans hold every group once, fit into memory, and give each rank the same number of micro-batches."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plaudit.batching.batch import LAYOUTS
from plaudit.batching.planner import (
    GroupSizes,
    epoch_order,
    micro_batches,
    num_steps,
    plan_step,
    step_rows,
)


def sizes_of(prompts, responses):
    """Return sizes of groups with one shared prompt each and the given response lengths."""
    return GroupSizes(
        responses=np.asarray([len(each) for each in responses]),
        tree_tokens=np.asarray([p + sum(each) for p, each in zip(prompts, responses, strict=True)]),
        flat_tokens=np.asarray([p * len(each) + sum(each) for p, each in zip(prompts, responses, strict=True)]),
        longest=np.asarray([p + max(each) for p, each in zip(prompts, responses, strict=True)]),
    )


group_lengths = st.tuples(st.integers(0, 40), st.lists(st.integers(1, 30), min_size=1, max_size=5))
many_groups = st.lists(group_lengths, min_size=1, max_size=25)


def positions(rows, sizes, layout):
    """Return what a batch of ``rows`` computes, from the definition of the layout."""
    rows = list(rows)
    if layout == "padded":
        return int(sizes.responses[rows].sum() * sizes.longest[rows].max())
    return int((sizes.tree_tokens if layout == "shared_prefix" else sizes.flat_tokens)[rows].sum())


@settings(max_examples=100, deadline=None, derandomize=True)
@given(many_groups, st.sampled_from(LAYOUTS), st.integers(1, 200))
def test_micro_batches_hold_every_group_once_and_never_more_than_max_tokens_unless_alone(groups, layout, limit):
    sizes = sizes_of(*zip(*groups, strict=True))
    plan = micro_batches(range(len(groups)), sizes, layout=layout, max_tokens=limit)
    assert sorted(row for micro in plan for row in micro.rows) == list(range(len(groups)))
    for micro in plan:
        assert len(micro.rows) == 1 or positions(micro.rows, sizes, layout) <= limit


@settings(max_examples=100, deadline=None, derandomize=True)
@given(many_groups, st.sampled_from(LAYOUTS), st.integers(20, 300), st.integers(1, 5))
def test_every_rank_gets_as_many_micro_batches_and_every_group_is_on_one_rank(groups, layout, limit, ranks):
    sizes = sizes_of(*zip(*groups, strict=True))
    rows = np.arange(len(groups))
    plans = plan_step(rows, sizes, layout=layout, max_tokens=limit, num_ranks=ranks)
    assert len(plans) == ranks
    assert len({len(plan) for plan in plans}) == 1
    real = [row for plan in plans for micro in plan if not micro.is_filler for row in micro.rows]
    assert sorted(real) == rows.tolist()
    for plan in plans:
        for micro in plan:
            assert len(micro.rows) == 1 or positions(micro.rows, sizes, layout) <= limit


@settings(max_examples=60, deadline=None, derandomize=True)
@given(many_groups, st.sampled_from(LAYOUTS), st.integers(2, 5))
def test_ranks_differ_by_no_more_than_the_largest_group(groups, layout, ranks):
    sizes = sizes_of(*zip(*groups, strict=True))
    plans = plan_step(np.arange(len(groups)), sizes, layout=layout, max_tokens=10**6, num_ranks=ranks)
    cost = sizes.cost(layout)
    loads = [sum(int(cost[row]) for micro in plan if not micro.is_filler for row in micro.rows) for plan in plans]
    assert max(loads) - min(loads) <= cost.max()


def test_the_order_is_a_permutation_drawn_from_the_seed_and_the_epoch():
    order = epoch_order(50, seed=3, epoch=0)
    assert sorted(order.tolist()) == list(range(50))
    np.testing.assert_array_equal(order, epoch_order(50, seed=3, epoch=0))
    assert (order != epoch_order(50, seed=3, epoch=1)).any()
    assert (order != epoch_order(50, seed=4, epoch=0)).any()


def test_an_epoch_holds_every_group_once_and_keeps_its_short_last_step():
    order = epoch_order(11, seed=0, epoch=0)
    steps = [step_rows(order, step, 4) for step in range(num_steps(11, 4))]
    assert [len(step) for step in steps] == [4, 4, 3]
    assert sorted(np.concatenate(steps).tolist()) == list(range(11))


def test_the_same_step_is_planned_the_same_in_any_order_of_its_rows():
    sizes = sizes_of([10, 20, 5, 7, 30], [[3, 4], [5], [6, 6, 6], [1], [9, 2]])
    one = plan_step(np.asarray([0, 1, 2, 3, 4]), sizes, layout="shared_prefix", max_tokens=50, num_ranks=2)
    other = plan_step(np.asarray([3, 0, 4, 2, 1]), sizes, layout="shared_prefix", max_tokens=50, num_ranks=2)
    assert one == other


def test_a_rank_without_groups_computes_the_smallest_one_as_a_filler():
    sizes = sizes_of([10, 4], [[3, 4], [1, 1]])
    plans = plan_step(np.asarray([0, 1]), sizes, layout="padded", max_tokens=100, num_ranks=3)
    fillers = [[micro.is_filler for micro in plan] for plan in plans]
    assert fillers == [[False], [False], [True]]
    assert plans[2][0].rows == (1,)


def test_batches_are_halved_before_fillers_are_used():
    # rank 0 gets the group of 100, alone above the limit, and needs two batches with the other; rank 1 follows
    sizes = sizes_of([0] * 6, [[60], [60], [12], [12], [12], [12]])
    plans = plan_step(np.arange(6), sizes, layout="packed", max_tokens=70, num_ranks=2)
    assert [len(plan) for plan in plans] == [2, 2]
    assert not any(micro.is_filler for plan in plans for micro in plan)


def test_padded_batches_hold_groups_of_similar_length():
    sizes = sizes_of([0] * 4, [[10], [100], [11], [99]])
    plan = micro_batches(range(4), sizes, layout="padded", max_tokens=200)
    assert sorted(micro.rows for micro in plan) == [(0, 2), (1, 3)]


@pytest.mark.parametrize(("layout", "wanted"), [("shared_prefix", 17), ("packed", 27), ("padded", 30)])
def test_the_cost_of_a_group_is_what_its_layout_computes(make_token_group, layout, wanted):
    sizes = GroupSizes.of([make_token_group(0, 10, [2, 5])])
    assert sizes.cost(layout).tolist() == [wanted]
