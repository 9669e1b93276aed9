"""An interrupted run that goes on is the run that was never interrupted."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from plaudit.config import load_config
from plaudit.data.reading.write import write_groups
from plaudit.errors import CheckpointError, ConfigError, OutputError, TrainingError
from plaudit.journal import locked
from plaudit.training import run as run_module
from plaudit.training.callbacks import OrderlyStop
from plaudit.training.checkpoints import check_checkpoint, last_complete_checkpoint
from plaudit.training.config import TrainConfig
from plaudit.training.run import train
from plaudit.training.trainer import RewardTrainer, load_weights

pytestmark = pytest.mark.filterwarnings("ignore")
CONFIG = """
name: small
model: {init: {type: scratch, hidden_size: 16, num_layers: 1, num_heads: 2, vocabulary: 400}, max_length: 128}
data: {train: [{path: pairs.jsonl}], held_out_share: 0.1}
optim: {lr: 1e-2}
step: {groups_per_step: 4, epochs: 2, max_tokens: 200, threads: 1, log_every: 3, save_every: 2, trackers: []}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory, make_groups):
    """The working directory of all runs of this file, with their data."""
    path = tmp_path_factory.mktemp("runs")
    write_groups(path / "pairs.jsonl", make_groups(30))
    (path / "config.yaml").write_text(CONFIG)
    with contextlib.chdir(path):
        yield path


@pytest.fixture(scope="module")
def whole(folder):
    """A run that nothing interrupted."""
    return train(config(), run_dir=folder / "whole")


@pytest.fixture
def cut(folder, request):
    """The folder of a run that something interrupts."""
    return folder / request.node.name.translate(str.maketrans("[]", "--"))


def config(*overrides):
    from pathlib import Path

    return load_config(TrainConfig, Path("config.yaml"), overrides)


def rows_of(run):
    timed = ("train/tokens_per_second", "train/groups_per_second", "seconds")
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key not in timed} for row in rows]


def weights_of(run):
    return load_file(run / "model" / "model.safetensors")


def assert_same_end(run, whole):
    assert rows_of(run) == rows_of(whole)
    for name, weight in weights_of(whole).items():
        assert torch.equal(weights_of(run)[name], weight)


def unfinish(run):
    """Make a finished run one that was killed before it saved its model."""
    path = run / "run.json"
    path.write_text(path.read_text().replace('"finished",', '"running",'))
    shutil.rmtree(run / "model")


def files_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Killed(BaseException):
    """Stands for the end of the process: nobody catches it."""


@pytest.fixture
def killed_after(monkeypatch):
    """Return a function after which training dies at the end of a step."""

    def kill_after(step):
        original = RewardTrainer.training_step

        def dying(self, *arguments):
            if self.state.global_step == step:
                raise Killed
            return original(self, *arguments)

        monkeypatch.setattr(RewardTrainer, "training_step", dying)
        return lambda: monkeypatch.setattr(RewardTrainer, "training_step", original)

    return kill_after


# 27 training groups in steps of 4 are 7 steps an epoch, the last of 3 groups. Logs after 1, 3, 6, 9, 12; checkpoints
# after 2, 4 … 14; the evaluation of the finished model stands at 14.


@pytest.mark.parametrize("step", [5, 7])
def test_a_run_killed_between_checkpoint_and_log_goes_on_digit_for_digit(cut, whole, killed_after, step):
    revive = killed_after(step)
    with pytest.raises(Killed):
        train(config(), run_dir=cut)
    assert json.loads((cut / "run.json").read_text())["status"] == "failed"
    assert not (cut / "model").exists()
    revive()
    assert last_complete_checkpoint(cut / "checkpoints").name == f"checkpoint-{step - 1}"
    train(config(), run_dir=cut, resume=True)
    seconds = [json.loads(line)["seconds"] for line in (cut / "metrics.jsonl").read_text().splitlines()]
    assert seconds == sorted(seconds)
    assert [row["step"] for row in rows_of(whole)] == [1, 3, 6, 9, 12, 14]
    assert_same_end(cut, whole)
    assert json.loads((cut / "run.json").read_text())["status"] == "finished"


def test_a_run_killed_before_its_first_checkpoint_starts_again(cut, whole, killed_after):
    revive = killed_after(1)
    with pytest.raises(Killed):
        train(config(), run_dir=cut)
    revive()
    train(config(), run_dir=cut, resume=True)
    assert_same_end(cut, whole)


def test_a_half_written_checkpoint_is_not_resumed_from(cut, whole, killed_after):
    revive = killed_after(7)
    with pytest.raises(Killed):
        train(config(), run_dir=cut)
    revive()
    checkpoints = cut / "checkpoints"
    torn = checkpoints / "checkpoint-6"
    (torn / "complete.json").unlink()
    (torn / "model.safetensors").write_bytes(b"torn")
    assert last_complete_checkpoint(checkpoints).name == "checkpoint-4"
    train(config(), run_dir=cut, resume=True)
    assert_same_end(cut, whole)


def test_rows_after_the_checkpoint_are_dropped_and_a_torn_line_too(cut, whole, killed_after):
    revive = killed_after(7)
    with pytest.raises(Killed):
        train(config(), run_dir=cut)
    revive()
    shutil.rmtree(cut / "checkpoints" / "checkpoint-6")
    path = cut / "metrics.jsonl"
    assert [row["step"] for row in rows_of(cut)] == [1, 3, 6]
    path.write_text(path.read_text() + '{"step": 7, "train/rm/lo')
    train(config(), run_dir=cut, resume=True)
    assert_same_end(cut, whole)


def test_evaluation_during_training_and_checkpoint_at_once_resume_too(cut, folder, killed_after):
    changes = ("step.evaluate_every=2", "step.gradient_checkpointing=true", "model.layout=padded")
    train(config(*changes), run_dir=folder / f"{cut.name}-reference")
    revive = killed_after(5)
    with pytest.raises(Killed):
        train(config(*changes), run_dir=cut)
    revive()
    train(config(*changes), run_dir=cut, resume=True)
    assert [row["step"] for row in rows_of(cut)] == [1, 2, 3, 4, 6, 6, 8, 9, 10, 12, 12, 14, 14]
    assert_same_end(cut, folder / f"{cut.name}-reference")


AT_THE_LIMIT = ("optim.schedule=constant", "optim.warmup=0", "step.max_steps=10", "step.save_every=5")


def test_a_run_killed_at_its_last_step_is_evaluated_and_saved_and_not_trained_on(cut, folder, monkeypatch):
    """Step 10 is in the middle of the second epoch, where transformers would train an eleventh step."""
    reference = train(config(*AT_THE_LIMIT), run_dir=folder / f"{cut.name}-reference")
    with monkeypatch.context() as patch:
        patch.setattr(run_module, "_save_final", lambda *_, **__: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            train(config(*AT_THE_LIMIT), run_dir=cut)
    assert last_complete_checkpoint(cut / "checkpoints").name == "checkpoint-10"
    train(config(*AT_THE_LIMIT), run_dir=cut, resume=True)
    assert [row["step"] for row in rows_of(cut)] == [1, 3, 6, 9, 10]
    assert_same_end(cut, reference)


def test_a_run_whose_model_cannot_be_saved_is_not_finished_and_goes_on(cut, whole, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(run_module, "_save_final", lambda *_, **__: (_ for _ in ()).throw(OutputError("disk full")))
        with pytest.raises(OutputError, match="disk full"):
            train(config(), run_dir=cut)
    assert json.loads((cut / "run.json").read_text())["status"] == "failed"
    train(config(), run_dir=cut, resume=True)
    assert_same_end(cut, whole)


def test_resuming_a_finished_run_says_so_and_changes_nothing(whole, capsys):
    before = files_of(whole)
    assert train(config(), run_dir=whole, resume=True) == whole
    assert capsys.readouterr().out == f"{whole} is finished already: nothing was changed\n"
    assert files_of(whole) == before


def test_what_a_killed_process_left_is_gone_after_the_next_start(cut, whole):
    unfinish(shutil.copytree(whole, cut))
    for name in (".run.json.ab12cd_9", "data/.tokens-1.arrow.12345678"):
        (cut / name).write_text("half")
    for name in (".model.abcdefgh", "data/.read.abcdefgh", "checkpoints/checkpoint-13"):
        (cut / name).mkdir()
        (cut / name / "config.json").write_text("half")
    (cut / "run.json.lock").write_text("process 1 on a machine that is off")
    (cut / "data" / ".mine").write_text("kept")
    train(config(), run_dir=cut, resume=True)
    left = [path.name for path in cut.rglob("*") if path.name.startswith(".") or path.suffix == ".lock"]
    assert left == [".mine"]
    assert not (cut / "checkpoints" / "checkpoint-13").exists()
    assert_same_end(cut, whole)


def test_adapters_resume_digit_for_digit(cut, folder, killed_after):
    changes = ("model.lora.rank=2", "model.lora.alpha=4")
    train(config(*changes), run_dir=folder / f"{cut.name}-reference")
    revive = killed_after(5)
    with pytest.raises(Killed):
        train(config(*changes), run_dir=cut)
    revive()
    train(config(*changes), run_dir=cut, resume=True)
    assert_same_end(cut, folder / f"{cut.name}-reference")


# ----------------------------------------------------------------------------------------- refusals


def test_a_run_is_refused_while_another_process_trains_in_its_folder(cut, whole):
    unfinish(shutil.copytree(whole, cut))
    before = files_of(cut)
    with locked(cut / "run.json"):
        for resume in (True, False):
            with pytest.raises(OutputError, match=rf"cannot write {cut}: process {os.getpid()} on .* is writing it"):
                train(config(), run_dir=cut, resume=resume)
    assert files_of(cut) == before
    with locked(folder := cut.parent / f"{cut.name}-new" / "run.json"), pytest.raises(OutputError, match="is writing"):
        train(config(), run_dir=folder.parent)


DAMAGES = {
    "missing": lambda path: path.unlink(),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "flipped": lambda path: path.write_bytes(bytes([*(data := path.read_bytes())[:-9], data[-9] ^ 1, *data[-8:]])),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_checkpoint_with_any_file_damaged_is_refused_in_one_line(cut, whole, damage):
    unfinish(shutil.copytree(whole, cut))
    checkpoint = cut / "checkpoints" / "checkpoint-14"
    names = {path.name for path in checkpoint.iterdir()}
    assert {"model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"} < names
    for name in sorted(names):
        path, original = checkpoint / name, (checkpoint / name).read_bytes()
        DAMAGES[damage](path)
        if (name, damage) == ("complete.json", "missing"):
            assert last_complete_checkpoint(cut / "checkpoints").name == "checkpoint-12"
        else:
            with pytest.raises(CheckpointError) as refused:
                check_checkpoint(checkpoint)
            words = {"missing": "is missing"}.get(damage, "is damaged")
            assert str(path) in str(refused.value)
            assert words in str(refused.value)
            assert str(refused.value).endswith(f"; remove {checkpoint} to resume before it")
        path.write_bytes(original)
    check_checkpoint(checkpoint)
    (checkpoint / "optimizer.pt").unlink()
    with pytest.raises(CheckpointError, match=r"optimizer.pt is missing; remove"):
        train(config(), run_dir=cut, resume=True)


@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth", "model.safetensors"])
def test_a_damaged_checkpoint_without_hashes_is_refused_in_one_line_too(cut, whole, name):
    unfinish(shutil.copytree(whole, cut))
    shutil.rmtree(cut / "checkpoints" / "checkpoint-14")
    checkpoint = cut / "checkpoints" / "checkpoint-12"
    (checkpoint / "complete.json").write_text('{"step": 12}')
    check_checkpoint(checkpoint)
    path = checkpoint / name
    data = path.read_bytes()
    start = data.index(b"PK") + 70 if name != "model.safetensors" else 20
    path.write_bytes(data[:start] + b"\xff" * 40 + data[start + 40 :])
    with pytest.raises(CheckpointError) as refused:
        train(config(), run_dir=cut, resume=True)
    assert str(checkpoint) in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("change", ["step.epochs=3", "step.max_steps=99"])
def test_training_for_longer_is_refused_with_both_ways_to_do_it(whole, change):
    with pytest.raises(ConfigError, match="another length of training") as refused:
        train(config(change), run_dir=whole, resume=True)
    assert f"model.init.path={whole / 'model'}" in str(refused.value)
    assert "train anew for the new length" in str(refused.value)


def test_another_config_is_not_resumed_with(folder, whole):
    with pytest.raises(ConfigError, match="the config differs from"):
        train(config("optim.lr=1e-3"), run_dir=whole, resume=True)
    with pytest.raises(ConfigError, match="holds a run already; add --resume"):
        train(config(), run_dir=whole)


@pytest.mark.parametrize("changed", ["pairs.jsonl", "held_out.jsonl"])
def test_other_data_or_another_recipe_is_not_resumed_with(tmp_path, monkeypatch, make_groups, changed):
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("pairs.jsonl", "held_out.jsonl")):
        write_groups(tmp_path / name, make_groups(9, seed=seed))
    (tmp_path / "config.yaml").write_text(CONFIG.replace("held_out_share: 0.1", "held_out: [{path: held_out.jsonl}]"))
    run = train(config("step.max_steps=1"), run_dir=tmp_path / "run")
    unfinish(run)
    before = (run / "run.json").read_text()
    write_groups(tmp_path / changed, make_groups(9, seed=5))
    which = "train" if changed == "pairs.jsonl" else "held_out"
    with pytest.raises(ConfigError, match=rf"has changed: the data of {which} was \w+, is \w+; restore it"):
        train(config("step.max_steps=1"), run_dir=run, resume=True)
    assert (run / "run.json").read_text() == before


def test_another_recipe_is_not_resumed_with(cut, whole, monkeypatch):
    unfinish(shutil.copytree(whole, cut))
    original = run_module.prepare_model

    def other(*arguments):
        model, proof = original(*arguments)
        model.recipe = model.recipe.model_copy(update={"max_length": 64})
        return model, proof

    monkeypatch.setattr(run_module, "prepare_model", other)
    with pytest.raises(ConfigError, match=r"has changed: the scoring recipe was \w+, is \w+; restore it"):
        train(config(), run_dir=cut, resume=True)


def test_experts_are_loaded_from_the_layout_that_transformers_saves(make_decoder, tokenizer, tmp_path):
    from transformers import Qwen3MoeConfig, Qwen3MoeForSequenceClassification

    from plaudit.models.backbone import head_in_float32
    from plaudit.models.checkpoint.files import save_reward_model
    from plaudit.models.reward_model import RewardModel

    def make(seed):
        recipe = make_decoder().recipe
        torch.manual_seed(seed)
        sizes = {"hidden_size": 16, "intermediate_size": 16, "moe_intermediate_size": 8, "num_hidden_layers": 2}
        heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8}
        experts = {"num_experts": 4, "num_experts_per_tok": 2, "vocab_size": len(tokenizer), "num_labels": 1}
        made = Qwen3MoeConfig(**sizes, **heads, **experts, pad_token_id=recipe.pad_token)
        network = Qwen3MoeForSequenceClassification(made).to(torch.bfloat16)
        head_in_float32(network, recipe.read_out)
        torch.nn.init.normal_(network.score.weight)
        return RewardModel(network, tokenizer, recipe)

    saved, other = make(0), make(1)
    save_reward_model(saved, tmp_path / "experts")
    names = load_file(tmp_path / "experts" / "model.safetensors").keys()
    assert names != saved.core.state_dict().keys()
    drawn = torch.random.get_rng_state()
    load_weights(other, tmp_path / "experts")
    assert torch.equal(torch.random.get_rng_state(), drawn)
    for name, weight in saved.core.state_dict().items():
        found = other.core.state_dict()[name]
        assert found.dtype == weight.dtype == (torch.float32 if name.startswith("score") else torch.bfloat16)
        assert torch.equal(found, weight)


# ----------------------------------------------------------------------------------------- stopping


class InterruptAt(TrainerCallback):
    """Sends this process a signal at the beginning of some steps."""

    def __init__(self, *steps, how=signal.SIGINT):
        self.steps, self.how = steps, how

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step in self.steps:
            os.kill(os.getpid(), self.how)


@pytest.fixture
def interrupted(monkeypatch):
    def at(*steps, how=signal.SIGINT):
        original = run_module.build_trainer

        def build(*arguments):
            trainer = original(*arguments)
            trainer.add_callback(InterruptAt(*steps, how=how))
            return trainer

        monkeypatch.setattr(run_module, "build_trainer", build)
        return lambda: monkeypatch.setattr(run_module, "build_trainer", original)

    return at


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_finish_the_step_save_and_go_on_to_the_same_end(cut, whole, interrupted, how):
    before = signal.getsignal(how)
    calm = interrupted(4, how=how)
    with pytest.raises(KeyboardInterrupt):
        train(config("step.save_every=100"), run_dir=cut)
    assert signal.getsignal(how) is before
    record = json.loads((cut / "run.json").read_text())
    assert record["status"] == "stopped"
    assert last_complete_checkpoint(cut / "checkpoints").name == "checkpoint-5"
    calm()
    train(config("step.save_every=100"), run_dir=cut, resume=True)
    assert_same_end(cut, whole)


def test_sigterm_may_be_repeated(cut, whole, interrupted, monkeypatch):
    calm = interrupted(4, how=signal.SIGTERM)
    original = RewardTrainer.training_step

    def twice(self, *arguments):
        os.kill(os.getpid(), signal.SIGTERM) if self.state.global_step == 4 else None
        return original(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(RewardTrainer, "training_step", twice)
        with pytest.raises(KeyboardInterrupt):
            train(config("step.save_every=100"), run_dir=cut)
    calm()
    train(config("step.save_every=100"), run_dir=cut, resume=True)
    assert_same_end(cut, whole)


def test_training_in_another_thread_than_the_main_one_takes_no_signals(cut):
    with ThreadPoolExecutor(1) as pool:
        pool.submit(train, config("step.max_steps=2"), run_dir=cut).result()
    assert (cut / "model").exists()


def test_a_second_ctrl_c_stops_at_once(cut, interrupted, monkeypatch):
    before = signal.getsignal(signal.SIGINT)
    interrupted(4)
    original = RewardTrainer.training_step

    def twice(self, *arguments):
        if self.state.global_step == 4:
            os.kill(os.getpid(), signal.SIGINT)
        return original(self, *arguments)

    monkeypatch.setattr(RewardTrainer, "training_step", twice)
    with pytest.raises(KeyboardInterrupt):
        train(config("step.save_every=100"), run_dir=cut)
    assert signal.getsignal(signal.SIGINT) is before
    assert last_complete_checkpoint(cut / "checkpoints") is None


RANK = """
import os, signal, sys
import torch.distributed as dist
from transformers import TrainerControl, TrainerState, TrainingArguments
from plaudit.training.callbacks import OrderlyStop

rank, folder = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
stop, state, control = OrderlyStop(), TrainerState(), TrainerControl()
arguments = TrainingArguments(output_dir=folder, use_cpu=True)
stop.on_train_begin(arguments, state, control)
for step in range(4):
    if step == rank + 1:
        os.kill(os.getpid(), signal.SIGINT)
    stop.on_step_end(arguments, state, control)
    if control.should_training_stop:
        break
if rank == 1:
    os.kill(os.getpid(), signal.SIGINT)
stop.on_train_end(arguments, state, control)
print(step, control.should_save, stop.stopped)
dist.destroy_process_group()
"""


def test_a_rank_stops_when_another_was_asked_to(monkeypatch, tmp_path):
    """The other rank is a stand-in: it was asked in step 1, and its word counts where the largest is taken."""
    asked_there = iter([0, 1])

    def reduced(tensor, op):
        assert op == torch.distributed.ReduceOp.MAX
        tensor.clamp_(min=next(asked_there))

    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "all_reduce", reduced)
    stop, arguments = OrderlyStop(), TrainingArguments(output_dir=tmp_path, use_cpu=True)
    found = []
    for _ in range(2):
        control = TrainerControl()
        stop.on_step_end(arguments, TrainerState(), control)
        found.append((control.should_save, control.should_training_stop, stop.asked))
    assert found == [(False, False, False), (True, True, False)]


def test_a_rank_that_loses_another_says_so_in_one_line(cut, monkeypatch):
    def lost(self, *arguments):
        raise RuntimeError("[/gloo/transport/tcp/pair.cc:537] Read error [127.0.0.1]:23238: Connection reset by peer.")

    monkeypatch.setattr(RewardTrainer, "training_step", lost)
    with pytest.raises(RuntimeError, match="Connection reset"):
        train(config(), run_dir=cut)
    for name, value in (("is_initialized", True), ("get_rank", 3), ("get_world_size", 8)):
        monkeypatch.setattr(run_module.dist, name, lambda value=value: value)
    words = "^rank 3 of 8 has lost another process of the job, .* go on with the same command and --resume$"
    with pytest.raises(TrainingError, match=words), run_module._writing_to(cut):
        lost(None)


@pytest.mark.slow
def test_all_ranks_stop_at_the_step_in_which_the_first_was_asked(tmp_path):
    # Ctrl-C reaches rank 0 in step 1, and rank 1 when it has stopped already: its first, no reason to stop at once
    commands = [[sys.executable, "-c", RANK, str(rank), str(tmp_path)] for rank in range(2)]
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo"}
    ranks = [subprocess.Popen(command, env=environment, stdout=-1, stderr=-1, text=True) for command in commands]
    try:
        ended = [rank.communicate(timeout=60) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    assert [out for out, _ in ended] == ["1 True True\n"] * 2, ended


@pytest.mark.parametrize("limit", [0, 1])
def test_gradients_that_are_not_finite_are_neither_stepped_nor_saved(cut, monkeypatch, limit):
    weights = []
    original = RewardTrainer.training_step

    def poisoned(self, model, *arguments):
        loss = original(self, model, *arguments)
        if self.state.global_step == 2:
            weight = next(weight for weight in model.parameters() if weight.grad is not None)
            weight.grad.view(-1)[0] = float("nan")
            weights.extend([weight, weight.detach().clone()])
        return loss

    monkeypatch.setattr(RewardTrainer, "training_step", poisoned)
    with pytest.raises(TrainingError, match="the gradient norm is nan at step 3"):
        train(config(f"optim.max_grad_norm={limit}"), run_dir=cut)
    assert torch.equal(*weights)
    assert not (cut / "model").exists()
    assert last_complete_checkpoint(cut / "checkpoints").name == "checkpoint-2"
    assert json.loads((cut / "run.json").read_text())["status"] == "failed"


# ------------------------------------------------------------------------------------- a real SIGKILL


@pytest.mark.slow
def test_a_process_killed_by_sigkill_goes_on_digit_for_digit(cut, folder):
    (folder / "config.yaml").write_text(CONFIG.replace("epochs: 2", "epochs: 30"))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}

    def start(name, *extra):
        command = [sys.executable, "-m", "plaudit", "train", "config.yaml", "--run-dir", name, *extra]
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=-3, stderr=-3)

    assert start(f"{cut.name}-reference").wait(timeout=200) == 0
    process = start(cut.name)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        found = last_complete_checkpoint(cut / "checkpoints") if (cut).exists() else None
        if found is not None and int(found.name.split("-")[1]) >= 14:
            break
        time.sleep(0.01)
    process.kill()
    assert process.wait(timeout=30) == -signal.SIGKILL
    assert not (cut / "model").exists()
    assert start(cut.name, "--resume").wait(timeout=200) == 0
    assert_same_end(cut, folder / f"{cut.name}-reference")
