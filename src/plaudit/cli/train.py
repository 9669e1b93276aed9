"""``plaudit train``, and ``plaudit ssrm``, which trains in rounds on labels of its own."""

from __future__ import annotations

import glob
import os
import shlex
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from plaudit.cli.console import find_modules_here, interrupt_keeps, print_table, say
from plaudit.cli.options import ConfigArgument, DryRunOption, Reading, RunDirOption, verb
from plaudit.data.reading.options import ReadingOptions
from plaudit.errors import ConfigError

if TYPE_CHECKING:
    from plaudit.labeling.semi_supervised import SemiSupervisedRecord
    from plaudit.records import Interval
    from plaudit.training.config import TrainConfig

RUNS = Path("runs")
REPORT = "report.html"
METRICS = "metrics.jsonl"


@verb
def train(
    config: Annotated[
        str,
        typer.Argument(
            metavar="CONFIG|FILE",
            help="YAML file (docs/reference/config.md), or with --model a file, folder or hub name of data.",
            show_default=False,
        ),
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE", help="Changes to the config, like optim.lr=3e-6; more FILEs.", show_default=False
        ),
    ] = None,
    *,
    model: Annotated[
        str | None, typer.Option("--model", help="Train this model on FILE: a folder, run or hub id.")
    ] = None,
    held_out: Annotated[
        list[str] | None,
        typer.Option("--held-out", metavar="FILE", help="Evaluate on it.", show_default="a tenth of the prompts"),
    ] = None,
    reading: Reading,
    run_dir: RunDirOption = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in --run-dir.")] = False,
    tiny: Annotated[
        bool, typer.Option("--tiny", help="Try it in a minute: a tiny random model, few rows, ten steps.")
    ] = False,
    dry_run: DryRunOption = False,
) -> None:
    """Train a reward model: as CONFIG says, or --model on FILE, with a config that is made for both."""
    find_modules_here()
    wanted = overrides or []
    resolved = _resolved([config, *wanted], model, held_out or [], reading)
    if tiny and (resume or int(os.environ.get("WORLD_SIZE", "1")) > 1):
        raise ConfigError("--tiny is a trial in one process, with nothing to resume; leave out --resume and torchrun")
    if dry_run:
        _show_dry_run(resolved, tiny=tiny)
        return
    folder = choose_run_dir(resolved.name, run_dir, resume=resume, now=datetime.now(UTC))
    if tiny:
        resolved = _as_trial(resolved, folder / "tiny")
    written = folder / "config.yaml"
    is_config = model is None and not tiny

    from plaudit.training.run import train as run_training
    from plaudit.training.run_folder import is_finished

    source = [config, *wanted] if is_config else [str(written)]
    again = shlex.join(["plaudit", "train", *source, "--run-dir", str(folder), "--resume"])
    had_report = resume and is_finished(folder) and (folder / REPORT).exists()
    with interrupt_keeps(lambda: kept_of(folder, again)):
        finished = run_training(resolved, run_dir=folder, resume=resume)
        if not is_config and not resume:
            typer.echo(f"the config of this run: {written}; change it, and train again: plaudit train {written}")
        if os.environ.get("RANK", "0") == "0" and not had_report:
            finish(resolved, finished)
            print_diagnosis(resolved, finished)


def kept_of(folder: Path, again: str) -> str:
    """Return in words what an interrupted training left in ``folder``; the command ``again`` goes on with it."""
    from plaudit.training.checkpoints import last_complete_checkpoint
    from plaudit.training.run_folder import CHECKPOINTS_FOLDER, CONFIG_FILE, MODEL_FOLDER, is_finished

    if not (folder / CONFIG_FILE).exists():
        return "nothing was trained yet; the same command starts again"
    if is_finished(folder):
        return f"the model is whole in {folder / MODEL_FOLDER}; evaluate it and write its report with:\n  {again}"
    if last_complete_checkpoint(folder / CHECKPOINTS_FOLDER) is None:
        return f"no checkpoint was written yet; start again with:\n  {again}"
    return f"the checkpoints written so far are in {folder}; go on with:\n  {again}"


def _resolved(words: Sequence[str], model: str | None, held_out: Sequence[str], reading: ReadingOptions) -> TrainConfig:
    """Return the config that the arguments of the command line name or ask for."""
    files = [each for place, each in enumerate(words) if place == 0 or "=" not in each]
    changes = [each for each in words[1:] if "=" in each]
    if model is None and not held_out:
        return _read_config(files, changes, reading)
    return _made_config(files, changes, model, held_out, reading)


def _read_config(files: Sequence[str], changes: Sequence[str], reading: ReadingOptions) -> TrainConfig:
    """Return the config that the command line names, with its overrides; data in its place is an error."""
    from plaudit.config import load_config
    from plaudit.training.config import TrainConfig

    path, *others = files
    if (Path(path) / "run.json").is_file():
        raise ConfigError(f"{path} is a run; go on with it: plaudit train {path}/config.yaml --run-dir {path} --resume")
    if others:
        raise ConfigError(f"override {others[0]!r} must have the form key=value, like optim.lr=3e-6")
    if is_data(path):
        raise ConfigError(f"{path} is data; name the model to train on it: plaudit train {path} --model NAME")
    given = reading.model_dump(exclude_defaults=True)
    if given:
        raise ConfigError(
            f"{', '.join(given)} say how FILE is read; of a config set data.train.0.{next(iter(given))}=…"
        )
    return load_config(TrainConfig, Path(path), changes)


def _made_config(
    files: Sequence[str], changes: Sequence[str], model: str | None, held_out: Sequence[str], reading: ReadingOptions
) -> TrainConfig:
    """Return the config of ``--model`` on files of data, with its overrides."""
    if model is None:
        raise ConfigError("--held-out goes with --model; in a config set data.held_out")
    if is_yaml(files[0]):
        raise ConfigError(f"{files[0]} is a config; --model goes with data: set model.init.path={model} instead")

    from plaudit.api import with_overrides
    from plaudit.training.from_data import config_from_data

    return with_overrides(config_from_data(files, model, held_out=held_out, reading=reading), changes)


def is_data(path: str) -> bool:
    """Return whether a path is meant as data, and not as a config: by its suffix, or since it is no file here."""
    from plaudit.data.reading.files import SUFFIXES, is_hub_name

    if is_yaml(path):
        return False
    named = is_hub_name(path) or not (Path(path).suffix or Path(path).is_file())
    return path.lower().endswith(SUFFIXES) or named or Path(path).is_dir() or glob.has_magic(path)


def is_yaml(path: str) -> bool:
    """Return whether a path has the suffix of a YAML file."""
    return path.lower().endswith((".yaml", ".yml"))


def _as_trial(config: TrainConfig, folder: Path) -> TrainConfig:
    """Return the trial of a config, its model and data written to ``folder``, and say what stands in for what."""
    from plaudit.training.trials.tiny import tiny_config

    made, said = tiny_config(config, folder)
    for line in said:
        typer.secho(f"tiny: {line}", fg=typer.colors.YELLOW, err=True)
    return made


def _show_dry_run(config: TrainConfig, *, tiny: bool) -> None:
    """Print the config on stdout, and on stderr what was read and what training would cost."""
    from plaudit.config import dump_config
    from plaudit.training.trials.dry_run import dry_run

    with tempfile.TemporaryDirectory(prefix="plaudit-") as folder:
        resolved = _as_trial(config, Path(folder)) if tiny else config
        found = dry_run(resolved)
    typer.echo(dump_config(resolved), nl=False)
    for line in found.lines():
        typer.echo(line, err=True)


def finish(config: TrainConfig, run: Path) -> None:
    """Evaluate the run's model on its held-out groups, print the result, write the run's model card and report."""
    from plaudit.api import finish as finish_run
    from plaudit.cli.console import print_result
    from plaudit.reports.page import write_report

    result = finish_run(config, run)
    if result is not None:
        print_result(result)
    typer.echo(f"finished: {run}\nread it: {write_report([run], run / REPORT)}")


def print_diagnosis(config: TrainConfig, run: Path) -> None:
    """Print what is wrong with a finished run, each with one thing to try."""
    from plaudit.evaluation.store.result_folder import ITEMS_NAME, RESULT_NAME
    from plaudit.records import Result, read_items
    from plaudit.reports.inputs import read_metrics
    from plaudit.training.diagnosis import diagnosis

    folder = run / "eval" / "held_out"
    is_evaluated = (folder / RESULT_NAME).exists()
    result = Result.model_validate_json((folder / RESULT_NAME).read_bytes()) if is_evaluated else None
    items = read_items(folder / ITEMS_NAME) if is_evaluated else []
    for sign in diagnosis(read_metrics(run / METRICS), config, result, items):
        say(f"look here: {sign}", fg=typer.colors.YELLOW)


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
        from plaudit.training.trials.dry_run import dry_run as read_first

        found = read_first(resolved.train)
        typer.echo(dump_config(resolved), nl=False)
        for line in found.lines():
            typer.echo(line, err=True)
        return
    folder = choose_run_dir(resolved.train.name, run_dir, resume=resume, now=datetime.now(UTC))

    from plaudit.labeling.semi_supervised import round_folder, train_semi_supervised
    from plaudit.model_card import write_model_card
    from plaudit.reports.page import write_report

    again = shlex.join(["plaudit", "ssrm", str(config), *(overrides or ()), "--run-dir", str(folder), "--resume"])
    with interrupt_keeps(f"the rounds so far are in {folder}; go on with:\n  {again}"):
        record = train_semi_supervised(resolved, run_dir=folder, resume=resume)
    print_rounds(record)
    if record.message is not None:
        typer.secho(record.message, fg=typer.colors.YELLOW, err=True)
    folders = [round_folder(folder, each.number) for each in record.rounds]
    for each in folders:
        write_model_card(each)
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
