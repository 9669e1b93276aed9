"""``plaudit data relabel`` writes the file, says what it found, and ends with one line where it cannot."""

from __future__ import annotations

import json
import sys

import pytest
import typer
from typer.testing import CliRunner

from plaudit.cli.relabel import relabel
from plaudit.data.reading.read import read_groups
from plaudit.data.reading.write import write_groups
from plaudit.data.schema.group import Group, Preference, conversation
from plaudit.errors import ConfigError, OutputError

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")

app = typer.Typer()
app.command()(relabel)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a gold function, the length, and ten groups: 6 agree, 2 are swapped, 1 ties, 1 has no reward."""
    (tmp_path / "lengths.py").write_text(
        "def reward(prompt, responses):\n    return [None if '?' in each else len(each) for each in responses]\n"
        "seen = []\ndef dying(prompt, responses):\n    seen.append(1)\n    if len(seen) == 3:\n"
        "        raise KeyboardInterrupt\n    return reward(prompt, responses)\n"
    )
    sides = [("longer", "short")] * 6 + [("short", "longer")] * 2 + [("equal", "alike"), ("what?", "no")]
    groups = [
        Group(conversation(f"q{n}"), two, (Preference(0, 1, margin=1.0 if n == 0 else None),), ranks=(1, 2), id=f"g{n}")
        for n, two in enumerate(sides)
    ]
    write_groups(tmp_path / "pairs.jsonl", groups)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "lengths", raising=False)
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(app, [str(each) for each in arguments])


def test_it_says_what_became_of_every_pair(folder):
    done = run("lengths:reward", "pairs.jsonl", "-o", "gold.jsonl")
    assert done.exit_code == 0, done.output
    said = done.output.splitlines()
    assert said[0] == "wrote gold.jsonl: 10 groups"
    assert said[1] == "10 pairs: 6 as before, 2 swapped, 1 ties, 1 without a reward"
    # Wilson for 6 of 8: (0.75 + 0.24012) ÷ 1.48024 ± … = 0.409 to 0.929
    assert said[2] == "agreement with the labels of the data: 0.750 (0.409–0.929, n = 8)"
    assert said[3] == "ranks: 4 of 10 groups have another order"
    assert said[4] == "not kept: 1 margins"
    assert said[5] == "groups not scored: 1 the function gave no finite number"
    assert len(said) == 6
    found = list(read_groups("gold.jsonl"))
    assert [each.preferences for each in found] == [(Preference(0, 1),)] * 6 + [(Preference(1, 0),)] * 2 + [()] * 2
    assert json.loads((folder / "gold.record.json").read_text())["counts"]["swapped"] == 2


def test_every_option_reaches_the_rule(folder):
    done = run(
        "lengths:reward", "pairs.jsonl", "-o", "soft.jsonl.gz", "--labels", "soft", "--temperature", "2", "--pairs",
        "all", "--attribute", "length", "--keep-original", "--shard", "0/2", "--format", "groups",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    record = json.loads((folder / "soft.record.json").read_text())
    found = {name: record[name] for name in ("labels", "temperature", "pairs", "attribute", "keep_original")}
    assert found == {
        "labels": "soft",
        "temperature": 2.0,
        "pairs": "all",
        "attribute": "length",
        "keep_original": True,
    }
    assert record["identity"]["shard"] == [0, 2]
    first = read_groups("soft.jsonl.gz")[0]
    assert len(read_groups("soft.jsonl.gz")) == 5
    assert first.ratings == {"original_wins": (1.0, 0.0), "original_rank": (1.0, 2.0), "length": (6.0, 5.0)}
    # σ((6 − 5) ÷ 2)
    assert first.preferences[0].probability == pytest.approx(0.6224593312)


def test_ctrl_c_says_what_was_kept_and_the_same_command_goes_on(folder):
    done = run("lengths:dying", "pairs.jsonl", "-o", "gold.jsonl")
    assert done.exit_code == 130
    assert "the rewards so far are kept beside gold.jsonl; the same command goes on from there" in done.output
    assert len((folder / "gold.jsonl.partial").read_text().splitlines()) == 3
    assert not (folder / "gold.jsonl").exists()
    assert (
        "10 groups, 2 of them scored by an earlier run"
        in run("lengths:dying", "pairs.jsonl", "-o", "gold.jsonl").output
    )


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (("-o", "old.jsonl"), ConfigError, "add --overwrite"),
        (("-o", "pairs.jsonl"), ConfigError, "is the input"),
        (("-o", "gold.csv"), OutputError, "written to .jsonl"),
        (("-o", "gold.jsonl", "--temperature", "2"), ConfigError, "hard labels have none"),
        (("-o", "gold.jsonl", "--shard", "2/2"), ConfigError, "I/N with I from 0"),
    ],
)
def test_what_cannot_be_done_is_an_error_of_plaudit(folder, arguments, error, words):
    (folder / "old.jsonl").write_text("")
    done = run("lengths:reward", "pairs.jsonl", *arguments)
    assert isinstance(done.exception, error)
    assert words in str(done.exception)
    assert not (folder / "gold.jsonl").exists()


def test_the_input_is_never_written_over(folder):
    before = (folder / "pairs.jsonl").read_bytes()
    (folder / "link.jsonl").symlink_to(folder / "pairs.jsonl")
    for output in ("pairs.jsonl", "./pairs.jsonl", "link.jsonl"):
        refused = run("lengths:reward", "pairs.jsonl", "-o", output, "--overwrite")
        assert isinstance(refused.exception, ConfigError)
        assert "is the input; what it holds would be lost" in str(refused.exception)
    assert (folder / "pairs.jsonl").read_bytes() == before


def test_columns_are_named_as_for_the_other_verbs(folder):
    (folder / "own.csv").write_text("question,good,bad\nWhich?,longer one,short\n")
    done = run("lengths:reward", "own.csv", "--columns", "prompt=question,chosen=good,rejected=bad", "-o", "gold.jsonl")
    assert done.exit_code == 0, done.output
    (group,) = read_groups("gold.jsonl")
    assert (group.responses, group.ratings["gold"]) == (("longer one", "short"), (10.0, 5.0))
