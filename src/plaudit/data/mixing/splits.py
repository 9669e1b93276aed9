"""Splits and subsets by hash: the same groups whatever their order, and one prompt on one side only."""

from __future__ import annotations

import numpy as np

from plaudit.data.schema.group_set import GroupSet
from plaudit.data.schema.hash_rng import uniform
from plaudit.errors import DataError


def split_by_prompt(groups: GroupSet, *, held_out: float, seed: int) -> tuple[GroupSet, GroupSet]:
    """Return (kept, held out): each prompt goes to the held-out side with probability ``held_out``.

    The side is a hash of (seed, prompt), so equal prompts stay together, the order of the rows does not
    matter, and a prompt keeps its side when the data grows.

    Raises:
        DataError: for a ``held_out`` outside (0, 1), or so few prompts that a side stays empty.
    """
    return _sides(groups, held_out_prompts(groups, held_out=held_out, seed=seed))


def held_out_prompts(groups: GroupSet, *, held_out: float, seed: int) -> np.ndarray:
    """Return for each group whether ``split_by_prompt`` puts it on the held-out side; bool [group]."""
    _check_share(held_out)
    return _held_out(groups.prompt_hashes(), "prompts", held_out=held_out, seed=seed)


def split_by_cluster(
    groups: GroupSet, clusters: np.ndarray, *, held_out: float, seed: int
) -> tuple[GroupSet, GroupSet]:
    """Return (kept, held out): each cluster of groups goes to the held-out side with probability ``held_out``.

    ``clusters[group]`` are numbers as ``similar_prompts`` gives them, so that near duplicates stay together. The side
    is a hash of (seed, the smallest prompt hash of the cluster): the order of the rows does not matter.

    Raises:
        DataError: for a ``held_out`` outside (0, 1), a number of clusters other than that of groups, clusters that
            tear a prompt apart, or so few clusters that a side stays empty.
    """
    return _sides(groups, held_out_clusters(groups, clusters, held_out=held_out, seed=seed))


def held_out_clusters(groups: GroupSet, clusters: np.ndarray, *, held_out: float, seed: int) -> np.ndarray:
    """Return for each group whether ``split_by_cluster`` puts it on the held-out side; bool [group]."""
    _check_share(held_out)
    numbers = np.asarray(clusters, dtype=np.int64)
    if numbers.shape != (len(groups),):
        raise DataError(f"clusters has {numbers.size} entries for {len(groups)} groups")
    _, numbers = np.unique(numbers, return_inverse=True)
    prompts = groups.prompt_hashes()
    order = np.lexsort((numbers, prompts))
    is_torn = (np.diff(prompts[order]) == 0) & (np.diff(numbers[order]) != 0)
    if is_torn.any():
        torn = len(np.unique(prompts[order][1:][is_torn]))
        raise DataError(f"{torn} prompts are in more than one cluster; groups of one prompt must share theirs")
    smallest = np.full(int(numbers.max(initial=-1)) + 1, np.iinfo(np.uint64).max, dtype=np.uint64)
    np.minimum.at(smallest, numbers, prompts)
    return _held_out(smallest[numbers], "clusters", held_out=held_out, seed=seed)


def subset(groups: GroupSet, limit: int, seed: int) -> GroupSet:
    """Return ``limit`` groups drawn by a hash of (seed, group), in the order of ``groups``; all if fewer.

    Raises:
        DataError: for a ``limit`` below 1.
    """
    if limit < 1:
        raise DataError(f"limit is {limit}; it must be at least 1")
    if limit >= len(groups):
        return groups
    return groups.select(drawn_positions(groups, limit, seed))


def drawn_positions(groups: GroupSet, limit: int, seed: int) -> np.ndarray:
    """Return the positions of ``limit`` groups drawn by a hash of (seed, group), in increasing order; int64."""
    drawn = np.argsort(uniform(groups.row_hashes(), seed), kind="stable")[:limit]
    return np.sort(drawn)


def _check_share(held_out: float) -> None:
    if not 0.0 < held_out < 1.0:
        raise DataError(f"held_out is {held_out}; it must lie between 0 and 1")


def _sides(groups: GroupSet, is_held_out: np.ndarray) -> tuple[GroupSet, GroupSet]:
    return groups.select(np.flatnonzero(~is_held_out)), groups.select(np.flatnonzero(is_held_out))


def _held_out(keys: np.ndarray, what: str, *, held_out: float, seed: int) -> np.ndarray:
    """Return for each group whether its key (equal for those that stay together) is held out; bool [group]."""
    is_held_out = uniform(keys, seed) < held_out
    if is_held_out.all() or not is_held_out.any():
        side = "kept" if len(keys) and is_held_out.all() else "held-out"
        raise DataError(
            f"the {side} side of {len(np.unique(keys))} {what} would be empty at held_out = {held_out}; "
            "use more data, another fraction or another seed"
        )
    return is_held_out
