"""Reasoning steps as places in a response: found by a separator, or made by joining the texts of steps."""

from __future__ import annotations

import re
from collections.abc import Sequence, Set
from dataclasses import replace
from itertools import chain

from plaudit.data.schema.group import Group, Step
from plaudit.errors import DataError


def split_steps(response: str, separator: str) -> tuple[Step, ...]:
    r"""Return the steps of ``response`` between the occurrences of ``separator``, without labels.

    A step ends just past its last character that is not white space. A piece without such a character is no step:
    padding, blank lines and separators at either end are skipped. ``\n`` in the separator also matches ``\r\n``.

    Raises:
        DataError: for an empty separator.
    """
    if not separator:
        raise DataError("step_separator is empty; it must be the text that stands between two steps")
    pattern = r"\r?\n".join(re.escape(part) for part in separator.split("\n"))
    steps: list[Step] = []
    start = 0
    for stop, next_start in chain((match.span() for match in re.finditer(pattern, response)), [(len(response), -1)]):
        kept = len(response[start:stop].rstrip())
        if kept:
            steps.append(Step(start + kept, None))
        start = next_start
    return tuple(steps)


def join_steps(pieces: Sequence[tuple[str, float | None]], separator: str) -> tuple[str, tuple[Step, ...]]:
    """Return the response that ``pieces`` (text, label) make when joined by ``separator``, and its steps.

    White space at the ends of a text is left out, so that a step ends just past its last character, before the
    separator.

    Raises:
        ValueError: where there is no piece, or one is blank.
    """
    texts = [text.strip() for text, _ in pieces]
    if not texts or not all(texts):
        raise ValueError("steps can be joined only where there is one at least, and each has text")
    steps: list[Step] = []
    end = -len(separator)
    for text, (_, label) in zip(texts, pieces, strict=True):
        end += len(separator) + len(text)
        steps.append(Step(end, label))
    return separator.join(texts), tuple(steps)


def label_steps_once(group: Group) -> Group:
    """Return ``group`` with the label of each step that several responses share on the first of them only.

    Responses of a prefix tree share their first steps, and each carries the label of a shared step. Where every label
    is one item of a loss, a step near the root would weigh as often as there are responses below it. A step is shared
    where the texts up to its end are equal; another label for the same text is another judgement, and stays.
    """
    if group.steps is None:
        return group
    seen: set[tuple[str, float]] = set()
    labelled: list[tuple[Step, ...] | None] = []
    for response, steps in zip(group.responses, group.steps, strict=True):
        if steps is None:
            labelled.append(None)
            continue
        labelled.append(tuple(_unless_seen(step, response, seen) for step in steps))
        seen |= {(response[: step.end], step.label) for step in steps if step.label is not None}
    return replace(group, steps=tuple(labelled))


def _unless_seen(step: Step, response: str, seen: Set[tuple[str, float]]) -> Step:
    if step.label is None or (response[: step.end], step.label) not in seen:
        return step
    return Step(step.end, None)
