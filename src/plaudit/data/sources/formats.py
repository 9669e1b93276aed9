"""The closed list of row formats: which reader each one has, and how the first row tells which it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, assert_never, get_args

from plaudit.data.group import Group
from plaudit.data.sources import (
    attributes,
    groups,
    helpsteer,
    hh,
    math_aps,
    math_shepherd,
    outcome,
    prm800k,
    responses,
    rlhflow_pair,
    rlhflow_process,
    stepwise,
    trl,
)
from plaudit.data.sources.fields import Row, is_list
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
]
FormatChoice = Literal["auto", Format]

FORMATS: tuple[Format, ...] = get_args(Format)


def fields_of(format: Format, columns: Sequence[str] = ()) -> frozenset[str]:
    """Return the fields that the reader of ``format`` looks at; others are ignored, and reported as such."""
    match format:
        case "groups":
            return groups.FIELDS
        case "hh":
            return hh.FIELDS
        case "trl":
            return trl.FIELDS
        case "responses":
            return responses.FIELDS
        case "outcome":
            return outcome.FIELDS
        case "stepwise":
            return stepwise.FIELDS
        case "prm800k":
            return prm800k.FIELDS
        case "math_shepherd":
            return math_shepherd.FIELDS
        case "math_aps":
            return math_aps.FIELDS
        case "rlhflow_process":
            return rlhflow_process.FIELDS
        case "rlhflow_pair":
            return rlhflow_pair.FIELDS
        case "helpsteer":
            return helpsteer.FIELDS
        case "attributes":
            return attributes.FIELDS | set(columns)
        case _:
            assert_never(format)


def joins_rows(format: Format) -> bool:
    """Return whether rows of one prompt that stand one after the other make one group: one row is one response."""
    return format in ("helpsteer", "attributes")


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
    match format:
        case "groups":
            return groups.group_from_row(row)
        case "hh":
            return hh.group_from_row(row)
        case "trl":
            return trl.group_from_row(row)
        case "responses":
            return responses.group_from_row(row)
        case "outcome":
            return outcome.group_from_row(row)
        case "stepwise":
            return stepwise.group_from_row(row, step_separator)
        case "prm800k":
            return prm800k.group_from_row(row, step_separator)
        case "math_shepherd":
            return math_shepherd.group_from_row(row)
        case "math_aps":
            return math_aps.group_from_row(row)
        case "rlhflow_process":
            return rlhflow_process.group_from_row(row, step_separator)
        case "rlhflow_pair":
            return rlhflow_pair.group_from_row(row)
        case "helpsteer":
            return helpsteer.group_from_row(row)
        case "attributes":
            return attributes.group_from_row(row, columns)
        case _:
            assert_never(format)


def detect_format(row: Row) -> Format:
    """Return the format that the fields of a first row belong to.

    ``{prompt, completions, labels}`` is taken as TRL's stepwise layout; for outcomes, say ``outcome``. ``attributes``
    is never detected: only a config can say which columns are labels.

    Raises:
        DataError: listing the row's fields and the formats.
    """
    has = {name for name, value in row.items() if value is not None}
    if {"chosen", "rejected"} <= has:
        plain = "prompt" not in has and hh.is_transcript(row["chosen"]) and hh.is_transcript(row["rejected"])
        return "hh" if plain else "trl"
    published = _published(row)
    if published is not None:
        return published
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


def _published(row: Row) -> Format | None:
    """Return the format of a public data set that a row shows by more than one of its fields, or by its text."""
    if prm800k.is_labelled(row):
        return "prm800k"
    if row.get("question") is not None and row.get("reasoning_steps") is not None:
        return "math_aps"
    if isinstance(row.get("label"), str) and math_shepherd.is_tagged(row.get("input")):
        return "math_shepherd"
    chat = row.get("messages") if row.get("conversations") is None else row.get("conversations")
    if rlhflow_pair.is_pair(chat):
        return "rlhflow_pair"
    if rlhflow_process.is_verdicts(chat):
        return "rlhflow_process"
    return "helpsteer" if helpsteer.is_rated(row) else None


def _is_text_list(value: object) -> bool:
    return is_list(value) and all(isinstance(entry, str) for entry in value)
