"""What every verb says and how it ends: the error line, the interrupt sentence, tables, exit codes."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from plaudit.cli.pace import Lines, Pace
from plaudit.errors import ConfigError
from plaudit.statistics.aggregation import Aggregation

if TYPE_CHECKING:
    from rich.console import Console

    from plaudit.data.schema.report import ReadReport

MODEL_HELP = "Folder, hub id, http://…, module:function, ensemble:RULE:MODEL,MODEL,… or dpo:POLICY,REFERENCE."
"""What ``plaudit score`` and ``plaudit evaluate`` take for a model."""

AttributesOption = Annotated[
    str | None,
    typer.Option(
        "--attributes", metavar="NAME,NAME,…", help="Label columns of the format attributes.", show_default=False
    ),
]
AggregationOption = Annotated[
    Aggregation | None,
    typer.Option("--aggregation", help="How step rewards make a response's.", show_default="that of the model"),
]
QuantizationOption = Annotated[
    Literal["4bit", "none"] | None,
    typer.Option("--quantization", help="Round the weights on loading.", show_default="that of the model"),
]
MaxLengthOption = Annotated[
    int | None,
    typer.Option("--max-length", min=2, help="Longest conversation in tokens.", show_default="that of the model"),
]
TruncationOption = Annotated[
    Literal["truncate_prompt", "drop", "truncate_response"] | None,
    typer.Option(
        "--truncation",
        help="Of longer ones: cut the prompt from the left, leave them out, or cut the response's end.",
        show_default="that of the model",
    ),
]
SplitOption = Annotated[str, typer.Option("--split", help="Split of a saved data set or a hub name.")]
StepSeparatorOption = Annotated[
    str,
    typer.Option(
        "--step-separator",
        metavar="TEXT",
        help=r"What joins the steps of a row into a response; \n is a line break.",
        show_default=r"\n",
    ),
]

EXIT_FAILED_CHECK = 1
EXIT_ERROR = 2
EXIT_INTERRUPTED = 130


def debug_is_on(option: bool) -> bool:
    """Return whether tracebacks are wanted: ``--debug``, or PLAUDIT_DEBUG set to anything but 0."""
    return option or os.environ.get("PLAUDIT_DEBUG", "0") not in ("", "0")


def parse_names(text: str | None) -> tuple[str, ...]:
    """Return ``NAME,NAME,…`` as names without the white space around them, and none for None.

    Raises:
        ConfigError: when one of them is empty.
    """
    names = () if text is None else tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise ConfigError(f"--attributes is {text!r}; it must be names with commas between, like helpfulness,verbosity")
    return names


def parse_separator(text: str) -> str:
    r"""Return ``text`` with ``\n``, ``\t`` and ``\\`` as a shell hands them on: line break, tab and backslash."""
    written = {r"\n": "\n", r"\t": "\t", "\\\\": "\\"}
    return re.sub(r"\\[nt\\]", lambda found: written[found[0]], text)


def console() -> Console:
    """Return a console on stdout; without a terminal its tables are as wide as their content."""
    from rich.console import Console

    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=200)


def print_error(error: Exception) -> None:
    """Print ``error: …`` in red on stderr."""
    typer.secho(f"error: {error}", fg=typer.colors.RED, err=True)


@contextlib.contextmanager
def interrupt_keeps(sentence: str) -> Iterator[None]:
    """Turn Ctrl-C inside the block into ``sentence`` (what was kept, how to go on) and exit code 130."""
    try:
        yield
    except KeyboardInterrupt:
        typer.secho(f"\ninterrupted: {sentence}", fg=typer.colors.YELLOW, err=True)
        raise typer.Exit(EXIT_INTERRUPTED) from None


def find_modules_here() -> None:
    """Let ``module:function`` name a file of the working directory; installed packages come first."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)


@contextlib.contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """Show on stderr how far the block is, whenever what is yielded is called with (done, total): rate and time left.

    A terminal gets a bar; a log gets a line at most every ten seconds. The bars that transformers draws while it loads
    and saves are hidden.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from transformers.utils import logging

    logging.disable_progress_bar()
    shown = Console(stderr=True)
    if not shown.is_terminal:
        with Lines(title, partial(typer.echo, err=True), time.monotonic).running() as show:
            yield show
        return
    pace = Pace(time.monotonic)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[pace]}"))
    with Progress(*columns, console=shown) as bar:
        task = bar.add_task(title, total=None, pace="")
        yield lambda done, total: bar.update(task, completed=done, total=total, pace=pace.words(done, total))


def print_counts(title: str, counts: Mapping[str, int]) -> None:
    """Print ``title: 3 of this, 4 of that``, the most frequent first; nothing where there is nothing."""
    if counts:
        ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        typer.echo(f"{title}: " + ", ".join(f"{count} {name}" for name, count in ordered))


def print_dropped(report: ReadReport) -> None:
    """Say on stderr how many rows were left out, if any, and why."""
    if report.dropped:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(report.dropped.items()))
        typer.secho(f"{report.path}: left out {reasons}", fg=typer.colors.YELLOW, err=True)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: int = 0) -> None:
    """Print a table whose last ``numbers`` columns are right-aligned; nothing where there are no rows."""
    if not rows:
        return
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for position, column in enumerate(columns):
        table.add_column(column, justify="right" if position >= len(columns) - numbers else "left")
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    console().print(table)
