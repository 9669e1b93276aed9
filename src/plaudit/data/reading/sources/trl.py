"""Preference data as ``{chosen, rejected}``: TRL's layouts, text or messages, and the transcripts of hh-rlhf."""

from __future__ import annotations

import re

from plaudit.data.reading.sources import fields
from plaudit.data.reading.sources.declared import PairFormat
from plaudit.data.reading.sources.fields import Row, UnusableRowError
from plaudit.data.schema.group import Message
from plaudit.errors import DataError

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
        raise DataError(f"{name} is {fields.found(value)}; a transcript must open with 'Human:' or 'Assistant:'")
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
    prompt, first, second = _last_turns(transcript(chosen, "chosen"), transcript(rejected, "rejected"))
    return fields.answerable(prompt), first, second


def _sides(row: Row) -> tuple[tuple[Message, ...], str, str]:
    return split_transcripts(fields.required_text(row, "chosen"), fields.required_text(row, "rejected"))


def _shows_transcripts(row: Row) -> bool:
    return row.get("prompt") is None and is_transcript(row.get("chosen")) and is_transcript(row.get("rejected"))


Pair = tuple[tuple[Message, ...], str, str]


def sides(row: Row) -> Pair:
    """Return the prompt, the chosen and the rejected response of a row.

    With a ``prompt``, the sides are the responses, or messages that continue it (or repeat it first, as some
    public sets do). Without, the prompt is the common start of the two message lists, or the dialogue of two
    transcripts.

    Raises:
        DataError: naming the field.
        UnusableRowError: where the sides are equal or the dialogues differ before the last turn.
    """
    chosen, rejected = fields.required(row, "chosen"), fields.required(row, "rejected")
    has_prompt = row.get("prompt") is not None
    if isinstance(chosen, str) and isinstance(rejected, str):
        return _texts(row, chosen, rejected, has_prompt)
    if not fields.is_list(chosen) or not fields.is_list(rejected):
        raise DataError(
            f"chosen is {_kind(chosen)} and rejected is {_kind(rejected)}; both must be strings or lists of messages"
        )
    given = fields.messages(chosen, "chosen"), fields.messages(rejected, "rejected")
    return _last_turns(*(_continued(row, *given) if has_prompt else given))


def _kind(value: object) -> str:
    if isinstance(value, str):
        return "a string"
    return "a list" if fields.is_list(value) else fields.found(value)


def _texts(row: Row, chosen: str, rejected: str, has_prompt: bool) -> Pair:
    if has_prompt:
        return fields.prompt(row), chosen, rejected
    if not is_transcript(chosen) or not is_transcript(rejected):
        raise DataError(
            "prompt is missing, and chosen and rejected are plain text: where the prompt ends cannot be "
            "known; give a prompt, message lists, or transcripts that open with 'Human:'"
        )
    return split_transcripts(chosen, rejected)


def _continued(
    row: Row, chosen: tuple[Message, ...], rejected: tuple[Message, ...]
) -> tuple[tuple[Message, ...], tuple[Message, ...]]:
    """Return the two full conversations of a row that has a ``prompt`` and message lists."""
    conversation = fields.prompt(row)
    repeated = [side[0].role != "assistant" for side in (chosen, rejected) if side]
    if len(repeated) < 2 or not any(repeated):
        return conversation + chosen, conversation + rejected
    for name, side in (("chosen", chosen), ("rejected", rejected)):
        if isinstance(row["prompt"], str):
            repeats = any(turn == conversation[0] for turn in side)
        else:
            repeats = side[: len(conversation)] == conversation
        if not repeats:
            raise DataError(f"{name} opens with a {side[0].role} turn, but does not repeat the prompt")
    return chosen, rejected


def _last_turns(chosen: tuple[Message, ...], rejected: tuple[Message, ...]) -> Pair:
    """Return the common leading messages and the two last assistant turns."""
    for name, side in (("chosen", chosen), ("rejected", rejected)):
        if not side:
            raise DataError(f"{name} is an empty list; it must end in an assistant message")
    if chosen == rejected:
        raise UnusableRowError("chosen equals rejected")
    if chosen[-1].role != "assistant" or rejected[-1].role != "assistant":
        raise UnusableRowError("last turn is not the assistant's")
    if chosen[:-1] != rejected[:-1]:
        raise UnusableRowError("dialogues differ before the last turn")
    return chosen[:-1], chosen[-1].content, rejected[-1].content


FORMATS = (
    PairFormat(
        name="hh",
        optional=("chosen", "rejected"),
        shown=_shows_transcripts,
        sides=_sides,
        margin="margin",
    ),
    PairFormat(
        name="trl",
        optional=("prompt", "chosen", "rejected"),
        shown=lambda row: row.get("chosen") is not None and row.get("rejected") is not None,
        sides=sides,
        margin="margin",
    ),
)
