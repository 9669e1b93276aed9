"""Tournaments of the responses of a group: who meets whom, and one number per response from the results.

``log_odds[i, j]`` is the result of the meeting that names response i first and response j second: the log-odds that the
first one is the better one, NaN where the two did not meet in that order. Who asks whom, a model or a judge, is up to
the caller: ``RoundRobin`` and ``Knockout`` list pairs, and take their results.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import special

Float64Array = npt.NDArray[np.float64]
Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class RoundRobin:
    """Every two entrants meet, K (K − 1) ÷ 2 pairs, or each one meets the anchor, K − 1 pairs."""

    entrants: tuple[int, ...]
    anchor: int | None = None

    @property
    def pairs(self) -> list[Pair]:
        """Return the pairs to compare, each in both orders."""
        if self.anchor is None:
            return list(itertools.combinations(self.entrants, 2))
        return [(self.anchor, other) for other in self.entrants if other != self.anchor]

    def tables(self, log_odds: Float64Array) -> tuple[Float64Array, Float64Array]:
        """Return ``[response, response]`` the probability and the log-odds that i is better than j, over both orders.

        Against an anchor, s being the log-odds of beating it, those of two others are s_i − s_j (Bradley–Terry). A pair
        without a result is NaN; the diagonals are ½ and 0.
        """
        pair_log_odds = symmetric_log_odds(log_odds)
        if self.anchor is None:
            probabilities = symmetric_probabilities(log_odds)
        else:
            against_anchor = pair_log_odds[:, self.anchor]
            against_anchor[self.anchor] = 0.0
            pair_log_odds = differences(against_anchor)
            probabilities = probabilities_from(pair_log_odds)
        np.fill_diagonal(probabilities, 0.5)
        np.fill_diagonal(pair_log_odds, 0.0)
        return probabilities, pair_log_odds


@dataclass(slots=True)
class Knockout:
    """A bracket of single elimination: ⌈log₂ K⌉ rounds, K − 1 meetings, and a rank for every entrant.

    ``entrants`` stand in the order of their seeds: where K is no power of two the first ones have a bye in the first
    round, and in every round the best seed left meets the worst. A tie goes to the better seed. Of two whose meeting
    has no result, the one that had a result before goes on, else the better seed.
    """

    entrants: Sequence[int]
    ranks: dict[int, int] = field(init=False, default_factory=dict)
    """Rank of each entrant that is out, 1 of the winner; who lose in the same round share one, as in 1 2 3 3 5."""
    _standing: list[int] = field(init=False)
    _met: set[int] = field(init=False, default_factory=set)

    def __post_init__(self) -> None:
        """Place everyone in the bracket."""
        self._standing = list(self.entrants)
        self._end()

    @property
    def meetings(self) -> list[Pair]:
        """Return the pairs of the round that is due, the better seed first; none where the winner is known."""
        count = len(self._standing)
        byes = self._byes
        return [(self._standing[byes + k], self._standing[count - 1 - k]) for k in range((count - byes) // 2)]

    @property
    def winner(self) -> int | None:
        """Return who won; None before the last round, and where no meeting of the winner had a result."""
        found = self._standing[0] if len(self._standing) == 1 else None
        return found if found in self._met else None

    def play(self, leads: Sequence[float]) -> None:
        """Take the log-odds that the first of each pair of ``meetings`` is better; NaN where there is no result."""
        winners, losers = self._standing[: self._byes], list[int]()
        for (first, second), lead in zip(self.meetings, leads, strict=True):
            if not math.isnan(lead):
                self._met |= {first, second}
            stays = first in self._met or second not in self._met if math.isnan(lead) else lead >= 0.0
            winners.append(first if stays else second)
            losers.append(second if stays else first)
        self._standing = winners
        self.ranks |= dict.fromkeys(losers, len(winners) + 1)
        self._end()

    @property
    def _byes(self) -> int:
        count = len(self._standing)
        return (1 << (count - 1).bit_length()) - count if count > 1 else count

    def _end(self) -> None:
        if len(self._standing) == 1:
            self.ranks[self._standing[0]] = 1


def number_of_kept(
    number: Callable[[Float64Array], Float64Array], table: Float64Array, kept: npt.NDArray[np.bool_]
) -> Float64Array:
    """Return [response] ``number`` (``win_rates``, ``strengths``) of the kept part of ``table``, NaN for the others."""
    found = np.full(len(table), np.nan)
    if kept.any():
        found[kept] = number(table[np.ix_(kept, kept)])
    return found


def symmetric_probabilities(log_odds: Float64Array) -> Float64Array:
    """Return ``[response, response]`` the probability that i is better than j, the mean over both orders.

    p_ij = ½ (σ(l_ij) + 1 − σ(l_ji)), computed as ½ + ½ (σ(l_ij) − σ(l_ji)), so that p_ij + p_ji is 1 to the last bit.
    """
    first = special.expit(log_odds)
    return 0.5 + (first - first.T) / 2


def symmetric_log_odds(log_odds: Float64Array) -> Float64Array:
    """Return ``[response, response]`` log(p_ij ÷ p_ji) of the symmetric probabilities, finite where they round to 1."""
    first, second = special.log_expit(log_odds), special.log_expit(-log_odds)
    with np.errstate(invalid="ignore"):
        return np.logaddexp(first, second.T) - np.logaddexp(second, first.T)


def differences(strengths: Float64Array) -> Float64Array:
    """Return ``[response, response]`` s_i − s_j: the log-odds that i is better, under Bradley–Terry."""
    return strengths[:, None] - strengths[None, :]


def probabilities_from(log_odds: Float64Array) -> Float64Array:
    """Return σ of log-odds that are antisymmetric already, so that p_ij + p_ji is 1 to the last bit."""
    return 0.5 + np.tanh(log_odds / 2) / 2


def comparable(table: Float64Array, lengths: Sequence[int]) -> npt.NDArray[np.bool_]:
    """Return [response] whether it is kept: the kept ones were all compared with one another, and are at least two.

    ``table[response, response]`` is NaN where a pair was not compared; its diagonal does not count. The response with
    the most missing pairs is left out first, the longest of them where several have as many, and so on until no pair
    is missing: it is mostly one long response that could not be compared. Win rates over different opponents would say
    nothing about one another.
    """
    missing = np.isnan(table)
    np.fill_diagonal(missing, False)
    kept = np.ones(len(table), dtype=bool)
    while kept.any():
        open_pairs = (missing[:, kept].sum(axis=1)) * kept
        if not open_pairs.any():
            break
        worst = max(np.flatnonzero(open_pairs).tolist(), key=lambda k: (int(open_pairs[k]), lengths[k], -k))
        kept[worst] = False
    return kept if kept.sum() > 1 else np.zeros(len(table), dtype=bool)


def win_rates(probabilities: Float64Array) -> Float64Array:
    """Return [response] the mean probability of being better than another response of the group.

    1 ÷ (K − 1) Σ_{j ≠ i} p_ij; the mean over the group is ½.
    """
    others = probabilities.copy()
    np.fill_diagonal(others, 0.0)
    return others.sum(axis=1) / (len(others) - 1)


def strengths(log_odds: Float64Array) -> Float64Array:
    """Return [response] 1 ÷ K Σ_j l_ij with l_ii = 0: the log-odds of being better than a typical response.

    The least-squares solution of s_i − s_j = l_ij with mean 0, so s_i − s_j = l_ij wherever log-odds add up; for K = 2
    always.
    """
    others = log_odds.copy()
    np.fill_diagonal(others, 0.0)
    return others.mean(axis=1)
