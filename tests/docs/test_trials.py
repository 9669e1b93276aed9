"""Every recipe is tried by ``--tiny``, offline, without its data and its model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from plaudit.cli.main import app
from plaudit.config import load_config
from plaudit.training.config import PretrainedInit, TrainConfig

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted(set(ROOT.glob("recipes/*/*.yaml")) - {ROOT / "recipes" / "ssrm_world" / "config.yaml"})
FIRST = ("quickstart", "rlhflow_bt_llama3_8b", "math_prm", "just_eval_attributes")
"""One recipe of each kind of start and of label; the others are slow tests."""


def marked(path: Path):
    return path if path.parent.name in FIRST else pytest.param(path, marks=pytest.mark.slow)


@pytest.mark.parametrize("path", [*map(marked, CONFIGS)], ids=lambda path: path.parent.name)
def test_a_recipe_is_tried_with_neither_its_data_nor_its_model(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("PLAUDIT_DATA", raising=False)
    shown = CliRunner().invoke(app, ["train", str(path), "--tiny", "--run-dir", "run"])
    assert shown.exit_code == 0, (shown.output, shown.exception)
    record = json.loads((tmp_path / "run/run.json").read_text())
    assert record["status"] == "finished"
    assert record["data"]["train"]["without_labels"] == 0
    init = load_config(TrainConfig, path).model.init
    assert record["model"]["tiny"] == (init.path if isinstance(init, PretrainedInit) else "the model from scratch")
    assert "groups of the built-in world stand in for the data" in shown.stderr
