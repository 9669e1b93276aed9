"""The protocol in the middle of plaudit: whatever can give rewards to the responses of a group."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from plaudit.data.group import Group


@dataclass(frozen=True, slots=True)
class GroupRewards:
    """The rewards of one group, in the order of its responses.

    ``rewards[k]`` is None where response k could not be scored; ``reason`` then says why. ``attributes`` holds one
    number per response and attribute; ``steps[k]`` one reward per reasoning step; ``uncertainty[k]`` a standard
    deviation, all in the units of the reward.
    """

    id: str
    rewards: tuple[float | None, ...]
    attributes: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)
    steps: tuple[tuple[float, ...] | None, ...] | None = None
    uncertainty: tuple[float | None, ...] | None = None
    reason: str | None = None


class Scorer(Protocol):
    """Gives rewards to groups: one ``GroupRewards`` per group, in the order of the input, streaming."""

    def score_groups(self, groups: Iterable[Group]) -> Iterator[GroupRewards]:
        """Yield the rewards of each group, in order, reading no further ahead than a bounded window."""
        ...
