"""Labels that follow from other labels: ranks from ratings, preferences from ranks."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections import Counter
from collections.abc import Sequence
from typing import Literal

from plaudit.data.schema.group import Group, Preference
from plaudit.errors import DataError

Pairs = Literal["given", "all"]
MAX_PAIRS = 1_000_000
"""Preferences that may be made of the ranks of one group."""


def derived(group: Group, *, ranks_from: str | None, pairs: Pairs) -> Group:
    """Return the group with ranks from the rating ``ranks_from`` and with the preferences that ``pairs`` asks for."""
    ranked = group if ranks_from is None else with_ranks_from(group, ranks_from)
    return with_all_pairs(ranked) if pairs == "all" else ranked


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
    """Return the group with a preference for every two responses whose ranks differ; its own, if any, are kept.

    Raises:
        DataError: where they are more than ``MAX_PAIRS``.
    """
    if group.ranks is None or group.preferences:
        return group
    known = [rank for rank in group.ranks if rank is not None]
    ties = sum(math.comb(count, 2) for count in Counter(known).values())
    count = math.comb(len(known), 2) - ties
    if count > MAX_PAIRS:
        raise DataError(
            f"group {group.id}: pairs is all, and {len(known):,} ranked responses make {count:,} preferences; at most "
            f"{MAX_PAIRS:,} can be made of one group: leave pairs out, or draw some of the responses"
        )
    return dataclasses.replace(group, preferences=tuple(_all_pairs(group.ranks)))


def _all_pairs(ranks: Sequence[int | None]) -> list[Preference]:
    made: list[Preference] = []
    for (i, first), (j, second) in itertools.combinations(enumerate(ranks), 2):
        if first is None or second is None or first == second:
            continue
        made.append(Preference(i, j) if first < second else Preference(j, i))
    return made


def candidates(
    values: Sequence[float | None],
    choose: Literal["all", "best_vs_random", "best_vs_worst"],
    orders: tuple[Sequence[int], Sequence[int]],
) -> list[tuple[int, int]]:
    """Return the pairs (first, second) to consider among responses of ``values``, the first never of less value.

    ``orders`` are two independent orders of all responses that fix the draws: the first breaks ties for the best, the
    second picks the other response of ``best_vs_random``, or breaks ties for the worst.
    Responses without a value are in no pair.
    """
    if choose == "all":
        known = [(index, value) for index, value in enumerate(values) if value is not None]
        return [(i, j) if first >= second else (j, i) for (i, first), (j, second) in itertools.combinations(known, 2)]
    first_order, second_order = ([(index, values[index]) for index in order] for order in orders)
    known = [(index, value) for index, value in first_order if value is not None]
    if len(known) < 2:
        return []
    best = max(known, key=lambda item: item[1])[0]
    others = [(index, value) for index, value in second_order if value is not None and index != best]
    other = others[0] if choose == "best_vs_random" else min(others, key=lambda item: item[1])
    return [(best, other[0])]


def lead(
    first: float | None, second: float | None, *, min_gap: float = 0.0, min_ratio: float | None = None
) -> float | str:
    """Return ``first`` − ``second``, or why two responses of these values make no pair.

    Equal values are no matter of the bounds: they are a tie, 0. ``min_gap`` is the least difference that will do,
    ``min_ratio`` the bound that the ratio higher ÷ lower must exceed (as for SHP, Ethayarajh et al. 2022).
    """
    if first is None or second is None:
        return "a response is not rated"
    if first == second:
        return 0.0
    high, low = max(first, second), min(first, second)
    if high - low < min_gap:
        return f"difference below {min_gap:g}"
    if min_ratio is not None:
        if low <= 0:
            return "no ratio: a rating of 0 or less"
        if high <= min_ratio * low:
            return f"ratio not above {min_ratio:g}"
    return first - second
