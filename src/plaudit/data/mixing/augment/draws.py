"""What every rule of augmentation shares: its random draws, the pairs that the data decide, the names of groups."""

from __future__ import annotations

import random

from plaudit.data.schema.columns import hash64
from plaudit.data.schema.group import Group


def draws_of(row_hash: int, seed: int, rule: str) -> random.Random:
    """Return the source of a group's draws: a function of (seed, rule, group), whatever stands before the group."""
    return random.Random(hash64(f"{seed}|{rule}|{row_hash}".encode()))


def decided_pairs(group: Group) -> list[tuple[int, int]]:
    """Return (better, worse) of each pair of responses that the preferences decide, each pair once.

    A preference of probability below ½ decides for its rejected response; one of ½ decides nothing, and so do
    preferences that contradict each other, and those of two responses that are the same text, blanks at the ends aside.
    """
    better_of: dict[tuple[int, int], int | None] = {}
    for preference in group.preferences:
        probability = 1.0 if preference.probability is None else preference.probability
        if probability == 0.5:
            continue
        better = preference.chosen if probability > 0.5 else preference.rejected
        pair = (min(preference.chosen, preference.rejected), max(preference.chosen, preference.rejected))
        if better_of.setdefault(pair, better) != better:
            better_of[pair] = None
    return [
        (better, sum(pair) - better)
        for pair, better in better_of.items()
        if better is not None and group.responses[pair[0]].strip() != group.responses[pair[1]].strip()
    ]


def made_id(group: Group, rule: str) -> str:
    """Return the id of what a rule makes of a group: ``id#rule``; a group without an id gives one without."""
    return f"{group.id}#{rule}" if group.id else ""


def made_source(group: Group, rule: str) -> str:
    """Return the source of what a rule makes of a group: ``rule:source``."""
    return f"{rule}:{group.source}"
