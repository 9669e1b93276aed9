"""Ratings of a summary along several axes, as in OpenAI's summarize_from_feedback."""

from __future__ import annotations

from plaudit.data.reading.sources.fields import (
    Row,
    UnusableRowError,
    identity,
    mapping,
    on_scale,
    outcome,
    required,
    text,
)
from plaudit.data.reading.sources.summarize_pair import query
from plaudit.data.schema.group import Group

FIELDS = frozenset({"info", "summary", "id", "source"})

AXES = ("overall", "accuracy", "coverage", "coherence")
COMPATIBLE = "compatible"


def is_rated(row: Row) -> bool:
    """Return whether ``row`` has a text and one summary with axes."""
    summary = row.get("summary")
    return isinstance(row.get("info"), dict) and isinstance(summary, dict) and "axes" in summary


def group_from_row(row: Row) -> Group:
    """Return the group of ``{info, summary: {text, axes}}``: one summary with its ratings.

    The axes overall, accuracy, coverage and coherence go from 1 to 7, as numbers or as digits; ``compatible`` is 1 or
    0. An axis that is missing or null is left out. Several workers may have rated one summary, so that rows are not
    joined. Source: Stiennon et al. (2020), appendix C.

    Raises:
        DataError: naming the field.
        UnusableRowError: where there is nothing to summarise, the summary is blank, or no axis is rated.
    """
    conversation = query(row)
    summary = mapping(required(row, "summary"), "summary")
    content = text(required(summary, "text", "summary."), "summary.text").strip()
    if not content:
        raise UnusableRowError("empty response")
    axes = mapping(required(summary, "axes", "summary."), "summary.axes")
    values = {name: on_scale(axes.get(name), f"summary.axes.{name}", 1, 7) for name in AXES}
    compatible = outcome(axes.get(COMPATIBLE), f"summary.axes.{COMPATIBLE}")
    values[COMPATIBLE] = None if compatible is None else float(compatible)
    ratings = {name: (value,) for name, value in values.items() if value is not None}
    if not ratings:
        raise UnusableRowError("no rating is given")
    identifier, source = identity(row)
    return Group(conversation, (content,), ratings=ratings, id=identifier, source=source)
