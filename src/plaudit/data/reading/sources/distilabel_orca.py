"""Rows of distilabel's Orca pairs: a system prompt, an input, two texts, and a judge's rating of each."""

from __future__ import annotations

from plaudit.data.reading.sources import fields
from plaudit.data.reading.sources.fields import Row, UnusableRowError
from plaudit.data.reading.sources.source import CodeFormat, RowOptions
from plaudit.data.schema.group import Group, Message, Preference
from plaudit.errors import DataError

STATUSES = ("unchanged", "swapped", "tie")


def read(row: Row, options: RowOptions) -> Group:
    """Return the group of one pair: responses (chosen, rejected), the rating of each, and one preference.

    The prompt is the system message, where it is not empty, and the input. ``rating`` belongs to the two
    ``generations``, which are the same texts in the order that the judge saw. ``status`` is the judge's verdict on
    the original pair: ``unchanged``, ``swapped`` (chosen and rejected are as the judge said), or ``tie``: probability
    ½. The margin is the difference of the ratings.

    Raises:
        DataError: naming the field.
        UnusableRowError: where a text is blank, both are the same, or the judge gave no ratings.
    """
    prompt = fields.question(row, "input")
    system = row.get("system")
    if system is not None and fields.text(system, "system").strip():
        prompt = (Message("system", fields.text(system, "system")), *prompt)
    responses = fields.compared(*(fields.required_text(row, name) for name in ("chosen", "rejected")))
    status = fields.required_text(row, "status")
    if status not in STATUSES:
        raise DataError(f"status is {fields.found(status)}; allowed: {', '.join(STATUSES)}")
    chosen, rejected = _ratings(row, *responses)
    if chosen < rejected or (chosen == rejected) != (status == "tie"):
        raise UnusableRowError("the label contradicts the ratings")
    preference = Preference(0, 1, margin=chosen - rejected, probability=0.5 if status == "tie" else None)
    return fields.group(row, prompt, responses, (preference,), ratings={"rating": (chosen, rejected)})


def _ratings(row: Row, chosen: str, rejected: str) -> tuple[float, float]:
    """Return the ratings of the two responses, found by their texts among the generations."""
    if row.get("rating") is None:
        raise UnusableRowError("neither response is rated")
    texts = fields.each(fields.required(row, "generations"), "generations", fields.text)
    if sorted(texts) != sorted((chosen, rejected)):
        raise DataError("generations are other texts than chosen and rejected; each must be one of them")
    given = fields.items(row["rating"], "rating")
    fields.same_length(given, len(texts), "rating", "generations")
    rating = {}
    for index, (response, value) in enumerate(zip(texts, given, strict=True)):
        found_rating = fields.number(value, f"rating[{index}]")
        if found_rating is None:
            raise DataError(f"rating[{index}] is missing; both responses must be rated, or neither")
        rating[response] = found_rating
    return rating[chosen], rating[rejected]


FORMATS = (
    CodeFormat(
        name="distilabel_orca",
        keys=("system", "input", "chosen", "rejected", "generations", "rating", "status"),
        reader=read,
    ),
)
