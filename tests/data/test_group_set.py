"""A group set is an ordered, immutable view whose fingerprint depends on content and order alone."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest

from plaudit.data.schema.columns import SCHEMA, hash64
from plaudit.data.schema.group import Group, Message, Preference
from plaudit.data.schema.group_set import GroupSet, concatenate, features
from plaudit.errors import DataError


def make(number, **labels):
    return Group(
        (Message("user", f"Q{number}"),),
        (f"a{number}", f"b{number}"),
        (Preference(0, 1),),
        id=str(number),
        source="made",
        **labels,
    )


GROUPS = [make(number) for number in range(2500)]


@pytest.fixture(scope="module")
def groups():
    return GroupSet.from_groups(GROUPS)


def test_the_features_are_the_columns():
    assert features().arrow_schema.equals(SCHEMA)


def test_groups_come_back_equal_by_position_by_list_and_in_order(groups):
    assert len(groups) == 2500
    assert groups[0] == GROUPS[0]
    assert groups[1234] == GROUPS[1234]
    assert groups[-1] == GROUPS[-1]
    assert groups[np.int64(7)] == GROUPS[7]
    assert groups.take([3, 2400, 3]) == [GROUPS[3], GROUPS[2400], GROUPS[3]]
    assert list(groups) == GROUPS


@pytest.mark.parametrize("index", [2500, -2501])
def test_a_position_outside_is_an_index_error(groups, index):
    with pytest.raises(IndexError, match=f"group {index} of 2500"):
        groups[index]
    with pytest.raises(IndexError, match="the set has 2500 groups"):
        groups.select([index])


def test_a_selection_of_a_selection_keeps_its_order(groups):
    chosen = groups.select(range(100, 2000, 2)).select([5, 0, 5])
    assert [group.id for group in chosen] == ["110", "100", "110"]
    assert chosen[-1].id == "110"
    assert [group.id for group in chosen.take([1, 2])] == ["100", "110"]


def test_joined_sets_stand_one_after_the_other(groups):
    joined = concatenate([groups.select([3, 1]), groups, GroupSet.from_groups([make(9)])])
    assert len(joined) == 2503
    assert [joined[index].id for index in (0, 1, 2, 2501, 2502)] == ["3", "1", "0", "2499", "9"]
    assert joined.report.groups == 5001
    assert len(joined.prompt_hashes()) == 2503


def test_joining_nothing_is_an_error():
    with pytest.raises(DataError, match="list of group sets is empty"):
        concatenate([])


def test_the_fingerprint_does_not_depend_on_how_the_groups_came_together(groups):
    halves = concatenate([groups.select(range(1250)), groups.select(range(1250, 2500))])
    assert halves.fingerprint == groups.fingerprint
    assert groups.select(range(2500)).fingerprint == groups.fingerprint
    assert GroupSet.from_groups(iter(GROUPS)).fingerprint == groups.fingerprint


def test_the_fingerprint_changes_with_order_and_with_any_field(groups):
    base = GroupSet.from_groups([make(0), make(1)])
    others = [
        [make(1), make(0)],
        [make(0)],
        [make(0), make(1, ranks=(1, 2))],
        [make(0), make(1, ranks=(2, 1))],
        [make(0), make(1, ratings={"x": (1.0, None)})],
        [make(0), make(1, outcomes=(True, None))],
    ]
    prints = {GroupSet.from_groups(other).fingerprint for other in others}
    assert len(prints) == len(others)
    assert base.fingerprint not in prints


def test_whole_numbers_and_the_order_of_attributes_do_not_count():
    first = GroupSet.from_groups([make(0, ratings={"x": (1, None), "y": (2.0, 3.0)})])
    second = GroupSet.from_groups([make(0, ratings={"y": (2, 3), "x": (1.0, None)})])
    assert first.fingerprint == second.fingerprint
    assert first[0] == second[0]


def test_another_process_finds_the_same_fingerprint(groups):
    script = (
        "from plaudit.data.schema.group import *; from plaudit.data.schema.group_set import GroupSet\n"
        "print(GroupSet.from_groups(Group((Message('user', f'Q{n}'),), (f'a{n}', f'b{n}'),"
        " (Preference(0, 1),), id=str(n), source='made') for n in range(2500)).fingerprint)"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == groups.fingerprint


def test_equal_prompts_have_equal_hashes_whatever_the_space_around_them():
    spaced = Group((Message("user", " Q0\n"),), ("x",), id="other")
    hashes = GroupSet.from_groups([make(0), spaced, make(1)]).prompt_hashes()
    assert hashes.dtype == np.uint64
    assert hashes[0] == hashes[1] == hash64(b"user\x1fQ0")
    assert hashes[0] != hashes[2]


def test_the_hash_is_blake2b_as_published():
    # BLAKE2b with an 8-byte digest of the empty text: b2sum -l 64 /dev/null gives e4a6a0577479b2b4.
    assert hash64(b"").to_bytes(8, "little").hex() == "e4a6a0577479b2b4"


def test_a_set_survives_being_sent_to_another_process(groups):
    copy = pickle.loads(pickle.dumps(groups.select([4, 2])))
    assert list(copy) == [GROUPS[4], GROUPS[2]]


def test_an_empty_set_is_a_set():
    empty = GroupSet.from_groups([])
    assert (len(empty), list(empty), len(empty.prompt_hashes())) == (0, [], 0)
    assert list(concatenate([empty, GroupSet.from_groups([make(1)])])) == [make(1)]
