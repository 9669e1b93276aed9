"""The contract of a reader of rows, as a check that a user can run on a format of their own."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from plaudit.data.reading.convert import Block
from plaudit.data.reading.options import ReadingOptions, reading_options
from plaudit.data.reading.read import read_groups
from plaudit.data.reading.sources.fields import Row
from plaudit.data.reading.sources.formats import FORMATS, format_named
from plaudit.data.reading.sources.source import AbstractFormat, Reader
from plaudit.data.schema.columns import batch_of
from plaudit.data.schema.group import Group
from plaudit.errors import DataError

WRONG_TYPES: tuple[object, ...] = ([{"unexpected": None}], {"unexpected": []})
"""Values that are no text, no number, and no list or object of any layout."""


def check_reader(
    reader: str | AbstractFormat | Reader, rows: Sequence[Row], *, needed: Sequence[str] = (), **options: Any
) -> None:
    """Check that a reader keeps the contract of a format, on sound rows and on rows made bad from them.

    - A row becomes a valid group and is not changed by it.
    - The groups of a file are those of its rows, in their order; read again they have the same ids and fingerprint.
    - A field of the wrong type, or a number that is NaN, is a DataError that names the field. So is a field of
      ``needed`` that is missing or null; an empty text there is a DataError or an empty response. No other exception
      is raised.
    - With ``on_error="skip"`` a bad row is counted, and the other rows are read.

    Args:
        reader: the name of a format, the import path ``module:function`` of a reader, or the reader itself.
        rows: at least two sound rows of different prompts, in the layout that is read.
        needed: columns without which a row cannot be read.
        options: further fields of ``ReadingOptions``, such as ``attributes``.

    Raises:
        AssertionError: saying which part of the contract does not hold, for which row and field.
    """
    name = reader if isinstance(reader, str) else _name_of(reader)
    how = reading_options(format=name, **options)
    assert len(rows) >= 2, "give at least two rows"
    for number, row in enumerate(rows, start=1):
        _check_sound(name, row, how, f"row {number}")
    with TemporaryDirectory() as folder:
        _check_file(rows, how, Path(folder))
        for number, row in enumerate(rows, start=1):
            for bad, field, what in _bad_rows(row, format_named(name).fields, needed):
                _check_bad(name, bad, how, field, f"row {number} with {field} {what}", original=row)
        _check_skipped(name, rows, needed, how, Path(folder))


def _name_of(reader: AbstractFormat | Reader) -> str:
    """Return the name of a registered format, or the import path of a function."""
    if isinstance(reader, AbstractFormat):
        assert FORMATS.get(reader.name) is reader, f"{reader.name} is not registered; give its import path instead"
        return reader.name
    return f"{reader.__module__}:{reader.__qualname__}"


def _read(name: str, row: Row, options: ReadingOptions) -> Group:
    block = Block("", "", "", name, options)
    return format_named(name).read(block.shaped(row).row, options)


def _check_sound(name: str, row: Row, options: ReadingOptions, place: str) -> None:
    before = copy.deepcopy(row)
    group = _outcome(lambda: _read(name, row, options), place)
    assert isinstance(group, Group), f"{place} is not read: {group}"
    assert row == before, f"{place} is changed by reading it"
    assert _outcome(lambda: _read(name, row, options), place) == group, f"{place} is another group the second time"
    batch_of([group])


def _check_file(rows: Sequence[Row], options: ReadingOptions, folder: Path) -> None:
    path = _written(rows, folder / "rows.jsonl")
    first, again = (read_groups(path, options, cache_dir=folder / name) for name in ("first", "again"))
    expected = [_read(options.format, row, options) for row in rows]
    responses = [response for group in expected for response in group.responses]
    found = [response for group in first for response in group.responses]
    assert found == responses, "the groups of a file are not those of its rows, in their order"
    assert first.report.rows == first.report.groups + first.report.joined == len(rows), "not every row is counted"
    assert [group.id for group in first] == [group.id for group in again], "ids differ between two readings"
    assert first.fingerprint == again.fingerprint, "the fingerprint differs between two readings"


def _bad_rows(
    row: Row, fields: frozenset[str] | None, needed: Sequence[str]
) -> Iterator[tuple[dict[str, object], str, str]]:
    """Yield rows with one field made bad, its name, and the fault in words."""
    for field in row if fields is None else sorted(fields & row.keys()):
        for value in WRONG_TYPES:
            yield {**row, field: value}, field, "of the wrong type"
        if isinstance(row[field], int | float) and not isinstance(row[field], bool):
            yield {**row, field: math.nan}, field, "NaN"
    for field in needed:
        yield {name: value for name, value in row.items() if name != field}, field, "missing"
        yield {**row, field: None}, field, "null"
        if isinstance(row.get(field), str):
            yield {**row, field: ""}, field, "empty"


def _check_bad(name: str, bad: Row, options: ReadingOptions, field: str, place: str, *, original: Row) -> None:
    found = _outcome(lambda: _read(name, bad, options), place)
    if isinstance(found, DataError):
        assert place.endswith("empty") or field in str(found), f"{place} is refused without naming the field: {found}"
        return
    if place.endswith("empty") and any(not response.strip() for response in found.responses):
        return
    is_unread = (
        field in original
        and found == _read(name, original, options)
        and found == _read(name, {key: value for key, value in original.items() if key != field}, options)
    )
    assert is_unread, f"{place} is read in silence"


def _check_skipped(
    name: str, rows: Sequence[Row], needed: Sequence[str], options: ReadingOptions, folder: Path
) -> None:
    """Check that a row without a needed field is counted, and that the others are the groups that they were."""
    for field in needed:
        bad = {key: value for key, value in rows[0].items() if key != field}
        path = _written([rows[0], bad, rows[1]], folder / "skip.jsonl")
        skipping = options.model_copy(update={"on_error": "skip"})
        groups = read_groups(path, skipping, cache_dir=folder / f"skip {field}")
        found = [response for group in groups for response in group.responses]
        expected = [response for row in rows[:2] for response in _read(name, row, options).responses]
        assert found == expected, f"a row without {field} takes others along, or is read"
        assert sum(groups.report.dropped.values()) == 1, (
            f"a row without {field} is not counted: {groups.report.dropped}"
        )


def _outcome(read: Callable[[], Group], place: str) -> Group | DataError:
    """Return the result of reading, a group or a DataError; anything else breaks the contract."""
    try:
        return read()
    except DataError as error:
        return error
    except Exception as error:
        raise AssertionError(f"{place} raises {type(error).__name__}, not DataError: {error}") from error


def _written(rows: Sequence[Mapping[str, object]], path: Path) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
