"""HelpSteer: one response with five ratings, or two responses and how much better one of them is.

Source: Wang et al. (2023, 2024), HelpSteer and HelpSteer2; Wang et al. (2024), HelpSteer2-Preference; Wang et al.
(2025), HelpSteer3-Preference.
"""

from __future__ import annotations

import re

from plaudit.data.reading.sources import fields
from plaudit.data.reading.sources.declared import PairFormat, RatedFormat, Rating
from plaudit.data.reading.sources.fields import Row, UnusableRowError
from plaudit.data.schema.group import Message, Preference
from plaudit.errors import DataError

ATTRIBUTES = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")

_MARK = "<extra_id_1>"
_TURN = re.compile(r"\n*<extra_id_1>(User|Assistant)\n")
_PAIR_2 = ("prompt", "response_1", "response_2", "preference_strength")
_PAIR_3 = ("context", "response1", "response2", "overall_preference")
_MOST = 3


def _conversation(row: Row) -> tuple[Message, ...]:
    """Return a prompt of HelpSteer as messages: its first turn is the user's.

    Lines of ``<extra_id_1>Assistant`` and ``<extra_id_1>User`` open the others.

    Raises:
        UnusableRowError: where a turn is empty, its mark names no role, or the last one is the assistant's.
    """
    first, *rest = _TURN.split(fields.required_text(row, "prompt"))
    turns = [("user", first), *zip(map(str.lower, rest[::2]), rest[1::2], strict=True)]
    if any(_MARK in content for _, content in turns):
        raise UnusableRowError("a mark of a turn names no role")
    return fields.answerable([Message(role, content) for role, content in turns])


def _prompt(row: Row) -> tuple[Message, ...]:
    """Return the ``prompt`` of HelpSteer2, text with marks of turns, or the ``context`` of HelpSteer3, messages."""
    name, given = fields.one_of(row, ("prompt", "context"))
    if name == "prompt":
        return _conversation(row)
    turns = fields.messages(given, name)
    if not turns:
        raise DataError("context is an empty list; it needs at least one message")
    return fields.answerable(turns)


def _responses(row: Row) -> tuple[str, str]:
    first, second = (fields.one_of(row, names) for names in (("response_1", "response1"), ("response_2", "response2")))
    return fields.text(first[1], first[0]), fields.text(second[1], second[0])


def _strength(row: Row) -> Preference:
    """Return the preference, whose margin is its strength: 1 is slightly, 2 better, 3 much better.

    A strength below 0 means that response 1 is better, above 0 that response 2 is; 0 is a tie, probability ½.
    """
    name, value = fields.one_of(row, (_PAIR_2[3], _PAIR_3[3]))
    strength = fields.whole(value, name)
    if strength is None or abs(strength) > _MOST:
        raise DataError(f"{name} is {fields.found(value)}; it must be an integer from -{_MOST} to {_MOST}")
    if strength == 0:
        return Preference(0, 1, margin=0.0, probability=0.5)
    return Preference(0, 1, margin=float(-strength)) if strength < 0 else Preference(1, 0, margin=float(strength))


FORMATS = (
    RatedFormat(
        name="helpsteer",
        keys=("prompt", "response", *ATTRIBUTES),
        prompt=_conversation,
        ratings=tuple(Rating(name, (name,)) for name in ATTRIBUTES),
        joins=True,
    ),
    PairFormat(
        name="helpsteer_pair",
        optional=(*_PAIR_2, *_PAIR_3),
        shown=lambda row: row.keys() >= set(_PAIR_2) or row.keys() >= set(_PAIR_3),
        prompt=_prompt,
        responses=_responses,
        better=_strength,
        source_from="domain",
    ),
)
