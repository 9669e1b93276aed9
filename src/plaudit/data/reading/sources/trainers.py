"""Preferences in the files of other trainers: ms-swift, LLaMA-Factory, OpenAI, and one chosen against several rejected.

Sources: the data set pages of ms-swift (``messages``, ``rejected_response``), of LLaMA-Factory (``conversations`` or
``instruction``, with ``chosen`` and ``rejected``), and OpenAI's guide to preference tuning (``preferred_output``).
"""

from __future__ import annotations

from collections.abc import Sequence

from plaudit.data.reading.sources import fields
from plaudit.data.reading.sources.fields import Row
from plaudit.data.reading.sources.source import CodeFormat, RowOptions
from plaudit.data.reading.sources.trl import is_transcript
from plaudit.data.schema.group import Group, Message, Preference
from plaudit.data.schema.turns import are_turns
from plaudit.errors import DataError

_CONVERSATIONS = ("conversations", "messages")
_SWIFT = ("rejected_response", "rejected_messages")


def _preferred(row: Row, prompt: Sequence[Message], chosen: str, rejected: Sequence[str]) -> Group:
    """Return the group of a chosen response and those that it is preferred to; an equal one is in no pair.

    Raises:
        UnusableRowError: where the prompt cannot be answered, or all rejected responses equal the chosen one.
    """
    if len(rejected) == 1:
        fields.compared(chosen, rejected[0])
    others = [index for index, text in enumerate(rejected, start=1) if text.strip() != chosen.strip()]
    if not others:
        raise fields.UnusableRowError("chosen equals rejected")
    margin = fields.number(row.get("margin"), "margin")
    preferences = tuple(Preference(0, index, margin=margin) for index in others)
    return fields.group(row, fields.answerable(prompt), (chosen, *rejected), preferences)


def _rejected(value: object, name: str) -> tuple[str, ...]:
    """Return one rejected response, or several: a list of texts or of message lists."""
    if fields.is_list(value) and not are_turns(value):
        return fields.each(value, name, fields.response)
    return (fields.response(value, name),)


def read_swift(row: Row, options: RowOptions) -> Group:
    """Return the group of ms-swift's ``{messages, rejected_response}`` or ``{messages, rejected_messages}``.

    Raises:
        DataError: naming the field.
        UnusableRowError: where the last message is not the assistant's, or the responses are equal.
    """
    prompt, chosen = fields.answered({"messages": fields.required(row, "messages")})
    name, given = fields.one_of(row, ("rejected_response", "rejected_messages"))
    if name == "rejected_messages":
        return _preferred(row, prompt, chosen, [_last(given, name, prompt)])
    return _preferred(row, prompt, chosen, _rejected(given, name))


def _last(given: object, name: str, prompt: tuple[Message, ...]) -> str:
    """Return the last turn of a conversation that opens with ``prompt``."""
    turns = fields.messages(given, name)
    if not turns or turns[-1].role != "assistant":
        raise fields.UnusableRowError("last turn is not the assistant's")
    if len(turns) > 1 and turns[:-1] != prompt:
        raise fields.UnusableRowError("dialogues differ before the last turn")
    return turns[-1].content


def read_llama_factory(row: Row, options: RowOptions) -> Group:
    """Return the group of LLaMA-Factory's ``{conversations, chosen, rejected}`` or ``{instruction, input, …}``.

    An ``input`` follows the instruction on a line of its own; ``system`` and ``history`` come before it.

    Raises:
        DataError: naming the field.
        UnusableRowError: where the prompt cannot be answered, or the responses are equal.
    """
    chosen = fields.response(fields.required(row, "chosen"), "chosen")
    return _preferred(row, _instructed(row), chosen, _rejected(fields.required(row, "rejected"), "rejected"))


def _instructed(row: Row) -> tuple[Message, ...]:
    if any(row.get(name) is not None for name in _CONVERSATIONS):
        name, given = fields.one_of(row, _CONVERSATIONS)
        turns = list(fields.messages(given, name))
    else:
        parts = [fields.required_text(row, "instruction"), fields.text(row.get("input") or "", "input")]
        turns = [Message("user", "\n".join(part for part in parts if part))]
        for index, said in enumerate(fields.items(row.get("history") or [], "history")):
            question, answer = fields.each(said, f"history[{index}]", fields.text)
            turns[-1:-1] = [Message("user", question), Message("assistant", answer)]
    system = fields.text(row.get("system") or "", "system")
    return (*([Message("system", system)] if system.strip() else []), *turns)


def read_openai(row: Row, options: RowOptions) -> Group:
    """Return the group of OpenAI's ``{input: {messages}, preferred_output, non_preferred_output}``.

    Raises:
        DataError: naming the field.
        UnusableRowError: where the prompt cannot be answered, or the responses are equal.
    """
    given = fields.required(fields.mapping(fields.required(row, "input"), "input"), "messages", "input.")
    preferred, other = (
        fields.response(fields.required(row, name), name) for name in ("preferred_output", "non_preferred_output")
    )
    return _preferred(row, fields.messages(given, "input.messages"), preferred, [other])


def read_several_rejected(row: Row, options: RowOptions) -> Group:
    """Return the group of ``{prompt, chosen, rejected: [text, …]}``: one response preferred to each of the others.

    Raises:
        DataError: naming the field.
        UnusableRowError: where all responses are equal.
    """
    rejected = _rejected(fields.required(row, "rejected"), "rejected")
    if not rejected:
        raise DataError("rejected is an empty list; it needs at least one response")
    chosen = fields.response(fields.required(row, "chosen"), "chosen")
    return _preferred(row, fields.prompt(row), chosen, rejected)


def _is_answer(side: object) -> bool:
    """Return whether a side of a pair is the response alone: no transcript, no whole conversation."""
    if isinstance(side, str):
        return not is_transcript(side)
    return are_turns(side) and fields.messages(side, "")[0].role == "assistant"


def _shows_llama_factory(row: Row) -> bool:
    has_prompt = any(are_turns(row.get(name)) for name in _CONVERSATIONS) or isinstance(row.get("instruction"), str)
    return (
        row.get("prompt") is None and has_prompt and all(_is_answer(row.get(each)) for each in ("chosen", "rejected"))
    )


def _shows_several(row: Row) -> bool:
    rejected = row.get("rejected")
    is_several = fields.is_list(rejected) and bool(rejected) and not are_turns(rejected)
    return row.get("prompt") is not None and row.get("chosen") is not None and is_several


FORMATS = (
    CodeFormat(
        name="ms_swift",
        optional=("messages", "rejected_response", "rejected_messages", "margin"),
        shown=lambda row: are_turns(row.get("messages")) and not row.keys().isdisjoint(_SWIFT),
        reader=read_swift,
    ),
    CodeFormat(
        name="llama_factory",
        optional=(*_CONVERSATIONS, "instruction", "input", "system", "history", "chosen", "rejected", "margin"),
        shown=_shows_llama_factory,
        reader=read_llama_factory,
    ),
    CodeFormat(name="openai", keys=("input", "preferred_output", "non_preferred_output"), reader=read_openai),
    CodeFormat(
        name="several_rejected",
        optional=("prompt", "chosen", "rejected", "margin"),
        shown=_shows_several,
        reader=read_several_rejected,
    ),
)
