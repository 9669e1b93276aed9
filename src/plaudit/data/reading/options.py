"""The options by which the rows of a path become groups: one set for configs, ``read_groups`` and the command line."""

from __future__ import annotations

import re
from os import environ
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import pydantic
from pydantic import Field

from plaudit.config import Config
from plaudit.data.reading.sources.attributes import COLUMNS
from plaudit.data.reading.sources.fields import found
from plaudit.data.reading.sources.formats import FormatChoice
from plaudit.data.schema.pairing import Pairs
from plaudit.errors import ConfigError, DataError, UnknownNameError, closest_or_all

OnError = Literal["raise", "skip"]
Value = str | bool | int | float

_VARIABLE = re.compile(r"\$\{(\w+)\}")


class ReadingOptions(Config):
    """The options of reading a file, a folder or a data set of the hub as groups."""

    format: FormatChoice = "auto"
    """Format of the rows; ``auto`` takes that of a source of the catalogue, else it is told by the first row.

    The formats stand in ``data_formats.md``. A format of your own is the import path ``module:function`` of a reader,
    or ``{type: custom, path: …}``.
    """
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
    on_error: OnError = "raise"
    """Handling of malformed rows: an error, or a counted skip."""
    limit: Annotated[int, Field(ge=1)] | None = None
    """Groups to stop after."""
    step_separator: str = "\n"
    """Text that joins the steps of a row into a response, in the formats that give them one by one."""
    step_classes: Annotated[tuple[float, ...], Field(min_length=2)] | None = None
    """Values of the classes of a step, ascending: [0, 1], or [-1, 0, 1], in which 0 is neutral; for rows that do not
    say. The lowest class is wrong."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Names of the format and the columns that are read under them: ``{prompt: question, chosen: good_answer}``.

    The other columns keep their names. ``where`` reads the names that the file has.
    """
    attributes: tuple[str, ...] = ()
    """Label columns of the format ``attributes``, in the order of the ratings."""
    group_by_prompt: bool = False
    """Make one group of consecutive rows with the same prompt, whatever the format and their ids."""
    where: dict[str, Value] = Field(default_factory=dict)
    """Columns and the value that each must have (``split: train``); other rows are left out and counted."""
    ranks_from: str | None = None
    """Rating that ranks the responses of groups without ranks, the highest first; equal ratings share a rank."""
    pairs: Pairs = "given"
    """``given``: the preferences of the data. ``all``: one for every two responses of different rank."""

    @pydantic.model_validator(mode="after")
    def _attributes_are_columns(self) -> Self:
        """Check that the format ``attributes`` comes with the names of its columns, and no other does."""
        if self.format == "attributes" and not self.attributes:
            raise ValueError("format attributes needs the names of its label columns; give them as attributes")
        if self.attributes and self.format != "attributes":
            raise ValueError(f"attributes are the label columns of the format attributes; the format is {self.format}")
        for name in self.attributes:
            if self.attributes.count(name) > 1:
                raise ValueError(f"attributes names the column {name!r} twice")
            if name in (*COLUMNS, "id", "source"):
                raise ValueError(f"attributes names {name!r}, which is no label column")
        return self


def reading_options(options: ReadingOptions | None = None, **keywords: Any) -> ReadingOptions:
    """Return ``options`` with the fields that the keywords name changed.

    Raises:
        UnknownNameError: for a format or an ``on_error`` that does not exist.
        DataError: naming the option, the value found and the values allowed.
        TypeError: for a keyword that is no option.
    """
    given = {} if options is None else {name: getattr(options, name) for name in ReadingOptions.model_fields}
    unknown = keywords.keys() - ReadingOptions.model_fields.keys()
    if unknown:
        raise TypeError(
            f"no reading option {min(unknown)!r}; {closest_or_all(min(unknown), ReadingOptions.model_fields)}"
        )
    try:
        return ReadingOptions(**{**given, **keywords})
    except pydantic.ValidationError as error:
        detail = error.errors(include_url=False)[0]
    name, value = ".".join(map(str, detail["loc"][:1])), detail["input"]
    message = detail["msg"].removeprefix("Value error, ").replace("greater than or equal to", "at least")
    if not name:
        raise DataError(message)
    match detail["type"]:
        case "format":
            raise UnknownNameError(f"unknown format {value!r}; {message}")
        case "literal_error" if name == "on_error":
            raise UnknownNameError(f"unknown on_error {value!r}; {closest_or_all(str(value), ('raise', 'skip'))}")
        case _:
            raise DataError(f"{name} is {found(value)}; {message.replace('Input should', 'it must')}")


class _Located(Config):
    path: Annotated[str, Field(min_length=1)]
    """File, folder, hub name or source of the catalogue; ``~`` and ``${VARIABLE}`` are expanded.

    Files are relative to the working directory.
    """


class DataFile(ReadingOptions, _Located):
    """One file of labelled data and how it is read."""


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
