"""Streams, single answers, best-of-n selection, examples in the help, closed pipes, shell completion."""

from __future__ import annotations

import json
import logging
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from plaudit.cli.best import best_row
from plaudit.cli.console import warn_once
from plaudit.cli.data import app as data_app
from plaudit.cli.main import EXAMPLES, app
from plaudit.data.schema.group import Group, conversation
from plaudit.scoring.scorer import GroupRewards

ROWS = [
    {"id": "a", "prompt": "One", "responses": ["short", "longer", "no"]},
    {"id": "b", "prompt": "Two", "responses": ["same", "four", "x"]},
    {"id": "c", "prompt": "Three", "responses": ["none", "one none"]},
]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Three groups, and a function that rewards length, and nothing that says none."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "rewards_here.py").write_text(
        "def reward(prompt, responses):\n    return [None if 'none' in each else len(each) for each in responses]\n"
    )
    (tmp_path / "groups.jsonl").write_text(text())
    return tmp_path


def text() -> str:
    return "".join(json.dumps(row) + "\n" for row in ROWS)


def plaudit(*words: str, stdin: str | None = None):
    return CliRunner().invoke(app, list(words), input=stdin)


def test_the_best_response_of_each_group_is_kept_with_reward_and_lead(here):
    shown = plaudit("best", "rewards_here:reward", "groups.jsonl", "-o", "best.jsonl")
    assert shown.exit_code == 0, shown.output
    lines = [json.loads(line) for line in (here / "best.jsonl").read_text().splitlines()]
    assert lines == [
        {
            "id": "a",
            "prompt": [{"role": "user", "content": "One"}],
            "response": "longer",
            "index": 1,
            "reward": 6.0,
            "margin": 1.0,
        },
        {
            "id": "b",
            "prompt": [{"role": "user", "content": "Two"}],
            "response": "same",
            "index": 0,
            "reward": 4.0,
            "margin": 0.0,
            "ties": 1,
        },
    ]
    assert "wrote best.jsonl: the best response of 2 of 3 groups" in shown.stdout
    assert "1 of them are ties, of which the first was kept" in shown.stdout
    assert "groups left out: 1 the function gave no finite number" in shown.stdout
    assert sorted(path.name for path in here.iterdir() if "best" in path.name and "lock" not in path.name) == [
        "best.jsonl"
    ]
    again = plaudit("best", "rewards_here:reward", "groups.jsonl", "-o", "best.jsonl")
    assert again.exit_code == 2
    assert "add --overwrite" in again.stderr


def test_best_begins_anew_where_another_model_was_interrupted_and_tells_of_missing_rewards(here):
    (here / "rewards_here.py").write_text(
        "def stops(prompt, responses):\n    if len(responses) == 2:\n        raise KeyboardInterrupt\n"
        "    return [0, 0, 0]\n"
        "def reward(prompt, responses):\n    return [None if each == 'no' else len(each) for each in responses]\n"
    )
    plaudit("best", "rewards_here:stops", "groups.jsonl", "-o", "best.jsonl")
    assert (here / "best.jsonl.rewards.partial").exists()
    refused = plaudit("best", "rewards_here:reward", "groups.jsonl", "-o", "best.jsonl")
    assert "was begun by another run" in refused.stderr
    shown = plaudit("best", "rewards_here:reward", "groups.jsonl", "-o", "best.jsonl", "--overwrite")
    assert shown.exit_code == 0, shown.output
    assert "the best response of 3 of 3 groups" in shown.stdout
    assert "1 responses of these groups have no reward and took no part" in shown.stdout


def test_a_single_response_has_no_lead_and_missing_rewards_are_counted():
    group = Group(conversation("a"), ("x", "y", "z"), id="0")
    row = best_row(group, GroupRewards("0", (None, -2.0, None), reason="too long"))
    assert row is not None
    assert (row["index"], row["reward"], row["margin"], row["missing"]) == (1, -2.0, None, 2)
    assert best_row(group, GroupRewards("0", (None, None, None), reason="too long")) is None


def test_rows_are_read_from_standard_input_and_written_to_standard_output(here):
    shown = plaudit("score", "rewards_here:reward", "-", "-o", "-", stdin=text())
    assert shown.exit_code == 0, shown.output
    lines = [json.loads(line) for line in shown.stdout.splitlines()]
    assert [line["rewards"] for line in lines] == [[5, 6, 2], [4, 4, 1], [None, None]]
    assert "3 groups, 2 scored" in shown.stderr
    best = plaudit("best", "rewards_here:reward", "-", "-o", "-", stdin=text())
    assert [json.loads(line)["response"] for line in best.stdout.splitlines()] == ["longer", "same"]
    rows = '{"prompt": "a", "chosen": "longer", "rejected": "no"}\n'
    measured = plaudit("evaluate", "rewards_here:reward", "-", "-o", "out", stdin=rows)
    assert measured.exit_code == 0, measured.output
    assert (here / "out" / "stdin" / "result.json").is_file()


def test_an_empty_standard_input_is_an_error(here):
    shown = plaudit("score", "rewards_here:reward", "-", "-o", "-", stdin="")
    assert shown.exit_code == 2
    assert "empty" in shown.stderr


def test_answers_on_the_command_line_get_their_rewards(here):
    shown = plaudit("score", "rewards_here:reward", "What?", "yes", "none", "maybe")
    assert shown.exit_code == 0, shown.output
    assert shown.stdout == "+3.0000\tyes\nnone\tnone\n+5.0000\tmaybe\n"
    assert "no finite number" in shown.stderr
    assert "say where the rewards go" in plaudit("score", "rewards_here:reward", "groups.jsonl").stderr
    both = plaudit("score", "rewards_here:reward", "What?", "yes", "-o", "x.jsonl")
    assert "the rewards of answers are printed" in both.stderr


@pytest.mark.slow
def test_a_closed_pipe_ends_a_verb_quietly(here):
    rows = [{"prompt": f"{k}", "responses": ["a" * 1000, "b"]} for k in range(5000)]
    (here / "many.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = f"{sys.executable} -m plaudit best rewards_here:reward many.jsonl -o - | head -n 1"
    shown = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=120)
    assert json.loads(shown.stdout)["reward"] == 1000.0
    assert shown.stderr == ""


def test_a_warning_is_said_once(capsys, monkeypatch):
    logger = logging.getLogger("plaudit")
    monkeypatch.setattr(logger, "handlers", [])
    warn_once()
    for _ in range(3):
        logging.getLogger("plaudit.models.create").warning("%s has no chat template", "base")
    logging.getLogger("plaudit.models.create").warning("%s has no chat template", "other")
    assert capsys.readouterr().err == "base has no chat template\nother has no chat template\n"


def test_every_verb_has_examples():
    verbs = {each.callback.__name__ for each in app.registered_commands if not each.hidden}
    assert verbs | {name for name in EXAMPLES if name.startswith("data ")} == {*EXAMPLES}
    assert {each.epilog is None for each in data_app.registered_commands} == {False}


def test_the_shell_completes_verbs():
    environment = {"_PLAUDIT_COMPLETE": "complete_bash", "COMP_WORDS": "plaudit eva", "COMP_CWORD": "1"}
    shown = CliRunner().invoke(app, [], prog_name="plaudit", env=environment)
    assert shown.output.split() == ["evaluate"]
    assert "--install-completion" in plaudit("--help").output
