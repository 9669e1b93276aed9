"""Best-of-n: the exact expected gold reward of the response a reward model picks from n samples, and over-optimisation.

Choosing harder and harder by a reward model raises its own reward; ``over_optimisation_curve`` says what that does to
the gold reward.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from plaudit.errors import ConfigError, DataError
from plaudit.records import BestOfNCurve, BestOfNPoint, Interval
from plaudit.statistics.intervals import (
    NO_VARIANCE,
    cluster_index,
    effective_clusters,
    finished_interval,
    finite_values,
    mean_interval,
    ratio_of_sums,
    student_quantile,
    wilson_ends,
    without_each,
)

_ROUNDING = 1e-12
"""Two expectations that differ by less than this share of the gold rewards are the same."""
_DRAWS = 20_000
"""Draws of the largest of several t statistics."""

MeanInterval = Callable[[NDArray[np.float64], Sequence[object]], Interval]
"""Computes the mean with an interval from numbers [set] and their prompts [set], at least two of them distinct."""


def place_weights(total: int, counts: Sequence[int]) -> NDArray[np.float64]:
    """Return [n, place] the probability that the i-th smallest of ``total`` samples is the largest of n of them.

    That is C(i−1, n−1) ÷ C(N, n) for N samples, here as n ÷ N × Π (j − n) ÷ (j − 1) over the j from i + 1 to N, which
    rounds less than factorials do.

    Raises:
        ConfigError: unless every n is from 1 to ``total``.
    """
    place = np.arange(1, total + 1, dtype=np.float64)
    rows = []
    for n in counts:
        if not 1 <= n <= total:
            raise ConfigError(f"n is {n} for {total} samples; it must lie between 1 and {total}")
        steps = np.maximum(place[:0:-1] - n, 0.0) / (place[:0:-1] - 1.0)
        rows.append(n / total * np.concatenate([[1.0], np.cumprod(steps)])[::-1])
    return np.array(rows).reshape(len(rows), total)


def best_of_n_table(
    rewards: Sequence[ArrayLike], gold: Sequence[ArrayLike], counts: Sequence[int]
) -> NDArray[np.float64]:
    """Return [set, n] the expected gold reward of the pick by reward among n samples of a set.

    The expectation is over all n-subsets of the set, drawn without replacement, and so exact: no draw is made. It is
    Σ over places in rising order of reward of ``place_weights`` × gold, samples of equal reward sharing the mean of
    their gold, for all sets of one size in one pass.

    Args:
        rewards: [set][sample], by which is picked.
        gold: [set][sample], the value of the pick.
        counts: each n.

    Raises:
        DataError: when lengths differ or a value is not finite.
        ConfigError: unless every n is from 1 to the smallest number of samples.
    """
    if len(rewards) != len(gold):
        raise DataError(f"{len(rewards)} sets of rewards and {len(gold)} of gold rewards")
    picked_by = [finite_values(each, "rewards") for each in rewards]
    worth = [finite_values(each, "gold") for each in gold]
    for number, (own, true) in enumerate(zip(picked_by, worth, strict=True)):
        if len(own) != len(true):
            raise DataError(f"gold has {len(true)} entries for {len(own)} rewards, in set {number}")
    sizes = np.array([len(each) for each in picked_by], dtype=int)
    table = np.empty((len(sizes), len(counts)))
    for size in np.unique(sizes):
        rows = np.flatnonzero(sizes == size)
        weights = place_weights(int(size), counts)
        shared = _mean_of_ties(np.stack([picked_by[row] for row in rows]), np.stack([worth[row] for row in rows]))
        # a sum per n, not a matrix product: equal sets then have equal sums to the last bit, and no regret
        for column, each in enumerate(weights):
            table[rows, column] = (shared * each).sum(axis=1)
    return table


def best_of_n_divergence(n: int) -> float:
    """Return log n − (n − 1) ÷ n, the Kullback–Leibler divergence of best of n from the sampled policy, in nats.

    It is exact where no two samples have one reward, and else an upper bound.

    Raises:
        ConfigError: for n below 1.

    Source: Stiennon et al. (2020), arXiv 2009.01325, appendix G.3; bound: Beirami et al. (2024), arXiv 2401.01879.
    """
    if n < 1:
        raise ConfigError(f"n is {n}; it must be at least 1")
    return math.log(n) - (n - 1) / n


def _mean_of_ties(rewards: NDArray[np.float64], gold: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return [set, place] gold in rising order of reward; places of equal reward all hold the mean of their gold."""
    order = np.argsort(rewards, axis=1, kind="stable")
    rising, worth = np.take_along_axis(rewards, order, axis=1), np.take_along_axis(gold, order, axis=1)
    starts = np.ones(rising.shape, dtype=bool)
    starts[:, 1:] = rising[:, 1:] != rising[:, :-1]
    run = np.cumsum(starts.ravel()) - 1
    return (np.bincount(run, weights=worth.ravel()) / np.bincount(run))[run].reshape(worth.shape)


def over_optimisation_curve(
    proxy: Sequence[ArrayLike],
    gold: Sequence[ArrayLike],
    counts: Sequence[int],
    *,
    prompts: Sequence[object] | None = None,
    confidence: float = 0.95,
    seed: int = 0,
    gold_interval: MeanInterval | None = None,
) -> BestOfNCurve:
    """Return proxy and gold reward of the best of n by proxy, for each n of ``counts`` and over the same sets.

    Within a set of samples the expectation is exact, over all sets of n of them (see ``best_of_n_table``); means and
    intervals are over sets, clustered by prompt. Where gold falls as proxy rises, the proxy is over-optimised:
    ``fall`` and ``falls`` say whether it does.

    Args:
        proxy: [set][sample] rewards of samples of one prompt.
        gold: [set][sample] their gold rewards.
        counts: numbers of responses to choose from.
        prompts: [set] the prompt of each; by default they all differ.
        confidence: stated coverage.
        seed: of the draws that make the interval of the fall hold for every n at once.
        gold_interval: makes the intervals of expected gold rewards; by default ``mean_interval``.

    Raises:
        DataError: when the lengths differ, a value is not finite, or there are fewer than two prompts.
        ConfigError: unless every n is from 1 to the smallest number of samples, and the confidence from 0 to 1.

    Source: Gao, Schulman and Hilton (2023), Scaling laws for reward model overoptimization, arXiv 2210.10760.
    """
    labels = list(range(len(proxy))) if prompts is None else list(prompts)
    if not len(proxy) == len(gold) == len(labels):
        raise DataError(f"{len(proxy)} sets of proxy rewards, {len(gold)} of gold rewards and {len(labels)} prompts")
    if len(set(labels)) < 2:
        raise DataError("a curve with intervals needs two prompts")
    if not counts:
        raise ConfigError("counts is empty; name at least one n")
    ordered = sorted(set(counts))
    found = _Expected(
        proxy=best_of_n_table(proxy, proxy, ordered),
        gold=best_of_n_table(proxy, gold, ordered),
        oracle=best_of_n_table(gold, gold, ordered),
        random=np.array([np.asarray(each, dtype=np.float64).mean() for each in gold], dtype=np.float64),
        size=np.array([np.abs(np.asarray(each, dtype=np.float64)).max() for each in gold], dtype=np.float64),
    )
    plain = partial(_plain_mean, confidence)
    falls = found.without_rounding(found.gold - found.gold[:, -1:])
    return BestOfNCurve(
        points=tuple(_points(found, ordered, labels, plain, gold_interval or plain, confidence)),
        random=(gold_interval or plain)(found.random, labels),
        peak=ordered[int(np.argmax(falls.mean(axis=0)))],
        fall=largest_mean(falls, labels, confidence=confidence, seed=seed),
        groups=len(labels),
        largest_k=max(len(np.asarray(each)) for each in gold),
    )


@dataclass(frozen=True, slots=True)
class _Expected:
    """Expected ``proxy``, ``gold`` and ``oracle`` [set, n] and ``random`` [set], and the ``size`` of gold [set]."""

    proxy: NDArray[np.float64]
    gold: NDArray[np.float64]
    oracle: NDArray[np.float64]
    random: NDArray[np.float64]
    size: NDArray[np.float64]

    def without_rounding(self, differences: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return [set, n] differences of expected gold, 0 where they are rounding."""
        return np.where(np.abs(differences) <= _ROUNDING * self.size[:, None], 0.0, differences)


def _points(
    found: _Expected,
    counts: Sequence[int],
    prompts: Sequence[object],
    plain: MeanInterval,
    of_gold: MeanInterval,
    confidence: float,
) -> Iterator[BestOfNPoint]:
    lost = np.maximum(found.without_rounding(found.oracle - found.gold), 0.0)
    gained = found.without_rounding(found.gold - found.random[:, None])
    possible = found.without_rounding(found.oracle - found.random[:, None])
    for place, n in enumerate(counts):
        yield BestOfNPoint(
            n=n,
            divergence=best_of_n_divergence(n),
            gold=of_gold(found.gold[:, place], prompts),
            oracle=of_gold(found.oracle[:, place], prompts),
            regret=plain(lost[:, place], prompts),
            recovered=recovered_share(gained[:, place], possible[:, place], prompts, confidence=confidence),
            proxy=plain(found.proxy[:, place], prompts),
        )


def _plain_mean(confidence: float, values: NDArray[np.float64], prompts: Sequence[object]) -> Interval:
    found = mean_interval(values, prompts, confidence=confidence)
    assert found is not None  # there are two prompts
    return found


def recovered_share(
    gains: NDArray[np.float64], possible: NDArray[np.float64], prompts: Sequence[object], *, confidence: float = 0.95
) -> Interval | None:
    """Return Σ gains ÷ Σ possible gains over sets, with the jackknife over prompts; None where nothing can be gained.

    R ± t √v (see ``statistics.intervals``), with Student's quantile; where v is 0 and R lies from 0 to 1, Wilson's over
    prompts. Sets in which nothing can be gained say nothing about the share and are left out; fewer than two prompts of
    other sets give none. The interval ends at 1: no choice gains more than the best one.

    Args:
        gains: [set] gain of the choice over a random one, at most ``possible``.
        possible: [set] gain of the best choice, at least 0.
        prompts: [set].
        confidence: stated coverage.
    """
    kept = np.flatnonzero(possible > 0.0)
    index = cluster_index([prompts[int(row)] for row in kept])
    count = int(index.max()) + 1 if len(index) else 0
    if count < 2:
        return None
    won, could = (np.bincount(index, weights=each[kept]).astype(np.float64) for each in (gains, possible))
    share, variance = ratio_of_sums(won, could)
    half = student_quantile(confidence, effective_clusters(could)) * math.sqrt(variance)
    low, high, method = share - half, share + half, f"student of a ratio ({count} clusters)"
    if variance <= NO_VARIANCE and 0.0 <= share <= 1.0:
        low, high, method = *wilson_ends(share, count, confidence), f"wilson over {count} prompts"
    return finished_interval(share, low, high, confidence=confidence, method=method, n=len(kept), most=1.0)


def largest_mean(
    values: NDArray[np.float64], prompts: Sequence[object], *, confidence: float = 0.95, seed: int = 0
) -> Interval:
    """Return the largest of the column means of ``values`` [set, column], allowing for its being the largest.

    The largest of several means is there partly by chance, and an interval made as if its column had been named before
    would leave that out, and that the true mean of another column may be the largest. This one is from the largest
    M − c √v to the largest M + c √v of all columns, over clusters, where c is the quantile of the largest |t| of all
    columns, drawn from Student's distribution with the correlations of the columns: M ± c √v hold the true means of all
    columns at once with ``confidence``, and so these ends the largest of them.

    Args:
        values: [set, column].
        prompts: [set], at least two different ones.
        confidence: stated coverage.
        seed: of the draws.

    Source: Hothorn, Bretz and Westfall (2008), Simultaneous inference in general parametric models, Biometrical
    Journal 50.
    """
    index = cluster_index(prompts)
    sizes = np.bincount(index).astype(np.float64)
    totals = np.stack([np.bincount(index, weights=column) for column in values.T], axis=1)
    means = totals.sum(axis=0) / sizes.sum()
    moved = np.stack([without_each(column, sizes) for column in totals.T], axis=1) - means
    spread = np.sqrt((len(sizes) - 1) / len(sizes) * (moved**2).sum(axis=0))
    varies = spread > 0.0
    reach = _largest_t(moved[:, varies], effective_clusters(sizes), confidence, seed)
    return finished_interval(
        float(means.max()),
        float((means - reach * spread).max()),
        float((means + reach * spread).max()),
        confidence=confidence,
        method=f"student for every n at once ({len(sizes)} clusters)",
        n=len(values),
    )


def _largest_t(moved: NDArray[np.float64], clusters: float, confidence: float, seed: int) -> float:
    """Return the quantile of the largest |t| of columns that deviate as ``moved`` [cluster, column] does."""
    alone = student_quantile(confidence, clusters)
    if moved.shape[1] < 2:
        return alone
    root = np.linalg.qr(moved / np.linalg.norm(moved, axis=0), mode="r")  # its square is their correlation
    generator = np.random.default_rng(seed)
    normal = np.abs(generator.standard_normal((_DRAWS, len(root))) @ root).max(axis=1)
    scale = np.sqrt(stats.chi2.rvs(clusters - 1, size=_DRAWS, random_state=generator) / (clusters - 1))
    return max(alone, float(np.quantile(normal / scale, confidence)))
