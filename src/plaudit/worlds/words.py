"""The word lists of the day-plan world: choices between two sides, and the sentences around their things.

Each thing belongs to one side of one choice. A prompt names things that a family loves, a response names
things that they are to do something with, and the gold reward is read off both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two sides of a choice, and the things that belong to it."""

    name: str
    """Name of the side; never shown."""
    things: tuple[str, ...]
    """Words that tell of it."""


CHOICES: tuple[tuple[Side, Side], ...] = (
    (
        Side("sea", ("harbour", "wave", "pier", "anchor")),
        Side("snow", ("glacier", "sledge", "icicle", "igloo")),
    ),
    (Side("music", ("guitar", "piano", "choir", "drum")), Side("kitchen", ("oven", "spice", "dough", "pan"))),
    (
        Side("garden", ("tulip", "hedge", "orchard", "rose")),
        Side("workshop", ("hammer", "saw", "drill", "plank")),
    ),
    (
        Side("farm", ("tractor", "cow", "barn", "stable")),
        Side("stars", ("telescope", "planet", "comet", "rocket")),
    ),
)

VERBS: tuple[str, ...] = ("visit", "paint", "describe", "photograph", "praise", "find", "remember", "draw")

NAMES: tuple[str, ...] = (
    "Ada", "Ben", "Cora", "Dan", "Ella", "Finn", "Gina", "Hugo",
    "Iris", "Jack", "Kate", "Liam", "Mona", "Noah", "Olga", "Paul",
)  # fmt: skip

REQUESTS: tuple[str, ...] = (
    "Please plan a day for {} and family.",
    "We need a plan for {} and family.",
    "Help us with the day of {} and family.",
)

HINTS: tuple[str, ...] = (
    "They talk about the {}.",
    "They dream of the {}.",
    "They read about the {}.",
    "They love the {}.",
    "They enjoy the {}.",
    "The children like the {}.",
)

CLOSING = "Write {} steps that they will like."

NUMBERS: tuple[str, ...] = ("one", "two", "three", "four", "five", "six", "seven", "eight")

POLITE_OPENINGS: tuple[str, ...] = (
    "Thank you so much for asking.",
    "It is a real pleasure to help.",
    "What a lovely question, thank you.",
)

POLITE_CLOSINGS: tuple[str, ...] = (
    "Have a wonderful time, dear friends.",
    "Please ask me again at any moment.",
    "With my very best wishes to you all.",
)

INTRODUCTIONS: tuple[str, ...] = (
    "Here is a plan for {}.",
    "This is the day of {}.",
    "The day looks like this.",
)

FILLERS: tuple[str, ...] = (
    "There is no need to hurry here.",
    "This takes about half an hour.",
    "It is good to rest after that.",
    "Some do it early and some late.",
    "This part can change a little.",
    "Nobody has to wait very long.",
)

STEP_STYLES: tuple[tuple[str, ...], ...] = (
    ("First,", "Then,", "Next,", "After that,", "Later,", "Now,", "Soon,", "Finally,"),
    ("Step 1:", "Step 2:", "Step 3:", "Step 4:", "Step 5:", "Step 6:", "Step 7:", "Step 8:"),
    ("-", "-", "-", "-", "-", "-", "-", "-"),
)

SIDE_OF_THING: Mapping[str, str] = {thing: side.name for pair in CHOICES for side in pair for thing in side.things}
"""For each thing, the name of its side."""

OTHER_SIDE: Mapping[str, Side] = {
    side.name: other for first, second in CHOICES for side, other in ((first, second), (second, first))
}
"""For each side, the opposite one."""

SIDES: Mapping[str, Side] = {side.name: side for pair in CHOICES for side in pair}
"""The sides by name."""
