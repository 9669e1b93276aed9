"""Math-APS rows (OmegaPRM): Monte-Carlo values of solution prefixes, as a flat list or as a tree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from plaudit.data.reading.sources import fields
from plaudit.data.reading.sources.fields import Row, UnusableRowError
from plaudit.data.reading.sources.source import CodeFormat, RowOptions
from plaudit.data.schema.group import TWO_CLASSES, Group, Message, Step
from plaudit.data.schema.steps import join_steps
from plaudit.errors import DataError

SEPARATOR = "\n\n"
"""Text between the steps of a tree; in flat rows it stands in the prefixes themselves."""

_Labelled = tuple[str, tuple[Step, ...]]


def read(row: Row, options: RowOptions) -> Group:
    """Return the group of one problem: each solution is a response, each prefix of it that has a value a step.

    A label is a value: the share of rollouts from the end of the step that reached the right answer, from 0 to 1.
    The value of the problem itself is no step's, and is left out. ``reasoning_steps`` is one of

    - a tree ``{text, mc_value, children}`` below the problem: every path from the root to a leaf is a response;
    - a list of ``{solution_prefix, mc_value}``, each prefix opening with the problem: those that none of the others
      continues are the responses, in their order, and the prefixes that they continue are their steps. Where a prefix
      that others continue stands in the list more than once, its value is the mean.

    Source: Luo et al. (2024), OmegaPRM; layout of OpenR.

    Raises:
        DataError: naming the field.
        UnusableRowError: where a value belongs to no text, or there is no solution.
    """
    problem = fields.required_text(row, "question")
    given = fields.required(row, "reasoning_steps")
    labelled = (
        _of_prefixes(problem, fields.items(given, "reasoning_steps"))
        if fields.is_list(given)
        else _of_tree(problem, given)
    )
    if not labelled:
        raise UnusableRowError("no solution of the problem has a value")
    return fields.group(
        row,
        (Message("user", problem),),
        tuple(response for response, _ in labelled),
        steps=tuple(steps for _, steps in labelled),
        step_classes=TWO_CLASSES,
    )


def _value(members: Mapping[str, object], name: str) -> float | None:
    value = fields.number(members.get("mc_value"), f"{name}.mc_value")
    if value is not None and not 0.0 <= value <= 1.0:
        raise DataError(f"{name}.mc_value is {fields.found(members['mc_value'])}; it must lie between 0 and 1")
    return value


def _of_tree(problem: str, root: object) -> list[_Labelled]:
    """Return every path from the root to a leaf, from left to right."""
    members = fields.mapping(root, "reasoning_steps")
    if fields.text(members.get("text"), "reasoning_steps.text").strip() != problem.strip():
        raise DataError(f"reasoning_steps.text is {fields.found(members['text'])}; the root must be the question")
    labelled: list[_Labelled] = []
    waiting = _children(members, (), "reasoning_steps")
    while waiting:
        node, before, name = waiting.pop()
        content = fields.text(node.get("text"), f"{name}.text")
        if not content.strip():
            raise UnusableRowError("a labelled step holds no text")
        path = (*before, (content, _value(node, name)))
        below = _children(node, path, name)
        if below:
            waiting += below
        else:
            labelled.append(join_steps(path, SEPARATOR))
    return labelled


_Path = tuple[tuple[str, float | None], ...]


def _children(members: Mapping[str, object], path: _Path, name: str) -> list[tuple[Mapping[str, object], _Path, str]]:
    """Return the children of a node, the last one first, with the path to them and their names in errors."""
    given = members.get("children")
    entries: Sequence[object] = () if given is None else fields.items(given, f"{name}.children")
    named = [(entry, f"{name}.children[{index}]") for index, entry in enumerate(entries)]
    return [(fields.mapping(entry, place), path, place) for entry, place in reversed(named)]


def _of_prefixes(problem: str, entries: Sequence[object]) -> list[_Labelled]:
    """Return a response for each prefix that no other one continues."""
    prefixes: list[tuple[str, float | None]] = []
    for index, entry in enumerate(entries):
        name = f"reasoning_steps[{index}]"
        members = fields.mapping(entry, name)
        prefix = fields.text(members.get("solution_prefix"), f"{name}.solution_prefix")
        if not prefix.startswith(problem):
            raise DataError(f"{name}.solution_prefix is {fields.found(prefix)}; it must open with the question")
        value = _value(members, name)
        if rest := prefix[len(problem) :].rstrip():
            prefixes.append((rest, value))
    values: dict[str, list[float | None]] = {}
    for rest, value in prefixes:
        values.setdefault(rest, []).append(value)
    before = {rest: [other for other in values if _continues(rest, other)] for rest in values}
    continued = {other for others in before.values() for other in others}
    labelled: list[_Labelled] = []
    for rest, value in prefixes:
        if rest in continued:
            continue
        blank = len(rest) - len(rest.lstrip())
        steps = [Step(len(other) - blank, _mean(values[other])) for other in sorted(before[rest], key=len)]
        labelled.append((rest[blank:], (*steps, Step(len(rest) - blank, value))))
    return labelled


def _continues(longer: str, shorter: str) -> bool:
    """Return whether ``longer`` goes on after ``shorter`` at a word's end: "is 12" does not continue "is 1"."""
    return len(longer) > len(shorter) and longer[len(shorter)].isspace() and longer.startswith(shorter)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _shows_steps(row: Row) -> bool:
    return row.get("question") is not None and row.get("reasoning_steps") is not None


FORMATS = (CodeFormat(name="math_aps", optional=("question", "reasoning_steps"), shown=_shows_steps, reader=read),)
