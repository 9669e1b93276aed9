"""``plaudit report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN|RESULT|STRESS",
            help="Folders of runs, results and stress tests, or one that holds such folders.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="HTML file to write.", show_default="report.html beside the first"),
    ] = None,
) -> None:
    """Write one self-contained HTML page about runs, results and stress tests; those of the same data side by side."""
    from plaudit.reports.page import write_report

    first = inputs[0]
    target = output or (first if first.is_dir() else first.parent) / "report.html"
    write_report(inputs, target)
    typer.echo(f"wrote {target}")
