"""Preference data in TRL's layouts: ``{chosen, rejected}`` with or without ``prompt``, text or messages."""

from __future__ import annotations

from plaudit.data.reading.sources.fields import (
    Row,
    UnusableRowError,
    found,
    identity,
    is_list,
    messages,
    number,
    prompt,
    required,
)
from plaudit.data.reading.sources.hh import is_transcript, split_transcripts
from plaudit.data.schema.group import Group, Message, Preference
from plaudit.errors import DataError

FIELDS = frozenset({"prompt", "chosen", "rejected", "margin", "id", "source"})

Pair = tuple[tuple[Message, ...], str, str]


def group_from_row(row: Row) -> Group:
    """Return the group of one preference row: responses (chosen, rejected) and one preference.

    With a ``prompt``, the sides are the responses, or messages that continue it (or repeat it first, as some
    public sets do). Without, the prompt is what the two message lists have in common, or the dialogue of two
    transcripts.

    Raises:
        DataError: naming the field.
        UnusableRowError: where the sides are equal or the dialogues differ before the last turn.
    """
    conversation, *responses = sides(row)
    preference = Preference(0, 1, margin=number(row.get("margin"), "margin"))
    identifier, source = identity(row)
    return Group(conversation, tuple(responses), (preference,), id=identifier, source=source)


def sides(row: Row) -> Pair:
    """Return the prompt, the chosen and the rejected response of a row; see ``group_from_row``."""
    chosen, rejected = required(row, "chosen"), required(row, "rejected")
    has_prompt = row.get("prompt") is not None
    if isinstance(chosen, str) and isinstance(rejected, str):
        return _explicit_text(row, chosen, rejected) if has_prompt else _implicit_text(chosen, rejected)
    if not is_list(chosen) or not is_list(rejected):
        raise DataError(
            f"chosen is {_kind(chosen)} and rejected is {_kind(rejected)}; both must be strings or lists of messages"
        )
    given = messages(chosen, "chosen"), messages(rejected, "rejected")
    return _from_messages(*(_continued(row, *given) if has_prompt else given))


def _kind(value: object) -> str:
    if isinstance(value, str):
        return "a string"
    return "a list" if is_list(value) else found(value)


def _explicit_text(row: Row, chosen: str, rejected: str) -> Pair:
    conversation = prompt(row)
    if chosen == rejected:
        raise UnusableRowError("chosen equals rejected")
    return conversation, chosen, rejected


def _implicit_text(chosen: str, rejected: str) -> Pair:
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
    conversation = prompt(row)
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


def _from_messages(chosen: tuple[Message, ...], rejected: tuple[Message, ...]) -> Pair:
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
