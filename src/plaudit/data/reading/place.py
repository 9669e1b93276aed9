"""Where the rows of one path are: a file or folder here, or a data set on the hub, known by the catalogue or not."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from plaudit.data.reading.files import SUFFIXES, Content, check_readable, raw_rows
from plaudit.data.reading.hub import hub_rows, is_hub_name
from plaudit.data.reading.sources.catalog import SOURCES, source_at
from plaudit.data.reading.sources.source import Source
from plaudit.errors import DataError


@dataclass(frozen=True, slots=True)
class Place:
    """A file or folder, or a hub name with the configuration, folder and revision to read; its source, where known."""

    path: str
    subset: str | None = None
    data_dir: str | None = None
    revision: str | None = None
    source: Source | None = None

    @property
    def stem(self) -> str:
        """Return what ids and the source of its groups begin with: the name of the source, of the file, or of the set.

        Endings such as ``.jsonl.gz`` do not count, but a name on the hub is whole: ``set-v0.2``.
        """
        if self.source is not None:
            return self.source.name
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


def rows_of(place: Place, split: str) -> Iterator[tuple[int, Content]]:
    """Return the rows of a place, as ``raw_rows`` does.

    Raises:
        DataError: where the place as a whole cannot be read.
    """
    if Path(place.path).is_file() and split != "train":
        raise DataError(f"{place.path}: split is {split!r}, but this is one file; splits are of saved sets and the hub")
    if is_hub_name(place.path):
        return hub_rows(place.path, split, subset=place.subset, data_dir=place.data_dir, revision=place.revision)
    return raw_rows(place.path, split)


def published_rows(places: Sequence[Place], split: str) -> int | None:
    """Return how many rows the publishers say there are, or None where one of them, or the catalogue, says nothing."""
    counts = [None if place.source is None else place.source.rows.get(split) for place in places]
    known = [count for count in counts if count is not None]
    return sum(known) if known and len(known) == len(counts) else None
