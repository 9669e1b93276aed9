"""UltraInteract pairs: a dialogue with an environment, a correct next action and an incorrect one."""

from __future__ import annotations

from plaudit.data.reading.sources.fields import (
    Row,
    answerable,
    compared,
    found,
    is_list,
    items,
    mapping,
    required,
    text,
)
from plaudit.data.schema.group import Group, Message, Preference
from plaudit.errors import DataError

FIELDS = frozenset({"trajectory", "chosen", "rejected", "dataset", "source"})

ROLES = ("user", "assistant")


def is_pair(row: Row) -> bool:
    """Return whether ``row`` has a trajectory and two next actions."""
    return is_list(row.get("trajectory")) and row.keys() >= {"chosen", "rejected"}


def group_from_row(row: Row) -> Group:
    """Return the group of one pair: responses (chosen, rejected), one preference, and the outcomes.

    The trajectory is the prompt: turns ``{from, value}`` of the user (the problem, then the environment's answers)
    and the assistant. Every pair is one correct and one incorrect action, so that the outcomes are true and false.
    The source is ``dataset``, the set of the problem, where the row has no ``source``. The ids of the tree's nodes
    are not taken: that they differ from row to row is not published. Source: Yuan et al. (2024), Eurus.

    Raises:
        DataError: naming the field.
        UnusableRowError: where the trajectory does not end in a turn of the user, a text is blank, or the actions
            are the same.
    """
    turns = items(required(row, "trajectory"), "trajectory")
    if not turns:
        raise DataError("trajectory is an empty list; it must end in a user turn")
    prompt = answerable([_turn(turn, f"trajectory[{index}]") for index, turn in enumerate(turns)])
    actions = compared(*(text(required(row, name), name) for name in ("chosen", "rejected")))
    name = "source" if row.get("source") is not None else "dataset"
    source = "" if row.get(name) is None else text(row[name], name)
    return Group(prompt, actions, (Preference(0, 1),), outcomes=(True, False), source=source)


def _turn(value: object, name: str) -> Message:
    fields = mapping(value, name)
    role = text(required(fields, "from", f"{name}."), f"{name}.from")
    if role not in ROLES:
        raise DataError(f"{name}.from is {found(role)}; allowed: {', '.join(ROLES)}")
    return Message(role, text(required(fields, "value", f"{name}."), f"{name}.value"))
