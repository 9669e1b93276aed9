"""Splits keep a prompt on one side and do not depend on the order of the rows."""

from __future__ import annotations

import numpy as np
import pytest

from plaudit.data.mixing.splits import drawn_positions, split_by_prompt
from plaudit.data.schema.group import Group, Message
from plaudit.data.schema.group_set import GroupSet
from plaudit.data.schema.hash_rng import _mix
from plaudit.errors import DataError


def make(prompt, number):
    return Group((Message("user", prompt),), (f"response {number}",), id=str(number))


# 600 groups of 200 prompts, three each; every second repeat has spaces around the prompt.
GROUPS = [make(f"Q{n % 200}" if n < 400 else f"  Q{n % 200} ", n) for n in range(600)]


def ids(groups):
    return {group.id for group in groups}


def prompts(groups):
    return {group.prompt_key for group in groups}


def test_every_group_is_on_one_side_and_no_prompt_on_both():
    kept, held_out = split_by_prompt(GroupSet.from_groups(GROUPS), held_out=0.3, seed=1)
    assert len(kept) + len(held_out) == 600
    assert not prompts(kept) & prompts(held_out)
    assert len(prompts(kept)) + len(prompts(held_out)) == 200


def test_about_the_asked_share_of_prompts_is_held_out():
    shares = [
        len(prompts(split_by_prompt(GroupSet.from_groups(GROUPS), held_out=0.3, seed=seed)[1])) / 200
        for seed in range(10)
    ]
    # The mean of 10 shares of 200 prompts has standard deviation sqrt(.3 * .7 / 2000) = 0.0102; five of them.
    assert abs(np.mean(shares) - 0.3) < 0.051


def test_the_order_of_the_rows_does_not_matter_but_is_kept():
    forward = split_by_prompt(GroupSet.from_groups(GROUPS), held_out=0.3, seed=1)
    backward = split_by_prompt(GroupSet.from_groups(GROUPS[::-1]), held_out=0.3, seed=1)
    assert [ids(side) for side in forward] == [ids(side) for side in backward]
    assert [group.id for group in backward[0]] == [group.id for group in forward[0]][::-1]


def test_a_prompt_keeps_its_side_when_the_data_grow():
    more = [make(f"more {number}", 1000 + number) for number in range(300)]
    _, small = split_by_prompt(GroupSet.from_groups(GROUPS), held_out=0.3, seed=1)
    _, large = split_by_prompt(GroupSet.from_groups([*more, *GROUPS]), held_out=0.3, seed=1)
    assert prompts(small) <= prompts(large)


def test_another_seed_splits_otherwise():
    first, second = (split_by_prompt(GroupSet.from_groups(GROUPS), held_out=0.3, seed=seed)[1] for seed in (1, 2))
    assert ids(first) != ids(second)


@pytest.mark.parametrize("held_out", [0.0, 1.0, -0.1, float("nan")])
def test_a_share_outside_zero_and_one_is_refused(held_out):
    with pytest.raises(DataError, match="it must lie between 0 and 1"):
        split_by_prompt(GroupSet.from_groups(GROUPS), held_out=held_out, seed=0)


@pytest.mark.parametrize(
    ("prompts", "held_out", "expected"),
    [(6, 0.3, 2), (40, 0.2, 8), (3, 0.001, 1), (3, 0.999, 2), (2, 0.5, 1), (10, 0.25, 2), (199, 0.1, 20)],
)
def test_of_few_prompts_the_nearest_number_is_held_out_and_one_at_least_on_each_side(prompts, held_out, expected):
    groups = GroupSet.from_groups([make(f"Q{n}", n) for n in range(prompts)])
    counts = [len(split_by_prompt(groups, held_out=held_out, seed=seed)[1]) for seed in range(5)]
    assert counts == [expected] * 5


def test_one_prompt_cannot_be_split():
    with pytest.raises(DataError, match="1 prompts cannot be split into two sides; use more data, or another share"):
        split_by_prompt(GroupSet.from_groups([make("Q", 0), make("Q", 1)]), held_out=0.5, seed=0)


def drawn(groups, limit, seed):
    return groups.select(drawn_positions(groups, limit, seed))


def test_a_subset_has_the_asked_size_whatever_the_order():
    groups = GroupSet.from_groups(GROUPS)
    found = drawn(groups, 50, seed=3)
    assert len(found) == 50
    assert ids(found) == ids(drawn(GroupSet.from_groups(GROUPS[::-1]), 50, seed=3))
    assert ids(found) != ids(drawn(groups, 50, seed=4))
    positions = [int(group.id) for group in found]
    assert positions == sorted(positions)


def test_a_smaller_subset_is_part_of_a_larger_one():
    groups = GroupSet.from_groups(GROUPS)
    assert ids(drawn(groups, 20, seed=0)) < ids(drawn(groups, 90, seed=0))


def test_a_subset_of_more_than_there_is_is_everything():
    assert drawn_positions(GroupSet.from_groups(GROUPS), 1000, seed=0).tolist() == list(range(600))


def test_the_mixing_function_is_splitmix64():
    # The first outputs of SplitMix64 from state 0, as Java's SplittableRandom(0) gives them.
    state = np.array([0, 0x9E3779B97F4A7C15], dtype=np.uint64)
    assert [hex(value) for value in _mix(state)] == ["0xe220a8397b1dcdaf", "0x6e789e6aa1b965f4"]
