"""Reasoning steps with one label each, in TRL's stepwise layout or under the name ``steps``."""

from __future__ import annotations

from plaudit.data.reading.sources.fields import (
    Row,
    found,
    identity,
    items,
    number,
    one_of,
    prompt,
    required,
    same_length,
    text,
)
from plaudit.data.schema.group import Group, Step
from plaudit.errors import DataError

FIELDS = frozenset({"prompt", "completions", "steps", "labels", "id", "source"})
IGNORED = -100


def group_from_row(row: Row, separator: str = "\n") -> Group:
    r"""Return the group of ``{prompt, completions, labels}`` or ``{prompt, steps, labels}``.

    The response is the steps joined by ``separator``; a step ends just past its last character, before the
    separator. A label is a number or true (1) / false (0); null is an unlabelled step.

    Raises:
        DataError: naming the field; also for an empty first step, which would end where the response begins.
    """
    name, given = one_of(row, ("completions", "steps"))
    texts = [text(step, f"{name}[{index}]") for index, step in enumerate(items(given, name))]
    labels = items(required(row, "labels"), "labels")
    same_length(labels, len(texts), "labels", "steps")
    if not texts:
        raise DataError(f"{name} is empty; it needs at least one step")
    steps: list[Step] = []
    end = -len(separator)
    for index, (step, label) in enumerate(zip(texts, labels, strict=True)):
        previous, end = max(end, 0), end + len(separator) + len(step)
        if end <= previous:
            raise DataError(f"{name}[{index}] is {found(step)}; a step that no separator precedes needs text")
        steps.append(Step(end, _label(label, f"labels[{index}]")))
    identifier, source = identity(row)
    return Group(prompt(row), (separator.join(texts),), steps=(tuple(steps),), id=identifier, source=source)


def _label(value: object, name: str) -> float | None:
    if value == IGNORED:
        raise DataError(f"{name} is {IGNORED}, which means no label in PyTorch; write null for an unlabelled step")
    return float(value) if isinstance(value, bool) else number(value, name)
