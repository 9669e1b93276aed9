"""Turns of a conversation as people write them, read as messages ``{role, content}``: one rule for files and Python."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from plaudit.errors import InvalidGroupError

ROLE_NAMES = {
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "bot", "chatbot", "chatgpt", "model", "ai"), "assistant"),
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("tool", "function", "observation", "ipython"), "tool"),
}
"""The role of a message under each name that it is written with; case does not count."""

CONTENT_KEYS = frozenset(
    {"tool_calls", "function_call", "reasoning", "reasoning_content", "reasoning_details", "thinking", "thoughts"}
    | {"thought", "refusal", "image", "images", "audio", "audios", "video", "videos", "tools", "documents"}
)
"""Further keys of a message that are part of what was said: without them it would be another conversation."""

DEVELOPER = "developer turn read as system"
BLANK_SYSTEM = "blank system turn left out"
KEYS = (("role", "content"), ("from", "value"))
"""The keys of speaker and text: those of messages, and of ShareGPT turns."""

CONTROL_TOKEN = re.compile(
    r"<\|[^|<>\s]{1,40}\|>|<｜[^｜<>\s]{1,40}｜>|</?(?:start_of_turn|end_of_turn|bos|eos|pad|unk|s)>|\[/?INST\]|"
    r"<</?SYS>>|\[(?:CLS|SEP|PAD|MASK|UNK)\]"
)
"""Marks by which chat templates and tokenizers set turns apart, as ``<|im_end|>`` and ``[INST]``, written in a text.

A tokenizer that knows such a mark reads it as the end or the start of a turn.
"""

_TEXT_PARTS = ("text", "input_text", "output_text")


@dataclass(slots=True)
class Changes:
    """Counts of what reading left out or changed: turns of each kind, and the keys of messages that are not read."""

    noted: Counter[str] = field(default_factory=Counter)
    ignored: set[str] = field(default_factory=set)


def is_list(value: object) -> TypeGuard[Sequence[Any]]:
    """Return whether ``value`` is a JSON array (a list or tuple)."""
    return isinstance(value, (list, tuple))


def is_turn(value: object) -> bool:
    """Return whether ``value`` is an object with the keys of a message or of a ShareGPT turn."""
    return isinstance(value, Mapping) and any(value.keys() >= set(keys) for keys in KEYS)


def are_turns(value: object) -> bool:
    """Return whether ``value`` is a list of turns, at least one."""
    return is_list(value) and bool(value) and all(map(is_turn, value))


def regular_turns(value: Sequence[Mapping[str, Any]], name: str, changes: Changes) -> list[dict[str, Any]]:
    """Return turns as ``{role, content}``, without blank system turns; errors name them as entries of ``name``.

    Raises:
        InvalidGroupError: see ``regular_turn``.
    """
    turns = (regular_turn(turn, f"{name}[{index}]", f"{name}[]", changes) for index, turn in enumerate(value))
    return [turn for turn in turns if turn is not None]


def regular_turn(turn: Mapping[str, Any], place: str, kind: str, changes: Changes) -> dict[str, Any] | None:
    """Return a turn as ``{role, content}``, or None for a blank system turn, which says nothing.

    ``place`` names the turn in errors, ``kind`` all turns like it among the keys that are not read.

    Raises:
        InvalidGroupError: naming a key that says something and is not read, or a part of content that is no text.
    """
    said, text = next(keys for keys in KEYS if turn.keys() >= set(keys))
    for key, value in turn.items():
        if key in (said, text) or value is None or value is False or value in ("", [], {}):
            continue
        if key in CONTENT_KEYS:
            raise InvalidGroupError(
                f"{place}.{key} is not empty; only the text of a turn is read: write it into {text}, as your chat "
                "template renders it, or remove it"
            )
        changes.ignored.add(f"{kind}.{key}")
    role = turn[said]
    if isinstance(role, str):
        written = role.strip().lower()
        changes.noted.update([DEVELOPER] if written == "developer" else ())
        role = ROLE_NAMES.get(written, role)
    content = turn[text]
    if is_list(content):
        content = _joined(content, f"{place}.{text}")
    if role == "system" and isinstance(content, str) and not content.strip():
        changes.noted[BLANK_SYSTEM] += 1
        return None
    return {"role": role, "content": content}


def _joined(parts: Sequence[object], place: str) -> str:
    """Return the text of content that is given in parts, joined as chat templates join them: without a separator."""
    texts: list[str] = []
    for index, part in enumerate(parts):
        kind, text = (part.get("type", "text"), part.get("text")) if isinstance(part, Mapping) else ("text", part)
        if kind not in _TEXT_PARTS or not isinstance(text, str):
            what = f"a part of type {kind!r}" if kind not in _TEXT_PARTS else f"of type {type(text).__name__}"
            raise InvalidGroupError(f"{place}[{index}] is {what}; only parts of text can be read")
        texts.append(text)
    return "".join(texts)
