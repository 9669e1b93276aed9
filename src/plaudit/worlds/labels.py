"""Labels of the day-plan world: everything that is known about a response, from the gold reward."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Literal

from plaudit.data.schema.group import Preference, Step
from plaudit.worlds.prompts import Wishes
from plaudit.worlds.responses import count_fillers, count_polite, read_steps

Label = Literal["preferences", "ranks", "ratings", "outcomes", "steps"]
LABELS: tuple[Label, ...] = ("preferences", "ranks", "ratings", "outcomes", "steps")

ATTRIBUTES = ("correctness", "coverage", "courtesy", "brevity")

_LONG_RESPONSE = 100
"""Words at which ``brevity`` reaches zero."""


def gold_reward(wishes: Wishes, response: str) -> float:
    """Return (right steps − wrong steps) ÷ steps asked for: from −1 to 1, and 0 for a response without steps.

    A right step serves a side that the family is on. Repeating one counts once, and right steps beyond the
    number asked for count nothing; every wrong step counts, so naming every thing is no better than silence.
    """
    right, wrong = _right_and_wrong(wishes, response)
    return max(-1.0, (min(right, wishes.steps) - wrong) / wishes.steps)


def gold_attributes(wishes: Wishes, response: str) -> dict[str, float]:
    """Return each attribute of a response, from 0 to 1.

    ``correctness`` is the share of its steps that are right (0 where it has none), ``coverage`` the share of
    the prompt's choices with a right step, ``courtesy`` the number of polite sentences ÷ 2, at most 1, and
    ``brevity`` 1 − words ÷ 100, at least 0. The gold reward knows nothing of the last two.
    """
    steps = read_steps(response)
    right, wrong = _right_and_wrong(wishes, response)
    served = {step.side for step in steps} & set(wishes.sides)
    return {
        "correctness": right / (right + wrong) if steps else 0.0,
        "coverage": len(served) / len(wishes.sides),
        "courtesy": min(1.0, count_polite(response) / 2),
        "brevity": max(0.0, 1.0 - len(response.split()) / _LONG_RESPONSE),
    }


def gold_outcome(wishes: Wishes, response: str) -> bool:
    """Return whether the response has as many different right steps as were asked for, and no wrong one."""
    right, wrong = _right_and_wrong(wishes, response)
    return wrong == 0 and right >= wishes.steps


def step_labels(wishes: Wishes, response: str) -> tuple[Step, ...]:
    """Return the steps of a response with their labels: 1.0 if right, 0.0 if wrong."""
    return tuple(Step(step.end, 1.0 if step.side in wishes.sides else 0.0) for step in read_steps(response))


def preference_score(wishes: Wishes, response: str, *, length_bias: float, politeness_bias: float) -> float:
    """Return the worth of a response to an annotator with these biases, in units of the gold reward.

    At bias 1 a filler sentence, or a polite one, sways as much as correcting two steps.
    """
    correcting_two = 4.0 / wishes.steps
    sway = length_bias * count_fillers(response) + politeness_bias * count_polite(response)
    return gold_reward(wishes, response) + correcting_two * sway


def draw_preferences(
    rewards: Sequence[float],
    scores: Sequence[float],
    draw: random.Random,
    *,
    temperature: float,
    soft: bool,
) -> tuple[Preference, ...]:
    """Return the preferences over all pairs: hard ones drawn by Bradley–Terry, or their probabilities.

    P(i beats j) = σ((score_i − score_j) ÷ temperature); temperature 0 takes the higher score, and equal
    scores are then ½. A pair with equal gold ``rewards`` gets no hard preference.
    """
    preferences = []
    for first in range(len(scores)):
        for second in range(first + 1, len(scores)):
            probability = _bradley_terry(scores[first] - scores[second], temperature)
            if soft:
                better, worse = (first, second) if probability >= 0.5 else (second, first)
                preferences.append(Preference(better, worse, probability=max(probability, 1.0 - probability)))
            elif rewards[first] != rewards[second]:
                chosen, rejected = (first, second) if draw.random() < probability else (second, first)
                preferences.append(Preference(chosen, rejected))
    return tuple(preferences)


def _bradley_terry(difference: float, temperature: float) -> float:
    if temperature == 0.0:
        return 0.5 if difference == 0.0 else float(difference > 0.0)
    logit = difference / temperature
    if logit >= 0.0:
        return 1.0 / (1.0 + math.exp(-logit))
    odds = math.exp(max(logit, -700.0))
    return odds / (1.0 + odds)


def _right_and_wrong(wishes: Wishes, response: str) -> tuple[int, int]:
    """Return the number of different right steps, and of all wrong ones."""
    steps = read_steps(response)
    right = {step.action for step in steps if step.side in wishes.sides}
    return len(right), sum(step.side not in wishes.sides for step in steps)
