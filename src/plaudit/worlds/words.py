"""The words of the day-plan world, read from ``words.toml``: choices between two sides, sentences around their things.

Each thing belongs to one side of one choice. A prompt names things that a family loves, a response names
things that they are to do something with, and the gold reward is read off both.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two sides of a choice, and the things that belong to it."""

    name: str
    """Name of the side; never shown."""
    things: tuple[str, ...]
    """Words that tell of it."""


_WORDS: Mapping[str, Any] = tomllib.loads(Path(__file__).with_name("words.toml").read_text(encoding="utf-8"))


def _listed(name: str) -> tuple[str, ...]:
    return tuple(_WORDS[name])


CHOICES: tuple[tuple[Side, Side], ...] = tuple(
    (Side(first, tuple(choice[first])), Side(second, tuple(choice[second])))
    for choice in _WORDS["choices"]
    for first, second in [choice]
)
VERBS, NAMES, NUMBERS = _listed("verbs"), _listed("names"), _listed("numbers")
REQUESTS, HINTS = _listed("requests"), _listed("hints")
CLOSING: str = _WORDS["closing"]
INTRODUCTIONS, FILLERS = _listed("introductions"), _listed("fillers")
POLITE_OPENINGS, POLITE_CLOSINGS = _listed("polite_openings"), _listed("polite_closings")
STEP_STYLES: tuple[tuple[str, ...], ...] = tuple(map(tuple, _WORDS["step_styles"]))

SIDE_OF_THING: Mapping[str, str] = {thing: side.name for pair in CHOICES for side in pair for thing in side.things}
"""For each thing, the name of its side."""

OTHER_SIDE: Mapping[str, Side] = {
    side.name: other for first, second in CHOICES for side, other in ((first, second), (second, first))
}
"""For each side, the opposite one."""

SIDES: Mapping[str, Side] = {side.name: side for pair in CHOICES for side in pair}
"""The sides by name."""
