"""UltraFeedback rows: one instruction, its responses, and GPT-4's ratings of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from plaudit.data.reading.sources import fields
from plaudit.data.reading.sources.fields import Row
from plaudit.data.reading.sources.source import CodeFormat, RowOptions
from plaudit.data.schema.group import Group
from plaudit.errors import DataError

ASPECTS = ("helpfulness", "honesty", "instruction_following", "truthfulness")
SCORES = ("overall_score", "fine-grained_score")

_UNKNOWN = "N/A"


def read(row: Row, options: RowOptions) -> Group:
    """Return the group of all completions of an instruction, with up to six ratings of each.

    ``helpfulness``, ``honesty``, ``instruction_following`` and ``truthfulness`` are ratings from 1 to 5, given as
    text; ``N/A`` is a missing one. ``overall_score`` (1 to 10) and ``fine-grained_score`` (the mean of the four) are
    numbers. An attribute that no response has is left out. The system prompt that each response was sampled with
    differs from one to the next, so it is no part of the prompt. Source: Cui et al. (2023), UltraFeedback.

    Raises:
        DataError: naming the completion and the field.
        UnusableRowError: where the instruction or a response is blank, or there is no response.
    """
    prompt = fields.question(row, "instruction")
    completions, responses = fields.answers(row, "completions", "response")
    return fields.group(row, prompt, responses, ratings=_ratings(completions))


def _ratings(completions: Sequence[Mapping[str, object]]) -> dict[str, tuple[float | None, ...]]:
    ratings = {
        aspect: tuple(_aspect(entry, aspect, f"completions[{index}]") for index, entry in enumerate(completions))
        for aspect in ASPECTS
    } | {
        score: tuple(
            fields.number(entry.get(score), f"completions[{index}].{score}") for index, entry in enumerate(completions)
        )
        for score in SCORES
    }
    return {name: values for name, values in ratings.items() if any(value is not None for value in values)}


def _aspect(entry: Mapping[str, object], aspect: str, place: str) -> float | None:
    annotations = entry.get("annotations")
    if annotations is None:
        return None
    given = fields.mapping(annotations, f"{place}.annotations").get(aspect)
    if given is None:
        return None
    name = f"{place}.annotations.{aspect}"
    rating = fields.mapping(given, name).get("Rating")
    if rating is None or rating == _UNKNOWN:
        return None
    if isinstance(rating, str):
        try:
            rating = float(rating)
        except ValueError:
            raise DataError(f"{name}.Rating is {fields.found(rating)}; it must be a number or {_UNKNOWN!r}") from None
    return fields.number(rating, f"{name}.Rating")


def _shows_annotations(row: Row) -> bool:
    completions = row.get("completions")
    if row.get("instruction") is None or not fields.is_list(completions) or not completions:
        return False
    return isinstance(completions[0], Mapping) and completions[0].keys() >= {"response", "annotations"}


FORMATS = (
    CodeFormat(
        name="ultrafeedback",
        optional=("instruction", "completions"),
        shown=_shows_annotations,
        reader=read,
    ),
)
