"""Gold rewards from a file become a rating, and the curve of proxy against gold is that of the two files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from plaudit.data.schema.group import Group, conversation
from plaudit.data.schema.group_set import GroupSet
from plaudit.errors import DataError
from plaudit.evaluation.run import evaluate
from plaudit.evaluation.store.precomputed import PrecomputedRewards, with_gold


def groups(count: int = 4, **labels) -> GroupSet:
    return GroupSet.from_groups(
        Group(conversation(f"question {k}"), ("first", "second", "third"), id=f"g{k}", **labels) for k in range(count)
    )


def rewards(path: Path, rows: dict[str, list[float | None]]) -> PrecomputedRewards:
    path.write_text("".join(json.dumps({"id": id, "rewards": values}) + "\n" for id, values in rows.items()))
    return PrecomputedRewards([str(path)])


def test_gold_rewards_are_a_rating_beside_the_others_and_what_is_missing_is_counted(tmp_path: Path):
    gold = rewards(tmp_path / "gold.jsonl", {"g0": [1.0, 2.0, 3.0], "g1": [4.0, None, 6.0], "g2": [None, None, None]})
    found = with_gold(groups(ratings={"tone": (1.0, None, 2.0)}), gold)
    assert [dict(group.ratings) for group in found.groups] == [
        {"tone": (1.0, None, 2.0), "gold": (1.0, 2.0, 3.0)},
        {"tone": (1.0, None, 2.0), "gold": (4.0, None, 6.0)},
        {"tone": (1.0, None, 2.0)},
        {"tone": (1.0, None, 2.0)},
    ]
    assert (found.rated, found.unrated, found.missing_responses) == (2, 2, 1)
    assert found.in_words() == "2 groups have a gold reward, 2 have none; 1 of their responses have none"
    assert found.groups.fingerprint != groups(ratings={"tone": (1.0, None, 2.0)}).fingerprint


def test_two_files_of_scores_make_a_curve(tmp_path: Path):
    ids = [f"g{k}" for k in range(4)]
    proxy = rewards(tmp_path / "proxy.jsonl", {id: [1.0, 2.0, 3.0] for id in ids})
    gold = rewards(tmp_path / "gold.jsonl", {id: [0.0, 5.0, 1.0] for id in ids})
    rated = with_gold(groups(), gold)
    result = evaluate(proxy, rated.groups, name="two files", model="proxy", output_dir=tmp_path / "out")
    (measure,) = result.measures
    assert measure.name == "rating gold"
    assert [point.gold.value for point in measure.best_of_n.points] == pytest.approx([2, 7 / 3, 1])
    assert [point.oracle.value for point in measure.best_of_n.points] == pytest.approx([2, 11 / 3, 5])
    assert measure.best_of_n.peak == 2
    written = json.loads((tmp_path / "out" / "result.json").read_text())
    assert [point["n"] for point in written["measures"][0]["best_of_n"]["points"]] == [1, 2, 3]


def test_a_name_that_is_taken_and_files_of_other_groups_are_errors(tmp_path: Path):
    gold = rewards(tmp_path / "gold.jsonl", {"g0": [1.0, 2.0, 3.0]})
    with pytest.raises(DataError, match="group 'g0' has a rating 'gold' already"):
        with_gold(groups(ratings={"gold": (1.0, 1.0, 1.0)}), gold)
    other = rewards(tmp_path / "other.jsonl", {"h0": [1.0, 2.0, 3.0]})
    with pytest.raises(DataError, match="no group has a gold reward: of 4 groups, as 'g0', none"):
        with_gold(groups(), other)
    with pytest.raises(DataError, match="there are no groups"):
        with_gold(groups(0), other)
    short = rewards(tmp_path / "short.jsonl", {"g0": [1.0, 2.0]})
    with pytest.raises(DataError, match=r"short.jsonl:1: 2 rewards for the 3 responses of 'g0'"):
        with_gold(groups(), short)
