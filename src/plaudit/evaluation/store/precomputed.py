"""Rewards that were computed before: of files, and of items of finished evaluations; scorers without a model.

And gold rewards, given to groups as a rating to be measured against.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import final

from pydantic import JsonValue

from plaudit.data.reading.files import read_rows
from plaudit.data.schema.group import Group
from plaudit.data.schema.group_set import GroupSet
from plaudit.errors import ConfigError, DataError
from plaudit.evaluation.official.files import result_rows
from plaudit.evaluation.store.items import prompt_hash, scored_groups
from plaudit.evaluation.store.result_folder import (
    RESULT_NAME,
    EvaluationIdentity,
    ExistingResult,
    GroupTruncation,
    ScoringRecord,
    existing_result,
    read_scoring,
)
from plaudit.records import ItemScore, read_items
from plaudit.scoring.files import rewards_of_row
from plaudit.scoring.scorer import GroupRewards, ResponseTruncation, ScorerInfo

_MARKS = ("id", "prompt_key", "rewards", "lengths")
GOLD = "gold"


class _RewardsById(ABC):
    """A scorer that knows the rewards of some groups by their ids, and notes the ids that are asked for."""

    absent: str
    """Reason why a group whose id is not known has no rewards."""

    def __init__(self) -> None:
        self._places: dict[str, str] = {}
        self._used: set[str] = set()

    @abstractmethod
    def _rewards_of(self, group: Group, place: str) -> GroupRewards:
        """Return the rewards of a group whose id is known, read at ``place``."""

    @property
    def unused(self) -> list[str]:
        """Ids of rewards that no group has asked for."""
        return [name for name in self._places if name not in self._used]

    def found(self, ids: Iterable[str]) -> None:
        """Note that groups of these ids have asked for their rewards, in this run or an earlier one."""
        self._used.update(name for name in ids if name in self._places)

    def score_groups(self, groups: Iterable[Group]) -> Iterator[GroupRewards]:
        """Yield the rewards of each group, in order; all null, with the reason, where none are known of it.

        Raises:
            DataError: naming file and line, where the rewards cannot be those of the group.
        """
        for group in groups:
            if group.id not in self._places:
                yield GroupRewards(group.id, (None,) * len(group.responses), reason=self.absent)
                continue
            rewards = self._rewards_of(group, self._places[group.id])
            self._used.add(group.id)
            yield rewards


@final
class PrecomputedRewards(_RewardsById):
    """Gives each group the rewards that files hold under its id.

    A row is ``{"id": …, "rewards": [number or null, …]}``, one number per response in the order of the group; null and
    NaN mean that there is none. ``attributes`` (name → one number or null per response), ``steps`` (per response a list
    of numbers, or null), ``uncertainty`` and ``reason`` may be there too: files of ``plaudit score`` are read.
    """

    absent = "the file of rewards does not hold it"

    def __init__(self, paths: Sequence[str]) -> None:
        """Read the files.

        Raises:
            DataError: naming file and line, for a row of another form and for an id that comes twice.
        """
        super().__init__()
        self._paths = tuple(paths)
        self._rewards: dict[str, GroupRewards] = {}
        for path in paths:
            for number, row in read_rows(path):
                try:
                    self._take(rewards_of_row(row), f"{path}:{number}")
                except DataError as error:
                    raise DataError(f"{path}:{number}: {error}") from None

    def _take(self, rewards: GroupRewards, place: str) -> None:
        if rewards.id in self._rewards:
            raise DataError(f"id {rewards.id!r} has rewards already, at {self._places[rewards.id]}")
        self._rewards[rewards.id] = rewards
        self._places[rewards.id] = place

    @property
    def info(self) -> ScorerInfo:
        """A short hash of the files; there are no weights, and the reward scale is unknown."""
        digest = hashlib.blake2b(digest_size=8)
        for path in self._paths:
            digest.update(Path(path).read_bytes())
        return ScorerInfo(recipe_hash=digest.hexdigest(), weights_hash=digest.hexdigest())

    def _rewards_of(self, group: Group, place: str) -> GroupRewards:
        rewards, count = self._rewards[group.id], len(group.responses)
        if len(rewards.rewards) != count:
            raise DataError(f"{place}: {len(rewards.rewards)} rewards for the {count} responses of {group.id!r}")
        return rewards


def holds_items(path: str) -> bool:
    """Return whether a file is an ``items.jsonl``, told by its first row.

    Raises:
        DataError: when it cannot be read.
    """
    first = next(result_rows(path), None)
    return first is not None and all(name in first.row for name in _MARKS)


@final
class StoredItems:
    """The items of one finished evaluation, with the records of its folder."""

    def __init__(self, path: str) -> None:
        """Read an ``items.jsonl``, and ``result.json`` and ``scoring.json`` beside it where they are.

        Raises:
            DataError: naming file and line; where the result was made of more or fewer items than there are.
        """
        self.path = Path(path)
        self.items: Sequence[ItemScore] = read_items(self.path)
        self.existing: ExistingResult | None = existing_result(self.path.parent)
        # A run that was killed while its result was replaced leaves scoring.json without result.json.
        alone = read_scoring(self.path.parent) if self.existing is None else self.existing.scoring
        self.scoring: ScoringRecord | None = alone
        found = sum(len(item.rewards) for item in self.items)
        counted = found if self.existing is None else self.existing.result.details.get("responses", found)
        if counted != found:
            raise DataError(
                f"{self.path}: holds {found} rewards, and {self.path.with_name(RESULT_NAME)} was made of {counted}: "
                "lines are missing, or not its own; remove that file to take the items as they are"
            )

    @property
    def identity(self) -> EvaluationIdentity:
        """Evaluation that they are of; without its result, the file and its folder name it."""
        if self.scoring is not None:
            return self.scoring.evaluation
        if self.existing is None:
            return EvaluationIdentity(name=self.path.resolve().parent.name, model=str(self.path))
        result = self.existing.result
        names = {"name": result.name, "model": result.model}
        return EvaluationIdentity(**names, recipe_hash=result.recipe_hash, data_fingerprint=result.data_fingerprint)

    @property
    def settings(self) -> Mapping[str, JsonValue]:
        """Settings of the model that gave the rewards, as far as they are known."""
        return {} if self.scoring is None else self.scoring.settings

    @property
    def truncations(self) -> Sequence[GroupTruncation]:
        """Truncation of each group that lost tokens."""
        return () if self.scoring is None else self.scoring.truncations

    def is_of_benchmark(self, name: str) -> bool:
        """Return whether the items carry the metadata of the benchmark ``name``, so that its metrics need no data."""
        return bool(self.items) and all(
            item.id.startswith(f"{name}/") and "subset" in item.metadata for item in self.items
        )


@final
class StoredRewards(_RewardsById):
    """Gives each group the rewards that the items of earlier evaluations hold under its id: a scorer without a model.

    The groups may carry other labels than they did then, but must have the same texts.
    """

    absent = "no item is of it"

    def __init__(self, stored: Sequence[StoredItems]) -> None:
        """Take the items of ``stored``.

        Raises:
            ConfigError: when they are of several models.
            DataError: when an id comes twice.
        """
        super().__init__()
        self.identity = stored[0].identity
        for each in stored:
            other = each.identity
            if _model_of(other) != _model_of(self.identity):
                raise ConfigError(
                    f"{stored[0].path} is of model {self.identity.model!r} and {each.path} of {other.model!r}, or of "
                    "other settings or weights; take the items of one model at a time"
                )
        self._settings = stored[0].settings
        self._items: dict[str, ItemScore] = {}
        self._truncations: dict[str, ResponseTruncation] = {}
        for each in stored:
            for line, item in enumerate(each.items, start=1):
                if item.id in self._items:
                    raise DataError(f"{each.path}:{line}: id {item.id!r} is also at {self._places[item.id]}")
                self._items[item.id], self._places[item.id] = item, f"{each.path}:{line}"
            self._truncations |= {one.id: ResponseTruncation(one.tokens, one.identical) for one in each.truncations}

    @property
    def info(self) -> ScorerInfo:
        """Hashes and settings of the model that gave them, and the reward scale stated in the items.

        Where a model compares responses, an evaluation keeps strengths.
        """
        items = self._items.values()
        scales = {item.reward_scale for item in items} - {None}
        of_steps = {item.step_scale for item in items} - {None}
        return ScorerInfo(
            recipe_hash=self.identity.recipe_hash,
            weights_hash=self.identity.weights_hash,
            settings=self._settings,
            scale=next(iter(scales), None) if len(scales) < 2 else "order",
            step_scale=next(iter(of_steps), None) if len(of_steps) < 2 else "order",
            relative=any(item.relative for item in items),
        )

    def _rewards_of(self, group: Group, place: str) -> GroupRewards:
        item, lengths = self._items[group.id], tuple(len(response) for response in group.responses)
        if (item.prompt_key, item.lengths) != (prompt_hash(group), lengths):
            raise DataError(f"{place}: item {item.id!r} is of another prompt or other responses than the group")
        return dataclasses.replace(_rewards(item), truncation=self._truncations.get(group.id))


def _model_of(identity: EvaluationIdentity) -> tuple[str, str | None, str | None]:
    return identity.model, identity.recipe_hash, identity.weights_hash


def _rewards(item: ItemScore) -> GroupRewards:
    steps = item.steps
    return GroupRewards(
        id=item.id,
        rewards=item.rewards,
        attributes=item.attributes,
        steps=None if steps is None else tuple(None if each is None else _numbers(each) for each in steps),
        reason=item.reason,
        comparisons=item.comparisons,
    )


def _numbers(values: Sequence[float | None]) -> tuple[float, ...]:
    return tuple(math.nan if value is None else value for value in values)


@dataclasses.dataclass(frozen=True, slots=True)
class GoldRated:
    """Groups with a gold reward as a rating, and how many have none."""

    groups: GroupSet
    """Every group, in order; one without gold rewards is as it was."""
    rated: int
    """Groups of which some response has a gold reward."""
    unrated: int
    """Groups of which none has: the files do not hold them, or hold no number."""
    missing_responses: int
    """Responses without a gold reward, in groups that have some; they are chosen from by nobody."""

    def in_words(self) -> str:
        """Return how many groups have a gold reward."""
        some = f"; {self.missing_responses} of their responses have none" if self.missing_responses else ""
        return f"{self.rated} groups have a gold reward, {self.unrated} have none{some}"


def with_gold(groups: GroupSet, gold: PrecomputedRewards, *, attribute: str = GOLD) -> GoldRated:
    """Return ``groups`` with the rewards that ``gold`` holds under their ids as the rating ``attribute``.

    What reads ratings then measures against them: two files of ``plaudit score``, one of the model and one of a gold
    scorer, make the curve of proxy against gold.

    Raises:
        DataError: when a group has a rating of that name, no group has a gold reward, or, naming file and line, a row
            has another number of rewards than its group has responses.
    """
    counts = [0, 0, 0]

    def rated() -> Iterator[Group]:
        for group, item in scored_groups(gold, groups):
            if attribute in group.ratings:
                raise DataError(
                    f"group {group.id!r} has a rating {attribute!r} already; gold rewards need another name"
                )
            missing = item.rewards.count(None)
            if missing == len(item.rewards):
                counts[1] += 1
                yield group
            else:
                counts[0] += 1
                counts[2] += missing
                yield dataclasses.replace(group, ratings={**group.ratings, attribute: item.rewards})

    made = GroupSet.from_groups(rated())
    if not counts[0]:
        raise DataError(
            f"no group has a gold reward: of {counts[1]} groups, as {groups[0].id!r}, none has a number under its id"
            if counts[1]
            else "there are no groups to give a gold reward"
        )
    return GoldRated(dataclasses.replace(made, report=groups.report), *counts)
