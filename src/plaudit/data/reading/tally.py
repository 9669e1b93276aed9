"""What a reading found so far: counts, reasons, and the ids that were met."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import final

import pyarrow as pa

from plaudit.data.reading.convert import Block, Converted
from plaudit.data.reading.place import Place, published_rows
from plaudit.data.schema.report import EXAMPLES_PER_REASON, ReadReport
from plaudit.errors import DataError


@final
@dataclass
class Tally:
    """Counts what a reading found so far, and sees to unique ids and to the limit."""

    limit: int | None
    detected: bool
    rows: int = 0
    groups: int = 0
    joined: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)
    ignored_fields: set[str] = field(default_factory=set)
    formats: dict[str, None] = field(default_factory=dict)
    ids: _Ids = field(default_factory=lambda: _Ids())

    @property
    def is_full(self) -> bool:
        """Whether the limit is reached."""
        return self.limit is not None and self.groups >= self.limit

    def add(self, block: Block, converted: Converted) -> pa.RecordBatch:
        """Return the groups of a block that are kept.

        Raises:
            DataError: for the malformed row that ended the block, or a repeated id.
        """
        self.formats[block.format] = None
        self.ignored_fields |= converted.ignored_fields
        last = converted.rows
        kept: list[int] = []
        for index, number in enumerate(converted.numbers):
            first = self.ids.first_place(block, converted.given_ids[index], number)
            if first is not None:
                self._repeated(block, number, converted.given_ids[index] or f"{block.prefix}:{number}", first)
                self.dropped["repeated id"] += converted.joined[index]
                continue
            kept.append(index)
            self.groups += 1
            self.joined += converted.joined[index]
            if self.is_full:
                last = converted.places[index]
                break
        for drop in converted.drops:
            if drop.place <= last:
                self._drop(block, drop.number, drop.reason, drop.detail)
        self.rows += last
        if converted.error is not None and not self.is_full:
            raise DataError(converted.error)
        if len(kept) == converted.batch.num_rows:
            return converted.batch
        return converted.batch.take(pa.array(kept, pa.int64()))

    def report(self, places: Sequence[Place], split: str) -> ReadReport:
        """Return the counts of the whole reading, beside what the publishers of its sources say."""
        sources = {place.source.name: place.source for place in places if place.source is not None}
        return ReadReport(
            path=", ".join(place.path for place in places),
            source=", ".join(sources),
            licence="; ".join(dict.fromkeys(source.licence for source in sources.values())),
            published_rows=published_rows(places, split),
            format=", ".join(self.formats),
            detected=self.detected,
            rows=self.rows,
            groups=self.groups,
            joined=self.joined,
            dropped=self.dropped,
            examples={reason: tuple(places) for reason, places in self.examples.items()},
            ignored_fields=tuple(sorted(self.ignored_fields)),
        )

    def _repeated(self, block: Block, number: int, identifier: str, first: str) -> None:
        message = f"id {identifier!r} is already that of {first}; ids must be unique"
        if block.on_error == "raise":
            raise DataError(f"{block.path}:{number}: {message}")
        self._drop(block, number, "repeated id", message)

    def _drop(self, block: Block, number: int, reason: str, detail: str) -> None:
        self.dropped[reason] = self.dropped.get(reason, 0) + 1
        examples = self.examples.setdefault(reason, [])
        if len(examples) < EXAMPLES_PER_REASON:
            examples.append(f"{block.path}:{number}: {detail}")


@final
class _Ids:
    """The ids met so far. Ids made from line numbers are kept as one byte per line, not as strings."""

    def __init__(self) -> None:
        self._given: dict[str, tuple[str, int]] = {}
        self._made: dict[str, tuple[str, bytearray]] = {}

    def first_place(self, block: Block, given: str | None, number: int) -> str | None:
        """Return the ``file:line`` where the row's id was met before, or None; then it counts as met."""
        place = (block.path, number)
        if given is None:
            _, lines = self._made.setdefault(block.prefix, (block.path, bytearray()))
            if number >= len(lines):
                lines.extend(bytes(number + 1 - len(lines)))
            lines[number] = 1
            first = self._given.get(f"{block.prefix}:{number}") if self._given else None
        else:
            first = self._given.setdefault(given, place)
            if first is place:
                first = self._made_place(given)
        return None if first is None else f"{first[0]}:{first[1]}"

    def _made_place(self, given: str) -> tuple[str, int] | None:
        prefix, _, number = given.rpartition(":")
        path, lines = self._made.get(prefix, ("", b""))
        if number.isdecimal() and str(int(number)) == number and int(number) < len(lines) and lines[int(number)]:
            return path, int(number)
        return None
