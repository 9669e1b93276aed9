"""The verbs take a model that compares responses like any other, and say how much the order of two decides."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from plaudit.cli.main import app
from plaudit.data.reading.write import write_groups
from plaudit.models.checkpoint.files import save_reward_model
from plaudit.models.heads.language_model import COMPARISON

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, make_decoder, make_groups):
    path = tmp_path_factory.mktemp("comparing")
    save_reward_model(make_decoder(head=COMPARISON, init_std=0.2, max_length=256), path / "model")
    write_groups(path / "pairs.jsonl", make_groups(5))
    return path


def run(*arguments):
    done = CliRunner().invoke(app, [str(each) for each in arguments])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.slow
def test_score_writes_win_rates(folder):
    said = run("score", folder / "model", folder / "pairs.jsonl", "-o", folder / "rewards.jsonl")
    assert "position bias: the response named first is preferred with probability" in said
    rows = [json.loads(line) for line in (folder / "rewards.jsonl").read_text().splitlines()]
    assert len(rows) == 5
    for row in rows:
        assert sum(row["rewards"]) / len(row["rewards"]) == pytest.approx(0.5)
    two = run("score", folder / "model", folder / "pairs.jsonl", "-o", folder / "two.jsonl", "--workers", 2)
    (one_line, two_line) = ([x for x in each.splitlines() if "position bias" in x] for each in (said, two))
    assert one_line == two_line


def test_evaluate_measures_it(folder):
    said = run("evaluate", folder / "model", folder / "pairs.jsonl", "-o", folder / "results")
    assert "accuracy" in said
    assert "the order decides" in said


def test_doctor_knows_it(folder):
    assert "0 warning, 0 error" in run("doctor", folder / "model")
