"""One layout of rows, and one public data set in it: where it is, its licence and its citation."""

from __future__ import annotations

import tomllib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Protocol, final

from pydantic import BeforeValidator

from plaudit.config import Config
from plaudit.data.reading.sources.fields import Row
from plaudit.data.schema.group import Group
from plaudit.errors import DataError


class RowOptions(Protocol):
    """The options of reading that a row may be read by; see ``ReadingOptions``."""

    @property
    def step_separator(self) -> str:
        """Return the text that joins the steps of a row into a response."""
        ...

    @property
    def attributes(self) -> tuple[str, ...]:
        """Return the label columns of the format ``attributes``."""
        ...


Reader = Callable[[Row, RowOptions], Group]
"""Reads one row as a group. Raises DataError naming the field, or UnusableRowError for a sound row of no use."""


def _unknown(value: object) -> object:
    return None if value == "unknown" else value


PublishedCount = Annotated[int | None, BeforeValidator(_unknown)]
"""A number of rows that a publisher states; ``unknown`` in a file of data, None here, where none is stated."""


ENTRIES: Mapping[str, Mapping[str, Any]] = tomllib.loads(
    Path(__file__).with_name("sources.toml").read_text(encoding="utf-8")
)
"""The entries of ``sources.toml``: name → the fields of a ``Source``."""


class Source(Config):
    """One public data set in its official layout: an entry of ``sources.toml``.

    ``rows`` are the published numbers of rows per split, None where the publisher gives none, as for the only split
    of most. ``subset`` is the configuration name of the hub, ``data_dir`` the folder of the repository, ``revision``
    its branch or commit, where the data set needs one. ``format`` is the name of its layout; ``attributes`` are those
    that a row rates, where its format needs their names.
    """

    name: str
    hub: str
    licence: str
    citation: str
    format: str
    rows: Mapping[str, PublishedCount] = {"train": None}
    subset: str | None = None
    data_dir: str | None = None
    revision: str | None = None
    note: str = ""
    attributes: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        """Return the page of the data set."""
        return f"https://huggingface.co/datasets/{self.hub}"


@dataclass(frozen=True, kw_only=True)
class AbstractFormat(ABC):
    """One layout of rows: how a row shows it, which fields are looked at, and how a row becomes a group.

    ``keys`` are the columns by which a row shows the format; ``optional`` further columns that are looked at. ``shown``
    replaces the check of the keys where they are not enough. With ``joins`` a row is one response, so that rows of one
    prompt that follow each other are one group; without ``takes_id`` a column ``id`` does not name the row. With
    ``as_found`` rows are not made regular first; see ``shape``.
    """

    name: str
    keys: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    shown: Callable[[Row], bool] | None = None
    joins: bool = False
    takes_id: bool = True
    as_found: bool = False

    @property
    @abstractmethod
    def columns(self) -> tuple[Sequence[str], Sequence[str]]:
        """Return the columns that the declaration names: those that every row has, and further ones."""

    @property
    def fields(self) -> frozenset[str] | None:
        """Return the fields that are looked at; others are ignored, and reported as such. None where all are."""
        needed, further = self.columns
        names = {*self.keys, *self.optional, *needed, *further}
        return frozenset({*names, "source", *(("id",) if self.takes_id else ())}) if names else None

    def fits(self, row: Row) -> bool:
        """Return whether ``row`` shows the format: by ``shown``, else by its keys, else by the columns of every row."""
        if self.shown is not None:
            return self.shown(row)
        keys = self.keys or self.columns[0]
        return bool(keys) and row.keys() >= set(keys)

    @abstractmethod
    def read(self, row: Row, options: RowOptions) -> Group:
        """Return the group of ``row``.

        Raises:
            DataError: naming the field, the value found and the values allowed.
            UnusableRowError: where the row is well-formed but cannot be used as labelled data.
        """


@final
@dataclass(frozen=True, kw_only=True)
class CodeFormat(AbstractFormat):
    """A format whose rows are read by a function."""

    reader: Reader

    @property
    def columns(self) -> tuple[Sequence[str], Sequence[str]]:
        """Return nothing: the columns that a function looks at are its keys and optional ones."""
        return (), ()

    def read(self, row: Row, options: RowOptions) -> Group:
        """Return the group that the function makes of ``row``.

        Raises:
            DataError: also where it returns anything else.
        """
        group = self.reader(row, options)
        if not isinstance(group, Group):
            raise DataError(f"{self.name} returned {type(group).__name__}; a reader returns a plaudit.Group")
        return group
