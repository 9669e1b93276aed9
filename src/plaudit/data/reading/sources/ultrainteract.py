"""UltraInteract pairs: a dialogue with an environment, a correct next action and an incorrect one.

The trajectory is the prompt: turns ``{from, value}`` of the user (the problem, then the environment's answers) and the
assistant. Every pair is one correct and one incorrect action, so that the outcomes are true and false. The ids of the
tree's nodes are not taken: that they differ from row to row is not published. Source: Yuan et al. (2024), Eurus.
"""

from __future__ import annotations

from plaudit.data.reading.sources import fields
from plaudit.data.reading.sources.declared import PairFormat
from plaudit.data.reading.sources.fields import Row
from plaudit.data.schema.group import Message
from plaudit.errors import DataError

_ROLES = ("user", "assistant")


def _trajectory(row: Row) -> tuple[Message, ...]:
    turns = fields.messages(fields.required(row, "trajectory"), "trajectory")
    if not turns:
        raise DataError("trajectory is an empty list; it must end in a user turn")
    for index, turn in enumerate(turns):
        if turn.role not in _ROLES:
            raise DataError(f"trajectory[{index}] is a {turn.role} turn; allowed: {', '.join(_ROLES)}")
    return fields.answerable(turns)


FORMATS = (
    PairFormat(
        name="ultrainteract",
        keys=("trajectory", "chosen", "rejected"),
        shown=lambda row: fields.is_list(row.get("trajectory")) and row.keys() >= {"chosen", "rejected"},
        prompt=_trajectory,
        outcomes=(True, False),
        source_from="dataset",
        takes_id=False,
    ),
)
