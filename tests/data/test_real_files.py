"""Files as their users have them: conversations in cells of text, other trainers' layouts, shards, foreign columns."""

from __future__ import annotations

import decimal
import io
import json
import os
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from plaudit.data.schema.group import Group, Message, Preference, conversation
from plaudit.errors import DataError, InvalidGroupError

TREE = (Message("user", "Name a tree."),)
PAIR = Group(TREE, ("An oak.", "A brick."), (Preference(0, 1),))


def said(role, content, **more):
    return {"role": role, "content": content, **more}


ASK = [said("user", "Name a tree.")]
GOOD, BAD = [said("assistant", "An oak.")], [said("assistant", "A brick.")]
ROW = {"prompt": ASK, "chosen": GOOD, "rejected": BAD}


def bare(group):
    """Return a group without what names its row."""
    return Group(group.prompt, group.responses, group.preferences, group.ranks, group.ratings, group.outcomes)


@pytest.fixture
def pair_in(read, tmp_path):
    """Return a function that writes a table with a writer and returns its groups, without names."""

    def found(write, row, name):
        path = tmp_path / name
        write(path, row)
        groups = read(path)
        return [bare(group) for group in groups], groups.report

    return found


def write_csv(path, row, delimiter=",", encoding="utf-8"):
    import csv

    with path.open("w", newline="", encoding=encoding) as file:
        writer = csv.DictWriter(file, list(row), delimiter=delimiter)
        writer.writeheader()
        writer.writerow(row)


def write_parquet(path, row):
    pq.write_table(pa.Table.from_pylist([row]), path)


def write_jsonl(path, row):
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")


WAYS = [(write_csv, "rows.csv"), (write_parquet, "rows.parquet"), (write_jsonl, "rows.jsonl")]


@pytest.mark.parametrize("dump", [json.dumps, repr, lambda value: json.dumps(value, indent=2)])
@pytest.mark.parametrize(("write", "name"), WAYS)
def test_a_conversation_in_a_cell_of_text_is_read_as_its_messages(write, name, dump, pair_in):
    groups, report = pair_in(write, {name: dump(value) for name, value in ROW.items()}, name)
    assert groups == [PAIR]
    assert report.noted == {"conversation read from text": 3}


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": json.dumps(ASK), "chosen": "An oak.", "rejected": "A brick."},
        {"chosen": json.dumps(ASK + GOOD), "rejected": json.dumps(ASK + BAD)},
        {"prompt": "Name a tree.", "chosen": json.dumps(GOOD[0]), "rejected": json.dumps(BAD[0])},
        {
            "prompt": json.dumps([{"from": "human", "value": "Name a tree."}]),
            "chosen": "An oak.",
            "rejected": "A brick.",
        },
    ],
)
def test_a_conversation_may_stand_as_text_in_some_columns_only(row, pair_in):
    groups, _ = pair_in(write_csv, row, "rows.csv")
    assert groups == [PAIR]


@pytest.mark.parametrize(
    "written",
    [
        json.dumps([{"name": None, **ASK[0]}]),
        repr([{"id": 7, "content": "Name a tree.", "role": "Human"}]),
        json.dumps(json.dumps(ASK)),
        json.dumps(repr(ASK)),
        json.dumps({"messages": ASK}),
    ],
)
def test_a_conversation_as_text_is_known_whatever_stands_before_its_first_role(written, pair_in):
    groups, report = pair_in(
        write_parquet, {"prompt": written, "chosen": "An oak.", "rejected": "A brick."}, "r.parquet"
    )
    assert groups == [PAIR]
    assert report.noted == {"conversation read from text": 1}


@pytest.mark.parametrize(
    "text",
    ['{"pair": "x", "from": "EUR", "value": 3}', '"a {quoted} text"', '"{\\"role\\": \\"user\\"}"', '[{"role": 1, '],
)
def test_other_objects_written_as_text_stay_text(text, pair_in):
    groups, report = pair_in(write_jsonl, {"prompt": "Name a tree.", "chosen": text, "rejected": "A brick."}, "r.jsonl")
    assert groups[0].responses == (text, "A brick.")
    assert report.noted == {}


def test_messages_as_text_in_a_list_of_responses_are_read(pair_in):
    row = {"prompt": "Name a tree.", "responses": json.dumps([json.dumps(GOOD), json.dumps(BAD)]), "ranks": "[1, 2]"}
    groups, _ = pair_in(write_csv, row, "rows.csv")
    assert groups == [Group(TREE, ("An oak.", "A brick."), ranks=(1, 2))]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(ASK)[:-4],  # cut by the longest cell of a table
        # as NumPy prints a list in a table of pandas
        "[{'content': 'Name a tree.', 'role': 'user'}\n {'content': 'An oak.', 'role': 'assistant'}]",
    ],
)
def test_a_conversation_that_is_cut_or_broken_in_its_cell_is_refused(text, read, tmp_path):
    write_csv(tmp_path / "rows.csv", {"prompt": text, "chosen": "A", "rejected": "B"})
    with pytest.raises(DataError, match=r"rows\.csv:2: prompt is .*; it must be whole, written as JSON"):
        read(tmp_path / "rows.csv")


@pytest.mark.parametrize(
    "text",
    [
        '{"role": "user", "name": "x"}',
        '[{"value": 3}]',
        '[{"role": "user", "content": "x"}] is how a message looks',
        '{"content": "half',
        "[1, 2]",
    ],
)
def test_a_response_that_is_json_of_something_else_stays_text(text, pair_in):
    groups, report = pair_in(write_jsonl, {"prompt": "Q", "chosen": text, "rejected": "no"}, "rows.jsonl")
    assert groups[0].responses == (text, "no")
    assert report.noted == {}


@pytest.mark.parametrize(
    ("text", "margin"),
    [("8.5", 8.5), (" 3 ", 3.0), ("-1e-2", -0.01), ("+2", 2.0), ("", None), ("NaN", None), ("None", None)],
)
@pytest.mark.parametrize(("write", "name"), WAYS)
def test_a_number_in_a_cell_of_text_is_that_number_and_a_blank_one_is_missing(write, name, text, margin, pair_in):
    groups, _ = pair_in(
        write, {"prompt": "Name a tree.", "chosen": "An oak.", "rejected": "A brick.", "margin": text}, name
    )
    assert groups == [Group(TREE, ("An oak.", "A brick."), (Preference(0, 1, margin=margin),))]


@pytest.mark.parametrize("text", ["1,234", "1.234,5", "8,5", "1_000", "0x10", "inf", "1 000", "5%", "٣"])
def test_a_number_that_could_mean_several_things_is_refused(text, read, tmp_path):
    write_jsonl(tmp_path / "rows.jsonl", {"prompt": "Q", "chosen": "A", "rejected": "B", "margin": text})
    with pytest.raises(DataError, match=r"margin is .*; it must be a number"):
        read(tmp_path / "rows.jsonl")


def test_decimals_of_parquet_are_numbers(pair_in):
    row = {"prompt": "Name a tree.", "chosen": "An oak.", "rejected": "A brick.", "margin": decimal.Decimal("1.50")}
    groups, _ = pair_in(write_parquet, row, "rows.parquet")
    assert groups[0].preferences == (Preference(0, 1, margin=1.5),)


def test_ratings_and_attributes_and_outcomes_of_a_csv_are_read_as_their_kinds(read, tmp_path):
    (tmp_path / "scored.csv").write_text("prompt,chosen,rejected,score_chosen,score_rejected\nQ,A,B,8.5,3\n")
    (group,) = read(tmp_path / "scored.csv")
    assert (dict(group.ratings), group.preferences) == ({"score": (8.5, 3.0)}, (Preference(0, 1, margin=5.5),))
    (tmp_path / "attr.csv").write_text("prompt,response,politeness\nQ,A,4\nQ,B,\n")
    (group,) = read(tmp_path / "attr.csv", format="attributes", attributes=["politeness"])
    assert dict(group.ratings) == {"politeness": (4.0, None)}
    (tmp_path / "right.csv").write_text("prompt,response,correct\nQ,A,True\nQ,B,0\nQ,C,\n")
    assert [group.outcomes for group in read(tmp_path / "right.csv")] == [(True,), (False,), (None,)]
    wanted = read(tmp_path / "right.csv", where={"correct": False})
    assert [group.responses for group in wanted] == [("B",)]


@pytest.mark.parametrize(
    "key",
    ["tool_calls", "function_call", "reasoning_content", "reasoning", "thinking", "refusal", "images"],
)
def test_a_key_of_a_message_that_says_something_is_refused_and_never_left_out(key, read, tmp_path):
    chosen = [said("assistant", "It is 4.", **{key: "two and two"})]
    write_jsonl(tmp_path / "rows.jsonl", {**ROW, "chosen": chosen})
    with pytest.raises(DataError, match=rf"rows\.jsonl:1: chosen\[0\]\.{key} is not empty; only the text of a turn"):
        read(tmp_path / "rows.jsonl")
    with pytest.raises(InvalidGroupError, match=rf"prompt\[1\]\.{key} is not empty"):
        conversation([said("user", "Q"), *chosen])
    empty = {**ROW, "chosen": [said("assistant", "An oak.", **{key: None})]}
    write_jsonl(tmp_path / "empty.jsonl", empty)
    assert [bare(group) for group in read(tmp_path / "empty.jsonl")] == [PAIR]


def test_any_other_key_of_a_message_is_listed_as_ignored(read, tmp_path):
    write_jsonl(tmp_path / "rows.jsonl", {**ROW, "chosen": [said("assistant", "An oak.", weight=1)]})
    groups = read(tmp_path / "rows.jsonl")
    assert [bare(group) for group in groups] == [PAIR]
    assert groups.report.ignored_fields == ("chosen[].weight",)


def test_only_the_columns_that_a_format_reads_are_looked_into(read, tmp_path):
    write_jsonl(tmp_path / "rows.jsonl", {**ROW, "log": [said("assistant", "x", tool_calls=[1])]})
    assert read(tmp_path / "rows.jsonl").report.ignored_fields == ("log",)


@pytest.mark.parametrize(
    ("turns", "prompt", "noted"),
    [
        ([said("developer", "Be brief.")], [("system", "Be brief.")], {"developer turn read as system": 1}),
        ([said("Developer", " ")], [], {"developer turn read as system": 1, "blank system turn left out": 1}),
        ([said("system", "")], [], {"blank system turn left out": 1}),
        ([said("SYSTEM", "Be brief.")], [("system", "Be brief.")], {}),
        ([said("user", "Hi"), said("System", "Now French.")], [("user", "Hi"), ("system", "Now French.")], {}),
        ([said("human", "Hi"), said("gpt", "Yes?")], [("user", "Hi"), ("assistant", "Yes?")], {}),
        (
            [{"from": "human", "value": "Hi"}, {"from": "bot", "value": "Yes?"}],
            [("user", "Hi"), ("assistant", "Yes?")],
            {},
        ),
        ([said("user", [{"type": "text", "text": "H"}, {"type": "text", "text": "i"}])], [("user", "Hi")], {}),
        ([said("user", ["H", "i"])], [("user", "Hi")], {}),
    ],
)
def test_turns_are_read_by_one_rule_from_a_file_and_from_python(turns, prompt, noted, read, tmp_path):
    write_jsonl(tmp_path / "rows.jsonl", {**ROW, "prompt": [*turns, *ASK]})
    groups = read(tmp_path / "rows.jsonl")
    expected = (*(Message(*turn) for turn in prompt), *TREE)
    assert groups[0].prompt == conversation([*turns, *ASK]) == expected
    assert groups.report.noted == noted


@pytest.mark.parametrize(
    "part", [{"type": "image_url", "image_url": {"url": "x"}}, {"type": "text", "text": 3}, 3, [["x"]]]
)
def test_a_part_of_content_that_is_no_text_is_refused(part, read, tmp_path):
    write_jsonl(tmp_path / "rows.jsonl", {**ROW, "prompt": [said("user", [{"type": "text", "text": "Look."}, part])]})
    with pytest.raises(DataError, match=r"prompt\[0\]\.content\[1\] is .*; only parts of text can be read"):
        read(tmp_path / "rows.jsonl")


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Q", "chosen": "A", "rejected": ""},
        {"prompt": "Q", "responses": ["A", " \n"]},
        {"prompt": [said("user", "Q")], "chosen": [said("assistant", "A")], "rejected": [said("assistant", "")]},
        {"chosen": "\n\nHuman: Q\n\nAssistant: A", "rejected": "\n\nHuman: Q\n\nAssistant:"},
        {"prompt": "Q", "completions": ["A", ""], "label": None},
        {"prompt": "Q", "responses": ["A", ""], "labels": [1, 0]},
        {"prompt": "Q", "responses": ["A", ""], "preferences": [{"chosen": 0, "rejected": 1}]},
    ],
)
def test_an_empty_response_stays_beside_its_siblings_in_every_reader(row, read, tmp_path):
    write_jsonl(tmp_path / "rows.jsonl", {**row, "id": "a"})
    groups = (
        read(tmp_path / "rows.jsonl", format="outcome" if "label" in row or "labels" in row else "auto")
        if "completions" not in row
        else read(tmp_path / "rows.jsonl", format="conversation")
    )
    (group,) = groups
    assert (group.responses[0], group.responses[1].strip()) == ("A", "")
    assert groups.report.noted == {"empty response": 1}


@pytest.mark.parametrize(
    "blank", ["", " \n\t", [said("user", "")], [said("user", "Q"), said("assistant", " "), said("user", "R")]]
)
@pytest.mark.parametrize("answers", [{"chosen": "A", "rejected": "B"}, {"responses": ["A", "B"]}, {"response": "A"}])
def test_a_blank_turn_of_a_prompt_is_left_out_and_counted_in_every_reader(blank, answers, read, tmp_path):
    write_jsonl(tmp_path / "rows.jsonl", {"prompt": blank, **answers})
    assert read(tmp_path / "rows.jsonl").report.dropped == {"empty turn in the prompt": 1}


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "2+2?", "chosen": "4", "rejected": "4 "},
        {
            "chosen": [said("user", "2+2?"), said("assistant", "4")],
            "rejected": [said("user", "2+2?"), said("assistant", "4\n")],
        },
        {"chosen": "\n\nHuman: 2+2?\n\nAssistant: 4", "rejected": "\n\nHuman: 2+2?\n\nAssistant: 4 "},
        {"prompt": "2+2?", "chosen": "4", "rejected": "4 ", "score_chosen": 2, "score_rejected": 1},
        {"messages": [said("user", "2+2?"), said("assistant", "4")], "rejected_response": "4 "},
        {"prompt": "2+2?", "chosen": "", "rejected": " "},
    ],
)
def test_responses_that_differ_by_white_space_at_their_ends_are_equal_in_every_reader(row, read, tmp_path):
    write_jsonl(tmp_path / "rows.jsonl", row)
    assert read(tmp_path / "rows.jsonl").report.dropped == {"chosen equals rejected": 1}


SEVERAL = Group(TREE, ("An oak.", "A brick.", "A nail."), (Preference(0, 1), Preference(0, 2)))
NATIVE = [
    ("ms_swift", {"messages": ASK + GOOD, "rejected_response": "A brick."}, PAIR),
    ("ms_swift", {"messages": ASK + GOOD, "rejected_messages": ASK + BAD}, PAIR),
    ("ms_swift", {"messages": ASK + GOOD, "rejected_response": ["A brick.", "A nail."]}, SEVERAL),
    (
        "llama_factory",
        {
            "conversations": [{"from": "human", "value": "Name a tree."}],
            "chosen": {"from": "gpt", "value": "An oak."},
            "rejected": {"from": "gpt", "value": "A brick."},
        },
        PAIR,
    ),
    ("llama_factory", {"instruction": "Name a tree.", "chosen": "An oak.", "rejected": "A brick."}, PAIR),
    ("openai", {"input": {"messages": ASK}, "preferred_output": GOOD, "non_preferred_output": BAD}, PAIR),
    ("several_rejected", {"prompt": "Name a tree.", "chosen": "An oak.", "rejected": ["A brick.", "A nail."]}, SEVERAL),
    ("several_rejected", {**ROW, "rejected": [BAD, [said("assistant", "A nail.")]]}, SEVERAL),
    ("conversation", {"prompt": "Name a tree.", "response": "An oak."}, Group(TREE, ("An oak.",))),
    ("conversation", {"messages": ASK + GOOD}, Group(TREE, ("An oak.",))),
    (
        "conversation",
        {"prompt": ASK, "completion": GOOD, "score": 0.75},
        Group(TREE, ("An oak.",), ratings={"score": (0.75,)}),
    ),
    (
        "conversation",
        {"prompt": "Name a tree.", "completions": ["An oak.", "A brick."]},
        Group(TREE, ("An oak.", "A brick.")),
    ),
    ("outcome", {"messages": ASK + GOOD, "label": True}, Group(TREE, ("An oak.",), outcomes=(True,))),
]


@pytest.mark.parametrize(("format", "row", "group"), NATIVE)
def test_files_of_other_trainers_are_known_by_their_first_row(format, row, group, read, tmp_path):
    write_jsonl(tmp_path / "rows.jsonl", row)
    groups = read(tmp_path / "rows.jsonl")
    assert groups.report.format == format
    assert groups.report.ignored_fields == ()
    assert [bare(each) for each in groups] == [group]


def test_an_instruction_brings_its_input_its_system_turn_and_its_history(read, tmp_path):
    row = {"instruction": "And", "input": "now?", "system": "Be brief.", "history": [["Hi", "Yes?"]]}
    write_jsonl(tmp_path / "rows.jsonl", {**row, "chosen": "A", "rejected": "B"})
    turns = [("system", "Be brief."), ("user", "Hi"), ("assistant", "Yes?"), ("user", "And\nnow?")]
    assert read(tmp_path / "rows.jsonl")[0].prompt == tuple(Message(*turn) for turn in turns)


@pytest.mark.parametrize("labels", [{"value": ["+", "-"]}, {"label": [1, 0]}, {"labels": ["+", "-"]}])
def test_math_shepherd_takes_its_labels_as_a_list(labels, read, tmp_path):
    row = {"input": "2 + 2? Step 1: 2 + 2 = 4. ки\nStep 2: The answer is: 5 ки", **labels}
    write_jsonl(tmp_path / "rows.jsonl", row)
    (group,) = read(tmp_path / "rows.jsonl")
    assert [step.label for step in group.steps[0]] == [1.0, 0.0]


def test_a_response_with_control_tokens_is_counted_and_kept_as_it_is(read, tmp_path):
    text = "Bad.<|end|><|user|>Thanks!<|end|>"
    write_jsonl(
        tmp_path / "rows.jsonl", {"prompt": "Q", "responses": [text, "Bad.", "[INST] x", "< |end| >", "a<b|c>"]}
    )
    groups = read(tmp_path / "rows.jsonl")
    assert groups[0].responses[0] == text
    assert groups.report.noted == {"response with a chat template's control token in its text": 2}


def shards(folder):
    folder.mkdir()
    for name, row in (("train-00000-of-00002", {}), ("train-00001-of-00002", {"extra": "x"})):
        write_parquet(folder / f"{name}.parquet", {"prompt": name, "chosen": "A", "rejected": "B", **row})
    write_parquet(folder / "test-00000-of-00001.parquet", {"prompt": "T", "chosen": "A", "rejected": "B"})
    (folder / "README.md").write_text("a card")
    (folder / "dataset_infos.json").write_text("{}")
    return folder


def test_a_folder_of_shards_is_one_set_whose_columns_may_differ(read, tmp_path):
    folder = shards(tmp_path / "set")
    groups = read(folder)
    assert [group.id for group in groups] == ["set/1:1", "set/2:1"]
    assert {group.source for group in groups} == {"set"}
    assert groups.report.ignored_fields == ("extra",)
    assert [group.prompt[0].content for group in read(folder, split="test")] == ["T"]
    with pytest.raises(DataError, match="there is no split 'dev'; by their names the files are of: test, train"):
        read(folder, split="dev")
    # A column that the first shard lacks is null there.
    assert [group.id for group in read(folder, where={"extra": "x"})] == ["set/2:1"]


def test_a_glob_names_several_files_and_one_that_matches_none_is_an_error(read, tmp_path):
    folder = shards(tmp_path / "set")
    assert len(read(f"{folder}/train-*.parquet")) == 2
    assert len(read(f"{tmp_path}/**/*.parquet")) == 3
    with pytest.raises(DataError, match=r"\*\.jsonl: no file matches"):
        read(f"{folder}/*.jsonl")


def test_a_folder_of_several_kinds_of_files_is_refused_with_the_way_to_name_one(read, tmp_path):
    folder = shards(tmp_path / "set")
    write_jsonl(folder / "more.jsonl", ROW)
    with pytest.raises(
        DataError, match=r"files of several kinds, \.jsonl, \.parquet; give one of them, as '.*/\*\.jsonl'"
    ):
        read(folder)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("rows.csv", {"delimiter": ";"}),
        ("rows.csv", {"delimiter": "\t"}),
        ("rows.tsv", {"delimiter": "\t"}),
        ("rows.csv", {"encoding": "utf-8-sig", "delimiter": ";"}),
        ("rows.csv", {"encoding": "utf-16", "delimiter": "\t"}),
    ],
)
def test_the_sign_between_cells_and_the_encoding_of_a_table_are_told_by_its_first_line(name, options, read, tmp_path):
    row = {"prompt": "Name; a, tree.", "chosen": "Là, un chêne; oui", "rejected": "two\nlines"}
    write_csv(tmp_path / name, row, **options)
    (group,) = read(tmp_path / name)
    assert (group.prompt[0].content, *group.responses) == tuple(row.values())
    assert group.id == "rows:2"


def test_a_line_of_excel_that_names_the_sign_is_no_row(read, tmp_path):
    (tmp_path / "rows.csv").write_text("sep=;\nprompt;chosen;rejected\nQ;A;B\n")
    (group,) = read(tmp_path / "rows.csv")
    assert (group.responses, group.id) == (("A", "B"), "rows:3")


def test_utf_16_json_lines_are_read(read, tmp_path):
    (tmp_path / "rows.jsonl").write_text(
        '{"prompt": "Là?", "chosen": "A\u2028", "rejected": "B"}\n' * 2, encoding="utf-16"
    )
    assert [group.prompt[0].content for group in read(tmp_path / "rows.jsonl")] == ["Là?", "Là?"]


FOREIGN = {"question": "Name a tree.", "good_answer": "An oak.", "bad_answer": "A brick."}
COLUMNS = {"prompt": "question", "chosen": "good_answer", "rejected": "bad_answer"}


def test_columns_of_other_names_are_read_under_those_of_the_format(read, tmp_path):
    write_csv(tmp_path / "rows.csv", FOREIGN)
    groups = read(tmp_path / "rows.csv", columns=COLUMNS, where={"question": "Name a tree."})
    assert [bare(group) for group in groups] == [PAIR]
    assert (groups.report.format, groups.report.ignored_fields) == ("trl", ())


def test_columns_may_swap_names_and_hide_the_rows_own(read, write_rows):
    swapped = {"chosen": "rejected", "rejected": "chosen"}
    groups = read(write_rows([{"prompt": "Q", "chosen": "A", "rejected": "B"}]), columns=swapped)
    assert groups[0].responses == ("B", "A")
    hidden = read(write_rows([{**FOREIGN, "prompt": "not this"}]), columns=COLUMNS)
    assert (hidden[0].prompt, hidden.report.ignored_fields) == (TREE, ("prompt",))


def test_a_column_that_is_not_there_or_that_no_format_reads_is_an_error(read, write_rows):
    path = write_rows([FOREIGN])
    with pytest.raises(DataError, match=r"rows\.jsonl:1: answer is missing; columns reads it as chosen; did you mean"):
        read(path, columns={**COLUMNS, "chosen": "answer"})
    with pytest.raises(DataError, match="columns names 'promt', which trl does not read; did you mean 'prompt'"):
        read(path, format="trl", columns={**COLUMNS, "promt": "question"})


def test_a_replaced_file_of_the_same_size_and_time_is_read_anew(read, tmp_path, write_rows):
    path = write_rows([{"prompt": "Q", "chosen": "one", "rejected": "two"}])
    before = path.stat()
    assert read(path)[0].responses == ("one", "two")
    path.write_text(path.read_text().replace("one", "new"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert read(path)[0].responses == ("new", "two")


def test_a_pipe_or_a_device_is_refused_and_never_waited_for(read, tmp_path):
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "zero.jsonl").symlink_to("/dev/zero")
    for name in ("pipe.jsonl", "zero.jsonl"):
        with pytest.raises(DataError, match="is a pipe or a device, not a file; give - to read standard input"):
            read(tmp_path / name)


def test_a_file_without_line_breaks_does_not_fill_the_memory(read, tmp_path, monkeypatch):
    monkeypatch.setattr("plaudit.data.reading.files.LONGEST_LINE", 1000)
    (tmp_path / "rows.jsonl").write_bytes(b"\0" * 5000)
    with pytest.raises(DataError, match=r"rows\.jsonl:1: line has more than 1,000 bytes"):
        read(tmp_path / "rows.jsonl", on_error="skip")


@pytest.mark.parametrize("write", [write_csv, write_parquet, write_jsonl])
def test_standard_input_is_read_as_a_file_of_the_kind_that_it_is(write, read, tmp_path, monkeypatch):
    write(tmp_path / "rows", {"prompt": "Name a tree.", "chosen": "An oak.", "rejected": "A brick."})
    content = (tmp_path / "rows").read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    groups = read("-")
    assert [bare(group) for group in groups] == [PAIR]
    assert (groups.report.path, groups[0].source) == ("<stdin>", "stdin")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"prompt": "Q"\n')))
    with pytest.raises(DataError, match=r"^<stdin>:1: JSON is broken"):
        read("-")
