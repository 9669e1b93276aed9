"""Callbacks of training: metrics.jsonl, the progress bar, and an orderly stop on Ctrl-C and SIGTERM."""

from __future__ import annotations

import json
import logging
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
from rich import progress
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from typing_extensions import override

from plaudit.errors import DataError, OutputError
from plaudit.models.checkpoint.hub import upload_folder
from plaudit.records import write_text
from plaudit.training.config import PushSection

_log = logging.getLogger(__name__)

PLACE = ("episode", "seconds")
"""Fields of a log that give its place in a run, beside step and epoch."""


class MetricsFile(TrainerCallback):
    """Appends every log to ``metrics.jsonl``; on resume, rows after the checkpoint are taken back first."""

    def __init__(self, path: Path, *, kept: int | None = None) -> None:
        """Write to ``path``, of which the first ``kept`` rows stand; None for those up to the step gone on from."""
        self.path = path
        self.rows = 0
        self._kept = kept
        self.last: dict[str, float] = {}

    @override
    def on_train_begin(self, args: TrainingArguments, state: TrainerState, *_: Any, **kwargs: Any) -> None:
        """Keep the rows up to the step that training goes on from."""
        if state.is_world_process_zero:
            rows = _rows(self.path) if self.path.exists() else []
            kept = [row for row in rows[: self._kept] if row["step"] <= state.global_step]
            self.rows = len(kept)
            write_text(self.path, "".join(json.dumps(row) + "\n" for row in kept))

    @override
    def on_log(self, args: Any, state: TrainerState, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Append one row: its place in the run, and ``train/rm/…`` or ``eval/rm/…``."""
        metrics = named_metrics(logs or {})
        if not metrics or not state.is_world_process_zero:
            return
        self.last |= metrics
        place = {name: logs[name] for name in PLACE if name in logs}
        row = {"step": state.global_step, "epoch": state.epoch, **place, **metrics}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        self.rows += 1


def named_metrics(logs: dict[str, float]) -> dict[str, float]:
    """Return the metrics of a log under their full names; transformers' own summary at the end is left out."""
    if "train_runtime" in logs:
        return {}
    named = {}
    for name, value in logs.items():
        if name in ("epoch", "total_flos", *PLACE):
            continue
        named[f"eval/{name.removeprefix('eval_')}" if name.startswith("eval_") else f"train/{name}"] = value
    return named


def _rows(path: Path) -> list[dict[str, Any]]:
    """Return the whole rows of a metrics file; a torn last line is left out.

    Raises:
        DataError: naming the line, where it is not a row of metrics.
    """
    rows = []
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines[:-1], start=1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict) or not isinstance(row.get("step"), int):
            raise DataError(f"{path}:{number}: not a row of metrics; remove the line or the file to go on")
        rows.append(row)
    return rows


class ProgressBar(TrainerCallback):
    """Shows steps, loss and accuracy while training runs."""

    def __init__(self) -> None:
        """Prepare the bar."""
        self._progress: progress.Progress | None = None

    @override
    def on_train_begin(self, args: TrainingArguments, state: TrainerState, *_: Any, **kwargs: Any) -> None:
        """Start at the step that training goes on from."""
        if not state.is_world_process_zero:
            return
        self._progress = progress.Progress(
            progress.TextColumn("training"),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TimeElapsedColumn(),
            progress.TimeRemainingColumn(),
            progress.TextColumn("{task.fields[metrics]}"),
        )
        self._progress.start()
        self._progress.add_task("steps", total=state.max_steps, completed=state.global_step, metrics="")

    @override
    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Move on by one step."""
        if self._progress is not None:
            self._progress.update(self._progress.task_ids[0], completed=state.global_step)

    @override
    def on_log(self, args: Any, state: TrainerState, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Show the latest loss, and accuracy or error."""
        if self._progress is None or logs is None:
            return
        if "rm/loss" in logs:
            self._progress.update(self._progress.task_ids[0], metrics=_in_words(logs, "rm/"))
        elif "eval_rm/loss" in logs:
            self._progress.console.print(f"step {state.global_step}: held out: {_in_words(logs, 'eval_rm/')}")

    @override
    def on_train_end(self, *_: Any, **kwargs: Any) -> None:
        """Take the bar down, also after an error."""
        if self._progress is not None:
            self._progress.stop()


class PushCheckpoints(TrainerCallback):
    """Pushes every checkpoint to the hub, one commit each; one that fails is told, and training goes on."""

    def __init__(self, push: PushSection) -> None:
        """Push to the repository of ``push``."""
        self._push = push

    @override
    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Push the model of the checkpoint."""
        if not state.is_world_process_zero:
            return
        directory = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
        where = {"private": self._push.private, "revision": self._push.revision}
        try:
            upload_folder(directory, self._push.repo, message=f"Step {state.global_step}", **where)
        except OutputError as error:
            _log.warning("%s; training goes on", error)


class OrderlyStop(TrainerCallback):
    """On the first Ctrl-C, or SIGTERM: finish the step, save a checkpoint, stop. On a further Ctrl-C: stop at once.

    ``asked`` is whether this process got the signal; ``stopped`` whether any did, which all ranks agree on at the end
    of a step, so that they stop at the same one.
    """

    def __init__(self) -> None:
        """Wait for the signal."""
        self.asked = False
        self.stopped = False
        self._previous: dict[int, Any] = {}

    @override
    def on_train_begin(self, args: TrainingArguments, state: TrainerState, *_: Any, **kwargs: Any) -> None:
        """Take over both signals, which only the main thread may."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._interrupt)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        # A scheduler may repeat SIGTERM, and torchrun hands on its own: only a person is impatient.
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = True

    @override
    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Save and stop when any rank was asked to."""
        self._agree(args.device)
        if self.stopped:
            control.should_save = True
            control.should_training_stop = True

    @override
    def on_train_end(self, args: TrainingArguments, state: TrainerState, *_: Any, **kwargs: Any) -> None:
        """Give the signals back, and heed one that came since the last step ended."""
        self.give_back()
        self._agree(args.device)

    def _agree(self, device: torch.device) -> None:
        """Set ``stopped`` to whether any rank was asked to stop."""
        self.stopped = self.asked
        if dist.is_initialized():
            asked = torch.tensor(int(self.asked), device=device)
            dist.all_reduce(asked, op=dist.ReduceOp.MAX)
            self.stopped = bool(asked.item())

    def give_back(self) -> None:
        """Give the signals back to whoever had them, also after an error."""
        while self._previous:
            signal.signal(*self._previous.popitem())


_SHOWN = ("loss", "accuracy", "step_accuracy", "mse")


def _in_words(logs: dict[str, float], prefix: str) -> str:
    """Return the latest metrics as a line of progress."""
    found = [(name, logs[prefix + name]) for name in _SHOWN if prefix + name in logs]
    return "  ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in found)
