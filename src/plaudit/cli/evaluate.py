"""``plaudit evaluate``."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from plaudit.cli.console import MODEL_HELP, find_modules_here, interrupt_keeps, print_dropped, print_table, progress_bar
from plaudit.data.sources.formats import FormatChoice
from plaudit.errors import ConfigError

if TYPE_CHECKING:
    from plaudit.data.group_set import GroupSet
    from plaudit.records import Interval, Measure, Result
    from plaudit.scoring.scorer import Scorer
    from plaudit.statistics.agreement import TieRule

_LONGEST_NAME = 100
_COLUMNS = ("", "", "value", "95 % interval", "n")


def evaluate(
    model: Annotated[str, typer.Argument(help=MODEL_HELP, show_default=False)],
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE", help="Files of groups with labels.", show_default=False),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder of the results.", show_default="evaluations/MODEL"),
    ] = None,
    format: Annotated[FormatChoice, typer.Option(help="How rows become groups.")] = "auto",
    tie_rule: Annotated[
        Literal["half", "loss", "exclude"], typer.Option(help="What an exact tie counts as: half, wrong, or nothing.")
    ] = "loss",
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="Groups of each file to score, from the first.", show_default="all"),
    ] = None,
    on_error: Annotated[Literal["raise", "skip"], typer.Option(help="What to do with an unreadable row.")] = "raise",
    group_by_prompt: Annotated[
        bool, typer.Option("--group-by-prompt", help="Make one group of consecutive rows with one prompt.")
    ] = False,
    ranks_from: Annotated[
        str | None, typer.Option(metavar="RATING", help="Rating that ranks responses without ranks.")
    ] = None,
    answer_pattern: Annotated[
        str | None,
        typer.Option(help="Final answer of a response, for the majority's vote.", show_default="the last number"),
    ] = None,
) -> None:
    """Measure MODEL against the labels of the data, whatever they are, with intervals and baselines.

    Preferences, ranks, ratings, outcomes and steps are each measured where the groups carry them.
    """
    folder = output or Path("evaluations") / slug(model)
    targets = [(path, folder / slug(Path(path).name.split(".")[0])) for path in files]
    if len({target for _, target in targets}) < len(targets):
        raise ConfigError("two of the files have the same name, so their results would overwrite each other")

    find_modules_here()

    from plaudit.data.read import read_groups
    from plaudit.evaluation.answers import LAST_NUMBER
    from plaudit.scoring.load import load_scorer

    with progress_bar("loading"):
        scorer = load_scorer(model)
    for path, target in targets:
        groups = read_groups(
            path,
            format=format,
            on_error=on_error,
            limit=limit,
            group_by_prompt=group_by_prompt,
            ranks_from=ranks_from,
        )
        print_dropped(groups.report)
        pattern = LAST_NUMBER if answer_pattern is None else answer_pattern
        _evaluate_groups(scorer, groups, target, model=model, tie_rule=tie_rule, answer_pattern=pattern)


def _evaluate_groups(
    scorer: Scorer, groups: GroupSet, target: Path, *, model: str, tie_rule: TieRule, answer_pattern: str
) -> None:
    from plaudit.evaluation.runner import evaluate as run_evaluation
    from plaudit.scoring.pairwise import PairwiseScorer
    from plaudit.scoring.scorer import Identified
    from plaudit.statistics.position_bias import PositionBias

    identified = scorer if isinstance(scorer, Identified) else None
    kept = f"what was scored is kept in {target}; the same command goes on from there"
    with interrupt_keeps(kept), progress_bar(target.name) as progress:
        result = run_evaluation(
            scorer,
            groups,
            progress=partial(_advance, progress, len(groups)),
            name=target.name,
            model=model,
            output_dir=target,
            recipe_hash=None if identified is None else identified.recipe_hash,
            weights_hash=None if identified is None else identified.head_hash,
            data_fingerprint=groups.fingerprint,
            tie_rule=tie_rule,
            answer_pattern=answer_pattern,
        )
    print_result(result)
    if isinstance(scorer, PairwiseScorer):
        typer.echo(scorer.position_bias.in_words())
        scorer.position_bias = PositionBias()
    typer.echo(f"wrote {target}; read it with: plaudit report {target}")


def _advance(progress: Callable[[int, int], None], total: int, done: int) -> None:
    progress(done, total)


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
    print_table(result.name, _COLUMNS, rows, numbers=3)
    for measure in result.measures:
        print_measure(measure, result.name)
    ties = f"; {result.ties} exact ties, each counted as {result.tie_rule}" if result.figures else ""
    typer.echo(
        f"{result.n} items: {result.scored} scored, {result.unscored} without a label, {result.failed} failed{ties}"
    )


def print_measure(measure: Measure, title: str) -> None:
    """Print what was found about one kind of label: each figure with its baselines, what is missing and why."""
    rows: list[tuple[str, ...]] = []
    for name, interval in measure.figures.items():
        rows.append(("figure", name, *_cells(interval)))
        rows += [("baseline", f"  {rule}", *_cells(each)) for rule, each in measure.baselines.get(name, {}).items()]
    for source, figures in measure.slices.items():
        rows.append(("source", source, *_cells(figures[measure.headline])))
    print_table(f"{title}: {measure.name}", _COLUMNS, rows, numbers=3)
    for name, reason in measure.absent.items():
        typer.echo(f"no {name}: {reason}")
    for name, rule in measure.rules.items():
        typer.echo(f"{name.replace('_', ' ')}: {rule}")
    counts = measure.counts
    typer.echo(f"{counts.n} groups: {counts.scored} scored, {counts.unscored} that say nothing, {counts.failed} failed")
    typer.echo(", ".join(f"{name.replace('_', ' ')} {value}" for name, value in measure.details.items() if value))


def _cells(interval: Interval) -> tuple[str, str, str]:
    return f"{interval.value:.3f}", f"{interval.low:.3f} – {interval.high:.3f}", str(interval.n)
