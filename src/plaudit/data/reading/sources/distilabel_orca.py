"""Rows of distilabel's Orca pairs: a system prompt, an input, two texts, and what a judge gave each of them."""

from __future__ import annotations

from plaudit.data.reading.sources.fields import (
    Row,
    UnusableRowError,
    compared,
    found,
    identity,
    items,
    number,
    question,
    required,
    same_length,
    text,
)
from plaudit.data.schema.group import Group, Message, Preference
from plaudit.errors import DataError

STATUSES = ("unchanged", "swapped", "tie")
FIELDS = frozenset({"system", "input", "chosen", "rejected", "generations", "rating", "status", "id", "source"})


def is_judged(row: Row) -> bool:
    """Return whether ``row`` has an input, both sides, and a place for the judge's ratings and its verdict."""
    return row.keys() >= {"system", "input", "chosen", "rejected", "generations", "rating", "status"}


def group_from_row(row: Row) -> Group:
    """Return the group of one pair: responses (chosen, rejected), the rating of each, and one preference.

    The prompt is the system message, where it is not empty, and the input. ``rating`` belongs to the two
    ``generations``, which are the same texts in the order that the judge saw. ``status`` says what the judge made of
    the original pair: ``unchanged``, ``swapped`` (chosen and rejected are as the judge said), or ``tie``: probability
    ½. The margin is the difference of the ratings.

    Raises:
        DataError: naming the field.
        UnusableRowError: where a text is blank, both are the same, or the judge gave no ratings.
    """
    prompt = question(row, "input")
    system = row.get("system")
    if system is not None and text(system, "system").strip():
        prompt = (Message("system", text(system, "system")), *prompt)
    responses = compared(*(text(required(row, name), name) for name in ("chosen", "rejected")))
    status = text(required(row, "status"), "status")
    if status not in STATUSES:
        raise DataError(f"status is {found(status)}; allowed: {', '.join(STATUSES)}")
    chosen, rejected = _ratings(row, *responses)
    if chosen < rejected or (chosen == rejected) != (status == "tie"):
        raise UnusableRowError("the label contradicts the ratings")
    preference = Preference(0, 1, margin=chosen - rejected, probability=0.5 if status == "tie" else None)
    identifier, source = identity(row)
    return Group(prompt, responses, (preference,), ratings={"rating": (chosen, rejected)}, id=identifier, source=source)


def _ratings(row: Row, chosen: str, rejected: str) -> tuple[float, float]:
    """Return the ratings of the two responses, found by their texts among the generations."""
    if row.get("rating") is None:
        raise UnusableRowError("neither response is rated")
    texts = [
        text(entry, f"generations[{index}]")
        for index, entry in enumerate(items(required(row, "generations"), "generations"))
    ]
    if sorted(texts) != sorted((chosen, rejected)):
        raise DataError("generations are other texts than chosen and rejected; each must be one of them")
    given = items(row["rating"], "rating")
    same_length(given, len(texts), "rating", "generations")
    rating = {}
    for index, (response, value) in enumerate(zip(texts, given, strict=True)):
        found_rating = number(value, f"rating[{index}]")
        if found_rating is None:
            raise DataError(f"rating[{index}] is missing; both responses must be rated, or neither")
        rating[response] = found_rating
    return rating[chosen], rating[rejected]
