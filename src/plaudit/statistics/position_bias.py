"""Position bias: the dependence of a comparison on the order of its responses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import special

from plaudit.statistics.intervals import Floats, fraction_of_sums

BothOrders = tuple[float, float]
"""Log-odds that the first named is better, for a pair (i, j) with i < j: i named first, then j."""


def both_orders(
    given: Sequence[float] | npt.NDArray[np.float64], turned: Sequence[float] | npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return [pair] the mean probability of the response that is named first, and whether the order decides (1 or 0).

    ``given[p]`` and ``turned[p]`` are log-odds of the one named first being the better one, in either order. The order
    decides where both have the same sign; a tie in one of them is no contradiction.
    """
    one, other = np.asarray(given, dtype=np.float64), np.asarray(turned, dtype=np.float64)
    return (special.expit(one) + special.expit(other)) / 2, (np.sign(one) * np.sign(other) > 0).astype(np.float64)


def pairs_in_both_orders(log_odds: npt.NDArray[np.float64]) -> tuple[BothOrders, ...]:
    """Return the pairs i < j of ``log_odds[first, second]`` of which neither order is NaN, row by row."""
    rows, columns = np.triu_indices(len(log_odds), k=1)
    given, turned = log_odds[rows, columns], log_odds[columns, rows]
    known = ~(np.isnan(given) | np.isnan(turned))
    return tuple(zip(given[known].tolist(), turned[known].tolist(), strict=True))


@dataclass(slots=True)
class PositionBias:
    """Position bias over all pairs that were compared in both orders so far; the pairs of a group are a cluster.

    ``first``: mean probability of the response that is named first; ½ is no bias. ``inconsistent``: share of the pairs
    in which both orders choose the one named first, or both the one named second, so that the order decides.
    """

    sums: list[tuple[float, float, int]] = field(default_factory=list)
    """Sums of both over the pairs of each group that has one, and the number of these."""

    @property
    def pairs(self) -> int:
        """Return the number of pairs that were compared in both orders."""
        return sum(size for *_, size in self.sums)

    def add(self, pairs: Sequence[BothOrders]) -> None:
        """Add the pairs of one group."""
        first, inconsistent = both_orders([given for given, _ in pairs], [turned for _, turned in pairs])
        if len(first):
            self.sums.append((float(first.sum()), float(inconsistent.sum()), len(first)))

    def in_words(self) -> str:
        """Return the statistic as one line for people."""
        if not self.sums:
            return "position bias: no pair was compared in both orders"
        first, inconsistent, sizes = np.array(self.sums, dtype=np.float64).T
        return (
            "position bias: the response named first is preferred with probability "
            f"{_words(first, sizes, '.3f')} (½ is none); the "
            f"order decides {_words(inconsistent, sizes, '.1%')} of {self.pairs} pairs"
        )


def _words(totals: Floats, sizes: Floats, style: str) -> str:
    """Return a mean over pairs with its interval over groups (see ``fraction_interval``), where there are several."""
    found = fraction_of_sums(totals, sizes)
    if found is None or len(sizes) < 2:
        return format(float(totals.sum() / sizes.sum()), style)
    return f"{found.value:{style}} ({found.low:{style}} to {found.high:{style}})"
