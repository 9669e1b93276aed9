"""Rows of public sets with one value taken away, repeated or made wrong: a group or a DataError, nothing else."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path

import pytest

from plaudit.data.reading.sources.formats import detect_format
from plaudit.data.schema.columns import batch_of
from plaudit.data.schema.group import Group
from plaudit.errors import DataError

from . import public_rows_b
from .rows import read_row

PUBLIC_ROWS = Path(__file__).with_name("public_rows_a.jsonl")
ROWS = {entry["source"]: entry["row"] for entry in map(json.loads, PUBLIC_ROWS.read_text().splitlines())} | {
    name: value
    for name, value in vars(public_rows_b).items()
    if name in ("ALPACA", "ARMORM", "AXIS", "BEAVERTAILS", "COMPARISON", "FEEDBACK", "OFFSETBIAS", "PAIR", "PREFERENCE")
    or name in ("PRM800K", "SHEPHERD", "STANDARD", "TULU", "TULU_405B", "ULTRAINTERACT", "WEBGPT")
}
WRONG = [None, "", " ", "x", "\x00", "\ud800", 0, -1, 2.5, 10**30, math.nan, math.inf, True, [], {}, [None], [[]], [{}]]
TAKEN_AWAY, REPEATED = object(), object()


def places(value, path=()):
    """Yield the path of every value inside ``value``."""
    if path:
        yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inside:
        yield from places(each, (*path, key))


def changed(row, path, new):
    """Return ``row`` with the value at ``path`` replaced, taken away or repeated (in a mapping: under another key)."""
    result = copy.deepcopy(row)
    holder = result
    for key in path[:-1]:
        holder = holder[key]
    if new is TAKEN_AWAY:
        del holder[path[-1]]
    elif new is REPEATED and isinstance(holder, list):
        holder.append(copy.deepcopy(holder[path[-1]]))
    elif new is REPEATED:
        holder[f"extra {path[-1]}"] = copy.deepcopy(holder[path[-1]])
    else:
        holder[path[-1]] = new
    return result


def complaint(read, row):
    """Return the message of the DataError that ``read`` raises for ``row``, or None."""
    try:
        read(row)
    except DataError as error:
        return str(error)
    return None


@pytest.mark.parametrize("name", ROWS)
def test_a_changed_row_is_a_sound_group_or_a_data_error_of_one_line(name):
    format = detect_format(ROWS[name])

    def read(row):
        group = read_row(row, format)
        # Made again, so that every rule of the schema is checked, and written as it would be.
        Group(group.prompt, group.responses, group.preferences, group.ranks, group.ratings, group.outcomes)
        batch_of([group])

    rows = [changed(ROWS[name], path, new) for path in places(ROWS[name]) for new in [*WRONG, TAKEN_AWAY, REPEATED]]
    found = [complaint(read, row) for row in rows]
    assert {message is None for message in found} == {True, False}
    for message in [*found, *(complaint(detect_format, row) for row in rows)]:
        assert message is None or (message and "\n" not in message)
