"""``plaudit evaluate``."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from plaudit.cli.console import find_modules_here, interrupt_keeps, print_dropped, print_table, progress_bar
from plaudit.data.sources.formats import FormatChoice
from plaudit.errors import ConfigError

if TYPE_CHECKING:
    from plaudit.records import Interval, Result


def evaluate(
    model: Annotated[str, typer.Argument(help="Folder, hub id or module:function.", show_default=False)],
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE", help="Files of groups with preferences.", show_default=False),
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
) -> None:
    """Measure how often MODEL prefers what the data prefer: accuracy with its interval, ties, baselines."""
    folder = output or Path("evaluations") / slug(model)
    targets = [(path, folder / slug(Path(path).name.split(".")[0])) for path in files]
    if len({target for _, target in targets}) < len(targets):
        raise ConfigError("two of the files have the same name, so their results would overwrite each other")

    find_modules_here()

    from plaudit.data.read import read_groups
    from plaudit.evaluation.runner import evaluate as run_evaluation
    from plaudit.scoring.engine import RewardScorer
    from plaudit.scoring.load import load_scorer

    with progress_bar("loading"):
        scorer = load_scorer(model)
    recipe_hash = scorer.recipe_hash if isinstance(scorer, RewardScorer) else None
    for path, target in targets:
        groups = read_groups(path, format=format, on_error=on_error, limit=limit)
        print_dropped(groups.report)
        kept = f"what was scored is kept in {target}; the same command goes on from there"
        with interrupt_keeps(kept), progress_bar(target.name) as progress:
            result = run_evaluation(
                scorer,
                groups,
                progress=partial(_advance, progress, len(groups)),
                name=target.name,
                model=model,
                output_dir=target,
                recipe_hash=recipe_hash,
                weights_hash=scorer.head_hash if isinstance(scorer, RewardScorer) else None,
                data_fingerprint=groups.fingerprint,
                tie_rule=tie_rule,
            )
        print_result(result)
        typer.echo(f"wrote {target}; read it with: plaudit report {target}")


def _advance(progress: Callable[[int, int], None], total: int, done: int) -> None:
    progress(done, total)


def slug(text: str) -> str:
    """Return ``text`` as the name of a folder: its last two parts, of letters, digits and ``._-``."""
    parts = [part for part in text.split("/") if part not in ("", ".", "..")]
    return re.sub(r"[^\w.-]+", "-", "-".join(parts[-2:])).strip("-") or "model"


def print_result(result: Result) -> None:
    """Print what ``result`` found: figures with intervals, baselines, sources, and the items they rest on."""
    rows = [("figure", name, *_cells(interval)) for name, interval in result.figures.items()]
    rows += [("baseline", name, *_cells(interval)) for name, interval in result.baselines.items()]
    for name, figures in result.slices.items():
        if "accuracy" in figures:
            rows.append(("source", name, *_cells(figures["accuracy"])))
    print_table(result.name, ("", "", "value", "95 % interval", "n"), rows, numbers=3)
    typer.echo(
        f"{result.n} items: {result.scored} scored, {result.unscored} without a label, {result.failed} failed"
        f"; {result.ties} exact ties, each counted as {result.tie_rule}"
    )


def _cells(interval: Interval) -> tuple[str, str, str]:
    return f"{interval.value:.3f}", f"{interval.low:.3f} – {interval.high:.3f}", str(interval.n)
