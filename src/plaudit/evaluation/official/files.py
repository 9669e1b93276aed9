"""The rows of a benchmark's official files: one file, a folder of them, a saved data set, or the hub.

And those of published per-item results, which come in more shapes than data does: see ``result_rows``. A number there
that is none is missing, and says why; see ``recorded``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from plaudit.data.reading.files import SUFFIXES, check_readable, hub_rows, read_rows
from plaudit.data.reading.sources.fields import Row, each, found, is_list, mapping, required_text, text
from plaudit.data.schema.group import Message
from plaudit.errors import DataError

Numbers = tuple[float | None, ...]

_COLUMNS = ("id", "subset")
"""Fields of which each is one value in a row, and a list in an object of columns."""

_SPACE = re.compile(r"\s*")


@dataclass(frozen=True, slots=True)
class HubSet:
    """One split of one data set on the hub; ``stem`` stands in for a file's path in its rows."""

    name: str
    split: str
    subset: str | None = None
    stem: str = ""


@dataclass(frozen=True, slots=True)
class PlacedRow:
    """One official row with where it stands."""

    row: Row
    """The row, as read."""
    place: str
    """File and line (of JSON, the position of the row), for errors."""
    stem: str
    """Path of the file without its suffix, as some layouts keep the subset there; of the hub, that of ``HubSet``."""
    number: int
    """Line or position in its file, from 1."""


def rows_at(
    path: str | None, *, hub: tuple[HubSet, ...], files: str | tuple[str, ...], title: str, official: str
) -> Iterator[PlacedRow]:
    """Yield the rows of the file or folder at ``path``; without ``path``, of the hub.

    Of a folder every file is read whose path matches ``files`` whole, in the order of their names; of several patterns
    the first that any file matches, as some folders hold the set twice. A folder written by ``datasets.save_to_disk``
    is read by the splits of ``hub``.

    Raises:
        DataError: naming the file, where it cannot be read, the folder holds no such file, or there is no hub set.
    """
    if path is None:
        if not hub:
            raise DataError(f"{title} is not on the hub; give its official files, NAME=PATH, from {official}")
        for each in hub:
            for number, row in hub_rows(each.name, each.split, subset=each.subset):
                yield PlacedRow(row, f"{each.name}:{number}", each.stem or each.split, number)
        return
    root = Path(path)
    if not root.is_dir():
        yield from _result_file(path)
    elif (root / "dataset_dict.json").exists() or (root / "state.json").exists():
        for each in hub or (HubSet(path, "train"),):
            for number, row in read_rows(path, split=each.split):
                yield PlacedRow(row, f"{path}:{number}", each.stem or each.split, number)
    else:
        for file in _official_files(root, files, title=title, official=official):
            yield from _result_file(str(file))


def result_rows(path: str) -> Iterator[PlacedRow]:
    """Yield the rows of published results: of one file, or of every data file of a folder, by name.

    A .json file holds one array of rows; or rows one after another, over as many lines as they like; or one object of
    columns, name → list of one value per row, as ``datasets.Dataset.to_dict`` writes, in which a value that is no
    list is that of every row. Other kinds of files are read as data is.

    Raises:
        DataError: naming the file, and where possible the row, that cannot be read.
    """
    root = Path(path)
    if not root.is_dir():
        yield from _result_file(path)
        return
    files = _data_files(root)
    if not files:
        raise DataError(f"{path}: holds no data files")
    for file in files:
        yield from _result_file(str(file))


def _result_file(path: str) -> Iterator[PlacedRow]:
    if not path.lower().endswith(".json"):
        yield from _file_rows(path)
        return
    check_readable(path)
    try:
        content = Path(path).read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text: {error}") from None
    if content.lstrip().startswith("["):
        yield from _file_rows(path)
        return
    stem = _without_suffix(Path(path).absolute().as_posix())
    values = list(_json_values(path, content))
    rows = _columns(path, values[0]) if len(values) == 1 and _is_columns(values[0]) else iter(values)
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, Mapping):
            raise DataError(f"{path}:{number}: row is {found(row)}; it must be an object")
        yield PlacedRow(row, f"{path}:{number}", stem, number)


def _json_values(path: str, content: str) -> Iterator[object]:
    decoder, position = json.JSONDecoder(), _after_space(content, 0)
    while position < len(content):
        try:
            value, position = decoder.raw_decode(content, position)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}: JSON is broken: {error}") from None
        yield value
        position = _after_space(content, position)


def _after_space(content: str, position: int) -> int:
    match = _SPACE.match(content, position)
    return position if match is None else match.end()


def _is_columns(value: object) -> bool:
    return isinstance(value, Mapping) and any(is_list(value.get(name)) for name in _COLUMNS)


def _columns(path: str, value: object) -> Iterator[Row]:
    """Yield the rows of an object of columns.

    Raises:
        DataError: where the columns have different lengths.
    """
    assert isinstance(value, Mapping)
    lists = {name: column for name, column in value.items() if is_list(column)}
    sizes = {name: len(column) for name, column in lists.items()}
    if len(set(sizes.values())) > 1:
        words = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise DataError(f"{path}: the columns have different numbers of rows: {words}")
    same = {name: each for name, each in value.items() if name not in lists}
    for cells in zip(*lists.values(), strict=True):
        yield {**same, **dict(zip(lists, cells, strict=True))}


def _file_rows(path: str) -> Iterator[PlacedRow]:
    stem = _without_suffix(Path(path).absolute().as_posix())
    for number, row in read_rows(path):
        yield PlacedRow(row, f"{path}:{number}", stem, number)


def _official_files(root: Path, files: str | tuple[str, ...], *, title: str, official: str) -> list[Path]:
    found = _data_files(root)
    for pattern in (files,) if isinstance(files, str) else files:
        chosen = [file for file in found if re.fullmatch(pattern, file.absolute().as_posix())]
        if chosen:
            return chosen
    seen = ", ".join(file.relative_to(root).as_posix() for file in found[:5]) or "no data files"
    raise DataError(f"{root}: holds no file of {title}; it has: {seen}; the official files are at {official}")


def _data_files(root: Path) -> list[Path]:
    return sorted(file for file in root.rglob("*") if file.is_file() and file.name.lower().endswith(SUFFIXES))


def _without_suffix(path: str) -> str:
    suffix = next((each for each in sorted(SUFFIXES, key=len, reverse=True) if path.lower().endswith(each)), "")
    return path[: len(path) - len(suffix)]


def turns_of(value: object, name: str) -> list[Message]:
    """Return the messages of a list of turns, each with ``role`` and ``content``, whatever else it has.

    Raises:
        DataError: naming the field that is missing or of another kind.
    """
    turns = each(value, name, mapping)
    return [Message(required_text(turn, "role"), required_text(turn, "content")) for turn in turns]


def prompt_of(value: object) -> str | list[Message]:
    """Return a prompt that is a text or a list of turns."""
    return turns_of(value, "prompt") if is_list(value) else text(value, "prompt")


def recorded(values: Sequence[object], name: str) -> tuple[Numbers, str | None]:
    """Return the rewards that a row holds, and why some are missing, or None where they are all there.

    A list of one number counts as the number, as models with one output leave it. Null, NaN and infinities are no
    rewards: an official script would compare them, and NaN would lose, or win, by where it stands.

    Raises:
        DataError: naming the entry, for text, booleans and lists of several numbers.
    """
    numbers: list[float | None] = []
    reasons: list[str] = []
    for index, value in enumerate(values):
        number, why = recorded_number(value, f"{name}[{index}]")
        numbers.append(number)
        if why is not None:
            reasons.append(why)
    return tuple(numbers), "; ".join(reasons) or None


def recorded_number(value: object, name: str) -> tuple[float | None, str | None]:
    """Return a number and None, or None and why there is no number. See ``recorded``."""
    bare = value[0] if is_list(value) and len(value) == 1 else value
    if bare is None:
        return None, f"{name} is null"
    if isinstance(bare, bool) or not isinstance(bare, int | float):
        raise DataError(f"{name} is {found(bare)}; it must be a number or null")
    try:
        number = float(bare)
    except OverflowError:
        raise DataError(f"{name} is {found(bare)}; it must fit a 64-bit float") from None
    return (number, None) if math.isfinite(number) else (None, f"{name} is {number}")
