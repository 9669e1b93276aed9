"""HelpSteer rows: one response with five ratings; the rows of a prompt stand one after the other."""

from __future__ import annotations

import re

from plaudit.data.reading.sources.fields import Row, UnusableRowError, answerable, identity, number, required, text
from plaudit.data.schema.group import Group, Message
from plaudit.errors import DataError

ATTRIBUTES = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
FIELDS = frozenset({"prompt", "response", *ATTRIBUTES, "id", "source"})

_MARK = "<extra_id_1>"
_TURN = re.compile(r"\n*<extra_id_1>(User|Assistant)\n")


def is_rated(row: Row) -> bool:
    """Return whether ``row`` has a prompt, a response and a place for each of the five ratings."""
    return row.keys() >= {"prompt", "response", *ATTRIBUTES}


def group_from_row(row: Row) -> Group:
    """Return the group of one response with its ratings; missing ones are None.

    A prompt of several turns has ``<extra_id_1>Assistant`` and ``<extra_id_1>User`` lines between them.
    Source: Wang et al. (2024), HelpSteer and HelpSteer2.

    Raises:
        DataError: naming the field.
        UnusableRowError: where a turn is empty, or its mark names no role.
    """
    prompt = conversation(text(required(row, "prompt"), "prompt"))
    content = text(required(row, "response"), "response")
    if not content.strip():
        raise UnusableRowError("empty response")
    ratings = {name: (number(row.get(name), name),) for name in ATTRIBUTES if name in row}
    if not ratings:
        raise DataError(f"{ATTRIBUTES[0]} is missing; the row needs at least one of: {', '.join(ATTRIBUTES)}")
    identifier, source = identity(row)
    return Group(prompt, (content,), ratings=ratings, id=identifier, source=source)


def conversation(prompt: str) -> tuple[Message, ...]:
    """Return a prompt of HelpSteer as messages: its first turn is the user's, marks open the others.

    Raises:
        UnusableRowError: where a turn is empty, its mark names no role, or the last one is the assistant's.
    """
    first, *rest = _TURN.split(prompt)
    turns = [("user", first), *zip(map(str.lower, rest[::2]), rest[1::2], strict=True)]
    if any(_MARK in content for _, content in turns):
        raise UnusableRowError("a mark of a turn names no role")
    return answerable([Message(role, content) for role, content in turns])
