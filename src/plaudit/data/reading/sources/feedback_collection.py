"""Prometheus's Feedback Collection: one response with a score from 1 to 5 on the rubric of its instruction."""

from __future__ import annotations

from plaudit.data.reading.sources.fields import Row, UnusableRowError, identity, on_scale, question, required, text
from plaudit.data.schema.group import Group

FIELDS = frozenset({"orig_instruction", "orig_response", "orig_score", "id", "source"})

RATING = "score"


def is_rated(row: Row) -> bool:
    """Return whether ``row`` has an instruction, a response and a score under Prometheus's names."""
    return row.keys() >= {"orig_instruction", "orig_response", "orig_score"}


def group_from_row(row: Row) -> Group:
    """Return the group of ``{orig_instruction, orig_response, orig_score}``: one response with the rating ``score``.

    The score is a whole number from 1 to 5, as a number or as digits. Rubric, reference answer and feedback have no
    place in a group; ``instruction`` and ``output`` are the judge's prompt and answer, made of the other fields.
    Source: Kim et al. (2023), Prometheus.

    Raises:
        DataError: naming the field.
        UnusableRowError: where the instruction or the response is blank.
    """
    prompt = question(row, "orig_instruction")
    response = text(required(row, "orig_response"), "orig_response")
    if not response.strip():
        raise UnusableRowError("empty response")
    score = on_scale(required(row, "orig_score"), "orig_score", 1, 5)
    identifier, source = identity(row)
    return Group(prompt, (response,), ratings={RATING: (score,)}, id=identifier, source=source)
