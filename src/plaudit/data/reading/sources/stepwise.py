"""Reasoning steps with one label each, in TRL's stepwise layout or under the name ``steps``."""

from __future__ import annotations

from plaudit.data.reading.sources import fields
from plaudit.data.reading.sources.fields import Row
from plaudit.data.reading.sources.source import CodeFormat, RowOptions
from plaudit.data.schema.group import TWO_CLASSES, Group, Step
from plaudit.errors import DataError

IGNORED = -100


def read(row: Row, options: RowOptions) -> Group:
    r"""Return the group of ``{prompt, completions, labels}`` or ``{prompt, steps, labels}``.

    The response is the steps joined by the ``step_separator`` of the options; a step ends just past its last
    character, before the separator. A label is a number or true (1) / false (0); null is an unlabelled step.

    Raises:
        DataError: naming the field; also for an empty first step, which would end where the response begins.
    """
    separator = options.step_separator
    name, given = fields.one_of(row, ("completions", "steps"))
    texts = fields.each(given, name, fields.text)
    labels = fields.items(fields.required(row, "labels"), "labels")
    fields.same_length(labels, len(texts), "labels", "steps")
    if not texts:
        raise DataError(f"{name} is empty; it needs at least one step")
    steps: list[Step] = []
    end = -len(separator)
    for index, (step, label) in enumerate(zip(texts, labels, strict=True)):
        previous, end = max(end, 0), end + len(separator) + len(step)
        if end <= previous:
            raise DataError(f"{name}[{index}] is {fields.found(step)}; a step that no separator precedes needs text")
        steps.append(Step(end, _label(label, f"labels[{index}]")))
    # Of true and false alone it is known that there is no third class.
    classes = TWO_CLASSES if all(isinstance(label, bool) for label in labels if label is not None) else None
    response = separator.join(texts)
    return fields.group(row, fields.prompt(row), (response,), steps=(tuple(steps),), step_classes=classes)


def _label(value: object, name: str) -> float | None:
    if value == IGNORED:
        raise DataError(f"{name} is {IGNORED}, which means no label in PyTorch; write null for an unlabelled step")
    return float(value) if isinstance(value, bool) else fields.number(value, name)


def _shows_steps(row: Row) -> bool:
    steps = row.get("steps", row.get("completions"))
    is_text_list = fields.is_list(steps) and all(isinstance(entry, str) for entry in steps)
    return row.get("labels") is not None and row.get("responses") is None and is_text_list


FORMATS = (
    CodeFormat(name="stepwise", optional=("prompt", "completions", "steps", "labels"), shown=_shows_steps, reader=read),
)
