"""Every family is trained, saved, and means the same in a fresh process: to plaudit, and to plain transformers."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig

from plaudit.data.reading.read import read_groups
from plaudit.data.reading.write import write_groups
from plaudit.data.schema.group import Step
from plaudit.errors import CheckpointError, ConfigError, ModelError
from plaudit.models.checkpoint.doctor import diagnose
from plaudit.models.checkpoint.files import load_reward_model
from plaudit.models.heads.language_model import LanguageModelHead
from plaudit.opening import load
from plaudit.scoring.local.engine import RewardScorer
from plaudit.training import run as run_module
from plaudit.training.config import TrainConfig
from plaudit.training.run import train
from plaudit.training.trainer import RewardTrainer

pytestmark = pytest.mark.filterwarnings("ignore")
SEQUENCE, TOKEN, LANGUAGE = (
    f"AutoModelFor{name}" for name in ("SequenceClassification", "TokenClassification", "CausalLM")
)
THREE = [-1.0, 0.0, 1.0]
FAMILIES = {
    "bradley_terry": ({}, None, SEQUENCE, "response"),
    "grm": ({"sft": 0.2}, None, SEQUENCE, "response"),
    "plackett_luce": ({"type": "plackett_luce"}, None, SEQUENCE, "response"),
    "attributes": ({"type": "regression", "attributes": ["help", "safe"]}, None, SEQUENCE, "attributes"),
    "odin": ({"type": "odin"}, None, SEQUENCE, "response"),
    "outcome": ({"type": "outcome"}, None, SEQUENCE, "response"),
    "token_outcome": ({"type": "token_outcome", "language_model": 0.3}, None, TOKEN, "end"),
    "process": ({"type": "process"}, {"type": "token", "aggregation": "min"}, TOKEN, "steps"),
    "process of 3": ({"type": "process", "classes": THREE}, None, TOKEN, "steps"),
    "words": ({"type": "process"}, {"type": "language_model"}, LANGUAGE, "steps"),
    "turns": (
        {"type": "process", "over": "vocabulary"},
        {"type": "language_model", "form": "turns", "shown_words": "labels", "aggregation": "mean"},
        LANGUAGE,
        "turns",
    ),
    "one turn": ({"type": "process"}, {"type": "language_model", "form": "one_turn"}, LANGUAGE, "one_turn"),
    "joint": (
        {"type": "token_outcome", "language_model": 0.5},
        {"type": "language_model", "words": ["+"]},
        LANGUAGE,
        "end",
    ),
}
ADAPTED = ("attributes", "odin", "process of 3", "turns", "joint", "token_outcome")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, make_labelled_groups, make_decoder):
    """The working directory of all runs of this file: groups in plain steps, and a causal language model."""
    path = tmp_path_factory.mktemp("families")

    def known(step):
        return Step(step.end, 1.0 if step.label is None else step.label)

    groups = [
        dataclasses.replace(group, steps=tuple(tuple(map(known, steps)) for steps in group.steps))
        for group in make_labelled_groups(12, words=(3, 7))
    ]
    write_groups(path / "groups.jsonl", groups)
    write_groups(path / "few.jsonl", groups[:3])
    base = make_decoder(head=LanguageModelHead(classes=(0.0, 1.0), class_words=("-", "+")), max_length=256)
    base.core.save_pretrained(path / "base")
    base.tokenizer.save_pretrained(path / "base")
    with contextlib.chdir(path):
        yield path


def config(name, **changes):
    objective, head, _, _ = FAMILIES[name]
    scratch = {"type": "scratch", "hidden_size": 16, "num_layers": 1, "num_heads": 2, "vocabulary": 400}
    step = {"groups_per_step": 4, "max_steps": 3, "max_tokens": 300, "threads": 1, "log_every": 1, "trackers": []}
    return TrainConfig.model_validate(
        {
            "name": "family",
            "model": {"init": scratch, "head": head, "max_length": 256} | changes.pop("model", {}),
            "data": {"train": [{"path": "groups.jsonl"}], "held_out_share": 0},
            "objective": objective,
            "optim": {"lr": 3e-2, "schedule": "constant", "warmup": 0},
            "step": step | changes.pop("step", {}),
        }
    )


def said_by(scorer, read):
    """Return per response its reward, those of its attributes, or those of its steps."""
    found = []
    for each in scorer.score_groups(read_groups("few.jsonl")):
        if read == "attributes":
            found.extend(zip(*each.attributes.values(), strict=True))
        else:
            found.extend(each.rewards if read in ("end", "response") else each.steps)
    return found


def far(found, wanted):
    assert len(found) == len(wanted) > 5
    largest = max(float(np.abs(np.asarray(each)).max()) for each in wanted)
    gaps = (float(np.abs(np.asarray(a) - np.asarray(b)).max()) for a, b in zip(found, wanted, strict=True))
    return max(gaps) / max(1.0, largest)


def train_and_listen(names, folder, suffix="", **changes):
    """Train families; return what each model in memory said just before it was saved."""
    said = {}
    original = run_module._save_final

    def listen(trainer, model, run_dir, **options):
        name = run_dir.name.removesuffix(suffix)
        said[name] = said_by(RewardScorer(model), FAMILIES[name][3])
        original(trainer, model, run_dir, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "_save_final", listen)
        for name in names:
            train(config(name, **changes), run_dir=folder / f"{name}{suffix}")
    return said


@pytest.fixture(scope="module")
def trained(folder):
    """Every family trained, and what it said at the end of its training."""
    return train_and_listen(FAMILIES, folder)


@pytest.fixture(scope="module")
def adapted(folder):
    """Families whose adapters were trained and saved apart, and what they said at the end."""
    apart = {"init": {"type": "pretrained", "path": "base"}, "lora": {"rank": 2, "alpha": 8, "merge": False}}
    return train_and_listen(ADAPTED, folder, " adapted", model=apart)


@pytest.fixture(scope="module")
def reloaded(folder, trained):
    """What a fresh process reads from every saved family."""
    families = {
        name: {"folder": str(folder / name / "model"), "class": kind, "read": read}
        for name, (_, _, kind, read) in FAMILIES.items()
    }
    (folder / "families.json").write_text(json.dumps(families))
    script = Path(__file__).with_name("reload_families.py")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), "few.jsonl", "families.json"],
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_a_fresh_process_reads_the_rewards_of_training_by_plaudit_and_by_transformers(trained, reloaded, name):
    assert np.ptp(np.concatenate([np.atleast_1d(each) for each in trained[name]])) > 1e-3
    assert far(reloaded[name]["plaudit"], trained[name]) <= 1e-6
    assert far(reloaded[name]["transformers"], trained[name]) <= 1e-6


@pytest.mark.parametrize("name", FAMILIES)
def test_the_saved_class_is_the_one_that_transformers_loads(folder, trained, name):
    _, _, kind, read = FAMILIES[name]
    saved = AutoConfig.from_pretrained(folder / name / "model")
    assert saved.architectures == [f"Llama{kind.removeprefix('AutoModel')}"]
    if kind != LANGUAGE:
        outputs = {"attributes": 2, "process": 2, "process of 3": 3}.get(name, 1)
        assert saved.num_labels == outputs
    if read == "attributes":
        assert list(saved.id2label.values()) == ["help", "safe"]


@pytest.mark.parametrize("name", FAMILIES)
def test_the_doctor_finds_nothing_wrong(folder, trained, name):
    assert [check for check in diagnose(str(folder / name / "model")) if check.status != "ok"] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ADAPTED)
def test_adapters_mean_the_same_apart_merged_and_reloaded(folder, adapted, name):
    from plaudit.models.checkpoint.files import save_reward_model
    from plaudit.models.create import merge_lora

    run, read = folder / f"{name} adapted", FAMILIES[name][3]
    assert (run / "model" / "adapter_model.safetensors").exists()
    apart = load(run, layout="padded")
    assert far(said_by(apart, read), adapted[name]) <= 2e-6
    save_reward_model(merge_lora(apart.model), run / "merged")
    merged = load(run / "merged", layout="padded")
    assert far(said_by(merged, read), adapted[name]) <= 5e-6
    assert [check for check in diagnose(str(run / "model")) if check.status != "ok"] == []
    if name == "joint":
        recipe = json.loads((run / "merged" / "plaudit.json").read_text())
        assert (recipe["gain"], recipe["bias"]) == tuple(apart.model.gain_and_bias.tolist())
        assert abs(recipe["bias"]) > 1e-3


def test_of_odin_the_quality_head_alone_is_left(folder, trained):
    model, _ = load_reward_model(str(folder / "odin" / "model"))
    assert (model.recipe.head, model.core.score.weight.shape[0]) == ("scalar", 1)


def test_a_gain_and_a_bias_that_were_trained_are_kept(folder, trained):
    recipe = json.loads((folder / "joint" / "model" / "plaudit.json").read_text())
    assert abs(recipe["gain"] - 1.0) > 1e-3
    assert abs(recipe["bias"]) > 1e-3


# --------------------------------------------------------------------------------------- without a head


@pytest.mark.parametrize("name", ["attributes", "odin", "process of 3", "token_outcome", "words", "joint"])
def test_a_folder_without_its_head_is_refused(folder, trained, tmp_path, name):
    shutil.copytree(folder / name / "model", tmp_path / "model")
    weights = load_file(tmp_path / "model" / "model.safetensors")
    head = [key for key in weights if key.startswith(("score", "lm_head"))]
    save_file(
        {key: each for key, each in weights.items() if key not in head},
        tmp_path / "model" / "model.safetensors",
        metadata={"format": "pt"},
    )
    assert head
    with pytest.raises(CheckpointError, match=rf"lacks {head[0].split('.')[0]}.*: these weights would be random"):
        load(tmp_path / "model")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "process of 3",
            "LlamaForTokenClassification: a process model whose classes and steps no plaudit.json describes",
        ),
        ("words", "LlamaForCausalLM, which has no reward head"),
    ],
)
def test_without_its_recipe_a_folder_is_no_reward_model(folder, trained, tmp_path, name, words):
    shutil.copytree(folder / name / "model", tmp_path / "model")
    (tmp_path / "model" / "plaudit.json").unlink()
    with pytest.raises(CheckpointError, match=f"was saved as {words}"):
        load(tmp_path / "model")


def test_a_recipe_of_another_head_is_refused(folder, trained, tmp_path):
    shutil.copytree(folder / "process of 3" / "model", tmp_path / "model")
    shutil.copy(folder / "process" / "model" / "plaudit.json", tmp_path / "model" / "plaudit.json")
    with pytest.raises(CheckpointError, match="has 3 outputs; its recipe says 2"):
        load(tmp_path / "model")
    shutil.copy(folder / "words" / "model" / "plaudit.json", tmp_path / "model" / "plaudit.json")
    with pytest.raises(CheckpointError, match=r"which has not the head of its recipe \(language_model\)"):
        load(tmp_path / "model")


# --------------------------------------------------------------------------------------- kept on the way


class Killed(BaseException):
    """Stands for the end of the process: nobody catches it."""


RESUMED = {
    "process of 3": {},
    "joint": {},
    "odin": {},
    "token_outcome": {"model": {"init": {"type": "pretrained", "path": "base"}}},
    "grm": {"model": {"init": {"type": "pretrained", "path": "base"}, "lora": {"rank": 2, "alpha": 8}}},
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name != "joint" else []) for name in RESUMED]
)
def test_a_killed_run_goes_on_digit_for_digit(folder, tmp_path, monkeypatch, name):
    changes = RESUMED[name] | {"step": {"max_steps": 5, "save_every": 2}}
    whole = train(config(name, **changes), run_dir=tmp_path / "whole")
    original = RewardTrainer.training_step

    def dying(self, *arguments):
        if self.state.global_step == 3:
            raise Killed
        return original(self, *arguments)

    monkeypatch.setattr(RewardTrainer, "training_step", dying)
    with pytest.raises(Killed):
        train(config(name, **changes), run_dir=tmp_path / "cut")
    monkeypatch.setattr(RewardTrainer, "training_step", original)
    cut = train(config(name, **changes), run_dir=tmp_path / "cut", resume=True)
    assert rows_of(cut) == rows_of(whole)
    assert [row["step"] for row in rows_of(cut)] == [1, 2, 3, 4, 5]
    for name_of, weight in load_file(whole / "model" / "model.safetensors").items():
        assert torch.equal(load_file(cut / "model" / "model.safetensors")[name_of], weight)
    for file in ("plaudit.json", "config.json"):
        assert (cut / "model" / file).read_text() == (whole / "model" / file).read_text()
    last = cut / "checkpoints" / "checkpoint-4"
    own = load_file(last / "language_head.safetensors") if (last / "language_head.safetensors").exists() else {}
    assert bool(own) == (name in ("token_outcome", "grm"))


def rows_of(run):
    timed = ("train/tokens_per_second", "train/groups_per_second", "seconds")
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key not in timed} for row in rows]


def test_checkpoints_of_an_odin_run_keep_both_heads(folder, tmp_path):
    run = train(config("odin", step={"max_steps": 2, "save_every": 1}), run_dir=tmp_path / "run")
    kept = load_file(run / "checkpoints" / "checkpoint-2" / "model.safetensors")["score.weight"]
    left = load_file(run / "model" / "model.safetensors")["score.weight"]
    assert kept.shape[0] == 2
    assert torch.equal(kept[:1], left)


def test_the_language_model_is_trained_with_the_reward_head(folder, tmp_path):
    base = {"init": {"type": "pretrained", "path": "base"}}
    start = load_file(folder / "base" / "model.safetensors")["lm_head.weight"]
    run = train(config("grm", model=base, step={"save_every": 9, "max_steps": 9}), run_dir=tmp_path / "run")
    rows = rows_of(run)
    assert {"train/rm/language_model_loss", "train/rm/accuracy"} <= rows[0].keys()
    assert rows[-1]["train/rm/language_model_loss"] < rows[0]["train/rm/language_model_loss"]
    head = load_file(run / "checkpoints" / "checkpoint-9" / "language_head.safetensors")["weight"]
    assert head.shape == start.shape
    assert not torch.equal(head, start)
    assert not (run / "model" / "language_head.safetensors").exists()


# ------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("name", "head", "words"),
    [
        ("token_outcome", {"type": "token", "aggregation": "mean"}, "model.head sets aggregation, but a model of"),
        ("joint", {"type": "language_model", "form": "turns"}, "in which words judge whole turns"),
        ("words", {"type": "language_model", "shown_words": "labels"}, "form conversation has no earlier turns"),
        ("turns", {"type": "token"}, "objective.over is vocabulary, which asks for"),
        ("turns", None, "objective.over is vocabulary, which asks for"),
        ("process of 3", {"type": "language_model"}, "names 2 classes .*; the objective has 3"),
        ("odin", {"type": "token"}, "trains a head of kind odin; leave model.head out"),
    ],
)
def test_heads_that_do_not_fit_the_objective_are_refused(folder, tmp_path, name, head, words):
    with pytest.raises(ConfigError, match=words):
        train(config(name, model={"head": head}), run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_word_that_is_no_single_token_is_refused(folder, tmp_path):
    head = {"type": "language_model", "words": ["not good", "good"], "form": "turns"}
    with pytest.raises(ModelError, match="'not good' is not one token of its own in an assistant's turn"):
        train(config("turns", model={"head": head}), run_dir=tmp_path / "run")
