"""The config of a training run from data and the name of a base model alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from plaudit.data.reading.options import DataFile, ReadingOptions
from plaudit.data.reading.places import STANDARD_INPUT
from plaudit.data.reading.read import load_files
from plaudit.data.schema.group import Group
from plaudit.errors import ConfigError, DataError
from plaudit.models.backbone import load_config_of, resolve_source
from plaudit.training.config import DataSection, ModelSection, OptimSection, PretrainedInit, StepSection, TrainConfig

_LOOKED_AT = 100
"""Groups of each file whose labels choose the objective."""


def config_from_data(
    files: Sequence[str | Path],
    model: str,
    *,
    held_out: Sequence[str | Path] = (),
    reading: ReadingOptions | None = None,
    name: str | None = None,
    cache_dir: Path | None = None,
) -> TrainConfig:
    """Return the config of a run that trains ``model``, a folder, run or hub id, on the groups of ``files``.

    The first groups choose the objective: Bradley–Terry for preferences and for ranks, else ``process`` for labelled
    steps, ``outcome`` for right and wrong responses, ``regression`` for ratings. Without ``held_out`` files a tenth of
    the prompts is held out. One pass, 16 groups a step, a peak learning rate of 0.04 ÷ the model's width (1e-4 for a
    width of 384, 1e-5 for 4,096): wide models take smaller steps.

    Raises:
        ConfigError: when there is no file or no model.
        DataError: when a file cannot be read, or carries no label that a model can be trained on.
        ModelError: when there is no such model.
    """
    if not files:
        raise ConfigError("there is nothing to train on: name a file of data")
    how = reading or ReadingOptions()
    train, apart = (_data_files(paths, how) for paths in (files, held_out))
    first = [file.model_copy(update={"limit": min(file.limit or _LOOKED_AT, _LOOKED_AT)}) for file in train]
    groups = list(islice(load_files(first, cache_dir=cache_dir), _LOOKED_AT))
    objective, pairs = objective_for(groups, str(files[0]))
    if pairs is not None:
        train, apart = (tuple(file.model_copy(update={"pairs": pairs}) for file in part) for part in (train, apart))
    return TrainConfig(
        name=name or run_name(str(files[0]), model),
        model=ModelSection(init=PretrainedInit(path=model)),
        data=DataSection(train=train, held_out=apart),
        objective=objective,
        optim=OptimSection(lr=_learning_rate(model), schedule="linear", warmup=0.1, weight_decay=0.01),
        step=StepSection(
            groups_per_step=16, log_every=5, precision="bfloat16" if torch.cuda.is_available() else "float32"
        ),
    )


def objective_for(groups: Sequence[Group], path: str) -> tuple[dict[str, Any], str | None]:
    """Return the section of the objective that the labels of ``groups`` ask for, and the pairs to make of ranks.

    Raises:
        DataError: naming ``path``, when they carry none.
    """
    if any(group.preferences for group in groups):
        return {"type": "bradley_terry"}, None
    if any(len(set(group.ranks or ())) > 1 for group in groups):
        return {"type": "bradley_terry"}, "all"
    if any(step.label is not None for group in groups for steps in group.steps or () for step in steps or ()):
        return {"type": "process"}, None
    if any(outcome is not None for group in groups for outcome in group.outcomes or ()):
        return {"type": "outcome"}, None
    rated = {name for group in groups for name, values in group.ratings.items() if any(v is not None for v in values)}
    if rated:
        return {"type": "regression", "attributes": sorted(rated), "standardise": True}, None
    raise DataError(
        f"{path}: the first {len(groups)} groups carry no label to train on: no preferences, ranks, labelled steps, "
        "outcomes or ratings; `plaudit data show` tells what was read"
    )


def _data_files(paths: Sequence[str | Path], how: ReadingOptions) -> tuple[DataFile, ...]:
    """Return each path with the reading options that are given."""
    given = how.model_dump(exclude_defaults=True)
    if STANDARD_INPUT in map(str, paths):
        raise ConfigError("a run names its data, so that it can be made again: write standard input to a file")
    return tuple(DataFile.model_validate({**given, "path": str(path)}) for path in paths)


def run_name(path: str, model: str) -> str:
    """Return ``pairs-Qwen3-0.6B`` for the file ``data/pairs.jsonl`` and the model ``Qwen/Qwen3-0.6B``."""
    parts = (Path(path).name.split(".")[0], model.rstrip("/").split("/")[-1])
    return re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(part for part in parts if part)).strip("-._") or "run"


def _learning_rate(model: str) -> float:
    """Return 0.04 ÷ the width of the backbone, to one digit, from 5e-6 to 1e-4."""
    width = getattr(load_config_of(resolve_source(model)).get_text_config(), "hidden_size", None)
    if not isinstance(width, int) or width < 1:
        return OptimSection().lr
    return float(f"{min(max(0.04 / width, 5e-6), 1e-4):.0e}")
