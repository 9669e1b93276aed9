"""``plaudit report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from plaudit.outputs import check_file, is_page


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
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is no page of plaudit.")] = False,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            "--data", help="File of evaluated groups, for the texts of items.", show_default="of a run its own"
        ),
    ] = None,
) -> None:
    """Write one self-contained HTML page about runs, results and stress tests; those of the same data side by side."""
    from plaudit.reports.page import write_report

    first = inputs[0]
    target = output or (first if first.is_dir() else first.parent) / "report.html"
    check_file(target, is_own=is_page, overwrite=overwrite)
    write_report(inputs, target, data=data or ())
    typer.echo(f"wrote {target}")
