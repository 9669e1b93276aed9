"""Whether σ of a difference of two rewards may be read as a probability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

import numpy as np

from plaudit.records import ItemScore, RewardUnit

_ASSUMED = "margins are read as log-odds"
_NONE = "and σ of a difference of such is no probability"


@dataclass(frozen=True, slots=True)
class UnitReading:
    """What the rewards of scored items are."""

    log_odds: bool
    """Whether margins are read as log-odds: known or assumed to be, or not known to be anything else."""
    words: str
    """What is known of the rewards, in words; where they are no log-odds, the reason why figures of σ have no value."""


def is_relative(items: Sequence[ItemScore]) -> bool:
    """Return whether the rewards are numbers of their group: some item says so."""
    return any(item.relative for item in items)


def unit_reading(items: Sequence[ItemScore], rewards: np.ndarray) -> UnitReading:
    """Return what ``rewards`` [row], those of the preferences of ``items``, are by what the items say, else by looks.

    Rewards of which nothing is known, or that are only assumed to be log-odds, are not taken for them where they
    plainly are none: all within 0 to 1, as probabilities are, or all whole numbers, as grades and counts are. One
    single number says nothing.
    """
    units = {item.reward_unit for item in items} - {None}
    if len(units) > 1:
        return UnitReading(False, f"the items are of rewards of several units ({', '.join(sorted(map(str, units)))})")
    unit: RewardUnit | None = next(iter(units), None)
    match unit:
        case "log_odds":
            return UnitReading(True, "the rewards are log-odds: σ of a margin is the probability that chosen is better")
        case "assumed_log_odds":
            return _by_looks(
                rewards,
                f"{_ASSUMED}, as objectives of preferences, ranks and outcomes make them; the model does not say which "
                "one it was trained with, and another would make σ of a margin no probability",
            )
        case None:
            return _by_looks(
                rewards,
                f"{_ASSUMED}, though nothing says what the rewards are; if they are not, σ of a margin is no "
                "probability, and only the figures after the temperature count",
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
