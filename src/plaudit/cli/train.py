"""``plaudit train``, and ``plaudit ssrm``, which trains in rounds on labels of its own."""

from __future__ import annotations

import os
import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from plaudit.cli.console import find_modules_here, interrupt_keeps, print_table
from plaudit.cli.options import ConfigArgument, DryRunOption, RunDirOption
from plaudit.errors import ConfigError

if TYPE_CHECKING:
    from plaudit.data.schema.group_set import GroupSet
    from plaudit.labeling.semi_supervised import SemiSupervisedRecord
    from plaudit.records import Interval, Result
    from plaudit.scoring.scorer import Scorer

RUNS = Path("runs")


def train(
    config: ConfigArgument,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Changes to it, like optim.lr=3e-6.", show_default=False),
    ] = None,
    run_dir: RunDirOption = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in --run-dir.")] = False,
    dry_run: DryRunOption = False,
) -> None:
    """Train a reward model as CONFIG says."""
    from plaudit.config import dump_config, load_config
    from plaudit.training.config import TrainConfig

    find_modules_here()
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
        finish(resolved.name, finished, has_custom_head=resolved.model.has_custom_head)


def finish(name: str, run: Path, *, has_custom_head: bool = False) -> None:
    """Evaluate the run's model on its held-out groups, print the result, and write the run's report."""
    from plaudit.cli.console import print_result
    from plaudit.data.reading.read import read_groups
    from plaudit.opening import load
    from plaudit.reports.page import write_report
    from plaudit.training.run import HELD_OUT_FILE

    held_out = run / "data" / HELD_OUT_FILE
    if held_out.stat().st_size > 0:
        groups, scorer = read_groups(held_out, format="groups"), load(run, trust_remote_code=has_custom_head)
        print_result(evaluate_held_out(scorer, groups, run, name))
    typer.echo(f"finished: {run}\nread it: {write_report([run], run / 'report.html')}")


def evaluate_held_out(scorer: Scorer, groups: GroupSet, run: Path, model: str) -> Result:
    """Return the result of a run's model, called ``model``, on its held-out groups, and write it into the run."""
    from plaudit.evaluation.run import evaluate

    return evaluate(
        scorer,
        groups,
        name="held_out",
        model=model,
        output_dir=run / "eval" / "held_out",
        recipe_hash=scorer.info.recipe_hash,
        weights_hash=scorer.info.weights_hash,
        data_fingerprint=groups.fingerprint,
    )


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


def ssrm(
    config: ConfigArgument,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Changes to it, like threshold=0.9.", show_default=False),
    ] = None,
    run_dir: RunDirOption = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the round that was cut in --run-dir.")] = False,
    dry_run: DryRunOption = False,
) -> None:
    """Train on few labelled groups and many without labels, which the model labels itself, in rounds."""
    from plaudit.config import dump_config, load_config
    from plaudit.labeling.config import SemiSupervisedConfig

    resolved = load_config(SemiSupervisedConfig, config, overrides or ())
    if dry_run:
        typer.echo(dump_config(resolved), nl=False)
        return
    folder = choose_run_dir(resolved.train.name, run_dir, resume=resume, now=datetime.now(UTC))

    from plaudit.labeling.semi_supervised import round_folder, train_semi_supervised
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
    """Print one line for each round: the pseudo-labels kept, the proportion right, and the held-out accuracy."""
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
