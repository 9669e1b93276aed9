"""Formats that are declared by their columns: two compared responses, or one response with ratings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import final

from plaudit.data.reading.sources import fields
from plaudit.data.reading.sources.fields import Row, UnusableRowError
from plaudit.data.reading.sources.source import AbstractFormat, RowOptions
from plaudit.data.schema.group import Group, Message, Preference
from plaudit.errors import DataError

Turns = tuple[Message, ...]
Ratings = Mapping[str, tuple[float | None, ...]]


@final
@dataclass(frozen=True, slots=True)
class Choice:
    """A column that says which response is better, by the label of the first or of the second one."""

    column: str
    labels: tuple[int | str, int | str]

    def preference(self, row: Row) -> Preference:
        """Return the preference for the response that the row names."""
        better = fields.place(fields.required(row, self.column), self.column, self.labels)
        return Preference(better, 1 - better)


@final
@dataclass(frozen=True, slots=True)
class Rating:
    """A rating: its attribute, one column for each response, and how a value is read.

    With ``agrees`` a row whose better response has the lower rating is unusable. With ``margin`` the difference of the
    two ratings is the margin of the preference. With ``needed`` each column must hold a value.
    """

    attribute: str
    columns: tuple[str, ...]
    read: Callable[[object, str], float | None] = fields.number
    agrees: bool = False
    margin: bool = False
    needed: bool = False

    def values(self, row: Row) -> tuple[float | None, ...]:
        """Return the rating of each response, None where the row has none."""
        values = tuple(self.read(row.get(name), name) for name in self.columns)
        for name, value in zip(self.columns, values, strict=True):
            if self.needed and value is None:
                fields.required({**row, name: None}, name)
        return values


def _turns(prompt: str | Callable[[Row], Turns], row: Row) -> Turns:
    return fields.question(row, prompt) if isinstance(prompt, str) else prompt(row)


def _rated_columns(ratings: tuple[Rating, ...] | Callable[[Row], Ratings]) -> tuple[str, ...]:
    return () if callable(ratings) else tuple(name for rating in ratings for name in rating.columns)


def _names(*declared: object) -> tuple[str, ...]:
    """Return the names of columns among ``declared``: strings and tuples of strings; functions name none."""
    names: list[str] = []
    for each in declared:
        names += [each] if isinstance(each, str) else each if isinstance(each, tuple) else []
    return tuple(names)


@final
@dataclass(frozen=True, kw_only=True)
class PairFormat(AbstractFormat):
    """Rows of one prompt, two responses and which of them is better.

    ``prompt`` is a column of text, one user turn, or a function of the row; ``responses`` are two columns of text, or a
    function of the row. ``sides`` stands for both where they can only be told together. ``better`` says which response
    is preferred: a ``Choice``, or a function of the row; without it the first one is, with a margin in the column
    ``margin``. ``outcomes`` are those of the two responses in every row. ``source_from``, a column or a function, is
    the source of a row without one.
    """

    prompt: str | Callable[[Row], Turns] = "prompt"
    responses: tuple[str, str] | Callable[[Row], tuple[str, str]] = ("chosen", "rejected")
    sides: Callable[[Row], tuple[Turns, str, str]] | None = None
    better: Choice | Callable[[Row], Preference] | None = None
    margin: str | None = None
    ratings: tuple[Rating, ...] | Callable[[Row], Ratings] = ()
    outcomes: tuple[bool, bool] | None = None
    source_from: str | Callable[[Row], str] | None = None

    @property
    def columns(self) -> tuple[Sequence[str], Sequence[str]]:
        """Return the columns of the prompt, the responses and the label; those of margin, ratings and source."""
        label = self.better.column if isinstance(self.better, Choice) else None
        needed = _names(label) if self.sides is not None else _names(self.prompt, self.responses, label)
        return needed, (*_names(self.margin, self.source_from), *_rated_columns(self.ratings))

    def read(self, row: Row, options: RowOptions) -> Group:
        """Return the group of one pair: two responses in the order of the columns, and one preference.

        Raises:
            DataError: naming the field.
            UnusableRowError: where a turn of the prompt is blank, the responses are the same, or the preferred one is
                rated lower.
        """
        prompt, first, second = self._sides(row)
        responses = fields.compared(first, second)
        preference = self._preference(row)
        if callable(self.ratings):
            ratings = self.ratings(row)
        else:
            ratings, preference = _rated(self.ratings, row, preference)
        return fields.group(self._named(row), prompt, responses, (preference,), ratings=ratings, outcomes=self.outcomes)

    def _sides(self, row: Row) -> tuple[Turns, str, str]:
        if self.sides is not None:
            return self.sides(row)
        prompt = _turns(self.prompt, row)
        if isinstance(self.responses, tuple):
            first, second = self.responses
            return prompt, fields.required_text(row, first), fields.required_text(row, second)
        return prompt, *self.responses(row)

    def _preference(self, row: Row) -> Preference:
        if self.better is None:
            return Preference(
                0, 1, margin=None if self.margin is None else fields.number(row.get(self.margin), self.margin)
            )
        return self.better.preference(row) if isinstance(self.better, Choice) else self.better(row)

    def _named(self, row: Row) -> Row:
        """Return the row with the id and the source that its group is to have."""
        identifier, source = fields.identity(row if self.takes_id else {"source": row.get("source")})
        origin = self.source_from
        if not source and origin is not None:
            given = "" if callable(origin) or row.get(origin) is None else row[origin]
            source = origin(row) if callable(origin) else fields.text(given, origin)
        return {"id": identifier, "source": source}


def _rated(ratings: tuple[Rating, ...], row: Row, preference: Preference) -> tuple[Ratings, Preference]:
    """Return the ratings that a pair has, and its preference with the margin that they give it."""
    found: dict[str, tuple[float | None, ...]] = {}
    for rating in ratings:
        values = rating.values(row)
        if values == (None, None):
            continue
        found[rating.attribute] = values
        higher, lower = values[preference.chosen], values[preference.rejected]
        if higher is None or lower is None:
            continue
        if rating.agrees and higher < lower:
            raise UnusableRowError("the label contradicts the ratings")
        if rating.margin:
            preference = replace(preference, margin=higher - lower)
    return found, preference


@final
@dataclass(frozen=True, kw_only=True)
class RatedFormat(AbstractFormat):
    """Rows of one prompt and one response with ratings.

    ``prompt`` and ``response`` are columns of text, or functions of the row. ``ratings`` are columns, or a function of
    the row; of columns that are not ``needed`` the row must have one at least, and null is a missing rating.
    """

    prompt: str | Callable[[Row], Turns] = "prompt"
    response: str | Callable[[Row], str] = "response"
    ratings: tuple[Rating, ...] | Callable[[Row], Ratings]

    @property
    def columns(self) -> tuple[Sequence[str], Sequence[str]]:
        """Return the columns of the prompt, the response and the ratings."""
        return (*_names(self.prompt, self.response), *_rated_columns(self.ratings)), ()

    def read(self, row: Row, options: RowOptions) -> Group:
        """Return the group of one response with its ratings.

        Raises:
            DataError: naming the field.
            UnusableRowError: where the prompt is blank.
        """
        prompt = _turns(self.prompt, row)
        name = self.response
        response = fields.required_text(row, name) if isinstance(name, str) else name(row)
        ratings = self.ratings(row) if callable(self.ratings) else _present(self.ratings, row)
        return fields.group(row, prompt, (response,), ratings=ratings)


def _present(ratings: tuple[Rating, ...], row: Row) -> Ratings:
    found = {each.attribute: each.values(row) for each in ratings if each.needed or row.keys() >= set(each.columns)}
    if not found:
        columns = _rated_columns(ratings)
        raise DataError(f"{columns[0]} is missing; the row needs at least one of: {', '.join(columns)}")
    return found
