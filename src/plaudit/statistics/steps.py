"""Reasoning steps: one reward of a response from those of its steps, and its first wrong step. Loads no NumPy."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Literal, assert_never

Aggregation = Literal["last", "mean", "min", "product", "max", "log_odds", "geometric_mean", "mean_logit", "mean_odds"]

StepReward = Literal["not_lowest", "highest", "mean"]
"""Reward of a reasoning step of several classes: 1 − P(the lowest), P(the highest), or the mean class from 0 to 1."""

_SMALLEST = 1e-12
_LARGEST_EXPONENT = 700.0


def aggregate_steps(probabilities: Sequence[float], how: Aggregation) -> float:
    r"""Return one reward for a response from the probability of each of its steps that it is right.

    ``last``, ``mean``, ``min``, ``max`` and ``product`` are the usual ones; ``log_odds`` is
    :math:`\sum_i \log(p_i / (1 - p_i))`. Over n steps ``geometric_mean`` is :math:`(\prod_i p_i)^{1/n}`, ``mean_logit``
    the probability whose log-odds are the mean of those of the steps, and ``mean_odds`` the mean of
    :math:`p_i / (1 - p_i)`. Where odds are taken, probabilities are kept 1e-12 away from 0 and 1.

    Raises:
        ValueError: when there is no step; for a geometric mean, when a number is negative.

    Source: product and min as in Lightman et al. (2023), arXiv 2305.20050; min as in Wang et al. (2024, Math-Shepherd);
    the last three as in Kim et al. (2024, RewardMATH), arXiv 2410.01729.
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
            return math.fsum(map(_logit, values))
        case "geometric_mean":
            return _geometric_mean(values)
        case "mean_logit":
            return 1.0 / (1.0 + math.exp(-math.fsum(map(_logit, values)) / len(values)))
        case "mean_odds":
            return math.fsum(value / (1.0 - value) for value in map(_inside, values)) / len(values)
        case _:
            assert_never(how)


def aggregate_log_odds(log_odds: Sequence[float], how: Aggregation) -> float:
    """Return ``aggregate_steps`` of the probabilities with these log-odds.

    Sums and means of log-odds and of odds are taken of them as they are, whereas probabilities that round to 1 tie.

    Raises:
        ValueError: when there is no step.
    """
    if not len(log_odds):
        raise ValueError("a response without steps has no reward")
    match how:
        case "log_odds":
            return math.fsum(log_odds)
        case "mean_logit":
            return probability(math.fsum(log_odds) / len(log_odds))
        case "mean_odds":
            return math.fsum(math.exp(min(each, _LARGEST_EXPONENT)) for each in log_odds) / len(log_odds)
        case "last" | "mean" | "min" | "product" | "max" | "geometric_mean":
            return aggregate_steps([probability(each) for each in log_odds], how)
        case _:
            assert_never(how)


def probability(log_odds: float) -> float:
    """Return the probability with these log-odds."""
    # the exponent is never above 0, so it does not overflow
    return 1.0 / (1.0 + math.exp(-log_odds)) if log_odds >= 0.0 else math.exp(log_odds) / (1.0 + math.exp(log_odds))


def _inside(probability: float) -> float:
    return min(max(probability, _SMALLEST), 1.0 - _SMALLEST)


def _logit(probability: float) -> float:
    kept = _inside(probability)
    return math.log(kept) - math.log1p(-kept)


def _geometric_mean(values: Sequence[float]) -> float:
    if min(values) < 0.0:
        raise ValueError(f"a step has {min(values)}; a geometric mean is of numbers that are not negative")
    product = math.prod(values)
    if product > sys.float_info.min or 0.0 in values:
        return product ** (1.0 / len(values))
    # The product of many small numbers underflows; its logarithm does not.
    return math.exp(math.fsum(map(math.log, values)) / len(values))


def wrong_below(classes: Sequence[float]) -> float:
    """Return the label below which a step is wrong: nearer to the lowest of its classes than to the next."""
    return (classes[0] + classes[1]) / 2


def first_error(probabilities: Sequence[float], *, threshold: float = 0.5) -> int | None:
    """Return the first step whose probability of being right is below ``threshold``, or None where none is."""
    return next((index for index, value in enumerate(probabilities) if value < threshold), None)
