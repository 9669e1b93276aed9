"""Reading files of labelled data into a GroupSet: streaming, counted, cached."""

from __future__ import annotations

import multiprocessing
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, final

import numpy as np
import pyarrow as pa

from plaudit.data.reading.cache import ARROW_FILE, cache_folder, cache_key, cached_report, fill_cache, reader_hash
from plaudit.data.reading.convert import Block, Converted, continues, convert
from plaudit.data.reading.files import Content, parse
from plaudit.data.reading.options import DataFile, ReadingOptions, expand, reading_options
from plaudit.data.reading.places import Place, place_of, places_of, published_rows, rows_of
from plaudit.data.reading.shape import shaped_to_detect
from plaudit.data.reading.sources.formats import check_columns, detect_format, format_named
from plaudit.data.schema.columns import SCHEMA
from plaudit.data.schema.group_set import GroupSet, concatenate, features
from plaudit.data.schema.report import EXAMPLES_PER_REASON, ReadReport
from plaudit.data.schema.turns import is_list
from plaudit.errors import DataError

BLOCK_ROWS = 2000
BLOCK_BYTES = 16_000_000
DETECTION_ROWS = 100

APART = "group of a prompt that stands earlier too: rows are joined only where they follow each other, so sort them"

_Rows = list[tuple[int, Content]]


def read_groups(
    path: str | Path | Sequence[str | Path],
    options: ReadingOptions | None = None,
    *,
    cache_dir: Path | None = None,
    num_proc: int = 1,
    **keywords: Any,
) -> GroupSet:
    """Return the groups of one or more files, memory-mapped, with a report of every row left out.

    Args:
        path: a file; a folder, of files or of ``datasets.save_to_disk``; a glob; ``-`` for standard input; a hub name
            or a source of the catalogue; or several.
        options: how rows become groups.
        cache_dir: where the Arrow copy is kept; the default is in the cache of ``datasets``.
        num_proc: processes that parse and check.
        keywords: fields of ``ReadingOptions``, in place of those of ``options``: ``format``, ``split``, ``subset``,
            ``data_dir``, ``revision``, ``source``, ``on_error``, ``limit``, ``step_separator``, ``columns``,
            ``attributes``, ``group_by_prompt``, ``where``, ``ranks_from`` and ``pairs``.

    Raises:
        DataError: ``file:line: field is …``, the value found and the values allowed; also for a repeated id, an
            empty file and anything that cannot be read.
        UnknownNameError: for a format or an ``on_error`` that does not exist.
        OutputError: where the cache cannot be written.
    """
    how = reading_options(options, **keywords)
    if how.format != "auto":
        format_named(how.format)  # before anything is read, so that a module that cannot be imported is said at once
    paths = _paths(path)
    place = partial(place_of, subset=how.subset, data_dir=how.data_dir, revision=how.revision)
    spool = cache_folder(cache_dir) / "stdin"
    places = [part for each in paths for part in places_of(each, how.split, spool) or [place(each)]]
    if not places:
        raise DataError("there is nothing to read: the list of files is empty")
    read_from = [(place.set_name, place.subset, place.data_dir, place.revision, place.padding) for place in places]
    deciding = {"options": how.model_dump(mode="json"), "place": read_from, "reader": reader_hash(how.format)}
    folder = cache_folder(cache_dir) / cache_key([place.path for place in places], deciding)
    report = cached_report(folder)
    if report is None:
        report = fill_cache(folder, lambda target: _write(places, how, target, num_proc))
    found = GroupSet.from_arrow_file(folder / ARROW_FILE, report)
    if how.ranks_from is not None:
        _check_ranked(found, how.ranks_from)
    return found


def _paths(given: object) -> list[str]:
    """Return one path, or several, as texts.

    Raises:
        DataError: for anything else, as rows in memory, whose names of columns would be taken for files.
    """
    several: list[object] = list(given) if is_list(given) or isinstance(given, Iterator) else [given]
    for each in several:
        if not isinstance(each, str | Path):
            raise DataError(
                f"{type(each).__name__} is no path, and only files are read here; plaudit.train and plaudit.evaluate "
                "take rows that are in memory"
            )
    return [str(each) for each in several]


def _check_ranked(groups: GroupSet, rating: str) -> None:
    """Raise DataError where no group has ranks, neither its own nor by ``rating``."""
    if not len(groups) or groups.dataset.data.column("ranks").null_count < len(groups):
        return
    known = sorted({name for group in islice(groups, DETECTION_ROWS) for name in group.ratings})
    there = f"ratings: {', '.join(known)}" if known else "no ratings"
    raise DataError(f"{groups.report.path}: ranks_from is {rating!r}, but no group has that rating; found: {there}")


def load_files(files: Sequence[DataFile], cache_dir: Path | None = None) -> GroupSet:
    """Return the groups of every configured file, one file after the other.

    Raises:
        ConfigError: for a path with an environment variable that is not set.
        DataError: see ``read_groups``.
    """
    return concatenate([read_groups(expand(file.path), file, cache_dir=cache_dir) for file in files])


def _blocks_of(places: Sequence[Place], options: ReadingOptions) -> Iterator[Block]:
    """Yield the rows of every place in blocks.

    Ids made of line numbers begin with the source, numbered where two places share it.
    """
    sources = [place.stem if options.source is None else options.source for place in places]
    is_one_each = len(set(sources)) == len(sources)
    for position, (place, source) in enumerate(zip(places, sources, strict=True), start=1):
        yield from _blocks(
            place,
            Block(
                place.title,
                source if is_one_each else f"{source}/{position}",
                source,
                "",
                options,
                padding=place.padding,
            ),
        )


def _write(places: Sequence[Place], options: ReadingOptions, target: Path, num_proc: int) -> ReadReport:
    detected = options.format == "auto" and any(place.source is None for place in places)
    tally = Tally(limit=options.limit, detected=detected)
    schema = SCHEMA.with_metadata(features().arrow_schema.metadata)
    prompts: list[np.ndarray] = []
    with pa.OSFile(str(target), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        for block, converted in _converted(_blocks_of(places, options), num_proc):
            batch = tally.add(block, converted)
            prompts.append(batch.column("prompt_hash").to_numpy())
            if batch.num_rows:
                writer.write_batch(batch.replace_schema_metadata(schema.metadata))
            if tally.is_full:
                break
    if options.group_by_prompt:
        apart = tally.groups - len(np.unique(np.concatenate(prompts)))
        tally.noted.update({APART: apart} if apart else {})
    return tally.report(places, options.split)


def _blocks(place: Place, template: Block) -> Iterator[Block]:
    options = template.options
    rows = rows_of(place, options.split)
    first = _Rows()
    format = options.format
    if format == "auto" and place.source is not None:
        format = place.source.format
    elif format == "auto":
        first, format = _detect(template, rows)
    check_columns(format_named(format), options.columns, options.attributes)
    template = replace(template, format=format)
    is_empty = True
    for chunk in _chunks(chain(first, rows), template):
        is_empty = False
        yield replace(template, rows=chunk)
    if is_empty:
        raise DataError(f"{place.title}: holds no rows")


def _chunks(rows: Iterator[tuple[int, Content]], block: Block) -> Iterator[_Rows]:
    """Yield runs of rows that are bounded in number and, for unparsed rows, in bytes.

    Where rows of one prompt make one group, a run goes on to the last row of its last prompt. Rows that tell no
    prompt stay with it, up to as many as fill a run.
    """
    chunk = _Rows()
    size = unsure = 0
    for row in rows:
        if len(chunk) >= BLOCK_ROWS or size >= BLOCK_BYTES:
            is_same = continues(block, chunk, row[1]) if block.joins else False
            unsure = unsure + 1 if is_same is None else 0
            if is_same is False or unsure > BLOCK_ROWS:
                yield chunk
                chunk, size, unsure = _Rows(), 0, 0
        chunk.append(row)
        size += len(row[1]) if isinstance(row[1], bytes) else 0
    if chunk:
        yield chunk


def _detect(block: Block, rows: Iterator[tuple[int, Content]]) -> tuple[_Rows, str]:
    """Return the rows that were looked at and the format that the last of them shows.

    That is the first row, or where malformed rows are skipped, one of the first ``DETECTION_ROWS``.

    Raises:
        DataError: for the first row, where none of them shows one.
    """
    seen = _Rows()
    complaint = ""
    for number, content in islice(rows, DETECTION_ROWS):
        seen.append((number, content))
        try:
            return seen, detect_format(shaped_to_detect(parse(content), block.options.columns))
        except DataError as error:
            complaint = complaint or f"{block.path}:{number}: {error}"
            if block.options.on_error == "raise":
                break
    raise DataError(complaint or f"{block.path}: holds no rows")


def _converted(blocks: Iterator[Block], num_proc: int) -> Iterator[tuple[Block, Converted]]:
    if num_proc <= 1:
        for block in blocks:
            yield block, convert(block)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(num_proc, mp_context=context) as pool:
        waiting: deque[tuple[Block, Future[Converted]]] = deque()
        for block in blocks:
            waiting.append((replace(block, rows=()), pool.submit(convert, block)))
            if len(waiting) > 2 * num_proc:
                done, future = waiting.popleft()
                yield done, future.result()
        for done, future in waiting:
            yield done, future.result()


@final
@dataclass
class Tally:
    """Running counts of a reading, with the check of unique ids and the limit."""

    limit: int | None
    detected: bool
    rows: int = 0
    groups: int = 0
    joined: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)
    noted: Counter[str] = field(default_factory=Counter)
    ignored_fields: set[str] = field(default_factory=set)
    formats: dict[str, None] = field(default_factory=dict)
    ids: _Ids = field(default_factory=lambda: _Ids())

    @property
    def is_full(self) -> bool:
        """True once the limit is reached."""
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
        for index, origin in enumerate(converted.origins):
            first = self.ids.first_place(block, origin.given_id, origin.number)
            if first is not None:
                identifier = origin.given_id or f"{block.prefix}:{origin.number}"
                self._repeated(block, origin.number, identifier, first)
                self.dropped["repeated id"] += origin.joined
                continue
            kept.append(index)
            self.groups += 1
            self.joined += origin.joined
            if self.is_full:
                last = origin.place
                break
        for note in converted.notes:
            if note.place <= last:
                self.noted[note.remark] += note.count
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
        """Return the counts of the whole reading, beside the published numbers of rows."""
        sources = {place.source.name: place.source for place in places if place.source is not None}
        return ReadReport(
            path=", ".join(place.title for place in places),
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
            noted=dict(sorted(self.noted.items())),
            ignored_fields=tuple(sorted(self.ignored_fields)),
        )

    def _repeated(self, block: Block, number: int, identifier: str, first: str) -> None:
        message = f"id {identifier!r} is already that of {first}; ids must be unique"
        if block.options.on_error == "raise":
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
