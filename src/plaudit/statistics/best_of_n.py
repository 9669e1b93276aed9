"""Best-of-n: the exact expected gold reward of the response a reward model picks from n samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from plaudit.errors import ConfigError, DataError


@dataclass(frozen=True, slots=True)
class BestOfN:
    """Expected gold reward for each n, over the subsets of the samples at hand."""

    n: tuple[int, ...]
    """Sample counts."""
    proxy: tuple[float, ...]
    """Gold reward of the response with the highest proxy reward of n."""
    oracle: tuple[float, ...]
    """Gold reward of the best response of n: no picker does better."""
    mean: float
    """Gold reward of a random response: what n = 1 gives."""
    kl: tuple[float, ...]
    """Bound on the divergence from the policy, in nats."""


def selection_weights(rewards: ArrayLike, n: int) -> NDArray[np.float64]:
    """Return [sample] the probability that a sample is the pick of a random n-subset, by highest reward.

    With the N samples in rising order, the i-th (from 1) is the highest of C(i−1, n−1) of the C(N, n)
    subsets. Samples with equal rewards share their weight evenly, as an unbiased tie-break would. The
    expectation of any per-sample quantity under these weights is unbiased over the draw of the samples.

    Raises:
        ConfigError: unless 1 ≤ n ≤ N.
        DataError: where a reward is not finite.
    """
    array = np.asarray(rewards, dtype=np.float64)
    total = len(array)
    if not 1 <= n <= total:
        raise ConfigError(f"n is {n} for {total} samples; it must lie between 1 and {total}")
    if not np.isfinite(array).all():
        raise DataError("rewards holds a value that is not finite")
    place = np.arange(1, total + 1)
    log_total = _log_choose(np.array([float(total)]), n)[0]
    by_place = np.where(place >= n, np.exp(_log_choose(np.maximum(place, n) - 1.0, n - 1) - log_total), 0.0)
    _, value, count = np.unique(array, return_inverse=True, return_counts=True)
    first = np.cumsum(count) - count
    shared = np.add.reduceat(by_place, first) / count
    return shared[value]


def expected_best_of_n(rewards: ArrayLike, gold: ArrayLike, n: int) -> float:
    """Return the expected gold reward of the response with the highest reward among n.

    Raises:
        DataError: when the lengths differ or a value is not finite.
        ConfigError: unless 1 ≤ n ≤ the number of samples.
    """
    truth = np.asarray(gold, dtype=np.float64)
    weights = selection_weights(rewards, n)
    if truth.shape != weights.shape:
        raise DataError(f"gold has {len(truth)} entries for {len(weights)} rewards")
    if not np.isfinite(truth).all():
        raise DataError("gold holds a value that is not finite")
    return float(weights @ truth)


def best_of_n_curve(rewards: Sequence[ArrayLike], gold: Sequence[ArrayLike], ns: Sequence[int]) -> BestOfN:
    """Return the best-of-n curve averaged over prompts, each prompt counting once.

    Args:
        rewards: per prompt, [sample] the proxy reward.
        gold: per prompt, [sample] the gold reward.
        ns: sample counts, none above the samples of the smallest prompt.

    Raises:
        DataError: when there is no prompt, the lengths differ or a value is not finite.
        ConfigError: unless each n lies between 1 and the samples of every prompt.
    """
    if not rewards or len(rewards) != len(gold):
        raise DataError(f"{len(rewards)} prompts with rewards and {len(gold)} with gold; both must be equal, above 0")
    pairs = list(zip(rewards, gold, strict=True))
    return BestOfN(
        n=tuple(ns),
        proxy=tuple(float(np.mean([expected_best_of_n(r, g, n) for r, g in pairs])) for n in ns),
        oracle=tuple(float(np.mean([expected_best_of_n(g, g, n) for _, g in pairs])) for n in ns),
        mean=float(np.mean([expected_best_of_n(r, g, 1) for r, g in pairs])),
        kl=tuple(best_of_n_kl(n) for n in ns),
    )


def best_of_n_kl(n: int) -> float:
    """Return log n − (n − 1) ÷ n, in nats: an upper bound on KL(best-of-n ‖ policy), exact without ties.

    Raises:
        ConfigError: for n below 1.
    """
    if n < 1:
        raise ConfigError(f"n is {n}; it must be at least 1")
    return math.log(n) - (n - 1) / n


def _log_choose(top: NDArray[np.float64], bottom: int) -> NDArray[np.float64]:
    return special.gammaln(top + 1.0) - special.gammaln(bottom + 1.0) - special.gammaln(top - bottom + 1.0)
