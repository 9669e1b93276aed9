"""A script of TRL's RewardTrainer trains here with another import, by the same numbers."""

from __future__ import annotations

import inspect
import json

import pytest
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForSequenceClassification, AutoTokenizer, HfArgumentParser

import plaudit
from plaudit.integrations.trl import RewardConfig, RewardTrainer
from plaudit.models.checkpoint.files import save_reward_model

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")

ROWS = [{"prompt": f"Is {k} red?", "chosen": f"yes, {k} is good", "rejected": f"no, {k} is bad"} for k in range(1, 33)]


def turns(row):
    """A row in the implicit form of TRL: whole conversations on both sides."""
    asked = {"role": "user", "content": row["prompt"]}
    return {side: [asked, {"role": "assistant", "content": row[side]}] for side in ("chosen", "rejected")}


@pytest.fixture
def here(tmp_path, monkeypatch, make_decoder):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    save_reward_model(make_decoder(), tmp_path / "base")
    return tmp_path


def small(**others):
    return RewardConfig(
        output_dir="out",
        per_device_train_batch_size=4,
        gradient_accumulation_steps=2,
        learning_rate=1e-3,
        max_length=128,
        report_to="none",
        **others,
    )


def test_every_argument_of_the_two_classes_of_trl_is_there():
    trl = pytest.importorskip("trl", reason="TRL is a development tool")
    ours, theirs = (set(inspect.signature(each).parameters) for each in (RewardConfig, trl.RewardConfig))
    assert theirs - ours == set()
    arguments = set(inspect.signature(trl.RewardTrainer.__init__).parameters)
    named = set(inspect.signature(RewardTrainer.__init__).parameters) | {
        "data_collator",
        "compute_metrics",
        "callbacks",
        "optimizers",
        "optimizer_cls_and_kwargs",
        "preprocess_logits_for_metrics",
        "quantization_config",
    }
    assert arguments - named == set()


@pytest.mark.parametrize(
    "name", ["learning_rate", "logging_steps", "gradient_checkpointing", "max_length", "center_rewards_coefficient"]
)
def test_the_defaults_are_those_of_trl(name):
    trl = pytest.importorskip("trl", reason="TRL is a development tool")
    ours, theirs = (inspect.signature(each).parameters[name].default for each in (RewardConfig, trl.RewardConfig))
    assert ours == theirs


@pytest.mark.slow
@pytest.mark.parametrize("form", ["explicit", "implicit"])
def test_a_script_trains_evaluates_and_saves(here, form):
    rows = ROWS if form == "explicit" else [turns(row) for row in ROWS]
    data = Dataset.from_list(rows).train_test_split(test_size=8, seed=0)
    trainer = RewardTrainer(
        model="base",
        args=small(num_train_epochs=4, center_rewards_coefficient=0.01),
        train_dataset=data["train"],
        eval_dataset=data["test"],
    )
    trainer.train()
    step = trainer.config.step
    assert (step.groups_per_step, trainer.config.objective.centering) == (8, 0.01)
    assert json.loads((here / "out/plaudit/run.json").read_text())["data"]["train"]["groups"] == 24
    assert trainer.evaluate()["eval_accuracy"] == 1.0
    trainer.save_model("saved")
    reward = plaudit.load("saved").score("Is 3 red?", ["yes, 3 is good"])
    assert plaudit.load("out/plaudit").score("Is 3 red?", ["yes, 3 is good"]) == pytest.approx(reward)


def test_a_model_of_transformers_and_adapters_are_taken(here):
    model = AutoModelForSequenceClassification.from_pretrained("base", num_labels=1)
    trainer = RewardTrainer(
        model=model,
        args=small(max_steps=2),
        train_dataset=Dataset.from_list(ROWS),
        processing_class=AutoTokenizer.from_pretrained("base"),
        peft_config=LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"]),
    )
    trainer.train()
    assert trainer.config.model.lora.targets == ("q_proj", "v_proj")
    assert (here / "out/plaudit/model/adapter_config.json").is_file()


@pytest.mark.parametrize("margin", [None, 2.0], ids=["plain", "with a margin"])
def test_what_is_trained_is_what_trl_trains(here, margin):
    """One step of TRL and one here, from one head, on the same pairs: the same loss."""
    extra = {} if margin is None else {"margin": margin}
    trl = pytest.importorskip("trl", reason="TRL is a development tool")
    losses = []
    for config, trainer in ((trl.RewardConfig, trl.RewardTrainer), (RewardConfig, RewardTrainer)):
        arguments = config(
            output_dir=f"out-{len(losses)}",
            per_device_train_batch_size=32,
            max_steps=1,
            logging_steps=1,
            learning_rate=1e-3,
            max_length=128,
            report_to="none",
            bf16=False,
            use_cpu=True,
        )
        data = Dataset.from_list([turns(row) | extra for row in ROWS])
        made = trainer(model="base", args=arguments, train_dataset=data)
        made.train()
        if losses:
            rows = (here / "out-1/plaudit/metrics.jsonl").read_text().splitlines()
            losses.append(json.loads(rows[0])["train/rm/loss"])
        else:
            losses.append(next(row["loss"] for row in made.state.log_history if "loss" in row))
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


def test_the_example_script_of_trl_goes_through(here, capsys):
    """The calls of TRL's own reward_modeling.py, its arguments parsed from a command line."""
    words = ["--output_dir", "out", "--max_steps", "1", "--eval_strategy", "steps", "--eval_steps", "5"]
    (args,) = HfArgumentParser(RewardConfig).parse_args_into_dataclasses([*words, "--report_to", "none"])
    data = Dataset.from_list(ROWS)
    trainer = RewardTrainer("base", args, train_dataset=data, eval_dataset=data.select(range(8)))
    trainer.train()
    trainer.save_model(args.output_dir)
    metrics = trainer.evaluate()
    trainer.log_metrics("eval", metrics)
    trainer.save_metrics("eval", metrics)
    assert json.loads((here / "out/eval_results.json").read_text()) == metrics
    assert "eval: eval_accuracy = " in capsys.readouterr().out
    assert len(plaudit.load("out").score("a", ["b"])) == 1


def test_adapters_without_targets_stand_where_peft_puts_them(here):
    trainer = RewardTrainer("base", small(), train_dataset=Dataset.from_list(ROWS), peft_config=LoraConfig())
    assert trainer.config.model.lora.targets == ("q_proj", "v_proj")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"callbacks": [object()]}, "RewardTrainer takes no callbacks here"),
        ({"compute_metrics": print}, "RewardTrainer takes no compute_metrics here"),
        ({"args": {"push_to_hub": True}}, "name the repository: hub_model_id='owner/name'"),
        ({"args": {"optim": "adafactor"}}, r"RewardConfig\.optim is 'adafactor'"),
        ({"args": {"neftune_noise_alpha": 5.0}}, r"RewardConfig\.neftune_noise_alpha is 5\.0; here it must be None"),
        ({"args": {"eval_strategy": "steps", "eval_steps": 0.1}}, "a number of steps is 0.1"),
        ({"peft_config": LoraConfig(target_modules="all-linear", use_rslora=True)}, r"peft_config\.use_rslora is True"),
        ({"peft_config": LoraConfig(target_modules="all-linear", bias="all")}, r"peft_config\.bias is 'all'"),
        (
            {"args": {"save_strategy": "epoch"}},
            r"RewardConfig\.save_strategy is 'epoch'; here it must be 'steps' or 'no'",
        ),
        ({"args": {"lr_scheduler_kwargs": {"x": 1}}}, r"RewardConfig\.lr_scheduler_kwargs is \{'x': 1\}"),
    ],
)
def test_an_argument_without_a_counterpart_is_refused_by_its_name(here, arguments, error):
    args = small(**arguments.pop("args", {}))
    with pytest.raises(plaudit.ConfigError, match=error):
        RewardTrainer("base", args, train_dataset=Dataset.from_list(ROWS), **arguments)
