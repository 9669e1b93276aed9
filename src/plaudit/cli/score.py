"""``plaudit score``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

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
    progress_bar,
)
from plaudit.data.reading.sources.formats import FormatChoice
from plaudit.errors import ConfigError


def score(
    model: Annotated[str, typer.Argument(help=MODEL_HELP, show_default=False)],
    input_path: Annotated[str, typer.Argument(metavar="INPUT", help="File of groups.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.", show_default=False)],
    format: Annotated[FormatChoice, typer.Option(help="How rows become groups.")] = "auto",
    attributes: AttributesOption = None,
    split: SplitOption = "train",
    step_separator: StepSeparatorOption = "\n",
    max_tokens: Annotated[
        int | None,
        typer.Option(min=1, help="Tokens in one forward pass.", show_default="chosen for the device"),
    ] = None,
    aggregation: AggregationOption = None,
    quantization: QuantizationOption = None,
    max_length: MaxLengthOption = None,
    truncation: TruncationOption = None,
    shard: Annotated[str, typer.Option(metavar="I/N", help="Score part I of N, from 0.")] = "0/1",
    on_error: Annotated[Literal["raise", "skip"], typer.Option(help="What to do with an unreadable row.")] = "raise",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Start again where the output exists.")] = False,
) -> None:
    """Give every response in INPUT its reward; a run that was stopped goes on where it was."""
    part, columns, separator = parse_shard(shard), parse_names(attributes), parse_separator(step_separator)
    find_modules_here()

    from plaudit.scoring.files import score_file

    kept = f"the rewards so far are kept beside {output}; the same command goes on from there"
    with interrupt_keeps(kept), progress_bar("scoring") as progress:
        found = score_file(
            model,
            input_path,
            output,
            format=format,
            attributes=columns,
            split=split,
            step_separator=separator,
            max_tokens=max_tokens,
            aggregation=aggregation,
            quantization=quantization,
            max_length=max_length,
            truncation=truncation,
            shard=part,
            on_error=on_error,
            overwrite=overwrite,
            progress=progress,
        )
    resumed = f", {found.resumed} of them by an earlier run" if found.resumed else ""
    typer.echo(f"wrote {output}: {found.groups} groups, {found.scored} scored{resumed}")
    print_counts("not scored", found.left_out)
    print_counts("rows left out", found.dropped_rows)
    print_counts("cut to fit, of what this run scored", found.cut)
    if found.position_bias is not None:
        typer.echo(found.position_bias.in_words())


def parse_shard(text: str) -> tuple[int, int]:
    """Return ``I/N`` as (I, N).

    Raises:
        ConfigError: unless 0 ≤ I < N.
    """
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if found is None or int(found[1]) >= int(found[2]):
        raise ConfigError(f"--shard is {text!r}; it must be I/N with I from 0 to N - 1, like 0/4")
    return int(found[1]), int(found[2])
