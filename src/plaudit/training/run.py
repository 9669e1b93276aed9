"""A training run from its config to its folder: data, model, training, checkpoint, record."""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections.abc import Generator, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from accelerate import PartialState
from safetensors import SafetensorError
from transformers import TrainerCallback
from transformers.trainer_callback import PrinterCallback
from transformers.utils.logging import disable_progress_bar

from plaudit.batching.planner import num_steps
from plaudit.data.reading.write import write_groups
from plaudit.errors import ConfigError, DataError, OutputError, PlauditError, TrainingError
from plaudit.models.checkpoint.files import load_reward_model, save_reward_model
from plaudit.models.checkpoint.four_bit import num_weights, share_in_words
from plaudit.models.checkpoint.recipe import reward_in_words
from plaudit.models.create import merge_lora
from plaudit.models.heads.odin import OdinHead
from plaudit.models.parity import LayoutProof
from plaudit.models.reward_model import RewardModel
from plaudit.provenance import made_now
from plaudit.records import RunRecord, write_record
from plaudit.training.arguments import total_steps, training_arguments
from plaudit.training.callbacks import MetricsFile, OrderlyStop, ProgressBar, PushCheckpoints
from plaudit.training.checkpoints import CompleteCheckpoints, check_checkpoint, last_complete_checkpoint, metrics_rows
from plaudit.training.config import TrainConfig
from plaudit.training.diagnosis import steps_in_words
from plaudit.training.prepare import (
    PreparedTokens,
    check_margins,
    missing_label_in_words,
    prepare_groups,
    prepare_model,
    prepare_tokens,
    trained_head,
)
from plaudit.training.run_folder import (
    CHECKPOINTS_FOLDER,
    DATA_FOLDER,
    HELD_OUT_FILE,
    METRICS_FILE,
    MODEL_FOLDER,
    RECORD_FILE,
    claimed,
    is_finished,
    run_record,
)
from plaudit.training.trainer import RewardTrainer


def train(config: TrainConfig, *, run_dir: Path, resume: bool = False) -> Path:
    """Train as ``config`` says and return ``run_dir``, which then holds everything the run made.

    ``config.yaml``, ``run.json``, ``metrics.jsonl``, ``model/``, ``checkpoints/``, ``data/`` (token sets and the
    held-out groups) and ``tensorboard/``. With ``resume`` the run goes on from its last complete checkpoint, digit
    for digit as if it had not been interrupted; without one it starts again.

    Raises:
        ConfigError: when the folder holds another run, resumes with another config, other data or another recipe, or
            holds none to resume.
        DataError, ModelError, LayoutError, TrainingError: as their names say.
        OutputError: when the folder cannot be written, or another process is training in it; files written before are
            whole.
    """
    training_arguments(config, run_dir, steps_per_epoch=1)
    trained_head(config)
    disable_progress_bar()
    state = PartialState(cpu=not torch.cuda.is_available())
    if config.step.threads is not None:
        torch.set_num_threads(config.step.threads)
    is_main = state.is_main_process
    with claimed(config, run_dir, resume=resume) if is_main else contextlib.nullcontext():
        if resume and is_finished(run_dir):
            if is_main:
                print(f"{run_dir} is finished already: nothing was changed")
            return run_dir
        with state.main_process_first():
            prepared = _prepare(config, run_dir, resume=resume, state=state)
        return _run(config, run_dir, *prepared)


def _prepare(
    config: TrainConfig, run_dir: Path, *, resume: bool, state: PartialState
) -> tuple[RewardModel, PreparedTokens, PreparedTokens | None, RunRecord, Path | None]:
    """Return what is trained and on what, the record of the run, and the checkpoint that it goes on from."""
    train_groups, held_out_groups = prepare_groups(config.data, cache_dir=run_dir / DATA_FOLDER)
    model, proof = prepare_model(config, train_groups)
    train_tokens = prepare_tokens(train_groups, model, run_dir / DATA_FOLDER, config)
    _check_something_left(train_tokens)
    check_margins(train_tokens.tokens, config.objective)
    held_out = prepare_tokens(held_out_groups, model, run_dir / DATA_FOLDER, config) if len(held_out_groups) else None
    _check_evaluation(config, held_out)
    record = _first_record(config, model, proof, train_tokens, held_out, state.num_processes)
    checkpoint = last_complete_checkpoint(run_dir / CHECKPOINTS_FOLDER) if resume else None
    if state.is_main_process:
        _check_same_inputs(run_dir, record)
        if checkpoint is not None:
            check_checkpoint(checkpoint)
        write_groups(run_dir / DATA_FOLDER / HELD_OUT_FILE, held_out_groups)
        write_record(run_dir / RECORD_FILE, record)
        _tell(record)
        per_epoch = num_steps(len(train_tokens.rows), config.step.groups_per_step)
        print(steps_in_words(total_steps(config, per_epoch), config))
    return model, train_tokens, held_out, record, checkpoint


def _run(
    config: TrainConfig,
    run_dir: Path,
    model: RewardModel,
    train_tokens: PreparedTokens,
    held_out: PreparedTokens | None,
    record: RunRecord,
    checkpoint: Path | None,
) -> Path:
    kept = None if checkpoint is None else metrics_rows(checkpoint)
    metrics, stop, bar = MetricsFile(run_dir / METRICS_FILE, kept=kept), OrderlyStop(), ProgressBar()
    callbacks: list[TrainerCallback] = [metrics, bar, CompleteCheckpoints(metrics), stop]
    if config.push is not None:
        callbacks.append(PushCheckpoints(config.push))
    trainer = build_trainer(config, run_dir, model, train_tokens, held_out, callbacks)
    began, status = time.perf_counter(), "failed"
    try:
        with _writing_to(run_dir), _tracking(config.step.trackers):
            trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
            if stop.stopped:
                status = "stopped"
            else:
                trainer.eval_rows = None if held_out is None else held_out.rows
                trainer.evaluate()
                _save_final(trainer, model, run_dir, merge=config.model.lora is None or config.model.lora.merge)
                status = "finished"
    except KeyboardInterrupt:
        status = "stopped"
        raise
    finally:
        bar.on_train_end()
        stop.give_back()
        if trainer.is_world_process_zero():
            ended = record.model_copy(
                update={
                    "status": status,
                    "finished": _now(),
                    "figures": metrics.last,
                    "seconds": time.perf_counter() - began,
                }
            )
            write_record(run_dir / RECORD_FILE, ended)
    if dist.is_initialized():
        dist.barrier()
        trainer.unwrap()
        dist.destroy_process_group()
    if stop.stopped:
        raise KeyboardInterrupt
    return run_dir


def build_trainer(
    config: TrainConfig,
    run_dir: Path,
    model: RewardModel,
    train_tokens: PreparedTokens,
    held_out: PreparedTokens | None,
    callbacks: list[TrainerCallback],
) -> RewardTrainer:
    """Return the trainer that ``config`` describes."""
    steps = num_steps(len(train_tokens.rows), config.step.groups_per_step)
    arguments = training_arguments(config, run_dir, steps_per_epoch=steps)
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(run_dir / "tensorboard")
    trainer = RewardTrainer(
        model,
        arguments,
        objective=config.objective,
        train_tokens=train_tokens.tokens,
        train_rows=train_tokens.rows,
        groups_per_step=config.step.groups_per_step,
        max_tokens=config.step.max_tokens,
        eval_tokens=None if held_out is None else held_out.tokens,
        eval_rows=None if held_out is None else _some(held_out.rows, config.step.evaluate_groups),
        callbacks=callbacks,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _some(rows: np.ndarray, count: int) -> np.ndarray:
    """Return at most ``count`` rows, spread evenly."""
    if len(rows) <= count:
        return rows
    return rows[np.linspace(0, len(rows) - 1, count).astype(np.int64)]


def _save_final(trainer: RewardTrainer, model: RewardModel, run_dir: Path, *, merge: bool) -> None:
    """Save the trained model, of ODIN the quality head alone; a sharded one is gathered by the trainer itself."""
    folder = run_dir / MODEL_FOLDER
    if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
        trainer.save_model(str(folder))
        if trainer.is_world_process_zero() and isinstance(model.head, OdinHead):
            gathered, _ = load_reward_model(str(folder), layout="padded", device="cpu")
            save_reward_model(gathered.head.finished(gathered), folder)
    elif trainer.is_world_process_zero():
        whole = merge_lora(model) if merge else model
        save_reward_model(whole.head.finished(whole), folder)


@contextlib.contextmanager
def _writing_to(run_dir: Path) -> Iterator[None]:
    """Turn the libraries' errors over a full disk, and over a lost process of the job, into one line."""
    try:
        yield
    except PlauditError:
        raise
    except RuntimeError as error:
        if _is_about_writing(error):
            raise _not_written(run_dir, error) from error
        if dist.is_initialized() and _is_about_another_rank(error):
            raise TrainingError(
                f"rank {dist.get_rank()} of {dist.get_world_size()} has lost another process of the job, which the "
                "launcher names; its complete checkpoints are kept: go on with the same command and --resume"
            ) from error
        raise
    except (OSError, SafetensorError) as error:
        raise _not_written(run_dir, error) from error


@contextlib.contextmanager
def _tracking(trackers: Sequence[str]) -> Generator[None]:
    """Turn an error of the package of a tracker into one line."""
    try:
        yield
    except Exception as error:
        name = type(error).__module__.partition(".")[0]
        if name not in trackers:
            raise
        words = next(iter(str(error).splitlines()), type(error).__name__)
        raise ConfigError(f"step.trackers: {name} cannot be used: {words}; set it up, or leave it out") from error


def _not_written(run_dir: Path, error: Exception) -> OutputError:
    words = getattr(error, "strerror", None) or str(error).splitlines()[0]
    return OutputError(f"cannot write {run_dir}: {words}; its complete checkpoints are kept")


def _is_about_another_rank(error: RuntimeError) -> bool:
    """Return whether a collective operation failed: NCCL has an error of its own, gloo only words."""
    words = str(error)
    return isinstance(error, dist.DistError) or "gloo" in words or "onnection" in words


def _is_about_writing(error: RuntimeError) -> bool:
    """Return whether PyTorch's writer of checkpoints failed: it has no error of its own."""
    return "PytorchStreamWriter" in str(error) or "inline_container" in str(error)


def _check_something_left(train: PreparedTokens) -> None:
    if len(train.rows) == 0:
        left_out = train.counts["encoded"]["dropped"] | train.counts["encoded"]["changed"]
        reasons = ", ".join(f"{count} {reason}" for reason, count in left_out.items())
        raise DataError(
            f"no training group carries {missing_label_in_words(train.counts['labels'])}, which this objective needs: "
            f"{train.counts['groups']} of "
            f"{train.tokens.report.groups} groups were encoded{f' ({reasons})' if reasons else ''}"
        )


def _check_evaluation(config: TrainConfig, held_out: PreparedTokens | None) -> None:
    if config.step.evaluate_every is not None and held_out is None:
        raise ConfigError(
            f"step.evaluate_every is {config.step.evaluate_every}, but no group is held out to evaluate on; name files "
            "in data.held_out, raise data.held_out_share, or leave step.evaluate_every out"
        )


def _check_same_inputs(run_dir: Path, record: RunRecord) -> None:
    """Raise ConfigError where the run in ``run_dir``, if any, was begun on other data or with another recipe."""
    if not (run_dir / RECORD_FILE).exists():
        return
    before, now = _inputs_of(run_record(run_dir)), _inputs_of(record)
    changed = [
        f"{name} was {before.get(name)}, is {now.get(name)}"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]
    if changed:
        raise ConfigError(
            f"{run_dir} cannot be resumed, because what it was begun with has changed: {'; '.join(changed)}; "
            "restore it, or start another run"
        )


def _inputs_of(record: RunRecord) -> dict[str, str]:
    """Return the fingerprint of each data set, and the hash of the scoring recipe."""
    found = {f"the data of {name}": str(counts["fingerprint"]) for name, counts in record.data.items()}
    return found | {"the scoring recipe": str(record.model["recipe_hash"])}


def _first_record(
    config: TrainConfig,
    model: RewardModel,
    proof: LayoutProof,
    train_tokens: PreparedTokens,
    held_out: PreparedTokens | None,
    processes: int,
) -> RunRecord:
    trainable = [weight for weight in model.parameters() if weight.requires_grad]
    described: dict[str, Any] = {
        "architecture": model.recipe.architecture,
        "parameters": sum(num_weights(weight) for weight in model.parameters()),
        "trainable": sum(weight.numel() for weight in trainable),
        "layout": proof.layout,
        "layout_reason": proof.reason,
        "recipe_hash": model.recipe.hash,
        "max_length": model.recipe.max_length,
    }
    if config.model.tiny is not None:
        described["tiny"] = config.model.tiny
    if model.recipe.attribute_weights:
        described["reward"] = reward_in_words(model.recipe)
    if model.recipe.quantization is not None:
        described["quantization"] = share_in_words(model.parameters())
    cpu = f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else cpu
    return RunRecord(
        **made_now(),
        name=config.name,
        status="running",
        device=device,
        processes=processes,
        seed=config.step.seed,
        data={"train": train_tokens.counts} | ({} if held_out is None else {"held_out": held_out.counts}),
        model=described,
    )


def _tell(record: RunRecord) -> None:
    """Print the sizes of the data, and the counts of rows left out."""
    for name, counts in record.data.items():
        shared, separate = counts["tokens_shared"], counts["tokens_separate"]
        print(
            f"{name}: {counts['groups']} groups, {counts['preferences']} preferences; "
            f"{shared:,} tokens with shared prefixes, {separate:,} without ({separate / max(shared, 1):.1f}×)"
        )
        left_out = counts["read"]["dropped"] | counts["encoded"]["dropped"] | counts["encoded"]["changed"]
        if counts["without_labels"]:
            left_out = left_out | {
                f"groups without {missing_label_in_words(counts['labels'])}": counts["without_labels"]
            }
        bare = counts["preferences_without_margin"]
        if bare:
            left_out = left_out | {"preferences without a margin, which count as margin or strength 0": bare}
        for reason, count in left_out.items():
            print(f"{name}: {count} {reason}")
    print(f"layout: {record.model['layout']} ({record.model['layout_reason']})")
    if "reward" in record.model:
        print(f"reward of a response: {record.model['reward']} (objective.reward_weights sets others)")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
