"""Reading files of labelled data into a GroupSet: streaming, counted, cached."""

from __future__ import annotations

import dataclasses
import multiprocessing
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import final, get_args

import pyarrow as pa

from plaudit.data.cache import ARROW_FILE, cache_folder, cache_key, cached_report, fill_cache
from plaudit.data.columns import SCHEMA
from plaudit.data.config import DataFile, expand
from plaudit.data.convert import Block, Converted, OnError, continues, convert
from plaudit.data.files import Content, check_readable, parse, raw_rows
from plaudit.data.group_set import GroupSet, concatenate, features
from plaudit.data.pairing import Pairs
from plaudit.data.report import EXAMPLES_PER_REASON, ReadReport
from plaudit.data.sources.formats import FORMATS, Format, FormatChoice, check_columns, detect_format
from plaudit.errors import DataError, UnknownNameError, closest_or_all

BLOCK_ROWS = 2000
BLOCK_BYTES = 16_000_000
DETECTION_ROWS = 100

_Rows = list[tuple[int, Content]]


def read_groups(
    path: str | Path | Sequence[str | Path],
    *,
    format: FormatChoice = "auto",
    split: str = "train",
    source: str | None = None,
    on_error: OnError = "raise",
    limit: int | None = None,
    cache_dir: Path | None = None,
    num_proc: int = 1,
    step_separator: str = "\n",
    attributes: Sequence[str] = (),
    group_by_prompt: bool = False,
    ranks_from: str | None = None,
    pairs: Pairs = "given",
) -> GroupSet:
    """Return the groups of one or more files, memory-mapped, with a report of every row left out.

    Args:
        path: a file, a folder written by ``datasets.save_to_disk``, a hub name, or several of them.
        format: how rows become groups; ``auto`` takes it from the first row of each file.
        split: the split of a saved data set or a hub name.
        source: source of every group; the default is the row's own ``source``, else the name of the file.
        on_error: whether a malformed row is an error or a counted skip. Rows that are sound but useless as
            labels (chosen equals rejected, say) are always counted drops.
        limit: the number of groups to stop after.
        cache_dir: where the Arrow copy is kept; the default is in the cache of ``datasets``.
        num_proc: processes that parse and check.
        step_separator: what joins the steps of a row into a response, in the formats that give them one by one.
        attributes: label columns of the format ``attributes``.
        group_by_prompt: whether rows of one prompt that stand one after the other make one group, with the id of the
            first; the report counts the others as joined.
        ranks_from: rating that ranks the responses of groups without ranks.
        pairs: ``all`` makes a preference of every two responses of different rank.

    Raises:
        DataError: ``file:line: field is …``, what was found and what is allowed; also for a repeated id, an
            empty file and anything that cannot be read.
        OutputError: where the cache cannot be written.
    """
    _check_choices(format, on_error, limit)
    check_columns(format, attributes)
    paths = [str(path)] if isinstance(path, str | Path) else [str(each) for each in path]
    if not paths:
        raise DataError("there is nothing to read: the list of files is empty")
    columns = tuple(attributes)
    files = [
        _File(each, split, format, source, on_error, step_separator, columns, group_by_prompt, ranks_from, pairs)
        for each in paths
    ]
    for file in files:
        check_readable(file.path)
    options = dataclasses.asdict(files[0]) | {"path": None, "limit": limit}
    folder = cache_folder(cache_dir) / cache_key([file.path for file in files], options)
    report = cached_report(folder)
    if report is None:
        report = fill_cache(folder, lambda target: _write(files, target, limit=limit, num_proc=num_proc))
    return GroupSet.from_arrow_file(folder / ARROW_FILE, report)


def _check_choices(format: str, on_error: str, limit: int | None) -> None:
    if format != "auto" and format not in FORMATS:
        raise UnknownNameError(f"unknown format {format!r}; {closest_or_all(format, ('auto', *FORMATS))}")
    if on_error not in get_args(OnError):
        raise UnknownNameError(f"unknown on_error {on_error!r}; {closest_or_all(on_error, get_args(OnError))}")
    if limit is not None and limit < 1:
        raise DataError(f"limit is {limit}; it must be at least 1")


def load_files(files: Sequence[DataFile], cache_dir: Path | None = None) -> GroupSet:
    """Return the groups of every configured file, one file after the other.

    Raises:
        ConfigError: for a path with an environment variable that is not set.
        DataError: see ``read_groups``.
    """
    return concatenate(
        [
            read_groups(
                expand(file.path),
                format=file.format,
                split=file.split,
                source=file.source,
                on_error=file.on_error,
                limit=file.limit,
                cache_dir=cache_dir,
                step_separator=file.step_separator,
                attributes=file.attributes,
                group_by_prompt=file.group_by_prompt,
                ranks_from=file.ranks_from,
                pairs=file.pairs,
            )
            for file in files
        ]
    )


@dataclass(frozen=True, slots=True)
class _File:
    path: str
    split: str
    format: FormatChoice
    source: str | None
    on_error: OnError
    step_separator: str
    attributes: tuple[str, ...]
    group_by_prompt: bool
    ranks_from: str | None
    pairs: Pairs

    @property
    def stem(self) -> str:
        name = Path(self.path).name
        return name.removesuffix(".gz").rsplit(".", 1)[0] if "." in name.lstrip(".") else name

    def block(self, prefix: str, format: Format) -> Block:
        """Return a block of this file without rows."""
        return Block(
            path=self.path,
            prefix=prefix,
            source=self.stem if self.source is None else self.source,
            override_source=self.source is not None,
            format=format,
            step_separator=self.step_separator,
            columns=self.attributes,
            ranks_from=self.ranks_from,
            pairs=self.pairs,
            group_by_prompt=self.group_by_prompt,
            on_error=self.on_error,
            rows=(),
        )


def _prefixes(files: Sequence[_File]) -> list[str]:
    """Return what the ids of each file's rows begin with: its source, numbered where two files share it."""
    sources = [file.stem if file.source is None else file.source for file in files]
    if len(set(sources)) == len(sources):
        return sources
    return [f"{source}/{position}" for position, source in enumerate(sources, start=1)]


def _write(files: Sequence[_File], target: Path, *, limit: int | None, num_proc: int) -> ReadReport:
    tally = _Tally(limit=limit, detected=any(file.format == "auto" for file in files))
    schema = SCHEMA.with_metadata(features().arrow_schema.metadata)
    blocks = chain.from_iterable(_blocks(file, prefix) for file, prefix in zip(files, _prefixes(files), strict=True))
    with pa.OSFile(str(target), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        for block, converted in _converted(blocks, num_proc):
            batch = tally.add(block, converted)
            if batch.num_rows:
                writer.write_batch(batch.replace_schema_metadata(schema.metadata))
            if tally.is_full:
                break
    return tally.report([file.path for file in files])


def _blocks(file: _File, prefix: str) -> Iterator[Block]:
    rows = raw_rows(file.path, file.split)
    first = _Rows()
    format = file.format
    if format == "auto":
        first, format = _detect(file, rows)
    template = file.block(prefix, format)
    is_empty = True
    for chunk in _chunks(chain(first, rows), template):
        is_empty = False
        yield replace(template, rows=chunk)
    if is_empty:
        raise DataError(f"{file.path}: holds no rows")


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


def _detect(file: _File, rows: Iterator[tuple[int, Content]]) -> tuple[_Rows, Format]:
    """Return the rows that were looked at and the format that the last of them shows.

    That is the first row, or where malformed rows are skipped, one of the first ``DETECTION_ROWS``.
    """
    seen = _Rows()
    complaint = f"{file.path}: holds no rows"
    for number, content in islice(rows, DETECTION_ROWS):
        seen.append((number, content))
        try:
            return seen, detect_format(parse(content))
        except DataError as error:
            complaint = f"{file.path}:{number}: {error}"
            if file.on_error == "raise":
                break
    raise DataError(complaint)


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
class _Tally:
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

    def report(self, paths: Sequence[str]) -> ReadReport:
        """Return the counts of the whole reading."""
        return ReadReport(
            path=", ".join(paths),
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
