"""What ``plaudit evaluate`` is told to measure on: files of groups, and benchmarks by name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from plaudit.cli.console import print_dropped
from plaudit.data.reading.sources.formats import FormatChoice
from plaudit.errors import ConfigError

if TYPE_CHECKING:
    from plaudit.data.schema.group import Group
    from plaudit.data.schema.group_set import GroupSet
    from plaudit.evaluation.official.benchmark import Benchmark, Loaded
    from plaudit.evaluation.store.existing import Replace
    from plaudit.evaluation.store.precomputed import RecordedRewards
    from plaudit.evaluation.store.stored_items import KeptItems, KeptRewards
    from plaudit.records import Result
    from plaudit.statistics.agreement import TieRule

TARGET_HELP = "Files of groups with labels; benchmarks, as NAME=PATH of the official files or NAME for the hub."

LimitOption = Annotated[
    int | None, typer.Option("--limit", min=1, help="Groups of each target, from the first.", show_default="all")
]
OnErrorOption = Annotated[
    Literal["raise", "skip"], typer.Option("--on-error", help="What to do with an unreadable row of a file.")
]
GroupByPromptOption = Annotated[
    bool, typer.Option("--group-by-prompt", help="Make one group of consecutive rows with one prompt.")
]
RanksFromOption = Annotated[
    str | None, typer.Option("--ranks-from", metavar="RATING", help="Rating that ranks responses without ranks.")
]
AnswerPatternOption = Annotated[
    str | None,
    typer.Option(
        "--answer-pattern",
        help="Final answer of a response, for the majority's vote.",
        show_default="the last number",
    ),
]
RewardsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--rewards",
        metavar="FILE",
        help="Rewards computed elsewhere, or the items.jsonl of an evaluation, for MODEL.",
        show_default=False,
    ),
]
GoldOption = Annotated[
    list[str] | None,
    typer.Option(
        "--gold",
        metavar="FILE",
        help="Gold rewards of the groups, computed elsewhere: they become the rating gold.",
        show_default=False,
    ),
]
GroupsOnlyOption = Annotated[
    bool, typer.Option("--groups-only", help="Write the groups, to be scored elsewhere; there is no MODEL.")
]

_NAME = re.compile(r"[a-z0-9_.-]+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Target:
    """One thing to measure on: a file, or a benchmark with the path of its files, None for the hub."""

    path: str | None
    benchmark: Benchmark | None = None

    @property
    def name(self) -> str:
        """Return the name of its results."""
        return self.benchmark.name if self.benchmark is not None else Path(self.path or "").name.split(".")[0]


@dataclass(frozen=True, slots=True)
class Reading:
    """How files are read: the options of the command."""

    format: FormatChoice = "auto"
    attributes: tuple[str, ...] = ()
    on_error: Literal["raise", "skip"] = "raise"
    limit: int | None = None
    group_by_prompt: bool = False
    ranks_from: str | None = None
    split: str = "train"
    step_separator: str = "\n"
    gold: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FileSet:
    """The groups of a file."""

    groups: GroupSet


@dataclass(frozen=True, slots=True)
class BenchmarkSet:
    """What was loaded of a benchmark."""

    benchmark: Benchmark
    loaded: Loaded

    @property
    def groups(self) -> tuple[Group, ...]:
        """Return the groups to score."""
        return self.loaded.groups


def parse_targets(texts: Sequence[str]) -> list[Target]:
    """Return the targets that the command line names; what exists as a file or folder is one.

    Raises:
        UnknownNameError: for ``NAME=PATH`` with a name that is no benchmark.
    """
    return [_parse(text) for text in texts]


def _parse(text: str) -> Target:
    from plaudit.evaluation.official.catalog import CATALOG, benchmark_named

    name, equals, path = text.partition("=")
    if _exists(text) or "/" in name or not _NAME.fullmatch(name):
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
    from plaudit.data.reading.sources.catalog import SOURCES

    return tuple(SOURCES)


def folders(targets: Sequence[Target], parent: Path, slug: Callable[[str], str]) -> list[Path]:
    """Return the folder of the results of each target.

    Raises:
        ConfigError: when two of them have one name.
    """
    found = [parent / slug(target.name) for target in targets]
    if len(set(found)) < len(found):
        raise ConfigError("two of the files have the same name, so their results would overwrite each other")
    return found


def read_target(target: Target, reading: Reading) -> FileSet | BenchmarkSet:
    """Return what a target holds, or the first groups of it, and say what is left out or missing."""
    if target.benchmark is not None:
        loaded = target.benchmark.load(target.path)
        if reading.limit is not None:
            loaded = loaded.first(reading.limit)
        for line in _remarks(target.benchmark, loaded):
            typer.secho(f"{target.benchmark.title}: {line}", fg=typer.colors.YELLOW, err=True)
        return BenchmarkSet(target.benchmark, loaded)

    from plaudit.data.reading.read import read_groups

    groups = read_groups(
        target.path or "",
        format=reading.format,
        attributes=reading.attributes,
        on_error=reading.on_error,
        limit=reading.limit,
        group_by_prompt=reading.group_by_prompt,
        ranks_from=reading.ranks_from,
        split=reading.split,
        step_separator=reading.step_separator,
    )
    print_dropped(groups.report)
    return FileSet(_with_gold(groups, reading.gold) if reading.gold else groups)


def refuse_reading(reading: Reading, answer_pattern: str | None, what: str) -> None:
    """Raise ConfigError where an option says how groups are read, and ``what`` is measured, which has none to read."""
    given = {
        "--limit": reading.limit is not None,
        "--answer-pattern": answer_pattern is not None,
        "--group-by-prompt": reading.group_by_prompt,
        "--ranks-from": reading.ranks_from is not None,
    }
    named = [name for name, is_given in given.items() if is_given]
    if named:
        raise ConfigError(f"{' and '.join(named)} say how groups are read; {what} are measured whole: leave it out")


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
    from plaudit.evaluation.store.gold import with_gold
    from plaudit.evaluation.store.precomputed import RecordedRewards

    gold = RecordedRewards(files)
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


def note_unused(scorer: RecordedRewards | KeptRewards, places: Sequence[Path]) -> None:
    """Say how many rows of rewards belong to no group of any target, and put it into the results in ``places``."""
    from plaudit.evaluation.store.existing import RESULT_NAME
    from plaudit.records import Result, write_record

    unused = say_unused(scorer)
    for place in places if unused else ():
        result = Result.model_validate_json((place / RESULT_NAME).read_bytes())
        details = result.details | {"rewards_of_no_group": unused}
        write_record(place / RESULT_NAME, result.model_copy(update={"details": details}))


def say_unused(scorer: RecordedRewards | KeptRewards, what: str = "rewards") -> int:
    """Say how many rows of recorded rewards belong to no group of any target, and return it."""
    ids = scorer.unused
    if ids:
        words = f"{len(ids)} rows of {what} belong to no group of these targets, as {ids[0]!r}"
        typer.secho(words, fg=typer.colors.YELLOW, err=True)
    return len(ids)


def holds_results(paths: Sequence[str], targets: Sequence[Target]) -> bool:
    """Return whether the files are a benchmark's published per-item results, not rows of rewards.

    Raises:
        ConfigError: when they are, but there is not one file or folder, and at most one benchmark.
        DataError: when a file cannot be read.
    """
    from plaudit.evaluation.store.precomputed import is_rewards_row
    from plaudit.evaluation.store.published import first_row, marked

    row = first_row(paths[0])
    if is_rewards_row(row):
        return False
    if all(target.benchmark is None for target in targets):
        # Without targets the fields say whose results they are; with files as targets, a row that is none of rewards
        # is a mistake in these, as the reader of rewards will say.
        return not targets and bool(marked(row))
    if len(paths) > 1 or len(targets) != 1 or _needs_no_data(targets[0]):
        raise ConfigError(
            f"{paths[0]} holds no rows of rewards (id, rewards), but may be published results of a benchmark; "
            "these are read one file or folder at a time, with the name of the benchmark as the only target: "
            "plaudit evaluate --rewards FILE NAME"
        )
    return True


def _needs_no_data(target: Target) -> bool:
    """Return whether ``target`` gives the data of a benchmark whose published results hold all that is needed."""
    return target.path is not None and (target.benchmark is None or target.benchmark.joined is None)


def kept_items(paths: Sequence[str]) -> list[KeptItems]:
    """Return the items that the files hold where they are those of evaluations, and none where they are others.

    Raises:
        ConfigError: when some are, and others are not.
        DataError: when a file cannot be read.
    """
    from plaudit.evaluation.store.stored_items import KeptItems, holds_items

    are = [not Path(path).is_dir() and holds_items(path) for path in paths]
    if any(are) and not all(are):
        raise ConfigError(
            f"{paths[are.index(True)]} holds items of an evaluation and {paths[are.index(False)]} does not; give files "
            "of one kind to --rewards"
        )
    return [KeptItems(path) for path in paths] if all(are) else []


def evaluate_published(
    paths: Sequence[str], targets: Sequence[Target], parent: Path, *, tie_rule: TieRule, replace: Replace
) -> tuple[Result, Path]:
    """Return the result of one file, or folder, of published per-item results, and its folder below ``parent``."""
    from plaudit.evaluation.run import evaluate_results
    from plaudit.evaluation.store.published import recorded_items

    named = targets[0].benchmark if targets else None
    data = targets[0].path if targets else None
    benchmark, items = recorded_items(paths[0], None if named is None else named.name, data=data)
    place = parent / benchmark.name
    options = {"model": paths[0], "output_dir": place, "tie_rule": tie_rule, "replace": replace}
    return evaluate_results(benchmark, items, **options), place


def write_for_scoring(targets: Sequence[Target], places: Sequence[Path], reading: Reading) -> None:
    """Write the groups of each target to ``groups.jsonl`` in its folder, to be scored elsewhere, and say where."""
    from plaudit.data.reading.write import write_groups

    for target, place in zip(targets, places, strict=True):
        path = place / "groups.jsonl"
        count = write_groups(path, read_target(target, reading).groups)
        typer.echo(f"wrote {path}: {count} groups")
