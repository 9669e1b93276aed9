"""How much of a reward is length."""

from __future__ import annotations

import numpy as np


def rank_correlation(x: np.ndarray, y: np.ndarray) -> float | None:
    """Return Spearman's correlation: Pearson's of the ranks, equal values sharing their mean rank.

    None where one side does not vary: there is nothing to correlate.
    """
    first, second = _ranks(x), _ranks(y)
    first, second = first - first.mean(), second - second.mean()
    # Plain sums: threads of a matrix library cost more than they give for one product of this size.
    size = float(np.sqrt((first * first).sum() * (second * second).sum()))
    return float((first * second).sum()) / size if size > 0 else None


def _ranks(values: np.ndarray) -> np.ndarray:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]
