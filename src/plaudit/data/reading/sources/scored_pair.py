"""Preferences whose two sides are rated: RLHFlow's standard format, Tulu 3 405B, UltraFeedback binarized, Capybara."""

from __future__ import annotations

from plaudit.data.reading.sources import trl
from plaudit.data.reading.sources.fields import Row, UnusableRowError, answerable, compared, identity, is_list, number
from plaudit.data.schema.group import Group, Preference

# The columns of (chosen, rejected), and the attribute that they rate.
RATINGS: tuple[tuple[str, str, str], ...] = (
    ("score_chosen", "score_rejected", "score"),
    ("chosen_score", "rejected_score", "score"),
    ("chosen-rating", "rejected-rating", "rating"),
    ("rating_chosen", "rating_rejected", "rating"),
    ("chosen_rating", "rejected_rating", "rating"),
)
FIELDS = frozenset(
    {"prompt", "chosen", "rejected", "id", "source"}
    | {name for chosen, rejected, _ in RATINGS for name in (chosen, rejected)}
)


def is_scored(row: Row) -> bool:
    """Return whether ``row`` has both sides of a preference, and a place for the rating of each."""
    has_sides = row.get("chosen") is not None and row.get("rejected") is not None
    return has_sides and any(row.keys() >= {chosen, rejected} for chosen, rejected, _ in RATINGS)


def group_from_row(row: Row) -> Group:
    """Return the group of one preference: responses (chosen, rejected), their ratings, and the margin between them.

    Sides that are whole conversations hold the prompt, and a ``prompt`` beside them is not looked at; otherwise the
    sides are read as in ``trl``. The margin is the chosen response's rating less the rejected one's: 0 where the
    ratings are equal, absent where one is missing.

    Raises:
        DataError: naming the field.
        UnusableRowError: where the sides are equal, differ before the last turn, hold a blank turn, or the chosen
            response has the lower rating.
    """
    prompt, chosen, rejected = trl.sides(_without_prompt(row))
    prompt, responses = answerable(prompt), compared(chosen, rejected)
    ratings: dict[str, tuple[float | None, ...]] = {}
    margin = None
    for first, second, attribute in RATINGS:
        values = number(row.get(first), first), number(row.get(second), second)
        if values == (None, None):
            continue
        ratings[attribute] = values
        better, worse = values
        if better is None or worse is None:
            continue
        if better < worse:
            raise UnusableRowError("the label contradicts the ratings")
        margin = better - worse
    identifier, source = identity(row)
    return Group(prompt, responses, (Preference(0, 1, margin=margin),), ratings=ratings, id=identifier, source=source)


def _without_prompt(row: Row) -> Row:
    if not all(_is_whole(row.get(name)) for name in ("chosen", "rejected")):
        return row
    return {name: value for name, value in row.items() if name != "prompt"}


def _is_whole(side: object) -> bool:
    """Return whether ``side`` is a list of messages that opens with another turn than the assistant's."""
    return is_list(side) and bool(side) and isinstance(side[0], dict) and side[0].get("role") != "assistant"
