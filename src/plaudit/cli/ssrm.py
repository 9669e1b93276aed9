"""``plaudit ssrm``."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from plaudit.cli.console import interrupt_keeps, print_table
from plaudit.cli.train import choose_run_dir

if TYPE_CHECKING:
    from plaudit.labeling.semi_supervised import SemiSupervisedRecord
    from plaudit.records import Interval


def ssrm(
    config: Annotated[Path, typer.Argument(help="YAML file; see docs/reference/config.md.", show_default=False)],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Changes to it, like threshold=0.9.", show_default=False),
    ] = None,
    run_dir: Annotated[Path | None, typer.Option(help="Folder of the run.", show_default="runs/NAME-TIME")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the round that was cut in --run-dir.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the resolved config and stop.")] = False,
) -> None:
    """Train on few labelled groups and many without labels, which the model labels itself, in rounds."""
    from plaudit.config import dump_config, load_config
    from plaudit.labeling.config import SemiSupervisedConfig

    resolved = load_config(SemiSupervisedConfig, config, overrides or ())
    if dry_run:
        typer.echo(dump_config(resolved), nl=False)
        return
    folder = choose_run_dir(resolved.train.name, run_dir, resume=resume, now=datetime.now(UTC))

    from plaudit.labeling.rounds import round_folder
    from plaudit.labeling.semi_supervised import train_semi_supervised
    from plaudit.reports.page import write_report

    again = shlex.join(["plaudit", "ssrm", str(config), *(overrides or ()), "--run-dir", str(folder), "--resume"])
    with interrupt_keeps(f"the rounds so far are in {folder}; go on with:\n  {again}"):
        record = train_semi_supervised(resolved, run_dir=folder, resume=resume)
    print_rounds(record)
    if record.message is not None:
        typer.secho(record.message, fg=typer.colors.YELLOW, err=True)
    folders = [round_folder(folder, each.number) for each in record.rounds]
    typer.echo(f"finished: {folder}; the last model is {folders[-1]}")
    typer.echo(f"read it: {write_report(folders, folder / 'report.html')}")


def print_rounds(record: SemiSupervisedRecord) -> None:
    """Print one line for each round: what was kept, how much of it is right, and the held-out accuracy."""
    rows = []
    for done in record.rounds:
        pseudo = done.pseudo
        kept = "" if pseudo is None else f"{pseudo.kept} of {pseudo.pairs}"
        right = "" if pseudo is None else _interval(pseudo.accuracy_kept)
        rows.append((str(done.number), kept, right, str(done.preferences), _interval(done.accuracy)))
    columns = ("round", "pairs kept", "of them right", "preferences trained on", "held-out accuracy")
    print_table(record.name, columns, rows, numbers=len(columns))


def _interval(found: Interval | None) -> str:
    return "unknown" if found is None else f"{found.value:.3f} ({found.low:.3f}–{found.high:.3f})"
