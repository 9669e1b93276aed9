"""`plaudit data show` of files: lengths, sources, examples, foreign columns, and an error where nothing was read."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from plaudit.cli.main import app

COLUMNS = "prompt=question,chosen=good_answer,rejected=bad_answer"


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments, code=0):
    shown = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert shown.exit_code == code, shown.output
    return shown.output


def rows_in(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def cells(output, first):
    """Return the cells of the row of a table that begins with ``first``."""
    (line,) = [line for line in output.splitlines() if line.startswith(f"│ {first} ")]
    return [cell.strip() for cell in line.strip("│").split("│")]


def test_lengths_feedback_and_two_examples_of_each_file_are_shown(place):
    rows = [
        {"prompt": "four", "chosen": "x" * (k + 1), "rejected": "y" * 10, "margin": 1, "source": "a"} for k in range(4)
    ]
    rows += [{"prompt": "four", "response": "x" * 20, "score": 0.5, "source": "b"}]
    rows_in(place / "pairs.jsonl", rows[:4])
    rows_in(place / "rated.jsonl", rows[4:])
    shown = run("data", "show", "pairs.jsonl")
    # Prompt and response: 5, 6, 7, 8 with the chosen one, always 14 with the rejected one.
    assert cells(shown, "a") == ["a", "4", "4", "6", "14", "14", "preferences, preferences with a margin"]
    assert cells(shown, "prompt") == ["prompt", "4", "4", "4", "4", "4", "4"]
    assert cells(shown, "response")[-1] == "10"
    assert shown.count("example pairs:") == 2
    assert "  user: four\n  response 0 (chosen): x\n  response 1 (rejected): yyyyyyyyyy\n" in shown
    assert cells(run("data", "show", "rated.jsonl"), "b") == ["b", "1", "0", "–", "–", "24", "rating score"]


def test_a_mixture_shows_its_sources_with_pairs_lengths_and_feedback(place):
    rows_in(place / "one.jsonl", [{"prompt": f"p{k}", "chosen": "xx", "rejected": "y"} for k in range(10)])
    rows_in(place / "two.jsonl", [{"prompt": f"q{k}", "responses": ["xxxx", "y"], "ranks": [1, 2]} for k in range(9)])
    (place / "mixture.yaml").write_text(
        "name: both\nparts:\n  - {name: one, files: [{path: one.jsonl}]}\n"
        "  - {name: two, files: [{path: two.jsonl, pairs: all}]}\n"
    )
    shown = run("data", "show", "mixture.yaml")
    assert cells(shown, "one") == ["one", "10", "10", "4", "3", "4", "preferences"]
    assert cells(shown, "two") == ["two", "9", "9", "6", "3", "6", "preferences, ranks"]


def test_an_example_cannot_move_the_cursor(place):
    rows_in(place / "rows.jsonl", [{"prompt": "a\x1b[2Jb\u202ec", "chosen": "x\ny", "rejected": "z" * 300}])
    shown = run("data", "show", "rows.jsonl")
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert r"user: a\x1b[2Jb\u202ec" in shown
    assert r"x\ny" in shown
    assert "z" * 240 + "…" in shown


def test_columns_are_named_on_the_command_line_and_the_error_says_how(place):
    rows_in(place / "rows.jsonl", [{"question": "Q", "good_answer": "A", "bad_answer": "B"}] * 3)
    refused = run("data", "show", "rows.jsonl", code=2)
    assert refused.startswith("error: rows.jsonl:1: format cannot be told")
    assert refused.rstrip().endswith(f"--columns {COLUMNS}")
    assert "groups   3" in run("data", "show", "rows.jsonl", "--columns", COLUMNS)
    for wrong in ("prompt", "prompt=", "=question", "prompt=question,prompt=question"):
        assert "it must be NAME=COLUMN with commas between" in run(
            "data", "show", "rows.jsonl", "--columns", wrong, code=2
        )


def test_columns_stand_in_a_config_too(place):
    rows_in(place / "rows.jsonl", [{"question": f"Q{k}", "good_answer": "A", "bad_answer": "B"} for k in range(3)])
    (place / "mixture.yaml").write_text(
        "name: m\nparts:\n  - name: own\n    files:\n      - path: rows.jsonl\n"
        "        columns: {prompt: question, chosen: good_answer, rejected: bad_answer}\n"
    )
    assert "m: 3 groups, 3 pairs" in run("data", "show", "mixture.yaml")


READING = [["score"], ["evaluate"], ["stress"], ["data", "audit"], ["data", "export"], ["data", "relabel"]]


@pytest.mark.parametrize("verb", READING)
def test_every_verb_that_reads_data_takes_columns(verb, place):
    rows_in(place / "rows.jsonl", [{"question": "Q", "good_answer": "A"}])
    (place / "show_model.py").write_text("def reward(prompt, responses):\n    return [0.0 for _ in responses]\n")
    model = [] if verb[-1] in ("audit", "export") else ["show_model:reward"]
    output = "out.jsonl" if verb[-1] in ("score", "relabel") else "out"
    columns = "prompt=question,chosen=nothing"
    refused = run(*verb, *model, "rows.jsonl", "-o", output, "--columns", columns, code=2)
    assert "nothing is missing; columns reads it as chosen" in refused


def test_nothing_read_is_an_error_with_the_reasons_and_the_first_row(place):
    rows_in(place / "rows.jsonl", [{"prompt": "Q", "chosen": 1, "rejected": "B"}] * 2)
    refused = run("data", "show", "rows.jsonl", code=2)
    assert refused.startswith(
        "error: rows.jsonl: none of 2 rows became a group (2 malformed chosen; first: rows.jsonl:1:"
    )
    assert "benchmark" not in refused


def test_an_official_file_of_a_benchmark_brings_the_hint_to_evaluate_it(place):
    rows_in(place / "judgebench_gpt.jsonl", [{"pair_id": "1", "question": "Q", "response_A": "A", "response_B": "B"}])
    refused = run("data", "show", "judgebench_gpt.jsonl", code=2)
    assert refused.rstrip().endswith("plaudit evaluate MODEL judgebench=judgebench_gpt.jsonl")


def test_remarks_of_reading_are_said_by_other_verbs(place):
    rows_in(place / "rows.jsonl", [{"prompt": "Q", "chosen": "A<|end|>", "rejected": "B"}])
    assert "noted    1  response with a chat template's control token in its text" in run("data", "show", "rows.jsonl")
    shown = run("data", "audit", "rows.jsonl", "-o", "out")
    assert "rows.jsonl: read with a remark: 1 response with a chat template's control token in its text" in shown


def test_an_export_does_not_replace_what_it_reads(place):
    (place / "groups").mkdir()
    rows_in(place / "groups/groups.jsonl", [{"prompt": f"q{k}", "chosen": "a", "rejected": "b"} for k in range(3)])
    before = (place / "groups/groups.jsonl").read_bytes()
    shown = run("data", "export", "groups/groups.jsonl", "--limit", "1", "-o", ".", code=2)
    assert "groups/groups.jsonl is the input; what it holds would be lost" in shown
    assert (place / "groups/groups.jsonl").read_bytes() == before
