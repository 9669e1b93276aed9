"""How the command line speaks: help, version, one line for an error, a sentence for Ctrl-C."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from plaudit.cli.console import interrupt_keeps, visible
from plaudit.cli.main import _ExplainingGroup, app
from plaudit.errors import DataError


def run(*arguments: str, env: dict[str, str] | None = None):
    return CliRunner().invoke(app, list(arguments), env=env)


@pytest.fixture
def failing_app():
    """An app of the same class as plaudit's whose verbs fail in each way."""
    made = typer.Typer(cls=_ExplainingGroup)

    @made.callback()
    def root(debug: bool = False) -> None:
        pass

    @made.command()
    def wrong() -> None:
        raise DataError("a.jsonl:3: prompt is missing")

    @made.command()
    def stopped() -> None:
        raise KeyboardInterrupt

    @made.command()
    def kept() -> None:
        with interrupt_keeps("step 20 is in runs/a"):
            raise KeyboardInterrupt

    @made.command()
    def broken() -> None:
        raise ZeroDivisionError("a bug")

    return made


@pytest.mark.parametrize(
    "verb",
    [
        [],
        ["train"],
        ["ssrm"],
        ["score"],
        ["evaluate"],
        ["report"],
        ["doctor"],
        ["quickstart"],
        ["version"],
        ["data"],
        ["data", "show"],
        ["recipes"],
        ["recipes", "list"],
        ["recipes", "copy"],
    ],
)
def test_every_verb_has_help(verb):
    shown = run(*verb, "--help")
    assert shown.exit_code == 0
    assert "Usage: plaudit" in shown.output


def test_the_version_is_shown_in_both_ways():
    assert run("--version").output == run("version").output
    assert run("version").output.startswith("plaudit 0.")


def test_python_dash_m_is_the_command_line():
    shown = subprocess.run([sys.executable, "-m", "plaudit", "version"], capture_output=True, text=True, timeout=60)
    assert shown.stdout.startswith("plaudit 0.")


def test_an_error_of_plaudit_is_one_line_on_stderr_with_exit_code_two(failing_app):
    shown = CliRunner().invoke(failing_app, ["wrong"])
    assert shown.exit_code == 2
    assert shown.stderr == "error: a.jsonl:3: prompt is missing\n"
    assert shown.stdout == ""


@pytest.mark.parametrize(("arguments", "env"), [(["--debug", "wrong"], {}), (["wrong"], {"PLAUDIT_DEBUG": "1"})])
def test_debug_lets_the_traceback_through(failing_app, arguments, env):
    assert isinstance(CliRunner().invoke(failing_app, arguments, env=env).exception, DataError)


def test_a_bug_is_never_hidden_behind_an_error_line(failing_app):
    assert isinstance(CliRunner().invoke(failing_app, ["broken"]).exception, ZeroDivisionError)


def test_ctrl_c_ends_with_130_and_says_what_was_kept(failing_app):
    shown = CliRunner().invoke(failing_app, ["kept"])
    assert shown.exit_code == 130
    assert "interrupted: step 20 is in runs/a" in shown.stderr
    shown = CliRunner().invoke(failing_app, ["stopped"])
    assert shown.exit_code == 130
    assert "interrupted" in shown.stderr


def test_a_misspelt_verb_is_answered_with_the_nearest_one():
    shown = run("trian")
    assert shown.exit_code == 2
    assert "Did you mean 'train'?" in shown.output


def test_help_answers_within_its_promise():
    command = [sys.executable, "-m", "plaudit", "--help"]
    fastest = float("inf")
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, capture_output=True, check=True, timeout=60)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)  # what others take of the machine does not count
        fastest = min(fastest, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert fastest < 0.4


HOSTILE = "a\x1b]0;owned\x07\x1b[31m\u202eb\x9b2J\r\u2066c [bold]d"


def test_control_characters_of_data_are_shown_as_escapes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [{"prompt": f"Q{n}", "chosen": "a", "rejected": "b", "source": HOSTILE} for n in range(3)]
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for arguments in (["data", "show", "rows.jsonl"], ["data", "show", f"missing-{HOSTILE}.jsonl"]):
        shown = run(*arguments)
        assert not {"\x1b", "\x07", "\x9b", "\r", "\u202e", "\u2066"} & set(shown.output)
        assert r"a\x1b]0;owned\x07\x1b[31m\u202eb\x9b2J\r\u2066c [bold]d" in shown.output.replace("\n", "")


def test_what_cannot_be_seen_is_escaped_and_the_rest_stays():
    assert visible("é\tß\n👩‍💻 مرحبا") == "é\tß\n👩‍💻 مرحبا"
    assert visible("\ud800\x00\x7f") == r"\ud800\x00\x7f"
