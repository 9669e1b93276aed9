"""``plaudit evaluate``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from plaudit.cli.console import find_modules_here, warn_renamed
from plaudit.cli.data import export_groups
from plaudit.cli.options import (
    MODEL_HELP,
    Bundle,
    GoldOption,
    How,
    Measuring,
    ModelChanges,
    Reading,
    TargetsArgument,
    verb,
)
from plaudit.cli.rescore import rescore_files
from plaudit.cli.targets import check_gold, folders, measure_target, parse_targets, read_target, slug
from plaudit.errors import ConfigError

if TYPE_CHECKING:
    from plaudit.data.reading.options import ReadingOptions

_OldOption = Annotated[list[str] | None, typer.Option("--rewards", metavar="FILE", hidden=True)]


_CHANGES = Bundle(ModelChanges, ("aggregation", "quantization", "max_length", "truncation", "trust_remote_code"))


@verb
def evaluate(
    model: Annotated[str | None, typer.Argument(metavar="MODEL", help=MODEL_HELP, show_default=False)] = None,
    targets: TargetsArgument = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder of the results.", show_default="evaluations/MODEL[-SETTING…]"),
    ] = None,
    *,
    reading: Reading,
    changes: Annotated[ModelChanges, _CHANGES],
    how: How,
    gold: GoldOption = None,
    rewards: _OldOption = None,
    groups_only: Annotated[bool, typer.Option("--groups-only", hidden=True)] = False,
) -> None:
    """Measure MODEL by the official metrics of benchmarks, and against the labels of files, with intervals.

    Preferences, ranks, ratings, outcomes and steps are each measured. The same command goes on where it was stopped.
    """
    find_modules_here()
    named = [each for each in (model, *(targets or ())) if each is not None]
    if rewards and groups_only:
        raise ConfigError("--rewards measures and --groups-only only writes the groups: give one of them")
    if rewards:
        warn_renamed("plaudit evaluate --rewards FILE", "plaudit rescore FILE")
        if changes.given:
            raise ConfigError(
                f"{' and '.join(changes.given)} change a model; rewards on file are taken as they are: leave them out"
            )
        rescore_files(rewards, named, output, reading, how, gold or ())
    elif groups_only:
        warn_renamed("plaudit evaluate --groups-only", "plaudit data export")
        export_groups(named, output, reading, gold or (), overwrite=how.overwrite)
    elif len(named) < 2:
        raise ConfigError("give MODEL and what to measure it on: files of groups, or benchmarks")
    else:
        _measure_model(named[0], named[1:], output, reading, changes, how, gold or ())


def _measure_model(
    model: str,
    texts: Sequence[str],
    output: Path | None,
    reading: ReadingOptions,
    changes: ModelChanges,
    how: Measuring,
    gold: Sequence[str],
) -> None:
    from plaudit.evaluation.store.result_folder import existing_result

    parsed = parse_targets(texts)
    if gold:
        check_gold(parsed)
    default = Path("evaluations") / "-".join([slug(model), *changes.given.values()])
    places = folders(parsed, output or default)
    for place in places if how.replace == "nothing" else ():
        existing = existing_result(place)
        if existing is not None:
            existing.check_model(model)  # before the model is loaded, and the first of several targets is scored
    scorer = changes.load(model)
    for target, place in zip(parsed, places, strict=True):
        measure_target(scorer, read_target(target, reading, gold), place, model, how)
