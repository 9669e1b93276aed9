"""Reward scale of a model: whether σ of a margin is a probability, and the threshold between right and wrong."""

from __future__ import annotations

from collections.abc import Sequence
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
    """Origin of the threshold, in words."""
    reason: str | None
    """Reason why the threshold means nothing for these numbers, or null."""


def right_threshold(values: np.ndarray, *, name: str) -> Threshold:
    """Return the threshold for the numbers [row] that a model gives, called ``name`` in the words.

    Numbers that all lie within 0 to 1 are read as probabilities: ½. Others are read as log-odds: 0. Log-odds of one
    sign are most likely no log-odds, as those of a model of preferences, whose zero means nothing: then ``reason``
    says so.
    """
    if not len(values) or (values.min() >= 0.0 and values.max() <= 1.0):
        return Threshold(0.5, f"every {name} lies within 0 to 1 and is read as a probability: right from 0.5 on", None)
    rule = f"some {name} lies outside 0 to 1, so it is read as log-odds: right from 0 on"
    if values.min() > 0.0 or values.max() < 0.0:
        sign = "above" if values.min() > 0.0 else "below"
        return Threshold(0.0, rule, f"every {name} lies {sign} 0, so 0 does not part right from wrong")
    return Threshold(0.0, rule, None)
