"""``plaudit probe``."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from plaudit.cli.console import (
    MODEL_HELP,
    AggregationOption,
    AttributesOption,
    QuantizationOption,
    find_modules_here,
    interrupt_keeps,
    parse_names,
    print_dropped,
    print_table,
    progress_bar,
)
from plaudit.cli.targets import LimitOption, OnErrorOption
from plaudit.data.reading.sources.formats import FormatChoice

if TYPE_CHECKING:
    from plaudit.evaluation.stress.robustness import PositionEffect, ProbeReport
    from plaudit.records import Interval


def probe(
    model: Annotated[str, typer.Argument(help=MODEL_HELP, show_default=False)],
    input_path: Annotated[str, typer.Argument(metavar="INPUT", help="File of preferences.", show_default=False)],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder of the results.", show_default=False)
    ],
    format: Annotated[FormatChoice, typer.Option(help="How rows become groups.")] = "auto",
    attributes: AttributesOption = None,
    aggregation: AggregationOption = None,
    quantization: QuantizationOption = None,
    transforms: Annotated[
        bool, typer.Option(help="Ask whether rankings hold; this needs preferences. Styles are always probed.")
    ] = True,
    tie_rule: Annotated[
        Literal["half", "loss", "exclude"], typer.Option(help="What an exact tie counts as: half, wrong, or nothing.")
    ] = "loss",
    alpha: Annotated[float, typer.Option(help="Level of the tests, after Holm's adjustment.")] = 0.05,
    limit: LimitOption = None,
    on_error: OnErrorOption = "raise",
    seed: Annotated[int, typer.Option(help="Seed of the transforms' draws.")] = 0,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the probe of another model or data that is in the folder.")
    ] = False,
) -> None:
    """Ask what moves the rewards of MODEL though quality does not: layout, padding, style; and which rankings turn."""
    columns = parse_names(attributes)
    find_modules_here()

    from plaudit.data.reading.read import read_groups
    from plaudit.evaluation.stress.run import probe as run_probe
    from plaudit.evaluation.stress.transforms import TRANSFORMS
    from plaudit.scoring.load import load_scorer

    found = read_groups(input_path, format=format, attributes=columns, on_error=on_error)
    print_dropped(found.report)
    groups = list(itertools.islice(found, limit))
    with progress_bar("loading"):
        scorer = load_scorer(model, aggregation=aggregation, quantization=quantization)
    kept = f"what was scored is kept in {output}; the same command goes on from there"
    with interrupt_keeps(kept), progress_bar("probing") as progress:
        report = run_probe(
            scorer,
            groups,
            name=Path(input_path).name,
            model=model,
            output_dir=output,
            seed=seed,
            tie_rule=tie_rule,
            alpha=alpha,
            transforms=TRANSFORMS if transforms else (),
            recipe_hash=scorer.recipe_hash,
            weights_hash=scorer.head_hash,
            data_fingerprint=found.fingerprint if limit is None else found.select(range(len(groups))).fingerprint,
            progress=progress,
            overwrite=overwrite,
        )
    print_report(report)
    typer.echo(f"wrote {output}; read it with: plaudit report {output}")


def print_report(report: ProbeReport) -> None:
    """Print what was found: transforms by the accuracy they cost, styles by the reward they add."""
    turned = [
        (
            each.name,
            each.about,
            str(each.changed),
            *_signed(each.difference, 3),
            "" if each.flipped is None else f"{each.flipped.value:.1%}",
            _p_value(each.p_value),
        )
        for each in report.transforms
    ]
    columns = ("transform", "changes", "groups", "accuracy change", "95 % interval", "pairs flipped", "p (Holm)")
    print_table(f"{report.name}: what must not change a ranking", columns, turned, numbers=5)
    paid = [
        (
            each.name,
            each.about,
            str(each.changed),
            *_signed(each.difference, 4),
            "" if each.in_spreads is None else f"{each.in_spreads.value:+.2f}",
            _p_value(each.p_value),
        )
        for each in report.styles
    ]
    columns = ("style", "puts", "responses", "reward change", "95 % interval", "in spreads", "p (Holm)")
    print_table(f"{report.name}: what a style adds to the reward", columns, paid, numbers=5)
    if report.spread is not None:
        typer.echo(f"a spread is {report.spread:.4g} rewards: how far the model sets responses to one prompt apart")
    if report.position is not None:
        typer.echo(_position(report.position))
    typer.echo(f"{report.groups} groups; ties count as {report.tie_rule}")
    for reason, count in report.failures.items():
        typer.echo(f"{count} items without a reward: {reason}")
    names = [each.name for each in (*report.transforms, *report.styles) if each.verdict == "found"]
    typer.echo(f"changed at p < {report.alpha:g}, adjusted: {', '.join(names) or 'none'}")


def _position(effect: PositionEffect) -> str:
    first, decides = effect.first, effect.inconsistent
    return (
        f"position bias: the response named first is preferred with probability {first.value:.3f} "
        f"({first.low:.3f} to {first.high:.3f}; ½ is none); the order decides {decides.value:.1%} "
        f"({decides.low:.1%} to {decides.high:.1%}) of {effect.pairs} pairs"
    )


def _signed(interval: Interval | None, digits: int) -> tuple[str, str]:
    if interval is None:
        return "", ""
    value, low, high = (
        f"{each:+.{digits}f}".replace("-", "−") for each in (interval.value, interval.low, interval.high)
    )
    return value, f"{low} – {high}"


def _p_value(value: float | None) -> str:
    return "" if value is None else f"{value:.2g}"
