"""The Python door: train and evaluate, from whatever holds the data.

Data is a path, several paths, a list of dicts or of groups, a pandas DataFrame or a ``datasets.Dataset``. A model is
whatever the command line takes for MODEL, or a scorer.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeAlias

from pydantic_core import to_jsonable_python

from plaudit.config import dump_config, load_config
from plaudit.data.reading.options import ReadingOptions, reading_options
from plaudit.data.reading.read import read_groups
from plaudit.data.reading.sources.fields import is_list
from plaudit.data.reading.write import write_groups
from plaudit.data.schema.group import Group
from plaudit.data.schema.group_set import GroupSet
from plaudit.errors import ConfigError, DataError
from plaudit.evaluation.run import evaluate as evaluate_groups
from plaudit.model_card import push, write_model_card
from plaudit.opening import load, open_scorer
from plaudit.records import Result, replacing, write_text
from plaudit.scoring.scorer import Scorer
from plaudit.training.config import TrainConfig
from plaudit.training.from_data import config_from_data, run_name
from plaudit.training.run import train as run_training
from plaudit.training.run_folder import HELD_OUT_FILE

if TYPE_CHECKING:
    from datasets import Dataset
    from pandas import DataFrame

Data: TypeAlias = (
    "str | Path | Sequence[str | Path] | Iterable[Mapping[str, Any]] | Iterable[Group] | DataFrame | Dataset"
)
"""Labelled data, wherever it is."""

EVAL_FOLDER = "eval"
HELD_OUT = "held_out"
RUNS = Path("runs")


def train(
    data: TrainConfig | Data,
    model: str | Path | None = None,
    *,
    held_out: Data | None = None,
    run_dir: str | Path | None = None,
    name: str | None = None,
    overrides: Sequence[str] = (),
    resume: bool = False,
    **reading: Any,
) -> Path:
    """Return the folder of a training run: its model, its config, its result on held-out groups, its model card.

    Args:
        data: a ``TrainConfig``, the YAML file of one, or labelled data to train ``model`` on.
        model: the model to begin with, a folder, a run or a hub id; only with data.
        held_out: labelled data to evaluate on; the default is a tenth of the prompts.
        run_dir: folder of the run; the default is ``runs/NAME-TIME``.
        name: name of the run, which is else made of those of data and model.
        overrides: changes to the config, as on the command line: ``("optim.lr=3e-6",)``.
        resume: go on from the last checkpoint in ``run_dir``.
        reading: fields of ``ReadingOptions``, as ``format="trl"``.

    Raises:
        ConfigError, DataError, ModelError, TrainingError: see ``plaudit.training.run.train``.
    """
    if isinstance(data, TrainConfig):
        config = data
        if model is not None or held_out is not None or overrides:
            raise ConfigError("a config says what is trained on what: leave out model, held_out and overrides")
    elif isinstance(data, str | Path) and Path(data).suffix in (".yaml", ".yml"):
        config = load_config(TrainConfig, Path(data), overrides)
    elif model is None:
        raise ConfigError('name the model to train: plaudit.train(data, model="Qwen/Qwen3-0.6B")')
    else:
        called = name or run_name(_name_of(data), str(model))
        folder = run_folder(called) if run_dir is None else Path(run_dir)
        if (folder / "config.yaml").exists() and not resume:
            raise ConfigError(f"{folder} holds a run already; go on with resume=True, or choose another run_dir")
        files = _kept(data, folder / "given" / "train.jsonl")
        apart = () if held_out is None else _kept(held_out, folder / "given" / "held_out.jsonl")
        made = config_from_data(files, str(model), held_out=apart, reading=reading_options(**reading), name=called)
        config = with_overrides(made, overrides)
        return _trained(config, folder, resume=resume)
    return _trained(config, run_folder(config.name) if run_dir is None else Path(run_dir), resume=resume)


def _kept(data: Any, file: Path) -> list[str | Path]:
    """Return the paths of ``data``; rows in memory go into the run, so that its config can be trained again.

    Raises:
        ConfigError: when a run was begun with other rows.
    """
    with TemporaryDirectory(prefix="plaudit-") as folder:
        written = Path(folder) / file.name
        paths = paths_of(data, written)
        if paths != [written]:
            return paths
        content = written.read_bytes()
    if file.exists() and file.read_bytes() != content:
        raise ConfigError(f"the data differs from {file}, with which the run was begun; choose another run_dir")
    write_text(file, content.decode())
    return [file]


def _trained(config: TrainConfig, folder: Path, *, resume: bool) -> Path:
    run = run_training(config, run_dir=folder, resume=resume)
    if os.environ.get("RANK", "0") == "0":
        finish(config, run)
    return run


def with_overrides(config: TrainConfig, overrides: Sequence[str]) -> TrainConfig:
    """Return ``config`` changed by ``key=value`` overrides; see ``load_config``."""
    if not overrides:
        return config
    with TemporaryDirectory(prefix="plaudit-") as folder:
        path = Path(folder) / "config.yaml"
        path.write_text(dump_config(config), encoding="utf-8")
        return load_config(TrainConfig, path, overrides)


def run_folder(name: str) -> Path:
    """Return the folder of a run that is given none: ``runs/NAME-TIME``."""
    return RUNS / f"{name}-{datetime.now(UTC):%Y%m%d-%H%M%S}"


def finish(config: TrainConfig, run: Path) -> Result | None:
    """Return the result of a finished run's model on its held-out groups, None of none, and write its model card."""
    held_out = run / "data" / HELD_OUT_FILE
    result = None
    if held_out.stat().st_size > 0:
        scorer = load(run, trust_remote_code=config.model.trusts_code)
        result = held_out_result(scorer, held_out, run, config.name)
    write_model_card(run)
    if config.push is not None:
        push(run, config.push.repo, private=config.push.private, revision=config.push.revision)
    return result


def held_out_result(scorer: Scorer, file: Path, run: Path, model: str) -> Result:
    """Return the result of a run's model, called ``model``, on the held-out groups of ``file``, kept in the run."""
    groups = read_groups(file, format="groups")
    return evaluate_groups(
        scorer,
        groups,
        name=HELD_OUT,
        model=model,
        output_dir=run / EVAL_FOLDER / HELD_OUT,
        data_fingerprint=groups.fingerprint,
    )


def evaluate(
    scorer: str | Path | Scorer,
    groups: Data,
    *,
    name: str | None = None,
    model: str | None = None,
    output_dir: str | Path | None = None,
    **options: Any,
) -> Result:
    """Return the result of a model on labelled data: a measure for each kind of label, with intervals and baselines.

    Args:
        scorer: a MODEL as the command line takes it, or a scorer.
        groups: labelled data.
        name: name of the data; the default is that of its file.
        model: name of the model in the result; the default is the MODEL itself.
        output_dir: folder for ``result.json``, ``items.jsonl`` and the others; nothing is written without one.
        options: fields of ``ReadingOptions``, as ``format="trl"``; and ``tie_rule``, ``answer_pattern``, ``seed`` and
            the others of ``plaudit.evaluation.run.evaluate``.

    Raises:
        DataError, ModelError, ConfigError: about data, model and options.
    """
    opened = open_scorer(str(scorer)) if isinstance(scorer, str | Path) else scorer
    called = model or (str(scorer) if isinstance(scorer, str | Path) else type(scorer).__name__)
    reading = {name: options.pop(name) for name in [*options] if name in ReadingOptions.model_fields}
    with TemporaryDirectory(prefix="plaudit-") as folder:
        found = groups_of(groups, Path(folder), reading_options(**reading))
        where = Path(folder) / "result" if output_dir is None else Path(output_dir)
        given: dict[str, Any] = {"data_fingerprint": found.fingerprint, **options}
        return evaluate_groups(opened, found, name=name or _name_of(groups), model=called, output_dir=where, **given)


def _name_of(data: Any) -> str:
    first: Any = next(iter(data), None) if is_list(data) else data
    return Path(first).name.split(".")[0] if isinstance(first, str | Path) else "data"


# ------------------------------------------------------------------------------------------------------------ data


def groups_of(data: Any, folder: Path, reading: ReadingOptions) -> GroupSet:
    """Return ``data`` as groups; rows in memory are read as those of a file in ``folder`` are."""
    if isinstance(data, GroupSet):
        return data
    paths = paths_of(data, folder / "data.jsonl")
    in_memory = paths == [folder / "data.jsonl"]
    return read_groups(paths, reading, cache_dir=folder / "cache" if in_memory else None)


def paths_of(data: Any, file: Path) -> list[str | Path]:
    """Return the paths of ``data``; rows in memory are written to ``file``, in JSON Lines, first.

    Raises:
        DataError: for anything that holds no rows, and for a ``DatasetDict``, whose split must be named.
    """
    if isinstance(data, str | Path):
        return [data]
    rows = list(_rows_of(data))
    if not rows:
        raise DataError("the data holds no rows")
    if all(isinstance(row, str | Path) for row in rows):
        return rows
    if all(isinstance(row, Group) for row in rows):
        write_groups(file, rows)
        return [file]
    with replacing(file) as target:
        for number, row in enumerate(rows, start=1):
            if not isinstance(row, Mapping):
                raise DataError(f"row {number} of the data is {type(row).__name__}; it must be a dict or a Group")
            try:
                written = json.dumps(_plain(row), ensure_ascii=False, allow_nan=False).encode()
            except ValueError as error:
                raise DataError(f"row {number} of the data cannot be written as JSON: {error}") from error
            target.write(written + b"\n")
    return [file]


def _rows_of(data: Any) -> Iterator[Any]:
    """Yield the rows of a list, a DataFrame or a data set."""
    kind = type(data).__name__
    if kind in ("DatasetDict", "IterableDatasetDict"):
        raise DataError(f"the data is a {kind} with the splits {', '.join(data)}; name one: data[{next(iter(data))!r}]")
    if kind == "DataFrame":
        # to_dict gives Python values; both pandas and polars have it, with other words for rows.
        yield from data.to_dict("records") if hasattr(data, "iterrows") else data.to_dicts()
    elif isinstance(data, Mapping) or not isinstance(data, Iterable):
        raise DataError(
            f"the data is {type(data).__name__}; it must be a path, a list of dicts or groups, a DataFrame or a Dataset"
        )
    else:
        yield from data


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: arrays as lists, NaN of a missing cell as null."""
    if isinstance(value, float) and value != value:
        return None
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if is_list(value):
        return [_plain(each) for each in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    return to_jsonable_python(value)
