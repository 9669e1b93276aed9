"""One block of raw rows into Arrow: the part of reading that can run in several processes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import pyarrow as pa

from plaudit.data.columns import batch_of, with_identity
from plaudit.data.files import Content, parse
from plaudit.data.group import Group
from plaudit.data.sources.fields import UnusableRowError
from plaudit.data.sources.formats import Format, fields_of, group_from_row
from plaudit.errors import DataError

OnError = Literal["raise", "skip"]


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive rows of one file, and what groups without an id or source are given."""

    path: str
    prefix: str
    source: str
    override_source: bool
    format: Format
    step_separator: str
    on_error: OnError
    rows: Sequence[tuple[int, Content]]


@dataclass(frozen=True, slots=True)
class Drop:
    """A row left out: ``place`` counts the rows of the block up to and with it."""

    place: int
    number: int
    reason: str
    detail: str


@dataclass(slots=True)
class Converted:
    """The groups of a block as Arrow; group i was row ``places[i]`` of the block, number ``numbers[i]``."""

    batch: pa.RecordBatch
    numbers: list[int] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    given_ids: list[str | None] = field(default_factory=list)
    drops: list[Drop] = field(default_factory=list)
    ignored_fields: set[str] = field(default_factory=set)
    error: str | None = None
    rows: int = 0


def convert(block: Block) -> Converted:
    """Return the groups of a block; with ``on_error="raise"`` it ends before the first malformed row."""
    result = Converted(batch_of([]))
    known = fields_of(block.format)
    groups: list[Group] = []
    for place, (number, content) in enumerate(block.rows, start=1):
        result.rows = place
        try:
            row = parse(content)
            if not known.issuperset(row):
                result.ignored_fields.update(name for name in row if name not in known)
            group = group_from_row(row, block.format, block.step_separator)
        except UnusableRowError as error:
            result.drops.append(Drop(place, number, error.reason, error.reason))
        except DataError as error:
            if block.on_error == "raise":
                result.error = f"{block.path}:{number}: {error}"
                break
            result.drops.append(Drop(place, number, f"malformed {_field(str(error))}", str(error)))
        else:
            groups.append(_named(group, block, number))
            result.given_ids.append(group.id or None)
            result.numbers.append(number)
            result.places.append(place)
    result.batch = batch_of(groups)
    return result


def _named(group: Group, block: Block, number: int) -> Group:
    source = block.source if block.override_source else group.source or block.source
    return with_identity(group, group.id or f"{block.prefix}:{number}", source)


def _field(message: str) -> str:
    """Return the field that an error message opens with, without positions: ``prompt[].role``."""
    return re.sub(r"\[[^\]]*\]", "[]", message.split(" ", 1)[0].rstrip(":"))
