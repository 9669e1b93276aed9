"""Prometheus's Preference Collection: two responses with a score each, and which of them is better."""

from __future__ import annotations

from plaudit.data.reading.sources.feedback_collection import RATING
from plaudit.data.reading.sources.fields import (
    Row,
    UnusableRowError,
    compared,
    identity,
    on_scale,
    place,
    question,
    required,
    text,
)
from plaudit.data.schema.group import Group, Preference

SIDES = ("A", "B")
FIELDS = frozenset(
    {
        "orig_instruction",
        *(f"orig_{name}_{side}" for name in ("response", "score") for side in SIDES),
        "orig_preference",
        "id",
        "source",
    }
)


def is_pair(row: Row) -> bool:
    """Return whether ``row`` has an instruction, two responses and a preference under Prometheus's names."""
    return row.keys() >= {"orig_instruction", "orig_response_A", "orig_response_B", "orig_preference"}


def group_from_row(row: Row) -> Group:
    """Return the group of one comparison: responses (A, B), one preference, and the ratings ``score``.

    ``orig_preference`` is A or B; the scores are whole numbers from 1 to 5, as numbers or as digits, and may be
    missing. Rubric, reference answer and feedback have no place in a group. Source: Kim et al. (2024), Prometheus 2.

    Raises:
        DataError: naming the field.
        UnusableRowError: where a text is blank, the responses are the same, or the preferred one has the lower score.
    """
    prompt = question(row, "orig_instruction")
    responses = compared(*(text(required(row, f"orig_response_{side}"), f"orig_response_{side}") for side in SIDES))
    better = place(required(row, "orig_preference"), "orig_preference", SIDES)
    scores = tuple(on_scale(row.get(f"orig_score_{side}"), f"orig_score_{side}", 1, 5) for side in SIDES)
    higher, lower = scores[better], scores[1 - better]
    if higher is not None and lower is not None and higher < lower:
        raise UnusableRowError("the label contradicts the ratings")
    ratings = {} if scores == (None, None) else {RATING: scores}
    identifier, source = identity(row)
    preference = Preference(better, 1 - better)
    return Group(prompt, responses, (preference,), ratings=ratings, id=identifier, source=source)
