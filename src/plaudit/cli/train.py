"""``plaudit train``."""

from __future__ import annotations

import os
import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from plaudit.cli.console import interrupt_keeps
from plaudit.errors import ConfigError

RUNS = Path("runs")


def train(
    config: Annotated[Path, typer.Argument(help="YAML file; see docs/reference/config.md.", show_default=False)],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Changes to it, like optim.lr=3e-6.", show_default=False),
    ] = None,
    run_dir: Annotated[Path | None, typer.Option(help="Folder of the run.", show_default="runs/NAME-TIME")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in --run-dir.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the resolved config and stop.")] = False,
) -> None:
    """Train a reward model as CONFIG says."""
    from plaudit.config import dump_config, load_config
    from plaudit.training.config import TrainConfig

    resolved = load_config(TrainConfig, config, overrides or ())
    if dry_run:
        typer.echo(dump_config(resolved), nl=False)
        return
    folder = choose_run_dir(resolved.name, run_dir, resume=resume, now=datetime.now(UTC))

    from plaudit.training.run import train as run_training

    again = shlex.join(["plaudit", "train", str(config), *(overrides or ()), "--run-dir", str(folder), "--resume"])
    with interrupt_keeps(f"the checkpoints written so far are in {folder}; go on with:\n  {again}"):
        finished = run_training(resolved, run_dir=folder, resume=resume)
    if os.environ.get("RANK", "0") == "0":
        finish(resolved.name, finished)


def finish(name: str, run: Path) -> None:
    """Evaluate the run's model on its held-out groups, print what was found, and write the run's report."""
    from plaudit.cli.evaluate import print_result
    from plaudit.data.reading.read import read_groups
    from plaudit.evaluation.run import evaluate
    from plaudit.reports.page import write_report
    from plaudit.scoring.load import load
    from plaudit.training.run import HELD_OUT_FILE

    held_out = run / "data" / HELD_OUT_FILE
    if held_out.stat().st_size > 0:
        groups, scorer = read_groups(held_out, format="groups"), load(run)
        result = evaluate(
            scorer,
            groups,
            name="held_out",
            model=name,
            output_dir=run / "eval" / "held_out",
            recipe_hash=scorer.recipe_hash,
            weights_hash=scorer.head_hash,
            data_fingerprint=groups.fingerprint,
        )
        print_result(result)
    typer.echo(f"finished: {run}\nread it: {write_report([run], run / 'report.html')}")


def choose_run_dir(name: str, run_dir: Path | None, *, resume: bool, now: datetime) -> Path:
    """Return the folder of the run: ``run_dir``, or ``runs/<name>-<UTC time>``.

    Raises:
        ConfigError: when the folder cannot be guessed: to resume, or for several processes.
    """
    if run_dir is not None:
        return run_dir
    if resume:
        earlier = sorted(RUNS.glob(f"{name}-[0-9]*"))
        hint = f"; the latest run of this name is {earlier[-1]}" if earlier else f"; no run {name}-* is in {RUNS}/"
        raise ConfigError(f"--resume needs --run-dir{hint}")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("several processes need one folder: give --run-dir")
    return RUNS / f"{name}-{now:%Y%m%d-%H%M%S}"
