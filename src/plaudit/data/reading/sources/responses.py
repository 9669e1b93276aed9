"""One prompt with K responses that carry ratings, scores, ranks, outcomes or no label; none is made up from another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from plaudit.data.reading.sources import fields
from plaudit.data.reading.sources.fields import Row
from plaudit.data.reading.sources.source import CodeFormat, RowOptions
from plaudit.data.schema.group import Group, Message
from plaudit.data.schema.turns import are_turns
from plaudit.errors import DataError

RESPONSE_FIELDS = ("response", "responses", "completion", "completions")
_PLURAL = ("responses", "completions")
_CONVERSATIONS = ("messages", "conversations")
_NUMBERS = ("score", "rating", "reward")
LABEL_FIELDS = ("label", "labels", "correct")

_Ratings = dict[str, list[float | None]]


def read_rated(row: Row, options: RowOptions) -> Group:
    """Return the group of ``{prompt, responses}`` with its ranks and ratings.

    Each response is a string or an object with its text under ``text``, ``content`` or ``response`` and,
    optionally, ``ratings`` ({attribute: number}), ``score`` and ``rank``. The row may have ``ranks``,
    ``scores`` and ``ratings`` ({attribute: one number per response}, or one {attribute: number} per
    response). A score becomes the rating attribute ``score``; an attribute that a response lacks is None.

    Raises:
        DataError: naming the field; also where a label is given both in the row and in its responses.
    """
    entries = fields.items(fields.required(row, "responses"), "responses")
    ratings = _entry_ratings(entries)
    for attribute, values in _row_ratings(row, len(entries)).items():
        if attribute in ratings:
            raise DataError(f"ratings[{attribute!r}] is given both in the row and in its responses")
        ratings[attribute] = values
    return fields.group(
        row,
        fields.prompt(row),
        fields.each(entries, "responses", _text),
        ranks=_ranks(row, entries),
        ratings={attribute: tuple(values) for attribute, values in ratings.items()},
    )


def _text(entry: object, name: str) -> str:
    """Return the text of a response: a string, a message list or an object with one."""
    if isinstance(entry, Mapping):
        try:
            key, entry = fields.one_of(entry, ("text", "content", "response"))
        except DataError as error:
            raise DataError(f"{name}.{error}") from None
        name = f"{name}.{key}"
    return fields.response(entry, name)


def _entry_ratings(entries: Sequence[object]) -> _Ratings:
    rated = []
    for index, entry in enumerate(entries):
        name = f"responses[{index}]"
        own = _of_response(entry.get("ratings"), f"{name}.ratings") if isinstance(entry, Mapping) else {}
        if isinstance(entry, Mapping) and entry.get("score") is not None:
            if own.get("score") is not None:
                raise DataError(f"{name}.score is given twice, as a score and as a rating")
            own["score"] = fields.number(entry["score"], f"{name}.score")
        rated.append(own)
    return _by_attribute(rated)


def _of_response(given: object, name: str) -> dict[str, float | None]:
    """Return the ratings of one response; null is none."""
    entries: Mapping[str, object] = {} if given is None else fields.mapping(given, name)
    return {attribute: fields.number(value, f"{name}[{attribute!r}]") for attribute, value in entries.items()}


def _by_attribute(rated: Sequence[Mapping[str, float | None]]) -> _Ratings:
    attributes = dict.fromkeys(attribute for own in rated for attribute in own)
    return {attribute: [own.get(attribute) for own in rated] for attribute in attributes}


def _row_ratings(row: Row, count: int) -> _Ratings:
    ratings: _Ratings = {}
    given = row.get("ratings")
    if isinstance(given, Mapping):
        for attribute, values in given.items():
            if values is not None:
                ratings[attribute] = _numbers(values, count, f"ratings[{attribute!r}]")
    elif given is not None:
        fields.same_length(fields.items(given, "ratings"), count, "ratings", "responses")
        ratings = _by_attribute(fields.each(given, "ratings", _of_response))
    if row.get("scores") is not None:
        if "score" in ratings:
            raise DataError("scores and ratings['score'] are both given; only one of them may be")
        ratings["score"] = _numbers(row["scores"], count, "scores")
    return ratings


def _numbers(values: object, count: int, name: str) -> list[float | None]:
    numbers = fields.each(values, name, fields.number)
    fields.same_length(numbers, count, name, "responses")
    return list(numbers)


def _ranks(row: Row, entries: Sequence[object]) -> tuple[int | None, ...] | None:
    own = [entry.get("rank") if isinstance(entry, Mapping) else None for entry in entries]
    has_own = any(rank is not None for rank in own)
    if row.get("ranks") is None:
        if not has_own:
            return None
        return tuple(fields.whole(rank, f"responses[{index}].rank") for index, rank in enumerate(own))
    if has_own:
        raise DataError("ranks is given both in the row and in its responses")
    ranks = fields.each(row["ranks"], "ranks", fields.whole)
    fields.same_length(ranks, len(entries), "ranks", "responses")
    return ranks


def read_outcomes(row: Row, options: RowOptions) -> Group:
    """Return the group of one response, or of K, with one outcome each.

    The responses stand under ``response``, ``responses``, ``completion`` or ``completions``, or one is the last turn of
    ``messages`` or ``conversations``. The outcomes (true, false, 1, 0 or null) stand under ``label``, ``labels`` or
    ``correct``: a list for a list, one for one.

    Raises:
        DataError: naming the field.
    """
    name, prompt, responses = _answered(row)
    plural = name in _PLURAL
    label_name, labels = _labels(row)
    if fields.is_list(labels) != plural:
        raise DataError(
            f"{label_name} is {'a list' if fields.is_list(labels) else 'one value'}; "
            f"{name} needs {'one label per response' if plural else 'one label'}"
        )
    outcomes = labels if fields.is_list(labels) else [labels]
    fields.same_length(outcomes, len(responses), label_name, "responses")
    return fields.group(
        row,
        prompt,
        responses,
        outcomes=tuple(fields.outcome(value, f"{label_name}[{index}]") for index, value in enumerate(outcomes)),
    )


def _answered(row: Row) -> tuple[str, tuple[Message, ...], tuple[str, ...]]:
    """Return the field of the responses, the prompt, and the responses: K of them, or that of a conversation."""
    present = [name for name in _PLURAL if row.get(name) is not None]
    if present:
        name, given = fields.one_of(row, (*RESPONSE_FIELDS, *_CONVERSATIONS))
        return name, fields.prompt(row), fields.each(given, "responses", _text)
    prompt, response = fields.answered(row)
    return "response", prompt, (response,)


def read_conversation(row: Row, options: RowOptions) -> Group:
    """Return the group of a conversation whose last turn is the response, or of a prompt with its completions.

    A number under ``score``, ``rating`` or ``reward`` is a rating of that name; without any there is no label.

    Raises:
        DataError: naming the field.
        UnusableRowError: where the last message is not the assistant's.
    """
    name, prompt, responses = _answered(row)
    ratings: dict[str, tuple[float | None, ...]] = {}
    for attribute in _NUMBERS:
        given = row.get(attribute)
        if given is not None:
            values = given if name in _PLURAL else [given]
            ratings[attribute] = tuple(_numbers(values, len(responses), attribute))
    return fields.group(row, prompt, responses, ratings=ratings)


def _is_conversation(row: Row) -> bool:
    return any(are_turns(row.get(name)) for name in _CONVERSATIONS)


def _shows_conversation(row: Row) -> bool:
    has_response = row.get("prompt") is not None and any(row.get(name) is not None for name in RESPONSE_FIELDS)
    return has_response or _is_conversation(row)


def _labels(row: Row) -> tuple[str, object]:
    """Return the field of the labels; here null is a value, and only an absent field is missing."""
    present = [name for name in LABEL_FIELDS if name in row]
    filled = [name for name in present if row[name] is not None]
    if len(filled) > 1:
        raise DataError(f"{filled[0]} and {filled[1]} are both given; only one of them may be")
    if not present:
        raise DataError(f"label is missing; the row needs one of: {', '.join(LABEL_FIELDS)}")
    name = (filled or present)[0]
    return name, row[name]


def _shows_outcomes(row: Row) -> bool:
    has_response = _is_conversation(row) or any(row.get(name) is not None for name in RESPONSE_FIELDS)
    return has_response and bool(row.keys() & set(LABEL_FIELDS))


FORMATS = (
    CodeFormat(
        name="outcome",
        optional=("prompt", *RESPONSE_FIELDS, *_CONVERSATIONS, *LABEL_FIELDS),
        shown=_shows_outcomes,
        reader=read_outcomes,
    ),
    CodeFormat(
        name="responses",
        optional=("prompt", "responses", "ranks", "scores", "ratings"),
        shown=lambda row: row.get("responses") is not None,
        reader=read_rated,
    ),
    CodeFormat(
        name="conversation",
        optional=("prompt", *RESPONSE_FIELDS, *_CONVERSATIONS, *_NUMBERS),
        shown=_shows_conversation,
        reader=read_conversation,
    ),
)
