"""What a model gets right, judgement by judgement, in an order that depends on the data alone.

So the judgements of two models about the same items stand beside each other, and a paired test can be made.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from plaudit.evaluation.metrics.order import share_of_picks
from plaudit.evaluation.metrics.rating import rated_attributes
from plaudit.records import ItemScore
from plaudit.statistics.agreement import TieRule, preference_accuracy

_RATING = "rating "


@dataclass(frozen=True, slots=True)
class Judged:
    """The judgements about one kind of label; all arrays are [judgement]."""

    right: np.ndarray
    """1 right, 0 wrong, between for a tie; NaN where a reward is missing or a tie is excluded."""
    prompts: np.ndarray
    """Key of the prompt."""
    sources: np.ndarray
    """Source of the item."""


def kinds_of(items: Iterable[ItemScore]) -> list[str]:
    """Return the kinds of label of ``items`` that come in judgements.

    They are ``preference``, ``ranking``, ``rating NAME`` and ``outcome``, and each is there where ``judged`` has one.
    """
    every = list(items)
    candidates = ["preference", "ranking", *(_RATING + name for name in rated_attributes(every)), "outcome"]
    return [kind for kind in candidates if any(_count(item, kind) for item in every)]


def judged(items: Sequence[ItemScore], kind: str, tie_rule: TieRule) -> Judged:
    """Return what the model that gave the rewards of ``items`` gets right.

    - ``preference``: each pair whose label has a winner;
    - ``ranking``, ``rating NAME``: each two responses of different rank or rating; a rating is compared with the
      model's output of that name, where the item has one;
    - ``outcome``: each group of several responses of known outcome: the chance that the response with the highest
      reward, one drawn where several are highest, is correct.

    ``tie_rule`` is for two equal rewards. A group with a missing reward among those that are compared (of preferences,
    any) is missing whole, as in the figures of a result.
    """
    right: list[np.ndarray] = [np.zeros(0)]
    prompts: list[str] = []
    sources: list[str] = []
    for item in items:
        found = _outcome(item) if kind == "outcome" else _ties(_margins(item, kind), tie_rule)
        right.append(found)
        prompts += [item.prompt_key] * len(found)
        sources += [item.source] * len(found)
    return Judged(np.concatenate(right), np.array(prompts, dtype=object), np.array(sources, dtype=object))


def _count(item: ItemScore, kind: str) -> int:
    return len(_outcome(item)) if kind == "outcome" else len(_margins(item, kind))


def _margins(item: ItemScore, kind: str) -> np.ndarray:
    """Return [judgement] the reward of the better response less that of the other; NaN where a reward is missing."""
    if kind == "preference":
        return _of_preferences(item)
    worth: Sequence[float | None]
    if kind == "ranking":
        worth = [None if rank is None else -rank for rank in item.ranks or ()]
        numbers = item.rewards
    else:
        name = kind.removeprefix(_RATING)
        worth, numbers = item.ratings.get(name, ()), item.attributes.get(name, item.rewards)
    kept = [(value, numbers[k]) for k, value in enumerate(worth) if value is not None]
    values = np.array([value for value, _ in kept], dtype=float)
    rewards = np.array([reward for _, reward in kept], dtype=float)
    first, second = np.triu_indices(len(values), 1)
    sign = np.sign(values[first] - values[second])
    margins = (sign * (rewards[first] - rewards[second]))[sign != 0]
    return np.full(len(margins), np.nan) if np.isnan(rewards).any() else margins


def _of_preferences(item: ItemScore) -> np.ndarray:
    labels = item.probabilities or (None,) * len(item.preferences)
    rewards = np.array(item.rewards, dtype=float)
    missing = bool(np.isnan(rewards).any())
    return np.array(
        [
            np.nan
            if missing
            else (rewards[chosen] - rewards[rejected]) * (-1.0 if label is not None and label < 0.5 else 1.0)
            for (chosen, rejected), label in zip(item.preferences, labels, strict=True)
            if label != 0.5
        ],
        dtype=float,
    )


def _ties(margins: np.ndarray, tie_rule: TieRule) -> np.ndarray:
    found = preference_accuracy(margins, tie_rule=tie_rule)
    right = np.full(len(margins), np.nan)
    right[found.scored] = found.correct
    return right


def _outcome(item: ItemScore) -> np.ndarray:
    known = [k for k, outcome in enumerate(item.outcomes or ()) if outcome is not None]
    if len(known) < 2:
        return np.zeros(0)
    rewards = np.array([item.rewards[k] for k in known], dtype=float)
    correct = np.array([(item.outcomes or ())[k] for k in known], dtype=float)
    return np.array([np.nan if np.isnan(rewards).any() else share_of_picks(rewards, correct)])
