"""One round of semi-supervised training: its files, its config, its model and how that model does."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import assert_never

from plaudit.data.reading.config import DataFile
from plaudit.data.reading.read import read_groups
from plaudit.errors import ConfigError, ModelError
from plaudit.evaluation.run import evaluate
from plaudit.labeling.config import SemiSupervisedConfig
from plaudit.models.checkpoint.recipe import RECIPE_FILE
from plaudit.records import Interval, RunRecord
from plaudit.scoring.load import load
from plaudit.training.config import DataSection, ModelSection, PretrainedInit, ScratchInit, TrainConfig
from plaudit.training.run import MODEL_FOLDER

DATA_FOLDER = "data"


def round_folder(run_dir: Path, number: int) -> Path:
    """Return the folder of a round's training run."""
    return run_dir / f"round_{number}"


def pseudo_file(run_dir: Path, number: int) -> Path:
    """Return the file of the pseudo-labels that a round is trained on."""
    return run_dir / "pseudo" / f"round_{number}.jsonl"


def round_config(config: SemiSupervisedConfig, run_dir: Path, number: int, *, labelled_groups: int) -> TrainConfig:
    """Return the training config of a round, whose files stand in ``run_dir``.

    All is as in ``config.train`` but the data and, with ``start: previous``, the weights. A tokenizer made from the
    training texts is made from the labelled ones in every round: they come first, and it reads no further.
    """
    files = [labelled_file(run_dir), *([pseudo_file(run_dir, number)] if number else [])]
    held_out = held_out_file(run_dir)
    data = DataSection(
        train=tuple(DataFile(path=str(path), format="groups") for path in files),
        held_out=(DataFile(path=str(held_out), format="groups"),) if held_out.exists() else (),
        held_out_share=0,
    )
    model = config.train.model
    match config.start:
        case "previous" if number > 0:
            model = model.model_copy(update={"init": _continued(model, round_folder(run_dir, number - 1))})
        case "initial" | "previous":
            if isinstance(model.init, ScratchInit):
                read = min(model.init.tokenizer_groups, labelled_groups)
                model = model.model_copy(update={"init": model.init.model_copy(update={"tokenizer_groups": read})})
        case _:
            assert_never(config.start)
    name = f"{config.train.name}-round-{number}"
    return config.train.model_copy(update={"name": name, "data": data, "model": model})


def _continued(model: ModelSection, folder: Path) -> PretrainedInit:
    """Return the start from the model of the run in ``folder``."""
    path = str(folder / MODEL_FOLDER)
    match model.init:
        case PretrainedInit() as init:
            return init.model_copy(update={"path": path})
        case ScratchInit():
            return PretrainedInit(path=path)
        case _:
            assert_never(model.init)


def labelled_file(run_dir: Path) -> Path:
    """Return the file of the labelled groups that every round is trained on."""
    return run_dir / DATA_FOLDER / "labelled.jsonl"


def held_out_file(run_dir: Path) -> Path:
    """Return the file of the held-out groups; it is there where there are any."""
    return run_dir / DATA_FOLDER / "held_out.jsonl"


def model_hash(folder: Path) -> str:
    """Return a short hash of the weights and the scoring recipe of the model that the run in ``folder`` trained.

    Raises:
        ModelError: when there are none.
    """
    model = folder / MODEL_FOLDER
    files = [*sorted(model.glob("*.safetensors")), model / RECIPE_FILE]
    if len(files) == 1 or not files[-1].exists():
        raise ModelError(f"{model} holds no whole model; remove {folder} to train that round again")
    digest = hashlib.blake2b(digest_size=8)
    for file in files:
        with file.open("rb") as opened:
            while block := opened.read(2**24):
                digest.update(block)
    return digest.hexdigest()


def is_trained(folder: Path) -> bool:
    """Return whether the training run in ``folder`` has finished and left its model."""
    has_model = (folder / MODEL_FOLDER / RECIPE_FILE).exists()
    return has_model and run_record(folder).status == "finished"


def run_record(folder: Path) -> RunRecord:
    """Return the record of the training run in ``folder``.

    Raises:
        ConfigError: when it cannot be read.
    """
    path = folder / "run.json"
    try:
        return RunRecord.model_validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}; remove {folder} to train that round again") from None


def held_out_accuracy(run_dir: Path, number: int, *, name: str) -> Interval | None:
    """Return the accuracy of a round's model on the held-out groups, and leave the evaluation in its run.

    None where there are no held-out groups, or none of them can be scored.
    """
    folder, held_out = round_folder(run_dir, number), held_out_file(run_dir)
    if not held_out.exists():
        return None
    groups = read_groups(held_out, format="groups", cache_dir=held_out.parent)
    result = evaluate(
        load(folder),
        groups,
        name="held_out",
        model=name,
        output_dir=folder / "eval" / "held_out",
        recipe_hash=run_record(folder).model["recipe_hash"],
        weights_hash=model_hash(folder),
        data_fingerprint=groups.fingerprint,
    )
    return result.figures.get("accuracy")
