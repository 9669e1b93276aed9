"""Writing groups as plaudit's own rows."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from plaudit.data.reading.sources.groups import group_to_row
from plaudit.data.schema.group import Group
from plaudit.errors import OutputError
from plaudit.outputs import replacing


def write_groups(path: str | Path, groups: Iterable[Group]) -> int:
    """Return how many groups were written to ``path``, one JSON object per line, atomically.

    The file ends in ``.jsonl``, or in ``.jsonl.gz`` to be compressed; equal groups give equal bytes.

    Raises:
        OutputError: naming the path, for another suffix or a folder that cannot be written.
    """
    target = Path(path)
    if not target.name.endswith((".jsonl", ".jsonl.gz")):
        raise OutputError(f"cannot write {target}: groups are written to .jsonl or .jsonl.gz")
    with replacing(target) as file:
        return _write_rows(file, groups, compressed=target.suffix == ".gz")


def _write_rows(file: IO[bytes], groups: Iterable[Group], *, compressed: bool) -> int:
    count = 0
    stream = gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) if compressed else file
    for group in groups:
        count += 1
        stream.write(json.dumps(group_to_row(group), ensure_ascii=False, allow_nan=False).encode() + b"\n")
    if compressed:
        stream.close()
    return count
