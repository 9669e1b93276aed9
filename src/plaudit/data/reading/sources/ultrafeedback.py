"""UltraFeedback rows: one instruction, its responses, and what GPT-4 said of each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from plaudit.data.reading.sources.fields import (
    Row,
    UnusableRowError,
    found,
    identity,
    is_list,
    items,
    mapping,
    number,
    question,
    required,
    text,
)
from plaudit.data.schema.group import Group
from plaudit.errors import DataError

ASPECTS = ("helpfulness", "honesty", "instruction_following", "truthfulness")
SCORES = ("overall_score", "fine-grained_score")
FIELDS = frozenset({"instruction", "completions", "id", "source"})

_UNKNOWN = "N/A"


def is_annotated(row: Row) -> bool:
    """Return whether ``row`` has an instruction and completions that carry annotations."""
    completions = row.get("completions")
    if row.get("instruction") is None or not is_list(completions) or not completions:
        return False
    return isinstance(completions[0], Mapping) and completions[0].keys() >= {"response", "annotations"}


def group_from_row(row: Row) -> Group:
    """Return the group of all completions of an instruction, with up to six ratings of each.

    ``helpfulness``, ``honesty``, ``instruction_following`` and ``truthfulness`` are ratings from 1 to 5, given as
    text; ``N/A`` is a missing one. ``overall_score`` (1 to 10) and ``fine-grained_score`` (the mean of the four) are
    numbers. An attribute that no response has is left out. The system prompt that each response was sampled with
    differs from one to the next, so it is no part of the prompt. Source: Cui et al. (2023), UltraFeedback.

    Raises:
        DataError: naming the completion and the field.
        UnusableRowError: where the instruction or a response is blank, or there is no response.
    """
    prompt = question(row, "instruction")
    completions = [
        mapping(entry, f"completions[{index}]")
        for index, entry in enumerate(items(required(row, "completions"), "completions"))
    ]
    if not completions:
        raise UnusableRowError("no response to the prompt")
    responses = [
        text(required(entry, "response", f"completions[{index}]."), f"completions[{index}].response")
        for index, entry in enumerate(completions)
    ]
    if not all(response.strip() for response in responses):
        raise UnusableRowError("empty response")
    identifier, source = identity(row)
    return Group(prompt, tuple(responses), ratings=_ratings(completions), id=identifier, source=source)


def _ratings(completions: Sequence[Mapping[str, object]]) -> dict[str, tuple[float | None, ...]]:
    ratings = {
        aspect: tuple(_aspect(entry, aspect, f"completions[{index}]") for index, entry in enumerate(completions))
        for aspect in ASPECTS
    } | {
        score: tuple(
            number(entry.get(score), f"completions[{index}].{score}") for index, entry in enumerate(completions)
        )
        for score in SCORES
    }
    return {name: values for name, values in ratings.items() if any(value is not None for value in values)}


def _aspect(entry: Mapping[str, object], aspect: str, place: str) -> float | None:
    annotations = entry.get("annotations")
    if annotations is None:
        return None
    given = mapping(annotations, f"{place}.annotations").get(aspect)
    if given is None:
        return None
    name = f"{place}.annotations.{aspect}"
    rating = mapping(given, name).get("Rating")
    if rating is None or rating == _UNKNOWN:
        return None
    if isinstance(rating, str):
        try:
            rating = float(rating)
        except ValueError:
            raise DataError(f"{name}.Rating is {found(rating)}; it must be a number or {_UNKNOWN!r}") from None
    return number(rating, f"{name}.Rating")
