"""What a config says about data files."""

from __future__ import annotations

import re
from os import environ
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from plaudit.config import Config
from plaudit.data.reading.sources.formats import FormatChoice
from plaudit.errors import ConfigError

_VARIABLE = re.compile(r"\$\{(\w+)\}")


class DataFile(Config):
    """One file of labelled data."""

    path: Annotated[str, Field(min_length=1)]
    """File, folder, hub name or source of the catalogue; ``~`` and ``${VARIABLE}`` are expanded.

    Files are relative to the working directory.
    """
    format: FormatChoice = "auto"
    """How rows become groups; ``auto`` takes that of a source of the catalogue, else it is told by the first row."""
    split: str = "train"
    """Split of a saved data set or a hub name."""
    subset: str | None = None
    """Configuration of a data set on the hub; null takes that of the catalogue, else the hub's default."""
    data_dir: str | None = None
    """Folder of a data set on the hub; null takes that of the catalogue, else the whole repository."""
    revision: str | None = None
    """Branch or commit of a data set on the hub; null takes that of the catalogue, else the newest."""
    source: str | None = None
    """Source of every group; null takes the row's own, else the name of the source or file."""
    on_error: Literal["raise", "skip"] = "raise"
    """Whether a malformed row is an error or a counted skip."""
    limit: Annotated[int, Field(ge=1)] | None = None
    """Groups to stop after."""
    step_separator: str = "\n"
    """What joins the steps of a row into a response, in the formats that give them one by one."""
    attributes: tuple[str, ...] = ()
    """Label columns of the format ``attributes``, in the order of the ratings."""
    group_by_prompt: bool = False
    """Whether rows of one prompt that stand one after the other make one group, whatever the format and their ids."""
    where: dict[str, str | bool | int | float] = Field(default_factory=dict)
    """Columns and the value that each must have (``split: train``); other rows are left out and counted."""
    ranks_from: str | None = None
    """Rating that ranks the responses of groups without ranks, the highest first; equal ratings share a rank."""
    pairs: Literal["given", "all"] = "given"
    """``given``: the preferences of the data. ``all``: one for every two responses of different rank."""


def expand(path: str) -> str:
    """Return ``path`` with ``~`` and every ``${VARIABLE}`` filled in.

    Raises:
        ConfigError: naming a variable that is not set.
    """

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in environ:
            raise ConfigError(f"path {path!r} needs the environment variable {name}, which is not set")
        return environ[name]

    expanded = _VARIABLE.sub(value, path)
    return str(Path(expanded).expanduser()) if expanded.startswith("~") else expanded
