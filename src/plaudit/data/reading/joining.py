"""Rows of one prompt that stand one after the other, as one group."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import TypeVar

from plaudit.data.schema.group import Group, Preference
from plaudit.errors import DataError

_Label = TypeVar("_Label")


def same_prompt(first: Group, second: Group) -> bool:
    """Return whether two groups have the same prompt and source."""
    return (first.prompt, first.source) == (second.prompt, second.source)


def check_joins(first: Group, second: Group) -> None:
    """Raise DataError where two groups of one prompt have labels that no group can hold together."""
    if first.ranks is not None or second.ranks is not None:
        raise DataError("ranks of rows with the same prompt cannot be joined: each row has an order of its own")


def joined(run: Sequence[Group]) -> Group:
    """Return the one group of consecutive groups of one prompt, under the id of the first.

    Preferences keep their responses. A rating, an outcome or steps that a response lacks are None.
    """
    first = run[0]
    if len(run) == 1:
        return first
    names = dict.fromkeys(name for group in run for name in group.ratings)
    return replace(
        first,
        responses=tuple(response for group in run for response in group.responses),
        preferences=_preferences(run),
        ratings={name: _filled(run, lambda group, name=name: group.ratings.get(name)) or () for name in names},
        outcomes=_filled(run, lambda group: group.outcomes),
        steps=_filled(run, lambda group: group.steps),
    )


def _preferences(run: Sequence[Group]) -> tuple[Preference, ...]:
    starts = accumulate((len(group.responses) for group in run), initial=0)
    return tuple(
        replace(each, chosen=each.chosen + start, rejected=each.rejected + start)
        for group, start in zip(run, starts, strict=False)
        for each in group.preferences
    )


def _filled(
    run: Sequence[Group], of: Callable[[Group], tuple[_Label | None, ...] | None]
) -> tuple[_Label | None, ...] | None:
    """Return a label of every response of ``run``, None where its group has none; None where no group has it."""
    found = [of(group) for group in run]
    if all(each is None for each in found):
        return None
    return tuple(
        value
        for group, each in zip(run, found, strict=True)
        for value in ((None,) * len(group.responses) if each is None else each)
    )
