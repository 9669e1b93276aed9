"""Rows of one prompt become one group on demand, with every label; what cannot be joined is an error."""

from __future__ import annotations

import pytest

from plaudit.data.reading import read as reading
from plaudit.data.reading.convert import joined
from plaudit.data.reading.options import DataFile
from plaudit.data.reading.read import load_files
from plaudit.data.schema.group import Group, Preference, Step, conversation
from plaudit.errors import DataError


def solved(prompt, response, label, **fields):
    return {"prompt": prompt, "response": response, "label": label, **fields}


def test_rows_with_ids_of_their_own_are_joined_when_asked_and_only_then(write_rows, read):
    path = write_rows(
        [
            solved("Q", "A", True, id="0-small"),
            solved("Q", "B", False, id="0-large"),
            solved("R", "C", None, id="1-small"),
            solved("Q", "D", True, id="0-again"),
        ]
    )
    assert [group.id for group in read(path)] == ["0-small", "0-large", "1-small", "0-again"]
    groups = read(path, group_by_prompt=True)
    assert [(group.id, group.responses, group.outcomes) for group in groups] == [
        ("0-small", ("A", "B"), (True, False)),
        ("1-small", ("C",), (None,)),
        ("0-again", ("D",), (True,)),
    ]
    report = groups.report
    assert (report.rows, report.groups, report.joined) == (4, 3, 1)
    assert "joined   1" in report.table()


def test_a_config_asks_for_it_too(write_rows, tmp_path):
    path = write_rows([solved("Q", "A", True), solved("Q", "B", False)])
    (group,) = load_files([DataFile(path=str(path), group_by_prompt=True)], cache_dir=tmp_path / "cache")
    assert group.outcomes == (True, False)


def test_rows_of_another_source_stay_apart_unless_the_source_is_given(write_rows, read):
    path = write_rows([solved("Q", "A", True, source="x"), solved("Q", "B", False, source="y")])
    assert len(read(path, group_by_prompt=True)) == 2
    assert len(read(path, group_by_prompt=True, source="z")) == 1


def test_every_label_keeps_its_response():
    first = Group(
        conversation("Q"),
        ("ab", "cd"),
        preferences=(Preference(1, 0, margin=2.0),),
        ratings={"x": (1.0, None)},
        steps=((Step(1, 1.0), Step(2, 0.0)), None),
        id="a",
        source="s",
    )
    second = Group(conversation("Q"), ("ef",), ratings={"y": (3.0,)}, outcomes=(True,), id="b", source="s")
    third = Group(conversation("Q"), ("gh", "ij"), preferences=(Preference(0, 1, probability=0.7),), id="c", source="s")
    assert joined([first, second, third]) == Group(
        conversation("Q"),
        ("ab", "cd", "ef", "gh", "ij"),
        preferences=(Preference(1, 0, margin=2.0), Preference(3, 4, probability=0.7)),
        ratings={"x": (1.0, None, None, None, None), "y": (None, None, 3.0, None, None)},
        outcomes=(None, None, True, None, None),
        steps=((Step(1, 1.0), Step(2, 0.0)), None, None, None, None),
        id="a",
        source="s",
    )
    assert joined([first]) is first


def test_pairs_of_one_prompt_become_one_group_of_pairs(write_rows, read):
    rows = [{"prompt": "Q", "chosen": "A", "rejected": "B"}, {"prompt": "Q", "chosen": "C", "rejected": "D"}]
    (group,) = read(write_rows(rows), group_by_prompt=True)
    assert group.responses == ("A", "B", "C", "D")
    assert group.preferences == (Preference(0, 1), Preference(2, 3))


def test_ranks_of_two_rows_are_no_one_order(write_rows, read):
    ranked = {"prompt": "Q", "responses": ["A", "B"], "ranks": [1, 2]}
    path = write_rows([ranked, {**ranked, "prompt": "R"}, {**ranked, "prompt": "R"}])
    with pytest.raises(DataError, match=r"rows\.jsonl:3: ranks of rows with the same prompt cannot be joined"):
        read(path, group_by_prompt=True)
    groups = read(path, group_by_prompt=True, on_error="skip")
    assert [len(group.responses) for group in groups] == [2, 2]
    assert groups.report.dropped == {"malformed ranks": 1}


def test_ranks_are_made_from_the_joined_ratings(write_rows, read):
    rows = [{"prompt": "Q", "responses": [{"text": text, "score": score}]} for text, score in (("A", 1), ("B", 3))]
    (group,) = read(write_rows(rows), group_by_prompt=True, ranks_from="score")
    assert group.ranks == (2, 1)


@pytest.mark.parametrize("kind", ["outcome", "hh"])
def test_no_border_between_blocks_cuts_a_group_and_none_is_missing(kind, write_rows, read, monkeypatch):
    monkeypatch.setattr(reading, "BLOCK_ROWS", 3)
    counts = [1, 4, 2, 7, 3, 3, 1]
    rows = []
    for number, count in enumerate(counts):
        for k in range(count):
            if kind == "outcome":
                rows.append(solved(f"Q{number}", f"{k}", True, id=f"{number}-{k}"))
            else:
                sides = [f"\n\nHuman: Q{number}\n\nAssistant: {side} {k}" for side in ("yes", "no")]
                rows.append({"chosen": sides[0], "rejected": sides[1]})
    groups = read(write_rows(rows), group_by_prompt=True)
    each = 1 if kind == "outcome" else 2
    assert [len(group.responses) for group in groups] == [each * count for count in counts]
    assert groups.report.rows == sum(counts) == groups.report.groups + groups.report.joined


def test_a_border_knows_that_a_given_source_is_that_of_every_row(write_rows, read, monkeypatch):
    monkeypatch.setattr(reading, "BLOCK_ROWS", 3)
    path = write_rows([solved("Q", f"{k}", True, source=f"s{k}") for k in range(8)])
    assert [len(group.responses) for group in read(path, group_by_prompt=True, source="z")] == [8]


@pytest.mark.parametrize("bad_at", range(8))
def test_an_unusable_row_among_those_of_a_prompt_does_not_part_them_wherever_the_border_falls(
    bad_at, write_rows, read, monkeypatch
):
    monkeypatch.setattr(reading, "BLOCK_ROWS", 3)
    rows = [solved("Q", f"{k}", True) for k in range(8)]
    rows[bad_at] = {**rows[bad_at], "label": "yes"}
    groups = read(write_rows(rows), group_by_prompt=True, on_error="skip")
    assert [len(group.responses) for group in groups] == [7]
    assert groups.report.dropped == {"malformed label[]": 1}


def test_a_run_of_rows_that_tell_no_prompt_stays_bounded(write_rows, read, monkeypatch):
    monkeypatch.setattr(reading, "BLOCK_ROWS", 3)
    sizes = []
    real = reading.convert
    monkeypatch.setattr(reading, "convert", lambda block: sizes.append(len(block.rows)) or real(block))
    rows = [solved("Q", "A", True), *[solved("Q", "A", "yes") for _ in range(40)]]
    groups = read(write_rows(rows), group_by_prompt=True, on_error="skip")
    assert (len(groups), groups.report.rows) == (1, 41)
    assert max(sizes) == 6


def test_a_limit_counts_groups_and_keeps_the_last_one_whole(write_rows, read):
    rows = [solved(prompt, f"{k}", True) for k, prompt in enumerate("QQRRRS")]
    groups = read(write_rows(rows), group_by_prompt=True, limit=2)
    assert [group.responses for group in groups] == [("0", "1"), ("2", "3", "4")]


def test_rows_of_one_prompt_that_stand_apart_are_not_joined_and_that_is_said(read, write_rows):
    rows = [{"prompt": prompt, "response": str(k), "label": True} for k, prompt in enumerate("aabaca")]
    groups = read(write_rows(rows), group_by_prompt=True)
    assert [group.responses for group in groups] == [("0", "1"), ("2",), ("3",), ("4",), ("5",)]
    ((remark, count),) = groups.report.noted.items()
    # The second and the third group of "a".
    assert (count, remark.startswith("group of a prompt that stands earlier too")) == (2, True)
    together = read(write_rows(sorted(rows, key=lambda row: row["prompt"])), group_by_prompt=True)
    assert (len(together), together.report.noted) == (3, {})
