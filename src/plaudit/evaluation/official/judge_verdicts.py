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

Verdict = Literal["won", "tied", "lost", "unread"]
"""Outcome of one game for the better response; ``unread``: no verdict could be read."""


def was_judged(item: ItemScore) -> bool:
    """Return whether ``item`` carries the verdicts of a judge."""
    return ORDERS[0] in item.attributes


def verdicts(item: ItemScore, better: int, worse: int) -> tuple[Verdict, ...]:
    """Return the outcome of response ``better`` against ``worse`` in each game played."""
    return tuple(_verdict(item.attributes[name], better, worse) for name in ORDERS if name in item.attributes)


def _verdict(values: tuple[float | None, ...], better: int, worse: int) -> Verdict:
    first, second = values[better], values[worse]
    if first is None or second is None:
        return "unread"
    if first == second:
        return "tied"
    return "won" if first > second else "lost"


def judged(id: str, *games: tuple[float | None, ...]) -> GroupRewards:
    """Return the verdicts of one or two games, with their mean as the rewards; none where a game has no verdict."""
    rewards = tuple(None if None in own else sum(filter(None, own)) / len(own) for own in zip(*games, strict=True))
    reason = f"{'the' if len(games) == 1 else 'a'} game has no verdict" if None in rewards else None
    return GroupRewards(id, rewards, dict(zip(ORDERS, games, strict=False)), reason=reason)


def published_item(
    gathering: Gathering, rewards: GroupRewards, facts: Mapping[str, JsonValue] | None = None
) -> ItemScore:
    """Return the item of the one row that ``gathering`` holds, with its published result and further ``facts``.

    A row that could not be scored, as where a response is empty, was judged all the same.
    """
    if gathering.groups:
        group = gathering.groups[0]
        known = {**gathering.facts[group.id], **(facts or {})}
        return item_score(group, rewards).model_copy(update={"metadata": known})
    refused = gathering.refused[0]
    return refused.model_copy(
        update={
            "rewards": tuple(rewards.rewards),
            "attributes": {name: tuple(each) for name, each in rewards.attributes.items()},
            "reason": rewards.reason,
            "metadata": {**refused.metadata, **(facts or {})},
        }
    )
