"""Numbers of published results: what is none is missing, and says why; what is of another kind is an error."""

from __future__ import annotations

import math
from collections.abc import Sequence

from plaudit.data.reading.sources.fields import found, is_list
from plaudit.errors import DataError

Numbers = tuple[float | None, ...]


def recorded(values: Sequence[object], name: str) -> tuple[Numbers, str | None]:
    """Return the rewards that a row holds, and why some are missing, or None where they are all there.

    A list of one number counts as the number, as models with one output leave it. Null, NaN and infinities are no
    rewards: an official script would compare them, and NaN would lose, or win, by where it stands.

    Raises:
        DataError: naming the entry, for text, booleans and lists of several numbers.
    """
    numbers: list[float | None] = []
    reasons: list[str] = []
    for index, value in enumerate(values):
        number, why = recorded_number(value, f"{name}[{index}]")
        numbers.append(number)
        if why is not None:
            reasons.append(why)
    return tuple(numbers), "; ".join(reasons) or None


def recorded_number(value: object, name: str) -> tuple[float | None, str | None]:
    """Return a number and None, or None and why there is no number. See ``recorded``."""
    bare = value[0] if is_list(value) and len(value) == 1 else value
    if bare is None:
        return None, f"{name} is null"
    if isinstance(bare, bool) or not isinstance(bare, int | float):
        raise DataError(f"{name} is {found(bare)}; it must be a number or null")
    try:
        number = float(bare)
    except OverflowError:
        raise DataError(f"{name} is {found(bare)}; it must fit a 64-bit float") from None
    return (number, None) if math.isfinite(number) else (None, f"{name} is {number}")
