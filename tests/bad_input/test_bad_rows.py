"""Bad rows and files of data on the command line: an error that names the place, or, asked for, a counted skip."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

GOOD = [{"prompt": f"Which {number}?", "chosen": "this one", "rejected": "that"} for number in range(2)]


def turns(*roles):
    return [{"role": role, "content": "x"} for role in roles]


def written():
    return [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]


ROWS = [
    # what is bad, the second line, what the error says after the place, how the skip is counted
    ("a broken line", '{"prompt": "Q", "cho', "JSON is broken: ", "malformed JSON"),
    ("deep nesting", "[" * 10_000, "JSON is nested too deeply", "malformed JSON"),
    ("a row that is a list", "[1]", "row is of type list; it must be an object", "malformed row"),
    ("a missing field", {"prompt": "Q", "chosen": "A"}, "rejected is missing; the row has: prompt, chosen", "rejected"),
    ("a wrong type", {**GOOD[0], "prompt": 7}, "prompt is 7; it must be a string or a list", "malformed prompt"),
    ("a NaN margin", {**GOOD[0], "margin": float("nan")}, "margin is nan; it must be finite", "malformed margin"),
    ("text as a number", {**GOOD[0], "margin": "2,5"}, "margin is '2,5'; it must be a number", "malformed margin"),
    ("a huge number", '{"margin": ' + "9" * 5000 + "}", "JSON is broken: Exceeds the limit", "malformed JSON"),
    ("an unknown role", {**GOOD[0], "prompt": turns("wizard")}, "role is 'wizard'; allowed: system, user", "role"),
    ("a system turn alone", {**GOOD[0], "prompt": turns("system")}, "prompt holds no more than system", "malformed"),
    ("half a character", {**GOOD[0], "chosen": "a\ud800"}, "holds a lone surrogate at character 1", "responses[]"),
    ("Latin-1", b'{"prompt": "\xe9"}', "text is not UTF-8: byte 0xe9 at position 12", "malformed text"),
    ("a repeated id", {**GOOD[0], "id": "rows:1"}, "id 'rows:1' is already that of rows.jsonl:1", "repeated id"),
]


@pytest.mark.parametrize(("row", "says", "counted"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_a_bad_row_is_an_error_with_its_line_or_a_counted_skip(row, says, counted, place, invoke):
    lines = [row if isinstance(row, str | bytes) else json.dumps(row)]
    lines = [json.dumps(GOOD[0]), *lines, json.dumps(GOOD[1])]
    content = [line if isinstance(line, bytes) else line.encode() for line in lines]
    (place / "rows.jsonl").write_bytes(b"\n".join(content) + b"\n")
    command = ("score", "functions_to_spoil:lengths", "rows.jsonl", "-o", "out.jsonl")
    shown = invoke(*command)
    assert shown.exit_code == 2
    (line,) = shown.stderr.splitlines()
    assert line.startswith("error: rows.jsonl:2: ")
    assert says in line
    assert not list(place.glob("out*"))
    skipped = invoke(*command, "--on-error", "skip")
    assert skipped.exit_code == 0, skipped.output
    assert "rows left out: 1 " in skipped.stdout
    assert counted in skipped.stdout
    assert [line["rewards"] for line in written()] == [[8, 4], [8, 4]]


def chat(*contents):
    roles = ("user", "assistant")
    return {"messages": [{"role": roles[k % 2], "content": content} for k, content in enumerate(contents)]}


def compared(context, answer="A"):
    return chat(f"[CONTEXT] {context} [RESPONSE A] this one [RESPONSE B] that \n", answer)


def tagged(first, sign="+"):
    return {"input": f"Which? {first} ки", "label": f"Which? {first} {sign}"}


def tree(*children):
    return {"question": "Q", "reasoning_steps": {"text": "Q", "mc_value": 1, "children": list(children)}}


def rated(prompt, **columns):
    names = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
    return {"prompt": prompt, "response": "this one", **dict.fromkeys(names, 1), **columns}


def prm800k(rating, chosen=0):
    step = {"completions": [{"text": "this one", "rating": rating}], "chosen_completion": chosen}
    return {"question": {"problem": "Q"}, "label": {"steps": [step]}}


PUBLISHED = [
    # format, a good row, a row that cannot be used and why, a malformed row and why
    ("prm800k", prm800k(1), prm800k(None, None), "no step is rated or followed", prm800k(3), "rating is 3; allowed"),
    (
        "math_shepherd",
        tagged("Step 1: a"),
        tagged("Step 10: a"),
        "no 'Step 1:' between problem and solution",
        tagged("Step 1: a", "!"),
        "label has ' !' at tag 1; allowed: + or -",
    ),
    (
        "math_aps",
        tree({"text": "a", "mc_value": 0.5}),
        tree(),
        "no solution of the problem has a value",
        tree({"text": "a", "mc_value": -1}),
        "mc_value is -1; it must lie between 0 and 1",
    ),
    (
        "rlhflow_process",
        chat("Which? Step 1: a", "+"),
        chat("Which? This one.", "+"),
        "no 'Step 1:' between problem and solution",
        chat("Which? Step 1: a", "yes"),
        "messages[1].content is 'yes'; allowed: + or -",
    ),
    (
        "rlhflow_pair",
        compared("Q"),
        compared("Q [RESPONSE A] x"),
        "text holds a tag of the format more than once",
        compared("Q", "D"),
        "messages[1].content is 'D'; allowed: A, B, Same",
    ),
    (
        "helpsteer",
        rated("Q"),
        rated("Q\n<extra_id_1>Robot\nA"),
        "a mark of a turn names no role",
        rated("R", verbosity="low"),
        "verbosity is 'low'; it must be a number",
    ),
]


@pytest.mark.parametrize(
    ("good", "unusable", "reason", "malformed", "says"),
    [row[1:] for row in PUBLISHED],
    ids=[row[0] for row in PUBLISHED],
)
def test_rows_of_public_data_sets_are_read_counted_or_refused(good, unusable, reason, malformed, says, place, invoke):
    (place / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in (good, unusable, malformed)))
    command = ("score", "functions_to_spoil:lengths", "rows.jsonl", "-o", "out.jsonl")
    shown = invoke(*command)
    assert shown.exit_code == 2
    (line,) = shown.stderr.splitlines()
    assert line.startswith("error: rows.jsonl:3: ")
    assert says in line
    skipped = invoke(*command, "--on-error", "skip")
    assert skipped.exit_code == 0, skipped.output
    assert f"1 {reason}" in skipped.stdout
    assert "1 malformed " in skipped.stdout
    assert len(written()) == 1


def parquet(path, **columns):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(columns), path)
    return path.read_bytes()


def not_utf8():
    import pyarrow as pa

    return pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff")])


def column_twice(path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = ["prompt", "chosen", "rejected", "chosen"]
    pq.write_table(pa.table([pa.array([name]) for name in names], names=names), path)


FILES = [
    ("a missing file", "none.jsonl", None, "no such file or folder"),
    ("a name too long", "x" * 300 + ".jsonl", None, "File name too long"),
    ("an empty file", "f.jsonl", lambda path: path.write_bytes(b""), "the file is empty"),
    ("blank lines", "f.jsonl", lambda path: path.write_bytes(b"\n\n"), "holds no rows"),
    ("a folder", "f.jsonl", lambda path: path.mkdir(), "a folder must be one written by datasets.save_to_disk"),
    ("another suffix", "f.txt", lambda path: path.write_bytes(b"x"), "unknown suffix '.txt'; allowed: .jsonl"),
    ("UTF-16", "f.jsonl", lambda path: path.write_bytes(b"\xff\xfe{"), "text is not UTF-16"),
    ("CSV without a column", "f.csv", lambda path: path.write_text("prompt,chosen\na,b\n"), "--columns rejected=NAME"),
    ("CSV with short rows", "f.csv", lambda path: path.write_text("prompt,chosen,rejected\na\n"), "has 1 cells for 3"),
    (
        "half a gzip",
        "f.jsonl.gz",
        lambda path: path.write_bytes(gzip.compress(b"{}" * 99)[:-9]),
        "gzip stream is trunc",
    ),
    ("half a Parquet", "f.parquet", lambda path: path.write_bytes(parquet(path, prompt=["a"])[:-9]), "cannot be read"),
    ("no UTF-8 in Parquet", "f.parquet", lambda path: parquet(path, prompt=not_utf8()), "cannot be read after row 0"),
    (
        "a Parquet column twice",
        "f.parquet",
        column_twice,
        "a column name comes twice: prompt, chosen, rejected, chosen",
    ),
]


@pytest.mark.parametrize(("name", "make", "says"), [each[1:] for each in FILES], ids=[each[0] for each in FILES])
def test_a_bad_file_is_an_error_that_names_it(name, make, says, place, invoke):
    if make is not None:
        make(place / name)
    shown = invoke("score", "functions_to_spoil:lengths", name, "-o", "out.jsonl")
    assert shown.exit_code == 2
    (line,) = shown.stderr.splitlines()
    assert line.startswith(f"error: {name}")
    assert says in line
    assert not list(place.glob("out*"))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("crlf.jsonl", "".join(json.dumps(row) + "\r\n" for row in GOOD).encode()),
        ("mark.jsonl", b"\xef\xbb\xbf" + "".join(json.dumps(row) + "\n" for row in GOOD).encode()),
        ("mark.csv", b"\xef\xbb\xbfprompt,chosen,rejected\r\na,this one,that\r\nb,this one,that\r\n"),
        ("no_end.jsonl", "\n".join(json.dumps(row) for row in GOOD).encode()),
        ("UPPER.JSONL", "\n".join(json.dumps(row) for row in GOOD).encode()),
    ],
)
def test_line_ends_byte_order_marks_and_upper_case_suffixes_are_no_trouble(name, content, place, invoke):
    (place / name).write_bytes(content)
    assert invoke("score", "functions_to_spoil:lengths", name, "-o", "out.jsonl").exit_code == 0
    assert [line["rewards"] for line in written()] == [[8, 4], [8, 4]]


def test_emoji_and_right_to_left_text_get_rewards_of_their_own(place, invoke):
    rows = [
        {"prompt": "سؤال 👩‍👩‍👧?", "chosen": "שלום 😀", "rejected": "שלום 😀😀"},
        {"prompt": "null\0byte", "chosen": "line\u2028separator", "rejected": "\u202eturned"},
    ]
    (place / "rows.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    assert invoke("score", "model", "rows.jsonl", "-o", "out.jsonl").exit_code == 0
    rewards = [line["rewards"] for line in written()]
    assert all(isinstance(value, float) for pair in rewards for value in pair)
    assert all(first != second for first, second in rewards)


def test_equal_sides_are_counted_and_never_scored(place, invoke):
    rows = [GOOD[0], {"prompt": "Q", "chosen": "A", "rejected": "A"}]
    (place / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    shown = invoke("score", "functions_to_spoil:lengths", "rows.jsonl", "-o", "out.jsonl")
    assert shown.stdout == "wrote out.jsonl: 1 groups, 1 scored\nrows left out: 1 chosen equals rejected\n"


def test_a_response_of_a_megabyte_is_counted_with_its_reason(place, invoke):
    rows = [*GOOD, {"prompt": "Q", "chosen": "a" * 1_000_000, "rejected": "A"}]
    (place / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    shown = invoke("score", "model", "rows.jsonl", "-o", "out.jsonl")
    assert shown.stdout == (
        "wrote out.jsonl: 3 groups, 2 scored\nnot scored: 1 responses alone longer than max_length\n"
    )
    last = written()[-1]
    assert (last["rewards"][0], last["reason"]) == (None, "responses alone longer than max_length")


@pytest.mark.parametrize("name", ["not_a_number", "missing"])
def test_a_function_that_gives_no_number_is_counted_and_no_nan_is_written(name, place, invoke):
    shown = invoke("score", f"functions_to_spoil:{name}", "pairs.jsonl", "-o", "out.jsonl")
    assert shown.exit_code == 0
    assert "12 groups, 0 scored\nnot scored: 12 the function gave no finite number" in shown.stdout
    assert all(line["rewards"] == [None, None] for line in written())


def test_a_conversation_that_the_template_refuses_is_counted(place, invoke):
    template = (
        "{% if messages | length > 2 %}{{ raise_exception('one turn only') }}{% endif %}"
        + (place / "model" / "chat_template.jinja").read_text()
    )
    (place / "model" / "chat_template.jinja").write_text(template)
    recipe = json.loads((place / "model" / "plaudit.json").read_text()) | {"chat_template": template}
    (place / "model" / "plaudit.json").write_text(json.dumps(recipe))
    rows = [GOOD[0], {**GOOD[0], "prompt": turns("user", "user")}]
    (place / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    shown = invoke("score", "model", "rows.jsonl", "-o", "out.jsonl")
    assert "2 groups, 1 scored\nnot scored: 1 refused by the chat template" in shown.stdout
    assert "one turn only" in written()[1]["reason"]
