"""``plaudit evaluate``."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from plaudit.cli.console import (
    MODEL_HELP,
    AggregationOption,
    AttributesOption,
    MaxLengthOption,
    QuantizationOption,
    SplitOption,
    StepSeparatorOption,
    TruncationOption,
    find_modules_here,
    interrupt_keeps,
    parse_names,
    parse_separator,
    print_counts,
    print_table,
    progress_bar,
)
from plaudit.cli.model_changes import ModelChanges
from plaudit.cli.targets import (
    TARGET_HELP,
    AnswerPatternOption,
    BenchmarkSet,
    FileSet,
    GoldOption,
    GroupByPromptOption,
    GroupsOnlyOption,
    LimitOption,
    OnErrorOption,
    RanksFromOption,
    Reading,
    RewardsOption,
    Target,
    check_gold,
    evaluate_published,
    folders,
    holds_results,
    kept_items,
    note_unused,
    parse_targets,
    read_target,
    refuse_reading,
    write_for_scoring,
)
from plaudit.data.reading.sources.formats import FormatChoice
from plaudit.errors import ConfigError

if TYPE_CHECKING:
    from plaudit.evaluation.official.benchmark import Benchmark
    from plaudit.evaluation.store.existing import Replace
    from plaudit.evaluation.store.precomputed import RecordedRewards
    from plaudit.evaluation.store.stored_items import KeptItems, KeptRewards
    from plaudit.records import BestOfNCurve, Interval, Measure, Result
    from plaudit.scoring.load import AnyScorer
    from plaudit.scoring.settings import Settings
    from plaudit.statistics.agreement import TieRule

_LONGEST_NAME = 100
_COLUMNS = ("", "", "value", "95 % interval", "n")

_OutputOption = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", help="Folder of the results.", show_default="evaluations/MODEL[-SETTING…], or that of items"
    ),
]
_TieRuleOption = Annotated[
    Literal["half", "loss", "exclude"], typer.Option(help="What an exact tie counts as: half, wrong, or nothing.")
]
_OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace what is in the folder, whatever model or data it is of.")
]


@dataclass(frozen=True, slots=True)
class _Measuring:
    """How figures are made of rewards, and what of an earlier run may be replaced."""

    tie_rule: TieRule
    answer_pattern: str | None
    replace: Replace


def evaluate(
    model: Annotated[str | None, typer.Argument(metavar="MODEL", help=MODEL_HELP, show_default=False)] = None,
    targets: Annotated[
        list[str] | None,
        typer.Argument(metavar="TARGET", help=TARGET_HELP, show_default=False),
    ] = None,
    output: _OutputOption = None,
    format: Annotated[FormatChoice, typer.Option(help="How rows become groups.")] = "auto",
    attributes: AttributesOption = None,
    split: SplitOption = "train",
    step_separator: StepSeparatorOption = "\n",
    aggregation: AggregationOption = None,
    quantization: QuantizationOption = None,
    max_length: MaxLengthOption = None,
    truncation: TruncationOption = None,
    tie_rule: _TieRuleOption = "loss",
    limit: LimitOption = None,
    on_error: OnErrorOption = "raise",
    group_by_prompt: GroupByPromptOption = False,
    ranks_from: RanksFromOption = None,
    answer_pattern: AnswerPatternOption = None,
    rewards: RewardsOption = None,
    groups_only: GroupsOnlyOption = False,
    gold: GoldOption = None,
    overwrite: _OverwriteOption = False,
) -> None:
    """Measure MODEL by the official figures of benchmarks, and against the labels of files, with intervals.

    Preferences, ranks, ratings, outcomes and steps are each measured where the groups carry them. With --rewards or
    --groups-only there is no MODEL: all arguments are targets. The same command goes on where it was stopped.
    """
    separator, named = parse_separator(step_separator), [each for each in (model, *(targets or ())) if each is not None]
    reading = Reading(
        format,
        parse_names(attributes),
        on_error,
        limit,
        group_by_prompt,
        ranks_from,
        split,
        step_separator=separator,
        gold=tuple(gold or ()),
    )
    changes = ModelChanges(aggregation, quantization, max_length, truncation)
    how = _Measuring(tie_rule, answer_pattern, "all" if overwrite else "nothing")
    find_modules_here()
    if reading.gold:
        check_gold(parse_targets(named if rewards or groups_only else named[1:]))
    if rewards and groups_only:
        raise ConfigError("--rewards measures and --groups-only only writes the groups: give one of them")
    if rewards:
        _measure_rewards(rewards, named, output, reading, changes, how)
    elif len(named) < (1 if groups_only else 2):
        raise ConfigError("give MODEL and what to measure it on: files of groups, or benchmarks")
    elif groups_only:
        parsed = parse_targets(named)
        write_for_scoring(parsed, folders(parsed, output or Path("evaluations") / "groups", slug), reading)
    else:
        _measure_model(named[0], named[1:], output, reading, changes, how)


def _measure_model(
    model: str, texts: list[str], output: Path | None, reading: Reading, changes: ModelChanges, how: _Measuring
) -> None:
    from plaudit.evaluation.store.existing import standing_in

    parsed = parse_targets(texts)
    default = Path("evaluations") / "-".join([slug(model), *changes.given.values()])
    places = folders(parsed, output or default, slug)
    standing = [standing_in(place) for place in places] if how.replace == "nothing" else []
    for each in standing:
        if each is not None:
            each.check_model(model)  # before the model is loaded, and the first of several targets is scored
    scorer = changes.load(model)
    for target, place in zip(parsed, places, strict=True):
        _evaluate_target(scorer, read_target(target, reading), place, model, how)


def _measure_rewards(
    rewards: list[str],
    texts: list[str],
    output: Path | None,
    reading: Reading,
    changes: ModelChanges,
    how: _Measuring,
) -> None:
    """Measure rewards that are on file: those computed elsewhere, and those of earlier evaluations."""
    from plaudit.evaluation.store.precomputed import RecordedRewards

    if changes.given:
        raise ConfigError(
            f"{' and '.join(changes.given)} change a model; --rewards takes rewards as they are: leave them out"
        )
    for text in texts:
        if any((Path(text) / name).is_file() for name in ("run.json", "config.json")):
            raise ConfigError(f"{text} is a model or a run; --rewards takes the place of MODEL: leave it out")
    kept = kept_items(rewards)
    if not texts and kept:
        refuse_reading(reading, how.answer_pattern, "items on file")
        for each in kept:
            name = each.header.name
            place = each.path.parent if output is None else output / slug(name)
            _print_written(_again(each, Target(None, _benchmark_of(each, name)), place, how), place)
        return
    parsed = parse_targets(texts)
    parent = output or Path("evaluations") / slug(rewards[0])
    if not kept and holds_results(rewards, parsed):
        refuse_reading(reading, how.answer_pattern, "published results")
        _print_written(*evaluate_published(rewards, parsed, parent, tie_rule=how.tie_rule, replace=how.replace))
        return
    if not parsed:
        raise ConfigError("give what to measure the rewards on: files of groups, or benchmarks")
    places = folders(parsed, parent, slug)
    if kept:
        _measure_kept(kept, parsed, places, reading, how)
        return
    scorer = RecordedRewards(rewards)
    for target, place in zip(parsed, places, strict=True):
        _evaluate_target(scorer, read_target(target, reading), place, ", ".join(rewards), how)
    note_unused(scorer, places)


def _measure_kept(
    kept: list[KeptItems], targets: list[Target], places: list[Path], reading: Reading, how: _Measuring
) -> None:
    """Measure the rewards in items: a benchmark without a path by the facts in them, anything else by its groups."""
    from plaudit.evaluation.store.stored_items import KeptRewards

    wanted: list[tuple[Target, Path]] = []
    for target, place in zip(targets, places, strict=True):
        benchmark = target.benchmark
        own = None
        if benchmark is not None and target.path is None:
            own = next((each for each in kept if each.is_of_benchmark(benchmark.name)), None)
        if own is None:
            wanted.append((target, place))
        else:
            _print_written(_again(own, target, place, how), place)
    if not wanted:
        return
    scorer = KeptRewards(kept)
    for target, place in wanted:
        _evaluate_target(scorer, read_target(target, reading), place, scorer.header.model, how)
    note_unused(scorer, [place for _, place in wanted])


def _benchmark_of(kept: KeptItems, name: str) -> Benchmark | None:
    """Return the benchmark that items are of, by their name and their facts."""
    from plaudit.evaluation.official.catalog import CATALOG, benchmark_named

    return benchmark_named(name) if name in CATALOG and kept.is_of_benchmark(name) else None


def _again(kept: KeptItems, target: Target, place: Path, how: _Measuring) -> Result:
    from plaudit.evaluation.store.recompute import evaluate_again

    return evaluate_again(
        kept, output_dir=place, benchmark=target.benchmark, tie_rule=how.tie_rule, replace=how.replace
    )


def _evaluate_target(
    scorer: AnyScorer | RecordedRewards | KeptRewards,
    data: FileSet | BenchmarkSet,
    place: Path,
    model: str,
    how: _Measuring,
) -> None:
    from plaudit.evaluation.metrics.answers import LAST_NUMBER
    from plaudit.evaluation.run import evaluate as evaluate_file
    from plaudit.evaluation.run import evaluate_benchmark
    from plaudit.scoring.settings import window_of

    kept = f"what was scored is kept in {place}; the same command goes on from there"
    with interrupt_keeps(kept), progress_bar(place.name) as progress:
        options = {
            "progress": partial(_advance, progress, len(data.groups)),
            "model": model,
            "output_dir": place,
            "recipe_hash": scorer.recipe_hash,
            "weights_hash": scorer.head_hash,
            "tie_rule": how.tie_rule,
            "answer_pattern": LAST_NUMBER if how.answer_pattern is None else how.answer_pattern,
            "replace": how.replace,
            "settings": _settings(scorer),
            "window": window_of(scorer),
        }
        if isinstance(data, BenchmarkSet):
            result = evaluate_benchmark(scorer, data.benchmark, data.loaded, **options)
        else:
            groups = data.groups
            result = evaluate_file(scorer, groups, name=place.name, data_fingerprint=groups.fingerprint, **options)
    print_result(result)
    typer.echo(f"wrote {place}; read it with: plaudit report {place}")


def _settings(scorer: AnyScorer | RecordedRewards | KeptRewards) -> Settings:
    from plaudit.evaluation.store.stored_items import KeptRewards
    from plaudit.scoring.settings import settings_of

    return scorer.settings if isinstance(scorer, KeptRewards) else settings_of(scorer)


def _advance(progress: Callable[[int, int], None], total: int, done: int) -> None:
    progress(done, total)


def _print_written(result: Result, place: Path) -> None:
    print_result(result)
    typer.echo(f"wrote {place}; read it with: plaudit report {place}")


def slug(text: str) -> str:
    """Return ``text`` as the name of a folder, of letters, digits and ``._-``: of a path its last two parts.

    A name that puts models together keeps all of them. One of more than 100 characters ends in a hash of all of it.
    """
    parts = [part for part in text.split("/") if part not in ("", ".", "..")]
    name = re.sub(r"[^\w.-]+", "-", "-".join(parts if ":" in text else parts[-2:])).strip("-") or "model"
    digest = hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
    return name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}-{digest}"


def print_result(result: Result) -> None:
    """Print what ``result`` found: figures with intervals, baselines, sources, and the items they rest on."""
    rows = [("figure", name, *_cells(interval)) for name, interval in result.figures.items()]
    rows += [("baseline", name, *_cells(interval)) for name, interval in result.baselines.items()]
    for name, figures in result.slices.items():
        if "accuracy" in figures:
            rows.append(("source", name, *_cells(figures["accuracy"])))
    official = [measure for measure in result.measures if measure.kind == "benchmark"]
    for measure in official:
        print_measure(measure, result.name)
    print_table(f"{result.name}: preferences" if official else result.name, _COLUMNS, rows, numbers=3)
    for measure in result.measures:
        if measure not in official:
            print_measure(measure, result.name)
    if result.position is not None:
        typer.echo(result.position.in_words())
    for name, reason in result.absent.items():
        typer.echo(f"no {name}: {reason}")
    print_counts("without a reward", result.reasons)
    print_counts("rows that are no items", result.left_out)
    cut = {name.replace("_", " "): count for name, count in result.details.items() if "trunca" in name and count}
    print_counts("longer than the model takes", cut)
    ties = f"; {result.ties} exact ties, each counted as {result.tie_rule}" if result.figures else ""
    typer.echo(
        f"{result.n} items: {result.scored} scored, {result.unscored} without a label, {result.failed} failed{ties}"
    )


def print_measure(measure: Measure, title: str) -> None:
    """Print what was found about one kind of label, or by a benchmark: figures, baselines, what is missing and why."""
    rows: list[tuple[str, ...]] = []
    for name, interval in measure.figures.items():
        rows.append(("figure", name, *_cells(interval)))
        rows += [("baseline", f"  {rule}", *_cells(each)) for rule, each in measure.baselines.get(name, {}).items()]
    word = "slice" if measure.kind == "benchmark" else "source"
    for source, figures in measure.slices.items():
        rows.append((word, source, *_cells(figures[measure.headline])))
    print_table(f"{title}: {measure.name}", _COLUMNS, rows, numbers=3)
    if measure.best_of_n is not None:
        _print_curve(measure, measure.best_of_n, title)
    for name, reason in measure.absent.items():
        typer.echo(f"no {name}: {reason}")
    if measure.missing:
        typer.echo(f"not the whole official set: {len(measure.missing)} of its subsets are missing, in part or new")
    for name, rule in measure.rules.items():
        typer.echo(f"{name.replace('_', ' ')}: {rule}")
    counts = measure.counts
    typer.echo(f"{counts.n} groups: {counts.scored} scored, {counts.unscored} that say nothing, {counts.failed} failed")
    typer.echo(", ".join(f"{name.replace('_', ' ')} {value}" for name, value in measure.details.items() if value))


def _print_curve(measure: Measure, curve: BestOfNCurve, title: str) -> None:
    from plaudit.reports.curves import COLUMNS, curve_note, curve_rows, curve_sentences, curve_title

    print_table(f"{title}: {curve_title(measure)}", COLUMNS, curve_rows(measure), numbers=len(COLUMNS))
    typer.echo(" ".join([*curve_sentences(measure), curve_note(curve)]))


def _cells(interval: Interval) -> tuple[str, str, str]:
    return f"{interval.value:.3f}", f"{interval.low:.3f} – {interval.high:.3f}", str(interval.n)
