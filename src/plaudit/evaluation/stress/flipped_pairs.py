"""The pairs whose ranking a transform turns most clearly, with their texts before and after."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from plaudit.data.schema.group import Group
from plaudit.evaluation.metrics.preference import labelled_pairs
from plaudit.evaluation.stress.robustness import ORIGINAL, TRANSFORM
from plaudit.evaluation.stress.transforms import Transform
from plaudit.records import ItemScore, Record

MAX_PAIRS = 3
MAX_CHARACTERS = 1200


class ChangedText(Record):
    """A text before and after a transform, both cut to the surroundings of the first difference."""

    before: str
    """The text as it is."""
    after: str
    """The text as the transform makes it; equal where the transform leaves it alone."""


class FlippedPair(Record):
    """A preference pair whose two rewards stand in the opposite order after a transform."""

    transform: str
    """Name of the transform."""
    id: str
    """Id of the group."""
    source: str
    """Source of the group."""
    prompt: ChangedText
    """The last turn of the prompt, the only one that a transform changes."""
    turns: int
    """Turns before it, which are not shown."""
    chosen: ChangedText
    """The response that the label prefers."""
    rejected: ChangedText
    """The other response."""
    chosen_rewards: tuple[float, float]
    """Reward of chosen before and after."""
    rejected_rewards: tuple[float, float]
    """Reward of rejected before and after."""


class FlippedPairs(Record):
    """Content of ``flipped_pairs.json``."""

    max_characters: int
    """Each text is cut to this many characters."""
    pairs: tuple[FlippedPair, ...]
    """By transform: first those that turn to the wrong side, the clearest first; at most one per prompt and three."""


class _Turn(NamedTuple):
    to_wrong: bool
    size: float
    place: int
    chosen: int
    rejected: int
    after: ItemScore


def flipped_pairs(
    groups: Sequence[Group], items: Sequence[ItemScore], transforms: Sequence[Transform], *, seed: int
) -> FlippedPairs:
    """Return the pairs that each transform turns most clearly: the smaller of the two margins is largest.

    ``items`` are those of a stress test of ``groups`` with ``seed``, from which the changed texts are made again.
    """
    originals = {item.metadata["place"]: item for item in items if item.metadata["probe"] == ORIGINAL}
    by_name = {each.name: each for each in transforms}
    turns: dict[str, list[_Turn]] = {name: [] for name in by_name}
    for item in items:
        if item.metadata["probe"] == TRANSFORM:
            turns[str(item.metadata["name"])] += _turns(originals[item.metadata["place"]], item)
    pairs = list[FlippedPair]()
    for name, found in turns.items():
        best: dict[str, _Turn] = {}
        for turn in sorted(found, key=lambda turn: (not turn.to_wrong, -turn.size, turn.place)):
            best.setdefault(turn.after.prompt_key, turn)
        for turn in list(best.values())[:MAX_PAIRS]:
            changed = by_name[name].apply(groups[turn.place], seed=seed)
            pairs.append(_pair(name, groups[turn.place], changed, originals[turn.place], turn))
    return FlippedPairs(max_characters=MAX_CHARACTERS, pairs=tuple(pairs))


def _turns(before: ItemScore, after: ItemScore) -> list[_Turn]:
    place = before.metadata["place"]
    assert isinstance(place, int)
    both = zip(labelled_pairs(before), labelled_pairs(after), strict=False)
    return [
        _Turn(one.margin > 0, min(abs(one.margin), abs(other.margin)), place, one.chosen, one.rejected, after)
        for one, other in (both if None not in (*before.rewards, *after.rewards) else ())
        if one.margin * other.margin < 0
    ]


def _pair(name: str, group: Group, changed: Group, before: ItemScore, turn: _Turn) -> FlippedPair:
    return FlippedPair(
        transform=name,
        id=group.id,
        source=group.source,
        prompt=_around_change(group.prompt[-1].content, changed.prompt[-1].content),
        turns=len(group.prompt) - 1,
        chosen=_around_change(group.responses[turn.chosen], changed.responses[turn.chosen]),
        rejected=_around_change(group.responses[turn.rejected], changed.responses[turn.rejected]),
        chosen_rewards=_rewards(before, turn.after, turn.chosen),
        rejected_rewards=_rewards(before, turn.after, turn.rejected),
    )


def _rewards(before: ItemScore, after: ItemScore, index: int) -> tuple[float, float]:
    one, other = before.rewards[index], after.rewards[index]
    assert one is not None
    assert other is not None
    return one, other


def _around_change(before: str, after: str) -> ChangedText:
    """Return both texts from the same place on: their start, or, of long ones, ahead of where they differ."""
    longest = max(len(before), len(after))
    shared = next(
        (k for k, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), min(len(before), len(after))
    )
    start = 0 if before == after else max(0, min(shared - MAX_CHARACTERS // 2, longest - MAX_CHARACTERS))
    return ChangedText(before=_part(before, start), after=_part(after, start))


def _part(text: str, start: int) -> str:
    lead, end = "…" if start else "", start + MAX_CHARACTERS
    return lead + text[start:end] + ("…" if end < len(text) else "")
