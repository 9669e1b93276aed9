"""Reading of the inputs of a report: the directory of a training run, of an evaluation, or of a stress test."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from plaudit.errors import DataError
from plaudit.evaluation.metrics.best_of_n import BestOfN
from plaudit.evaluation.store.confident_errors import ConfidentErrors
from plaudit.evaluation.store.result_folder import ITEMS_NAME, RESULT_NAME, confident_errors_path
from plaudit.evaluation.stress.robustness import FlippedPairs, StressReport
from plaudit.evaluation.stress.run import FLIPPED_NAME, OLD_NAMES, REPORT_NAME, file_of
from plaudit.records import ItemScore, Record, Result, RunRecord, first_problem, read_items
from plaudit.reports.items import DataFile, Texts, texts_of

AnyRecord = TypeVar("AnyRecord", bound=Record)

CURVE_KEYS = {
    "reliability": ("confidence", "accuracy", "low", "high", "n"),
    "rewards": ("low", "high", "chosen", "rejected"),
    "margins": ("low", "high", "count"),
    "reliability_after_temperature": ("confidence", "accuracy", "low", "high", "n"),
    "selective": ("coverage", "accuracy", "low", "high"),
    "group_sizes": ("responses", "groups"),
}
"""Columns of the curves that are shown."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One evaluation directory as read; ``missing`` names the parts that are not there."""

    directory: Path
    result: Result
    items: tuple[ItemScore, ...] = ()
    confident_errors: ConfidentErrors | None = None
    texts: Texts = field(default_factory=dict)
    """Texts of the items that are known."""
    missing: tuple[str, ...] = ()
    model: str = ""
    """The model as it was named, where ``result`` has a short name for it."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run directory as read; ``missing`` names the parts that are not there."""

    directory: Path
    record: RunRecord | None = None
    config: str | None = None
    metrics: tuple[dict[str, float], ...] = ()
    story: str | None = None
    best_of_n: BestOfN | None = None
    evaluations: tuple[Evaluation, ...] = ()
    missing: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class StressTest:
    """One directory of a stress test as read; ``missing`` names the parts that are not there."""

    directory: Path
    report: StressReport
    turned: FlippedPairs | None = None
    missing: tuple[str, ...] = ()


Input = Run | Evaluation | StressTest


def read_inputs(path: Path, data: Sequence[DataFile] = ()) -> list[Input]:
    """Return the inputs in ``path``: a run, or an evaluation and a stress test, or those of the folders in it, by name.

    Instead of a folder, ``path`` may be its ``result.json`` or ``stress.json``. The texts of items are found in the
    files of ``data``, and of a run in its held-out groups.

    Raises:
        DataError: naming the file, when ``path`` is none of these or a file in it cannot be read.
    """
    wanted = "a report needs the directory of a run, of an evaluation or of a stress test"
    if not path.exists():
        raise DataError(f"{path}: does not exist; {wanted}")
    if path.name == RESULT_NAME:
        return [read_evaluation(path.parent, data)]
    if path.name in (REPORT_NAME, OLD_NAMES[REPORT_NAME]):
        return [read_stress_test(path.parent)]
    if not path.is_dir():
        raise DataError(f"{path}: is a file; {wanted}")
    found = _read_folder(path, data)
    for folder in () if found else sorted(path.iterdir()):
        found += _read_folder(folder, data)
    if not found:
        raise DataError(
            f"{path}: neither a run (run.json, metrics.jsonl, eval/) nor an evaluation (result.json, items.jsonl) nor "
            "a stress test (stress.json), nor a folder of them"
        )
    return found


def _read_folder(path: Path, data: Sequence[DataFile]) -> list[Input]:
    """Return the evaluation and the stress test, or the run, that stand in ``path`` itself."""
    found: list[Input] = [read_evaluation(path, data)] if (path / RESULT_NAME).exists() else []
    if not found and any((path / name).exists() for name in ("run.json", "metrics.jsonl", "eval")):
        found.append(read_run(path, data))
    if file_of(path, REPORT_NAME).exists():
        found.append(read_stress_test(path))
    return found


def read_stress_test(directory: Path) -> StressTest:
    """Return the stress test in ``directory``; only ``stress.json`` has to be there."""
    missing = list[str]()
    turned = _part(file_of(directory, FLIPPED_NAME), FlippedPairs, missing, "the pairs that turn most clearly")
    report = _read_record(file_of(directory, REPORT_NAME), StressReport)
    return StressTest(directory=directory, report=report, turned=turned, missing=tuple(missing))


def read_evaluation(directory: Path, data: Sequence[DataFile] = ()) -> Evaluation:
    """Return the evaluation in ``directory``, its texts from ``data``; only ``result.json`` has to be there."""
    missing = list[str]()
    items: tuple[ItemScore, ...] = ()
    if (directory / ITEMS_NAME).exists():
        items = tuple(read_items(directory / ITEMS_NAME))
    else:
        missing.append("items.jsonl (reward against length)")
    confident_errors = _part(
        confident_errors_path(directory), ConfidentErrors, missing, "the pairs it gets most confidently wrong"
    )
    result = _read_record(directory / RESULT_NAME, Result)
    _check_curves(result, directory / RESULT_NAME)
    return Evaluation(
        directory=directory,
        result=result,
        items=items,
        confident_errors=confident_errors,
        texts=texts_of(items, data) if items and data else {},
        missing=tuple(missing),
    )


def _check_curves(result: Result, path: Path) -> None:
    curves = {} if result.preference is None else result.preference.curves
    for name, keys in CURVE_KEYS.items():
        for number, row in enumerate(curves.get(name, ())):
            missing = [key for key in keys if key not in row]
            if missing:
                raise DataError(
                    f"{path}: curves.{name}[{number}] has no {', '.join(missing)}; its rows need {', '.join(keys)}"
                )


def read_run(directory: Path, data: Sequence[DataFile] = ()) -> Run:
    """Return the training run in ``directory``, with every evaluation below ``eval/``."""
    held_out = directory / "data" / "held_out.jsonl"
    if held_out.exists() and held_out.stat().st_size:
        data = (*data, (held_out, "groups"))
    missing = list[str]()
    record = _part(directory / "run.json", RunRecord, missing, "the record of the run")
    config = _read_text(directory / "config.yaml")
    if config is None:
        missing.append("config.yaml (the settings)")
    metrics = read_metrics(directory / "metrics.jsonl")
    if not metrics:
        missing.append("metrics.jsonl (the training curves)")
    folders = sorted((directory / "eval").glob("*/result.json")) if (directory / "eval").is_dir() else []
    if not folders:
        missing.append("eval/<name>/result.json (evaluations)")
    best_of_n = directory / "best_of_n.json"
    return Run(
        directory=directory,
        record=record,
        config=config,
        metrics=metrics,
        story=_read_text(directory / "story.md"),
        best_of_n=_read_record(best_of_n, BestOfN) if best_of_n.exists() else None,
        evaluations=tuple(read_evaluation(path.parent, data) for path in folders),
        missing=tuple(missing),
    )


def read_metrics(path: Path) -> tuple[dict[str, float], ...]:
    """Return the rows of ``metrics.jsonl``, numbers only, without a last line that a killed run left torn.

    Raises:
        DataError: naming file and line, when a row is not a JSON object with a number ``step``.
    """
    text = _read_text(path)
    if text is None:
        return ()
    rows = []
    lines = text.splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            if number == len(lines) and not line.endswith("\n"):
                break
            raise DataError(f"{path}:{number}: not JSON: {error}") from None
        if not isinstance(row, dict) or not _is_number(row.get("step")) or not math.isfinite(row["step"]):
            raise DataError(f"{path}:{number}: a row of metrics is an object with a number 'step'")
        rows.append({key: float(value) for key, value in row.items() if _is_number(value)})
    return tuple(rows)


_INTEGERS = 2**1000
"""Integers from here on are no numbers: they do not fit a float."""


def _is_number(value: object) -> bool:
    if isinstance(value, int) and not isinstance(value, bool):
        return abs(value) < _INTEGERS
    return isinstance(value, float)


def _read_text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8") if path.exists() else None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as text: {error}") from None


def _part(path: Path, kind: type[AnyRecord], missing: list[str], words: str) -> AnyRecord | None:
    """Return the record in ``path``; None where there is no such file, after taking note of it in ``missing``."""
    if path.exists():
        return _read_record(path, kind)
    missing.append(f"{path.name} ({words})")
    return None


def _read_record(path: Path, kind: type[AnyRecord]) -> AnyRecord:
    try:
        return kind.model_validate_json(_read_text(path) or "")
    except DataError:
        raise
    except ValueError as error:
        raise DataError(f"{path}: not a {kind.__name__} of plaudit: {first_problem(error)}") from None
