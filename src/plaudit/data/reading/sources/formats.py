"""Every format of rows, from the one list of source modules; every public data set; how a row shows its format."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from plaudit.config import import_object
from plaudit.data.reading.sources import (
    alpaca_farm,
    attributes,
    distilabel_orca,
    groups,
    helpsteer,
    math_aps,
    math_shepherd,
    nectar,
    pku_safe,
    prm800k,
    prometheus,
    responses,
    rlhflow,
    scored_pair,
    shp,
    stepwise,
    summarize,
    trainers,
    trl,
    ultrafeedback,
    ultrainteract,
    webgpt,
)
from plaudit.data.reading.sources.fields import Row
from plaudit.data.reading.sources.source import ENTRIES, AbstractFormat, CodeFormat, Source
from plaudit.errors import DataError, UnknownNameError, closest_or_all

# A first row is of the first format that it fits, so that layouts of public sets stand before the general ones.
_MODULES = (
    shp,
    helpsteer,
    ultrafeedback,
    distilabel_orca,
    pku_safe,
    nectar,
    scored_pair,
    alpaca_farm,
    webgpt,
    summarize,
    ultrainteract,
    prometheus,
    rlhflow,
    prm800k,
    math_shepherd,
    math_aps,
    attributes,
    trainers,
    trl,
    groups,
    stepwise,
    responses,
)

FORMATS: Mapping[str, AbstractFormat] = {format.name: format for module in _MODULES for format in module.FORMATS}

SOURCES: Mapping[str, Source] = {name: Source(name=name, **entry) for name, entry in ENTRIES.items()}
"""The public data sets by name."""

_IMPORT_PATH = re.compile(r"[A-Za-z_][\w.]*:\w+")


def _format_name(value: object) -> object:
    """Return ``{type: custom, path: module:function}`` as its path; refuse a name that is no format."""
    if isinstance(value, Mapping):
        path = value.get("path")
        if value.keys() != {"type", "path"} or value["type"] != "custom" or not isinstance(path, str):
            raise PydanticCustomError("format", "a format of your own is {type: custom, path: module:function}")
        if not _IMPORT_PATH.fullmatch(path):
            raise PydanticCustomError("format", "path must be an import path, module:function")
        return path
    if isinstance(value, str) and value not in ("auto", *FORMATS) and not _IMPORT_PATH.fullmatch(value):
        allowed = closest_or_all(value, ("auto", *FORMATS, "module:function"))
        raise PydanticCustomError("format", "{allowed}", {"allowed": allowed})
    return value


FormatChoice = Annotated[str, BeforeValidator(_format_name)]
"""``auto``, a name of ``FORMATS``, or the import path ``module:function`` of a reader or a format."""


@functools.cache
def format_named(name: str) -> AbstractFormat:
    """Return the format of that name, or that an import path names: a reader of rows, or a declared format.

    Raises:
        UnknownNameError: for any other name.
        ConfigError: where nothing can be imported from the path.
        DataError: where it is neither of the two.
    """
    if name in FORMATS:
        return FORMATS[name]
    if not _IMPORT_PATH.fullmatch(name):
        raise UnknownNameError(f"unknown format {name!r}; {closest_or_all(name, FORMATS)}")
    found = import_object(name, key="format")
    if isinstance(found, AbstractFormat):
        return found
    if not callable(found):
        raise DataError(f"{name!r} is {type(found).__name__}; it must be a reader of (row, options), or a format")
    return CodeFormat(name=name, reader=found, as_found=True)


def detect_format(row: Row) -> str:
    """Return the name of the first format that a first row shows.

    ``{prompt, completions, labels}`` is taken as TRL's stepwise layout; for outcomes, say ``outcome``. ``attributes``
    is never detected: only a config can say which columns are labels.

    Raises:
        DataError: listing the row's fields, the likeliest formats, and how the columns could be named.
    """
    for name, format in FORMATS.items():
        if format.fits(row):
            return name
    names = list(map(str, row))
    likely, mapping = likely_columns(names)
    raise DataError(
        f"format cannot be told from the fields {', '.join(names) or '(none)'}; likely: {likely}; name its columns: "
        f"--columns {mapping}"
    )


_MEANINGS: Mapping[str, tuple[str, ...]] = {
    "prompt": ("prompt", "question", "instruction", "query", "problem", "input", "context", "user", "request", "task"),
    "chosen": ("chosen", "good", "better", "preferred", "accepted", "winner", "win", "positive", "pos", "best", "plus"),
    "rejected": ("rejected", "bad", "worse", "dispreferred", "refused", "loser", "lose", "negative", "neg", "worst"),
    "label": ("label", "correct", "outcome", "verdict", "passed"),
    "score": ("score", "rating", "reward", "grade", "stars"),
    "response": ("response", "answer", "completion", "output", "reply", "text", "generated", "solution"),
}
"""Words in the name of a column that say what it may hold, under the name that the general formats have for it."""

_LIKELY: Mapping[str, tuple[str, ...]] = {
    "trl": ("prompt", "chosen", "rejected"),
    "outcome": ("prompt", "response", "label"),
    "conversation": ("prompt", "response", "score"),
}
"""The general formats, and the columns that a mapping names for them."""


def likely_columns(names: Sequence[str]) -> tuple[str, str]:
    """Return the likeliest formats of rows with these fields, in words, and a mapping of columns for the first of them.

    A column is taken by a word of its name; one that no word tells by its place among those left.
    """
    meant: dict[str, str] = {}
    for name in names:
        words = re.split(r"[^a-z0-9]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())
        found = [meaning for meaning, known in _MEANINGS.items() if not set(known).isdisjoint(words)]
        # "good_answer" is a side of a pair, "question" a prompt: sides and labels come before the plain response.
        for meaning in sorted(found, key=list(_MEANINGS).index):
            if meaning not in meant:
                meant[meaning] = name
                break

    def fit(format: str) -> float:
        columns = _LIKELY[format][1:]
        return -sum(column in meant for column in columns) / len(columns)

    # A pair and an outcome need all of their columns, a conversation no label.
    is_response = "response" in meant and meant.keys().isdisjoint(("chosen", "rejected", "label"))
    order = ["conversation", "outcome", "trl"] if is_response else sorted(_LIKELY, key=fit)
    needed = [column for column in _LIKELY[order[0]] if column != "score" or column in meant]
    left = [name for name in names if name not in [meant.get(column) for column in needed]]
    chosen = {column: meant.get(column) or (left.pop(0) if left else "NAME") for column in needed}
    written = ",".join(f"{column}={own}" for column, own in chosen.items() if column != own)
    return ", ".join(f"{format} ({', '.join(_LIKELY[format])})" for format in order), written


def check_columns(format: AbstractFormat, columns: Iterable[str], attributes: Iterable[str]) -> None:
    """Raise DataError where ``columns`` names what the format does not read."""
    known = format.fields
    for name in columns:
        if known is not None and name not in known | set(attributes):
            raise DataError(f"columns names {name!r}, which {format.name} does not read; {closest_or_all(name, known)}")


def source_at(hub: str, *, subset: str | None = None, data_dir: str | None = None) -> Source | None:
    """Return the source that a place on the hub is, or None for a place that is not in the catalogue.

    Without ``subset`` and ``data_dir`` it is the source that needs neither, else the only one of that repository.

    Raises:
        DataError: where neither is given and the repository holds several sources.
    """
    here = [source for source in SOURCES.values() if source.hub == hub]
    exact = [source for source in here if (source.subset, source.data_dir) == (subset, data_dir)]
    if exact:
        return exact[0]
    if not here or (subset, data_dir) != (None, None):
        return None
    if len(here) > 1:
        raise DataError(f"{hub} holds several data sets; name one of them: {', '.join(source.name for source in here)}")
    return here[0]
