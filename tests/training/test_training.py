"""What a run refuses, trains and writes."""

from __future__ import annotations

import contextlib
import json
import signal
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from plaudit.batching.token_set import encode_to_file
from plaudit.config import load_config
from plaudit.data.reading.read import read_groups
from plaudit.data.reading.write import write_groups
from plaudit.data.schema.group import Group, Preference, conversation
from plaudit.errors import ConfigError, DataError, TrainingError
from plaudit.models.parity import choose_layout
from plaudit.opening import load
from plaudit.training.arguments import training_arguments
from plaudit.training.callbacks import named_metrics
from plaudit.training.config import TrainConfig
from plaudit.training.run import train
from plaudit.training.trainer import StepCollator, StepSampler, step_loader

pytestmark = pytest.mark.filterwarnings("ignore")
CONFIG = """
name: small
model: {init: {type: scratch, hidden_size: 16, num_layers: 1, num_heads: 2, vocabulary: 400}, max_length: 128}
data: {train: [{path: pairs.jsonl}], held_out_share: 0.2}
optim: {lr: 1e-2}
step: {groups_per_step: 8, max_steps: 3, threads: 1, log_every: 1, trackers: []}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory, make_groups):
    path = tmp_path_factory.mktemp("runs")
    write_groups(path / "pairs.jsonl", make_groups(30))
    (path / "config.yaml").write_text(CONFIG)
    with contextlib.chdir(path):
        yield path


def config(*overrides):
    return load_config(TrainConfig, Path("config.yaml"), overrides)


@pytest.fixture
def run(folder, request):
    return folder / request.node.name.translate(str.maketrans("[]", "--"))


def rewards_of(path, groups):
    return np.concatenate([each.rewards for each in load(path, layout="padded").score_groups(groups)])


# ----------------------------------------------------------------------------------------- arguments


def arguments(tmp_path, *overrides, steps=100):
    return training_arguments(config(*overrides), tmp_path, steps_per_epoch=steps)


def test_the_config_reaches_the_trainer(folder, tmp_path):
    found = arguments(tmp_path, "optim.warmup=0.1", "optim.max_grad_norm=0.5", "step.max_steps=40", "step.seed=7")
    assert found.warmup_steps == 4
    assert (found.max_grad_norm, found.max_steps, found.seed, found.learning_rate) == (0.5, 40, 7, 0.01)
    assert (found.per_device_train_batch_size, found.gradient_accumulation_steps) == (1, 1)
    assert found.use_cpu != torch.cuda.is_available()


def test_warm_up_counts_the_steps_of_all_epochs(folder, tmp_path):
    found = arguments(tmp_path, "step.max_steps=null", "step.epochs=1.5", "optim.warmup=0.1", steps=21)
    # 1.5 epochs of 21 steps are 31.5, so 32 steps
    assert found.warmup_steps == 3


def test_further_fields_of_transformers_are_handed_on(folder, tmp_path):
    assert arguments(tmp_path, "step.trainer_kwargs.optim=adamw_torch").optim == "adamw_torch"


def test_a_misspelt_field_of_transformers_is_refused_with_what_is_close(folder, tmp_path):
    with pytest.raises(
        ConfigError, match=r"not a field of transformers\.TrainingArguments; did you mean 'torch_compile'"
    ):
        arguments(tmp_path, "step.trainer_kwargs.torch_compil=true")


def test_a_field_that_the_config_sets_itself_is_refused(folder, tmp_path):
    for name in ("learning_rate", "bf16", "max_steps", "output_dir"):
        with pytest.raises(ConfigError, match=f"trainer_kwargs.{name} is set by another field"):
            arguments(tmp_path, f"step.trainer_kwargs.{name}=1")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("load_best_model_at_end=true", "load_best_model_at_end cannot be used: the final model is the one"),
        ("neftune_noise_alpha=5", "neftune_noise_alpha cannot be used"),
        ("activation_checkpointing=true", "cannot be used: use step.gradient_checkpointing"),
        ("gradient_checkpointing=true", "cannot be used: use step.gradient_checkpointing"),
    ],
)
def test_a_field_that_does_not_work_here_is_refused(folder, tmp_path, override, words):
    with pytest.raises(ConfigError, match=words):
        arguments(tmp_path, f"step.trainer_kwargs.{override}")


def test_sharded_checkpoints_and_merging_of_sharded_weights_are_refused(folder, tmp_path):
    sharded = "step.trainer_kwargs={fsdp: full_shard, fsdp_config: {fsdp_state_dict_type: SHARDED_STATE_DICT}}"
    with pytest.raises(ConfigError, match=r"'SHARDED_STATE_DICT'.*set it to FULL_STATE_DICT"):
        arguments(tmp_path, sharded)
    for kind in ("{fsdp: full_shard}", "{deepspeed: zero.json}"):
        with pytest.raises(ConfigError, match=r"set model\.lora\.merge to false"):
            arguments(tmp_path, "model.lora.rank=2", f"step.trainer_kwargs={kind}")


# ---------------------------------------------------------------------------------------------- runs


def test_the_same_config_gives_the_same_run_and_another_seed_another(folder, run):
    found = {}
    for name, changes in {"a": (), "b": (), "c": ("step.seed=1",)}.items():
        train(config(*changes), run_dir=run / name)
        rows = [json.loads(line) for line in (run / name / "metrics.jsonl").read_text().splitlines()]
        found[name] = [row.get("train/rm/loss") for row in rows]
    assert found["a"] == found["b"] != found["c"]


def test_the_folder_of_a_run_holds_what_is_promised(folder, run):
    train(config(), run_dir=run)
    assert {path.name for path in run.iterdir()} >= {"config.yaml", "run.json", "metrics.jsonl", "model", "data"}
    record = json.loads((run / "run.json").read_text())
    assert (record["status"], record["model"]["layout"]) == ("finished", "shared_prefix")
    assert "hidden states differ by" in record["model"]["layout_reason"]
    held_out = list(read_groups(run / "data" / "held_out.jsonl", cache_dir=run / "cache"))
    counts = record["data"]
    assert counts["held_out"]["groups"] == len(held_out) > 0
    assert counts["train"]["groups"] + len(held_out) == 30
    assert rewards_of(run, held_out).shape == rewards_of(run / "model", held_out).shape


def test_training_lowers_the_loss_on_what_it_trains_on(folder, run):
    train(config("step.max_steps=40", "data.held_out=[{path: pairs.jsonl}]"), run_dir=run)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["eval/rm/loss"] < 0.5 * rows[0]["train/rm/loss"]
    assert rows[-1]["eval/rm/accuracy"] > 0.9


def test_a_trained_model_loads_in_plain_transformers(folder, run):
    train(config(), run_dir=run)
    theirs = AutoModelForSequenceClassification.from_pretrained(run / "model")
    ours = load(run).model
    for name, weight in theirs.state_dict().items():
        assert torch.equal(weight, ours.network.state_dict()[name])


def test_groups_without_preferences_are_left_out_and_counted(folder, run, make_groups):
    unlabelled = [Group(conversation(f"hi {k}"), ("yes", "no"), id=f"u{k}") for k in range(4)]
    write_groups(folder / "some.jsonl", [*make_groups(6), *unlabelled])
    train(config("data.train=[{path: some.jsonl}]", "data.held_out=[{path: pairs.jsonl}]"), run_dir=run)
    counts = json.loads((run / "run.json").read_text())["data"]["train"]
    assert (counts["groups"], counts["without_labels"]) == (10, 4)


def test_data_without_any_preference_is_an_error(folder, run):
    write_groups(folder / "none.jsonl", [Group(conversation(f"hi {k}"), ("yes", "no"), id=f"u{k}") for k in range(9)])
    with pytest.raises(DataError, match="no training group carries a preference"):
        train(config("data.train=[{path: none.jsonl}]"), run_dir=run)


def test_identical_sides_leave_a_group_without_a_preference(folder, run, make_groups):
    same = Group(conversation("hi"), ("yes", "yes"), (Preference(0, 1),), id="same")
    write_groups(folder / "same.jsonl", [*make_groups(6), same])
    train(config("data.train=[{path: same.jsonl}]", "data.held_out=[{path: pairs.jsonl}]"), run_dir=run)
    counts = json.loads((run / "run.json").read_text())["data"]["train"]
    assert counts["without_labels"] == 1
    assert counts["encoded"]["changed"] == {"preferences whose two sides are identical tokens": 1}


def test_an_error_in_training_gives_ctrl_c_back_and_says_failed(folder, run):
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(
        TrainingError, match=r"the loss is (nan|inf) at step \d+, in the micro-batch of the groups in rows"
    ):
        train(config("optim.lr=1e30", "optim.max_grad_norm=0"), run_dir=run)
    assert signal.getsignal(signal.SIGINT) is before
    assert json.loads((run / "run.json").read_text())["status"] == "failed"


# ----------------------------------------------------------------------------------------- metrics


def test_metrics_have_their_full_names(folder, run):
    train(config(), run_dir=run)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    train_row, evaluation = rows[0], rows[-1]
    wanted = {"accuracy", "chosen_rewards", "loss", "rejected_rewards", "reward_margin", "ties"}
    assert {name for name in train_row if name.startswith("train/rm/")} == {f"train/rm/{n}" for n in (*wanted, "lr")}
    assert {name for name in evaluation if name.startswith("eval/")} == {f"eval/rm/{name}" for name in wanted}
    assert "train/grad_norm" in train_row


def test_transformers_summary_is_left_out():
    assert named_metrics({"train_runtime": 1.0, "train_loss": 2.0}) == {}
    assert named_metrics({"rm/loss": 1.0, "epoch": 2, "total_flos": 3}) == {"train/rm/loss": 1.0}


# ------------------------------------------------------------------------------------------ adapters


def test_adapters_train_themselves_and_the_head_only_and_both_ways_of_saving_agree(folder, run):
    train(config("model.lora=null", "step.max_steps=1"), run_dir=run / "base")
    lora = (
        f"model.init={{type: pretrained, path: {run / 'base' / 'model'}}}",
        "model.lora.rank=2",
        "model.lora.alpha=4",
    )
    train(config(*lora), run_dir=run / "merged")
    train(config(*lora, "model.lora.merge=false"), run_dir=run / "apart")
    assert (run / "apart" / "model" / "adapter_model.safetensors").exists()
    assert (run / "merged" / "model" / "model.safetensors").exists()
    record = json.loads((run / "apart" / "run.json").read_text())["model"]
    assert 0 < record["trainable"] < 0.5 * record["parameters"]
    base = load(run / "base").model.network.state_dict()
    apart = load(run / "apart").model.core.state_dict()
    for name, weight in base.items():
        if not name.startswith("score"):
            kept = apart[name] if name in apart else apart[name.replace(".weight", ".base_layer.weight")]
            assert torch.equal(weight, kept)
    groups = list(read_groups(folder / "pairs.jsonl", cache_dir=run / "cache"))
    found = [rewards_of(run / name, groups) for name in ("base", "merged", "apart")]
    np.testing.assert_allclose(found[1], found[2], rtol=0, atol=5e-6)
    assert np.abs(found[0] - found[1]).max() > 1e-2


def test_adapters_kept_apart_need_a_base_that_is_on_disk(folder):
    with pytest.raises(ConfigError, match=r"lora\.merge is false"):
        config("model.lora.rank=2", "model.lora.merge=false")


# ------------------------------------------------------------------------------------------- loading


def test_the_loader_gives_whole_steps_and_every_rank_its_share(make_decoder, make_groups, tmp_path):
    model = make_decoder()
    choose_layout(model, "shared_prefix")
    tokens = encode_to_file(make_groups(11), model.recipe.encoder(model.tokenizer), tmp_path / "t.arrow")
    rows = np.asarray([0, 2, 3, 5, 7, 8, 10])

    def steps(rank, ranks, epoch=0):
        collator = StepCollator(tokens, "shared_prefix", 60, 0, rank, ranks)
        loader = step_loader(rows, collator, groups_per_step=3, seed=0)
        loader.batch_sampler.batch_sampler.set_epoch(epoch)
        return list(loader)

    def real(step):
        return [i for b, filler in zip(step.batches, step.fillers, strict=True) if not filler for i in b.group_index]

    whole = steps(0, 1)
    assert [step.num_groups for step in whole] == [3, 3, 1]
    assert sorted(i for step in whole for i in real(step)) == rows.tolist()
    shared = [steps(rank, 2) for rank in range(2)]
    for one, first, second in zip(whole, *shared, strict=True):
        assert sorted(real(one)) == sorted(real(first) + real(second))
        assert len(first.batches) == len(second.batches)
    assert shared[1][2].fillers == (True,)
    assert [real(step) for step in steps(0, 1, epoch=1)] != [real(step) for step in whole]
    assert len(StepSampler(7, groups_per_step=3, seed=0)) == 3


def test_before_its_processes_part_a_trainer_lets_go_of_what_wraps_its_model(make_trainer, make_decoder, make_groups):
    # a wrapper that outlives its process group can hang the end of a run: its reducer ends the group too late
    trainer = make_trainer(make_decoder(), make_groups(4))

    class Wrapper(torch.nn.Module):
        pass

    wrapper = Wrapper()
    wrapper.module, wrapper.itself = trainer.model, [wrapper]
    trainer.model_wrapped = wrapper
    trainer.accelerator._models.append(wrapper)
    alive = weakref.ref(wrapper)
    del wrapper
    assert alive() is not None
    trainer.unwrap()
    assert alive() is None
    assert trainer.model_wrapped is trainer.model
