"""Preferences whose two sides are rated: RLHFlow's standard format, Tulu 3 405B, UltraFeedback binarized, Capybara.

The margin is the chosen response's rating less the rejected one's: 0 where the ratings are equal, absent where one is
missing.
"""

from __future__ import annotations

from plaudit.data.reading.sources import trl
from plaudit.data.reading.sources.declared import PairFormat, Rating, Turns
from plaudit.data.reading.sources.fields import Row, answerable, is_list

_RATINGS = (
    Rating("score", ("score_chosen", "score_rejected"), agrees=True, margin=True),
    Rating("score", ("chosen_score", "rejected_score"), agrees=True, margin=True),
    Rating("rating", ("chosen-rating", "rejected-rating"), agrees=True, margin=True),
    Rating("rating", ("rating_chosen", "rating_rejected"), agrees=True, margin=True),
    Rating("rating", ("chosen_rating", "rejected_rating"), agrees=True, margin=True),
)


def _shows_ratings(row: Row) -> bool:
    """Return whether ``row`` has both sides of a preference, and a place for the rating of each."""
    has_sides = row.get("chosen") is not None and row.get("rejected") is not None
    return has_sides and any(row.keys() >= set(rating.columns) for rating in _RATINGS)


def _sides(row: Row) -> tuple[Turns, str, str]:
    """Return the two sides as in ``trl``; where they are whole conversations, a ``prompt`` beside them is ignored."""
    if all(_is_whole(row.get(name)) for name in ("chosen", "rejected")):
        row = {name: value for name, value in row.items() if name != "prompt"}
    prompt, chosen, rejected = trl.sides(row)
    return answerable(prompt), chosen, rejected


def _is_whole(side: object) -> bool:
    """Return whether ``side`` is a list of messages that opens with another turn than the assistant's."""
    return is_list(side) and bool(side) and isinstance(side[0], dict) and side[0].get("role") != "assistant"


FORMATS = (
    PairFormat(
        name="scored_pair",
        optional=("prompt", "chosen", "rejected"),
        shown=_shows_ratings,
        sides=_sides,
        ratings=_RATINGS,
    ),
)
