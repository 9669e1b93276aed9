"""``plaudit push``."""

from __future__ import annotations

from typing import Annotated

import typer


def push(
    model: Annotated[str, typer.Argument(metavar="RUN", help="A run, or the folder of a model.", show_default=False)],
    repo: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Repository on the hub.", show_default=False)],
    private: Annotated[bool, typer.Option("--private", help="Make a private repository.")] = False,
    revision: Annotated[str | None, typer.Option(help="Branch to push to.", show_default="the main one")] = None,
) -> None:
    """Push a trained model with its model card to the hub."""
    from plaudit.model_card import push as push_model

    address = push_model(model, repo, private=private, revision=revision)
    typer.echo(f"pushed {model}: {address}")
