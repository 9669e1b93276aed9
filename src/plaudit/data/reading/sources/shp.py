"""Rows of the Stanford Human Preferences: a Reddit post, two comments, their scores, and which one is preferred."""

from __future__ import annotations

import re

from plaudit.data.reading.sources.fields import (
    Row,
    UnusableRowError,
    compared,
    identity,
    number,
    outcome,
    question,
    required,
    text,
)
from plaudit.data.schema.group import Group, Preference

SCORES = ("score_A", "score_B")
FIELDS = frozenset({"history", "human_ref_A", "human_ref_B", "labels", *SCORES, "domain", "id", "source"})

_SPLIT = re.compile(r"_(train|validation|test)\Z")


def is_pair(row: Row) -> bool:
    """Return whether ``row`` has a post, two comments and a place for the label."""
    return row.keys() >= {"history", "human_ref_A", "human_ref_B", "labels"}


def group_from_row(row: Row) -> Group:
    """Return the group of one pair: responses (A, B), one preference, and the comments' scores as the rating ``score``.

    The post is one user turn. ``labels`` is 1 where A is preferred and 0 where B is. The ``source`` is the row's own,
    else the subreddit: its ``domain`` without the name of the split. Ethayarajh et al. (2022) train on pairs whose
    ratio of scores is above 2; both scores are kept, so that any bound can be set later.

    Raises:
        DataError: naming the field.
        UnusableRowError: where the post or a comment is blank, the comments are the same, or the preferred one has
            the lower score.
    """
    prompt = question(row, "history")
    responses = compared(*(text(required(row, name), name) for name in ("human_ref_A", "human_ref_B")))
    first = outcome(required(row, "labels"), "labels")
    scores = tuple(number(row.get(name), name) for name in SCORES)
    chosen, rejected = (0, 1) if first else (1, 0)
    better, worse = scores[chosen], scores[rejected]
    if better is not None and worse is not None and better < worse:
        raise UnusableRowError("the label contradicts the ratings")
    ratings = {} if scores == (None, None) else {"score": scores}
    identifier, source = identity(row)
    domain = row.get("domain")
    if not source and domain is not None:
        source = _SPLIT.sub("", text(domain, "domain"))
    return Group(prompt, responses, (Preference(chosen, rejected),), ratings=ratings, id=identifier, source=source)
