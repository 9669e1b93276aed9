"""Every format of rows, from the one list of source modules; every public data set; how a row shows its format."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
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
    return CodeFormat(name=name, reader=found)


def detect_format(row: Row) -> str:
    """Return the name of the first format that a first row shows.

    ``{prompt, completions, labels}`` is taken as TRL's stepwise layout; for outcomes, say ``outcome``. ``attributes``
    is never detected: only a config can say which columns are labels.

    Raises:
        DataError: listing the row's fields and the formats.
    """
    for name, format in FORMATS.items():
        if format.fits(row):
            return name
    raise DataError(
        f"format cannot be told from the fields {', '.join(map(str, row)) or '(none)'}; "
        f"choose one of: {', '.join(FORMATS)}"
    )


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
