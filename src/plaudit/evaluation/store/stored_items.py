"""Rewards that an evaluation kept in its items: results of them again, without the model."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, final

from pydantic import JsonValue

from plaudit.data.schema.group import Group
from plaudit.errors import ConfigError, DataError
from plaudit.evaluation.official.files import result_rows
from plaudit.evaluation.store.existing import RESULT_NAME, GroupCut, Standing, standing_in
from plaudit.evaluation.store.items import prompt_hash
from plaudit.evaluation.store.partial import PartialHeader
from plaudit.records import ItemScore, read_items
from plaudit.scoring.scorer import GroupRewards, ResponseTruncation, Scorer, compares

_MARKS = ("id", "prompt_key", "rewards", "lengths")


def holds_items(path: str) -> bool:
    """Return whether a file is an ``items.jsonl``, told by its first row.

    Raises:
        DataError: when it cannot be read.
    """
    first = next(result_rows(path), None)
    return first is not None and all(name in first.row for name in _MARKS)


@final
class KeptItems:
    """The items of one finished evaluation, with what its folder says of them."""

    def __init__(self, path: str) -> None:
        """Read an ``items.jsonl``, and ``result.json`` and ``scoring.json`` beside it where they are.

        Raises:
            DataError: naming file and line; where the result was made of more or fewer items than there are.
        """
        self.path = Path(path)
        self.items: Sequence[ItemScore] = read_items(self.path)
        self.standing: Standing | None = standing_in(self.path.parent)
        found = sum(len(item.rewards) for item in self.items)
        counted = found if self.standing is None else self.standing.result.details.get("responses", found)
        if counted != found:
            raise DataError(
                f"{self.path}: holds {found} rewards, and {self.path.with_name(RESULT_NAME)} was made of {counted}: "
                "lines are missing, or not its own; remove that file to take the items as they are"
            )

    @property
    def header(self) -> PartialHeader:
        """Return which evaluation they are of; without its result, the file and its folder name it."""
        if self.standing is None:
            return PartialHeader(name=self.path.resolve().parent.name, model=str(self.path))
        if self.standing.scoring is not None:
            return self.standing.scoring.evaluation
        result = self.standing.result
        names = {"name": result.name, "model": result.model}
        return PartialHeader(**names, recipe_hash=result.recipe_hash, data_fingerprint=result.data_fingerprint)

    @property
    def settings(self) -> Mapping[str, JsonValue]:
        """Return the settings of the model that gave the rewards, as far as they are known."""
        scoring = None if self.standing is None else self.standing.scoring
        return {} if scoring is None else scoring.settings

    @property
    def cuts(self) -> Sequence[GroupCut]:
        """Return what was cut of the groups."""
        scoring = None if self.standing is None else self.standing.scoring
        return () if scoring is None else scoring.cuts

    def is_of_benchmark(self, name: str) -> bool:
        """Return whether the items carry the facts of the benchmark ``name``, so that its figures need no data."""
        return bool(self.items) and all(
            item.id.startswith(f"{name}/") and "subset" in item.facts for item in self.items
        )


@final
class KeptRewards:
    """Gives each group the rewards that the items of earlier evaluations hold under its id: a scorer without a model.

    The groups may carry other labels than they did then, but must have the same texts.
    """

    def __init__(self, kept: Sequence[KeptItems]) -> None:
        """Take the items of ``kept``.

        Raises:
            ConfigError: when they are of several models.
            DataError: when an id comes twice.
        """
        headers = [each.header for each in kept]
        for one in headers:
            if (one.model, one.recipe_hash, one.weights_hash) != self._model_of(headers[0]):
                raise ConfigError(
                    f"{kept[0].path} is of model {headers[0].model!r} and another file of {one.model!r}, or of other "
                    "settings or weights; evaluate the items of one model at a time"
                )
        self.header = headers[0]
        self.settings = kept[0].settings
        self._items: dict[str, tuple[ItemScore, str]] = {}
        self._cuts: dict[str, ResponseTruncation] = {}
        self._used: set[str] = set()
        for each in kept:
            for line, item in enumerate(each.items, start=1):
                if item.id in self._items:
                    raise DataError(f"{each.path}:{line}: id {item.id!r} is also at {self._items[item.id][1]}")
                self._items[item.id] = (item, f"{each.path}:{line}")
            self._cuts |= {cut.id: ResponseTruncation(cut.tokens, cut.identical) for cut in each.cuts}

    @staticmethod
    def _model_of(header: PartialHeader) -> tuple[str, str | None, str | None]:
        return header.model, header.recipe_hash, header.weights_hash

    @property
    def recipe_hash(self) -> str | None:
        """Return the hash of the scoring recipe of the model that gave them."""
        return self.header.recipe_hash

    @property
    def head_hash(self) -> str | None:
        """Return the hash of its weights."""
        return self.header.weights_hash

    @property
    def compares(self) -> bool:
        """Whether the rewards are numbers of their groups."""
        return any(item.relative for item, _ in self._items.values())

    def in_log_odds(self) -> KeptRewards:
        """Return itself: where the model compares responses, log-odds are what an evaluation keeps."""
        return self

    @property
    def unused(self) -> list[str]:
        """Return the ids of items that no group has asked for."""
        return [name for name in self._items if name not in self._used]

    def about(self, group: Group) -> dict[str, Any]:
        """Return what the item of ``group`` says its rewards are."""
        if group.id not in self._items:
            return {}
        item, _ = self._items[group.id]
        return {"relative": item.relative, "reward_unit": item.reward_unit, "orders": item.orders}

    def found(self, ids: Iterable[str]) -> None:
        """Note that groups of these ids have asked for their rewards, in this run or an earlier one."""
        self._used.update(name for name in ids if name in self._items)

    def score_groups(self, groups: Iterable[Group]) -> Iterator[GroupRewards]:
        """Yield the rewards of each group, in order; all null, with the reason, where no item is of it.

        Raises:
            DataError: naming file and line, where an item is of other texts than the group of its id.
        """
        for group in groups:
            if group.id not in self._items:
                yield GroupRewards(group.id, (None,) * len(group.responses), reason="no item is of it")
                continue
            item, place = self._items[group.id]
            lengths = tuple(len(response) for response in group.responses)
            if (item.prompt_key, item.lengths) != (prompt_hash(group), lengths):
                raise DataError(f"{place}: item {item.id!r} is of another prompt or other responses than the group")
            self._used.add(group.id)
            yield dataclasses.replace(_rewards(item), truncation=self._cuts.get(group.id))


def what_rewards_are(scorer: Scorer, group: Group) -> dict[str, Any]:
    """Return the fields of an item that say what the rewards of ``scorer`` for ``group`` are."""
    if isinstance(scorer, KeptRewards):
        return scorer.about(group)
    # What knows every scorer loads torch, which the items of an earlier run do without.
    from plaudit.scoring.units import reward_unit

    return {"relative": compares(scorer), "reward_unit": reward_unit(scorer)}


def _rewards(item: ItemScore) -> GroupRewards:
    steps = item.steps
    return GroupRewards(
        id=item.id,
        rewards=item.rewards,
        attributes=item.attributes,
        steps=None if steps is None else tuple(None if each is None else _numbers(each) for each in steps),
        reason=item.reason,
    )


def _numbers(values: Sequence[float | None]) -> tuple[float, ...]:
    return tuple(math.nan if value is None else value for value in values)
