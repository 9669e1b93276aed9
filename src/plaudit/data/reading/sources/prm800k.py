"""PRM800K rows: a path of steps that a labeller followed, with every rated alternative beside it."""

from __future__ import annotations

from collections.abc import Sequence

from plaudit.data.reading.sources import fields
from plaudit.data.reading.sources.fields import Row, UnusableRowError
from plaudit.data.reading.sources.source import CodeFormat, RowOptions
from plaudit.data.schema.group import THREE_CLASSES, Group, Message
from plaudit.data.schema.steps import join_steps
from plaudit.errors import DataError

_Piece = tuple[str, float | None]


def read(row: Row, options: RowOptions) -> Group:
    """Return the group of one labelled problem: its responses share their first steps, as a prefix tree.

    The followed path is a response: at each step the chosen completion, else the one that the labeller wrote. Each
    *other* completion that was rated is the last step of a response of its own, after the steps that were followed
    before it; alternatives never stand one after the other. A followed path that rated alternatives continue, and
    nothing else, is no response of its own. Labels are −1, 0, +1, or None where a rating is missing; a step that
    responses share carries its label in each of them. Alternatives without a rating are left out.
    Source: Lightman et al. (2023), Let's Verify Step by Step, appendix B.

    Raises:
        DataError: naming the field.
        UnusableRowError: where the problem was marked as bad, no step is rated or followed, or steps come after one
            that has no followed completion.
    """
    problem = fields.text(
        fields.required(fields.mapping(fields.required(row, "question"), "question"), "problem", "question."),
        "question.problem",
    )
    label = fields.mapping(fields.required(row, "label"), "label")
    if label.get("finish_reason") == "bad_problem":
        raise UnusableRowError("the labeller marked the problem as bad")
    paths = _paths(fields.items(fields.required(label, "steps", "label."), "label.steps"))
    if not paths:
        raise UnusableRowError("no step is rated or followed")
    joined = [join_steps(path, options.step_separator) for path in paths]
    return fields.group(
        row,
        (Message("user", problem),),
        tuple(response for response, _ in joined),
        steps=tuple(steps for _, steps in joined),
        step_classes=THREE_CLASSES,
    )


def _paths(entries: Sequence[object]) -> list[list[_Piece]]:
    """Return the followed path, where it ends by itself, and one path for each rated alternative."""
    followed: list[_Piece] = []
    alternatives: list[list[_Piece]] = []
    for index, entry in enumerate(entries):
        next_piece, others = _choices(entry, f"label.steps[{index}]")
        rated = [[*followed, other] for other in others if other[1] is not None]
        alternatives += rated
        if next_piece is None:
            if index + 1 < len(entries):
                raise UnusableRowError("steps come after one that nobody followed")
            return alternatives if rated or not followed else [followed, *alternatives]
        followed.append(next_piece)
    return [followed, *alternatives] if followed else alternatives


def _choices(entry: object, name: str) -> tuple[_Piece | None, list[_Piece]]:
    """Return the completion of a step that was followed, if any, and the others."""
    members = fields.mapping(entry, name)
    given = members.get("completions")
    completions = [] if given is None else list(fields.each(given, f"{name}.completions", _piece))
    chosen = fields.whole(members.get("chosen_completion"), f"{name}.chosen_completion")
    if chosen is None:
        return _written(members.get("human_completion"), f"{name}.human_completion"), completions
    if not 0 <= chosen < len(completions):
        raise DataError(f"{name}.chosen_completion is {chosen}; the step has {len(completions)} completions")
    return completions[chosen], completions[:chosen] + completions[chosen + 1 :]


def _written(value: object, name: str) -> _Piece | None:
    """Return the completion that the labeller wrote; some files have an object of nulls where there is none."""
    if value is None or fields.mapping(value, name).get("text") is None:
        return None
    return _piece(value, name)


def _piece(value: object, name: str) -> _Piece:
    members = fields.mapping(value, name)
    content = fields.text(members.get("text"), f"{name}.text")
    if not content.strip():
        raise DataError(f"{name}.text is {fields.found(content)}; a step needs text")
    rating = fields.number(members.get("rating"), f"{name}.rating")
    if rating is not None and rating not in THREE_CLASSES:
        raise DataError(f"{name}.rating is {fields.found(members['rating'])}; allowed: -1, 0, 1 or null")
    return content, rating


def _shows_labelled_steps(row: Row) -> bool:
    question, label = row.get("question"), row.get("label")
    return isinstance(question, dict) and "problem" in question and isinstance(label, dict) and "steps" in label


FORMATS = (
    CodeFormat(
        name="prm800k",
        optional=("question", "label"),
        shown=_shows_labelled_steps,
        reader=read,
    ),
)
