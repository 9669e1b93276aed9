"""Conversion of a group and its rewards to one line of ``items.jsonl``."""

from __future__ import annotations

import hashlib
import math
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from plaudit.data.schema.group import LARGEST, Group
from plaudit.errors import DataError, ModelError
from plaudit.evaluation.metrics.answers import LAST_NUMBER, extract_answer
from plaudit.records import ItemScore, RewardScale
from plaudit.scoring.scorer import GroupRewards, Scorer, info_of

_LAST_NUMBER = re.compile(LAST_NUMBER)


def item_score(
    group: Group,
    rewards: GroupRewards,
    *,
    answers: re.Pattern[str] = _LAST_NUMBER,
    relative: bool = False,
    reward_scale: RewardScale | None = None,
    step_scale: RewardScale | None = None,
) -> ItemScore:
    """Return the scored item of ``group``; where it has outcomes, ``answers`` finds the responses' final answers.

    ``relative``, ``reward_scale`` and ``step_scale`` are as in ``ItemScore``.

    A reward that is NaN, infinite or above ``LARGEST`` becomes null with a reason: it is counted as failed and never
    compared. So do such numbers of an attribute or of a step, without a reason: the metrics that need them give it.

    Raises:
        ModelError: when the rewards are of another group, or are not one per response, or, of a response whose steps
            are given, neither one per step nor one of the whole.
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
        **_labels(group),
        source=group.source,
        rewards=values,
        probabilities=tuple(preference.probability for preference in group.preferences),
        margins=tuple(preference.margin for preference in group.preferences),
        reason=reason,
        relative=relative,
        reward_scale=reward_scale,
        step_scale=step_scale,
        attributes={name: _attribute(name, numbers, group) for name, numbers in rewards.attributes.items()},
        steps=None if rewards.steps is None else _step_rewards(rewards.steps, group),
        answers=None
        if group.outcomes is None
        else tuple(extract_answer(response, answers) for response in group.responses),
        comparisons=rewards.comparisons,
    )


def step_labels(group: Group) -> tuple[tuple[float | None, ...] | None, ...] | None:
    """Return for each response the labels of its steps, or None where the group has no steps."""
    if group.steps is None:
        return None
    return tuple(None if steps is None else tuple(step.label for step in steps) for steps in group.steps)


def _labels(group: Group) -> dict[str, Any]:
    """Return the fields of an item that its group determines: id, prompt, lengths and labels."""
    return {
        "id": group.id,
        "prompt_key": prompt_hash(group),
        "lengths": tuple(len(response) for response in group.responses),
        "preferences": tuple((preference.chosen, preference.rejected) for preference in group.preferences),
        "ranks": group.ranks,
        "ratings": {name: tuple(values) for name, values in group.ratings.items()},
        "outcomes": group.outcomes,
        "step_labels": step_labels(group),
        "step_classes": group.step_classes,
    }


def check_same(group: Group, item: ItemScore, place: str) -> None:
    """Raise DataError, naming ``place``, unless ``item`` may be that of ``group``: id, prompt, lengths and labels."""
    if any(getattr(item, name) != value for name, value in _labels(group).items()):
        raise DataError(
            f"{place}: item {item.id!r} is not group {group.id!r} of the data at this place (another id, "
            "prompt, length of a response or label); the file is of other data: remove it to start again"
        )


def prompt_hash(group: Group) -> str:
    """Return a short hash that is equal for equal prompts, and does not give the prompt away."""
    return hashlib.sha256(group.prompt_key.encode()).hexdigest()[:16]


def _finite(rewards: GroupRewards) -> tuple[tuple[float | None, ...], str | None]:
    values: list[float | None] = []
    reasons = [] if rewards.reason is None else [rewards.reason]
    for index, reward in enumerate(rewards.rewards):
        if reward is None or abs(reward) <= LARGEST:
            values.append(None if reward is None else float(reward))
        else:
            values.append(None)
            words = ", which is too large to compute with" if math.isfinite(reward) else ""
            reasons.append(f"the reward of response {index} is {reward}{words}")
    if None in values and not reasons:
        reasons.append("the scorer gave no reward and no reason")
    return tuple(values), "; ".join(reasons) or None


def _attribute(name: str, values: Sequence[float | None], group: Group) -> tuple[float | None, ...]:
    if len(values) != len(group.responses):
        raise ModelError(
            f"the scorer gave {len(values)} numbers of attribute {name!r} for the {len(group.responses)} responses "
            f"of group {group.id!r}"
        )
    return tuple(map(_finite_or_none, values))


def _step_rewards(steps: Sequence[Sequence[float] | None], group: Group) -> tuple[tuple[float | None, ...] | None, ...]:
    if len(steps) != len(group.responses):
        raise ModelError(
            f"the scorer gave the steps of {len(steps)} responses for the {len(group.responses)} responses "
            f"of group {group.id!r}"
        )
    given = (None,) * len(steps) if group.steps is None else group.steps
    for index, (rewards, own) in enumerate(zip(steps, given, strict=True)):
        # A model that judges a response as a whole gives one reward, however many steps the response has.
        if rewards is not None and own is not None and len(rewards) not in (1, len(own)):
            raise ModelError(
                f"the scorer gave {len(rewards)} step rewards for the {len(own)} steps of response {index} "
                f"of group {group.id!r}"
            )
    return tuple(None if rewards is None else tuple(map(_finite_or_none, rewards)) for rewards in steps)


def _finite_or_none(value: float | None) -> float | None:
    return float(value) if value is not None and abs(value) <= LARGEST else None


def scored_groups(scorer: Scorer, groups: Iterable[Group]) -> Iterator[tuple[Group, ItemScore]]:
    """Yield each group with its item, as ``scored_with_rewards`` does."""
    for group, _, item in scored_with_rewards(scorer, groups):
        yield group, item


def scored_with_rewards(
    scorer: Scorer,
    groups: Iterable[Group],
    *,
    answers: re.Pattern[str] = _LAST_NUMBER,
    in_log_odds: bool = False,
) -> Iterator[tuple[Group, GroupRewards, ItemScore]]:
    """Yield each group with its rewards and its item, in order, reading ``groups`` only as far as the scorer does.

    Each item holds the scale of its rewards, as far as ``scorer`` knows it. ``in_log_odds`` takes the strengths of a
    scorer that gives them beside win rates.

    Raises:
        ModelError: when the scorer gives too few or too many results, other ids, another order, or another
            number of rewards than a group has responses.
    """
    info = info_of(scorer)
    scale = info.strengths if in_log_odds and info.strengths is not None else info.scale
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
        found = rewards.in_log_odds() if in_log_odds else rewards
        scales = {"reward_scale": scale, "step_scale": info.step_scale}
        yield group, found, item_score(group, found, answers=answers, relative=info.relative, **scales)
        done += 1
    missing = len(waiting) + sum(1 for _ in remaining)
    if missing:
        raise ModelError(f"the scorer stopped after {done} groups; {missing} are without rewards")
