"""plaudit's own rows: the fields of a Group as JSON, both ways."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from plaudit.data.reading.sources import fields
from plaudit.data.reading.sources.fields import Row
from plaudit.data.reading.sources.source import CodeFormat, RowOptions
from plaudit.data.schema.group import Group, Preference, Step
from plaudit.errors import DataError


def read(row: Row, options: RowOptions) -> Group:
    """Return the group that ``group_to_row`` wrote, or one written by hand in the same layout.

    ``prompt`` is a string or a list of messages; every label is optional.

    Raises:
        DataError: naming the field.
    """
    given: object = {} if row.get("ratings") is None else row["ratings"]
    return fields.group(
        row,
        fields.prompt(row),
        fields.each(fields.required(row, "responses"), "responses", fields.text),
        _optional(row, "preferences", _preference) or (),
        ranks=_optional(row, "ranks", fields.whole),
        ratings={
            attribute: fields.each(values, f"ratings[{attribute!r}]", fields.number)
            for attribute, values in fields.mapping(given, "ratings").items()
        },
        outcomes=_optional(row, "outcomes", fields.outcome),
        steps=_optional(row, "steps", _steps),
        step_classes=_optional(row, "step_classes", _class),
    )


def _optional(row: Row, name: str, read: Callable[[object, str], fields.Value]) -> tuple[fields.Value, ...] | None:
    """Return the list ``row[name]``, or None where it is absent or null."""
    return None if row.get(name) is None else fields.each(row[name], name, read)


def group_to_row(group: Group) -> dict[str, object]:
    """Return ``group`` as a JSON object that ``read`` reads back equal.

    ``preferences`` is always there: it marks a native row. Labels that the group does not have are left out.
    """
    row: dict[str, object] = {"id": group.id, "source": group.source}
    row["prompt"] = [{"role": message.role, "content": message.content} for message in group.prompt]
    row["responses"] = list(group.responses)
    row["preferences"] = [_preference_row(preference) for preference in group.preferences]
    if group.ranks is not None:
        row["ranks"] = list(group.ranks)
    if group.ratings:
        row["ratings"] = {attribute: list(values) for attribute, values in group.ratings.items()}
    if group.outcomes is not None:
        row["outcomes"] = list(group.outcomes)
    if group.steps is not None:
        row["steps"] = [
            None if steps is None else [{"end": step.end, "label": step.label} for step in steps]
            for steps in group.steps
        ]
    if group.step_classes is not None:
        row["step_classes"] = list(group.step_classes)
    return row


def _preference_row(preference: Preference) -> dict[str, object]:
    row: dict[str, object] = {"chosen": preference.chosen, "rejected": preference.rejected}
    if preference.margin is not None:
        row["margin"] = preference.margin
    if preference.probability is not None:
        row["probability"] = preference.probability
    return row


def _object(value: object, name: str, allowed: tuple[str, ...]) -> Mapping[str, object]:
    members = fields.mapping(value, name)
    for key in members:
        if key not in allowed:
            raise DataError(f"{name} has the unknown field {key!r}; allowed: {', '.join(allowed)}")
    return members


def _index(value: object, name: str) -> int:
    result = fields.whole(value, name)
    if result is None:
        raise DataError(f"{name} is missing; it must be an integer")
    return result


def _preference(value: object, name: str) -> Preference:
    members = _object(value, name, ("chosen", "rejected", "margin", "probability"))
    return Preference(
        _index(members.get("chosen"), f"{name}.chosen"),
        _index(members.get("rejected"), f"{name}.rejected"),
        margin=fields.number(members.get("margin"), f"{name}.margin"),
        probability=fields.number(members.get("probability"), f"{name}.probability"),
    )


def _steps(value: object, name: str) -> tuple[Step, ...] | None:
    if value is None:
        return None
    if not fields.is_list(value):
        raise DataError(f"{name} is {fields.found(value)}; it must be a list of steps or null")
    return fields.each(value, name, _step)


def _class(value: object, name: str) -> float:
    found = fields.number(value, name)
    if found is None:
        raise DataError(f"{name} is missing; it must be a number")
    return found


def _step(value: object, name: str) -> Step:
    members = _object(value, name, ("end", "label"))
    return Step(_index(members.get("end"), f"{name}.end"), fields.number(members.get("label"), f"{name}.label"))


def _shows_labels(row: Row) -> bool:
    has = {name for name, value in row.items() if value is not None}
    return "responses" in has and bool(has & {"preferences", "outcomes", "steps"})


FORMATS = (
    CodeFormat(
        name="groups",
        optional=("prompt", "responses", "preferences", "ranks", "ratings", "outcomes", "steps", "step_classes"),
        shown=_shows_labels,
        reader=read,
    ),
)
