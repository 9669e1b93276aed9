"""WebGPT comparisons: a question, two answers, and how strongly people preferred one to the other.

The prompt is the question alone: each answer was written from quotes of its own, which no prompt of both can hold. The
source is the question's data set (``eli5`` …), where the row has none. The id of a question is not that of the row,
because a question may be compared more than once. Source: Nakano et al. (2021), WebGPT.
"""

from __future__ import annotations

from plaudit.data.reading.sources import fields
from plaudit.data.reading.sources.declared import PairFormat
from plaudit.data.reading.sources.fields import Row
from plaudit.data.schema.group import Message, Preference
from plaudit.errors import DataError

_ANSWERS = ("answer_0", "answer_1")
_SCORES = ("score_0", "score_1")
_SUM_TOLERANCE = 1e-6


def _question(row: Row) -> tuple[Message, ...]:
    question = fields.mapping(fields.required(row, "question"), "question")
    return fields.answerable([Message("user", fields.required_text(question, "full_text", "question."))])


def _data_set(row: Row) -> str:
    name = fields.mapping(fields.required(row, "question"), "question").get("dataset")
    return "" if name is None else fields.text(name, "question.dataset")


def _preference(row: Row) -> Preference:
    """Return the preference, whose margin is its strength.

    ``score_0`` is the strength of the preference for ``answer_0`` over ``answer_1``, from −1 to 1, and ``score_1`` its
    negative. At 0 neither is preferred: a tie, probability ½.
    """
    scores = []
    for name in _SCORES:
        value = fields.number(fields.required(row, name), name)
        if value is None or not -1.0 <= value <= 1.0:
            raise DataError(f"{name} is {fields.found(row[name])}; it must lie between -1 and 1")
        scores.append(value)
    first, second = scores
    if abs(first + second) > _SUM_TOLERANCE:
        raise DataError(f"score_0 is {first} and score_1 is {second}; they must add up to 0")
    if first == 0.0:
        return Preference(0, 1, margin=0.0, probability=0.5)
    return Preference(0, 1, margin=first) if first > 0.0 else Preference(1, 0, margin=-first)


FORMATS = (
    PairFormat(
        name="webgpt",
        keys=("question", *_ANSWERS, *_SCORES),
        prompt=_question,
        responses=_ANSWERS,
        better=_preference,
        source_from=_data_set,
    ),
)
