"""How many groups each part of a mixture gives, and in which order they come."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from plaudit.data.schema.hash_rng import uniform


def allotted(weights: Sequence[float], total: int) -> list[int]:
    """Return whole shares of ``total`` in proportion to ``weights``, by largest remainders (Hamilton's method).

    The shares sum to ``total``, and each is its exact quota rounded down or up. Of equal remainders the earlier part
    is rounded up.
    """
    # Relative to the largest, so that the sum of huge weights is finite.
    parts = np.asarray(weights, np.float64) / np.max(weights)
    quotas = parts / parts.sum() * total
    shares = np.floor(quotas).astype(np.int64)
    # Rounded, so that the error of the division does not decide between equal remainders.
    remainders = np.round(quotas - shares, 9)
    for index in np.argsort(-remainders, kind="stable")[: total - int(shares.sum())]:
        shares[index] += 1
    return shares.tolist()


def temperature_weights(sizes: Sequence[int], temperature: float) -> list[float]:
    """Return size^(1/T) of each part, relative to the largest: its weight under temperature sampling."""
    largest = max(sizes)
    return [(size / largest) ** (1.0 / temperature) for size in sizes]


def repeated(size: int, share: int, hashes: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (positions, copies) of ``share`` draws of ``size`` groups; int64 [share] each.

    Every group is taken ``share // size`` times, and the rest is drawn by a hash of (seed, group) without repetition.
    ``copies`` numbers the repetitions of a group from 0.
    """
    whole, rest = divmod(share, size)
    drawn = np.sort(np.argsort(uniform(hashes, seed), kind="stable")[:rest])
    positions = np.r_[np.tile(np.arange(size), whole), drawn].astype(np.int64)
    copies = np.r_[np.repeat(np.arange(whole), size), np.full(rest, whole)].astype(np.int64)
    return positions, copies


def interleaved(counts: Sequence[int]) -> np.ndarray:
    """Return an order of parts that stand one after the other in which each is spread evenly; int64 [sum of counts].

    Group k of n of a part comes at (k + ½) / n of the way; where two come together, the earlier part first.
    """
    places = np.concatenate([(np.arange(count) + 0.5) / max(count, 1) for count in counts])
    return np.argsort(places, kind="stable")
