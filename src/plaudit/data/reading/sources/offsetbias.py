"""OffsetBias rows: an instruction, two outputs and the number of the better one."""

from __future__ import annotations

from plaudit.data.reading.sources.fields import Row, compared, identity, place, question, required, text
from plaudit.data.schema.group import Group, Preference

OUTPUTS = ("output_1", "output_2")
NUMBERS = (1, 2)
FIELDS = frozenset({"instruction", *OUTPUTS, "label", "id", "source"})


def is_pair(row: Row) -> bool:
    """Return whether ``row`` has an instruction, two outputs and a label."""
    return row.keys() >= {"instruction", *OUTPUTS, "label"}


def group_from_row(row: Row) -> Group:
    """Return the group of one pair: responses (1, 2) and one preference.

    The instruction is one user turn; ``label`` is 1 or 2, the number of the better output.
    Source: Park et al. (2024), OffsetBias.

    Raises:
        DataError: naming the field.
        UnusableRowError: where a text is blank, or the outputs are the same.
    """
    prompt = question(row, "instruction")
    responses = compared(*(text(required(row, name), name) for name in OUTPUTS))
    better = place(required(row, "label"), "label", NUMBERS)
    identifier, source = identity(row)
    return Group(prompt, responses, (Preference(better, 1 - better),), id=identifier, source=source)
