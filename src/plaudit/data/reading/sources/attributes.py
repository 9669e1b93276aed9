"""One response with a column of labels for each attribute, as in ArmoRM's multi-objective data."""

from __future__ import annotations

from collections.abc import Sequence

from plaudit.data.reading.sources.fields import (
    Row,
    UnusableRowError,
    identity,
    messages,
    number,
    prompt,
    required,
    response,
)
from plaudit.data.schema.group import Group, Message
from plaudit.errors import DataError

FIELDS = frozenset({"messages", "prompt", "response", "id", "source"})


def group_from_row(row: Row, columns: Sequence[str]) -> Group:
    """Return the group of ``{messages}``, or ``{prompt, response}``, with the ``columns`` as ratings.

    The last message is the response. Each column must be there; null is a missing rating, true and false are 1 and 0.

    Raises:
        DataError: naming the field.
        UnusableRowError: where the last message is not the assistant's, or empty.
    """
    conversation, content = _sides(row)
    if not content.strip():
        raise UnusableRowError("empty response")
    for name in columns:
        if name not in row:
            raise DataError(f"{name} is missing; the row has: {', '.join(map(str, row))}")
    ratings = {name: (_rating(row[name], name),) for name in columns}
    identifier, source = identity(row)
    return Group(conversation, (content,), ratings=ratings, id=identifier, source=source)


def _sides(row: Row) -> tuple[tuple[Message, ...], str]:
    if row.get("messages") is None:
        return prompt(row), response(required(row, "response"), "response")
    if row.get("prompt") is not None:
        raise DataError("messages and prompt are both given; only one of them may be")
    turns = messages(row["messages"], "messages")
    if not turns:
        raise DataError("messages is an empty list; it must end in an assistant message")
    if turns[-1].role != "assistant":
        raise UnusableRowError("last turn is not the assistant's")
    if len(turns) > 1 and turns[-2].role == "assistant":
        raise UnusableRowError("prompt ends in an assistant turn")
    return turns[:-1], turns[-1].content


def _rating(value: object, name: str) -> float | None:
    return float(value) if isinstance(value, bool) else number(value, name)
