"""``plaudit stress``."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plaudit.cli.console import (
    find_modules_here,
    interrupt_keeps,
    print_dropped,
    print_table,
    progress_bar,
    warn_renamed,
)
from plaudit.cli.options import Bundle, ModelArgument, ModelChanges, TieRuleOption, options_of, verb
from plaudit.data.reading.options import ReadingOptions

if TYPE_CHECKING:
    from plaudit.evaluation.stress.robustness import StressReport, StyleEffect, TransformEffect
    from plaudit.records import Interval


_READING = Bundle(options_of, ("format", "columns", "attributes", "limit", "on_error"))
_CHANGES = Bundle(ModelChanges, ("aggregation", "quantization", "trust_remote_code"))


@verb
def stress(
    model: ModelArgument,
    input_path: Annotated[str, typer.Argument(metavar="INPUT", help="File of preferences.", show_default=False)],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder of the results.", show_default=False)
    ],
    *,
    reading: Annotated[ReadingOptions, _READING],
    changes: Annotated[ModelChanges, _CHANGES],
    transforms: Annotated[
        bool, typer.Option(help="Test whether rankings hold; this needs preferences. Styles are always tested.")
    ] = True,
    tie_rule: TieRuleOption = "loss",
    alpha: Annotated[float, typer.Option(help="Level of the tests, after Holm's adjustment.")] = 0.05,
    seed: Annotated[int, typer.Option(help="Seed of the transforms' draws.")] = 0,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the report of another model or data that is in the folder.")
    ] = False,
) -> None:
    """Change layout, padding and style, which should not matter: how far rewards move, and which rankings flip."""
    find_modules_here()

    from plaudit.data.reading.read import read_groups
    from plaudit.evaluation.stress.run import stress as run_stress
    from plaudit.evaluation.stress.transforms import TRANSFORMS

    groups = read_groups(input_path, reading)
    print_dropped(groups.report)
    scorer = changes.load(model)
    kept = f"what was scored is kept in {output}; the same command goes on from there"
    with interrupt_keeps(kept), progress_bar("stress") as progress:
        report = run_stress(
            scorer,
            list(groups),
            name=Path(input_path).name,
            model=model,
            output_dir=output,
            seed=seed,
            tie_rule=tie_rule,
            alpha=alpha,
            transforms=TRANSFORMS if transforms else (),
            data_fingerprint=groups.fingerprint,
            progress=progress,
            overwrite=overwrite,
        )
    print_report(report)
    typer.echo(f"wrote {output}; read it with: plaudit report {output}")


@functools.wraps(stress)
def probe(**options: Any) -> None:
    """Run ``plaudit stress`` under its old name."""
    warn_renamed("plaudit probe", "plaudit stress")
    stress(**options)


def print_report(report: StressReport) -> None:
    """Print the report: transforms by the accuracy they cost, styles by the reward they add."""
    turned = [_row(each, 3, "" if each.flipped is None else f"{each.flipped.value:.1%}") for each in report.transforms]
    columns = ("transform", "changes", "groups", "accuracy change", "95 % interval", "pairs flipped", "p (Holm)")
    print_table(f"{report.name}: what must not change a ranking", columns, turned, numbers=5)
    paid = [_row(each, 4, "" if each.in_spreads is None else f"{each.in_spreads.value:+.2f}") for each in report.styles]
    columns = ("style", "puts", "responses", "reward change", "95 % interval", "in spreads", "p (Holm)")
    print_table(f"{report.name}: what a style adds to the reward", columns, paid, numbers=5)
    if report.spread is not None:
        typer.echo(f"a spread is {report.spread:.4g} rewards: how far the model sets responses to one prompt apart")
    if report.position is not None:
        typer.echo(report.position.in_words())
    typer.echo(f"{report.groups} groups; ties count as {report.tie_rule}")
    for reason, count in report.failures.items():
        typer.echo(f"{count} items without a reward: {reason}")
    names = [each.name for each in (*report.transforms, *report.styles) if each.verdict == "found"]
    typer.echo(f"changed at p < {report.alpha:g}, adjusted: {', '.join(names) or 'none'}")


def _row(effect: StyleEffect | TransformEffect, digits: int, beside: str) -> tuple[str, ...]:
    """Return an effect in print; ``beside`` stands between its interval and its p-value."""
    p = "" if effect.p_value is None else f"{effect.p_value:.2g}"
    return effect.name, effect.about, str(effect.changed), *_signed(effect.difference, digits), beside, p


def _signed(interval: Interval | None, digits: int) -> tuple[str, str]:
    if interval is None:
        return "", ""
    value, low, high = (
        f"{each:+.{digits}f}".replace("-", "−") for each in (interval.value, interval.low, interval.high)
    )
    return value, f"{low} – {high}"
