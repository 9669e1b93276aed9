"""From a group and its rewards to one line of ``items.jsonl``."""

from __future__ import annotations

import hashlib
import math
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from plaudit.data.schema.group import LARGEST, Group
from plaudit.errors import ModelError
from plaudit.evaluation.metrics.answers import LAST_NUMBER, extract_answer
from plaudit.records import ItemScore, RewardUnit
from plaudit.scoring.scorer import GroupRewards, Scorer, compares

_LAST_NUMBER = re.compile(LAST_NUMBER)


def item_score(
    group: Group,
    rewards: GroupRewards,
    *,
    answers: re.Pattern[str] = _LAST_NUMBER,
    relative: bool = False,
    reward_unit: RewardUnit | None = None,
) -> ItemScore:
    """Return the scored item of ``group``; where it has outcomes, ``answers`` finds the responses' final answers.

    ``relative`` and ``reward_unit`` say what the rewards are, see ``ItemScore``.

    A reward that is NaN, infinite or above ``LARGEST`` becomes null with a reason: it is counted as failed and never
    compared. So do such numbers of an attribute or of a step, without a reason: what they are needed for says so.

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
        id=group.id,
        source=group.source,
        prompt_key=prompt_hash(group),
        rewards=values,
        lengths=tuple(len(response) for response in group.responses),
        preferences=tuple((preference.chosen, preference.rejected) for preference in group.preferences),
        probabilities=tuple(preference.probability for preference in group.preferences),
        margins=tuple(preference.margin for preference in group.preferences),
        reason=reason,
        relative=relative,
        reward_unit=reward_unit,
        attributes={name: _attribute(name, numbers, group) for name, numbers in rewards.attributes.items()},
        steps=None if rewards.steps is None else _step_rewards(rewards.steps, group),
        ranks=group.ranks,
        ratings={name: tuple(values) for name, values in group.ratings.items()},
        outcomes=group.outcomes,
        answers=None
        if group.outcomes is None
        else tuple(extract_answer(response, answers) for response in group.responses),
        step_labels=step_labels(group),
    )


def step_labels(group: Group) -> tuple[tuple[float | None, ...] | None, ...] | None:
    """Return for each response the labels of its steps, or None where the group has no steps."""
    if group.steps is None:
        return None
    return tuple(None if steps is None else tuple(step.label for step in steps) for steps in group.steps)


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


def scored_groups(
    scorer: Scorer, groups: Iterable[Group], *, answers: re.Pattern[str] = _LAST_NUMBER
) -> Iterator[tuple[Group, ItemScore]]:
    """Yield each group with its item, in order, reading ``groups`` only as far ahead as the scorer does.

    Each item says what the rewards of ``scorer`` are, as far as it is known.

    Raises:
        ModelError: when the scorer gives too few or too many results, other ids, another order, or another
            number of rewards than a group has responses.
    """
    # What knows every scorer loads torch, which items do without.
    from plaudit.scoring.units import reward_unit

    how = {"answers": answers, "relative": compares(scorer), "reward_unit": reward_unit(scorer)}
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
        yield group, item_score(group, rewards, **how)
        done += 1
    missing = len(waiting) + sum(1 for _ in remaining)
    if missing:
        raise ModelError(f"the scorer stopped after {done} groups; {missing} are without rewards")
