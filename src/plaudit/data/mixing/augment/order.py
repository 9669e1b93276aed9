"""The responses of a group in another order, every label moved with its response."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from plaudit.data.mixing.augment.counts import AugmentTally
from plaudit.data.mixing.augment.draws import draws_of
from plaudit.data.schema.columns import row_hash, trusted_group
from plaudit.data.schema.group import Group, Preference

RULE = "shuffle"

T = TypeVar("T")


def with_shuffled_responses(groups: Iterable[Group], *, seed: int, tally: AugmentTally) -> Iterator[Group]:
    """Yield every group with its responses in an order drawn from the seed, every order as likely as another."""
    for group in groups:
        tally.groups_in += 1
        order = list(range(len(group.responses)))
        draws_of(row_hash(group), seed, RULE).shuffle(order)
        if len(order) == 1:
            tally.left_alone["one response"] += 1
        elif order == sorted(order):
            tally.left_alone["the drawn order is the given one"] += 1
        else:
            tally.augmented += 1
            tally.preferences_made["moved"] += len(group.preferences)
        yield reordered(group, order)


def reordered(group: Group, order: Sequence[int]) -> Group:
    """Return the group whose response k is response ``order[k]`` of ``group``; id, source and labels stay.

    Raises:
        ValueError: where ``order`` does not name each response once.
    """
    if sorted(order) != list(range(len(group.responses))):
        raise ValueError(f"order is {list(order)}; it must name each of the {len(group.responses)} responses once")
    place = {index: position for position, index in enumerate(order)}

    def moved(values: Sequence[T]) -> tuple[T, ...]:
        return tuple(values[index] for index in order)

    return trusted_group(
        prompt=group.prompt,
        responses=moved(group.responses),
        preferences=tuple(
            Preference(place[each.chosen], place[each.rejected], each.margin, each.probability)
            for each in group.preferences
        ),
        ranks=None if group.ranks is None else moved(group.ranks),
        ratings={attribute: moved(values) for attribute, values in group.ratings.items()},
        outcomes=None if group.outcomes is None else moved(group.outcomes),
        steps=None if group.steps is None else moved(group.steps),
        id=group.id,
        source=group.source,
    )
