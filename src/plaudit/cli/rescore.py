"""``plaudit rescore``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from plaudit.cli.options import GoldOption, How, Measuring, Reading, TargetsArgument, verb
from plaudit.cli.targets import (
    BenchmarkSet,
    FileSet,
    Target,
    check_gold,
    folders,
    measure_target,
    parse_targets,
    print_written,
    read_target,
    say_unused,
    slug,
)
from plaudit.errors import ConfigError

if TYPE_CHECKING:
    from plaudit.data.reading.options import ReadingOptions
    from plaudit.evaluation.official.benchmark import Benchmark
    from plaudit.evaluation.store.precomputed import PrecomputedRewards, StoredItems, StoredRewards


@verb
def rescore(
    file: Annotated[
        str,
        typer.Argument(
            metavar="ITEMS|REWARDS",
            help="An items.jsonl, a file of rewards, or published results of a benchmark.",
            show_default=False,
        ),
    ],
    targets: TargetsArgument = None,
    also: Annotated[
        list[str] | None,
        typer.Option("--also", metavar="FILE", help="Another file of the same kind and model.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Folder of the results.", show_default="evaluations/FILE, or that of the items"
        ),
    ] = None,
    *,
    name: Annotated[
        str | None,
        typer.Option("--name", help="Name of the model in results and leaderboards.", show_default="that of the file"),
    ] = None,
    reading: Reading,
    how: How,
    gold: GoldOption = None,
) -> None:
    """Measure rewards that are on file, without a model: metrics of items, of rewards, or of published results.

    Items of an evaluation need no TARGET; with one they are measured against its labels. Rewards need the groups that
    they are of.
    """
    rescore_files([file, *(also or ())], targets or (), output, reading, how, gold or (), name)


def rescore_files(
    files: Sequence[str],
    texts: Sequence[str],
    output: Path | None,
    reading: ReadingOptions,
    how: Measuring,
    gold: Sequence[str],
    name: str | None = None,
) -> None:
    """Measure the rewards in ``files``, as ``plaudit rescore`` does."""
    from plaudit.evaluation.store.precomputed import PrecomputedRewards

    if gold:
        check_gold(parse_targets(texts))
    for text in texts:
        if any((Path(text) / name).is_file() for name in ("run.json", "config.json")):
            raise ConfigError(f"{text} is a model or a run; rewards on file take the place of a model: leave it out")
    stored = _stored_items(files)
    if stored and name is not None:
        raise ConfigError("--name: items keep the name of their model; leave it out")
    if stored and not texts:
        _refuse_reading(reading, how, "items on file")
        for each in stored:
            made_on = each.identity.name
            place = each.path.parent if output is None else output / slug(made_on)
            _recompute(each, _benchmark_of(each, made_on), place, how)
        return
    parsed = parse_targets(texts)
    parent = output or Path("evaluations") / slug(files[0])
    if not stored and _holds_results(files, parsed):
        _refuse_reading(reading, how, "published results")
        _measure_published(files[0], parsed, parent, how, name)
        return
    if not parsed:
        raise ConfigError("give what to measure the rewards on: files of groups, or benchmarks")
    places = folders(parsed, parent)
    if stored:
        _measure_stored(stored, parsed, places, reading, how, gold)
    else:
        sets = [read_target(target, reading, gold) for target in parsed]
        _measure_sets(PrecomputedRewards(files), sets, places, name or ", ".join(files), how)


def _measure_stored(
    stored: Sequence[StoredItems],
    targets: Sequence[Target],
    places: Sequence[Path],
    reading: ReadingOptions,
    how: Measuring,
    gold: Sequence[str],
) -> None:
    """Measure the rewards in items: a benchmark without a path by their metadata, anything else by its groups."""
    from plaudit.evaluation.store.precomputed import StoredRewards

    wanted: list[tuple[Target, Path]] = []
    for target, place in zip(targets, places, strict=True):
        benchmark, own = target.benchmark, None
        if benchmark is not None and target.path is None:
            own = next((each for each in stored if each.is_of_benchmark(benchmark.name)), None)
        if own is None:
            wanted.append((target, place))
        else:
            _recompute(own, benchmark, place, how)
    if wanted:
        scorer = StoredRewards(stored)
        sets = [read_target(target, reading, gold) for target, _ in wanted]
        _measure_sets(scorer, sets, [place for _, place in wanted], scorer.identity.model, how)


def _measure_sets(
    scorer: PrecomputedRewards | StoredRewards,
    sets: Sequence[FileSet | BenchmarkSet],
    places: Sequence[Path],
    model: str,
    how: Measuring,
) -> None:
    for data in sets:
        scorer.found(group.id for group in data.groups)
    unused = say_unused(scorer)
    counts = {"rewards_of_no_group": unused} if unused else {}
    for data, place in zip(sets, places, strict=True):
        measure_target(scorer, data, place, model, how, counts)


def _measure_published(
    path: str, targets: Sequence[Target], parent: Path, how: Measuring, name: str | None = None
) -> None:
    """Measure one file, or folder, of published per-item results."""
    from plaudit.evaluation.run import evaluate_results
    from plaudit.evaluation.store.published import published_name, recorded_items

    named = targets[0].benchmark if targets else None
    data = targets[0].path if targets else None
    benchmark, items = recorded_items(path, None if named is None else named.name, data=data)
    place = parent / benchmark.name
    model = published_name(path) if name is None else name
    result = evaluate_results(
        benchmark, items, model=model, output_dir=place, tie_rule=how.tie_rule, replace=how.replace
    )
    print_written(result, place, everything=how.everything)


def _benchmark_of(stored: StoredItems, name: str) -> Benchmark | None:
    """Return the benchmark that items are of, by their name and their metadata."""
    from plaudit.evaluation.official.catalog import CATALOG, benchmark_named

    return benchmark_named(name) if name in CATALOG and stored.is_of_benchmark(name) else None


def _recompute(stored: StoredItems, benchmark: Benchmark | None, place: Path, how: Measuring) -> None:
    from plaudit.evaluation.run import recompute

    result = recompute(stored, output_dir=place, benchmark=benchmark, tie_rule=how.tie_rule, replace=how.replace)
    print_written(result, place, everything=how.everything)


def _refuse_reading(reading: ReadingOptions, how: Measuring, what: str) -> None:
    """Raise ConfigError where an option says how groups are read, and ``what`` is measured, which has none to read."""
    given = {
        "--limit": reading.limit is not None,
        "--answer-pattern": how.answer_pattern is not None,
        "--group-by-prompt": reading.group_by_prompt,
        "--ranks-from": reading.ranks_from is not None,
    }
    named = [name for name, is_given in given.items() if is_given]
    if named:
        raise ConfigError(f"{' and '.join(named)} say how groups are read; {what} are measured whole: leave it out")


def _holds_results(paths: Sequence[str], targets: Sequence[Target]) -> bool:
    """Return whether the files are a benchmark's published per-item results, not rows of rewards.

    Raises:
        ConfigError: when they are, but there is not one file or folder, and at most one benchmark.
        DataError: when a file cannot be read.
    """
    from plaudit.evaluation.store.published import first_row, marked
    from plaudit.scoring.files import is_rewards_row

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
            "plaudit rescore FILE NAME"
        )
    return True


def _needs_no_data(target: Target) -> bool:
    """Return whether ``target`` gives the data of a benchmark whose published results hold all that is needed."""
    return target.path is not None and (target.benchmark is None or target.benchmark.joined is None)


def _stored_items(paths: Sequence[str]) -> list[StoredItems]:
    """Return the items that the files hold where they are those of evaluations, and none where they are others.

    Raises:
        ConfigError: when some are, and others are not.
        DataError: when a file cannot be read.
    """
    from plaudit.evaluation.store.precomputed import StoredItems, holds_items

    are = [not Path(path).is_dir() and holds_items(path) for path in paths]
    if any(are) and not all(are):
        raise ConfigError(
            f"{paths[are.index(True)]} holds items of an evaluation and {paths[are.index(False)]} does not; give files "
            "of one kind"
        )
    return [StoredItems(path) for path in paths] if all(are) else []
