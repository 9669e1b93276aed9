"""Checked fields of a row, and the error of a sound row that cannot be used."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeVar

from plaudit.data.schema.group import Group, Message, Preference
from plaudit.data.schema.turns import Changes, is_list, is_turn, regular_turn
from plaudit.errors import DataError

Row = Mapping[str, object]

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_NOTHING = ("", "none", "nan", "null")
_TRUTH = {"true": True, "false": False}
Value = TypeVar("Value")


class UnusableRowError(DataError):
    """A row is well-formed, but nothing can be learned from it: always counted, never an error."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def found(value: object) -> str:
    """Return ``value`` as it is shown in an error: its repr, shortened."""
    if isinstance(value, str | int | float | bool | None):
        text = repr(value) if not isinstance(value, int) or abs(value) < 10**18 else "a very large integer"
        return text if len(text) <= 60 else f"{text[:57]}..."
    return f"of type {type(value).__name__}"


def required(row: Row, name: str, inside: str = "") -> object:
    """Return ``row[name]``; null counts as missing. ``inside`` is the place of ``row`` in the whole row: ``label.``.

    Raises:
        DataError: naming the field and the fields that the row has.
    """
    value = row.get(name)
    if value is None:
        fields = ", ".join(map(str, row)) or "no fields"
        raise DataError(f"{inside}{name} is missing; {inside.rstrip('.') or 'the row'} has: {fields}")
    return value


def text(value: object, name: str) -> str:
    """Return ``value`` as a string, which it must be."""
    if not isinstance(value, str):
        raise DataError(f"{name} is {found(value)}; it must be a string")
    return value


def required_text(row: Row, name: str, inside: str = "") -> str:
    """Return ``row[name]``, which must be there and a string; see ``required``."""
    return text(required(row, name, inside), f"{inside}{name}")


def items(value: object, name: str) -> Sequence[object]:
    """Return ``value`` as a list, which it must be."""
    if not is_list(value):
        raise DataError(f"{name} is {found(value)}; it must be a list")
    return value


def required_list(row: Row, name: str) -> Sequence[object]:
    """Return ``row[name]``, which must be there and a list; see ``required``."""
    return items(required(row, name), name)


def each(value: object, name: str, read: Callable[[object, str], Value]) -> tuple[Value, ...]:
    """Return every entry of the list ``value`` as parsed by ``read``, given its place in errors: ``name[0]``."""
    return tuple(read(entry, f"{name}[{index}]") for index, entry in enumerate(items(value, name)))


def required_texts(row: Row, name: str) -> tuple[str, ...]:
    """Return the strings in the list ``row[name]``, which must be there; see ``required``."""
    return each(required(row, name), name, text)


def mapping(value: object, name: str) -> Mapping[str, object]:
    """Return ``value`` as an object with string keys, which it must be."""
    if not isinstance(value, Mapping):
        raise DataError(f"{name} is {found(value)}; it must be an object")
    return value


def _read_out(value: object) -> object:
    """Return a number that is written as text, as in CSV, as the number; blank text and ``None`` or ``NaN`` as None.

    Signs that could mean several things, as the comma of ``1,234``, are left for the caller to refuse.
    """
    if isinstance(value, Decimal):
        return float(value)
    if not isinstance(value, str):
        return value
    written = value.strip()
    if written.lower() in _NOTHING:
        return None
    if not _NUMBER.fullmatch(written):
        return value
    return int(written) if written.lstrip("+-").isdecimal() and len(written) < 20 else float(written)


def number(value: object, name: str) -> float | None:
    """Return ``value``, a number or the text of one, as a float, or None for null and for blank text.

    Raises:
        DataError: for other text, booleans, NaN and infinities.
    """
    given = _read_out(value)
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise DataError(f"{name} is {found(value)}; it must be a number")
    try:
        result = float(given)
    except OverflowError:
        raise DataError(f"{name} is {found(value)}; it must fit a 64-bit float") from None
    if not math.isfinite(result):
        raise DataError(f"{name} is {result}; it must be finite")
    return result


def whole(value: object, name: str) -> int | None:
    """Return ``value`` as an integer (``2.0`` and ``"2"`` count), or None for null and for blank text."""
    given = _read_out(value)
    if given is None:
        return None
    is_number = isinstance(given, int | float) and not isinstance(given, bool) and math.isfinite(given)
    if not is_number or given != given // 1:
        raise DataError(f"{name} is {found(value)}; it must be an integer")
    return int(given)


def on_scale(value: object, name: str, lowest: int, highest: int) -> float | None:
    """Return a rating on a scale of whole numbers, given as a number or as its digits, or None for null.

    Raises:
        DataError: for anything that is no whole number from ``lowest`` to ``highest``.
    """
    given = _read_out(value)
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int | float) or given not in range(lowest, highest + 1):
        raise DataError(f"{name} is {found(value)}; it must be a whole number from {lowest} to {highest}")
    return float(given)


def place(value: object, name: str, labels: Sequence[int | str]) -> int:
    """Return the index of ``value`` in ``labels``: which of several responses it names.

    Raises:
        DataError: where it is none of them.
    """
    for index, label in enumerate(labels):
        given = _read_out(value) if isinstance(label, int) else value
        if given == label and not isinstance(given, bool):
            return index
    raise DataError(f"{name} is {found(value)}; allowed: {', '.join(map(str, labels))}")


def outcome(value: object, name: str) -> bool | None:
    """Return ``value`` as correct or not, or None for null; 1 and 0, and their text, count as true and false."""
    given = _read_out(value)
    if isinstance(given, str):
        given = _TRUTH.get(given.strip().lower(), given)
    if given is None or isinstance(given, bool):
        return given
    if isinstance(given, int | float) and given in (0, 1):
        return bool(given)
    raise DataError(f"{name} is {found(value)}; allowed: true, false, 1, 0 or null")


def same_length(values: Sequence[object], count: int, name: str, of: str) -> None:
    """Raise DataError unless ``values`` has one entry for each of the ``count`` ``of``."""
    if len(values) != count:
        raise DataError(f"{name} has {len(values)} entries for {count} {of}")


def messages(value: object, name: str) -> tuple[Message, ...]:
    """Return a list of ``{role, content}`` as messages; see ``schema.turns`` for what else is read as one.

    Raises:
        DataError: naming the turn and the field; what is not text is refused, because leaving it out would change the
            conversation.
    """

    def message(turn: object, place: str) -> Message | None:
        given = mapping(turn, place)
        fields = regular_turn(given, place, f"{name}[]", Changes()) if is_turn(given) else given
        if fields is None:
            return None
        if fields.get("tool_calls"):
            raise DataError(f"{place}.tool_calls is not empty; only text turns can be read")
        return Message(text(fields.get("role"), f"{place}.role"), text(fields.get("content"), f"{place}.content"))

    return tuple(turn for turn in each(value, name, message) if turn is not None)


def prompt(row: Row) -> tuple[Message, ...]:
    """Return the row's ``prompt``: a string is one user turn, a list is a conversation."""
    value = required(row, "prompt")
    if isinstance(value, str):
        return (Message("user", value),)
    if is_list(value):
        return messages(value, "prompt")
    raise DataError(f"prompt is {found(value)}; it must be a string or a list of messages")


def response(value: object, name: str) -> str:
    """Return a response given as a string or as a list of one assistant message."""
    if isinstance(value, str):
        return value
    if not is_list(value):
        raise DataError(f"{name} is {found(value)}; it must be a string or a list of one assistant message")
    turns = messages(value, name)
    if len(turns) != 1 or turns[0].role != "assistant":
        raise DataError(f"{name} holds {len(turns)} messages; as a list it must hold one assistant message")
    return turns[0].content


def answered(row: Row) -> tuple[tuple[Message, ...], str]:
    """Return the prompt and the one response of a row: of ``messages``, or a ``prompt`` with its ``response``.

    Raises:
        DataError: naming the field.
        UnusableRowError: where the last message is not the assistant's.
    """
    name, given = one_of(row, ("messages", "conversations", "prompt"))
    if name == "prompt":
        answer, value = one_of(row, ("response", "completion"))
        return prompt(row), response(value, answer)
    turns = messages(given, name)
    if not turns:
        raise DataError(f"{name} is an empty list; it must end in an assistant message")
    if turns[-1].role != "assistant":
        raise UnusableRowError("last turn is not the assistant's")
    return answerable(turns[:-1]), turns[-1].content


def question(row: Row, name: str) -> tuple[Message, ...]:
    """Return the text under ``name`` as one user turn.

    Raises:
        DataError: where it is not text.
        UnusableRowError: where it is blank.
    """
    return answerable((Message("user", required_text(row, name)),))


def answerable(turns: Sequence[Message]) -> tuple[Message, ...]:
    """Return ``turns``, which a response must be able to follow.

    Raises:
        UnusableRowError: where a turn is blank, or the last one is the assistant's.
    """
    if not all(turn.content.strip() for turn in turns):
        raise UnusableRowError("empty turn in the prompt")
    if turns and turns[-1].role == "assistant":
        raise UnusableRowError("prompt ends in an assistant turn")
    return tuple(turns)


def compared(first: str, second: str) -> tuple[str, str]:
    """Return two responses that were compared; one of them may be blank.

    Raises:
        UnusableRowError: where they differ by no more than white space at their ends.
    """
    if first.strip() == second.strip():
        raise UnusableRowError("chosen equals rejected")
    return first, second


def answers(row: Row, name: str, key: str) -> tuple[Sequence[Mapping[str, object]], tuple[str, ...]]:
    """Return the objects in the list ``name``, and the text that each response has under ``key``.

    Raises:
        DataError: naming the object and the field.
        UnusableRowError: where there is no response.
    """
    entries = each(required(row, name), name, mapping)
    if not entries:
        raise UnusableRowError("no response to the prompt")
    return entries, tuple(required_text(entry, key, f"{name}[{index}].") for index, entry in enumerate(entries))


def one_of(row: Row, names: Sequence[str]) -> tuple[str, object]:
    """Return the name and value of the only field of ``names`` that the row has.

    Raises:
        DataError: where there is none, or more than one.
    """
    present = [name for name in names if row.get(name) is not None]
    if not present:
        raise DataError(f"{names[0]} is missing; the row needs one of: {', '.join(names)}")
    if len(present) > 1:
        raise DataError(f"{present[0]} and {present[1]} are both given; only one of them may be")
    return present[0], row[present[0]]


def identity(row: Row) -> tuple[str, str]:
    """Return the row's ``id`` (a number is written out) and ``source``, each empty where absent."""
    given = row.get("id")
    if given is None:
        identifier = ""
    elif isinstance(given, str):
        identifier = given
    elif isinstance(given, int) and not isinstance(given, bool):
        identifier = str(given)
    else:
        raise DataError(f"id is {found(given)}; it must be a string or an integer")
    source = row.get("source")
    return identifier, "" if source is None else text(source, "source")


def group(
    row: Row,
    prompt: tuple[Message, ...],
    responses: Sequence[str],
    preferences: tuple[Preference, ...] = (),
    **labels: Any,
) -> Group:
    """Return the group of ``row`` under its own ``id`` and ``source``; ``labels`` are further fields of a ``Group``.

    Raises:
        DataError: naming the field.
        UnusableRowError: where a turn of the prompt is blank.
    """
    identifier, source = identity(row)
    if any(not turn.content.strip() for turn in prompt):
        raise UnusableRowError("empty turn in the prompt")
    return Group(prompt, tuple(responses), preferences, id=identifier, source=source, **labels)
