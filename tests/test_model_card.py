"""The model card of a run, the way of a model to the hub, and the tools that load it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import huggingface_hub
import pytest
import torch
from typer.testing import CliRunner

import plaudit
from plaudit.cli.main import app
from plaudit.config import load_config
from plaudit.models.checkpoint.files import save_reward_model
from plaudit.training.config import TrainConfig

ROWS = [{"prompt": f"Is {k} red?", "chosen": f"yes, {k} is good", "rejected": f"no, {k} is bad"} for k in range(40)]
QUICK = ("step.max_steps=2", "step.trackers=[]")


class FakeHub:
    """The calls that a client of the hub got, and the names of the files that it was given."""

    def __init__(self):
        self.repos, self.uploads, self.fails = [], [], False

    def create_repo(self, repo, **options):
        self.repos.append((repo, options))
        return f"https://hub.example/{repo}"

    def create_branch(self, repo, **options):
        self.repos.append((repo, options))

    def upload_folder(self, *, folder_path, commit_message, **options):
        if self.fails:
            raise OSError("the hub is asleep")
        files = sorted(path.name for path in Path(folder_path).iterdir())
        self.uploads.append((commit_message, files, options))


@pytest.fixture
def hub(monkeypatch):
    found = FakeHub()
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: found)
    return found


@pytest.fixture
def here(tmp_path, monkeypatch, make_decoder):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    save_reward_model(make_decoder(), tmp_path / "base")
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return tmp_path


def test_the_card_says_what_the_records_say(here):
    run = plaudit.train("pairs.jsonl", "base", run_dir="run", overrides=QUICK)
    card = (run / "model" / "README.md").read_text()
    accuracy = plaudit.Result.model_validate_json((run / "eval/held_out/result.json").read_text()).preference.metrics
    found = accuracy["accuracy"]
    (row,) = [line for line in card.splitlines() if line.startswith("| preference | Accuracy |")]
    value, interval, n, beside = (cell.strip() for cell in row.strip("|").split("|")[2:])
    assert (value, n) == (f"{100 * found.value:.1f}%", str(found.n))
    assert f"{100 * found.low:.1f}" in interval
    assert beside.startswith("longer response ")
    assert "| train | pairs.jsonl | 36 | 36 | not recorded | nothing |" in card
    assert "At most 128 tokens (longer ones: `truncate_prompt`), in float32" in card
    assert plaudit.load(run).recipe.chat_template in card
    assert str(here) not in card
    assert yaml_of(card)["tags"] == ["reward-model", "rlhf", "plaudit"]


def yaml_of(card: str):
    import yaml

    return yaml.safe_load(card.split("---\n")[1])


def test_a_set_of_the_hub_stands_with_its_licence(here):
    run = plaudit.train("pairs.jsonl", "base", run_dir="run", overrides=QUICK)
    record = json.loads((run / "run.json").read_text())
    record["data"]["train"]["read"] |= {"path": "Anthropic/hh-rlhf, more.jsonl", "licence": "mit"}
    (run / "run.json").write_text(json.dumps(record))
    card = plaudit.model_card.model_card(run)
    assert "| train | Anthropic/hh-rlhf, more.jsonl | 36 | 36 | mit |" in card
    assert yaml_of(card)["datasets"] == ["Anthropic/hh-rlhf"]


@pytest.mark.parametrize("block", ["import plaudit", "from transformers import pipeline"])
def test_the_code_of_the_card_gives_the_reward_of_plaudit(here, block, capsys):
    run = plaudit.train("pairs.jsonl", "base", run_dir="run", overrides=QUICK)
    card = (run / "model" / "README.md").read_text()
    (code,) = [each for each in re.findall(r"```python\n(.*?)```", card, re.DOTALL) if each.startswith(block)]
    capsys.readouterr()
    exec(compile(code.replace('"MODEL"', repr(str(run / "model"))), "card", "exec"), {})
    printed = float(re.search(r"-?\d+\.\d+", capsys.readouterr().out)[0])
    assert printed == pytest.approx(plaudit.load(run).score("What is 2 + 2?", ["4"])[0], abs=1e-5)


def test_a_run_is_pushed_with_its_card(here, hub):
    run = plaudit.train("pairs.jsonl", "base", run_dir="run", overrides=QUICK)
    shown = CliRunner().invoke(app, ["push", str(run), "acme/first", "--private", "--revision", "v1"])
    assert shown.exit_code == 0, shown.output
    assert shown.stdout == "pushed run: https://hub.example/acme/first\n"
    assert hub.repos[0] == ("acme/first", {"private": True, "repo_type": "model", "exist_ok": True})
    ((message, files, options),) = hub.uploads
    assert {"README.md", "config.json", "model.safetensors", "plaudit.json", "tokenizer.json"} <= set(files)
    assert (options["repo_id"], options["revision"], message) == ("acme/first", "v1", "Model trained with plaudit")


def test_a_config_pushes_every_checkpoint_and_the_final_model(here, hub, capsys):
    overrides = (*QUICK, "push={repo: acme/first}", "step.save_every=1", "step.groups_per_step=8")
    plaudit.train("pairs.jsonl", "base", run_dir="run", overrides=overrides)
    assert [message for message, _, _ in hub.uploads] == ["Step 1", "Step 2", "Model trained with plaudit"]
    assert all("plaudit.json" in files for _, files, _ in hub.uploads)
    assert "optimizer*" in hub.uploads[0][2]["ignore_patterns"]


def test_a_hub_that_fails_costs_no_training(here, hub, caplog):
    hub.fails = True
    overrides = (*QUICK, "push={repo: acme/first}", "step.save_every=1")
    with pytest.raises(plaudit.OutputError, match=r"cannot push run/model to acme/first: the hub is asleep; log in"):
        plaudit.train("pairs.jsonl", "base", run_dir="run", overrides=overrides)
    assert "the hub is asleep; log in with: hf auth login; training goes on" in caplog.text
    assert json.loads((here / "run/run.json").read_text())["status"] == "finished"


def test_a_trial_is_not_pushed_neither_as_a_run_nor_as_a_model(here, hub):
    assert (
        CliRunner().invoke(app, ["train", "pairs.jsonl", "--model", "base", "--tiny", "--run-dir", "run"]).exit_code
        == 0
    )
    for model in ("run", "run/model"):
        shown = CliRunner().invoke(app, ["push", model, "acme/first"])
        assert shown.exit_code == 2
        assert f"{model} is a trial with a tiny random model; train it without --tiny" in shown.stderr
    assert hub.uploads == []


@pytest.mark.parametrize(
    ("model", "repo", "error"),
    [
        ("base", "first", "the repository is 'first'; it must be owner/name"),
        ("gone", "a/b", "gone holds no model to push"),
    ],
)
def test_a_wrong_push_is_one_line(here, hub, model, repo, error):
    shown = CliRunner().invoke(app, ["push", model, repo])
    assert shown.exit_code == 2
    assert error in shown.stderr


def test_a_run_is_a_model_everywhere(here):
    """One resolver: of ``doctor``, of a config's start, of ``load``, of an ensemble's members."""
    run = plaudit.train("pairs.jsonl", "base", run_dir="run", overrides=QUICK)
    assert CliRunner().invoke(app, ["doctor", "run"]).exit_code == 0
    again = plaudit.train("pairs.jsonl", "run", run_dir="again", overrides=QUICK)
    assert load_config(TrainConfig, again / "config.yaml").model.init.path == "run"
    weight = plaudit.load(run).model.core.score.weight
    kept = plaudit.load(again).model.core.score.weight
    assert torch.allclose(weight, kept, atol=0.01)
    shown = CliRunner().invoke(app, ["evaluate", "ensemble:mean:run,again/model", "pairs.jsonl", "-o", "out"])
    assert shown.exit_code == 0, shown.output
