"""``plaudit average``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from plaudit.cli.console import find_modules_here, interrupt_keeps, progress_bar
from plaudit.cli.options import TrustOption, parse_numbers
from plaudit.errors import ConfigError
from plaudit.journal import locked
from plaudit.outputs import check_inputs_apart


def average(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write.", show_default=False)],
    models: Annotated[
        list[str], typer.Argument(metavar="MODEL", help="Folders or hub ids of two models or more.", show_default=False)
    ],
    weights: Annotated[
        str | None,
        typer.Option(metavar="W,W,…", help="How much each model counts.", show_default="all the same"),
    ] = None,
    trust_remote_code: TrustOption = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a model that OUT holds.")] = False,
) -> None:
    """Average the weights of reward models that were fine-tuned from one start into one model (WARM)."""
    _check_new(out, overwrite=overwrite)
    shares = None if weights is None else parse_numbers(weights, option="--weights")

    from plaudit.models.checkpoint.average import average_models
    from plaudit.models.checkpoint.files import check_model_folder, save_reward_model
    from plaudit.opening import model_source

    find_modules_here()
    check_model_folder(out)
    sources = [model_source(each) for each in models]
    check_inputs_apart(out, sources)
    with locked(out), interrupt_keeps(f"{out} is as it was"), progress_bar("averaging") as progress:
        _check_new(out, overwrite=overwrite)  # another process may have written it meanwhile
        model = average_models(sources, weights=shares, trust_remote_code=trust_remote_code, progress=progress)
        save_reward_model(model, out)
    typer.echo(f"wrote {out}: the average of {len(models)} models; measure it with: plaudit evaluate {out} FILE")


def _check_new(out: Path, *, overwrite: bool) -> None:
    if out.exists() and not overwrite:
        raise ConfigError(f"{out} exists; add --overwrite, or choose another folder")
