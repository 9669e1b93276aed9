"""Rows with the place they stand at, from files, saved data sets and the hub."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import re
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO, final

import pyarrow as pa

from plaudit.data.reading.sources.fields import Row, found
from plaudit.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset

SUFFIXES = (".jsonl", ".jsonl.gz", ".json", ".csv", ".tsv", ".parquet")
LONGEST_LINE = 2**28
"""Bytes of the longest line of JSON Lines: a file without line breaks must not fill the memory."""

Content = object
"""A row as found: unparsed (bytes), parsed JSON, or the DataError that says why it cannot be read."""

_ARROW_ROWS = 500
_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_DELIMITERS = ",;\t"
_SEPARATOR_LINE = re.compile(r"sep=(.)\r?\n", re.IGNORECASE)


@final
class RestUnreadableError(DataError):
    """A file is broken from here on, so that the number of rows lost is not known: never skipped."""

    def __init__(self, message: str) -> None:
        super().__init__(f"{message}; the rest of the file could not be read")


def read_rows(path: str | Path, *, split: str = "train") -> Iterator[tuple[int, Row]]:
    """Yield each row with its number: the line in JSON Lines and CSV, else the position of the row, from 1.

    ``path`` is a .jsonl, .jsonl.gz, .json (one array), .csv, .tsv or .parquet file, a folder written by
    ``datasets.save_to_disk``, or a hub name. ``split`` matters to the last two.

    Raises:
        DataError: naming the file and line, for anything that cannot be read.
    """
    for number, content in raw_rows(str(path), split):
        try:
            yield number, parse(content)
        except DataError as error:
            raise DataError(f"{path}:{number}: {error}") from None


def check_readable(path: str) -> None:
    """Raise DataError unless ``path`` is a hub name, a folder, or a file of a known kind with content."""
    file = Path(path)
    try:
        is_there = file.exists()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    if file.is_dir() or (suffix_of(path) is None and is_hub_name(path)):
        return
    if not is_there:
        raise DataError(f"{path}: no such file or folder, and not a hub name of the form owner/name")
    if not file.is_file():
        raise DataError(f"{path}: is a pipe or a device, not a file; give - to read standard input")
    if suffix_of(path) is None:
        raise DataError(f"{path}: unknown suffix {file.suffix!r}; allowed: {', '.join(SUFFIXES)}")
    try:
        with file.open("rb") as content:
            is_empty = not content.read(1)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    if is_empty:
        raise DataError(f"{path}: the file is empty")


def raw_rows(path: str, split: str) -> Iterator[tuple[int, Content]]:
    """Return the rows of ``path``, JSON lines unparsed; a row that cannot be read comes as its error.

    Raises:
        DataError: where the file as a whole cannot be read.
    """
    check_readable(path)
    file = Path(path)
    if file.is_dir():
        return _folder_rows(file, split)
    match suffix_of(path):
        case ".jsonl" | ".jsonl.gz":
            return _json_lines(file, compressed=path.lower().endswith(".gz"))
        case ".json":
            return _json_array(file)
        case ".csv" | ".tsv":
            return _csv_rows(file)
        case ".parquet":
            return _parquet_rows(file)
        case _:
            return hub_rows(path, split)


def parse(content: Content) -> Row:
    """Return a row as an object.

    Raises:
        DataError: for text that is not UTF-8, not JSON, or not a JSON object.
    """
    if isinstance(content, DataError):
        raise content
    row = _parse_json(content) if isinstance(content, bytes) else content
    if not isinstance(row, dict):
        raise DataError(f"row is {found(row)}; it must be an object")
    return row


def suffix_of(path: str) -> str | None:
    """Return the suffix of a kind of file that is read, or None."""
    return next((suffix for suffix in SUFFIXES if path.lower().endswith(suffix)), None)


def _decode(content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"text is not UTF-8: byte {content[error.start]:#04x} at position {error.start}") from None


def _parse_json(content: bytes) -> object:
    text = _decode(content)
    try:
        return json.loads(text)
    except RecursionError:
        raise DataError("JSON is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise DataError(f"JSON is broken: {error.msg} at column {error.colno}") from None
    except ValueError as error:
        raise DataError(f"JSON is broken: {error}") from None


def encoding_of(start: bytes) -> str:
    """Return the encoding of a text by its first bytes: UTF-16 where a byte order mark says so, else UTF-8."""
    return "utf-16" if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"


def _json_lines(file: Path, *, compressed: bool) -> Iterator[tuple[int, Content]]:
    number = 0
    with gzip.open(file, "rb") if compressed else file.open("rb") as lines:
        try:
            for number, line in enumerate(_lines(lines), start=1):
                if len(line) > LONGEST_LINE:
                    raise RestUnreadableError(f"line has more than {LONGEST_LINE:,} bytes")
                if not line.isspace():
                    yield number, line
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            yield number + 1, RestUnreadableError(f"gzip stream is truncated or broken: {error}")
        except UnicodeError as error:
            yield number + 1, RestUnreadableError(f"text is not UTF-16: {error}")
        except OSError as error:
            yield number + 1, RestUnreadableError(f"file cannot be read: {error.strerror or error}")
        except RestUnreadableError as error:
            yield number, error


def _lines(binary: BinaryIO | gzip.GzipFile) -> Iterator[bytes]:
    """Yield lines in UTF-8, without a byte order mark; a line that is too long comes cut."""
    start = binary.readline(LONGEST_LINE + 1)
    if encoding_of(start) == "utf-16":
        binary.seek(0)
        wide = io.TextIOWrapper(binary, encoding="utf-16", newline="\n")
        try:
            yield from (text.encode(errors="surrogatepass") for text in wide)
        finally:
            wide.detach()
        return
    line = start.removeprefix(codecs.BOM_UTF8)
    while line:
        yield line
        line = binary.readline(LONGEST_LINE + 1)


def _json_array(file: Path) -> Iterator[tuple[int, Content]]:
    try:
        content = file.read_bytes()
        is_wide = encoding_of(content) == "utf-16"
        text = content.decode("utf-16") if is_wide else _decode(content.removeprefix(codecs.BOM_UTF8))
    except (DataError, UnicodeError) as error:
        raise DataError(f"{file}: {error}") from None
    decoder, space = json.JSONDecoder(), re.compile(r"[ \t\r\n]*")

    def skip(position: int) -> int:
        match = space.match(text, position)
        return position if match is None else match.end()

    position = skip(0)
    if not text.startswith("[", position):
        raise DataError(f"{file}: a .json file must hold one array of rows; rows on separate lines are .jsonl")
    number, position = 1, skip(position + 1)
    while not text.startswith("]", position):
        try:
            row, position = decoder.raw_decode(text, position)
        except (ValueError, RecursionError) as error:
            yield number, RestUnreadableError(f"JSON is broken: {error}")
            return
        yield number, row
        number, position = number + 1, skip(position)
        if text.startswith(",", position):
            position = skip(position + 1)
        elif not text.startswith("]", position):
            yield number, RestUnreadableError("JSON is broken: the array is not closed")
            return
    if skip(position + 1) != len(text):
        yield number, RestUnreadableError("JSON is broken: there is text after the end of the array")


def _csv_rows(file: Path) -> Iterator[tuple[int, Content]]:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    with file.open("rb") as binary:
        lines = io.TextIOWrapper(binary, encoding=encoding_of(binary.read(4)), newline="")
        binary.seek(0)
        number = 1
        try:
            skipped, delimiter = _delimiter(lines, default="\t" if file.suffix.lower() == ".tsv" else ",")
            reader = csv.reader(lines, strict=True, delimiter=delimiter)
            names = next(reader, None)
            if names is None:
                return
            if len(set(names)) < len(names):
                raise DataError(f"{file}:{skipped + 1}: a column name comes twice: {', '.join(names)}")
            number = reader.line_num + 1 + skipped
            for cells in reader:
                if cells:
                    yield number, _csv_row(names, cells)
                number = reader.line_num + 1 + skipped
        except UnicodeDecodeError as error:
            yield number, RestUnreadableError(f"text is not UTF-8: {error.reason} near this line")
        except csv.Error as error:
            yield number, RestUnreadableError(f"CSV is broken: {error}")


def _delimiter(lines: TextIO, *, default: str) -> tuple[int, str]:
    """Return the lines before the header and the sign between cells: the one that cuts the header into most of them.

    Excel writes ``;`` where the comma is the decimal sign, and may say so in a first line ``sep=;``.
    """
    first = lines.readline()
    said = _SEPARATOR_LINE.fullmatch(first)
    if said is not None:
        return 1, said[1]
    lines.seek(0)
    counts = {sign: _num_cells(first, sign) for sign in (default, *_DELIMITERS)}
    return 0, max(counts, key=counts.__getitem__)


def _num_cells(line: str, delimiter: str) -> int:
    try:
        return max(map(len, csv.reader([line], delimiter=delimiter)), default=0)
    except csv.Error:
        return 0


def _csv_row(names: list[str], cells: list[str]) -> Content:
    if len(cells) != len(names):
        return DataError(f"row has {len(cells)} cells for {len(names)} columns")
    return dict(zip(names, cells, strict=True))


def _parquet_rows(file: Path) -> Iterator[tuple[int, Content]]:
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(file) as parquet:
            names = parquet.schema_arrow.names
            if len(set(names)) < len(names):
                raise DataError(f"{file}: a column name comes twice: {', '.join(names)}")
            for batch in parquet.iter_batches(batch_size=_ARROW_ROWS):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        words = " ".join(str(error).split())
        raise DataError(f"{file}: Parquet cannot be read after row {number}: {words}") from None


def is_saved_set(folder: Path) -> bool:
    """Return whether ``datasets.save_to_disk`` wrote the folder."""
    return any((folder / name).is_file() for name in ("state.json", "dataset_dict.json"))


def _folder_rows(folder: Path, split: str) -> Iterator[tuple[int, Content]]:
    from datasets import DatasetDict, load_from_disk

    try:
        loaded = load_from_disk(str(folder))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, pa.ArrowException) as error:
        words = " ".join(str(error).split())
        raise DataError(f"{folder}: a folder must be one written by datasets.save_to_disk: {words}") from None
    if isinstance(loaded, DatasetDict):
        if split not in loaded:
            raise DataError(f"{folder}: there is no split {split!r}; it has: {', '.join(map(str, loaded))}")
        loaded = loaded[split]
    return _dataset_rows(loaded)


def _dataset_rows(dataset: Dataset) -> Iterator[tuple[int, Content]]:
    arrow = dataset.with_format("arrow")
    for start in range(0, dataset.num_rows, _ARROW_ROWS):
        table: pa.Table = arrow[start : start + _ARROW_ROWS]
        yield from enumerate(table.to_pylist(), start=start + 1)


def column_names(path: str) -> list[str]:
    """Return the columns that a file of cells declares: Parquet or CSV; a file of another kind declares none.

    Raises:
        DataError: where it cannot be read.
    """
    import pyarrow.parquet as pq

    match suffix_of(path):
        case ".parquet":
            try:
                return list(pq.read_schema(path).names)
            except (pa.ArrowException, OSError, ValueError) as error:
                raise DataError(f"{path}: Parquet cannot be read: {' '.join(str(error).split())}") from None
        case ".csv" | ".tsv":
            return next((list(content) for _, content in _csv_rows(Path(path)) if isinstance(content, dict)), [])
        case _:
            return []


def is_hub_name(path: str) -> bool:
    """Return whether ``path`` is no file or folder here but looks like ``owner/name``."""
    return bool(_HUB_NAME.fullmatch(path)) and not Path(path).exists()


def hub_rows(
    name: str,
    split: str,
    *,
    subset: str | None = None,
    data_dir: str | None = None,
    revision: str | None = None,
) -> Iterator[tuple[int, Row]]:
    """Yield the rows of one split, numbered from 1.

    ``subset`` is the configuration of the data set, ``data_dir`` the folder of its repository, ``revision`` a branch or
    commit of it; without them the hub's default is read.

    Raises:
        DataError: where the hub or the data set cannot be reached, or has no such split, subset or folder.
    """
    from datasets import load_dataset

    options = {"name": subset, "data_dir": data_dir, "revision": revision}
    given: dict[str, Any] = {key: value for key, value in options.items() if value is not None}
    try:
        yield from enumerate(load_dataset(name, **given, split=split, streaming=True), start=1)
    except ValueError as error:
        # The hub answered that the configuration or split does not exist; its message lists those that do.
        raise DataError(f"{name}: cannot be read from the hub: {_first_line(error)}") from None
    except _hub_errors() as error:
        raise _unreachable(name, error) from None


def hub_commit(name: str) -> str | None:
    """Return the newest commit of a data set on the hub.

    Raises:
        DataError: where the hub or the data set cannot be reached.
    """
    from huggingface_hub import dataset_info

    try:
        return dataset_info(name).sha
    except _hub_errors() as error:
        raise _unreachable(name, error) from None


def _hub_errors() -> tuple[type[BaseException], ...]:
    """Return the errors of the hub's client: its HTTP library differs between versions, so ask for its base."""
    from huggingface_hub.errors import HfHubHTTPError

    return (OSError, ValueError, *HfHubHTTPError.__bases__)


def _unreachable(name: str, error: BaseException) -> DataError:
    return DataError(
        f"{name}: no such file or folder here, and the hub cannot be reached for it ({_first_line(error)}); "
        "without a network, give a local file or a folder written by datasets.save_to_disk"
    )


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
