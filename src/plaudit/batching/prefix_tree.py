"""The prefix tree of several token sequences: every shared prefix is stored once.

Sharing is found in the token ids, never assumed from a template, so it is exact for any tokenizer. The tree is laid
out depth first: a segment comes before its descendants, and the descendants of a segment are one contiguous range.
Attention over the tree therefore needs one number per token, the end of its segment's subtree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Int32Array = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class PrefixTree:
    """Token segments in depth-first order.

    ``ids[token]`` are the tokens of all segments side by side; segment s is ``ids[start[s]:start[s + 1]]`` and
    continues segment ``parent[s]`` (−1 for a root). Sequence k ends at ``ids[end[k]]``, which lies in segment
    ``end_segment[k]``.
    """

    ids: Int32Array
    start: Int32Array
    parent: Int32Array
    end: Int32Array
    end_segment: Int32Array

    @property
    def num_tokens(self) -> int:
        """Return the number of tokens that are stored, each shared one once."""
        return len(self.ids)

    @property
    def num_segments(self) -> int:
        """Return the number of segments."""
        return len(self.parent)

    @property
    def num_sequences(self) -> int:
        """Return the number of sequences."""
        return len(self.end)

    def path(self, sequence: int) -> Int32Array:
        """Return the flat positions of all tokens of a sequence, first to last."""
        segment = int(self.end_segment[sequence])
        pieces = [np.arange(self.start[segment], self.end[sequence] + 1, dtype=np.int32)]
        while (segment := int(self.parent[segment])) >= 0:
            pieces.append(np.arange(self.start[segment], self.start[segment + 1], dtype=np.int32))
        return np.concatenate(pieces[::-1])

    def sequence(self, index: int) -> Int32Array:
        """Return the token ids of a sequence."""
        return self.ids[self.path(index)]

    def position_starts(self) -> Int32Array:
        """Return the position, in its sequences, of the first token of each segment."""
        lengths = np.diff(self.start)
        starts = np.zeros(self.num_segments, dtype=np.int32)
        for segment, parent in enumerate(self.parent.tolist()):
            if parent >= 0:
                starts[segment] = starts[parent] + lengths[parent]
        return starts

    def subtree_ends(self) -> Int32Array:
        """Return, for each segment, the flat position just past its last descendant."""
        ends = self.start[1:].copy()
        parents = self.parent.tolist()
        for segment in range(self.num_segments - 1, -1, -1):
            parent = parents[segment]
            if parent >= 0 and ends[segment] > ends[parent]:
                ends[parent] = ends[segment]
        return ends


@dataclass(slots=True)
class _Node:
    """A segment while the tree is built: tokens ``first`` to ``last`` of sequence ``of``; who ends in it, and where."""

    of: int
    first: int
    last: int
    ends: list[tuple[int, int]] = field(default_factory=list)
    children: list[_Node] = field(default_factory=list)


def build_prefix_tree(
    sequences: Sequence[Int32Array], *, min_saving: int = 8, max_depth: int | None = None
) -> PrefixTree:
    """Return the prefix tree of ``sequences``.

    A branch whose sharing would save fewer than ``min_saving`` tokens is not made: each of its sequences keeps its own
    copy of those tokens. ``max_depth=1`` gives separate sequences, ``max_depth=2`` one trunk with leaves.

    Raises:
        ValueError: when there is no sequence, or one is empty.
    """
    if not sequences or any(len(sequence) == 0 for sequence in sequences):
        raise ValueError("a prefix tree needs at least one sequence, and no empty one")
    if max_depth == 1:
        roots = [_Node(k, 0, len(ids), [(k, len(ids))]) for k, ids in enumerate(sequences)]
    else:
        members = list(range(len(sequences)))
        roots = _grow(sequences, members, 0, min_saving, max_depth or len(sequences) + 1)
    return _lay_out(sequences, roots)


def _grow(sequences: Sequence[Int32Array], members: list[int], depth: int, min_saving: int, levels: int) -> list[_Node]:
    """Return the subtrees that hold ``members``, which agree on their first ``depth`` tokens."""
    if len(members) == 1 or levels == 1:
        return [_Node(k, depth, len(sequences[k]), [(k, len(sequences[k]))]) for k in members]
    shared = depth + shared_length([sequences[k][depth:] for k in members])
    ends = [(k, shared) for k in members if len(sequences[k]) == shared]
    branches: dict[int, list[int]] = {}
    for k in members:
        if len(sequences[k]) > shared:
            branches.setdefault(int(sequences[k][shared]), []).append(k)
    children: list[_Node] = []
    inner_levels = levels - 1 if shared > depth else levels
    for branch in branches.values():
        children.extend(_grow(sequences, branch, shared, min_saving, inner_levels))
    if shared > depth and (not children or (shared - depth) * (len(children) - 1) >= max(1, min_saving)):
        return [_Node(members[0], depth, shared, ends, children)]
    if len(children) == 1 or (shared > depth and children):
        # One child (the rest end inside it), or sharing that is not worth a segment: the children start earlier,
        # and whoever ended in the shared part ends inside the first child, which holds the same tokens.
        for child in children:
            child.first = depth
        children[0].ends = [*ends, *children[0].ends]
    return children


def shared_length(tails: list[Int32Array]) -> int:
    """Return the length of the longest common prefix."""
    length = min(len(tail) for tail in tails)
    first = tails[0]
    for tail in tails[1:]:
        differs = first[:length] != tail[:length]
        if differs.any():
            length = int(differs.argmax())
    return length


def _lay_out(sequences: Sequence[Int32Array], roots: list[_Node]) -> PrefixTree:
    pieces: list[Int32Array] = []
    start, parents = [0], list[int]()
    end = np.zeros(len(sequences), dtype=np.int32)
    end_segment = np.zeros(len(sequences), dtype=np.int32)
    stack = [(root, -1) for root in reversed(roots)]
    while stack:
        node, parent = stack.pop()
        segment = len(parents)
        parents.append(parent)
        pieces.append(sequences[node.of][node.first : node.last])
        for sequence, length in node.ends:
            end[sequence] = start[-1] + length - node.first - 1
            end_segment[sequence] = segment
        start.append(start[-1] + node.last - node.first)
        stack.extend((child, segment) for child in reversed(node.children))
    return PrefixTree(
        ids=np.concatenate(pieces).astype(np.int32, copy=False),
        start=np.asarray(start, dtype=np.int32),
        parent=np.asarray(parents, dtype=np.int32),
        end=end,
        end_segment=end_segment,
    )
