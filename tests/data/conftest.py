"""Fixtures of the data tests."""

from __future__ import annotations

import json

import pytest

from plaudit.data.reading.read import read_groups


@pytest.fixture
def write_rows(tmp_path):
    """Return a function that writes rows (objects, or lines as they are) to a JSON Lines file."""

    def write(rows, name="rows.jsonl"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
        return path

    return write


@pytest.fixture
def read(tmp_path):
    """Return ``read_groups`` with a cache of its own."""

    def read_with_cache(path, **arguments):
        return read_groups(path, cache_dir=tmp_path / "cache", **arguments)

    return read_with_cache
