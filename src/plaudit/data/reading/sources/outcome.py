"""Responses that are known to be correct or not: ``{prompt, response, label}`` and its plural."""

from __future__ import annotations

from plaudit.data.reading.sources.fields import (
    Row,
    identity,
    is_list,
    items,
    one_of,
    outcome,
    prompt,
    response,
    same_length,
)
from plaudit.data.reading.sources.responses import texts
from plaudit.data.schema.group import Group
from plaudit.errors import DataError

RESPONSE_FIELDS = ("response", "responses", "completion", "completions")
LABEL_FIELDS = ("label", "labels", "correct")
FIELDS = frozenset({"prompt", *RESPONSE_FIELDS, *LABEL_FIELDS, "id", "source"})


def group_from_row(row: Row) -> Group:
    """Return the group of one response, or of K, with one outcome each.

    The responses stand under ``response``, ``responses``, ``completion`` or ``completions``, the outcomes
    (true, false, 1, 0 or null) under ``label``, ``labels`` or ``correct``: a list for a list, one for one.

    Raises:
        DataError: naming the field.
    """
    name, given = one_of(row, RESPONSE_FIELDS)
    plural = name in ("responses", "completions")
    responses = texts(items(given, name)) if plural else [response(given, name)]
    label_name, labels = _labels(row)
    if is_list(labels) != plural:
        raise DataError(
            f"{label_name} is {'a list' if is_list(labels) else 'one value'}; "
            f"{name} needs {'one label per response' if plural else 'one label'}"
        )
    outcomes = labels if is_list(labels) else [labels]
    same_length(outcomes, len(responses), label_name, "responses")
    identifier, source = identity(row)
    return Group(
        prompt(row),
        tuple(responses),
        outcomes=tuple(outcome(value, f"{label_name}[{index}]") for index, value in enumerate(outcomes)),
        id=identifier,
        source=source,
    )


def _labels(row: Row) -> tuple[str, object]:
    """Return the field of the labels; here null is a value, and only an absent field is missing."""
    present = [name for name in LABEL_FIELDS if name in row]
    filled = [name for name in present if row[name] is not None]
    if len(filled) > 1:
        raise DataError(f"{filled[0]} and {filled[1]} are both given; only one of them may be")
    if not present:
        raise DataError(f"label is missing; the row needs one of: {', '.join(LABEL_FIELDS)}")
    name = (filled or present)[0]
    return name, row[name]
