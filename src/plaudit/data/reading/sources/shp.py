"""Rows of the Stanford Human Preferences: a Reddit post, two comments, their scores, and which one is preferred.

The scores are kept as the rating ``score``: Ethayarajh et al. (2022) train on pairs whose ratio of scores is above 2, a
bound that can be set later.
"""

from __future__ import annotations

import re

from plaudit.data.reading.sources.declared import PairFormat, Rating
from plaudit.data.reading.sources.fields import Row, outcome, required, text
from plaudit.data.schema.group import Preference

_SPLIT = re.compile(r"_(train|validation|test)\Z")


def _preference(row: Row) -> Preference:
    """Return the preference: ``labels`` is 1 where comment A is the better one, and 0 where B is."""
    return Preference(0, 1) if outcome(required(row, "labels"), "labels") else Preference(1, 0)


def _subreddit(row: Row) -> str:
    """Return ``domain`` without the name of the split."""
    domain = row.get("domain")
    return "" if domain is None else _SPLIT.sub("", text(domain, "domain"))


FORMATS = (
    PairFormat(
        name="shp",
        keys=("history", "human_ref_A", "human_ref_B", "labels"),
        optional=("domain",),
        prompt="history",
        responses=("human_ref_A", "human_ref_B"),
        better=_preference,
        ratings=(Rating("score", ("score_A", "score_B"), agrees=True),),
        source_from=_subreddit,
    ),
)
