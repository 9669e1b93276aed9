"""The units of rated attributes: mean and standard deviation of the known ratings, in one pass, without torch."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from plaudit.data.schema.group import Group
from plaudit.errors import DataError

_RESOLUTION = 2.0**-23
"""Relative distance of neighbouring float32 numbers, in which ratings are trained on."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Moments:
    """Count, mean and sum of squared deviations of numbers that come one at a time.

    Source: Welford (1962), Technometrics 4(3); no sum of squares is formed, so a large mean costs no digits.
    """

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def add(self, value: float) -> None:
        """Count one more number."""
        self.count += 1
        from_old = value - self.mean
        self.mean += from_old / self.count
        self.squares += from_old * (value - self.mean)

    @property
    def std(self) -> float:
        """Return the standard deviation over the numbers at hand (no n − 1); 0 of none."""
        return math.sqrt(self.squares / self.count) if self.count else 0.0


@dataclass(frozen=True, slots=True)
class AttributeUnits:
    """Location and scale of each attribute: rating = location + scale · output of the head.

    Without any numbers the outputs are in the units of the ratings already.
    """

    locations: tuple[float, ...] = ()
    scales: tuple[float, ...] = ()


def equal_weights(scales: Sequence[float]) -> tuple[float, ...]:
    """Return weights that make the mean of attributes, each divided by its scale; none of fewer than two.

    A plain mean of ratings would be that of the attribute with the widest scale.
    """
    return tuple(1.0 / (len(scales) * scale) for scale in scales) if len(scales) > 1 else ()


def rating_moments(groups: Iterable[Group], attributes: Sequence[str]) -> dict[str, Moments]:
    """Return the moments of the known ratings of each attribute, one per rated response; missing ones do not count."""
    found = {name: Moments() for name in attributes}
    for group in groups:
        for name, moments in found.items():
            for rating in group.ratings.get(name, ()):
                if rating is not None:
                    moments.add(rating)
    return found


def measured_units(
    groups: Iterable[Group], attributes: Sequence[str], *, scale: Sequence[float] | None = None
) -> AttributeUnits:
    """Return the mean and the standard deviation of each attribute over ``groups``.

    ``scale`` takes the place of the standard deviations. An attribute whose ratings are all the same (to float32) has
    none: its scale is 1, and a warning says so. Where no group rates any attribute, there are no units.

    Raises:
        DataError: when some attributes are rated and others never: the output of such a one would stay random.
    """
    moments = rating_moments(groups, attributes)
    never = [name for name, each in moments.items() if each.count == 0]
    if len(never) == len(moments):
        return AttributeUnits()
    if never:
        known = ", ".join(f"{name} {each.count}" for name, each in moments.items() if each.count)
        raise DataError(
            f"no training group rates {', '.join(never)}, so that output would stay random (ratings found: {known}); "
            "leave it out of objective.attributes, or add data that rate it"
        )
    locations = tuple(each.mean for each in moments.values())
    if scale is not None:
        return AttributeUnits(locations, tuple(scale))
    return AttributeUnits(locations, tuple(_spread(name, each) for name, each in moments.items()))


def _spread(name: str, moments: Moments) -> float:
    if moments.std > _RESOLUTION * abs(moments.mean):
        return moments.std
    _log.warning(
        "all %d training ratings of %s are %g: there is no spread to learn or to divide by, so its scale is 1",
        moments.count,
        name,
        moments.mean,
    )
    return 1.0
