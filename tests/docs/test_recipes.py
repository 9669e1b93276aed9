"""Every recipe trains, with a tiny model and tiny data in the place of its own, and leaves a model that loads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from plaudit.cli.main import app
from plaudit.config import load_config
from plaudit.data.mixing.config import MixtureConfig
from plaudit.data.mixing.mixture import build_mixture, mixture_config
from plaudit.data.reading.options import DataFile
from plaudit.data.reading.read import read_groups
from plaudit.opening import load
from plaudit.training.arguments import training_arguments
from plaudit.training.config import PretrainedInit, TrainConfig
from plaudit.training.run import train

from .recipe_rows import ultrafeedback, write_rows
from .tiny_models import template_of

pytestmark = pytest.mark.filterwarnings("ignore:`gradient_checkpointing_enable`:FutureWarning")

ROOT = Path(__file__).resolve().parents[2]
SEMI_SUPERVISED = ROOT / "recipes" / "ssrm_world" / "config.yaml"
CONFIGS = sorted(set(ROOT.glob("recipes/*/*.yaml")) - {SEMI_SUPERVISED})
RECIPES = sorted({path.parent for path in (*CONFIGS, SEMI_SUPERVISED)})
PARTS = [
    "## The source's configuration and this one",
    "## Where it differs, and why",
    "## The source's figures",
    "## Hardware and cost",
    "## Not verified",
]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT / "recipes").with_suffix("")).removesuffix("/config")


def is_published(config: TrainConfig) -> bool:
    """Whether the recipe starts from a model of the hub, and so was not run here."""
    init = config.model.init
    return isinstance(init, PretrainedInit) and not init.path.startswith("package:")


PUBLISHED = [path for path in CONFIGS if is_published(load_config(TrainConfig, path))]


def data_files(config: TrainConfig) -> list[tuple[str, DataFile]]:
    """Every data file of a config, with its key."""
    data, mixture = config.data, config.data.mixture
    found = [(f"data.train.{i}", file) for i, file in enumerate(data.train)]
    found += [(f"data.held_out.{i}", file) for i, file in enumerate(data.held_out)]
    for i, part in enumerate(mixture.parts if isinstance(mixture, MixtureConfig) else ()):
        found += [(f"data.mixture.parts.{i}.files.{j}", file) for j, file in enumerate(part.files)]
    return found


def stand_ins(config: TrainConfig, folder: Path, groups, tiny_models: dict[str, str]) -> list[str]:
    """The changes that put tiny data and a tiny model in the place of those of ``config``."""
    changes = []
    for key, data in data_files(config):
        path = folder / f"{key}.jsonl"
        write_rows(path, data, config.objective, groups)
        changes += [f"{key}.path={path}"]
    init = config.model.init
    if is_published(config):
        assert isinstance(init, PretrainedInit)
        changes += [f"model.init.path={tiny_models[template_of(init.path)]}"]
    else:
        changes += ["model.init.type=scratch", "model.init.hidden_size=32", "model.init.num_layers=1"]
        changes += ["model.init.vocabulary=320", "model.init.num_heads=2"]
    changes += ["model.max_length=512", "step.groups_per_step=4", "step.max_steps=2", "data.held_out_share=0.25"]
    return [*changes, "step.trackers=[]", "step.threads=null", "step.trainer_kwargs={}"]


@pytest.mark.parametrize("path", CONFIGS, ids=name_of)
def test_a_recipe_trains_and_its_model_scores(path, tmp_path, monkeypatch, make_groups, tiny_models):
    monkeypatch.setenv("PLAUDIT_DATA", str(tmp_path))
    changes = stand_ins(load_config(TrainConfig, path), tmp_path, make_groups(16, seed=0), tiny_models)
    run = train(load_config(TrainConfig, path, changes), run_dir=tmp_path / "run")
    record = json.loads((run / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["data"]["train"]["without_labels"] == 0
    assert sum(record["data"]["train"]["read"]["dropped"].values()) == 0
    groups = list(read_groups(run / "data" / "held_out.jsonl", format="groups", cache_dir=tmp_path / "cache"))
    scored = [rewards for group in load(run).score_groups(groups) for rewards in group.rewards]
    assert len(scored) == sum(len(group.responses) for group in groups) > 0
    assert None not in scored


@pytest.mark.parametrize("path", PUBLISHED, ids=name_of)
def test_transformers_takes_the_arguments_of_a_published_configuration(path, tmp_path):
    arguments = training_arguments(load_config(TrainConfig, path), tmp_path, steps_per_epoch=100)
    assert arguments.bf16


@pytest.mark.parametrize("path", PUBLISHED, ids=name_of)
def test_a_published_configuration_says_what_is_its_source_and_what_is_not_verified(path):
    page = (path.parent / "README.md").read_text(encoding="utf-8")
    assert [part for part in PARTS if part not in page] == []
    assert not (path.parent / "result.json").exists()


def test_every_recipe_is_listed_with_or_without_a_result():
    shown = CliRunner().invoke(app, ["recipes", "list"])
    assert shown.exit_code == 0, shown.output
    cells = [[cell.strip() for cell in line.split("│")[1:5]] for line in shown.output.splitlines() if "│" in line]
    measured = {row[0]: row[3] for row in cells if row[0]}
    folders = {path.parent for path in ROOT.glob("recipes/**/config.yaml")}
    assert folders >= set(RECIPES)
    assert measured == {
        folder.relative_to(ROOT / "recipes").as_posix(): "yes" if (folder / "result.json").exists() else "no"
        for folder in folders
    }


def test_every_result_of_a_recipe_belongs_to_its_config():
    for folder in sorted({path.parent for path in CONFIGS}):
        result = folder / "result.json"
        if result.exists():
            found = json.loads(result.read_text(encoding="utf-8"))
            assert found["recipe"] == load_config(TrainConfig, folder / "config.yaml").name
            parts = found["data"].values()
            rows = found["data"]["train"]["rows"]
            dropped = sum(found["data"]["train"]["rows_dropped"].values())
            left_out = sum(sum(part["groups_dropped"].values()) for part in parts)
            assert rows == dropped + left_out + sum(part["groups"] for part in parts), "a row is not accounted for"


def test_ultrafeedback_is_ranked_by_the_mean_of_the_ratings_that_are_there(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(next(ultrafeedback())) + "\n")
    changes = [f"data.mixture.parts.0.files.0.path={path}"]
    config = load_config(TrainConfig, ROOT / "recipes/uf_kwise/plackett_luce.yaml", changes).data.mixture
    (group,) = build_mixture(mixture_config(config), cache_dir=tmp_path / "cache").sets["train"]
    assert group.ratings["honesty"] == (None, 2.0, 3.0, 4.0)
    assert group.ratings["mean"] == (1.0, 2.0, 3.0, 4.0)
    assert group.ranks == (4, 3, 2, 1)
