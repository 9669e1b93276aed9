"""Groups whose prompts are the same, or nearly: one cluster number per group, in time that grows with their number.

Near duplicates are found by MinHash (Broder, 1997) and locality-sensitive hashing: the n-grams of a prompt's words are
drawn down to a signature of fixed size, whose slots agree between two prompts with the probability of their Jaccard
similarity |A ∩ B| ÷ |A ∪ B|; prompts that agree in a whole band of slots are compared, and those as similar as asked
are joined (union-find). A cluster can hold two prompts that are less similar, through others between them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import Any, final

import numpy as np
import numpy.typing as npt

from plaudit.data.schema.group_set import GroupSet
from plaudit.data.schema.normalised import (
    Int64Array,
    UInt64Array,
    Words,
    batches,
    column,
    ngrams,
    normalised,
    prompt_texts,
    text_hashes,
    words_of,
)
from plaudit.errors import ConfigError

SLOTS = 128
"""Size of a signature: a similarity s is estimated with standard error √(s (1 − s) ÷ 128), at 0.8 this is 0.035."""
RECALL = 0.99
"""Probability that two prompts exactly as similar as the threshold share a band, and so are compared."""
_ROUNDS = 8
_COMPARED_AT_ONCE = 100_000
_BASE = np.uint64(0xD6E8FEB86659FD93)


@final
@dataclass(frozen=True, slots=True)
class PromptClusters:
    """Clusters of groups with equal and with nearly equal prompts, numbered from 0 in order of first appearance."""

    exact: Int64Array
    """[group] the number of its normalised prompt; ``GroupSet.prompt_hashes`` tells every character and role apart."""
    near: Int64Array
    """[group] the number of its cluster; equal prompts share one."""
    threshold: float
    """Jaccard similarity from which two prompts are joined, as their signatures estimate it."""
    words: int
    """Words of an n-gram; a prompt of fewer is one n-gram."""
    uncompared: int
    """Shared bands whose two prompts were not compared, because too many prompts had that band in common."""


def similar_prompts(groups: GroupSet, *, threshold: float = 0.8, words: int = 3, seed: int = 0) -> PromptClusters:
    """Return the clusters of equal and of similar prompts.

    Args:
        groups: groups to read, a batch at a time; the signatures of the different prompts are kept, 512 bytes each.
        threshold: Jaccard similarity of the word n-grams from which two prompts count as near duplicates.
        words: words of an n-gram.
        seed: of the signatures.

    Raises:
        ConfigError: for a threshold outside (0, 1], or fewer than one word.
    """
    if not 0.0 < threshold <= 1.0:
        raise ConfigError(f"threshold is {threshold}; it must lie above 0 and at most at 1")
    if words < 1:
        raise ConfigError(f"words is {words}; it must be at least 1")
    hashes, signatures = _signatures(groups, words, seed)
    exact = numbered(hashes)
    distinct = len(signatures)
    edges, uncompared = _edges(signatures, threshold)
    return PromptClusters(exact, numbered(components(distinct, edges)[exact]), threshold, words, uncompared)


def numbered(labels: npt.NDArray[Any]) -> Int64Array:
    """Return [item] the number of each label, counted from 0 in order of first appearance."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse.reshape(-1)]


def components(count: int, edges: Int64Array) -> Int64Array:
    """Return [item] the number of the connected component of each of ``count`` items, under ``edges[edge, 2]``."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(edges), np.int8), (edges[:, 0], edges[:, 1])), shape=(count, count))
    return connected_components(graph.tocsr(), directed=False)[1].astype(np.int64)


def bands(threshold: float) -> tuple[int, int]:
    """Return (bands, slots of a band) of a signature: the longest bands that still keep ``RECALL``.

    Two prompts of similarity s share one of b bands of r slots with probability 1 − (1 − s^r)^b.
    """
    for size in range(SLOTS, 0, -1):
        if 1.0 - (1.0 - threshold**size) ** (SLOTS // size) >= RECALL:
            return SLOTS // size, size
    return SLOTS, 1


def _signatures(groups: GroupSet, words: int, seed: int) -> tuple[UInt64Array, npt.NDArray[np.uint32]]:
    """Return [group] hashes of the normalised prompts, and [prompt, slot] signatures of the different ones."""
    import rensa

    library: Any = rensa
    hashes = [np.zeros(0, np.uint64)]
    signatures = [np.zeros((0, SLOTS), np.uint32)]
    known: set[int] = set()
    for _, table in batches(groups, ["prompt"]):
        texts = normalised(prompt_texts(column(table, "prompt")))
        hashes.append(text_hashes(texts))
        new = []
        for position, value in enumerate(hashes[-1].tolist()):
            if value not in known:
                known.add(value)
                new.append(position)
        if new:
            grams = ngrams(words_of(texts.take(np.array(new, np.int64))), words, whole=True)
            signatures.append(_drawn(library.RMinHash, grams, seed))
    return np.concatenate(hashes), np.concatenate(signatures)


def _drawn(minhash: Any, grams: Words, seed: int) -> npt.NDArray[np.uint32]:
    offsets = grams.offsets.astype(np.uint64)
    rows = minhash.digest_matrix_from_flat_token_hashes(grams.hashes, offsets, SLOTS, seed).to_rows()
    return np.fromiter(chain.from_iterable(rows), np.uint32, len(rows) * SLOTS).reshape(-1, SLOTS)


def _edges(signatures: npt.NDArray[np.uint32], threshold: float) -> tuple[Int64Array, int]:
    """Return [edge, 2] prompts that are similar, and how many shared bands were left uncompared."""
    count, size = bands(threshold)
    edges = [np.zeros((0, 2), np.int64)]
    uncompared = 0
    for band in range(count):
        keys = np.zeros(len(signatures), np.uint64)
        for slot in range(band * size, (band + 1) * size):
            keys = (keys ^ signatures[:, slot]) * _BASE
            keys ^= keys >> np.uint64(32)
        found, left = _joined(keys, signatures, threshold)
        edges.append(found)
        uncompared += left
    return np.concatenate(edges), uncompared


def _joined(keys: UInt64Array, signatures: npt.NDArray[np.uint32], threshold: float) -> tuple[Int64Array, int]:
    """Return the edges among prompts of one band: in each round, all of a bucket are compared with its first.

    Those that are not similar to it stay for the next round, where the first of them takes its place. The number of
    rounds is fixed, so that a bucket of many prompts that are not alike costs no more than its size.
    """
    members = np.argsort(keys, kind="stable")
    edges = [np.zeros((0, 2), np.int64)]
    for _ in range(_ROUNDS):
        is_first = np.ones(len(members), bool)
        is_first[1:] = keys[members][1:] != keys[members][:-1]
        starts = np.flatnonzero(is_first)
        leaders = np.repeat(members[starts], np.diff(np.append(starts, len(members))))
        leaders, members = leaders[~is_first], members[~is_first]
        if not len(members):
            return np.concatenate(edges), 0
        is_similar = _similarity(signatures, leaders, members) >= threshold
        edges.append(np.stack([leaders[is_similar], members[is_similar]], axis=1))
        members = members[~is_similar]
    # A prompt alone in its bucket by now has been compared with every other of it.
    _, sizes = np.unique(keys[members], return_counts=True)
    return np.concatenate(edges), int((sizes - 1).sum())


def _similarity(signatures: npt.NDArray[np.uint32], first: Int64Array, second: Int64Array) -> npt.NDArray[np.float64]:
    """Return [pair] the share of slots in which two signatures agree."""
    found = np.empty(len(first))
    for start in range(0, len(first), _COMPARED_AT_ONCE):
        part = slice(start, start + _COMPARED_AT_ONCE)
        found[part] = (signatures[first[part]] == signatures[second[part]]).mean(axis=1)
    return found
