"""Rewards that were computed elsewhere."""

from __future__ import annotations

import math

import pytest

from plaudit.data.schema.group import Group, conversation
from plaudit.errors import DataError
from plaudit.evaluation.store.precomputed import PrecomputedRewards
from plaudit.scoring.files import read_rewards

GROUPS = [Group(prompt=conversation(f"p{k}"), responses=("a", "b"), id=f"g{k}") for k in range(3)]


def test_rewards_are_given_by_id_whatever_their_order(tmp_path, write_rows):
    rows = [{"id": "g1", "rewards": [3, None]}, {"id": "other", "rewards": [0]}, {"id": "g0", "rewards": [1.5, 2]}]
    scorer = PrecomputedRewards([write_rows(tmp_path / "r.jsonl", rows)])
    found = list(scorer.score_groups(GROUPS))
    assert [each.id for each in found] == ["g0", "g1", "g2"]
    assert [each.rewards for each in found] == [(1.5, 2.0), (3.0, None), (None, None)]
    assert [each.reason for each in found] == [None, None, "the file of rewards does not hold it"]
    assert scorer.unused == ["other"]


def test_a_nan_is_kept_so_that_the_item_can_say_it(tmp_path):
    (tmp_path / "r.jsonl").write_text('{"id": "g0", "rewards": [NaN, Infinity]}\n')
    (found,) = PrecomputedRewards([str(tmp_path / "r.jsonl")]).score_groups(GROUPS[:1])
    assert math.isnan(found.rewards[0])
    assert math.isinf(found.rewards[1])


def test_attributes_and_steps_are_read(tmp_path, write_rows):
    row = {"id": "g0", "rewards": [1, 2], "attributes": {"kind": [0.5, None]}, "steps": [[0.1, 0.2], None]}
    (found,) = PrecomputedRewards([write_rows(tmp_path / "r.jsonl", [row])]).score_groups(GROUPS[:1])
    assert found.attributes == {"kind": (0.5, None)}
    assert found.steps == ((0.1, 0.2), None)


def test_the_file_that_plaudit_score_writes_gives_what_its_own_reader_gives(tmp_path, write_rows):
    rows = [
        {"id": "g0", "rewards": [1.0, 2.0], "attributes": {"kind": [1.0, 2.0]}, "uncertainty": [0.1, 0.2]},
        {"id": "g1", "rewards": [None, None], "reason": "too long: 9000 tokens"},
        {"id": "g2", "rewards": [0.5, 0.25], "steps": [[0.5], [0.25, 0.5]]},
    ]
    path = write_rows(tmp_path / "r.jsonl", rows)
    assert list(PrecomputedRewards([path]).score_groups(GROUPS)) == list(read_rewards(path))


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({"id": "g0", "rewards": 1.0}, "rewards is 1.0; it must be a list of numbers"),
        ({"id": "g0", "rewards": ["high", 1]}, r"rewards\[0\] is 'high'; it must be a number or null"),
        ({"id": "g0", "rewards": [True, 1]}, r"rewards\[0\] is True; it must be a number"),
        ({"rewards": [1, 2]}, "id is missing"),
        ({"id": "g0", "rewards": [1, 2], "score": 3}, "score is not a field of a row of rewards; allowed: id, rewards"),
        ({"id": "g0", "rewards": [1, 2], "steps": [[1]]}, "steps has 1 entries for 2 rewards"),
    ],
)
def test_a_row_of_another_form_is_an_error_with_its_place(tmp_path, write_rows, row, complaint):
    with pytest.raises(DataError, match=rf"r\.jsonl:1: {complaint}"):
        PrecomputedRewards([write_rows(tmp_path / "r.jsonl", [row])])


def test_an_id_that_comes_twice_and_another_number_of_rewards_are_errors(tmp_path, write_rows):
    row = {"id": "g0", "rewards": [1, 2]}
    first, second = (write_rows(tmp_path / name, [row]) for name in ("a.jsonl", "b.jsonl"))
    with pytest.raises(DataError, match=r"b\.jsonl:1: id 'g0' has rewards already, at .*a\.jsonl:1"):
        PrecomputedRewards([first, second])
    scorer = PrecomputedRewards([write_rows(tmp_path / "c.jsonl", [{"id": "g0", "rewards": [1]}])])
    with pytest.raises(DataError, match=r"c\.jsonl:1: 1 rewards for the 2 responses of 'g0'"):
        list(scorer.score_groups(GROUPS[:1]))


def test_the_hash_is_of_the_content(tmp_path, write_rows):
    one = PrecomputedRewards([write_rows(tmp_path / "a.jsonl", [{"id": "g0", "rewards": [1, 2]}])])
    two = PrecomputedRewards([write_rows(tmp_path / "b.jsonl", [{"id": "g0", "rewards": [1, 2]}])])
    other = PrecomputedRewards([write_rows(tmp_path / "c.jsonl", [{"id": "g0", "rewards": [1, 3]}])])
    assert one.info.recipe_hash == two.info.recipe_hash == one.info.weights_hash
    assert one.info.recipe_hash != other.info.recipe_hash
