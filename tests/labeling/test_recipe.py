"""The recipe of semi-supervised training runs, through the command line, and its README shows what was measured."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from plaudit.cli.main import app
from plaudit.config import load_config
from plaudit.data.reading.read import read_groups
from plaudit.labeling.config import SemiSupervisedConfig

pytestmark = pytest.mark.filterwarnings("ignore")
ROOT = Path(__file__).resolve().parents[2]
RECIPE = ROOT / "recipes" / "ssrm_world"
SMALL = (
    "train.model.init.hidden_size=16",
    "train.model.init.num_heads=2",
    "train.model.init.num_layers=1",
    "train.step.max_steps=2",
    "train.step.threads=null",
    "rounds=1",
)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory with little data where the recipe looks for it."""
    monkeypatch.chdir(tmp_path)
    write = runpy.run_path(str(RECIPE / "make_data.py"))["write_data"]
    write(tmp_path / "runs/ssrm_world/data", seed=0, labelled=8, unlabelled=8, held_out=6)
    return tmp_path


def ssrm(*arguments):
    return CliRunner().invoke(app, ["ssrm", str(RECIPE / "config.yaml"), *arguments])


def test_the_data_of_the_recipe_share_no_prompt(here):
    keys = []
    for name in ("labelled", "unlabelled", "held_out"):
        groups = list(read_groups(here / f"runs/ssrm_world/data/{name}.jsonl", cache_dir=here / "cache"))
        keys += [group.prompt_key for group in groups]
        assert {len(group.responses) for group in groups} == {2 if name == "held_out" else 4}
    assert len(set(keys)) == len(keys) == 22


@pytest.mark.slow
def test_the_recipe_runs_from_the_command_line_and_says_what_it_found(here):
    shown = ssrm(*SMALL, "threshold=0.5", "--run-dir", "run")
    assert shown.exit_code == 0, shown.output
    record = json.loads(Path("run/ssrm.json").read_text())
    assert (record["status"], len(record["rounds"])) == ("finished", 2)
    pseudo = record["rounds"][1]["pseudo"]
    assert f"{pseudo['kept']} of {pseudo['pairs']}" in shown.output
    assert f"{record['rounds'][1]['accuracy']['value']:.3f}" in shown.output
    assert "the last model is run/round_1" in shown.output
    assert Path("run/report.html").is_file()


def test_a_round_that_keeps_nothing_is_said_and_is_no_error(here):
    shown = ssrm(*SMALL, "threshold=1", "--run-dir", "run")
    assert shown.exit_code == 0, shown.output
    assert "round 1: none of 48 pairs reached a confidence of 1" in shown.stderr
    assert "the last model is run/round_0" in shown.output


def test_a_dry_run_prints_a_config_that_is_read_back(here):
    shown = ssrm("threshold=0.9", "--dry-run")
    Path("again.yaml").write_text(shown.stdout)
    assert load_config(SemiSupervisedConfig, Path("again.yaml")).threshold == 0.9


def test_the_readme_shows_the_table_of_the_result(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.setattr(sys, "argv", ["ssrm_world.py"])
    fill = runpy.run_path(str(ROOT / "benchmarks" / "ssrm_world.py"))["filled"]
    result = json.loads((RECIPE / "result.json").read_text(encoding="utf-8"))
    readme = (RECIPE / "README.md").read_text(encoding="utf-8")
    assert fill(readme, result) == readme, "run: python benchmarks/ssrm_world.py"
    assert f"{result['rounds'][-1]['value']:.3f}" in readme
    assert result["held_out"]["measures"][0]["metrics"]["accuracy"] == result["rounds"][-1]
