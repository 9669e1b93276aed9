"""Dialogue transcripts as in hh-rlhf: ``{chosen, rejected}`` of Human and Assistant turns."""

from __future__ import annotations

import re

from plaudit.data.reading.sources.fields import Row, UnusableRowError, found, identity, number, required, text
from plaudit.data.schema.group import Group, Message, Preference
from plaudit.errors import DataError

FIELDS = frozenset({"chosen", "rejected", "margin", "id", "source"})

_TURN = re.compile(r"\n\n(Human|Assistant):")
_ROLES = {"Human": "user", "Assistant": "assistant"}


def is_transcript(value: object) -> bool:
    """Return whether ``value`` is text that opens with a Human or Assistant turn."""
    return isinstance(value, str) and value.lstrip().startswith(("Human:", "Assistant:"))


def transcript(value: str, name: str) -> tuple[Message, ...]:
    """Return the turns of a transcript, stripped; a blank line and ``Human:`` or ``Assistant:`` opens one.

    Consecutive turns of one role stay apart. A name inside a paragraph opens no turn.
    """
    if not is_transcript(value):
        raise DataError(f"{name} is {found(value)}; a transcript must open with 'Human:' or 'Assistant:'")
    parts = _TURN.split("\n\n" + value.lstrip())
    return tuple(
        Message(_ROLES[speaker], content.strip()) for speaker, content in zip(parts[1::2], parts[2::2], strict=True)
    )


def split_transcripts(chosen: str, rejected: str) -> tuple[tuple[Message, ...], str, str]:
    """Return the common prompt and the two last assistant turns.

    Raises:
        UnusableRowError: where the two dialogues are the same, differ before the last turn, do not end in a
            turn of the assistant, or hold an empty turn. Nothing is repaired by guessing.
    """
    if chosen == rejected:
        raise UnusableRowError("chosen equals rejected")
    *prompt, chosen_turn = transcript(chosen, "chosen")
    *rejected_prompt, rejected_turn = transcript(rejected, "rejected")
    if chosen_turn.role != "assistant" or rejected_turn.role != "assistant":
        raise UnusableRowError("last turn is not the assistant's")
    if prompt != rejected_prompt:
        raise UnusableRowError("dialogues differ before the last turn")
    if prompt and prompt[-1].role == "assistant":
        raise UnusableRowError("prompt ends in an assistant turn")
    if not all(turn.content for turn in prompt):
        raise UnusableRowError("empty turn in the prompt")
    if not chosen_turn.content or not rejected_turn.content:
        raise UnusableRowError("empty response")
    if chosen_turn.content == rejected_turn.content:
        raise UnusableRowError("chosen equals rejected")
    return tuple(prompt), chosen_turn.content, rejected_turn.content


def group_from_row(row: Row) -> Group:
    """Return the group of a row ``{chosen, rejected}`` of transcripts, with an optional ``margin``.

    Raises:
        DataError: naming the field, where a side is not a transcript.
        UnusableRowError: see ``split_transcripts``.
    """
    chosen = text(required(row, "chosen"), "chosen")
    rejected = text(required(row, "rejected"), "rejected")
    prompt, *responses = split_transcripts(chosen, rejected)
    preference = Preference(0, 1, margin=number(row.get("margin"), "margin"))
    identifier, source = identity(row)
    return Group(prompt, tuple(responses), (preference,), id=identifier, source=source)
