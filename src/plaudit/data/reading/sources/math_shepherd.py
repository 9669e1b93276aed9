"""Math-Shepherd rows: ``input`` with a tag after each step, ``label`` with + or - at the same places, or as a list."""

from __future__ import annotations

import re

from plaudit.data.reading.sources.fields import (
    Row,
    UnusableRowError,
    found,
    group,
    items,
    one_of,
    place,
    required_text,
    same_length,
)
from plaudit.data.reading.sources.source import CodeFormat, RowOptions
from plaudit.data.schema.group import TWO_CLASSES, Group, Message, Step
from plaudit.errors import DataError

TAG = re.compile(r"[ \t]*(?<!\w)ки(?!\w)")
"""The step tag with the blanks before it, standing for itself and not inside a word."""

_SIGNS = ("-", "+", 0, 1)
"""Labels of a step in a list, each wrong one before its right one."""

_SIGN = re.compile(r"[ \t]*(\S?)")
_FIRST_STEP = re.compile(r"(?<!\w)Step 1\s*:")


def split_problem(value: str) -> tuple[str, str]:
    """Return the problem and the solution of a text in which the solution opens with ``Step 1:``.

    The mark must stand exactly once: ``Step 10:`` is not one, nor is ``Step 1`` without its colon.

    Raises:
        UnusableRowError: where the problem and the first step cannot be told apart without guessing.
    """
    marks = list(_FIRST_STEP.finditer(value))
    if not marks:
        raise UnusableRowError("no 'Step 1:' between problem and solution")
    if len(marks) > 1:
        raise UnusableRowError("more than one 'Step 1:' between problem and solution")
    problem, solution = value[: marks[0].start()].rstrip(), value[marks[0].start() :]
    if not problem:
        raise UnusableRowError("empty turn in the prompt")
    return problem, solution


def read(row: Row, options: RowOptions) -> Group:
    """Return the group of one tagged solution: prompt, response without tags, steps with labels 1 (+) and 0 (-).

    The text between a tag and the next step stays as it is. Text after the last tag is an unlabelled step.
    Source: Wang et al. (2024), Math-Shepherd.

    Raises:
        DataError: naming the field; also where ``label`` does not follow the text of ``input``.
        UnusableRowError: where the first step is not marked, or a tag follows no text.
    """
    pieces = TAG.split(required_text(row, "input"))
    if len(pieces) == 1:
        raise DataError(f"input is {found(row['input'])}; it must hold the step tag 'ки' after each step")
    labels: list[float | None] = list(_signs(row, pieces))
    problem, pieces[0] = split_problem(pieces[0])
    if pieces[-1].strip():
        labels.append(None)
    response = ""
    steps: list[Step] = []
    for piece, label in zip(pieces, labels, strict=False):
        if not piece.strip():
            raise UnusableRowError("a labelled step holds no text")
        response += piece
        steps.append(Step(len(response.rstrip()), label))
    return group(
        row, (Message("user", problem),), (response.rstrip(),), steps=(tuple(steps),), step_classes=TWO_CLASSES
    )


def _signs(row: Row, pieces: list[str]) -> list[float]:
    """Return 1 or 0 for each tag: from ``label`` or ``value``, a text with signs as tags or a list of signs."""
    name, given = one_of(row, ("label", "labels", "value"))
    if isinstance(given, str):
        return _labels(given, pieces)
    signs = [place(each, f"{name}[{index}]", _SIGNS) % 2 for index, each in enumerate(items(given, name))]
    same_length(signs, len(pieces) - 1, name, "step tags of input")
    return [float(sign) for sign in signs]


def _labels(label: str, pieces: list[str]) -> list[float]:
    """Return 1 or 0 for each tag: the sign in ``label`` where the text ``pieces`` has a tag."""
    values: list[float] = []
    position = 0
    for number, piece in enumerate(pieces, start=1):
        is_last = number == len(pieces)
        if label[position:].strip() != piece.strip() if is_last else not label.startswith(piece, position):
            where = "after the last tag" if is_last else f"before tag {number}"
            raise DataError(f"label differs from input {where}; it must be the same text with + or - as tags")
        if is_last:
            break
        position += len(piece)
        sign = _SIGN.match(label, position)
        if sign is None or sign[1] not in ("+", "-"):
            raise DataError(f"label has {found(label[position : position + 10])} at tag {number}; allowed: + or -")
        values.append(1.0 if sign[1] == "+" else 0.0)
        position = sign.end()
    return values


def _shows_tags(row: Row) -> bool:
    given = row.get("input")
    has_label = any(row.get(name) is not None for name in ("label", "labels", "value"))
    return has_label and isinstance(given, str) and TAG.search(given) is not None


FORMATS = (
    CodeFormat(
        name="math_shepherd",
        optional=("input", "label", "labels", "value"),
        shown=_shows_tags,
        reader=read,
    ),
)
