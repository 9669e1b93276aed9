"""One response with a column of labels for each attribute: any such table, and ArmoRM's multi-objective data.

The labels of ArmoRM come from several data sets, and each was mapped to 0 … 1 by its publisher; most are null.
Source: Wang et al. (2024), ArmoRM.
"""

from __future__ import annotations

from collections.abc import Sequence

from plaudit.data.reading.sources import fields
from plaudit.data.reading.sources.fields import Row, UnusableRowError
from plaudit.data.reading.sources.source import ENTRIES, CodeFormat, RowOptions
from plaudit.data.schema.group import Group
from plaudit.errors import DataError

COLUMNS = ("messages", "conversations", "prompt", "response", "completion")
"""The columns of the conversation; with ``id`` and ``source`` those that are no labels."""

ARMORM: tuple[str, ...] = tuple(ENTRIES["armorm_multi_objective"]["attributes"])
"""In the order of the official code, which is that of the outputs of ArmoRM: its config does not name them."""


def read(row: Row, options: RowOptions) -> Group:
    """Return the group of ``{messages}``, or ``{prompt, response}``, with the attributes of the options as ratings."""
    return _rated(row, options.attributes)


def read_armorm(row: Row, options: RowOptions) -> Group:
    """Return the group of one conversation with 19 ratings; null is None.

    Raises:
        DataError: naming the field.
        UnusableRowError: as ``read``, and where no attribute is rated.
    """
    group = _rated(row, ARMORM)
    if all(value is None for values in group.ratings.values() for value in values):
        raise UnusableRowError("no rating is given")
    return group


def _rated(row: Row, columns: Sequence[str]) -> Group:
    """Return the group of a conversation whose last message is the response, with the ``columns`` as ratings.

    Each column must be there; null is a missing rating, true and false are 1 and 0.

    Raises:
        DataError: naming the field.
        UnusableRowError: where the last message is not the assistant's.
    """
    conversation, content = fields.answered(row)
    for name in columns:
        if name not in row:
            raise DataError(f"{name} is missing; the row has: {', '.join(map(str, row))}")
    ratings = {name: (_rating(row[name], name),) for name in columns}
    return fields.group(row, conversation, (content,), ratings=ratings)


def _rating(value: object, name: str) -> float | None:
    return float(value) if isinstance(value, bool) else fields.number(value, name)


FORMATS = (
    CodeFormat(
        name="armorm",
        keys=("messages", *ARMORM),
        reader=read_armorm,
        joins=True,
    ),
    CodeFormat(name="attributes", optional=COLUMNS, reader=read, joins=True),
)
