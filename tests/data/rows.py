"""One row read by the name of its format."""

from __future__ import annotations

from plaudit.data.reading.options import ReadingOptions
from plaudit.data.reading.sources.formats import format_named

GENERAL = ("hh", "trl", "groups", "stepwise", "outcome", "responses", "conversation")
"""Formats of no one public set, which a first row shows only where it shows none of those."""


def read_row(row, format, **options):
    """Return the group of ``row``."""
    return format_named(format).read(row, ReadingOptions(format=format, **options))
