"""The command line: one verb per file; this one joins them and gives every error one line."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typing_extensions import override

from plaudit.cli.average import average
from plaudit.cli.compare import compare
from plaudit.cli.console import EXIT_ERROR, EXIT_INTERRUPTED, debug_is_on, print_error
from plaudit.cli.data import app as data_app
from plaudit.cli.doctor import doctor
from plaudit.cli.evaluate import evaluate
from plaudit.cli.quickstart import quickstart
from plaudit.cli.recipes import app as recipes_app
from plaudit.cli.report import report
from plaudit.cli.rescore import rescore
from plaudit.cli.score import score
from plaudit.cli.stress import probe, stress
from plaudit.cli.train import ssrm, train
from plaudit.errors import PlauditError

# Read by torch at its first allocation: large tensors on huge pages, which saves a CPU 5–10 % of a training step.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


class _ExplainingGroup(TyperGroup):
    """Ends a command with one line for errors that plaudit or the system explains, else with a traceback."""

    @override
    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (PlauditError, OSError) as error:
            unexplained = not isinstance(error, PlauditError) and error.errno is None
            if unexplained or debug_is_on(bool(ctx.params.get("debug"))):
                raise
            print_error(error)
            raise typer.Exit(EXIT_ERROR) from None
        except KeyboardInterrupt:
            typer.secho("\ninterrupted: nothing was written", fg=typer.colors.YELLOW, err=True)
            raise typer.Exit(EXIT_INTERRUPTED) from None


app = typer.Typer(
    name="plaudit",
    cls=_ExplainingGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
)


def version() -> None:
    """Show the version."""
    from plaudit import __version__

    typer.echo(f"plaudit {__version__}")


def _print_version(wanted: bool) -> None:
    if wanted:
        version()
        raise typer.Exit


@app.callback()
def plaudit(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error (also: PLAUDIT_DEBUG=1).")
    ] = False,
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """Train, test, explain and use reward models.

    Start with [bold]plaudit quickstart[/bold]: the whole story on a built-in world, offline, on a CPU.
    """


app.command()(quickstart)
app.command()(train)
app.command()(ssrm)
app.command()(score)
app.command()(evaluate)
app.command()(rescore)
app.command()(compare)
app.command()(stress)
app.command("probe", hidden=True)(probe)
app.command()(report)
app.command()(doctor)
app.command()(average)
app.add_typer(data_app, name="data")
app.add_typer(recipes_app, name="recipes")
app.command()(version)
