"""Checkpoints of a run: marked as complete with the hash of every file, checked against it before one is resumed."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from typing_extensions import override

from plaudit.errors import CheckpointError
from plaudit.records import json_text, write_json
from plaudit.training.callbacks import MetricsFile

COMPLETE_FILE = "complete.json"
_HASHED_AT_ONCE = 4


class CompleteCheckpoints(TrainerCallback):
    """Marks a checkpoint as complete once every file of it is written; only such are resumed from.

    The mark lists size and hash of each file, and says how many rows of metrics there were.
    """

    def __init__(self, metrics: MetricsFile) -> None:
        """Ask ``metrics`` for its rows."""
        self._metrics = metrics

    @override
    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Write the mark."""
        if state.is_world_process_zero:
            directory = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
            mark = {"step": state.global_step, "metrics_rows": self._metrics.rows, "files": _hashes(directory)}
            write_json(directory / COMPLETE_FILE, mark)


def last_complete_checkpoint(directory: Path) -> Path | None:
    """Return the complete checkpoint with the most steps, or None."""
    marks = directory.glob(f"checkpoint-[0-9]*/{COMPLETE_FILE}")
    found = {int(mark.parent.name.removeprefix("checkpoint-")): mark.parent for mark in marks}
    return found[max(found)] if found else None


def check_checkpoint(directory: Path) -> None:
    """Raise CheckpointError where a file of a complete checkpoint is not as it was written.

    One of plaudit 0.1 has no hashes; of it only those files are looked at that transformers resumes from.
    """
    problem = next(_problems(directory), None)
    if problem is not None:
        raise CheckpointError(f"{problem}; remove {directory} to resume before it")


def metrics_rows(checkpoint: Path) -> int | None:
    """Return the rows of metrics that there were when a checkpoint was written; None of one of plaudit 0.1."""
    return json.loads((checkpoint / COMPLETE_FILE).read_bytes()).get("metrics_rows")


def _problems(directory: Path) -> Iterator[str]:
    path, step = directory / COMPLETE_FILE, int(directory.name.removeprefix("checkpoint-"))
    content = path.read_bytes()
    try:
        mark: Any = json.loads(content)
    except (ValueError, RecursionError):
        mark = None
    if mark == {"step": step}:
        yield from _problems_without_hashes(directory)
        return
    names = {"step", "metrics_rows", "files"}
    if not isinstance(mark, dict) or mark.keys() != names or json_text(mark).encode() != content:
        yield f"{path} is damaged"
        return
    if mark["step"] != step:
        yield f"{path} is of step {mark['step']}"
    listed, found = mark["files"], _hashes(directory)
    for name, written in listed.items():
        if name not in found:
            yield f"{directory / name} is missing"
        elif written != found[name]:
            yield f"{directory / name} is damaged: it is not the file that was written"


def _problems_without_hashes(directory: Path) -> Iterator[str]:
    state = directory / "trainer_state.json"
    try:
        TrainerState.load_from_json(str(state))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        yield f"{state} cannot be read: {error}"
    for file in sorted([*directory.glob("*.pt"), *directory.glob("*.pth")]):
        if not zipfile.is_zipfile(file):
            yield f"{file} is damaged"


def _hashes(directory: Path) -> dict[str, dict[str, Any]]:
    """Return, for the path of each file within ``directory``, its size in bytes and BLAKE2b-128 hash."""
    files = sorted(each for each in directory.rglob("*") if each.is_file() and each.name != COMPLETE_FILE)
    with ThreadPoolExecutor(_HASHED_AT_ONCE) as pool:
        hashes = pool.map(_hash, files)
        return {
            str(file.relative_to(directory)): {"bytes": file.stat().st_size, "hash": found}
            for file, found in zip(files, hashes, strict=True)
        }


def _hash(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
