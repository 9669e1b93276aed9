"""One prompt with K responses that carry ratings, scores or ranks; no preferences are made up from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from plaudit.data.reading.sources.fields import (
    Row,
    identity,
    items,
    mapping,
    number,
    one_of,
    prompt,
    required,
    same_length,
    whole,
)
from plaudit.data.reading.sources.fields import response as response_text
from plaudit.data.schema.group import Group
from plaudit.errors import DataError

FIELDS = frozenset({"prompt", "responses", "ranks", "scores", "ratings", "id", "source"})

_Ratings = dict[str, list[float | None]]


def group_from_row(row: Row) -> Group:
    """Return the group of ``{prompt, responses}`` with its ranks and ratings.

    Each response is a string or an object with its text under ``text``, ``content`` or ``response`` and,
    optionally, ``ratings`` ({attribute: number}), ``score`` and ``rank``. The row may have ``ranks``,
    ``scores`` and ``ratings`` ({attribute: one number per response}, or one {attribute: number} per
    response). A score becomes the rating attribute ``score``; an attribute that a response lacks is None.

    Raises:
        DataError: naming the field; also where a label is given both in the row and in its responses.
    """
    entries = items(required(row, "responses"), "responses")
    identifier, source = identity(row)
    ratings = _entry_ratings(entries)
    for attribute, values in _row_ratings(row, len(entries)).items():
        if attribute in ratings:
            raise DataError(f"ratings[{attribute!r}] is given both in the row and in its responses")
        ratings[attribute] = values
    return Group(
        prompt(row),
        tuple(texts(entries)),
        ranks=_ranks(row, entries),
        ratings={attribute: tuple(values) for attribute, values in ratings.items()},
        id=identifier,
        source=source,
    )


def texts(entries: Sequence[object]) -> list[str]:
    """Return the text of each entry of ``responses``: a string, a message list or an object with one."""
    result = []
    for index, entry in enumerate(entries):
        name = f"responses[{index}]"
        if isinstance(entry, Mapping):
            try:
                key, entry = one_of(entry, ("text", "content", "response"))
            except DataError as error:
                raise DataError(f"{name}.{error}") from None
            name = f"{name}.{key}"
        result.append(response_text(entry, name))
    return result


def _entry_ratings(entries: Sequence[object]) -> _Ratings:
    ratings: _Ratings = {}
    for index, entry in enumerate(entries):
        if not isinstance(entry, Mapping):
            continue
        given = entry.get("ratings")
        if given is not None:
            _add(ratings, given, index, len(entries), f"responses[{index}].ratings")
        if entry.get("score") is not None:
            values = _column(ratings, "score", len(entries))
            if values[index] is not None:
                raise DataError(f"responses[{index}].score is given twice, as a score and as a rating")
            values[index] = number(entry["score"], f"responses[{index}].score")
    return ratings


def _column(ratings: _Ratings, attribute: str, count: int) -> list[float | None]:
    if attribute not in ratings:
        ratings[attribute] = [None] * count
    return ratings[attribute]


def _add(ratings: _Ratings, given: object, index: int, count: int, name: str) -> None:
    for attribute, value in mapping(given, name).items():
        values = _column(ratings, attribute, count)
        values[index] = number(value, f"{name}[{attribute!r}]")


def _row_ratings(row: Row, count: int) -> _Ratings:
    ratings: _Ratings = {}
    given = row.get("ratings")
    if isinstance(given, Mapping):
        for attribute, values in given.items():
            if values is not None:
                ratings[attribute] = _numbers(values, count, f"ratings[{attribute!r}]")
    elif given is not None:
        entries = items(given, "ratings")
        same_length(entries, count, "ratings", "responses")
        for index, entry in enumerate(entries):
            if entry is not None:
                _add(ratings, entry, index, count, f"ratings[{index}]")
    if row.get("scores") is not None:
        if "score" in ratings:
            raise DataError("scores and ratings['score'] are both given; only one of them may be")
        ratings["score"] = _numbers(row["scores"], count, "scores")
    return ratings


def _numbers(values: object, count: int, name: str) -> list[float | None]:
    entries = items(values, name)
    same_length(entries, count, name, "responses")
    return [number(value, f"{name}[{index}]") for index, value in enumerate(entries)]


def _ranks(row: Row, entries: Sequence[object]) -> tuple[int | None, ...] | None:
    own = [entry.get("rank") if isinstance(entry, Mapping) else None for entry in entries]
    has_own = any(rank is not None for rank in own)
    if row.get("ranks") is None:
        if not has_own:
            return None
        return tuple(whole(rank, f"responses[{index}].rank") for index, rank in enumerate(own))
    if has_own:
        raise DataError("ranks is given both in the row and in its responses")
    ranks = items(row["ranks"], "ranks")
    same_length(ranks, len(entries), "ranks", "responses")
    return tuple(whole(rank, f"ranks[{index}]") for index, rank in enumerate(ranks))
