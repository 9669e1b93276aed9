"""Compared responses of HelpSteer2-Preference and HelpSteer3: how much better one is, from -3 to 3."""

from __future__ import annotations

from plaudit.data.reading.sources.fields import (
    Row,
    answerable,
    compared,
    found,
    identity,
    messages,
    one_of,
    required,
    text,
    whole,
)
from plaudit.data.reading.sources.helpsteer import conversation
from plaudit.data.schema.group import Group, Message, Preference
from plaudit.errors import DataError

STRENGTHS = ("preference_strength", "overall_preference")
MOST = 3
_FIRST = ("response_1", "response1")
_SECOND = ("response_2", "response2")
FIELDS = frozenset({"prompt", "context", *_FIRST, *_SECOND, *STRENGTHS, "domain", "id", "source"})


def is_pair(row: Row) -> bool:
    """Return whether ``row`` has two responses and the strength of a preference, under the names of either set."""
    second = row.keys() >= {"prompt", "response_1", "response_2", "preference_strength"}
    return second or row.keys() >= {"context", "response1", "response2", "overall_preference"}


def group_from_row(row: Row) -> Group:
    """Return the group of one comparison: responses (1, 2) and one preference whose margin is its strength.

    A strength below 0 means that response 1 is better, above 0 that response 2 is; 1 is slightly, 2 better, 3 much
    better. 0 is a tie: probability ½ and margin 0. HelpSteer2 has ``prompt`` (text with marks of turns, as in
    ``helpsteer``), ``response_1``, ``response_2`` and ``preference_strength``; HelpSteer3 has ``context`` (messages),
    ``response1``, ``response2`` and ``overall_preference``, and its ``domain`` is the source of the group.
    Source: Wang et al. (2024), HelpSteer2-Preference; Wang et al. (2025), HelpSteer3-Preference.

    Raises:
        DataError: naming the field.
        UnusableRowError: where a turn or a response is blank, or the responses are the same.
    """
    prompt = _prompt(row)
    responses = compared(*(text(value, name) for name, value in (one_of(row, _FIRST), one_of(row, _SECOND))))
    identifier, source = identity(row)
    if not source and row.get("domain") is not None:
        source = text(row["domain"], "domain")
    return Group(prompt, responses, (_preference(*one_of(row, STRENGTHS)),), id=identifier, source=source)


def _prompt(row: Row) -> tuple[Message, ...]:
    name, given = one_of(row, ("prompt", "context"))
    if name == "prompt":
        return conversation(text(given, name))
    turns = messages(required(row, name), name)
    if not turns:
        raise DataError("context is an empty list; it needs at least one message")
    return answerable(turns)


def _preference(name: str, value: object) -> Preference:
    strength = whole(value, name)
    if strength is None or abs(strength) > MOST:
        raise DataError(f"{name} is {found(value)}; it must be an integer from -{MOST} to {MOST}")
    if strength == 0:
        return Preference(0, 1, margin=0.0, probability=0.5)
    chosen, rejected = (0, 1) if strength < 0 else (1, 0)
    return Preference(chosen, rejected, margin=float(abs(strength)))
