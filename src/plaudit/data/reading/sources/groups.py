"""plaudit's own rows: the fields of a Group as JSON, both ways."""

from __future__ import annotations

from collections.abc import Mapping

from plaudit.data.reading.sources.fields import (
    Row,
    found,
    identity,
    is_list,
    items,
    mapping,
    number,
    outcome,
    prompt,
    required,
    text,
    whole,
)
from plaudit.data.schema.group import Group, Preference, Step
from plaudit.errors import DataError

FIELDS = frozenset({"id", "source", "prompt", "responses", "preferences", "ranks", "ratings", "outcomes", "steps"})


def group_from_row(row: Row) -> Group:
    """Return the group that ``group_to_row`` wrote, or one written by hand in the same layout.

    ``prompt`` is a string or a list of messages; every label is optional.

    Raises:
        DataError: naming the field.
    """
    identifier, source = identity(row)
    responses = items(required(row, "responses"), "responses")
    ranks, outcomes = row.get("ranks"), row.get("outcomes")
    return Group(
        prompt(row),
        tuple(text(response, f"responses[{index}]") for index, response in enumerate(responses)),
        preferences=_preferences(row.get("preferences")),
        ranks=None
        if ranks is None
        else tuple(whole(rank, f"ranks[{index}]") for index, rank in enumerate(items(ranks, "ranks"))),
        ratings=_ratings(row.get("ratings")),
        outcomes=None
        if outcomes is None
        else tuple(outcome(value, f"outcomes[{index}]") for index, value in enumerate(items(outcomes, "outcomes"))),
        steps=_steps(row.get("steps")),
        id=identifier,
        source=source,
    )


def group_to_row(group: Group) -> dict[str, object]:
    """Return ``group`` as a JSON object that ``group_from_row`` reads back equal.

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
    return row


def _preference_row(preference: Preference) -> dict[str, object]:
    row: dict[str, object] = {"chosen": preference.chosen, "rejected": preference.rejected}
    if preference.margin is not None:
        row["margin"] = preference.margin
    if preference.probability is not None:
        row["probability"] = preference.probability
    return row


def _object(value: object, name: str, allowed: tuple[str, ...]) -> Mapping[str, object]:
    fields = mapping(value, name)
    for key in fields:
        if key not in allowed:
            raise DataError(f"{name} has the unknown field {key!r}; allowed: {', '.join(allowed)}")
    return fields


def _index(value: object, name: str) -> int:
    result = whole(value, name)
    if result is None:
        raise DataError(f"{name} is missing; it must be an integer")
    return result


def _preferences(value: object) -> tuple[Preference, ...]:
    if value is None:
        return ()
    preferences = []
    for index, entry in enumerate(items(value, "preferences")):
        name = f"preferences[{index}]"
        fields = _object(entry, name, ("chosen", "rejected", "margin", "probability"))
        preferences.append(
            Preference(
                _index(fields.get("chosen"), f"{name}.chosen"),
                _index(fields.get("rejected"), f"{name}.rejected"),
                margin=number(fields.get("margin"), f"{name}.margin"),
                probability=number(fields.get("probability"), f"{name}.probability"),
            )
        )
    return tuple(preferences)


def _ratings(value: object) -> dict[str, tuple[float | None, ...]]:
    if value is None:
        return {}
    return {
        attribute: tuple(
            number(entry, f"ratings[{attribute!r}][{index}]")
            for index, entry in enumerate(items(entries, f"ratings[{attribute!r}]"))
        )
        for attribute, entries in mapping(value, "ratings").items()
    }


def _steps(value: object) -> tuple[tuple[Step, ...] | None, ...] | None:
    if value is None:
        return None
    result: list[tuple[Step, ...] | None] = []
    for index, entries in enumerate(items(value, "steps")):
        if entries is None:
            result.append(None)
            continue
        if not is_list(entries):
            raise DataError(f"steps[{index}] is {found(entries)}; it must be a list of steps or null")
        steps = []
        for place, entry in enumerate(entries):
            name = f"steps[{index}][{place}]"
            fields = _object(entry, name, ("end", "label"))
            steps.append(Step(_index(fields.get("end"), f"{name}.end"), number(fields.get("label"), f"{name}.label")))
        result.append(tuple(steps))
    return tuple(result)
