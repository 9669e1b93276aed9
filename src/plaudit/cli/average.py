"""``plaudit average``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from plaudit.cli.console import progress_bar
from plaudit.errors import ConfigError


def average(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write.", show_default=False)],
    models: Annotated[
        list[str], typer.Argument(metavar="MODEL", help="Folders or hub ids of two models or more.", show_default=False)
    ],
    weights: Annotated[
        str | None,
        typer.Option(metavar="W,W,…", help="How much each model counts.", show_default="all the same"),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a model that OUT holds.")] = False,
) -> None:
    """Average the weights of reward models that were fine-tuned from one start into one model (WARM)."""
    if out.exists() and not overwrite:
        raise ConfigError(f"{out} exists; add --overwrite, or choose another folder")
    shares = None if weights is None else parse_weights(weights)

    from plaudit.models.checkpoint.average import average_models
    from plaudit.models.checkpoint.files import save_reward_model
    from plaudit.opening import model_source

    with progress_bar("averaging") as progress:
        model = average_models([model_source(each) for each in models], weights=shares, progress=progress)
        save_reward_model(model, out)
    typer.echo(f"wrote {out}: the average of {len(models)} models; measure it with: plaudit evaluate {out} FILE")


def parse_weights(text: str) -> list[float]:
    """Return ``W,W,…`` as numbers.

    Raises:
        ConfigError: when a part is no number.
    """
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"--weights is {text!r}; it must be numbers with commas between, like 2,1,1") from None
