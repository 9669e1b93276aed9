"""Targets of a measurement: files of groups, and benchmarks by name; and the measuring of one of them."""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from plaudit.cli.console import (
    find_modules_here,
    interrupt_keeps,
    is_stream,
    print_dropped,
    print_result,
    progress_bar,
)
from plaudit.errors import ConfigError

if TYPE_CHECKING:
    from plaudit.cli.options import Measuring
    from plaudit.data.reading.options import ReadingOptions
    from plaudit.data.schema.group import Group
    from plaudit.data.schema.group_set import GroupSet
    from plaudit.evaluation.official.benchmark import Benchmark, Loaded
    from plaudit.evaluation.store.precomputed import PrecomputedRewards, StoredRewards
    from plaudit.records import Result
    from plaudit.scoring.scorer import Scorer

_LONGEST_NAME = 100

_NAME = re.compile(r"[a-z0-9_.-]+", re.IGNORECASE)
_OBJECT = re.compile(r"[^\W\d][\w.]*:\w+")
"""An import path, as that of a benchmark of one's own."""


@dataclass(frozen=True, slots=True)
class Target:
    """One thing to measure on: a file, or a benchmark with the path of its files, None for the hub."""

    path: str | None
    benchmark: Benchmark | None = None

    @property
    def name(self) -> str:
        """Return the name of its results."""
        if self.benchmark is not None:
            return self.benchmark.name
        return "stdin" if is_stream(self.path or "") else Path(self.path or "").name.split(".")[0]


@dataclass(frozen=True, slots=True)
class FileSet:
    """The groups of a file."""

    groups: GroupSet


@dataclass(frozen=True, slots=True)
class BenchmarkSet:
    """A loaded benchmark."""

    benchmark: Benchmark
    loaded: Loaded

    @property
    def groups(self) -> tuple[Group, ...]:
        """Return the groups to score."""
        return self.loaded.groups


def parse_targets(texts: Sequence[str]) -> list[Target]:
    """Return the targets that the command line names; an existing file or folder is a path.

    Raises:
        UnknownNameError: for ``NAME=PATH`` with a name that is no benchmark.
    """
    return [_parse(text) for text in texts]


def _parse(text: str) -> Target:
    from plaudit.evaluation.official.catalog import CATALOG, benchmark_named

    name, equals, path = text.partition("=")
    if equals and _OBJECT.fullmatch(name) and not _exists(text):
        find_modules_here()
        return Target(path, benchmark_named(name))
    if is_stream(text) or _exists(text) or "/" in name or not _NAME.fullmatch(name):
        return Target(text)
    if equals:
        return Target(path, benchmark_named(name))
    close = difflib.get_close_matches(text, CATALOG, n=1)
    # A name close to that of a benchmark is taken for a slip unless it could be something else that is read.
    if text in CATALOG or (close and "." not in text and text not in _sources()):
        return Target(None, benchmark_named(text))
    return Target(text)


def _exists(text: str) -> bool:
    try:
        return Path(text).exists()
    except OSError:
        return False


def _sources() -> Sequence[str]:
    from plaudit.data.reading.sources.formats import SOURCES

    return tuple(SOURCES)


def folders(targets: Sequence[Target], parent: Path) -> list[Path]:
    """Return the folder of the results of each target.

    Raises:
        ConfigError: when two of them have one name.
    """
    found = [parent / slug(target.name) for target in targets]
    if len(set(found)) < len(found):
        raise ConfigError("two of the files have the same name, so their results would overwrite each other")
    return found


def slug(text: str) -> str:
    """Return ``text`` as the name of a folder, of letters, digits and ``._-``: of a path its last two parts.

    A name that puts models together keeps all of them. One of more than 100 characters ends in a hash of all of it.
    """
    parts = [part for part in text.split("/") if part not in ("", ".", "..")]
    name = re.sub(r"[^\w.-]+", "-", "-".join(parts if ":" in text else parts[-2:])).strip("-") or "model"
    digest = hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
    return name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}-{digest}"


def read_target(target: Target, reading: ReadingOptions, gold: Sequence[str] = ()) -> FileSet | BenchmarkSet:
    """Return the groups of a target, or the first of them, and print those left out or missing.

    The rewards in the files ``gold`` become the rating ``gold`` of the groups of a file.
    """
    if target.benchmark is not None:
        loaded = target.benchmark.load(target.path)
        if reading.limit is not None:
            loaded = loaded.first(reading.limit)
        for line in _remarks(target.benchmark, loaded):
            typer.secho(f"{target.benchmark.title}: {line}", fg=typer.colors.YELLOW, err=True)
        return BenchmarkSet(target.benchmark, loaded)

    from plaudit.data.reading.read import read_groups

    groups = read_groups(target.path or "", reading)
    print_dropped(groups.report)
    return FileSet(_with_gold(groups, gold) if gold else groups)


def check_gold(targets: Sequence[Target]) -> None:
    """Raise ConfigError where some target has no groups of a file that gold rewards could rate, or there is none."""
    if not targets:
        raise ConfigError("--gold rates the groups of a file: name the file as TARGET")
    for target in targets:
        if target.benchmark is not None:
            raise ConfigError(
                f"--gold rates the groups of files; {target.name} is a benchmark, with labels of its own: leave one out"
            )


def _with_gold(groups: GroupSet, files: Sequence[str]) -> GroupSet:
    from plaudit.evaluation.store.precomputed import PrecomputedRewards, with_gold

    gold = PrecomputedRewards(files)
    rated = with_gold(groups, gold)
    typer.echo(rated.in_words())
    say_unused(gold, "gold rewards")
    return rated.groups


def _remarks(benchmark: Benchmark, loaded: Loaded) -> Iterator[str]:
    missing = loaded.missing
    if missing:
        shown = [f"{name} ({words})" for name, words in list(missing.items())[:6]]
        more = f" and {len(missing) - 6} more" if len(missing) > 6 else ""
        yield f"not the whole official set, so its figures are not the official ones: {', '.join(shown)}{more}"
    if loaded.refused:
        yield f"{len(loaded.refused)} rows cannot be scored, as {loaded.refused[0].id}: {loaded.refused[0].reason}"
    if loaded.repeated:
        yield f"{loaded.repeated} rows repeat an id; they are kept under ids of their own"


def say_unused(scorer: PrecomputedRewards | StoredRewards, what: str = "rewards") -> int:
    """Say how many rows of rewards on file belong to no group of any target, and return it."""
    ids = scorer.unused
    if ids:
        words = f"{len(ids)} rows of {what} belong to no group of these targets, as {ids[0]!r}"
        typer.secho(words, fg=typer.colors.YELLOW, err=True)
    return len(ids)


def measure_target(
    scorer: Scorer,
    data: FileSet | BenchmarkSet,
    place: Path,
    model: str,
    how: Measuring,
    counts: dict[str, int] | None = None,
) -> None:
    """Measure ``scorer`` on one target, write the result to ``place`` and print it."""
    from plaudit.evaluation.metrics.answers import LAST_NUMBER
    from plaudit.evaluation.run import evaluate, evaluate_benchmark

    kept = f"what was scored is kept in {place}; the same command goes on from there"
    with interrupt_keeps(kept), progress_bar(place.name) as progress:
        options = {
            "progress": partial(_advance, progress, len(data.groups)),
            "model": model,
            "output_dir": place,
            "tie_rule": how.tie_rule,
            "answer_pattern": LAST_NUMBER if how.answer_pattern is None else how.answer_pattern,
            "replace": how.replace,
            "counts": counts,
        }
        if isinstance(data, BenchmarkSet):
            result = evaluate_benchmark(scorer, data.benchmark, data.loaded, **options)
        else:
            groups = data.groups
            result = evaluate(scorer, groups, name=place.name, data_fingerprint=groups.fingerprint, **options)
    print_written(result, place, everything=how.everything)


def _advance(progress: Callable[[int, int], None], total: int, done: int) -> None:
    progress(done, total)


def print_written(result: Result, place: Path, *, everything: bool = False) -> None:
    """Print a result, and how to read it in ``place``."""
    print_result(result, everything=everything)
    typer.echo(f"wrote {place}; read it with: plaudit report {place}")
