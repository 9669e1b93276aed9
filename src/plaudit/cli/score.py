"""``plaudit score``."""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plaudit.cli.console import find_modules_here, interrupt_keeps, print_counts, progress_bar
from plaudit.cli.options import Bundle, ModelArgument, ModelChanges, options_of, verb
from plaudit.data.reading.options import ReadingOptions
from plaudit.errors import ConfigError
from plaudit.journal import check_output

if TYPE_CHECKING:
    from pydantic import JsonValue

    from plaudit.scoring.files import ScoreReport, ScoringWorker

_READING = Bundle(options_of, ("format", "attributes", "split", "step_separator", "on_error"))


@verb
def score(
    model: ModelArgument,
    input_path: Annotated[str, typer.Argument(metavar="INPUT", help="File of groups.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.", show_default=False)],
    *,
    reading: Annotated[ReadingOptions, _READING],
    changes: Annotated[ModelChanges, Bundle(ModelChanges)],
    shard: Annotated[str, typer.Option(metavar="I/N", help="Score part I of N, from 0.")] = "0/1",
    workers: Annotated[
        int, typer.Option(min=1, help="Processes on this machine, each on its own GPU where there are several.")
    ] = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Start again where the output exists.")] = False,
) -> None:
    """Give every response in INPUT its reward; a run that was stopped goes on where it was."""
    part = parse_shard(shard)
    if workers > 1 and part != (0, 1):
        raise ConfigError("--workers makes shards of its own; leave out --shard, or give each shard one process")
    find_modules_here()
    check_output(output, source=input_path, overwrite=overwrite)
    kept = f"the rewards so far are kept beside {output}; the same command goes on from there"
    with interrupt_keeps(kept):
        if workers > 1:
            report = _score_in_processes(model, input_path, output, reading, changes, workers)
        else:
            report = _score_here(model, input_path, output, reading, changes, part)
    resumed = f", {report.resumed} of them by an earlier run" if report.resumed else ""
    typer.echo(f"wrote {output}: {report.groups} groups, {report.scored} scored{resumed}")
    print_counts("not scored", report.left_out)
    print_counts("rows left out", report.dropped_rows)
    truncated = {name: count for name, count in report.truncated.items() if count}
    print_counts("truncated, of what this run scored", truncated)
    if report.position_bias is not None:
        typer.echo(report.position_bias.in_words())


def _score_here(
    model: str,
    input_path: str,
    output: Path,
    reading: ReadingOptions,
    changes: ModelChanges,
    part: tuple[int, int],
) -> ScoreReport:
    from plaudit.data.reading.read import read_groups
    from plaudit.scoring.files import score_file

    groups = read_groups(input_path, reading)
    scorer = changes.load(model)
    with progress_bar("scoring") as progress:
        return score_file(scorer, groups, output, model=model, shard=part, options=_options(changes), progress=progress)


def _score_in_processes(
    model: str, input_path: str, output: Path, reading: ReadingOptions, changes: ModelChanges, workers: int
) -> ScoreReport:
    import dataclasses

    from plaudit.jobs import Job, run_local
    from plaudit.journal import locked
    from plaudit.scoring.files import ScoreReport

    arguments = {
        "model": model,
        "input_path": input_path,
        "reading": reading.model_dump(mode="json"),
        "changes": dataclasses.asdict(changes),
    }
    job = Job("plaudit.cli.score:scoring_worker", arguments)
    with locked(output), progress_bar("scoring") as progress:
        run = run_local(job, output, workers=workers, progress=progress, environments=_environments(workers))
    report = ScoreReport(resumed=run.resumed, dropped_rows=run.summaries[0]["dropped_rows"])
    for each in run.summaries:
        report.groups += each["groups"]
        report.scored += each["scored"]
        report.left_out += Counter(each["left_out"])
        report.truncated += Counter(each["truncated"])
    return report


def scoring_worker(model: str, input_path: str, reading: dict[str, Any], changes: dict[str, Any]) -> ScoringWorker:
    """Return the worker of a job that scores a file: the setup of ``plaudit score --workers``."""
    from plaudit.data.reading.read import read_groups
    from plaudit.scoring.files import ScoringWorker

    find_modules_here()
    groups = read_groups(input_path, ReadingOptions.model_validate(reading))
    made = ModelChanges(**changes)
    return ScoringWorker(made.open(model), groups, model=model, options=_options(made))


def _options(changes: ModelChanges) -> dict[str, JsonValue]:
    """Return options that fix the last digits of rewards, which not every scorer tells of."""
    return {} if changes.max_tokens is None else {"max_tokens": changes.max_tokens}


def _environments(workers: int) -> list[dict[str, str]]:
    """Return for each worker a GPU of its own where there are several, and its part of the CPU."""
    import torch

    threads = max(1, (os.cpu_count() or 1) // workers)
    shared = {} if "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": str(threads)}
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    devices = visible.split(",") if visible else [str(number) for number in range(torch.cuda.device_count())]
    if len(devices) < 2:
        return [shared]
    return [{**shared, "CUDA_VISIBLE_DEVICES": devices[number % len(devices)]} for number in range(workers)]


def parse_shard(text: str) -> tuple[int, int]:
    """Return ``I/N`` as (I, N).

    Raises:
        ConfigError: unless 0 ≤ I < N.
    """
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if found is None or int(found[1]) >= int(found[2]):
        raise ConfigError(f"--shard is {text!r}; it must be I/N with I from 0 to N - 1, like 0/4")
    return int(found[1]), int(found[2])
