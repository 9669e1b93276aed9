"""One block of raw rows into Arrow: the part of reading that can run in several processes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import TypeVar

import pyarrow as pa

from plaudit.data.reading.files import Content, RestUnreadableError, parse
from plaudit.data.reading.options import ReadingOptions, Value
from plaudit.data.reading.shape import Shaped, renamed, shaped
from plaudit.data.reading.sources.fields import Row, UnusableRowError, number, outcome
from plaudit.data.reading.sources.formats import format_named
from plaudit.data.schema.columns import batch_of, with_identity
from plaudit.data.schema.group import Group, Preference
from plaudit.data.schema.pairing import derived
from plaudit.data.schema.turns import CONTROL_TOKEN
from plaudit.errors import DataError

_Label = TypeVar("_Label")

EMPTY_RESPONSE = "empty response"
CONTROL_TOKENS = "response with a chat template's control token in its text"


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive rows of one file, their reading options, and the id prefix and source for groups without.

    ``format`` is the name of a format, so that a block can be sent to another process. ``padding`` are the columns of
    all files of the set.
    """

    path: str
    prefix: str
    source: str
    format: str
    options: ReadingOptions
    rows: Sequence[tuple[int, Content]] = ()
    padding: tuple[str, ...] = ()

    @property
    def joins(self) -> bool:
        """Return whether rows of one prompt that stand one after the other make one group."""
        return self.options.group_by_prompt or format_named(self.format).joins

    def parsed(self, content: Content) -> Row:
        """Return the row that ``content`` writes out; a column that its file lacks beside others of its set is null.

        Raises:
            DataError: see ``files.parse``.
        """
        row = parse(content)
        return {**dict.fromkeys(self.padding), **row} if self.padding else row

    def shaped(self, row: Row) -> Shaped:
        """Return the row as its format reads it.

        Raises:
            DataError: see ``shape.shaped``.
        """
        format = format_named(self.format)
        if format.as_found:
            return Shaped(renamed(row, self.options.columns, set()))
        fields = None if format.fields is None else format.fields | set(self.options.attributes)
        return shaped(row, self.options.columns, fields)

    def read(self, row: Row, number: int) -> tuple[Group, str | None]:
        """Return the group of a shaped row, and its own id, if it has one; else it is named by its line.

        Raises:
            DataError: see ``AbstractFormat.read``.
        """
        group = format_named(self.format).read(row, self.options)
        if group.steps is not None and group.step_classes is None and self.options.step_classes is not None:
            group = replace(group, step_classes=self.options.step_classes)
        source = group.source or self.source if self.options.source is None else self.options.source
        return with_identity(group, group.id or f"{self.prefix}:{number}", source), group.id or None


@dataclass(frozen=True, slots=True)
class Drop:
    """A row left out: ``place`` counts the rows of the block up to and with it."""

    place: int
    number: int
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Note:
    """So many ``count`` turns or responses of a row that were read with a remark; ``place`` as in ``Drop``."""

    place: int
    remark: str
    count: int


@dataclass(slots=True)
class Origin:
    """Origin of a group: its first row, the id in it, and the number of later rows that joined it.

    ``place`` counts the rows of the block up to and with the last of them.
    """

    number: int
    given_id: str | None
    place: int
    joined: int = 0


@dataclass(slots=True)
class Converted:
    """The groups of a block as Arrow, the origin of each, and the rows left out."""

    batch: pa.RecordBatch
    origins: list[Origin] = field(default_factory=list)
    drops: list[Drop] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    ignored_fields: set[str] = field(default_factory=set)
    error: str | None = None
    rows: int = 0


def convert(block: Block) -> Converted:
    """Return the groups of a block; with ``on_error="raise"`` it ends before the first malformed row."""
    result = Converted(batch_of([]))
    fields = format_named(block.format).fields
    known = None if fields is None else fields | set(block.options.attributes)
    runs: list[list[Group]] = []
    for place, (line, content) in enumerate(block.rows, start=1):
        result.rows = place
        try:
            found = block.parsed(content)
            other = _unwanted(found, block.options.where)
            if other is not None:
                result.drops.append(Drop(place, line, other, other))
                continue
            regular = block.shaped(found)
            if known is not None and not known.issuperset(regular.row):
                result.ignored_fields.update(name for name in regular.row if name not in known)
            result.ignored_fields |= regular.changes.ignored
            group, given_id = block.read(regular.row, line)
            result.notes += [Note(place, *each) for each in _remarks(group, regular.changes.noted)]
            may_join = block.options.group_by_prompt or (block.joins and given_id is None)
            has_company = may_join and bool(runs) and _same_prompt(runs[-1][0], group)
            if has_company:
                _check_joins(runs[-1][-1], group)
        except UnusableRowError as error:
            result.drops.append(Drop(place, line, error.reason, error.reason))
        except DataError as error:
            if block.options.on_error == "raise" or isinstance(error, RestUnreadableError):
                result.error = f"{block.path}:{line}: {error}"
                if block.joins and runs:
                    # The row that cannot be read may belong to the last group, which is then not whole.
                    del runs[-1], result.origins[-1]
                break
            result.drops.append(Drop(place, line, f"malformed {_field(str(error))}", str(error)))
        else:
            if has_company:
                runs[-1].append(group)
                result.origins[-1].place = place
                result.origins[-1].joined += 1
                continue
            runs.append([group])
            result.origins.append(Origin(line, given_id, place))
    options = block.options
    result.batch = batch_of([derived(joined(run), ranks_from=options.ranks_from, pairs=options.pairs) for run in runs])
    return result


def _remarks(group: Group, noted: Counter[str]) -> Iterator[tuple[str, int]]:
    """Yield each remark on a group and the number of its turns or responses that it is of."""
    yield from noted.items()
    blank = sum(not response.strip() for response in group.responses)
    if blank:
        yield EMPTY_RESPONSE, blank
    marked = sum(CONTROL_TOKEN.search(response) is not None for response in group.responses)
    if marked:
        yield CONTROL_TOKENS, marked


def _unwanted(row: Row, where: Mapping[str, Value]) -> str | None:
    """Return which of the wanted values ``row`` does not have, or None where it has all of them.

    Raises:
        DataError: where the row has no such column.
    """
    for name, value in where.items():
        if name not in row:
            raise DataError(f"{name} is missing; where asks for it, and the row has: {', '.join(map(str, row))}")
        if not _is(row[name], value):
            return f"{name} is not {value!r}"
    return None


def _is(found: object, wanted: Value) -> bool:
    """Return whether a cell holds the wanted value; where that is no text, a cell of text may write it out."""
    if isinstance(found, str) and not isinstance(wanted, str):
        read = outcome if isinstance(wanted, bool) else number
        with suppress(DataError):
            return read(found, "") == wanted
    return found == wanted and isinstance(found, bool) is isinstance(wanted, bool)


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
            return _same_prompt(before, following)
    return None


def _read(block: Block, content: Content) -> Group | None:
    """Return the group of a row, or None where it makes none."""
    try:
        row = block.parsed(content)
        return None if _unwanted(row, block.options.where) is not None else block.read(block.shaped(row).row, 0)[0]
    except DataError:
        return None


def _field(message: str) -> str:
    """Return the field that an error message opens with, without positions: ``prompt[].role``."""
    return re.sub(r"\[[^\]]*\]", "[]", message.split(" ", 1)[0].rstrip(":"))


def _same_prompt(first: Group, second: Group) -> bool:
    """Return whether two groups have the same prompt and source."""
    return (first.prompt, first.source) == (second.prompt, second.source)


def _check_joins(first: Group, second: Group) -> None:
    """Raise DataError where two groups of one prompt have labels that no group can hold together."""
    if first.ranks is not None or second.ranks is not None:
        raise DataError("ranks of rows with the same prompt cannot be joined: each row has an order of its own")
    classes = {group.step_classes for group in (first, second) if group.steps is not None}
    if len(classes) > 1:
        raise DataError("rows with the same prompt cannot be joined: their steps have other classes (step_classes)")


def joined(run: Sequence[Group]) -> Group:
    """Return the one group of consecutive groups of one prompt, under the id of the first.

    Preferences keep their responses. A rating, an outcome or steps that a response lacks are None.
    """
    first = run[0]
    if len(run) == 1:
        return first
    names = dict.fromkeys(name for group in run for name in group.ratings)
    return replace(
        first,
        responses=tuple(response for group in run for response in group.responses),
        preferences=_preferences(run),
        ratings={name: _filled(run, lambda group, name=name: group.ratings.get(name)) or () for name in names},
        outcomes=_filled(run, lambda group: group.outcomes),
        steps=_filled(run, lambda group: group.steps),
        step_classes=next((group.step_classes for group in run if group.step_classes is not None), None),
    )


def _preferences(run: Sequence[Group]) -> tuple[Preference, ...]:
    starts = accumulate((len(group.responses) for group in run), initial=0)
    return tuple(
        replace(each, chosen=each.chosen + start, rejected=each.rejected + start)
        for group, start in zip(run, starts, strict=False)
        for each in group.preferences
    )


def _filled(
    run: Sequence[Group], of: Callable[[Group], tuple[_Label | None, ...] | None]
) -> tuple[_Label | None, ...] | None:
    """Return a label of every response of ``run``, None where its group has none; None where no group has it."""
    found = [of(group) for group in run]
    if all(each is None for each in found):
        return None
    return tuple(
        value
        for group, each in zip(run, found, strict=True)
        for value in ((None,) * len(group.responses) if each is None else each)
    )
