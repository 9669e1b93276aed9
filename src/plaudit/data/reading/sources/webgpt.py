"""WebGPT comparisons: a question, two answers, and how strongly people preferred one to the other."""

from __future__ import annotations

from plaudit.data.reading.sources.fields import (
    Row,
    answerable,
    compared,
    found,
    identity,
    mapping,
    number,
    required,
    text,
)
from plaudit.data.schema.group import Group, Message, Preference
from plaudit.errors import DataError

ANSWERS = ("answer_0", "answer_1")
SCORES = ("score_0", "score_1")
FIELDS = frozenset({"question", *ANSWERS, *SCORES, "id", "source"})

_SUM_TOLERANCE = 1e-6


def is_comparison(row: Row) -> bool:
    """Return whether ``row`` has a question, two answers and their scores."""
    return row.keys() >= {"question", *ANSWERS, *SCORES}


def group_from_row(row: Row) -> Group:
    """Return the group of one comparison: responses (0, 1), and one preference whose margin is its strength.

    ``score_0`` is the strength of the preference for ``answer_0`` over ``answer_1``, from −1 to 1, and ``score_1`` its
    negative; the margin is the score of the preferred answer. At 0 neither is preferred: a tie, probability ½. The
    prompt is the question alone: each answer was written from quotes of its own, which no prompt of both can hold.
    The source is the question's data set (``eli5`` …), where the row has no ``source``. The id of a question is not
    that of the row, because a question may be compared more than once. Source: Nakano et al. (2021), WebGPT.

    Raises:
        DataError: naming the field; also where the scores do not add up to 0.
        UnusableRowError: where the question or an answer is blank, or the answers are the same.
    """
    question = mapping(required(row, "question"), "question")
    full_text = text(required(question, "full_text", "question."), "question.full_text")
    prompt = answerable([Message("user", full_text)])
    responses = compared(*(text(required(row, name), name) for name in ANSWERS))
    identifier, source = identity(row)
    if not source and question.get("dataset") is not None:
        source = text(question["dataset"], "question.dataset")
    return Group(prompt, responses, (_preference(_score(row)),), id=identifier, source=source)


def _preference(score: float) -> Preference:
    if score == 0.0:
        return Preference(0, 1, margin=0.0, probability=0.5)
    better = 0 if score > 0.0 else 1
    return Preference(better, 1 - better, margin=abs(score))


def _score(row: Row) -> float:
    """Return ``score_0``, checked against ``score_1``."""
    scores = []
    for name in SCORES:
        value = number(required(row, name), name)
        if value is None or not -1.0 <= value <= 1.0:
            raise DataError(f"{name} is {found(row[name])}; it must lie between -1 and 1")
        scores.append(value)
    if abs(scores[0] + scores[1]) > _SUM_TOLERANCE:
        raise DataError(f"score_0 is {scores[0]} and score_1 is {scores[1]}; they must add up to 0")
    return scores[0]
