"""The result of an evaluation once more, from the items that it kept: no model, no data."""

from __future__ import annotations

import shutil
from pathlib import Path

from plaudit.errors import OutputError
from plaudit.evaluation.metrics.labels import evaluate_labels
from plaudit.evaluation.metrics.preference import DEFAULT_TIE_RULE, TieRule
from plaudit.evaluation.official.benchmark import Benchmark
from plaudit.evaluation.official.result import benchmark_result
from plaudit.evaluation.run import SURPRISING_NAME
from plaudit.evaluation.store.existing import (
    ITEMS_NAME,
    RESULT_NAME,
    SCORING_NAME,
    Replace,
    ScoringRecord,
    Truncated,
    standing_in,
)
from plaudit.evaluation.store.stored_items import KeptItems
from plaudit.records import Result, write_json_lines, write_record


def evaluate_again(
    kept: KeptItems,
    *,
    output_dir: Path,
    benchmark: Benchmark | None = None,
    tie_rule: TieRule = DEFAULT_TIE_RULE,
    seed: int = 0,
    replace: Replace = "finished",
) -> Result:
    """Return the result that the items of ``kept`` give, under the names that they were made under, and write it.

    With ``benchmark`` its official figures come first, from the facts that the items carry. Beside ``result.json``
    ``output_dir`` receives the items and the other files of their folder; it may be that folder.

    Raises:
        ConfigError: when the folder holds the result of another evaluation, and ``replace`` is ``nothing``.
        OutputError: when a file cannot be written.
    """
    header, source = kept.header, kept.path.parent
    standing = standing_in(output_dir) if replace == "nothing" else None
    if standing is not None:
        standing.check(header, kept.settings)
    options = {
        "model": header.model,
        "tie_rule": tie_rule,
        "seed": seed,
        "recipe_hash": header.recipe_hash,
        "data_fingerprint": header.data_fingerprint,
    }
    if benchmark is None:
        result = evaluate_labels(kept.items, name=header.name, **options)
    else:
        result = benchmark_result(kept.items, benchmark, **options)
    truncated = Truncated.of(kept.cuts)
    left_out = dict(kept.standing.result.left_out if kept.standing is not None else {})
    result = result.model_copy(update={"details": result.details | truncated.as_details(), "left_out": left_out})
    if output_dir.resolve() != source.resolve():
        _bring(source / SURPRISING_NAME, output_dir)
        (output_dir / RESULT_NAME).unlink(missing_ok=True)
        write_json_lines(output_dir / ITEMS_NAME, kept.items)
    scoring = ScoringRecord(evaluation=header, settings=dict(kept.settings), truncated=truncated, cuts=tuple(kept.cuts))
    write_record(output_dir / SCORING_NAME, scoring)
    write_record(output_dir / RESULT_NAME, result)
    return result


def _bring(file: Path, folder: Path) -> None:
    """Copy a file where it is there; where it is not, its namesake in ``folder`` is of something else, and goes."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if file.exists():
            shutil.copyfile(file, folder / file.name)
        else:
            (folder / file.name).unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {folder / file.name}: {error.strerror or error}") from error
