"""Published per-item results as results of plaudit: their benchmark, items and metrics.

::

    result = recorded_result("results/RewardMATH/ArmoRM_reward.json")
    result.measures[0].metrics["accuracy"]
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from plaudit.data.reading.sources.fields import Row
from plaudit.errors import DataError
from plaudit.evaluation.metrics.preference import CONFIDENCE, DEFAULT_TIE_RULE, RESAMPLES, TieRule
from plaudit.evaluation.official.benchmark import Benchmark
from plaudit.evaluation.official.catalog import CATALOG, benchmark_named
from plaudit.evaluation.official.files import result_rows
from plaudit.evaluation.result import assemble_result
from plaudit.records import ItemScore, Result

_SUFFIXES = (".json", ".jsonl", ".parquet", ".csv")


def recorded_result(
    path: str,
    benchmark: str | None = None,
    *,
    data: str | None = None,
    model: str | None = None,
    tie_rule: TieRule = DEFAULT_TIE_RULE,
    seed: int = 0,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
) -> Result:
    """Return the result of published per-item results: the official metrics first, in ``measures[0]``.

    ``path`` is a file, or a folder of the files of one model. Without ``benchmark``, a name of the catalogue, it is
    found by the fields of the first row. ``data`` is needed only where the results do not hold the labels: the path of
    the official data. ``model`` names the model in the result, ``published_name`` where it is not given.

    Raises:
        DataError: naming file and line, where a row is not of the layout; where it cannot be told whose layout it is.
        UnknownNameError: for a ``benchmark`` that the catalogue does not have.
    """
    found, items = recorded_items(path, benchmark, data=data)
    return assemble_result(
        items,
        name=found.name,
        benchmark=found,
        model=published_name(path) if model is None else model,
        tie_rule=tie_rule,
        seed=seed,
        confidence=confidence,
        resamples=resamples,
    )


def published_name(path: str) -> str:
    """Return the short name of the model of published results: the file, or the folder of its files, without suffix.

    Of ``NAME=VALUE,NAME=VALUE`` it is the last value. A file that is only called results or scores is called by the two
    folders that it is in, as of LLMBar (``MODEL/PROMPT/result.json``).
    """
    place = Path(path)
    name = place.name.removesuffix(".gz")
    name = name.removesuffix(Path(name).suffix) if Path(name).suffix in _SUFFIXES else name
    if name.rstrip("s") in ("result", "score") and place.parent.name:
        return "/".join(place.parent.parts[-2:])
    return name.rpartition("=")[2] or path


def recorded_items(
    path: str, benchmark: str | None = None, *, data: str | None = None
) -> tuple[Benchmark, list[ItemScore]]:
    """Return the benchmark and the items of published per-item results. See ``recorded_result``."""
    if benchmark is None:
        found = benchmark_of(path)
        return found, found.read_results(path, data)
    found = benchmark_named(benchmark)
    try:
        return found, found.read_results(path, data)
    except DataError as error:
        others = [each.name for each in marked(first_row(path))]
        if not others or benchmark in others:
            raise
        raise DataError(f"{error}; by its fields the file is of {', '.join(others)}") from None


def benchmark_of(path: str) -> Benchmark:
    """Return the benchmark whose published results ``path`` holds, by the fields of its first row.

    Raises:
        DataError: where no benchmark has such results, or several could have them.
    """
    row = first_row(path)
    found = marked(row)
    if len(found) == 1:
        return found[0]
    fields = ", ".join(map(str, row))
    if found:
        raise DataError(
            f"{path}: may be results of {', '.join(each.name for each in found)}; name one. It has: {fields}"
        )
    known = ", ".join(name for name in CATALOG if benchmark_named(name).marks)
    raise DataError(f"{path}: is in no layout of results that is known, which are those of {known}; it has: {fields}")


def marked(row: Row) -> Sequence[Benchmark]:
    """Return the benchmarks of whose published results ``row`` may be one."""
    every = [benchmark_named(name) for name in CATALOG]
    return [each for each in every if any(all(field in row for field in fields) for fields in each.marks)]


def first_row(path: str) -> Row:
    """Return the first row of the results at ``path``.

    Raises:
        DataError: where there is none.
    """
    placed = next(result_rows(path), None)
    if placed is None:
        raise DataError(f"{path}: holds no rows")
    return placed.row
