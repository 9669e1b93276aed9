"""Reading files of labelled data into a GroupSet: streaming, counted, cached."""

from __future__ import annotations

import dataclasses
import multiprocessing
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import get_args

import pyarrow as pa

from plaudit.data.reading.cache import ARROW_FILE, cache_folder, cache_key, cached_report, fill_cache
from plaudit.data.reading.config import DataFile, expand
from plaudit.data.reading.convert import Block, Converted, OnError, Value, continues, convert
from plaudit.data.reading.files import Content, parse
from plaudit.data.reading.place import Place, place_of, rows_of
from plaudit.data.reading.sources.formats import FORMATS, Format, FormatChoice, check_columns, detect_format
from plaudit.data.reading.tally import Tally
from plaudit.data.schema.columns import SCHEMA
from plaudit.data.schema.group_set import GroupSet, concatenate, features
from plaudit.data.schema.pairing import Pairs
from plaudit.data.schema.report import ReadReport
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
    subset: str | None = None,
    data_dir: str | None = None,
    revision: str | None = None,
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
    where: Mapping[str, Value] | None = None,
) -> GroupSet:
    """Return the groups of one or more files, memory-mapped, with a report of every row left out.

    Args:
        path: a file, a folder of ``datasets.save_to_disk``, a hub name or a source of the catalogue; or several.
        format: how rows become groups; ``auto`` takes that of the source, else what the first row of a file tells.
        split: the split of a saved data set or a hub name.
        subset: the configuration of a data set on the hub.
        data_dir: the folder of its repository.
        revision: its branch or commit.
        source: source of every group; the default is the row's own ``source``, else the name of the source or file.
        on_error: whether a malformed row is an error or a counted skip; sound rows of no use are always skipped.
        limit: the number of groups to stop after.
        cache_dir: where the Arrow copy is kept; the default is in the cache of ``datasets``.
        num_proc: processes that parse and check.
        step_separator: what joins the steps of a row into a response, in the formats that give them one by one.
        attributes: label columns of the format ``attributes``.
        group_by_prompt: whether rows of one prompt that follow each other make one group, under the id of the first.
        ranks_from: rating that ranks the responses of groups without ranks.
        pairs: ``all`` makes a preference of every two responses of different rank.
        where: columns and the value that each must have; other rows are left out and counted.

    Raises:
        DataError: ``file:line: field is …``, what was found and what is allowed; also for a repeated id, an
            empty file and anything that cannot be read.
        OutputError: where the cache cannot be written.
    """
    _check_choices(format, on_error, limit)
    check_columns(format, attributes)
    paths = [str(path)] if isinstance(path, str | Path) else [str(each) for each in path]
    columns = tuple(attributes)
    places = [place_of(each, subset=subset, data_dir=data_dir, revision=revision) for each in paths]
    wanted = tuple((where or {}).items())
    files = [
        _File(
            each, split, format, source, on_error, step_separator, columns, group_by_prompt, ranks_from, pairs, wanted
        )
        for each in places
    ]
    return _read(files, limit=limit, cache_dir=cache_dir, num_proc=num_proc)


def _read(files: Sequence[_File], *, limit: int | None, cache_dir: Path | None, num_proc: int) -> GroupSet:
    """Return the groups of ``files``, which differ in nothing but their places; from the cache where it has them."""
    if not files:
        raise DataError("there is nothing to read: the list of files is empty")
    places = [file.place for file in files]
    read_from = [(place.subset, place.data_dir, place.revision) for place in places]
    options = dataclasses.asdict(files[0]) | {"place": read_from, "limit": limit}
    folder = cache_folder(cache_dir) / cache_key([place.path for place in places], options)
    report = cached_report(folder)
    if report is None:
        report = fill_cache(folder, lambda target: _write(files, target, limit=limit, num_proc=num_proc))
    found = GroupSet.from_arrow_file(folder / ARROW_FILE, report)
    if files[0].ranks_from is not None:
        _check_ranked(found, files[0].ranks_from)
    return found


def _check_ranked(groups: GroupSet, rating: str) -> None:
    """Raise DataError where no group has ranks, neither its own nor by ``rating``."""
    if not len(groups) or groups.dataset.data.column("ranks").null_count < len(groups):
        return
    known = sorted({name for group in islice(groups, DETECTION_ROWS) for name in group.ratings})
    there = f"ratings: {', '.join(known)}" if known else "no ratings"
    raise DataError(f"{groups.report.path}: ranks_from is {rating!r}, but no group has that rating; found: {there}")


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
                subset=file.subset,
                data_dir=file.data_dir,
                revision=file.revision,
                source=file.source,
                on_error=file.on_error,
                limit=file.limit,
                cache_dir=cache_dir,
                step_separator=file.step_separator,
                attributes=file.attributes,
                group_by_prompt=file.group_by_prompt,
                ranks_from=file.ranks_from,
                pairs=file.pairs,
                where=file.where,
            )
            for file in files
        ]
    )


@dataclass(frozen=True, slots=True)
class _File:
    place: Place
    split: str
    format: FormatChoice
    source: str | None
    on_error: OnError
    step_separator: str
    attributes: tuple[str, ...]
    group_by_prompt: bool
    ranks_from: str | None
    pairs: Pairs
    where: tuple[tuple[str, Value], ...]

    @property
    def stem(self) -> str:
        return self.place.stem

    @property
    def is_detected(self) -> bool:
        return self.format == "auto" and self.place.source is None

    def block(self, prefix: str, format: Format) -> Block:
        """Return a block of this file without rows."""
        return Block(
            path=self.place.path,
            prefix=prefix,
            source=self.stem if self.source is None else self.source,
            override_source=self.source is not None,
            format=format,
            step_separator=self.step_separator,
            columns=self.attributes,
            ranks_from=self.ranks_from,
            pairs=self.pairs,
            where=self.where,
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
    tally = Tally(limit=limit, detected=any(file.is_detected for file in files))
    schema = SCHEMA.with_metadata(features().arrow_schema.metadata)
    blocks = chain.from_iterable(_blocks(file, prefix) for file, prefix in zip(files, _prefixes(files), strict=True))
    with pa.OSFile(str(target), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        for block, converted in _converted(blocks, num_proc):
            batch = tally.add(block, converted)
            if batch.num_rows:
                writer.write_batch(batch.replace_schema_metadata(schema.metadata))
            if tally.is_full:
                break
    return tally.report([file.place for file in files], files[0].split)


def _blocks(file: _File, prefix: str) -> Iterator[Block]:
    rows = rows_of(file.place, file.split)
    first = _Rows()
    if file.format != "auto":
        format: Format = file.format
    elif file.place.source is not None:
        format = file.place.source.format
    else:
        first, format = _detect(file, rows)
    template = file.block(prefix, format)
    is_empty = True
    for chunk in _chunks(chain(first, rows), template):
        is_empty = False
        yield replace(template, rows=chunk)
    if is_empty:
        raise DataError(f"{file.place.path}: holds no rows")


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
    complaint = f"{file.place.path}: holds no rows"
    for number, content in islice(rows, DETECTION_ROWS):
        seen.append((number, content))
        try:
            return seen, detect_format(parse(content))
        except DataError as error:
            complaint = f"{file.place.path}:{number}: {error}"
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
