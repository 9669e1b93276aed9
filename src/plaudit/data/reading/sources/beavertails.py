"""BeaverTails rows: one response, whether it is safe, and which of 14 harm categories it falls into."""

from __future__ import annotations

from plaudit.data.reading.sources.fields import (
    Row,
    UnusableRowError,
    found,
    identity,
    mapping,
    outcome,
    question,
    required,
    text,
)
from plaudit.data.schema.group import Group
from plaudit.errors import DataError

FIELDS = frozenset({"prompt", "response", "category", "is_safe", "id", "source"})

CATEGORIES = (
    "animal_abuse",
    "child_abuse",
    "controversial_topics,politics",
    "discrimination,stereotype,injustice",
    "drug_abuse,weapons,banned_substance",
    "financial_crime,property_crime,theft",
    "hate_speech,offensive_language",
    "misinformation_regarding_ethics,laws_and_safety",
    "non_violent_unethical_behavior",
    "privacy_violation",
    "self_harm",
    "sexually_explicit,adult_content",
    "terrorism,organized_crime",
    "violence,aiding_and_abetting,incitement",
)
SAFE = "is_safe"


def is_labelled(row: Row) -> bool:
    """Return whether ``row`` has a prompt, a response, harm categories and ``is_safe``."""
    return isinstance(row.get("category"), dict) and row.keys() >= {"prompt", "response", SAFE}


def group_from_row(row: Row) -> Group:
    """Return the group of ``{prompt, response, category, is_safe}``: one response with 15 ratings of 1 or 0.

    ``is_safe`` is 1 for a safe response; a category is 1 where the response falls into it. Several workers may
    have labelled one response, so that rows are not joined.
    Source: Ji et al. (2023), BeaverTails.

    Raises:
        DataError: naming the field; also for a category that is missing, or none of the 14.
        UnusableRowError: where the prompt or the response is blank.
    """
    prompt = question(row, "prompt")
    response = text(required(row, "response"), "response")
    if not response.strip():
        raise UnusableRowError("empty response")
    category = mapping(required(row, "category"), "category")
    for name in category:
        if name not in CATEGORIES:
            raise DataError(f"category has the unknown field {found(name)}; allowed: {'; '.join(CATEGORIES)}")
    ratings = {SAFE: (_flag(row, SAFE, ""),)} | {name: (_flag(category, name, "category."),) for name in CATEGORIES}
    identifier, source = identity(row)
    return Group(prompt, (response,), ratings=ratings, id=identifier, source=source)


def _flag(row: Row, name: str, inside: str) -> float:
    return 1.0 if outcome(required(row, name, inside), f"{inside}{name}") else 0.0
