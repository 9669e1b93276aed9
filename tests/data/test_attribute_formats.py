"""Rows of one rated response: rows of a prompt that stand together are one group, missing ratings stay missing."""

from __future__ import annotations

import json

import pytest

from plaudit.data.reading import read as reading
from plaudit.data.reading.options import DataFile
from plaudit.data.reading.read import load_files
from plaudit.data.reading.sources.fields import UnusableRowError
from plaudit.data.schema.group import Group, Message
from plaudit.errors import DataError

from .rows import read_row

NAMES = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")


def rated(prompt, response, *values, **fields):
    return {"prompt": prompt, "response": response, **dict(zip(NAMES, values, strict=True)), **fields}


def test_one_row_is_one_response_with_its_five_ratings():
    assert read_row(rated("Q", "A", 4, 3, 4, 2, 1), "helpsteer") == Group(
        (Message("user", "Q"),), ("A",), ratings=dict(zip(NAMES, ((4.0,), (3.0,), (4.0,), (2.0,), (1.0,)), strict=True))
    )


def test_a_rating_may_be_null_or_absent():
    row = {"prompt": "Q", "response": "A", "helpfulness": 4, "verbosity": None}
    assert read_row(row, "helpsteer").ratings == {"helpfulness": (4.0,), "verbosity": (None,)}


def test_marks_of_turns_split_a_prompt():
    prompt = "Hi\n<extra_id_1>Assistant\nYes?\n\nI listen.\n<extra_id_1>User\nName a prime.\n"
    assert read_row(rated(prompt, "7", 1, 1, 1, 1, 1), "helpsteer").prompt == (
        Message("user", "Hi"),
        Message("assistant", "Yes?\n\nI listen."),
        Message("user", "Name a prime.\n"),
    )


@pytest.mark.parametrize(
    ("prompt", "response", "reason"),
    [
        ("Hi\n<extra_id_1>System\nB", "A", "a mark of a turn names no role"),
        ("Hi\n<extra_id_1>User or", "A", "a mark of a turn names no role"),
        ("Hi\n<extra_id_1>Assistant\nB", "A", "prompt ends in an assistant turn"),
        ("Hi\n<extra_id_1>Assistant\n\n<extra_id_1>User\nB", "A", "empty turn in the prompt"),
    ],
)
def test_a_rated_row_that_cannot_be_used_has_its_own_reason(prompt, response, reason):
    with pytest.raises(UnusableRowError) as caught:
        read_row(rated(prompt, response, 1, 1, 1, 1, 1), "helpsteer")
    assert caught.value.reason == reason


def test_consecutive_rows_of_a_prompt_are_one_group_and_later_ones_another(write_rows, read):
    rows = [
        rated("Q", "A", 4, 3, 2, 1, 0),
        {"prompt": "Q", "response": "B", "helpfulness": 1},
        rated("R", "C", 0, 0, 0, 0, 0),
        rated("Q", "D", 2, 2, 2, 2, 2),
    ]
    groups = read(write_rows(rows))
    assert groups.report.format == "helpsteer"
    assert [(group.id, group.responses) for group in groups] == [
        ("rows:1", ("A", "B")),
        ("rows:3", ("C",)),
        ("rows:4", ("D",)),
    ]
    assert groups[0].ratings["helpfulness"] == (4.0, 1.0)
    assert groups[0].ratings["verbosity"] == (0.0, None)
    assert (groups.report.rows, groups.report.groups, groups.report.joined) == (4, 3, 1)
    assert "joined   1" in groups.report.table()


def test_an_id_or_another_source_begins_a_group_of_its_own(write_rows, read):
    one = rated("Q", "A", 1, 1, 1, 1, 1)
    rows = [{**one, "id": "a"}, one, {**one, "id": "b"}, {**one, "source": "web"}]
    assert [(group.id, len(group.responses)) for group in read(write_rows(rows))] == [("a", 2), ("b", 1), ("rows:4", 1)]


@pytest.mark.parametrize("num_proc", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_no_border_between_blocks_cuts_a_group(num_proc, write_rows, read, monkeypatch):
    monkeypatch.setattr(reading, "BLOCK_ROWS", 3)
    counts = [1, 4, 2, 7, 3, 3, 1]
    rows = [rated(f"Q{group}", f"{k}", 1, 1, 1, 1, 1) for group, count in enumerate(counts) for k in range(count)]
    groups = read(write_rows(rows), num_proc=num_proc)
    assert [len(group.responses) for group in groups] == counts
    assert groups.report.rows == sum(counts) == groups.report.groups + groups.report.joined


def test_a_limit_counts_groups_and_keeps_the_last_one_whole(write_rows, read):
    rows = [rated(prompt, f"{k}", 1, 1, 1, 1, 1) for k, prompt in enumerate("QQRRRS")]
    groups = read(write_rows(rows), limit=2)
    assert [group.responses for group in groups] == [("0", "1"), ("2", "3", "4")]
    assert (groups.report.rows, groups.report.groups, groups.report.joined) == (5, 2, 3)


def test_a_malformed_row_among_those_of_a_prompt_is_skipped_alone(write_rows, read):
    one = rated("Q", "A", 1, 1, 1, 1, 1)
    path = write_rows([one, {**one, "coherence": "high"}, {**one, "response": "B"}])
    groups = read(path, on_error="skip")
    assert [group.responses for group in groups] == [("A", "B")]
    assert (groups.report.rows, groups.report.joined, groups.report.dropped) == (3, 1, {"malformed coherence": 1})
    for limit in (None, 1):
        with pytest.raises(DataError, match=r"rows\.jsonl:2: coherence is 'high'; it must be a number"):
            read(path, limit=limit)


def test_rows_of_a_dropped_repeated_id_are_all_counted(write_rows, read):
    one = rated("Q", "A", 1, 1, 1, 1, 1)
    other = rated("R", "A", 1, 1, 1, 1, 1)
    groups = read(write_rows([{**one, "id": "a"}, {**other, "id": "a"}, other]), on_error="skip")
    assert (groups.report.rows, groups.report.groups, groups.report.joined) == (3, 1, 0)
    assert groups.report.dropped == {"repeated id": 2}


def test_ratings_in_csv_are_numbers(tmp_path, read):
    path = tmp_path / "rows.csv"
    path.write_text("prompt,response," + ",".join(NAMES) + "\nQ,A,4,,2,1,0\nQ,B,1,1,1,1,1.5\n")
    (group,) = read(path)
    assert group.ratings["correctness"] == (None, 1.0)
    assert group.ratings["verbosity"] == (0.0, 1.5)


def message_row(*contents, **columns):
    turns = [{"role": ("user", "assistant")[index % 2], "content": content} for index, content in enumerate(contents)]
    return {"messages": turns, **columns}


def test_named_columns_of_a_chat_are_its_ratings():
    row = message_row("Hi", "Yes?", "Name a prime.", "7", **{"helpsteer-verbosity": 0.5, "safe": True, "style": None})
    assert read_row(row, "attributes", attributes=("helpsteer-verbosity", "style", "safe")) == Group(
        (Message("user", "Hi"), Message("assistant", "Yes?"), Message("user", "Name a prime.")),
        ("7",),
        ratings={"helpsteer-verbosity": (0.5,), "style": (None,), "safe": (1.0,)},
    )


def test_the_config_names_the_columns_and_the_others_are_ignored(write_rows, tmp_path):
    rows = [
        message_row("Q", "A", x=1, y=None, z=0.5),
        message_row("Q", "B", x=None, y=2, z=0.5),
        {"prompt": "Q", "response": "C", "x": 3, "y": 3},
    ]
    file = DataFile(path=str(write_rows(rows)), format="attributes", attributes=("y", "x"))
    groups = load_files((file,), tmp_path / "cache")
    assert [(group.responses, dict(group.ratings)) for group in groups] == [
        (("A", "B", "C"), {"y": (None, 2.0, 3.0), "x": (1.0, None, 3.0)})
    ]
    assert groups.report.ignored_fields == ("z",)


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        ({"format": "attributes"}, "needs the names of its label columns"),
        ({"attributes": ("x",)}, "the format is auto"),
        ({"format": "trl", "attributes": ("x",)}, "the format is trl"),
        ({"format": "attributes", "attributes": ("x", "x")}, "names the column 'x' twice"),
        ({"format": "attributes", "attributes": ("prompt",)}, "names 'prompt', which is no label column"),
    ],
)
def test_columns_belong_to_the_format_that_needs_them(arguments, fragment, write_rows, read):
    with pytest.raises(DataError, match=fragment):
        read(write_rows([message_row("Q", "A", x=1)]), **arguments)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (message_row("Q", "A", "B", x=1), "last turn is not the assistant's"),
        (
            {"messages": [{"role": "assistant", "content": "A"}] * 2, "x": 1},
            "prompt ends in an assistant turn",
        ),
    ],
)
def test_a_chat_without_a_response_has_its_own_reason(row, reason):
    with pytest.raises(UnusableRowError) as caught:
        read_row(row, "attributes", attributes=("x",))
    assert caught.value.reason == reason


BAD = [
    ({"prompt": "Q", "response": "A"}, "helpfulness is missing; the row needs at least one of"),
    (rated("Q", "A", 1, 1, 1, 1, float("nan")), "verbosity is nan; it must be finite"),
    (rated("Q", None, 1, 1, 1, 1, 1), "response is missing"),
    (rated(["Q"], "A", 1, 1, 1, 1, 1), "prompt is of type list; it must be a string"),
    (rated("Q", "A", 1, 1, 1, 1, True), "verbosity is True; it must be a number"),
]


@pytest.mark.parametrize(("bad", "fragment"), BAD)
def test_a_malformed_rated_row_is_an_error_or_a_counted_skip(bad, fragment, write_rows, read):
    path = write_rows([rated("Q", "A", 1, 1, 1, 1, 1), bad, rated("R", "B", 1, 1, 1, 1, 1)])
    _is_an_error_or_a_skip(path, fragment, read, format="helpsteer")


BAD_CHATS = [
    (message_row("Q", "A"), "x is missing; the row has: messages"),
    (message_row("Q", "A", x="high"), "x is 'high'; it must be a number"),
    (message_row(x=1), "messages is an empty list"),
    ({**message_row("Q", "A", x=1), "prompt": "Q"}, "messages and prompt are both given"),
    ({"x": 1}, "messages is missing; the row needs one of: messages, conversations, prompt"),
]


@pytest.mark.parametrize(("bad", "fragment"), BAD_CHATS)
def test_a_malformed_row_of_named_columns_is_an_error_or_a_counted_skip(bad, fragment, write_rows, read):
    path = write_rows([message_row("Q", "A", x=1), bad, message_row("R", "B", x=1)])
    _is_an_error_or_a_skip(path, fragment, read, format="attributes", attributes=("x",))


def _is_an_error_or_a_skip(path, fragment, read, **arguments):
    with pytest.raises(DataError) as caught:
        read(path, **arguments)
    assert str(caught.value).startswith(f"{path}:2: ")
    assert fragment in str(caught.value)
    groups = read(path, on_error="skip", **arguments)
    assert [group.id for group in groups] == ["rows:1", "rows:3"]
    ((reason, count),) = groups.report.dropped.items()
    assert (reason.startswith("malformed "), count) == (True, 1)
    assert fragment in groups.report.examples[reason][0]


def test_the_report_of_joined_rows_survives_the_cache(write_rows, read):
    path = write_rows([rated("Q", "A", 1, 1, 1, 1, 1), rated("Q", "B", 1, 1, 1, 1, 1)])
    assert read(path).report == read(path).report
    assert json.loads(read(path).report.model_dump_json())["joined"] == 1
