"""Labels that follow from other labels: ranks from ratings, preferences from ranks."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Literal, assert_never

from plaudit.data.group import Group, Preference

Pairs = Literal["given", "all"]


def derived(group: Group, *, ranks_from: str | None, pairs: Pairs) -> Group:
    """Return the group with ranks from the rating ``ranks_from`` and with the preferences that ``pairs`` asks for."""
    ranked = group if ranks_from is None else with_ranks_from(group, ranks_from)
    match pairs:
        case "given":
            return ranked
        case "all":
            return with_all_pairs(ranked)
        case _:
            assert_never(pairs)


def with_ranks_from(group: Group, attribute: str) -> Group:
    """Return the group ranked by a rating: the highest is 1, equal ratings share a rank, unrated ones have none.

    A group without that attribute, or with ranks of its own, is returned as it is.
    """
    if group.ranks is not None or attribute not in group.ratings:
        return group
    return dataclasses.replace(group, ranks=ranks_of(group.ratings[attribute]))


def ranks_of(values: Sequence[float | None]) -> tuple[int | None, ...]:
    """Return the rank of each value: 1 + the number of higher ones (as in sport: 1, 1, 3)."""
    known = [value for value in values if value is not None]
    return tuple(None if value is None else 1 + sum(other > value for other in known) for value in values)


def with_all_pairs(group: Group) -> Group:
    """Return the group with a preference for every two responses whose ranks differ; its own, if any, are kept."""
    if group.ranks is None or group.preferences:
        return group
    return dataclasses.replace(group, preferences=tuple(_all_pairs(group.ranks)))


def _all_pairs(ranks: Sequence[int | None]) -> list[Preference]:
    made = []
    for (i, first), (j, second) in itertools.combinations(enumerate(ranks), 2):
        if first is None or second is None or first == second:
            continue
        made.append(Preference(i, j) if first < second else Preference(j, i))
    return made
