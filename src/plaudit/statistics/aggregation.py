"""From the rewards of reasoning steps to one reward of the response, and to the first wrong step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, assert_never

Aggregation = Literal["last", "mean", "min", "product", "max", "log_odds"]

_SMALLEST = 1e-12


def aggregate_steps(probabilities: Sequence[float], how: Aggregation) -> float:
    r"""Return one reward for a response from the probability of each of its steps that it is right.

    ``last``, ``mean``, ``min``, ``max`` and ``product`` are what they say; ``log_odds`` is
    :math:`\sum_i \log(p_i / (1 - p_i))`, with probabilities kept 1e-12 away from 0 and 1.

    Raises:
        ValueError: when there is no step.

    Source: product and min as in Lightman et al. (2023), arXiv 2305.20050; min as in Wang et al. (2024, Math-Shepherd).
    """
    if not len(probabilities):
        raise ValueError("a response without steps has no reward")
    values = [float(value) for value in probabilities]
    match how:
        case "last":
            return values[-1]
        case "mean":
            return math.fsum(values) / len(values)
        case "min":
            return min(values)
        case "product":
            return math.prod(values)
        case "max":
            return max(values)
        case "log_odds":
            kept = (min(max(value, _SMALLEST), 1.0 - _SMALLEST) for value in values)
            return math.fsum(math.log(value) - math.log1p(-value) for value in kept)
        case _:
            assert_never(how)


def first_error(probabilities: Sequence[float], *, threshold: float = 0.5) -> int | None:
    """Return the first step whose probability of being right is below ``threshold``, or None where none is."""
    return next((index for index, value in enumerate(probabilities) if value < threshold), None)
