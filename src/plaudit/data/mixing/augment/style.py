"""Changes of style that a label survives, because all responses of a group get the same one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import assert_never

from plaudit.data.mixing.augment.config import Style, Transform
from plaudit.data.mixing.augment.counts import AugmentTally
from plaudit.data.mixing.augment.draws import made_id, made_source
from plaudit.data.schema.group import Group

RULE = "style"

_CODE = re.compile(
    r"^[ ]{0,3}(?P<fence>`{3,}|~{3,})[^\n]*\n(?:.*?^[ ]{0,3}(?P=fence)[`~]*[ \t]*$|.*\Z)"
    r"|(?<!`)(?P<ticks>`+)(?!`)[^\n]*?[^`\n](?P=ticks)(?!`)",
    re.MULTILINE | re.DOTALL,
)
_BOLD = re.compile(r"(?<![\w*])\*\*(?=[^\s*])((?:[^\n*]|\*(?!\*))*?[^\s*])\*\*(?![\w*])")
_HEADING = re.compile(r"^ {0,3}#{1,6}[ \t]+(?=\S)", re.MULTILINE)
_BULLET = re.compile(r"^([ \t]*)[-*+•][ \t]+(?=[^\s\-*+\d])", re.MULTILINE)
_LINE_END = re.compile(r"(?<![ \t])[ \t]+$", re.MULTILINE)
_EMPTY_LINES = re.compile(r"\n{3,}")
_FIRST_BLANKS = re.compile(r"\A {1,3}(?=\S)")
_PRIVATE_USE = range(0xE000, 0xF900)


def with_restyled(groups: Iterable[Group], rule: Style, *, tally: AugmentTally) -> Iterator[Group]:
    """Yield every group, followed by its restyled copy, or the copy in its place where the rule says so.

    There is no copy, and the reason is counted, where nothing changes, where a response would become empty, where two
    different responses would become equal, and where steps are labelled at places in the text.
    """
    for group in groups:
        tally.groups_in += 1
        texts = tuple(restyled(response, rule.transforms) for response in group.responses)
        reason = _reason_against(group, texts)
        if reason is not None:
            tally.left_alone[reason] += 1
            yield group
            continue
        tally.augmented += 1
        tally.preferences_made["restyled"] += len(group.preferences)
        if not rule.keep_original:
            yield replace(group, responses=texts)
            continue
        tally.groups_added += 1
        yield group
        yield replace(group, responses=texts, id=made_id(group, RULE), source=made_source(group, RULE))


def restyled(text: str, transforms: Sequence[Transform]) -> str:
    """Return ``text`` after each transform in turn; fenced code and code in backticks come out as they are."""
    code = [match.group() for match in _CODE.finditer(text)]
    # A character that is not in the text holds the place of code, so that line starts stay line starts.
    mark = next(chr(point) for point in _PRIVATE_USE if chr(point) not in text) if code else ""
    prose = _CODE.sub(mark, text) if code else text
    for transform in transforms:
        prose = _transformed(prose, transform)
    if not code:
        return prose
    pieces = prose.split(mark)
    return pieces[0] + "".join(part + piece for part, piece in zip(code, pieces[1:], strict=True))


def _transformed(prose: str, transform: Transform) -> str:
    match transform:
        case "whitespace":
            lines = _LINE_END.sub("", prose.replace("\r\n", "\n"))
            return _FIRST_BLANKS.sub("", _EMPTY_LINES.sub("\n\n", lines).strip("\n"))
        case "bold":
            return _BOLD.sub(r"\1", prose)
        case "headings":
            return _HEADING.sub("", prose)
        case "bullets":
            return _BULLET.sub(r"\1", prose)
        case _:
            assert_never(transform)


def _reason_against(group: Group, texts: tuple[str, ...]) -> str | None:
    """Return why the group can have no restyled copy, or None."""
    if group.steps is not None and any(group.steps):
        return "labelled steps"
    if texts == group.responses:
        return "nothing to change"
    if not all(text.strip() for text in texts):
        return "a response would become empty"
    if len(set(texts)) < len(set(group.responses)):
        return "different responses would become equal"
    return None
