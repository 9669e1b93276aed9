"""The closed list of row formats: which reader each one has, and how the first row tells which it is."""

from __future__ import annotations

from typing import Literal, assert_never, get_args

from plaudit.data.group import Group
from plaudit.data.sources import groups, hh, outcome, responses, stepwise, trl
from plaudit.data.sources.fields import Row, is_list
from plaudit.errors import DataError

Format = Literal["groups", "hh", "trl", "responses", "outcome", "stepwise"]
FormatChoice = Literal["auto", "groups", "hh", "trl", "responses", "outcome", "stepwise"]

FORMATS: tuple[Format, ...] = get_args(Format)


def fields_of(format: Format) -> frozenset[str]:
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
        case _:
            assert_never(format)


def group_from_row(row: Row, format: Format, step_separator: str = "\n") -> Group:
    """Return the group of ``row``, read as ``format``.

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
        case _:
            assert_never(format)


def detect_format(row: Row) -> Format:
    """Return the format that the fields of a first row belong to.

    ``{prompt, completions, labels}`` is taken as TRL's stepwise layout; for outcomes, say ``outcome``.

    Raises:
        DataError: listing the row's fields and the formats.
    """
    has = {name for name, value in row.items() if value is not None}
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


def _is_text_list(value: object) -> bool:
    return is_list(value) and all(isinstance(entry, str) for entry in value)
