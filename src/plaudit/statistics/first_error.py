"""Where the first error of a chain of steps is said to be, at every threshold at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plaudit.statistics.classification import harmonic_mean


@dataclass(frozen=True, slots=True)
class ChainTable:
    """For each chain, the thresholds at which its first error is located exactly: above ``low``, up to ``high``.

    With p the rewards of the steps, the prediction at threshold t is the first step with p < t, or none. A chain
    whose first error is step e is right for p_e < t ≤ min(p_0 … p_{e−1}), a chain without an error for t ≤ min p.
    """

    low: NDArray[np.float64]
    """[chain] −∞ for a chain without an error."""
    high: NDArray[np.float64]
    """[chain] ∞ where the first step is the error."""
    has_error: NDArray[np.bool_]
    """[chain] whether there is an error."""

    def right_at(self, threshold: float) -> NDArray[np.bool_]:
        """Return [chain] whether the prediction at ``threshold`` is exact."""
        return (self.low < threshold) & (threshold <= self.high)

    def where(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> ChainTable:
        """Return the chains at ``rows``, a mask or positions."""
        return ChainTable(self.low[rows], self.high[rows], self.has_error[rows])


def chain_table(steps: Sequence[Sequence[float]], errors: Sequence[int | None]) -> ChainTable:
    """Return the table of chains, given the rewards of their steps and their first error (None: no error)."""
    chains = list(zip(steps, errors, strict=True))
    low = [-np.inf if error is None else rewards[error] for rewards, error in chains]
    high = [min(rewards[:error], default=np.inf) for rewards, error in chains]
    return ChainTable(
        np.array(low, dtype=np.float64),
        np.array(high, dtype=np.float64),
        np.array([error is not None for error in errors], dtype=np.bool_),
    )


def first_error_f1(right: NDArray[np.bool_], has_error: NDArray[np.bool_]) -> float | None:
    """Return the harmonic mean of the accuracy on chains with an error and on chains without; None without either.

    Source: Zheng et al. (2024), ProcessBench, arXiv 2412.06559.
    """
    if not has_error.any() or has_error.all():
        return None
    return harmonic_mean(float(right[has_error].mean()), float(right[~has_error].mean()))


def best_threshold(chains: ChainTable, *, default: float) -> float | None:
    """Return a threshold with the highest ``first_error_f1`` over ``chains``; None where that is not defined.

    F1 changes only where a chain's ``low`` or ``high`` is passed, so every distinct value is tried. The middle
    between two passed values is returned; of equally good ones, that nearest to ``default``.
    """
    wrong = chains.has_error
    if not wrong.any() or wrong.all():
        return None
    ends = np.concatenate([chains.low, chains.high])
    ends = np.unique(ends[np.isfinite(ends)])
    # Between two neighbouring ends, and beyond them on either side, nothing changes.
    candidates = np.concatenate([[ends[0]], (ends[1:] + ends[:-1]) / 2, [np.nextafter(ends[-1], np.inf)], [default]])
    located = _held(chains.where(wrong), candidates) / wrong.sum()
    cleared = _held(chains.where(~wrong), candidates) / (~wrong).sum()
    total = located + cleared
    scores = np.divide(2 * located * cleared, total, out=np.zeros_like(total), where=total > 0)
    best = candidates[scores >= scores.max() - 1e-12]
    return float(best[np.argmin(np.abs(best - default))])


def _held(chains: ChainTable, thresholds: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return [threshold] how many chains are right at each; a chain with low ≥ high never is."""
    kept = chains.where(chains.low < chains.high)
    begun = np.searchsorted(np.sort(kept.low), thresholds, side="left")
    ended = np.searchsorted(np.sort(kept.high), thresholds, side="left")
    return begun - ended
