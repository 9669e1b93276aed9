"""Places of rows: files and folders here, standard input, data sets on the hub, and sources of the catalogue."""

from __future__ import annotations

import difflib
import glob
import hashlib
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from plaudit.data.reading.files import (
    SUFFIXES,
    Content,
    check_readable,
    column_names,
    encoding_of,
    hub_rows,
    is_hub_name,
    is_saved_set,
    raw_rows,
    suffix_of,
)
from plaudit.data.reading.sources.formats import SOURCES, source_at
from plaudit.data.reading.sources.source import Source
from plaudit.errors import DataError

STANDARD_INPUT = "-"
_SPLIT = re.compile(r"(train|test|validation|valid|val|dev|eval)(?=[-_.]|$)", re.IGNORECASE)
"""The split that a file of a set shows by its name, as ``train-00000-of-00002.parquet``."""


@dataclass(frozen=True, slots=True)
class Place:
    """A file or folder, or a hub name with the configuration, folder and revision to read; its source, where known.

    ``set_name`` is the name of the folder of files that it is one of, or of standard input. ``shown`` stands for the
    path in reports and errors. ``padding`` are the columns of all files of its set.
    """

    path: str
    subset: str | None = None
    data_dir: str | None = None
    revision: str | None = None
    source: Source | None = None
    set_name: str = ""
    shown: str = ""
    padding: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Return the path as reports and errors show it."""
        return self.shown or self.path

    @property
    def stem(self) -> str:
        """Return the prefix of its groups' ids and source: the name of the source, of the file, or of the set.

        Endings such as ``.jsonl.gz`` do not count, but a name on the hub is whole: ``set-v0.2``.
        """
        if self.source is not None or self.set_name:
            return self.set_name if self.source is None else self.source.name
        name = Path(self.path).name
        if is_hub_name(self.path) or "." not in name.lstrip("."):
            return name
        return name.removesuffix(".gz").rsplit(".", 1)[0]


def place_of(
    path: str, *, subset: str | None = None, data_dir: str | None = None, revision: str | None = None
) -> Place:
    """Return the place of ``path``: a file or folder here, else a source of the catalogue, else a hub name.

    A place on the hub is looked up in the catalogue by its name, ``subset`` and ``data_dir``; a ``revision`` that is
    given comes before that of the catalogue.

    Raises:
        DataError: where there is no such file, source or hub name, where a file is given a ``subset`` or ``data_dir``,
            or a source another one than its own.
    """
    if not _is_here(path) and path in SOURCES:
        source = SOURCES[path]
        if subset not in (None, source.subset) or data_dir not in (None, source.data_dir):
            raise DataError(
                f"{path} is a source with subset {source.subset!r} and data_dir {source.data_dir!r}; "
                f"for another one give the hub name {source.hub}"
            )
        return Place(source.hub, source.subset, source.data_dir, revision or source.revision, source)
    if is_hub_name(path) and not path.lower().endswith(SUFFIXES):
        source = source_at(path, subset=subset, data_dir=data_dir)
        if source is not None:
            return Place(path, source.subset, source.data_dir, revision or source.revision, source)
        return Place(path, subset, data_dir, revision)
    try:
        check_readable(path)
    except DataError as error:
        close = difflib.get_close_matches(path, SOURCES, n=1)
        if not close:
            raise
        raise DataError(f"{error}; did you mean the source {close[0]!r}?") from None
    if (subset, data_dir, revision) != (None, None, None):
        raise DataError(f"{path}: subset, data_dir and revision are of data sets on the hub; this is a file here")
    return Place(path)


def _is_here(path: str) -> bool:
    try:
        return Path(path).exists()
    except OSError:
        return False


def places_of(path: str, split: str, spool: Path) -> list[Place]:
    """Return the files that ``path`` stands for: those of a folder or a glob, or standard input, kept in ``spool``.

    Of a folder whose files show a split by their names, those of ``split`` are read. Rows of Parquet and CSV have the
    columns of all files of their set.

    Raises:
        DataError: where there are none, or of several kinds.
    """
    if path == STANDARD_INPUT:
        if sys.stdin is None or sys.stdin.isatty():
            raise DataError("- is standard input, which is a terminal here; pipe a file into the command")
        return [Place(str(spooled(sys.stdin.buffer, spool)), set_name="stdin", shown="<stdin>")]
    folder = Path(path)
    if not _is_here(path):
        return _padded([Place(each) for each in _matches(path)]) if glob.has_magic(path) else []
    if not folder.is_dir() or is_saved_set(folder):
        return []
    files = _of_split(folder, _data_files(folder), split)
    return _padded([Place(str(file), set_name=folder.resolve().name) for file in files])


def _matches(path: str) -> list[str]:
    found = sorted(each for each in glob.glob(path, recursive=True) if Path(each).is_file())
    if not found:
        raise DataError(f"{path}: no file matches")
    for each in found:
        check_readable(each)
    return found


def _data_files(folder: Path) -> list[Path]:
    """Return the data files below a folder, in order; JSON beside files of rows is what describes them.

    Raises:
        DataError: where there are none, or of more than one kind.
    """
    kinds: dict[str, list[Path]] = {}
    for file in sorted(folder.rglob("*")):
        kind = suffix_of(file.name)
        is_hidden = any(part.startswith((".", "_")) for part in file.relative_to(folder).parts)
        if kind is not None and not is_hidden and file.is_file():
            kinds.setdefault(kind.removesuffix(".gz"), []).append(file)
    if len(kinds) > 1:
        kinds.pop(".json", None)
    if not kinds:
        raise DataError(
            f"{folder}: a folder must be one written by datasets.save_to_disk, or hold {', '.join(SUFFIXES)} files"
        )
    if len(kinds) > 1:
        first = min(kinds)
        raise DataError(
            f"{folder}: holds files of several kinds, {', '.join(sorted(kinds))}; give one of them, as "
            f"'{folder}/**/*{first}'"
        )
    return next(iter(kinds.values()))


def _of_split(folder: Path, files: list[Path], split: str) -> list[Path]:
    shown = {file: found[0].lower() for file in files if (found := _SPLIT.match(file.name)) is not None}
    if not shown and split != "train":
        raise DataError(f"{folder}: split is {split!r}, but the files show no split by their names")
    if not shown:
        return files
    chosen = [file for file in files if shown.get(file) == split]
    if not chosen:
        there = ", ".join(sorted(set(shown.values())))
        raise DataError(f"{folder}: there is no split {split!r}; by their names the files are of: {there}")
    return chosen


def _padded(places: list[Place]) -> list[Place]:
    columns = tuple(dict.fromkeys(name for place in places for name in column_names(place.path)))
    return [replace(place, padding=columns) for place in places]


def spooled(stream: IO[bytes], folder: Path) -> Path:
    """Return a copy of ``stream`` in ``folder``, named by its content, with the suffix of the kind that it is of."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
        shutil.copyfileobj(stream, file)
    written = Path(file.name)
    digest = hashlib.blake2b(digest_size=16)
    with written.open("rb") as content:
        start = content.read(4096)
        content.seek(0)
        while chunk := content.read(2**20):
            digest.update(chunk)
    target = folder / f"{digest.hexdigest()}{_kind(start)}"
    return written.replace(target) if not target.exists() else (written.unlink(), target)[1]


def _kind(start: bytes) -> str:
    """Return the suffix of the kind of file that begins so."""
    if start.startswith(b"PAR1"):
        return ".parquet"
    if start.startswith(b"\x1f\x8b"):
        return ".jsonl.gz"
    opening = start.decode(encoding_of(start), errors="replace").lstrip()[:1]
    return {"[": ".json", "{": ".jsonl"}.get(opening, ".csv")


def rows_of(place: Place, split: str) -> Iterator[tuple[int, Content]]:
    """Return the rows of a place, as ``raw_rows`` does.

    Raises:
        DataError: where the place as a whole cannot be read.
    """
    if Path(place.path).is_file() and split != "train" and not place.set_name:
        raise DataError(f"{place.path}: split is {split!r}, but this is one file; splits are of saved sets and the hub")
    if is_hub_name(place.path):
        return hub_rows(place.path, split, subset=place.subset, data_dir=place.data_dir, revision=place.revision)
    return raw_rows(place.path, split)


def published_rows(places: Sequence[Place], split: str) -> int | None:
    """Return how many rows the publishers say there are, or None where one of them, or the catalogue, says nothing."""
    counts = [None if place.source is None else place.source.rows.get(split) for place in places]
    known = [count for count in counts if count is not None]
    return sum(known) if known and len(known) == len(counts) else None
