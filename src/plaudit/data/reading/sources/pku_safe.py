"""PKU's sets on safety: two compared responses (PKU-SafeRLHF), or one with 14 categories of harm (BeaverTails).

Source: Ji et al. (2023), BeaverTails; Ji et al. (2024), PKU-SafeRLHF.
"""

from __future__ import annotations

from plaudit.data.reading.sources.declared import Choice, PairFormat, RatedFormat
from plaudit.data.reading.sources.fields import Row, found, mapping, number, outcome, place, required
from plaudit.data.reading.sources.source import ENTRIES
from plaudit.errors import DataError

CATEGORIES: tuple[str, ...] = tuple(ENTRIES["beavertails"]["attributes"])
_SAFE = ("is_response_0_safe", "is_response_1_safe")
_SEVERITIES = ("response_0_severity_level", "response_1_severity_level")


def _safety(row: Row) -> dict[str, tuple[float | None, ...]]:
    """Return the safety of two responses.

    The two preferences of a row may contradict each other, so only helpfulness is its preference. ``safer`` is 1 for
    the safer response and 0 for the other, ``safe`` is 1 or 0 for each, and ``severity_level`` is 0 (none) to 3
    (severe), where the row has it. The categories of harm are not read.
    """
    safer = place(required(row, "safer_response_id"), "safer_response_id", (0, 1))
    ratings: dict[str, tuple[float | None, ...]] = {"safer": (float(safer == 0), float(safer == 1))}
    safe = tuple(outcome(row.get(name), name) for name in _SAFE)
    if safe != (None, None):
        ratings["safe"] = tuple(None if value is None else float(value) for value in safe)
    severities = tuple(number(row.get(name), name) for name in _SEVERITIES)
    if severities != (None, None):
        ratings["severity_level"] = severities
    return ratings


def _harm(row: Row) -> dict[str, tuple[float | None, ...]]:
    """Return 15 ratings of one response: ``is_safe`` is 1 for a safe one; a category is 1 where it falls into it."""
    category = mapping(required(row, "category"), "category")
    for name in category:
        if name not in CATEGORIES:
            raise DataError(f"category has the unknown field {found(name)}; allowed: {'; '.join(CATEGORIES)}")
    flags = {"is_safe": _flag(row, "is_safe", "")} | {name: _flag(category, name, "category.") for name in CATEGORIES}
    return {name: (flag,) for name, flag in flags.items()}


def _flag(row: Row, name: str, inside: str) -> float:
    return 1.0 if outcome(required(row, name, inside), f"{inside}{name}") else 0.0


FORMATS = (
    PairFormat(
        name="safe_rlhf",
        keys=("prompt", "response_0", "response_1", "better_response_id", "safer_response_id"),
        optional=(*_SAFE, *_SEVERITIES),
        responses=("response_0", "response_1"),
        better=Choice("better_response_id", (0, 1)),
        ratings=_safety,
    ),
    # Several workers may have labelled one response, so that rows of BeaverTails are not joined.
    RatedFormat(
        name="beavertails",
        keys=("prompt", "response", "category", "is_safe"),
        shown=lambda row: isinstance(row.get("category"), dict) and row.keys() >= {"prompt", "response", "is_safe"},
        ratings=_harm,
    ),
)
