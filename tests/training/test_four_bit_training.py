"""Adapters are trained on weights in four bits, saved apart, and mean the same in a fresh process, under every head."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from typer.testing import CliRunner

from plaudit.cli.main import app
from plaudit.data.reading.read import read_groups
from plaudit.data.reading.write import write_groups
from plaudit.data.schema.group import Step
from plaudit.errors import MissingExtraError
from plaudit.models.heads.language_model import LanguageModelHead
from plaudit.opening import load
from plaudit.scoring.local.engine import RewardScorer
from plaudit.scoring.local.pairwise import PairwiseScorer
from plaudit.training import run as run_module
from plaudit.training.config import TrainConfig
from plaudit.training.run import train
from plaudit.training.trainer import RewardTrainer

pytestmark = pytest.mark.filterwarnings("ignore")
needs_bitsandbytes = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed"
)
HEADS = {
    "scalar": ({}, None),
    "scalar and text": ({"sft": 0.2}, None),
    "attributes": ({"type": "regression", "attributes": ["help", "safe"]}, None),
    "odin": ({"type": "odin"}, None),
    "token": ({"type": "process", "classes": [-1.0, 0.0, 1.0]}, None),
    "token outcome": ({"type": "token_outcome", "language_model": 0.3}, None),
    "words": ({"type": "process"}, {"type": "language_model"}),
    "gain and bias": (
        {"type": "token_outcome", "language_model": 0.5},
        {"type": "language_model", "words": ["+"]},
    ),
    "comparison": ({"type": "process"}, {"type": "comparison"}),
}
HALF = "scalar in bfloat16"
SCRIPT = """
import json, sys, plaudit
groups = plaudit.read_groups("few.jsonl")
said = lambda scorer: [[each.rewards, each.steps, each.attributes] for each in scorer.score_groups(groups)]
print(json.dumps({name: said(plaudit.load(name)) for name in sys.argv[1:]}))
"""


def config(name, *, init=None, lora=None, **changes):
    objective, head = HEADS[name]
    step = {"groups_per_step": 4, "max_steps": 3, "max_tokens": 300, "threads": 1, "log_every": 1, "trackers": []}
    adapters = {"rank": 2, "alpha": 8, "merge": False} | (lora or {})
    start = {"type": "pretrained", "path": "base", "quantization": "4bit"} | (init or {})
    return TrainConfig.model_validate(
        {
            "name": "four-bit",
            "model": {"init": start, "head": head, "max_length": 256, "lora": adapters},
            "data": {"train": [{"path": "groups.jsonl"}], "held_out_share": 0},
            "objective": objective,
            "optim": {"lr": 3e-2, "schedule": "constant", "warmup": 0},
            "step": step | changes,
        }
    )


# --------------------------------------------------------------------------------------- refusals


def fields(**model):
    start = {"type": "pretrained", "path": "base", "quantization": "4bit"}
    return {
        "name": "x",
        "model": {"init": start, "lora": {"merge": False}} | model,
        "data": {"train": [{"path": "groups.jsonl"}]},
    }


def test_quantised_weights_without_adapters_are_refused():
    with pytest.raises(ValidationError, match="weights in 4 bit cannot be trained; add lora"):
        TrainConfig.model_validate(fields(lora=None))


def test_adapters_are_not_merged_into_quantised_weights():
    with pytest.raises(ValidationError, match=r"every reward changes; set lora\.merge to false"):
        TrainConfig.model_validate(fields(lora={}))


def test_a_model_made_from_scratch_has_no_weights_to_quantise():
    with pytest.raises(ValidationError, match=r"quantization"):
        TrainConfig.model_validate(fields(init={"type": "scratch", "quantization": "4bit"}))


@pytest.mark.parametrize("sharding", ["fsdp", "deepspeed"])
def test_quantised_weights_are_not_sharded(sharding):
    with pytest.raises(ValidationError, match=f"trainer_kwargs has {sharding}, but weights in 4 bit are not sharded"):
        TrainConfig.model_validate(fields() | {"step": {"trainer_kwargs": {sharding: "full_shard"}}})


def test_a_run_without_bitsandbytes_is_refused_before_anything_is_written(folder, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'plaudit\[quantized\]'"):
        train(config("scalar"), run_dir=tmp_path / "run")
    assert not (tmp_path / "run" / "config.yaml").exists()


# --------------------------------------------------------------------------------------- training


@pytest.fixture(scope="module")
def folder(tmp_path_factory, make_labelled_groups, make_decoder):
    """The working directory of all runs of this file: groups in plain steps, and a causal language model."""
    path = tmp_path_factory.mktemp("four_bit")

    def known(step):
        return Step(step.end, 1.0 if step.label is None else step.label)

    groups = [
        dataclasses.replace(group, steps=tuple(tuple(map(known, steps)) for steps in group.steps))
        for group in make_labelled_groups(12, words=(3, 7))
    ]
    write_groups(path / "groups.jsonl", groups)
    write_groups(path / "few.jsonl", groups[:4])
    base = make_decoder(head=LanguageModelHead(classes=(0.0, 1.0), class_words=("-", "+")), max_length=256)
    base.core.save_pretrained(path / "base")
    base.tokenizer.save_pretrained(path / "base")
    with contextlib.chdir(path):
        yield path


def said_by(scorer):
    """Return all that is said of each group, as JSON holds it."""
    return json.loads(json.dumps([[each.rewards, each.steps, each.attributes] for each in scorer.score_groups(few())]))


def few():
    return read_groups("few.jsonl")


def numbers(said):
    """Return all numbers in what was said, in order."""
    if isinstance(said, dict):
        return numbers(list(said.values()))
    if isinstance(said, list):
        return [number for each in said for number in numbers(each)]
    return [] if said is None else [said]


def far(found, wanted):
    assert len(numbers(found)) == len(numbers(wanted)) > 8
    return float(np.abs(np.asarray(numbers(found)) - np.asarray(numbers(wanted))).max())


@pytest.fixture(scope="module")
def trained(folder):
    """Every head trained on four bits, and what it said just before it was saved."""
    said = {}
    original = run_module._save_final

    def listen(trainer, model, run_dir, **options):
        scorer = PairwiseScorer if model.recipe.form == "comparison" else RewardScorer
        said[run_dir.name] = said_by(scorer(model))
        original(trainer, model, run_dir, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "_save_final", listen)
        for name in HEADS:
            train(config(name), run_dir=folder / name)
        train(config("scalar", init={"dtype": "bfloat16"}), run_dir=folder / HALF)
    return said


@pytest.fixture(scope="module")
def reloaded(folder, trained):
    """What a fresh process reads from every saved model."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT, *HEADS, HALF],
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@needs_bitsandbytes
@pytest.mark.parametrize("name", HEADS)
def test_a_fresh_process_reads_the_rewards_of_training(trained, reloaded, name):
    assert np.ptp(numbers(trained[name])) > 1e-3
    assert far(reloaded[name], trained[name]) <= 2e-6


@needs_bitsandbytes
@pytest.mark.parametrize("name", HEADS)
def test_the_run_leaves_adapters_and_says_what_was_quantised(folder, trained, name):
    model, record = folder / name / "model", json.loads((folder / name / "run.json").read_text())
    assert json.loads((model / "plaudit.json").read_text())["quantization"] == "4bit"
    assert (model / "adapter_model.safetensors").exists()
    assert not (model / "model.safetensors").exists()
    assert record["model"]["layout"] == "shared_prefix"
    assert record["model"]["quantization"].startswith("14 linear layers, ")
    assert record["model"]["trainable"] < record["model"]["parameters"] / 2


@needs_bitsandbytes
@pytest.mark.parametrize("name", HEADS)
def test_the_same_adapters_on_weights_in_full_say_nearly_the_same(folder, trained, name):
    whole = load(folder / name, quantization="none")
    found = said_by(whole)
    assert far(found, trained[name]) > 1e-6
    assert np.corrcoef(numbers(found), numbers(trained[name]))[0, 1] > 0.9
    assert whole.info.recipe_hash != load(folder / name).info.recipe_hash


def losses_of(run):
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [row["train/rm/loss"] for row in rows if "train/rm/loss" in row]


@needs_bitsandbytes
def test_adapters_on_four_bits_learn(folder):
    run = train(config("scalar", max_steps=40), run_dir=folder / "learns")
    losses = losses_of(run)
    assert losses[0] > 0.5
    assert np.mean(losses[-5:]) < 0.2


class Killed(BaseException):
    """Stands for the end of the process: nobody catches it."""


@needs_bitsandbytes
def test_a_killed_run_goes_on_digit_for_digit(folder, tmp_path, monkeypatch):
    changes = {"max_steps": 5, "save_every": 2, "gradient_checkpointing": True}
    whole = train(config("gain and bias", **changes), run_dir=tmp_path / "whole")
    original = RewardTrainer.training_step

    def dying(self, *arguments):
        if self.state.global_step == 3:
            raise Killed
        return original(self, *arguments)

    monkeypatch.setattr(RewardTrainer, "training_step", dying)
    with pytest.raises(Killed):
        train(config("gain and bias", **changes), run_dir=tmp_path / "cut")
    monkeypatch.setattr(RewardTrainer, "training_step", original)
    cut = train(config("gain and bias", **changes), run_dir=tmp_path / "cut", resume=True)
    wanted, found = (load_file(run / "model" / "adapter_model.safetensors") for run in (whole, cut))
    assert wanted.keys() == found.keys()
    assert all(torch.equal(found[name], weight) for name, weight in wanted.items())
    assert (cut / "model" / "plaudit.json").read_text() == (whole / "model" / "plaudit.json").read_text()


@needs_bitsandbytes
def test_weights_in_bfloat16_mean_the_same_after_reloading(folder, trained, reloaded):
    recipe = json.loads((folder / HALF / "model" / "plaudit.json").read_text())
    assert (recipe["dtype"], recipe["quantization"]) == ("bfloat16", "4bit")
    assert np.ptp(numbers(trained[HALF])) > 0.1
    assert far(reloaded[HALF], trained[HALF]) <= 1e-5
    assert far(trained[HALF], trained["scalar"]) > 1e-3


@needs_bitsandbytes
def test_autocast_changes_the_first_loss_by_rounding_alone(folder, trained):
    run = train(config("scalar", precision="bfloat16"), run_dir=folder / "autocast")
    wanted, found = losses_of(folder / "scalar")[0], losses_of(run)[0]
    assert 0 < abs(found - wanted) < 2e-2


# --------------------------------------------------------------------------------------- the command line


@needs_bitsandbytes
def test_score_and_evaluate_take_the_quantization_that_is_asked_for(folder, trained):
    full, packed = folder / "full.jsonl", folder / "packed.jsonl"
    for output, choice in ((full, "none"), (packed, "4bit")):
        found = CliRunner().invoke(app, ["score", "scalar", "few.jsonl", "-o", str(output), "--quantization", choice])
        assert found.exit_code == 0, found.output
    rewards = [[json.loads(line)["rewards"] for line in path.read_text().splitlines()] for path in (full, packed)]
    assert far(rewards[1], [each[0] for each in trained["scalar"]]) <= 2e-6
    assert far(rewards[0], rewards[1]) > 1e-4
    for choice in ("none", "4bit"):
        found = CliRunner().invoke(app, ["evaluate", "scalar", "few.jsonl", "--quantization", choice])
        assert found.exit_code == 0, found.output
    results = [
        json.loads((folder / "evaluations" / f"scalar-{choice}" / "few" / "result.json").read_text())
        for choice in ("none", "4bit")
    ]
    assert results[0]["recipe_hash"] != results[1]["recipe_hash"]


def test_the_command_line_says_which_quantizations_there_are(folder):
    found = CliRunner().invoke(app, ["score", "base", "few.jsonl", "-o", "x.jsonl", "--quantization", "8bit"])
    assert found.exit_code == 2
    assert "4bit" in found.output
