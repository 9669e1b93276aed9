"""The code of the README runs, its tables are those of the result files, and every recipe trains on a tiny model."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import pytest

from plaudit.config import load_config
from plaudit.data.write import write_groups
from plaudit.models.checkpoint import save_reward_model
from plaudit.models.scratch import build_decoder
from plaudit.training.config import TrainConfig
from plaudit.training.run import train

ROOT = Path(__file__).resolve().parents[2]
RECIPES = sorted(path.parent.name for path in ROOT.glob("recipes/*/config.yaml"))


def builder():
    spec = importlib.util.spec_from_file_location("build_figures", ROOT / "docs/build_figures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_of_the_readme_are_those_of_the_result_files():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert builder().fill(readme) == readme, "run: python docs/build_figures.py"


def test_a_changed_figure_would_be_seen():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    marker = "<!-- figures:accuracy -->\n"
    assert marker in readme
    changed = readme.replace(marker, marker + "| invented | 1 | 0.999 | 0.5 |\n")
    assert builder().fill(changed) == readme


def test_the_python_of_the_readme_scores_two_responses(tmp_path, monkeypatch, tokenizer, capsys):
    model = build_decoder(tokenizer, hidden_size=32, num_layers=1, num_heads=2, max_length=512, seed=0)
    save_reward_model(model, tmp_path / "runs/quickstart/run/model")
    monkeypatch.chdir(tmp_path)
    block = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    exec(compile(block[1], "README.md", "exec"), {})
    assert re.fullmatch(
        r"good plan [+-]\d+\.\d\d, bad plan [+-]\d+\.\d\d: the (good|bad) one wins\n", capsys.readouterr().out
    )


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_trains_with_a_tiny_model_in_place_of_its_own(name, tmp_path, monkeypatch, make_groups):
    monkeypatch.setenv("PLAUDIT_DATA", str(tmp_path))
    path = ROOT / "recipes" / name / "config.yaml"
    config = load_config(TrainConfig, path)
    write_groups(tmp_path / "tiny.jsonl", make_groups(12, seed=0))
    changes = [f"data.train.{i}.path={tmp_path / 'tiny.jsonl'}" for i in range(len(config.data.train))]
    changes += [f"data.train.{i}.source=part{i}" for i in range(len(config.data.train))]
    changes += [f"data.held_out.{i}.path={tmp_path / 'tiny.jsonl'}" for i in range(len(config.data.held_out))]
    changes += ["model.init.type=scratch", "model.init.hidden_size=32", "model.init.num_layers=1"]
    changes += ["model.init.vocabulary=320", "model.init.num_heads=2", "step.groups_per_step=4", "step.max_steps=2"]
    changes += ["step.trackers=[]", "step.threads=null"]
    run = train(load_config(TrainConfig, path, changes), run_dir=tmp_path / "run")
    assert json.loads((run / "run.json").read_text())["status"] == "finished"
    assert (run / "model" / "plaudit.json").exists()


def test_every_result_of_a_recipe_belongs_to_its_config():
    for name in RECIPES:
        result = ROOT / "recipes" / name / "result.json"
        if result.exists():
            found = json.loads(result.read_text(encoding="utf-8"))
            assert found["recipe"] == load_config(TrainConfig, result.parent / "config.yaml").name
            parts = found["data"].values()
            rows = found["data"]["train"]["rows"]
            dropped = sum(found["data"]["train"]["rows_dropped"].values())
            left_out = sum(sum(part["groups_dropped"].values()) for part in parts)
            assert rows == dropped + left_out + sum(part["groups"] for part in parts), "a row is not accounted for"
