"""PKU-SafeRLHF rows: two responses, which one helps more, which one is safer, and whether each is safe at all."""

from __future__ import annotations

from plaudit.data.reading.sources.fields import (
    Row,
    compared,
    found,
    identity,
    number,
    outcome,
    question,
    required,
    text,
    whole,
)
from plaudit.data.schema.group import Group, Preference
from plaudit.errors import DataError

RESPONSES = ("response_0", "response_1")
SAFE = ("is_response_0_safe", "is_response_1_safe")
SEVERITIES = ("response_0_severity_level", "response_1_severity_level")
IDS = ("better_response_id", "safer_response_id")
FIELDS = frozenset({"prompt", *RESPONSES, *SAFE, *SEVERITIES, *IDS, "id", "source"})


def is_pair(row: Row) -> bool:
    """Return whether ``row`` has two numbered responses and says which one is better and which one safer."""
    return row.keys() >= {"prompt", *RESPONSES, *IDS}


def group_from_row(row: Row) -> Group:
    """Return the group of one pair: responses (0, 1), the preference for the more helpful one, and safety as ratings.

    The two preferences of a row may contradict each other, so only helpfulness is the ``preference``. Safety is in the
    ratings: ``safer`` is 1 for the safer response and 0 for the other, ``safe`` is 1 or 0 for each, and
    ``severity_level`` is 0 (none) to 3 (severe), where the row has it. The categories of harm are not read.
    Source: Ji et al. (2023), BeaverTails; Ji et al. (2024), PKU-SafeRLHF.

    Raises:
        DataError: naming the field.
        UnusableRowError: where the prompt or a response is blank, or the responses are the same.
    """
    prompt = question(row, "prompt")
    responses = compared(*(text(required(row, name), name) for name in RESPONSES))
    better, safer = (_response(row, name) for name in IDS)
    ratings: dict[str, tuple[float | None, ...]] = {"safer": (float(safer == 0), float(safer == 1))}
    safe = tuple(outcome(row.get(name), name) for name in SAFE)
    if safe != (None, None):
        ratings["safe"] = tuple(None if value is None else float(value) for value in safe)
    severities = tuple(number(row.get(name), name) for name in SEVERITIES)
    if severities != (None, None):
        ratings["severity_level"] = severities
    identifier, source = identity(row)
    return Group(prompt, responses, (Preference(better, 1 - better),), ratings=ratings, id=identifier, source=source)


def _response(row: Row, name: str) -> int:
    value = required(row, name)
    index = whole(value, name)
    if index not in (0, 1):
        raise DataError(f"{name} is {found(value)}; allowed: 0 or 1")
    return index
