"""Writing groups as plaudit's own rows."""

from __future__ import annotations

import gzip
import io
import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from plaudit.data.reading.sources.groups import group_to_row
from plaudit.data.schema.group import Group
from plaudit.errors import OutputError
from plaudit.records import check_target


def write_groups(path: str | Path, groups: Iterable[Group]) -> int:
    """Return how many groups were written to ``path``, one JSON object per line, atomically.

    The file ends in ``.jsonl``, or in ``.jsonl.gz`` to be compressed; equal groups give equal bytes.

    Raises:
        OutputError: naming the path, for another suffix or a folder that cannot be written.
    """
    target = Path(path)
    if not target.name.endswith((".jsonl", ".jsonl.gz")):
        raise OutputError(f"cannot write {target}: groups are written to .jsonl or .jsonl.gz")
    check_target(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    except OSError as error:
        raise OutputError(f"cannot write {target}: {error.strerror or error}") from error
    try:
        with os.fdopen(handle, "wb") as file:
            count = _write_rows(file, groups, compressed=target.suffix == ".gz")
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
    except OSError as error:
        raise OutputError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        Path(temporary).unlink(missing_ok=True)
    return count


def _write_rows(file: io.BufferedWriter, groups: Iterable[Group], *, compressed: bool) -> int:
    count = 0
    stream = gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) if compressed else file
    for group in groups:
        count += 1
        stream.write(json.dumps(group_to_row(group), ensure_ascii=False, allow_nan=False).encode() + b"\n")
    if compressed:
        stream.close()
    return count
