"""``plaudit score``."""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plaudit.cli.console import find_modules_here, interrupt_keeps, is_stream, print_counts, print_noted, progress_bar
from plaudit.cli.options import Bundle, ModelArgument, ModelChanges, options_of, verb
from plaudit.data.reading.options import ReadingOptions
from plaudit.errors import ConfigError
from plaudit.journal import check_output

if TYPE_CHECKING:
    from pydantic import JsonValue

    from plaudit.scoring.files import ScoreReport, ScoringWorker
    from plaudit.scoring.scorer import Scorer

_READING = Bundle(options_of, ("format", "columns", "attributes", "split", "step_separator", "on_error"))


@verb
def score(
    model: ModelArgument,
    input_path: Annotated[
        str,
        typer.Argument(
            metavar="INPUT|PROMPT",
            help="File of groups, or - for standard input; with answers a prompt.",
            show_default=False,
        ),
    ],
    answers: Annotated[
        list[str] | None, typer.Argument(metavar="[ANSWER]…", help="Responses to PROMPT.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write, or - for standard output.", show_default=False)
    ] = None,
    *,
    reading: Annotated[ReadingOptions, _READING],
    changes: Annotated[ModelChanges, Bundle(ModelChanges)],
    shard: Annotated[str, typer.Option(metavar="I/N", help="Score part I of N, from 0.")] = "0/1",
    workers: Annotated[
        int, typer.Option(min=1, help="Processes on this machine, each on its own GPU where there are several.")
    ] = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Start again where the output exists.")] = False,
) -> None:
    """Give every response in INPUT its reward, or every ANSWER to PROMPT; a run that was stopped goes on."""
    part = parse_shard(shard)
    if workers > 1 and part != (0, 1):
        raise ConfigError("--workers makes shards of its own; leave out --shard, or give each shard one process")
    find_modules_here()
    if answers:
        if output is not None:
            raise ConfigError("the rewards of answers are printed; leave out --output, or give a file of groups")
        _score_answers(changes.load(model), input_path, answers)
        return
    if output is None:
        raise ConfigError("say where the rewards go: -o FILE, or -o - for standard output; or give answers to PROMPT")
    if is_stream(output):
        if workers > 1 or part != (0, 1):
            raise ConfigError("--workers and --shard write files; leave them out with -o -")
        _print_report(_score_to_stdout(model, input_path, reading, changes), "", err=True)
        return
    if workers > 1 and is_stream(input_path):
        raise ConfigError("several --workers cannot share standard input; leave out --workers, or give a file")
    check_output(output, source=input_path, overwrite=overwrite)
    kept = f"the rewards so far are kept beside {output}; the same command goes on from there"
    with interrupt_keeps(kept):
        if workers > 1:
            report = _score_in_processes(model, input_path, output, reading, changes, workers, overwrite=overwrite)
        else:
            report = _score_here(model, input_path, output, reading, changes, part, overwrite=overwrite)
    _print_report(report, f"wrote {output}: ")


def _print_report(report: ScoreReport, where: str, *, err: bool = False) -> None:
    resumed = f", {report.resumed} of them by an earlier run" if report.resumed else ""
    typer.echo(f"{where}{report.groups} groups, {report.scored} scored{resumed}", err=err)
    print_counts("not scored", report.left_out, err=err)
    print_counts("rows left out", report.dropped_rows, err=err)
    truncated = {name: count for name, count in report.truncated.items() if count}
    print_counts("truncated, of what this run scored", truncated, err=err)
    if report.position_bias is not None:
        typer.echo(report.position_bias.in_words(), err=err)


def _score_answers(scorer: Scorer, prompt: str, answers: list[str]) -> None:
    """Print one line for each answer: its reward, or why it has none, and the answer."""
    from plaudit.data.schema.group import Group, conversation

    (scored,) = scorer.score_groups([Group(conversation(prompt), tuple(answers), id="0")])
    for answer, reward in zip(answers, scored.rewards, strict=True):
        typer.echo(f"{'none' if reward is None else f'{reward:+.4f}'}\t{answer}")
    if scored.reason is not None:
        typer.secho(scored.reason, fg=typer.colors.YELLOW, err=True)


def _score_to_stdout(model: str, input_path: str, reading: ReadingOptions, changes: ModelChanges) -> ScoreReport:
    from plaudit.data.reading.read import read_groups
    from plaudit.scoring.files import ScoringWorker

    groups = read_groups(input_path, reading)
    worker = ScoringWorker(changes.load(model), groups, model=model)
    for line in worker.lines(groups):
        typer.echo(line)
    return worker.report


def _score_here(
    model: str,
    input_path: str,
    output: Path,
    reading: ReadingOptions,
    changes: ModelChanges,
    part: tuple[int, int],
    *,
    overwrite: bool,
) -> ScoreReport:
    from plaudit.data.reading.read import read_groups
    from plaudit.scoring.files import score_file

    groups = read_groups(input_path, reading)
    print_noted(groups.report)
    scorer = changes.load(model)
    with progress_bar("scoring") as progress:
        return score_file(
            scorer,
            groups,
            output,
            model=model,
            shard=part,
            options=_options(changes),
            progress=progress,
            overwrite=overwrite,
            replaces=overwrite,
        )


def _score_in_processes(
    model: str,
    input_path: str,
    output: Path,
    reading: ReadingOptions,
    changes: ModelChanges,
    workers: int,
    *,
    overwrite: bool,
) -> ScoreReport:
    import dataclasses

    from plaudit.jobs import Job, run_local
    from plaudit.journal import check_new, locked
    from plaudit.scoring.files import ScoreReport
    from plaudit.statistics.position_bias import PositionBias

    arguments = {
        "model": model,
        "input_path": input_path,
        "reading": reading.model_dump(mode="json"),
        "changes": dataclasses.asdict(changes),
    }
    job = Job("plaudit.cli.score:scoring_worker", arguments)
    with locked(output), progress_bar("scoring") as progress:
        check_new(output, overwrite=overwrite)
        environments = _environments(workers)
        run = run_local(job, output, workers=workers, progress=progress, environments=environments, overwrite=overwrite)
    report = ScoreReport(resumed=run.resumed, dropped_rows=run.summaries[0]["dropped_rows"])
    for each in run.summaries:
        report.groups += each["groups"]
        report.scored += each["scored"]
        report.left_out += Counter(each["left_out"])
        report.truncated += Counter(each["truncated"])
        if each["position_bias"] is not None:
            report.position_bias = report.position_bias or PositionBias()
            report.position_bias.sums += each["position_bias"]
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
