"""Prometheus's collections: one response with a score from 1 to 5 on its rubric, or two and which one is better.

Scores are whole numbers, as numbers or as digits; those of a pair may be missing. Rubric, reference answer and feedback
have no place in a group; ``instruction`` and ``output`` are the judge's prompt and answer, made of the other fields.
Source: Kim et al. (2023), Prometheus; Kim et al. (2024), Prometheus 2.
"""

from __future__ import annotations

from functools import partial

from plaudit.data.reading.sources.declared import Choice, PairFormat, RatedFormat, Rating
from plaudit.data.reading.sources.fields import on_scale

_SCORE = partial(on_scale, lowest=1, highest=5)

FORMATS = (
    RatedFormat(
        name="feedback_collection",
        prompt="orig_instruction",
        response="orig_response",
        ratings=(Rating("score", ("orig_score",), _SCORE, needed=True),),
        joins=True,
    ),
    PairFormat(
        name="preference_collection",
        prompt="orig_instruction",
        responses=("orig_response_A", "orig_response_B"),
        better=Choice("orig_preference", ("A", "B")),
        ratings=(Rating("score", ("orig_score_A", "orig_score_B"), _SCORE, agrees=True),),
    ),
)
