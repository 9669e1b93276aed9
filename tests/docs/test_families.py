"""The pages about families: five parts, YAML that is a config, Python that runs, names that are logged, tables."""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from transformers import LlamaConfig, LlamaForCausalLM

from plaudit.config import load_config
from plaudit.labeling.config import SemiSupervisedConfig
from plaudit.labeling.pseudo_label import PseudoLabels
from plaudit.labeling.semi_supervised import Round
from plaudit.models.checkpoint.files import save_reward_model
from plaudit.models.create import build_decoder
from plaudit.models.heads.head import AttributesHead, ScalarHead
from plaudit.models.heads.language_model import COMPARISON
from plaudit.models.heads.token import TokenHead
from plaudit.objectives.config import (
    BradleyTerry,
    ObjectiveConfig,
    Odin,
    Outcome,
    PlackettLuce,
    Process,
    Regression,
    TokenOutcome,
    TopOne,
)
from plaudit.objectives.objective import BatchLabels, PairLabels, Rewards
from plaudit.scoring.scorer import GroupRewards
from plaudit.training.config import TrainConfig
from plaudit.training.prepare import trained_head

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs" / "families").glob("*.md"))
PARTS = ["What it is", "How to use it", "What it logs, and how to read that", "Where plaudit differs", "Measured"]
BASE: dict[str, Any] = {
    "name": "page",
    "model": {"init": {"type": "scratch"}},
    "data": {"train": [{"path": "rows.jsonl"}]},
}


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path, kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", text_of(page), flags=re.DOTALL)


def python_blocks(page: Path) -> list[tuple[str, str]]:
    """Each block of Python with the text that it prints: that of the block right behind it, or nothing."""
    return re.findall(r"```python\n(.*?)```\n(?:\n```text\n(.*?)```)?", text_of(page), flags=re.DOTALL)


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    whole = copy.deepcopy(base)
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(whole.get(key), dict) and "type" not in value:
            whole[key] = merged(whole[key], value)
        else:
            whole[key] = value
    return whole


def part(page: Path, title: str) -> str:
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", text_of(page), flags=re.DOTALL | re.MULTILINE)
    assert found is not None, title
    return found[1]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_has_the_five_parts_in_order(page):
    assert re.findall(r"^## (.*)$", text_of(page), flags=re.MULTILINE) == PARTS


@pytest.mark.parametrize(
    ("page", "block"),
    [
        pytest.param(page, block, id=f"{page.stem}-{i}")
        for page in PAGES
        for i, block in enumerate(blocks(page, "yaml"))
    ],
)
def test_a_block_of_yaml_is_a_config_whose_objective_trains_its_head(page, block, tmp_path):
    given = yaml.safe_load(block)
    path = tmp_path / "config.yaml"
    if "unlabelled" in given:
        path.write_text(block, encoding="utf-8")
        config = load_config(SemiSupervisedConfig, path).train
    else:
        path.write_text(yaml.safe_dump(merged(BASE, given)), encoding="utf-8")
        config = load_config(TrainConfig, path)
    assert trained_head(config).kind
    assert callable(config.objective)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, tokenizer, tiny_models):
    """A folder with a tiny model for every name that the pages load."""
    folder = tmp_path_factory.mktemp("workspace")
    heads = {
        "attributes/model": AttributesHead(attributes=("helpfulness", "verbosity")),
        "token_outcome/model": TokenHead(),
        "process/model": TokenHead(classes=(0.0, 1.0)),
        "comparison/model": COMPARISON,
        **{f"seed_{seed}/model": ScalarHead() for seed in (1, 2, 3)},
    }
    for seed, (name, head) in enumerate(heads.items()):
        sizes = {"hidden_size": 32, "num_layers": 1, "num_heads": 2, "max_length": 512}
        save_reward_model(
            build_decoder(copy.deepcopy(tokenizer), **sizes, seed=seed, head=head), folder / "runs" / name
        )
    for seed, name in enumerate(("policy", "reference")):
        (folder / "runs" / name).symlink_to(_language_model(tiny_models["llama3"], folder / name, seed=seed))
    return folder


def _language_model(source: str, folder: Path, *, seed: int) -> Path:
    """Write a random model of the same shape and tokenizer as ``source``."""
    from transformers import AutoTokenizer

    torch.manual_seed(seed)
    LlamaForCausalLM(LlamaConfig.from_pretrained(source)).save_pretrained(folder)
    AutoTokenizer.from_pretrained(source).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("page", [page for page in PAGES if python_blocks(page)], ids=lambda page: page.stem)
def test_the_python_of_a_page_prints_what_stands_behind_it(page, workspace, monkeypatch):
    monkeypatch.chdir(workspace)
    namespace: dict[str, Any] = {}
    for block, printed in python_blocks(page):
        shown = io.StringIO()
        with contextlib.redirect_stdout(shown):
            exec(compile(block, str(page), "exec"), namespace)
        assert shown.getvalue() == printed


def test_every_page_has_python_and_no_block_of_another_kind():
    for page in PAGES:
        assert python_blocks(page), page.stem
        kinds = set(re.findall(r"```(\w*)\n", text_of(page))) - {""}
        assert kinds <= {"python", "text", "yaml", "bash"}, page.stem
        assert len(blocks(page, "text")) == sum(bool(printed) for _, printed in python_blocks(page)), page.stem


def two_responses() -> BatchLabels:
    """Labels of one group: the first response is preferred, ranked first, right, and has two steps and two tokens."""
    one = torch.ones(1)
    return BatchLabels(
        pairs=PairLabels(torch.tensor([0]), torch.tensor([1]), margin=one, probability=one, weight=one),
        group=torch.tensor([0, 0]),
        rank=torch.tensor([1, 2]),
        outcome=torch.tensor([1.0, 0.0]),
        ratings=torch.tensor([[1.0], [0.0]]),
        length=torch.tensor([2, 1]),
        step_response=torch.tensor([0, 0]),
        step_label=torch.tensor([1.0, 0.0]),
        step_repeats=torch.tensor([False, False]),
        token_response=torch.tensor([0, 0, 1]),
    )


REWARDS = Rewards(
    response=torch.tensor([1.0, 0.0]),
    attributes=torch.tensor([[0.0, 1.0], [1.0, 0.0]]),
    steps=torch.zeros(2, 2),
    tokens=torch.zeros(3),
    log_likelihood=torch.zeros(3),
    head_weight=torch.eye(2),
)
LOGGED = {
    "bradley_terry": [BradleyTerry(sft=0.1)],
    "kwise": [PlackettLuce(), TopOne()],
    "attributes": [Regression(attributes=("a",))],
    "odin": [Odin()],
    "outcome": [Outcome(), TokenOutcome(language_model=0.1)],
    "process": [Process()],
    "pairwise_preference": [Process()],
}
RECORDED = {
    "gated": set(GroupRewards.__dataclass_fields__),
    "semi_supervised": {*PseudoLabels.model_fields, *Round.model_fields},
    "ensembles": set(GroupRewards.__dataclass_fields__),
    "implicit_rewards": set(GroupRewards.__dataclass_fields__),
}


def named(page: str) -> set[str]:
    """The names in the first column of a page's table of what is logged."""
    lines = part(ROOT / "docs" / "families" / f"{page}.md", PARTS[2]).splitlines()
    cells = [line.split("|")[1] for line in lines if line.startswith("| `")]
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


@pytest.mark.parametrize("page", LOGGED)
def test_the_names_on_a_page_are_those_that_its_objectives_log(page):
    logged = {f"…/{name}" for objective in LOGGED[page] for name in _logged(objective)}
    assert {name for name in named(page) if name.startswith("…/")} == logged
    assert {"train/rm/loss", "eval/rm/loss"} <= named(page)


def _logged(config: ObjectiveConfig) -> set[str]:
    rewards = REWARDS
    if config.type == "regression":
        rewards = REWARDS._replace(attributes=torch.zeros(2, 1))
    return set(config(rewards, two_responses()).logged)


@pytest.mark.parametrize("page", RECORDED)
def test_the_names_on_a_page_without_training_are_fields_of_its_records(page):
    assert named(page) <= RECORDED[page]


def test_every_page_is_checked_for_the_names_on_it():
    assert {page.stem for page in PAGES} == {*LOGGED, *RECORDED}


@pytest.fixture
def build():
    spec = importlib.util.spec_from_file_location("build_figures", ROOT / "docs/build_figures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_measured_part_is_that_of_the_result_files(page, build):
    assert f"<!-- figures:family-{page.stem} -->" in part(page, "Measured")
    assert build.fill(text_of(page)) == text_of(page), "run: python docs/build_figures.py"


def test_a_result_becomes_rows_with_its_baselines_and_others_are_named(build, tmp_path, monkeypatch):
    monkeypatch.setattr(build, "ROOT", tmp_path)
    number = {"value": 0.5, "low": 0.25, "high": 0.75, "n": 7}
    measure = {
        "kind": "rating",
        "attribute": "depth",
        "metrics": {"spearman": number},
        "baselines": {"spearman": {"length": number}},
    }
    result = {"held_out": {"measures": [measure]}}
    for name in ("run", "not_run"):
        folder = tmp_path / "recipes" / name
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text("model: {}\nobjective: {type: regression}\n")
    (tmp_path / "recipes" / "run" / "result.json").write_text(json.dumps(result))
    shown = "0.500 (0.250–0.750)"
    assert build.family_table("attributes").splitlines()[2:] == [
        f"| [run](../../recipes/run) | rating depth: spearman | 7 | {shown} | length {shown} |",
        "",
        "Recipes without a result here: [not_run](../../recipes/not_run).",
    ]
    assert build.family_table("odin") == build.NOT_MEASURED


def test_every_recipe_belongs_to_a_page(build):
    families = {
        build.family_of(yaml.safe_load(path.read_text(encoding="utf-8"))) for path in ROOT.glob("recipes/*/config.yaml")
    }
    assert families <= {page.stem for page in PAGES}
