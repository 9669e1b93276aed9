"""From a group and its rewards to one line of ``items.jsonl``."""

from __future__ import annotations

import hashlib
import math
from collections import deque
from collections.abc import Iterable, Iterator

from plaudit.data.group import Group
from plaudit.errors import ModelError
from plaudit.records import ItemScore
from plaudit.scoring.scorer import GroupRewards, Scorer


def item_score(group: Group, rewards: GroupRewards) -> ItemScore:
    """Return the scored item of ``group``.

    A reward that is NaN or infinite becomes null with a reason: it is counted as failed and never compared.

    Raises:
        ModelError: when the rewards are of another group, or are not one per response.
    """
    if rewards.id != group.id:
        raise ModelError(
            f"the scorer gave the rewards of group {rewards.id!r} where those of {group.id!r} were due; "
            "a scorer answers in the order of its input"
        )
    if len(rewards.rewards) != len(group.responses):
        raise ModelError(
            f"the scorer gave {len(rewards.rewards)} rewards for the {len(group.responses)} responses "
            f"of group {group.id!r}"
        )
    values, reason = _finite(rewards)
    return ItemScore(
        id=group.id,
        source=group.source,
        prompt_key=prompt_hash(group),
        rewards=values,
        lengths=tuple(len(response) for response in group.responses),
        preferences=tuple((preference.chosen, preference.rejected) for preference in group.preferences),
        probabilities=tuple(preference.probability for preference in group.preferences),
        margins=tuple(preference.margin for preference in group.preferences),
        reason=reason,
    )


def prompt_hash(group: Group) -> str:
    """Return a short hash that is equal for equal prompts, and does not give the prompt away."""
    return hashlib.sha256(group.prompt_key.encode()).hexdigest()[:16]


def _finite(rewards: GroupRewards) -> tuple[tuple[float | None, ...], str | None]:
    values: list[float | None] = []
    reasons = [] if rewards.reason is None else [rewards.reason]
    for index, reward in enumerate(rewards.rewards):
        if reward is None or math.isfinite(reward):
            values.append(None if reward is None else float(reward))
        else:
            values.append(None)
            reasons.append(f"the reward of response {index} is {reward}")
    if None in values and not reasons:
        reasons.append("the scorer gave no reward and no reason")
    return tuple(values), "; ".join(reasons) or None


def scored_groups(scorer: Scorer, groups: Iterable[Group]) -> Iterator[tuple[Group, ItemScore]]:
    """Yield each group with its item, in order, reading ``groups`` only as far ahead as the scorer does.

    Raises:
        ModelError: when the scorer gives too few or too many results, other ids, another order, or another
            number of rewards than a group has responses.
    """
    waiting: deque[Group] = deque()
    remaining = iter(groups)

    def feed() -> Iterator[Group]:
        for group in remaining:
            waiting.append(group)
            yield group

    done = 0
    for rewards in scorer.score_groups(feed()):
        if not waiting:
            raise ModelError(f"the scorer gave more results than the {done} groups it was given")
        group = waiting.popleft()
        yield group, item_score(group, rewards)
        done += 1
    missing = len(waiting) + sum(1 for _ in remaining)
    if missing:
        raise ModelError(f"the scorer stopped after {done} groups; {missing} are without rewards")
