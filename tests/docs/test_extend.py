"""The page "extend" is run as it stands: its files are written, its runs trained, its scripts executed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "how_to" / "extend.md"


def run(folder, *command):
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with every named file of the page, and the groups of the built-in world."""
    path = tmp_path_factory.mktemp("extend")
    blocks = re.findall(r"```(?:python|yaml)\n# (\w+\.\w+)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    for name, text in blocks:
        (path / name).write_text(text, encoding="utf-8")
    run(path, "world.py")
    return path


def trained(folder, name):
    """Train as the page says, and return the logged losses of the run and its result on the held-out groups."""
    command = f"plaudit train {name}.yaml --run-dir runs/{name}"
    assert f"\n{command}\n" in PAGE.read_text(encoding="utf-8")
    run(folder, "-m", "plaudit", *command.split()[1:])
    rows = [json.loads(line) for line in (folder / "runs" / name / "metrics.jsonl").read_text().splitlines()]
    losses = [row["train/rm/loss"] for row in rows if "train/rm/loss" in row]
    return losses, json.loads((folder / "runs" / name / "eval" / "held_out" / "result.json").read_text())


@pytest.mark.slow
def test_a_hinge_loss_is_one_function_and_a_config(folder):
    losses, result = trained(folder, "hinge")
    assert sum(losses[-3:]) / 3 < losses[0]
    assert run(folder, "by_hand.py") == "preferences\n"
    items = json.loads((folder / "runs/hinge/eval/held_out/items.jsonl").read_text().splitlines()[1])
    assert items["reward_scale"] == "order"
    assert result["n"] > 0


@pytest.mark.slow
def test_a_quantile_head_gives_medians_with_their_uncertainty(folder):
    losses, _ = trained(folder, "quantiles")
    assert losses[-1] < losses[0] / 2
    model = json.loads((folder / "runs/quantiles/model/plaudit.json").read_text())
    assert model["custom_head"]["path"] == "quantiles:QuantileHead"
    rewards, uncertainty = run(folder, "score.py").split(") (")
    assert min(float(each) for each in uncertainty.strip("()\n ").split(",")) > 0
    assert len(rewards.split(",")) == len(uncertainty.split(","))


def test_a_declared_format_is_read_by_its_import_path(folder):
    run(folder, "asked.py")
    command = "plaudit data show asked.jsonl --format rows:FORMAT"
    assert f"\n{command}\n" in PAGE.read_text(encoding="utf-8")
    shown = run(folder, "-m", "plaudit", *command.split()[1:])
    assert "  rows     8\n  groups   8\n" in shown


@pytest.mark.slow
def test_a_verb_is_one_file_with_the_error_lines_of_plaudit(folder):
    (folder / "shortest.py").write_text("def shortest(prompt, responses):\n    return [None for _ in responses]\n")
    counted = run(folder, "unscored.py", "unscored", "shortest:shortest", "held_out.jsonl")
    total = counted.split()[2]
    assert counted == f"{total} of {total} responses have no reward\n"
    assert int(total) > 0
    command = [sys.executable, "unscored.py", "unscored", "no_such:function", "held_out.jsonl"]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "HF_HUB_OFFLINE": "1"}
    failed = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert failed.returncode == 2
    assert failed.stderr.startswith("error: no function 'no_such:function'")
