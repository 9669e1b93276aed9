"""``plaudit doctor``."""

from __future__ import annotations

from typing import Annotated

import typer

from plaudit.cli.console import EXIT_FAILED_CHECK, print_table
from plaudit.cli.options import QuantizationOption


def doctor(
    model: Annotated[str, typer.Argument(help="Folder, run or hub id.", show_default=False)],
    quantization: QuantizationOption = None,
) -> None:
    """Check a model: template, BOS and EOS, pad token, head, layouts, dtype, quantisation. Exit code 1 if one fails."""
    from plaudit.models.checkpoint.doctor import diagnose
    from plaudit.opening import model_source

    checks = diagnose(model_source(model), quantization=quantization)
    rows = [(check.status, check.name, check.found, check.advice) for check in checks]
    print_table(f"doctor {model}", ("status", "check", "found", "advice"), rows)
    counts = {status: sum(check.status == status for check in checks) for status in ("ok", "warning", "error")}
    typer.echo(", ".join(f"{count} {status}" for status, count in counts.items()))
    if counts["error"]:
        raise typer.Exit(EXIT_FAILED_CHECK)
