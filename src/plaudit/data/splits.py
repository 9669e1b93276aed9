"""Splits and subsets by hash: the same groups whatever their order, and one prompt on one side only."""

from __future__ import annotations

import numpy as np

from plaudit.data.group_set import GroupSet
from plaudit.errors import DataError


def split_by_prompt(groups: GroupSet, *, held_out: float, seed: int) -> tuple[GroupSet, GroupSet]:
    """Return (kept, held out): each prompt goes to the held-out side with probability ``held_out``.

    The side is a hash of (seed, prompt), so equal prompts stay together, the order of the rows does not
    matter, and a prompt keeps its side when the data grows.

    Raises:
        DataError: for a ``held_out`` outside (0, 1), or so few prompts that a side stays empty.
    """
    if not 0.0 < held_out < 1.0:
        raise DataError(f"held_out is {held_out}; it must lie between 0 and 1")
    prompts = groups.prompt_hashes()
    is_held_out = _uniform(prompts, seed) < held_out
    if is_held_out.all() or not is_held_out.any():
        side = "kept" if len(groups) and is_held_out.all() else "held-out"
        raise DataError(
            f"the {side} side of {len(np.unique(prompts))} prompts would be empty at held_out = {held_out}; "
            "use more data, another fraction or another seed"
        )
    return groups.select(np.flatnonzero(~is_held_out)), groups.select(np.flatnonzero(is_held_out))


def subset(groups: GroupSet, limit: int, seed: int) -> GroupSet:
    """Return ``limit`` groups drawn by a hash of (seed, group), in the order of ``groups``; all if fewer.

    Raises:
        DataError: for a ``limit`` below 1.
    """
    if limit < 1:
        raise DataError(f"limit is {limit}; it must be at least 1")
    if limit >= len(groups):
        return groups
    drawn = np.argsort(_uniform(groups.row_hashes(), seed), kind="stable")[:limit]
    return groups.select(np.sort(drawn))


def _uniform(hashes: np.ndarray, seed: int) -> np.ndarray:
    """Return a number in [0, 1) per hash, independent between seeds; float64 [group]."""
    salt = _mix(np.array([seed % 2**64], dtype=np.uint64))
    return (_mix(hashes ^ salt) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mix(values: np.ndarray) -> np.ndarray:
    """Return the finaliser of SplitMix64 (Steele, Lea and Flood, 2014); uint64 [group]."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
