"""A row made regular before a format reads it: columns under the format's names, conversations as messages.

Files write one conversation in many ways: as messages ``{role, content}``, as ShareGPT turns ``{from, value}``, as one
message without a list, with content in parts, and in a column of text as JSON or as Python prints it. A format sees
only lists of ``{role, content}`` with text content.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from plaudit.data.reading.sources.fields import Row, found, is_list
from plaudit.data.schema.turns import KEYS, ROLE_NAMES, Changes, are_turns, is_turn, regular_turn, regular_turns
from plaudit.errors import DataError, closest_or_all

LIST_COLUMNS = frozenset(
    {"messages", "conversations", "responses", "completions", "steps", "labels", "ranks", "scores", "ratings"}
    | {"preferences", "outcomes"}
)
"""Columns that hold a list or an object; in a file of text cells they are written as JSON."""

AS_TEXT = "conversation read from text"

_OBJECT = re.compile(r"""\s*(\[\s*)?\{\s*['"]""")
_QUOTED_OBJECT = re.compile(r"""\s*"\s*(\[\s*)?\{\s*(\\"|')""")
_CONVERSATION = re.compile(r"""\s*(\[\s*)?\{\s*(['"])(role|from|content|value)\2\s*:""")
_LABELS = ("score", "rank", "ratings")
"""Labels that a response given as a message may carry."""


@dataclass(slots=True)
class Shaped:
    """A regular row, and what was changed or left out of it."""

    row: Row
    changes: Changes = field(default_factory=Changes)


def shaped(row: Row, columns: Mapping[str, str], fields: Collection[str] | None) -> Shaped:
    """Return ``row`` with the columns under the names that ``columns`` gives them, and regular conversations.

    Only the ``fields`` that the format looks at are made regular; None stands for all.

    Raises:
        DataError: naming a column that is not there, text that opens as a conversation and cannot be parsed, or a key
            of a message that says something and is not read.
    """
    changes = Changes()
    found = renamed(row, columns, changes.ignored)
    looked_at = found.keys() if fields is None else fields
    return Shaped(
        {name: _shaped(value, name, changes) if name in looked_at else value for name, value in found.items()}, changes
    )


def shaped_to_detect(row: Row, columns: Mapping[str, str]) -> Row:
    """Return ``row`` as ``shaped`` does before its format is known: what cannot be read stays as it is."""
    found = dict(renamed(row, columns, set()))
    for name, value in found.items():
        with suppress(DataError):
            found[name] = _shaped(value, name, Changes())
    return found


def _shaped(value: Any, name: str, changes: Changes) -> Any:
    parsed = _parsed(value, name, changes) if isinstance(value, str) else value
    return _regular(parsed, name, changes) if is_list(parsed) or isinstance(parsed, Mapping) else parsed


def renamed(row: Row, columns: Mapping[str, str], ignored: set[str]) -> Row:
    """Return ``row`` with the columns under the names that ``columns`` gives them; those hidden by it are ignored.

    Raises:
        DataError: for a column that is not there.
    """
    if not columns:
        return row
    for name, own in columns.items():
        if own not in row:
            raise DataError(f"{own} is missing; columns reads it as {name}; {closest_or_all(own, map(str, row))}")
    read = set(columns.values())
    ignored.update(name for name in row if name in columns and name not in read)
    kept = {name: value for name, value in row.items() if name not in columns and name not in read}
    return {**{name: row[own] for name, own in columns.items()}, **kept}


def _parsed(value: str, name: str, changes: Changes) -> object:
    """Return a text cell as what it writes out: a conversation, or the list of a column that holds one."""
    if name in LIST_COLUMNS:
        if not value or value.isspace():
            return None
        if value.lstrip()[0] in "[{":
            return _literal(value, name)
    inner = _unquoted(value)
    return value if (found := _conversation(inner, name, changes)) is inner else found


def _unquoted(value: str) -> str:
    """Return the text of a list or object that was written as JSON twice; any other text as it is."""
    if _QUOTED_OBJECT.match(value):
        with suppress(ValueError, RecursionError):
            inner = json.loads(value)
            return inner if isinstance(inner, str) else value
    return value


def _conversation(value: str, name: str, changes: Changes) -> object:
    """Return the conversation that a text writes out, or the text itself where it is of something else.

    Raises:
        DataError: where it opens as a conversation and is cut or broken.
    """
    if not _OBJECT.match(value) or not any(all(_names(value, key) for key in keys) for keys in KEYS):
        return value
    opens_as_turn = _CONVERSATION.match(value) is not None
    try:
        parsed = _literal(value, name)
    except DataError:
        if not opens_as_turn or _is_followed_by_text(value):
            return value
        raise
    if isinstance(parsed, Mapping) and parsed.keys() == {"messages"}:
        parsed = parsed["messages"]
    if not is_turn(parsed) and not are_turns(parsed):
        return value
    # Other objects have such keys, too: where a further key stands first, the names of the roles decide.
    if not opens_as_turn and not all(map(_has_known_role, parsed if is_list(parsed) else [parsed])):
        return value
    changes.noted[AS_TEXT] += 1
    return parsed


def _has_known_role(turn: Mapping[str, Any]) -> bool:
    role = turn.get("role", turn.get("from"))
    return isinstance(role, str) and role.strip().lower() in ROLE_NAMES


def _names(value: str, key: str) -> bool:
    return f'"{key}"' in value or f"'{key}'" in value


def _is_followed_by_text(value: str) -> bool:
    """Return whether a whole JSON value stands first and other text after it."""
    try:
        json.JSONDecoder().raw_decode(value.lstrip())
    except (ValueError, RecursionError):
        return False
    return True


def _literal(value: str, name: str) -> object:
    """Return what a text writes out as JSON, or as Python prints lists and dicts.

    Raises:
        DataError: where it is neither.
    """
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(value.strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        raise DataError(f"{name} is {found(value)}; it must be whole, written as JSON") from None


def _regular(value: Any, name: str, changes: Changes) -> Any:
    """Return ``value`` with every conversation in it regular: a list of turns, one turn, or a list of either."""
    if isinstance(value, Mapping):
        if is_turn(value):
            return regular_turns([value], name, changes)
        if are_turns(value.get("messages")):
            return {**value, "messages": regular_turns(value["messages"], f"{name}.messages", changes)}
        return value
    if name in ("responses", "completions"):
        value = [_response(each, f"{name}[{index}]", changes) for index, each in enumerate(value)]
    elif are_turns(value):
        return regular_turns(value, name, changes)
    if value and all(is_list(each) or isinstance(each, str) for each in value):
        return [_entry(each, f"{name}[{index}]", changes) for index, each in enumerate(value)]
    return value


def _entry(entry: Any, place: str, changes: Changes) -> Any:
    """Return an entry of a list of texts or of conversations, a conversation as turns."""
    parsed = _parsed(entry, place, changes) if isinstance(entry, str) else entry
    return _regular(parsed, place, changes) if are_turns(parsed) else parsed


def _response(entry: Any, place: str, changes: Changes) -> Any:
    """Return one of several responses that is given as a message with its labels, or ``entry`` where it is not."""
    if not is_turn(entry):
        return entry
    labels = {key: entry[key] for key in _LABELS if key in entry}
    said = {key: value for key, value in entry.items() if key not in labels}
    regular = regular_turn(said, place, "responses[]", changes)
    if regular is None or regular["role"] != "assistant":
        raise DataError(f"{place}.role is {found(entry.get('role', entry.get('from')))}; a response is the assistant's")
    return {"content": regular["content"], **labels}
