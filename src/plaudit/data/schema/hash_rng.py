"""Draws that depend on a seed and the data alone: the same whatever the order, the process or the machine."""

from __future__ import annotations

import numpy as np

from plaudit.data.schema.columns import hash64
from plaudit.data.schema.group import Group


def draw_key(group: Group, seed: int, purpose: str) -> bytes:
    """Return the key of a group's draws: the seed, their purpose, its prompt and its responses."""
    parts = (str(seed), purpose, group.prompt_key, *group.responses)
    return "\x1d".join(parts).encode()


def shuffled(count: int, key: bytes) -> list[int]:
    """Return the numbers 0 … count − 1 in an order drawn from ``key``, every order as likely as another."""
    root = hash64(key).to_bytes(8, "little")
    return sorted(range(count), key=lambda index: hash64(root + index.to_bytes(4, "little")))


def seed_of(seed: int, purpose: str) -> int:
    """Return the seed of one purpose, so that draws for two purposes are independent; 64 bits.

    Two draws from one seed take the same groups first: those of the first draw would then stand first in an order, or
    be the whole held-out set.
    """
    return hash64(f"{seed}|{purpose}".encode())


def uniform(hashes: np.ndarray, seed: int) -> np.ndarray:
    """Return a number in [0, 1) per hash, independent between seeds; float64 [group]."""
    salt = _mix(np.array([seed % 2**64], dtype=np.uint64))
    return (_mix(hashes ^ salt) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mix(values: np.ndarray) -> np.ndarray:
    """Return the finaliser of SplitMix64 (Steele, Lea and Flood, 2014); uint64 [group]."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
