"""The folder of a training run: one process at a time, of one config, swept of what a killed process left behind."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from plaudit.config import dump_config, load_config
from plaudit.errors import ConfigError
from plaudit.journal import locked
from plaudit.models.checkpoint.recipe import RECIPE_FILE
from plaudit.records import RunRecord, first_problem, write_text
from plaudit.training.checkpoints import COMPLETE_FILE
from plaudit.training.config import TrainConfig

CONFIG_FILE = "config.yaml"
RECORD_FILE = "run.json"
MODEL_FOLDER = "model"
CHECKPOINTS_FOLDER = "checkpoints"
DATA_FOLDER = "data"
HELD_OUT_FILE = "held_out.jsonl"
METRICS_FILE = "metrics.jsonl"

_REPLACED = (MODEL_FOLDER, CHECKPOINTS_FOLDER, METRICS_FILE, RECORD_FILE, RECIPE_FILE, "config.json")
"""Names in a folder that training would replace, and those by which it is the folder of a model itself."""
_LEFTOVER = re.compile(r"\..+\.[a-z0-9_]{8}")
"""Name of a file or folder that is written beside the one that it is to become, see ``tempfile.mkstemp``."""


@contextlib.contextmanager
def claimed(config: TrainConfig, run_dir: Path, *, resume: bool) -> Iterator[None]:
    """Keep other processes out of the run's folder inside the block, which trains by ``config`` in it.

    Where the block ends before ``run.json`` is written, the folder is no run yet and is given back.

    Raises:
        ConfigError: when the folder holds another run, or what a run would replace and did not make; when it is to be
            resumed with another config, or holds no run to resume.
        OutputError: naming the holder, when another process is training in it.
    """
    if resume and not (run_dir / CONFIG_FILE).exists():
        raise ConfigError(
            f"{run_dir} holds no run to resume ({CONFIG_FILE} is missing); leave out --resume to start one"
        )
    try:
        with locked(run_dir / RECORD_FILE, what=run_dir):
            _claim(config, run_dir, resume=resume)
            _sweep(run_dir)
            try:
                yield
            finally:
                if not (run_dir / RECORD_FILE).exists():
                    (run_dir / CONFIG_FILE).unlink(missing_ok=True)
    finally:
        for folder in (run_dir / DATA_FOLDER, run_dir):
            with contextlib.suppress(OSError):
                folder.rmdir()  # where nothing stands in it


def _claim(config: TrainConfig, run_dir: Path, *, resume: bool) -> None:
    path = run_dir / CONFIG_FILE
    if not path.exists():
        foreign = [name for name in _REPLACED if (run_dir / name).exists()]
        if foreign:
            raise ConfigError(
                f"{run_dir} holds {', '.join(foreign)} but no {CONFIG_FILE}, so it is no run, and training would "
                "replace what is there; choose another --run-dir"
            )
        write_text(path, dump_config(config))
        return
    if not resume:
        raise ConfigError(f"{run_dir} holds a run already; add --resume to go on with it, or choose another --run-dir")
    begun = load_config(TrainConfig, path)
    # Rows of metrics change no weight, and plaudit 0.1 wrote its default of then.
    begun = begun.model_copy(update={"step": begun.step.model_copy(update={"log_every": config.step.log_every})})
    if begun == config:
        return
    length = {"epochs": config.step.epochs, "max_steps": config.step.max_steps}
    if begun.model_copy(update={"step": begun.step.model_copy(update=length)}) == config:
        raise ConfigError(
            f"{run_dir} was begun with another length of training, and its learning rate decays over that length, so "
            "it cannot go on for longer. Either start a new run from its weights, with model.init.type=pretrained "
            f"model.init.path={run_dir / MODEL_FOLDER} and another --run-dir, or train anew for the new length, with "
            "another --run-dir alone"
        )
    raise ConfigError(f"the config differs from {path}, the one this run was started with; resume with that one")


def is_finished(run_dir: Path) -> bool:
    """Return whether the training run in ``run_dir`` has ended by itself and left its model."""
    has_model = (run_dir / MODEL_FOLDER / RECIPE_FILE).exists()
    return has_model and (run_dir / RECORD_FILE).exists() and run_record(run_dir).status == "finished"


def run_record(run_dir: Path) -> RunRecord:
    """Return the record of the training run in ``run_dir``.

    Raises:
        ConfigError: when it cannot be read.
    """
    path = run_dir / RECORD_FILE
    try:
        return RunRecord.model_validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        words = first_problem(error) if isinstance(error, ValueError) else error.strerror or error
        raise ConfigError(f"{path} cannot be read, so what the run was begun with is unknown: {words}") from None


def _sweep(run_dir: Path) -> None:
    """Remove what a killed process left: half-written files, and checkpoints that were never completed."""
    beside = [each for folder in (run_dir, run_dir / DATA_FOLDER) for each in folder.glob(".*")]
    checkpoints = run_dir.glob(f"{CHECKPOINTS_FOLDER}/checkpoint-[0-9]*")
    leftovers = [
        *(each for each in beside if _LEFTOVER.fullmatch(each.name)),
        *(each for each in checkpoints if each.is_dir() and not (each / COMPLETE_FILE).exists()),
    ]
    for each in leftovers:
        if each.is_dir() and not each.is_symlink():
            shutil.rmtree(each, ignore_errors=True)
        else:
            each.unlink(missing_ok=True)
