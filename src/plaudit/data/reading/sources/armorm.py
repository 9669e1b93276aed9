"""ArmoRM's multi-objective data: one response with the labels of 19 attributes, most of them null."""

from __future__ import annotations

from plaudit.data.reading.sources import attributes
from plaudit.data.reading.sources.fields import Row, UnusableRowError
from plaudit.data.schema.group import Group

ATTRIBUTES = (
    "helpsteer-helpfulness",
    "helpsteer-correctness",
    "helpsteer-coherence",
    "helpsteer-complexity",
    "helpsteer-verbosity",
    "ultrafeedback-overall_score",
    "ultrafeedback-instruction_following",
    "ultrafeedback-truthfulness",
    "ultrafeedback-honesty",
    "ultrafeedback-helpfulness",
    "beavertails-is_safe",
    "prometheus-score",
    "argilla-overall_quality",
    "argilla-judge_lm",
    "code-complexity",
    "code-style",
    "code-explanation",
    "code-instruction-following",
    "code-readability",
)
"""In the order of the official code, which is the order of the heads of ArmoRM."""

FIELDS = frozenset({"messages", *ATTRIBUTES, "id", "source"})


def is_rated(row: Row) -> bool:
    """Return whether ``row`` has a conversation and a place for each of the 19 attributes."""
    return row.keys() >= {"messages", *ATTRIBUTES}


def group_from_row(row: Row) -> Group:
    """Return the group of one conversation, its last message as the response, with 19 ratings; null is None.

    The labels come from several data sets, and each was mapped to 0 … 1 by its publisher.
    Source: Wang et al. (2024), ArmoRM.

    Raises:
        DataError: naming the field.
        UnusableRowError: where the last message is not the assistant's, or blank, or no attribute is rated.
    """
    group = attributes.group_from_row(row, ATTRIBUTES)
    if all(value is None for values in group.ratings.values() for value in values):
        raise UnusableRowError("no rating is given")
    return group
