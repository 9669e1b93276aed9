"""Verdicts of a judge that saw a pair in one order or in both, as they stand in an item.

A judge gives no rewards but a winner per game. Its item carries the attribute ``first_order`` and, where it played a
second game with the responses swapped, ``second_order``: for each response, in the order of the data, a number that is
higher for the preferred one, equal for a tie, and null where no verdict could be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import JsonValue

from plaudit.evaluation.official.benchmark import Gathering
from plaudit.evaluation.store.items import item_score
from plaudit.records import ItemScore
from plaudit.scoring.scorer import GroupRewards

ORDERS = ("first_order", "second_order")

Game = Literal["won", "tied", "lost", "unread"]
"""What became of the better response in one game; ``unread``: no verdict could be read."""


def was_judged(item: ItemScore) -> bool:
    """Return whether ``item`` carries the verdicts of a judge."""
    return ORDERS[0] in item.attributes


def games(item: ItemScore, better: int, worse: int) -> tuple[Game, ...]:
    """Return what became of response ``better`` against ``worse`` in each game played."""
    return tuple(_game(item.attributes[name], better, worse) for name in ORDERS if name in item.attributes)


def _game(values: tuple[float | None, ...], better: int, worse: int) -> Game:
    first, second = values[better], values[worse]
    if first is None or second is None:
        return "unread"
    if first == second:
        return "tied"
    return "won" if first > second else "lost"


def mean_of_games(first: tuple[float | None, ...], second: tuple[float | None, ...]) -> tuple[float | None, ...]:
    """Return for each response the mean of its numbers in both games, or None where a game has no verdict."""
    return tuple(
        None if one is None or other is None else (one + other) / 2 for one, other in zip(first, second, strict=True)
    )


def published_item(
    gathering: Gathering, rewards: GroupRewards, facts: Mapping[str, JsonValue] | None = None
) -> ItemScore:
    """Return the item of the one row that ``gathering`` holds, with what is published of it and further ``facts``.

    A row that could not be scored, as where a response is empty, was judged all the same.
    """
    if gathering.groups:
        group = gathering.groups[0]
        known = {**gathering.facts[group.id], **(facts or {})}
        return item_score(group, rewards).model_copy(update={"facts": known})
    refused = gathering.refused[0]
    return refused.model_copy(
        update={
            "rewards": tuple(rewards.rewards),
            "attributes": {name: tuple(each) for name, each in rewards.attributes.items()},
            "reason": rewards.reason,
            "facts": {**refused.facts, **(facts or {})},
        }
    )
