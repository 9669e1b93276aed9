"""Bad input is an error that names the file, the line and what is wrong, or a counted skip."""

from __future__ import annotations

import gzip
import json

import pytest

from plaudit.errors import DataError, UnknownNameError

GOOD = {"prompt": "Q", "chosen": "A", "rejected": "B"}
PAIR = {"prompt": "Q", "responses": ["A", "B"], "preferences": [{"chosen": 0, "rejected": 1}]}
RATED = {"prompt": "Q", "responses": ["A", "B"], "ranks": [1, 2]}
OUTCOME = {"prompt": "Q", "response": "A", "label": True}
STEPS = {"prompt": "Q", "steps": ["A", "B"], "labels": [1, 0]}
TAGGED = {"input": "Q Step 1: a ки\nStep 2: b ки", "label": "Q Step 1: a +\nStep 2: b -"}
TREE = {"text": "Q", "mc_value": 0.5, "children": [{"text": "a", "mc_value": 1, "children": []}]}
APS = {"question": "Q", "reasoning_steps": TREE}


def turns(*roles):
    return [{"role": role, "content": "x"} for role in roles]


def prm800k(**step):
    steps = [{"completions": [{"text": "a", "rating": 1}], "chosen_completion": 0} | step]
    return {"question": {"problem": "Q"}, "label": {"steps": steps}}


def prefix(text, value):
    return {**APS, "reasoning_steps": [{"solution_prefix": text, "mc_value": value}]}


def chat(*contents):
    roles = ("user", "assistant")
    return {"messages": [{"role": roles[k % 2], "content": content} for k, content in enumerate(contents)]}


VERDICT = chat("Q Step 1: a", "+")
COMPARED = chat("[CONTEXT] Q [RESPONSE A] a [RESPONSE B] b \n", "A")


BAD_ROWS = [
    # format, first (good) row, second (bad) row, fragment of the error
    ("trl", GOOD, '{"prompt": "Q", "chosen": ', "JSON is broken: Expecting value"),
    ("trl", GOOD, "[1, 2]", "row is of type list; it must be an object"),
    ("trl", GOOD, '"text"', "row is 'text'; it must be an object"),
    ("trl", GOOD, "[" * 100_000, "JSON is nested too deeply"),
    ("trl", GOOD, {"prompt": "Q", "chosen": "A"}, "rejected is missing; the row has: prompt, chosen"),
    ("trl", GOOD, {**GOOD, "chosen": 3}, "chosen is 3 and rejected is a string"),
    ("trl", GOOD, {**GOOD, "prompt": []}, "prompt is empty"),
    ("trl", GOOD, {**GOOD, "prompt": 7}, "prompt is 7; it must be a string or a list of messages"),
    ("trl", GOOD, {**GOOD, "margin": float("nan")}, "margin is nan; it must be finite"),
    ("trl", GOOD, {**GOOD, "margin": "1,500"}, "margin is '1,500'; it must be a number"),
    ("trl", GOOD, {**GOOD, "margin": True}, "margin is True; it must be a number"),
    ("trl", GOOD, {**GOOD, "margin": 10**400}, "margin is a very large integer; it must fit"),
    ("trl", GOOD, {**GOOD, "prompt": turns("wizard")}, "prompt[0].role is 'wizard'; allowed: system, user"),
    ("trl", GOOD, {**GOOD, "prompt": turns("user", "assistant")}, "prompt ends in an assistant turn"),
    ("trl", GOOD, {**GOOD, "prompt": turns("system")}, "prompt holds no more than system messages"),
    ("trl", GOOD, {**GOOD, "prompt": ["Q"]}, "prompt[0] is 'Q'; it must be an object"),
    ("trl", GOOD, {**GOOD, "prompt": [{"role": "user"}]}, "prompt[0].content is None; it must be a string"),
    ("trl", GOOD, {**GOOD, "prompt": [{**turns("user")[0], "tool_calls": [1]}]}, "prompt[0].tool_calls"),
    ("trl", GOOD, {**GOOD, "chosen": "a\ud800"}, "responses[0] holds a lone surrogate at character 1"),
    ("trl", GOOD, {**GOOD, "id": 1.5}, "id is 1.5; it must be a string or an integer"),
    ("trl", GOOD, {**GOOD, "id": "\udfff"}, "id holds a lone surrogate"),
    ("trl", GOOD, {"chosen": [], "rejected": turns("user", "assistant")}, "chosen is an empty list"),
    (
        "trl",
        GOOD,
        {"chosen": "A", "rejected": "B"},
        "prompt is missing, and chosen and rejected are plain text",
    ),
    (
        "hh",
        GOOD,
        {"chosen": "Hi", "rejected": "\n\nHuman: Hi"},
        "chosen is 'Hi'; a transcript must open with",
    ),
    ("groups", PAIR, {**PAIR, "preferences": [{"chosen": 0, "rejected": 2}]}, "preferences[0].rejected is 2"),
    ("groups", PAIR, {**PAIR, "preferences": [{"chosen": 1, "rejected": 1}]}, "prefers response 1 to itself"),
    ("groups", PAIR, {**PAIR, "preferences": [{"chosen": 0, "rejectd": 1}]}, "unknown field 'rejectd'"),
    (
        "groups",
        PAIR,
        {**PAIR, "preferences": [{"chosen": 0, "rejected": 1, "probability": 1.2}]},
        "preferences[0].probability is 1.2; it must lie between 0 and 1",
    ),
    ("groups", PAIR, {**PAIR, "responses": []}, "responses is empty"),
    ("groups", PAIR, {**PAIR, "responses": "A"}, "responses is 'A'; it must be a list"),
    ("groups", PAIR, {**PAIR, "outcomes": [True]}, "outcomes has 1 entries for 2 responses"),
    ("groups", PAIR, {**PAIR, "outcomes": [True, "yes"]}, "outcomes[1] is 'yes'; allowed: true, false"),
    (
        "groups",
        PAIR,
        {**PAIR, "ratings": {"x": [1, float("inf")]}},
        "ratings['x'][1] is inf; it must be finite",
    ),
    ("groups", PAIR, {**PAIR, "steps": [[{"end": 2, "label": 1}], None]}, "steps[0][0].end is 2"),
    ("responses", RATED, {**RATED, "ranks": [1]}, "ranks has 1 entries for 2 responses"),
    ("responses", RATED, {**RATED, "ranks": [0, 1]}, "ranks[0] is 0; it must be an integer from 1"),
    ("responses", RATED, {**RATED, "ranks": [1, 2**40]}, "ranks[1] is 1099511627776; it must be an integer"),
    ("responses", RATED, {**RATED, "ranks": [1.5, 2]}, "ranks[0] is 1.5; it must be an integer"),
    ("responses", RATED, {**RATED, "scores": [1, float("-inf")]}, "scores[1] is -inf; it must be finite"),
    ("responses", RATED, {"prompt": "Q", "responses": [{"txt": "A"}]}, "responses[0].text is missing"),
    ("outcome", OUTCOME, {**OUTCOME, "label": "yes"}, "label[0] is 'yes'; allowed: true, false"),
    ("outcome", OUTCOME, {**OUTCOME, "label": [True]}, "label is a list; response needs one label"),
    ("outcome", OUTCOME, {**OUTCOME, "completion": "A"}, "response and completion are both given"),
    ("outcome", OUTCOME, {"prompt": "Q", "response": "A"}, "label is missing"),
    ("stepwise", STEPS, {**STEPS, "labels": [1]}, "labels has 1 entries for 2 steps"),
    ("stepwise", STEPS, {**STEPS, "steps": ["", "B"]}, "steps[0] is ''; a step that no separator precedes"),
    ("stepwise", STEPS, {**STEPS, "labels": [1, "ok"]}, "labels[1] is 'ok'; it must be a number"),
    ("stepwise", STEPS, {**STEPS, "labels": [1, -100]}, "labels[1] is -100, which means no label"),
    ("prm800k", prm800k(), {**prm800k(), "label": None}, "label is missing; the row has: question, label"),
    ("prm800k", prm800k(), {**prm800k(), "label": {"step": []}}, "label.steps is missing; label has: step"),
    ("prm800k", prm800k(), {**prm800k(), "question": "Q"}, "question is 'Q'; it must be an object"),
    ("prm800k", prm800k(), {**prm800k(), "question": {}}, "question.problem is missing; question has: no fields"),
    ("prm800k", prm800k(), prm800k(chosen_completion=1), "label.steps[0].chosen_completion is 1; the step has 1"),
    ("prm800k", prm800k(), prm800k(chosen_completion=-1), "label.steps[0].chosen_completion is -1; the step has 1"),
    (
        "prm800k",
        prm800k(),
        prm800k(completions=[{"text": "a", "rating": 2}]),
        "label.steps[0].completions[0].rating is 2; allowed: -1, 0, 1 or null",
    ),
    (
        "prm800k",
        prm800k(),
        prm800k(completions=[{"text": " ", "rating": 1}]),
        "label.steps[0].completions[0].text is ' '; a step needs text",
    ),
    (
        "math_shepherd",
        TAGGED,
        {**TAGGED, "input": "Q Step 1: a"},
        "input is 'Q Step 1: a'; it must hold the step tag",
    ),
    (
        "math_shepherd",
        TAGGED,
        {**TAGGED, "label": TAGGED["label"].replace("-", "?")},
        "label has ' ?' at tag 2; allowed: + or -",
    ),
    (
        "math_shepherd",
        TAGGED,
        {**TAGGED, "label": TAGGED["label"].replace("b", "c")},
        "label differs from input before tag 2",
    ),
    ("math_shepherd", TAGGED, {**TAGGED, "label": TAGGED["label"][:-2]}, "label has '' at tag 2"),
    (
        "math_shepherd",
        TAGGED,
        {**TAGGED, "label": TAGGED["label"] + " c"},
        "label differs from input after the last tag",
    ),
    ("math_shepherd", TAGGED, {**TAGGED, "label": ["+"]}, "label has 1 entries for 2 step tags of input"),
    (
        "math_aps",
        APS,
        {**APS, "reasoning_steps": {**TREE, "text": "R"}},
        "reasoning_steps.text is 'R'; the root must be the question",
    ),
    (
        "math_aps",
        APS,
        {**APS, "reasoning_steps": {**TREE, "children": [{"text": "a", "mc_value": 1.5}]}},
        "reasoning_steps.children[0].mc_value is 1.5; it must lie between 0 and 1",
    ),
    ("math_aps", APS, {**APS, "reasoning_steps": {**TREE, "children": ["a"]}}, "reasoning_steps.children[0] is 'a'"),
    ("math_aps", APS, prefix("R\n\na", 1), "reasoning_steps[0].solution_prefix is 'R\\n\\na'; it must open with"),
    ("math_aps", APS, prefix("Q\n\na", "1/2"), "reasoning_steps[0].mc_value is '1/2'; it must be a number"),
    ("rlhflow_process", VERDICT, chat("Q Step 1: a", "good"), "messages[1].content is 'good'; allowed: + or -"),
    ("rlhflow_process", VERDICT, chat("Q Step 1: a", "+", "b"), "messages has 3 turns; it must hold pairs"),
    ("rlhflow_process", VERDICT, {"messages": []}, "messages has 0 turns"),
    (
        "rlhflow_process",
        VERDICT,
        {"messages": turns("user", "user")},
        "messages[1].role is 'user'; it must be assistant",
    ),
    ("rlhflow_process", VERDICT, {**VERDICT, "conversations": []}, "conversations and messages are both given"),
    (
        "rlhflow_pair",
        COMPARED,
        chat("[CONTEXT] Q [RESPONSE A] a", "A"),
        "messages[0].content is '[CONTEXT] Q [RESPONSE A] a'; it must hold [CONTEXT]",
    ),
    (
        "rlhflow_pair",
        COMPARED,
        chat("[CONTEXT] Q [RESPONSE B] a [RESPONSE A] b", "A"),
        "it must hold [CONTEXT], [RESPONSE A], [RESPONSE B] in this order",
    ),
    (
        "rlhflow_pair",
        COMPARED,
        chat(COMPARED["messages"][0]["content"], "C"),
        "messages[1].content is 'C'; allowed: A, B, Same",
    ),
    ("rlhflow_pair", COMPARED, {"messages": turns("user")}, "messages has 1 turns; it must hold one user turn"),
]


def good(format, row):
    return (
        {"chosen": "\n\nHuman: Q\n\nAssistant: A", "rejected": "\n\nHuman: Q\n\nAssistant: B"}
        if (format == "hh")
        else row
    )


@pytest.mark.parametrize(("format", "first", "bad", "fragment"), BAD_ROWS)
def test_a_malformed_row_is_an_error_that_names_file_and_line(format, first, bad, fragment, write_rows, read):
    path = write_rows([good(format, first), bad])
    with pytest.raises(DataError) as caught:
        read(path, format=format)
    assert str(caught.value).startswith(f"{path}:2: ")
    assert fragment in str(caught.value)


@pytest.mark.parametrize(("format", "first", "bad", "fragment"), BAD_ROWS)
def test_a_malformed_row_can_be_a_counted_skip(format, first, bad, fragment, write_rows, read):
    path = write_rows([good(format, first), bad, good(format, first)])
    groups = read(path, format=format, on_error="skip")
    assert [group.id for group in groups] == ["rows:1", "rows:3"]
    ((reason, count),) = groups.report.dropped.items()
    assert reason.startswith("malformed ")
    assert count == 1
    (example,) = groups.report.examples[reason]
    assert example.startswith(f"{path}:2: ")
    assert fragment in example


@pytest.mark.parametrize(
    ("name", "content", "fragment"),
    [
        ("empty.jsonl", b"", "the file is empty"),
        ("blank.jsonl", b"\n\n", "holds no rows"),
        ("none.json", b"[]", "holds no rows"),
        ("header.csv", b"prompt,chosen,rejected\n", "holds no rows"),
        ("rows.txt", b"{}", "unknown suffix '.txt'; allowed: .jsonl, .jsonl.gz, .json, .csv, .tsv, .parquet"),
        (
            "latin.jsonl",
            '{"prompt": "é"}\n'.encode("latin-1"),
            "1: text is not UTF-8: byte 0xe9 at position 12",
        ),
        ("latin.json", '[{"prompt": "é"}]'.encode("latin-1"), "text is not UTF-8"),
        ("latin.csv", "prompt,chosen,rejected\né,a,b\n".encode("latin-1"), "text is not UTF-8"),
        ("wide.jsonl", '{"prompt": "Q"}\n'.encode("utf-16")[:-1], "text is not UTF-16"),
        ("object.json", b'{"prompt": "Q"}', "a .json file must hold one array of rows"),
        (
            "open.json",
            b'[{"prompt": "Q", "chosen": "A", "rejected": "B"}',
            "2: JSON is broken: the array is not",
        ),
        ("cut.json", b'[{"prompt": "Q", "chosen"', "1: JSON is broken: Expecting ':'"),
        (
            "more.json",
            b'[{"prompt": "Q", "chosen": "A", "rejected": "B"}] x',
            "text after the end of the array",
        ),
        ("cells.csv", b"prompt,chosen,rejected\nQ,A\n", "2: row has 2 cells for 3 columns"),
        (
            "value.csv",
            b"prompt,chosen,rejected,margin\nQ,A,B,much\n",
            "2: margin is 'much'; it must be a number",
        ),
        ("twice.csv", b"prompt,chosen,chosen\nQ,A,B\n", "a column name comes twice"),
        ("quote.csv", b'prompt,chosen,rejected\nQ,"A,B\n', "2: CSV is broken"),
        ("not.parquet", b"PAR1 but not really", "Parquet cannot be read after row 0"),
        ("not.jsonl.gz", b"plain text", "1: gzip stream is truncated or broken"),
    ],
)
def test_an_unreadable_file_is_a_clear_error(name, content, fragment, tmp_path, read):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert fragment in str(caught.value)


def many_lines():
    return "".join(json.dumps({**GOOD, "prompt": f"Q{number}"}) + "\n" for number in range(3000)).encode()


def test_a_truncated_gzip_file_is_an_error_that_names_the_line(tmp_path, read):
    path = tmp_path / "cut.jsonl.gz"
    path.write_bytes(gzip.compress(many_lines())[:-2000])
    with pytest.raises(DataError, match=r"cut\.jsonl\.gz:\d+: gzip stream is truncated or broken"):
        read(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("cut.jsonl.gz", gzip.compress(many_lines())[:-2000]),
        ("cut.json", b"[" + b",".join(many_lines().splitlines())),
        ("cut.csv", b'prompt,chosen,rejected\nQ,A,B\nQ,"A,B\nQ,A,B\n'),
        ("latin.csv", b"prompt,chosen,rejected\nQ,A,B\nQ,\xe9,B\nQ,A,B\n"),
    ],
)
def test_a_broken_file_is_an_error_even_where_rows_may_be_skipped(name, content, tmp_path, read):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match="the rest of the file could not be read"):
        read(path, on_error="skip")
    if len(content) > 1000:
        assert len(read(path, on_error="skip", limit=2)) == 2


def test_a_missing_file_is_named(tmp_path, read):
    with pytest.raises(DataError, match=r"nothing\.jsonl: no such file or folder"):
        read(tmp_path / "nothing.jsonl")


def test_a_folder_that_datasets_did_not_write_is_refused(tmp_path, read):
    with pytest.raises(DataError, match=r"must be one written by datasets\.save_to_disk"):
        read(tmp_path)


def test_a_hub_name_without_a_network_says_that_local_files_work(read, monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DataError, match=r"nobody/nothing: .*the hub cannot be reached.*give a local file"):
        read("nobody/nothing")


def test_a_repeated_id_names_both_lines(write_rows, read):
    path = write_rows([{**GOOD, "id": "a"}, {**GOOD, "id": "b"}, {**GOOD, "id": "a"}])
    with pytest.raises(DataError) as caught:
        read(path)
    assert str(caught.value) == f"{path}:3: id 'a' is already that of {path}:1; ids must be unique"


def test_a_repeated_id_can_be_a_counted_skip(write_rows, read):
    path = write_rows([{**GOOD, "id": "a"}, {**GOOD, "id": "a", "chosen": "other"}])
    groups = read(path, on_error="skip")
    assert [group.responses[0] for group in groups] == ["A"]
    assert groups.report.dropped == {"repeated id": 1}
    assert "already that of" in groups.report.examples["repeated id"][0]


@pytest.mark.parametrize("ids", [("rows:2", None), (None, "rows:1")])
def test_a_given_id_may_not_be_one_made_from_a_line(ids, write_rows, read):
    path = write_rows([GOOD if given is None else {**GOOD, "id": given} for given in ids])
    with pytest.raises(DataError, match="is already that of"):
        read(path)


def test_given_ids_that_look_like_lines_are_no_trouble_alone(write_rows, read):
    groups = read(write_rows([{**GOOD, "id": "rows:2"}, {**GOOD, "id": "rows:1"}]))
    assert [group.id for group in groups] == ["rows:2", "rows:1"]


@pytest.mark.parametrize(
    ("arguments", "error", "fragment"),
    [
        ({"format": "tlr"}, UnknownNameError, "unknown format 'tlr'; did you mean 'trl'"),
        ({"on_error": "ignore"}, UnknownNameError, "unknown on_error 'ignore'"),
        ({"limit": 0}, DataError, "limit is 0; it must be at least 1"),
    ],
)
def test_wrong_arguments_are_refused(arguments, error, fragment, write_rows, read):
    with pytest.raises(error, match=fragment):
        read(write_rows([GOOD]), **arguments)


def test_an_unknown_layout_is_refused_with_its_fields(write_rows, read):
    with pytest.raises(DataError, match=r"rows\.jsonl:1: format cannot be told from the fields a, b"):
        read(write_rows([{"a": 1, "b": 2}]))


def test_no_files_at_all_is_an_error(read):
    with pytest.raises(DataError, match="the list of files is empty"):
        read([])
