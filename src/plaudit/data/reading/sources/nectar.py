"""Nectar rows: a dialogue as a transcript, and the responses that GPT-4 ranked."""

from __future__ import annotations

from collections.abc import Mapping

from plaudit.data.reading.sources.fields import (
    Row,
    UnusableRowError,
    answerable,
    identity,
    is_list,
    items,
    mapping,
    required,
    text,
    whole,
)
from plaudit.data.reading.sources.hh import is_transcript, transcript
from plaudit.data.schema.group import Group, Message

FIELDS = frozenset({"prompt", "answers", "id", "source"})


def is_ranked(row: Row) -> bool:
    """Return whether ``row`` has a transcript and answers with ranks."""
    answers = row.get("answers")
    if not is_transcript(row.get("prompt")) or not is_list(answers) or not answers:
        return False
    return isinstance(answers[0], Mapping) and answers[0].keys() >= {"answer", "rank"}


def group_from_row(row: Row) -> Group:
    r"""Return the group of all answers of a row with their ranks, in the order of the row.

    ``prompt`` is ``\n\nHuman: … \n\nAssistant: ``, with as many turns before as the dialogue has; the open turn of the
    assistant at its end is where the answers stand. Rank 1 is the best. A ``source`` that lists several origins
    becomes one text, with ``+`` between them. Source: Zhu et al. (2023), Starling-7B.

    Raises:
        DataError: naming the answer and the field.
        UnusableRowError: where a turn or an answer is blank, there is no answer, or the dialogue ends in words of the
            assistant.
    """
    prompt = _prompt(text(required(row, "prompt"), "prompt"))
    answers = [
        mapping(entry, f"answers[{index}]") for index, entry in enumerate(items(required(row, "answers"), "answers"))
    ]
    if not answers:
        raise UnusableRowError("no response to the prompt")
    responses = [
        text(required(entry, "answer", f"answers[{index}]."), f"answers[{index}].answer")
        for index, entry in enumerate(answers)
    ]
    if not all(response.strip() for response in responses):
        raise UnusableRowError("empty response")
    ranks = tuple(whole(entry.get("rank"), f"answers[{index}].rank") for index, entry in enumerate(answers))
    identifier, source = identity({**row, "source": _source(row.get("source"))})
    return Group(prompt, tuple(responses), ranks=ranks, id=identifier, source=source)


def _prompt(content: str) -> tuple[Message, ...]:
    turns = transcript(content, "prompt")
    return answerable(turns[:-1] if turns[-1] == Message("assistant", "") else turns)


def _source(given: object) -> object:
    if not is_list(given):
        return given
    return "+".join(text(entry, f"source[{index}]") for index, entry in enumerate(given))
