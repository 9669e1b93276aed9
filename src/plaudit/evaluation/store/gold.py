"""Gold rewards that were computed elsewhere, given to groups as a rating to be measured against."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from plaudit.data.schema.group import Group
from plaudit.data.schema.group_set import GroupSet
from plaudit.errors import DataError
from plaudit.evaluation.store.items import scored_groups
from plaudit.evaluation.store.precomputed import RecordedRewards

GOLD = "gold"


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


def with_gold(groups: GroupSet, gold: RecordedRewards, *, attribute: str = GOLD) -> GoldRated:
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
