"""The closed list of row formats: which reader each one has, and how the first row tells which it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from plaudit.data.reading.sources import (
    alpaca_farm,
    armorm,
    attributes,
    beavertails,
    distilabel_orca,
    feedback_collection,
    groups,
    helpsteer,
    helpsteer_pair,
    hh,
    math_aps,
    math_shepherd,
    nectar,
    offsetbias,
    outcome,
    preference_collection,
    prm800k,
    responses,
    rlhflow_pair,
    rlhflow_process,
    safe_rlhf,
    scored_pair,
    shp,
    stepwise,
    summarize_axes,
    summarize_pair,
    trl,
    ultrafeedback,
    ultrainteract,
    webgpt,
)
from plaudit.data.reading.sources.fields import Row, is_list
from plaudit.data.schema.group import Group
from plaudit.errors import DataError

Format = Literal[
    "groups",
    "hh",
    "trl",
    "responses",
    "outcome",
    "stepwise",
    "prm800k",
    "math_shepherd",
    "math_aps",
    "rlhflow_process",
    "rlhflow_pair",
    "helpsteer",
    "attributes",
    "shp",
    "helpsteer_pair",
    "ultrafeedback",
    "distilabel_orca",
    "safe_rlhf",
    "nectar",
    "scored_pair",
    "offsetbias",
    "alpaca_farm",
    "webgpt",
    "summarize_pair",
    "summarize_axes",
    "ultrainteract",
    "feedback_collection",
    "preference_collection",
    "beavertails",
    "armorm",
]
FormatChoice = Literal["auto", Format]

FORMATS: tuple[Format, ...] = get_args(Format)


_Read = Callable[[Row, str, Sequence[str]], Group]


@dataclass(frozen=True, slots=True)
class _Reader:
    """The reader of one format: the fields that it looks at, and what it makes of a row."""

    fields: frozenset[str]
    read: _Read
    joins: bool = False
    """Whether a row is one response, so that rows of one prompt that follow each other are one group."""


def _plain(read: Callable[[Row], Group]) -> _Read:
    return lambda row, separator, columns: read(row)


def _stepped(read: Callable[[Row, str], Group]) -> _Read:
    return lambda row, separator, columns: read(row, separator)


def _columned(read: Callable[[Row, Sequence[str]], Group]) -> _Read:
    return lambda row, separator, columns: read(row, columns)


_READERS: Mapping[Format, _Reader] = {
    "groups": _Reader(groups.FIELDS, _plain(groups.group_from_row)),
    "hh": _Reader(hh.FIELDS, _plain(hh.group_from_row)),
    "trl": _Reader(trl.FIELDS, _plain(trl.group_from_row)),
    "responses": _Reader(responses.FIELDS, _plain(responses.group_from_row)),
    "outcome": _Reader(outcome.FIELDS, _plain(outcome.group_from_row)),
    "stepwise": _Reader(stepwise.FIELDS, _stepped(stepwise.group_from_row)),
    "prm800k": _Reader(prm800k.FIELDS, _stepped(prm800k.group_from_row)),
    "math_shepherd": _Reader(math_shepherd.FIELDS, _plain(math_shepherd.group_from_row)),
    "math_aps": _Reader(math_aps.FIELDS, _plain(math_aps.group_from_row)),
    "rlhflow_process": _Reader(rlhflow_process.FIELDS, _stepped(rlhflow_process.group_from_row)),
    "rlhflow_pair": _Reader(rlhflow_pair.FIELDS, _plain(rlhflow_pair.group_from_row)),
    "helpsteer": _Reader(helpsteer.FIELDS, _plain(helpsteer.group_from_row), joins=True),
    "attributes": _Reader(attributes.FIELDS, _columned(attributes.group_from_row), joins=True),
    "shp": _Reader(shp.FIELDS, _plain(shp.group_from_row)),
    "helpsteer_pair": _Reader(helpsteer_pair.FIELDS, _plain(helpsteer_pair.group_from_row)),
    "ultrafeedback": _Reader(ultrafeedback.FIELDS, _plain(ultrafeedback.group_from_row)),
    "distilabel_orca": _Reader(distilabel_orca.FIELDS, _plain(distilabel_orca.group_from_row)),
    "safe_rlhf": _Reader(safe_rlhf.FIELDS, _plain(safe_rlhf.group_from_row)),
    "nectar": _Reader(nectar.FIELDS, _plain(nectar.group_from_row)),
    "scored_pair": _Reader(scored_pair.FIELDS, _plain(scored_pair.group_from_row)),
    "offsetbias": _Reader(offsetbias.FIELDS, _plain(offsetbias.group_from_row)),
    "alpaca_farm": _Reader(alpaca_farm.FIELDS, _plain(alpaca_farm.group_from_row)),
    "webgpt": _Reader(webgpt.FIELDS, _plain(webgpt.group_from_row)),
    "summarize_pair": _Reader(summarize_pair.FIELDS, _plain(summarize_pair.group_from_row)),
    "summarize_axes": _Reader(summarize_axes.FIELDS, _plain(summarize_axes.group_from_row)),
    "ultrainteract": _Reader(ultrainteract.FIELDS, _plain(ultrainteract.group_from_row)),
    "feedback_collection": _Reader(feedback_collection.FIELDS, _plain(feedback_collection.group_from_row), joins=True),
    "preference_collection": _Reader(preference_collection.FIELDS, _plain(preference_collection.group_from_row)),
    "beavertails": _Reader(beavertails.FIELDS, _plain(beavertails.group_from_row)),
    "armorm": _Reader(armorm.FIELDS, _plain(armorm.group_from_row), joins=True),
}


def fields_of(format: Format, columns: Sequence[str] = ()) -> frozenset[str]:
    """Return the fields that the reader of ``format`` looks at; others are ignored, and reported as such."""
    return _READERS[format].fields | frozenset(columns)


def joins_rows(format: Format) -> bool:
    """Return whether rows of one prompt that stand one after the other make one group: one row is one response."""
    return _READERS[format].joins


def check_columns(format: FormatChoice, columns: Sequence[str]) -> None:
    """Raise DataError unless the format ``attributes`` comes with the names of its columns, and no other does."""
    if format == "attributes" and not columns:
        raise DataError("format attributes needs the names of its label columns; give them as attributes")
    if columns and format != "attributes":
        raise DataError(f"attributes are the label columns of the format attributes; the format is {format}")
    for name in columns:
        if columns.count(name) > 1:
            raise DataError(f"attributes names the column {name!r} twice")
        if name in attributes.FIELDS:
            raise DataError(f"attributes names {name!r}, which is no label column")


def group_from_row(row: Row, format: Format, step_separator: str = "\n", columns: Sequence[str] = ()) -> Group:
    """Return the group of ``row``, read as ``format``.

    ``step_separator`` joins the steps of formats that give them one by one; ``columns`` are the labels of the format
    ``attributes``.

    Raises:
        DataError: naming the field, what was found and what is allowed.
        UnusableRowError: where the row is well-formed but cannot be used as labelled data.
    """
    return _READERS[format].read(row, step_separator, columns)


def detect_format(row: Row) -> Format:
    """Return the format that the fields of a first row belong to.

    ``{prompt, completions, labels}`` is taken as TRL's stepwise layout; for outcomes, say ``outcome``. ``attributes``
    is never detected: only a config can say which columns are labels.

    Raises:
        DataError: listing the row's fields and the formats.
    """
    has = {name for name, value in row.items() if value is not None}
    for format, is_shown in _PUBLISHED:
        if is_shown(row):
            return format
    if {"chosen", "rejected"} <= has:
        plain = "prompt" not in has and hh.is_transcript(row["chosen"]) and hh.is_transcript(row["rejected"])
        return "hh" if plain else "trl"
    if "responses" in has:
        if has & {"preferences", "outcomes", "steps"}:
            return "groups"
        return "outcome" if row.keys() & set(outcome.LABEL_FIELDS) else "responses"
    if "labels" in has and _is_text_list(row.get("steps", row.get("completions"))):
        return "stepwise"
    if has & set(outcome.RESPONSE_FIELDS) and row.keys() & set(outcome.LABEL_FIELDS):
        return "outcome"
    raise DataError(
        f"format cannot be told from the fields {', '.join(map(str, row)) or '(none)'}; "
        f"choose one of: {', '.join(FORMATS)}"
    )


def _is_math_aps(row: Row) -> bool:
    return row.get("question") is not None and row.get("reasoning_steps") is not None


def _is_math_shepherd(row: Row) -> bool:
    return isinstance(row.get("label"), str) and math_shepherd.is_tagged(row.get("input"))


def _chat(row: Row) -> object:
    return row.get("messages") if row.get("conversations") is None else row.get("conversations")


# Public data sets whose rows show their format by more than one field, or by their text; the first that fits is it.
_PUBLISHED: tuple[tuple[Format, Callable[[Row], bool]], ...] = (
    ("prm800k", prm800k.is_labelled),
    ("math_aps", _is_math_aps),
    ("math_shepherd", _is_math_shepherd),
    ("rlhflow_pair", lambda row: rlhflow_pair.is_pair(_chat(row))),
    ("rlhflow_process", lambda row: rlhflow_process.is_verdicts(_chat(row))),
    ("helpsteer", helpsteer.is_rated),
    ("shp", shp.is_pair),
    ("helpsteer_pair", helpsteer_pair.is_pair),
    ("ultrafeedback", ultrafeedback.is_annotated),
    ("distilabel_orca", distilabel_orca.is_judged),
    ("safe_rlhf", safe_rlhf.is_pair),
    ("nectar", nectar.is_ranked),
    ("scored_pair", scored_pair.is_scored),
    ("offsetbias", offsetbias.is_pair),
    ("alpaca_farm", alpaca_farm.is_pair),
    ("webgpt", webgpt.is_comparison),
    ("summarize_pair", summarize_pair.is_comparison),
    ("summarize_axes", summarize_axes.is_rated),
    ("ultrainteract", ultrainteract.is_pair),
    ("feedback_collection", feedback_collection.is_rated),
    ("preference_collection", preference_collection.is_pair),
    ("beavertails", beavertails.is_labelled),
    ("armorm", armorm.is_rated),
)


def _is_text_list(value: object) -> bool:
    return is_list(value) and all(isinstance(entry, str) for entry in value)
