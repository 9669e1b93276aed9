"""Rewards that were computed elsewhere, read from a file: a scorer without a model."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import final

from plaudit.data.reading.files import read_rows
from plaudit.data.reading.sources.fields import Row, found, is_list, mapping, required, text
from plaudit.data.schema.group import Group
from plaudit.errors import DataError
from plaudit.scoring.scorer import GroupRewards

_FIELDS = ("id", "rewards", "attributes", "steps", "uncertainty", "reason", "version")


def is_rewards_row(row: Row) -> bool:
    """Return whether ``row`` is one of a file of rewards, rather than of published results in another layout."""
    return "id" in row and "rewards" in row


@final
class RecordedRewards:
    """Gives each group the rewards that files hold under its id.

    A row is ``{"id": …, "rewards": [number or null, …]}``, one number per response in the order of the group; null and
    NaN mean that there is none. ``attributes`` (name → one number or null per response), ``steps`` (per response a list
    of numbers, or null), ``uncertainty`` and ``reason`` may be there too: what ``plaudit score`` writes is read.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        """Read the files.

        Raises:
            DataError: naming file and line, for a row of another form and for an id that comes twice.
        """
        self._paths = tuple(paths)
        self._rewards: dict[str, GroupRewards] = {}
        self._places: dict[str, str] = {}
        self._used: set[str] = set()
        for path in paths:
            for number, row in read_rows(path):
                try:
                    self._take(_rewards(row), f"{path}:{number}")
                except DataError as error:
                    raise DataError(f"{path}:{number}: {error}") from None

    def _take(self, rewards: GroupRewards, place: str) -> None:
        if rewards.id in self._rewards:
            raise DataError(f"id {rewards.id!r} has rewards already, at {self._places[rewards.id]}")
        self._rewards[rewards.id] = rewards
        self._places[rewards.id] = place

    @property
    def recipe_hash(self) -> str:
        """Return a short hash of the files."""
        digest = hashlib.blake2b(digest_size=8)
        for path in self._paths:
            digest.update(Path(path).read_bytes())
        return digest.hexdigest()

    @property
    def head_hash(self) -> str:
        """Return ``recipe_hash``: there are no weights."""
        return self.recipe_hash

    @property
    def unused(self) -> list[str]:
        """Return the ids of rewards that no group has asked for."""
        return [name for name in self._rewards if name not in self._used]

    def found(self, ids: Iterable[str]) -> None:
        """Note that groups of these ids have asked for their rewards, in this run or an earlier one."""
        self._used.update(name for name in ids if name in self._rewards)

    def score_groups(self, groups: Iterable[Group]) -> Iterator[GroupRewards]:
        """Yield the rewards of each group, in order; all null, with the reason, where the files hold none of it.

        Raises:
            DataError: naming file and line, where a row has another number of rewards than the group has responses.
        """
        for group in groups:
            count = len(group.responses)
            rewards = self._rewards.get(group.id)
            if rewards is None:
                yield GroupRewards(group.id, (None,) * count, reason="the file of rewards does not hold it")
                continue
            if len(rewards.rewards) != count:
                place = self._places[group.id]
                raise DataError(f"{place}: {len(rewards.rewards)} rewards for the {count} responses of {group.id!r}")
            self._used.add(group.id)
            yield rewards


def _rewards(row: Row) -> GroupRewards:
    id, values = text(required(row, "id"), "id"), _numbers(required(row, "rewards"), "rewards")
    unknown = [name for name in row if name not in _FIELDS]
    if unknown:
        raise DataError(f"{unknown[0]} is not a field of a row of rewards; allowed: {', '.join(_FIELDS)}")
    if row.get("version", 1) != 1:
        raise DataError(f"version is {found(row['version'])}; this plaudit reads version 1")
    attributes = mapping(row.get("attributes") or {}, "attributes")
    steps, uncertainty, reason = row.get("steps"), row.get("uncertainty"), row.get("reason")
    given = GroupRewards(
        id=id,
        rewards=values,
        attributes={name: _numbers(each, f"attributes[{name!r}]") for name, each in attributes.items()},
        steps=None if steps is None else _steps(steps),
        uncertainty=None if uncertainty is None else _numbers(uncertainty, "uncertainty"),
        reason=None if reason is None else text(reason, "reason"),
    )
    columns = {f"attributes[{name!r}]": each for name, each in given.attributes.items()}
    columns |= {"steps": given.steps, "uncertainty": given.uncertainty}
    for name, column in columns.items():
        if column is not None and len(column) != len(values):
            raise DataError(f"{name} has {len(column)} entries for {len(values)} rewards")
    return given


def _numbers(value: object, name: str) -> tuple[float | None, ...]:
    if not is_list(value):
        raise DataError(f"{name} is {found(value)}; it must be a list of numbers")
    return tuple(_number(each, f"{name}[{index}]") for index, each in enumerate(value))


def _number(value: object, name: str) -> float | None:
    """Return a number as it is, NaN and infinities too: the item says that they are none."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DataError(f"{name} is {found(value)}; it must be a number or null")
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _steps(value: object) -> tuple[tuple[float, ...] | None, ...]:
    if not is_list(value):
        raise DataError(f"steps is {found(value)}; it must be a list, with a list of numbers or null per response")
    return tuple(
        None
        if each is None
        else tuple(math.nan if step is None else step for step in _numbers(each, f"steps[{index}]"))
        for index, each in enumerate(value)
    )
