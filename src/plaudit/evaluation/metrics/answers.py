"""The final answer in a response, for a vote of the majority."""

from __future__ import annotations

import re

from plaudit.errors import ConfigError

LAST_NUMBER = r"(?:(?<![\w)\]])-)?(?:[0-9][0-9,]*(?:\.[0-9]+)?|(?<!\w)\.[0-9]+)"
"""A number, with commas between thousands; a minus belongs to it unless it stands behind a letter, digit or bracket."""

_NUMBER = re.compile(r"([-+]?)(?=\.?[0-9])([0-9]*)(?:\.([0-9]*))?")


def compiled_pattern(text: str) -> re.Pattern[str]:
    """Return the compiled pattern of answers.

    Raises:
        ConfigError: when it is no regular expression.
    """
    try:
        return re.compile(text)
    except re.error as error:
        raise ConfigError(f"answer_pattern {text!r} is no regular expression: {error}") from None


def extract_answer(response: str, pattern: re.Pattern[str]) -> str | None:
    """Return the last match of ``pattern``, or of its first group where it has one; None where there is none.

    Numbers are written in one way, so that ``1,200.0`` and ``1200`` are one answer; other answers lose the white
    space around them and keep their case.
    """
    last = None
    for match in pattern.finditer(response):
        found = match.group(1 if pattern.groups else 0)
        if found is not None and found.strip():
            last = found.strip()
    return None if last is None else _written_once(last)


def _written_once(answer: str) -> str:
    number = _NUMBER.fullmatch(answer.replace(",", ""))
    if number is None:
        return answer
    sign, whole, part = number.group(1), number.group(2).lstrip("0") or "0", (number.group(3) or "").rstrip("0")
    written = f"{whole}.{part}" if part else whole
    return f"-{written}" if sign == "-" and written != "0" else written
