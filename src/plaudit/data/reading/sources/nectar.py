"""Nectar rows: a dialogue as a transcript, and the responses that GPT-4 ranked."""

from __future__ import annotations

from collections.abc import Mapping

from plaudit.data.reading.sources import fields
from plaudit.data.reading.sources.fields import Row
from plaudit.data.reading.sources.source import CodeFormat, RowOptions
from plaudit.data.reading.sources.trl import is_transcript, transcript
from plaudit.data.schema.group import Group, Message


def read(row: Row, options: RowOptions) -> Group:
    r"""Return the group of all answers of a row with their ranks, in the order of the row.

    ``prompt`` is ``\n\nHuman: … \n\nAssistant: ``, with as many turns before as the dialogue has; the open turn of the
    assistant at its end is where the answers stand. Rank 1 is the best. A ``source`` that lists several origins
    becomes one text, with ``+`` between them. Source: Zhu et al. (2023), Starling-7B.

    Raises:
        DataError: naming the answer and the field.
        UnusableRowError: where a turn or an answer is blank, there is no answer, or the dialogue ends in words of the
            assistant.
    """
    prompt = _prompt(fields.required_text(row, "prompt"))
    entries, responses = fields.answers(row, "answers", "answer")
    ranks = tuple(fields.whole(entry.get("rank"), f"answers[{index}].rank") for index, entry in enumerate(entries))
    return fields.group({**row, "source": _source(row.get("source"))}, prompt, responses, ranks=ranks)


def _prompt(content: str) -> tuple[Message, ...]:
    turns = transcript(content, "prompt")
    return fields.answerable(turns[:-1] if turns[-1] == Message("assistant", "") else turns)


def _source(given: object) -> object:
    if not fields.is_list(given):
        return given
    return "+".join(fields.each(given, "source", fields.text))


def _shows_ranks(row: Row) -> bool:
    entries = row.get("answers")
    if not is_transcript(row.get("prompt")) or not fields.is_list(entries) or not entries:
        return False
    return isinstance(entries[0], Mapping) and entries[0].keys() >= {"answer", "rank"}


FORMATS = (
    CodeFormat(
        name="nectar",
        optional=("prompt", "answers"),
        shown=_shows_ranks,
        reader=read,
    ),
)
