"""Reward scale of a model: whether σ of a margin is a probability, and the threshold between right and wrong."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import assert_never

import numpy as np

from plaudit.records import ItemScore, RewardScale

_ASSUMED = "margins are read as log-odds"
_NONE = "and σ of a difference of such is no probability"


@dataclass(frozen=True, slots=True)
class UnitReading:
    """Reading of the rewards of scored items: log-odds or not, and why."""

    log_odds: bool
    """True where margins are read as log-odds: known or assumed to be, or not known to be anything else."""
    words: str
    """The reward scale in words; where it is not log-odds, the reason why metrics of σ have no value."""


def is_relative(items: Sequence[ItemScore]) -> bool:
    """Return whether the rewards are numbers of their group: some item says so."""
    return any(item.relative for item in items)


def unit_reading(items: Sequence[ItemScore], rewards: np.ndarray) -> UnitReading:
    """Return the scale of ``rewards`` [row], of the preferences of ``items``: as the items state it, else by range.

    Rewards of which nothing is known, or that are only assumed to be log-odds, are not taken for them where they
    plainly are none: all within 0 to 1, as probabilities are, or all whole numbers, as grades and counts are. One
    single number says nothing.
    """
    units = {item.reward_scale for item in items} - {None}
    if len(units - {"log_odds_values"}) > 1 or (len(units) > 1 and "log_odds_differences" not in units):
        return UnitReading(False, f"the items are of rewards of several units ({', '.join(sorted(map(str, units)))})")
    unit: RewardScale | None = next(iter(units), None)
    match unit:
        case "log_odds_values" | "log_odds_differences":
            return UnitReading(True, "the rewards are log-odds: σ of a margin is the probability that chosen is better")
        case "assumed_log_odds_differences":
            return _by_looks(
                rewards,
                f"{_ASSUMED}, as objectives of preferences, ranks and outcomes make them; the model does not say which "
                "one it was trained with, and another would make σ of a margin no probability",
            )
        case None:
            return _by_looks(
                rewards,
                f"{_ASSUMED}, though nothing says what the rewards are; if they are not, σ of a margin is no "
                "probability, and only the metrics after the temperature count",
            )
        case "ratings" | "probabilities" | "win_rates":
            name = unit.replace("_", " ")
            return UnitReading(False, f"the rewards are {name}, and σ of a difference of {name} is no probability")
        case "order":
            return UnitReading(False, "only the order of the rewards counts, so σ of a margin is no probability")
        case _:
            assert_never(unit)


def _by_looks(rewards: np.ndarray, words: str) -> UnitReading:
    if len(np.unique(rewards)) < 2:
        return UnitReading(True, words)
    if rewards.min() >= 0.0 and rewards.max() <= 1.0:
        return UnitReading(False, f"every reward lies within 0 to 1 and is read as a probability, {_NONE}")
    if (rewards == np.rint(rewards)).all():
        return UnitReading(False, f"every reward is a whole number and is read as a grade or a count, {_NONE}")
    return UnitReading(True, words)


@dataclass(frozen=True, slots=True)
class Threshold:
    """Threshold on a model's numbers: right at or above it, wrong below."""

    value: float
    """The threshold."""
    rule: str
    """Origin of the threshold, in words; where it means nothing, the reason."""
    is_known: bool = True
    """False where the scale of the numbers has no threshold."""


def right_threshold(items: Sequence[ItemScore]) -> Threshold:
    """Return the threshold of the rewards of ``items``, by the scale that they state.

    Log-odds of being right have 0 and probabilities ½. Where only differences or the order of rewards mean something,
    or nothing says what they are, there is none: the offset of such rewards is no statement about being right.
    """
    return _threshold({item.reward_scale for item in items} - {None}, name="rewards")


def step_threshold(items: Sequence[ItemScore]) -> Threshold:
    """Return the threshold of the rewards of the steps of ``items``, by the scale that they state.

    Rewards of steps are probabilities of being right unless the scorer says otherwise (``ScorerInfo.step_scale``);
    some outside 0 to 1 then are none, and have no threshold.
    """
    stated = {item.step_scale for item in items} - {None}
    every = [reward for item in items for steps in item.steps or () for reward in steps or () if reward is not None]
    if stated or all(0.0 <= reward <= 1.0 for reward in every):
        return _threshold(stated or {"probabilities"}, name="rewards of steps")
    return Threshold(
        0.5,
        "rewards of steps are to be probabilities, and some lie outside 0 to 1; a scorer of others says step_scale",
        is_known=False,
    )


def _threshold(scales: Set[RewardScale | None], *, name: str) -> Threshold:
    scale = next(iter(scales), None)
    if len(scales) > 1:
        found = ", ".join(sorted(map(str, scales)))
        return Threshold(0.5, f"the items are of {name} of several scales ({found})", is_known=False)
    match scale:
        case "log_odds_values":
            return Threshold(0.0, f"the {name} are log-odds of being right: right from 0 on")
        case "probabilities":
            return Threshold(0.5, f"the {name} are probabilities: right from 0.5 on")
        case "log_odds_differences" | "assumed_log_odds_differences":
            why = "only differences of the {name} mean something, so no threshold parts right from wrong"
        case "order":
            why = "only the order of the {name} counts, so no threshold parts right from wrong"
        case "ratings" | "win_rates":
            why = f"the {{name}} are {scale.replace('_', ' ')}, and none of them is where right begins"
        case None:
            why = "nothing says what the {name} are, so no threshold is known to part right from wrong"
        case _:
            assert_never(scale)
    return Threshold(0.0, why.format(name=name), is_known=False)
