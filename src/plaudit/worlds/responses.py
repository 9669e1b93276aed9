"""Responses of the day-plan world: a synthetic policy that writes them, and a parser that reads them back."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from plaudit.worlds.prompts import (
    FILLERS,
    INTRODUCTIONS,
    OTHER_SIDE,
    POLITE_CLOSINGS,
    POLITE_OPENINGS,
    SIDE_OF_THING,
    SIDES,
    STEP_STYLES,
    VERBS,
    Side,
    Wishes,
)

_FILLERS_PER_STEP = 0.6
"""Highest share of steps that a filler sentence follows."""

_STEP_PATTERN = re.compile(r"\b(" + "|".join(VERBS) + r") the (" + "|".join(SIDE_OF_THING) + r")\b\.?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Draft:
    """A response before it is written out: everything that was decided about it."""

    introduction: str
    opening: str | None
    closing: str | None
    style: int
    separator: str
    actions: tuple[str, ...]
    fillers: tuple[str | None, ...]

    def text(self) -> str:
        """Return the response as text."""
        parts = [] if self.opening is None else [self.opening]
        parts.append(self.introduction)
        marks = STEP_STYLES[self.style]
        for mark, action, filler in zip(marks, self.actions, self.fillers, strict=False):
            parts.append(f"{mark} {action}." if filler is None else f"{mark} {action}. {filler}")
        if self.closing is not None:
            parts.append(self.closing)
        return self.separator.join(parts)


@dataclass(frozen=True, slots=True)
class ReadStep:
    """A step found in a response: its end, its action, and the side that serves."""

    end: int
    action: str
    side: str


def draft_response(
    wishes: Wishes,
    draw: random.Random,
    *,
    quality: float,
    length_bias: float = 0.0,
    politeness_bias: float = 0.0,
) -> Draft:
    """Return a draft with as many steps as were asked for, each right with probability ``quality``.

    A right step serves a side that the family is on, a wrong one the opposite side, so the words of a
    response tell right from wrong only together with the prompt (up to how popular a side is). The biases (−1
    to 1) tilt the number of filler and of polite sentences towards the share of right steps.
    """
    right = tuple(draw.random() < quality for _ in range(wishes.steps))
    actions: list[str] = []
    for is_right in right:
        side = draw.choice(wishes.sides)
        actions.append(_draw_action(SIDES[side] if is_right else OTHER_SIDE[side], draw, used=actions))
    tilt = 2.0 * sum(right) / len(right) - 1.0
    filler_rate = _FILLERS_PER_STEP * _rate(length_bias, tilt, draw)
    polite_rate = _rate(politeness_bias, tilt, draw)
    return Draft(
        introduction=draw.choice(INTRODUCTIONS).format(wishes.name),
        opening=draw.choice(POLITE_OPENINGS) if draw.random() < polite_rate else None,
        closing=draw.choice(POLITE_CLOSINGS) if draw.random() < polite_rate else None,
        style=draw.randrange(len(STEP_STYLES)),
        separator=draw.choice((" ", "\n")),
        actions=tuple(actions),
        fillers=tuple(draw.choice(FILLERS) if draw.random() < filler_rate else None for _ in actions),
    )


def branch(trunk: Draft, other: Draft, steps: int) -> Draft:
    """Return a draft that is word for word ``trunk`` for its first ``steps`` steps, then ``other``."""
    return replace(
        trunk,
        closing=other.closing,
        actions=trunk.actions[:steps] + other.actions[steps:],
        fillers=trunk.fillers[:steps] + other.fillers[steps:],
    )


@lru_cache(maxsize=1024)
def read_steps(response: str) -> tuple[ReadStep, ...]:
    """Return the steps found in a response, each ending past the full stop that follows it, if one does."""
    return tuple(
        ReadStep(match.end(), f"{match.group(1)} {match.group(2)}".lower(), SIDE_OF_THING[match.group(2).lower()])
        for match in _STEP_PATTERN.finditer(response)
    )


def count_polite(response: str) -> int:
    """Return how many polite sentences a response holds."""
    return _count(response, (*POLITE_OPENINGS, *POLITE_CLOSINGS))


def count_fillers(response: str) -> int:
    """Return how many filler sentences a response holds."""
    return _count(response, FILLERS)


def _draw_action(side: Side, draw: random.Random, *, used: Sequence[str]) -> str:
    while True:
        action = f"{draw.choice(VERBS)} the {draw.choice(side.things)}"
        if action not in used:
            return action


def _count(response: str, sentences: Sequence[str]) -> int:
    return sum(response.count(sentence) for sentence in sentences)


def _rate(bias: float, tilt: float, draw: random.Random) -> float:
    """Return a rate between 0 and 1: uniform at bias 0, fixed by ``tilt`` (−1 to 1) at bias ±1."""
    return 0.5 + 0.5 * (bias * tilt + (1.0 - abs(bias)) * (2.0 * draw.random() - 1.0))
