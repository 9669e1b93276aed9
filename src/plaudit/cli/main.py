"""The command line: one verb per file; this one joins them and gives every error one line."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typing_extensions import override

from plaudit.cli.average import average
from plaudit.cli.best import best
from plaudit.cli.compare import compare
from plaudit.cli.console import (
    EXIT_BROKEN_PIPE,
    EXIT_ERROR,
    EXIT_INTERRUPTED,
    close_quietly,
    debug_is_on,
    print_error,
    terminate_as_interrupt,
    warn_once,
)
from plaudit.cli.data import app as data_app
from plaudit.cli.doctor import doctor
from plaudit.cli.evaluate import evaluate
from plaudit.cli.push import push
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

EXAMPLES: dict[str, tuple[str, ...]] = {
    "quickstart": ("plaudit quickstart", "plaudit quickstart --out runs/first --seed 1"),
    "train": (
        "plaudit train pairs.csv --model Qwen/Qwen3-0.6B --held-out later.csv",
        "plaudit train config.yaml optim.lr=3e-6 --run-dir runs/first --resume",
    ),
    "ssrm": (
        "plaudit ssrm config.yaml --run-dir runs/rounds",
        "plaudit ssrm config.yaml threshold=0.9 --dry-run",
    ),
    "score": (
        "plaudit score runs/first pairs.jsonl -o rewards.jsonl",
        "plaudit score runs/first 'What is 2 + 2?' '4' '5'",
    ),
    "best": (
        "plaudit best runs/first samples.jsonl -o best.jsonl",
        "cat samples.jsonl | plaudit best runs/first - -o - > best.jsonl",
    ),
    "evaluate": (
        "plaudit evaluate runs/first held_out.jsonl --all",
        "plaudit evaluate Skywork/Skywork-Reward-V2-Llama-3.1-8B reward_bench rm_bench=rm_bench.json",
    ),
    "rescore": (
        "plaudit rescore evaluations/first/pairs/items.jsonl --all",
        "plaudit rescore rewards.jsonl pairs.jsonl -o evaluations/from_file",
    ),
    "compare": (
        "plaudit compare evaluations/first/pairs evaluations/second/pairs",
        "plaudit compare evaluations/first/pairs evaluations/second/pairs --alpha 0.01",
    ),
    "stress": (
        "plaudit stress runs/first pairs.jsonl -o stress/first",
        "plaudit stress runs/first pairs.jsonl -o stress/first --no-transforms --limit 200",
    ),
    "report": ("plaudit report runs/first", "plaudit report evaluations/* -o leaderboard.html"),
    "doctor": ("plaudit doctor runs/first", "plaudit doctor Qwen/Qwen3-0.6B --quantization 4bit"),
    "average": (
        "plaudit average averaged runs/first runs/second",
        "plaudit average averaged runs/first runs/second --weights 2,1 --overwrite",
    ),
    "push": ("plaudit push runs/first owner/name", "plaudit push runs/first owner/name --private"),
    "data show": ("plaudit data show pairs.jsonl", "plaudit data show mixture.yaml"),
    "data build": ("plaudit data build mixture.yaml -o mixed", "plaudit data build mixture.yaml seed=1 -o mixed"),
    "data audit": ("plaudit data audit pairs.jsonl -o audit", "plaudit data audit config.yaml -o audit"),
    "data relabel": (
        "plaudit data relabel runs/first samples.jsonl -o labelled.jsonl",
        "plaudit data relabel runs/first samples.jsonl -o labelled.jsonl --labels soft",
    ),
    "data export": (
        "plaudit data export reward_bench -o groups",
        "plaudit data export pairs.jsonl -o groups --format trl",
    ),
    "version": ("plaudit version", "plaudit --version"),
}
"""Examples of every verb, which stand at the end of its ``--help``."""


def epilog(verb: str) -> str:
    """Return the examples of a verb as the end of its help, one on each line."""
    return "\n\n".join(["Examples:", *EXAMPLES[verb]])


class _ExplainingGroup(TyperGroup):
    """Ends a command with one line for errors that plaudit or the system explains, else with a traceback."""

    @override
    def invoke(self, ctx: Any) -> Any:
        warn_once()
        terminate_as_interrupt()
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            close_quietly()
            raise typer.Exit(EXIT_BROKEN_PIPE) from None
        except (PlauditError, OSError) as error:
            unexplained = not isinstance(error, PlauditError) and error.errno is None
            if unexplained or debug_is_on(bool(ctx.params.get("debug"))):
                raise
            print_error(error)
            raise typer.Exit(EXIT_ERROR) from None
        except KeyboardInterrupt:
            typer.secho("\ninterrupted", fg=typer.colors.YELLOW, err=True)
            raise typer.Exit(EXIT_INTERRUPTED) from None


app = typer.Typer(
    name="plaudit",
    cls=_ExplainingGroup,
    no_args_is_help=True,
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


VERBS = (
    quickstart,
    train,
    ssrm,
    score,
    best,
    evaluate,
    rescore,
    compare,
    stress,
    report,
    doctor,
    average,
    push,
    version,
)
for each in VERBS:
    app.command(epilog=epilog(each.__name__))(each)
app.command("probe", hidden=True)(probe)
for command in data_app.registered_commands:
    name = command.name or getattr(command.callback, "__name__", "")
    command.epilog = epilog(f"data {name}")
app.add_typer(data_app, name="data")
app.add_typer(recipes_app, name="recipes")
