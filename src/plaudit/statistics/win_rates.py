"""From comparisons of pairs to one number per response: symmetric probabilities, win rates, strengths.

``log_odds[i, j]`` is always what a model says of the text that names response i first and response j second: the
log-odds that the first one is the better one. It is NaN where the pair was not compared.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import special

Float64Array = npt.NDArray[np.float64]


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
    is missing: what could not be compared is mostly one long response. Win rates over different opponents would say
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
