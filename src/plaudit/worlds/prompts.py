"""Prompts of the day-plan world: its words, drawing prompts, assigning them to a split, and reading the wishes back.

The words are read from ``words.toml``. Each thing belongs to one side of one choice. A prompt names things that a
family loves, a response names things that they are to do something with, and the gold reward is read off both.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import random
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal


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

Split = Literal["train", "held_out"]
SPLITS: tuple[Split, ...] = ("train", "held_out")

HINTS_PER_CHOICE = 2
"""Things that a prompt names for each choice."""

_HELD_OUT_SHARE = 5
"""One set of things in this many is held out."""

_MANY_THINGS = 3 * HINTS_PER_CHOICE
"""Things of a prompt from which there are so many sets that a digest alone splits them evenly."""

_HINT_PATTERN = re.compile(
    "|".join(re.escape(hint).replace(r"\{\}", "(" + "|".join(SIDE_OF_THING) + ")") for hint in HINTS)
)
_NAME_PATTERN = re.compile(r"\b(" + "|".join(NAMES) + r")\b")
_STEPS_PATTERN = re.compile(re.escape(CLOSING).replace(r"\{\}", "(" + "|".join(NUMBERS) + ")"))


@dataclass(frozen=True, slots=True)
class Wishes:
    """The wishes of a prompt."""

    sides: tuple[str, ...]
    """The side the family is on in each choice that the prompt speaks of, in alphabetical order."""
    steps: int
    """Number of steps asked for."""
    name: str
    """Whose day it is."""


def split_of(things: Iterable[str]) -> Split:
    """Return the split that a set of things belongs to, from a digest of the set.

    Order, name and wording of a prompt do not matter, so the splits share no set of things. One or two choices have so
    few sets that chance would give the splits other shares of each side: there, every combination of sides holds out
    the same number of its sets.
    """
    chosen = tuple(sorted(things))
    if len(chosen) < _MANY_THINGS:
        return (
            "held_out" if chosen in _held_out_sets(tuple(sorted({SIDE_OF_THING[each] for each in chosen}))) else "train"
        )
    return "held_out" if _digest(chosen) % _HELD_OUT_SHARE == 0 else "train"


@functools.cache
def _held_out_sets(sides: tuple[str, ...]) -> frozenset[tuple[str, ...]]:
    """Return the fifth, rounded down, of the sets of things of a combination of sides that has the smallest digests."""
    of_each = [itertools.combinations(SIDES[side].things, HINTS_PER_CHOICE) for side in sides]
    sets = [tuple(sorted(itertools.chain(*parts))) for parts in itertools.product(*of_each)]
    return frozenset(sorted(sets, key=_digest)[: len(sets) // _HELD_OUT_SHARE])


def _digest(things: Sequence[str]) -> int:
    return int.from_bytes(hashlib.blake2b(";".join(things).encode(), digest_size=8).digest(), "big")


def draw_prompts(*, seed: int, split: Split, choices: int, steps: int, popularity: float) -> Iterator[str]:
    """Yield distinct prompts of ``split`` without end, each telling of ``choices`` choices in random order.

    In each choice the family is on the first side with probability ``popularity``.
    """
    draw = random.Random(f"prompts/{seed}/{split}/{choices}/{steps}/{popularity}")
    seen: set[str] = set()
    while True:
        sides = [first if draw.random() < popularity else second for first, second in CHOICES[:choices]]
        things = [thing for side in sides for thing in draw.sample(side.things, HINTS_PER_CHOICE)]
        draw.shuffle(things)
        request = draw.choice(REQUESTS).format(draw.choice(NAMES))
        hints = [draw.choice(HINTS).format(thing) for thing in things]
        text = " ".join([request, *hints, CLOSING.format(NUMBERS[steps - 1])])
        if split_of(things) == split and text not in seen:
            seen.add(text)
            yield text


def read_wishes(prompt: str) -> Wishes | None:
    """Return the wishes of ``prompt``, or None where it is not a prompt of this world."""
    found = [thing for groups in _HINT_PATTERN.findall(prompt) for thing in groups if thing]
    steps = _STEPS_PATTERN.search(prompt)
    if not found or steps is None:
        return None
    name = _NAME_PATTERN.search(prompt)
    return Wishes(
        sides=tuple(sorted({SIDE_OF_THING[thing] for thing in found})),
        steps=NUMBERS.index(steps.group(1)) + 1,
        name=name.group(1) if name is not None else "you",
    )
