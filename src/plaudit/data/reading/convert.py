"""One block of raw rows into Arrow: the part of reading that can run in several processes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import pyarrow as pa

from plaudit.data.reading.files import Content, parse
from plaudit.data.reading.joining import check_joins, joined, same_prompt
from plaudit.data.reading.sources.fields import Row, UnusableRowError
from plaudit.data.reading.sources.formats import Format, fields_of, group_from_row, joins_rows
from plaudit.data.schema.columns import batch_of, with_identity
from plaudit.data.schema.group import Group
from plaudit.data.schema.pairing import Pairs, derived
from plaudit.errors import DataError

OnError = Literal["raise", "skip"]
Value = str | bool | int | float


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive rows of one file, and what groups without an id or source are given."""

    path: str
    prefix: str
    source: str
    override_source: bool
    format: Format
    step_separator: str
    columns: tuple[str, ...]
    ranks_from: str | None
    pairs: Pairs
    where: tuple[tuple[str, Value], ...]
    group_by_prompt: bool
    on_error: OnError
    rows: Sequence[tuple[int, Content]]

    @property
    def joins(self) -> bool:
        """Return whether rows of one prompt that stand one after the other make one group."""
        return self.group_by_prompt or joins_rows(self.format)


@dataclass(frozen=True, slots=True)
class Drop:
    """A row left out: ``place`` counts the rows of the block up to and with it."""

    place: int
    number: int
    reason: str
    detail: str


@dataclass(slots=True)
class Converted:
    """The groups of a block as Arrow.

    Group i was row number ``numbers[i]``, and ``joined[i]`` rows after it joined it; the last of them was row
    ``places[i]`` of the block.
    """

    batch: pa.RecordBatch
    numbers: list[int] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    joined: list[int] = field(default_factory=list)
    given_ids: list[str | None] = field(default_factory=list)
    drops: list[Drop] = field(default_factory=list)
    ignored_fields: set[str] = field(default_factory=set)
    error: str | None = None
    rows: int = 0


def convert(block: Block) -> Converted:
    """Return the groups of a block; with ``on_error="raise"`` it ends before the first malformed row."""
    result = Converted(batch_of([]))
    known = fields_of(block.format, block.columns)
    runs: list[list[Group]] = []
    for place, (number, content) in enumerate(block.rows, start=1):
        result.rows = place
        try:
            row = parse(content)
            if not known.issuperset(row):
                result.ignored_fields.update(name for name in row if name not in known)
            other = _unwanted(row, block.where)
            if other is not None:
                result.drops.append(Drop(place, number, other, other))
                continue
            group = group_from_row(row, block.format, block.step_separator, block.columns)
            named = _named(group, block, number)
            may_join = block.group_by_prompt or (block.joins and not group.id)
            has_company = may_join and bool(runs) and same_prompt(runs[-1][0], named)
            if has_company:
                check_joins(runs[-1][-1], named)
        except UnusableRowError as error:
            result.drops.append(Drop(place, number, error.reason, error.reason))
        except DataError as error:
            if block.on_error == "raise":
                result.error = f"{block.path}:{number}: {error}"
                if block.joins and runs:
                    _forget_last(result, runs)
                break
            result.drops.append(Drop(place, number, f"malformed {_field(str(error))}", str(error)))
        else:
            if has_company:
                runs[-1].append(named)
                result.places[-1] = place
                result.joined[-1] += 1
                continue
            runs.append([named])
            result.given_ids.append(group.id or None)
            result.numbers.append(number)
            result.places.append(place)
            result.joined.append(0)
    result.batch = batch_of([derived(joined(run), ranks_from=block.ranks_from, pairs=block.pairs) for run in runs])
    return result


def _unwanted(row: Row, where: Sequence[tuple[str, Value]]) -> str | None:
    """Return which of the wanted values ``row`` does not have, or None where it has all of them.

    Raises:
        DataError: where the row has no such column.
    """
    for name, value in where:
        if name not in row:
            raise DataError(f"{name} is missing; where asks for it, and the row has: {', '.join(map(str, row))}")
        if row[name] != value or isinstance(row[name], bool) is not isinstance(value, bool):
            return f"{name} is not {value!r}"
    return None


def continues(block: Block, rows: Sequence[tuple[int, Content]], later: Content) -> bool | None:
    """Return whether ``later`` is of the prompt of the last usable row of ``rows``, which stand before it.

    Then no border of blocks may come between them. None where it cannot be told: ``later`` is not usable, or no row
    before it is.
    """
    following = _read(block, later)
    if following is None:
        return None
    for _, content in reversed(rows):
        before = _read(block, content)
        if before is not None:
            return same_prompt(before, following)
    return None


def _read(block: Block, content: Content) -> Group | None:
    try:
        row = parse(content)
        if _unwanted(row, block.where) is not None:
            return None
        group = group_from_row(row, block.format, block.step_separator, block.columns)
    except DataError:
        return None
    return _named(group, block, 0)


def _forget_last(result: Converted, runs: list[list[Group]]) -> None:
    """Leave out the last group, which the row that cannot be read may have belonged to."""
    runs.pop()
    for values in (result.given_ids, result.numbers, result.places, result.joined):
        values.pop()


def _named(group: Group, block: Block, number: int) -> Group:
    source = block.source if block.override_source else group.source or block.source
    return with_identity(group, group.id or f"{block.prefix}:{number}", source)


def _field(message: str) -> str:
    """Return the field that an error message opens with, without positions: ``prompt[].role``."""
    return re.sub(r"\[[^\]]*\]", "[]", message.split(" ", 1)[0].rstrip(":"))
