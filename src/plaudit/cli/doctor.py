"""``plaudit doctor``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from plaudit.cli.console import EXIT_FAILED_CHECK, print_table
from plaudit.cli.options import QuantizationOption, TrustOption, parse_numbers, parse_separator
from plaudit.errors import ConfigError


def doctor(
    model: Annotated[str, typer.Argument(help="Folder, run or hub id.", show_default=False)],
    quantization: QuantizationOption = None,
    trust_remote_code: TrustOption = False,
    step_classes: Annotated[
        str | None,
        typer.Option(
            "--step-classes",
            metavar="NUMBERS",
            help="Of a process model of another trainer (TRL): values of its outputs, 0,1 say.",
        ),
    ] = None,
    step_separator: Annotated[
        str | None,
        typer.Option(
            "--step-separator", metavar="TEXT", help=r"Of such a model: the text at which a step is judged, \n say."
        ),
    ] = None,
    save: Annotated[
        Path | None, typer.Option("--save", help="Save a copy with its scoring recipe in this folder.")
    ] = None,
) -> None:
    """Check a model: template, BOS and EOS, pad token, head, layouts, dtype, quantisation. Exit code 1 if one fails."""
    from plaudit.models.checkpoint.doctor import diagnose
    from plaudit.opening import model_source, separated_steps

    if model.startswith(("http://", "https://")):
        raise ConfigError("doctor reads the files of a model; name the folder or hub id that the server serves")
    if save is not None and save.exists():
        raise ConfigError(f"--save: {save} exists; choose another folder")
    classes = None if step_classes is None else parse_numbers(step_classes, option="--step-classes")
    steps = separated_steps(classes, None if step_separator is None else parse_separator(step_separator))
    checks = diagnose(
        model_source(model), quantization=quantization, trust_remote_code=trust_remote_code, steps=steps, save=save
    )
    rows = [(check.status, check.name, check.found, check.advice) for check in checks]
    print_table(f"doctor {model}", ("status", "check", "found", "advice"), rows)
    counts = {status: sum(check.status == status for check in checks) for status in ("ok", "warning", "error")}
    typer.echo(", ".join(f"{count} {status}" for status, count in counts.items()))
    if counts["error"]:
        raise typer.Exit(EXIT_FAILED_CHECK)
