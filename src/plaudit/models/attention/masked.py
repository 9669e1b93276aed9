"""Attention over prefix trees with a sliding window or soft-capped logits: one masked block per segment."""

from __future__ import annotations

import torch
from torch import Tensor

from plaudit.batching.batch import Forest


def masked_tree_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    forest: Forest,
    *,
    scale: float,
    window: int | None,
    softcap: float | None,
) -> Tensor:
    r"""Return softmax attention ``[1, head, token, feature]`` over the forest, with its exact window and soft cap.

    A query at position p sees the keys of its path at positions in (p − window, p]. The logits become
    :math:`c \tanh(z / c)` for a soft cap c. Each segment attends to its ancestors' keys and its own, of which those
    that no query of the segment can see are left out.
    """
    pieces = []
    for segment, (start, stop, _) in enumerate(forest.segments):
        first = forest.first_position[segment]
        lowest = 0 if window is None else max(0, first - window + 1)
        keep = torch.cat([torch.arange(a, b) for a, b in visible_ranges(forest, segment, lowest)])
        keep = keep.to(query.device)
        q_position = torch.arange(first, first + stop - start, device=query.device)[:, None]
        k_position = forest.position_ids[keep][None, :]
        allowed = k_position <= q_position
        if window is not None:
            allowed &= k_position > q_position - window
        q = query[:, :, start:stop]
        k, v = key[:, :, keep], value[:, :, keep]
        pieces.append(masked_block(q, k, v, allowed, scale, softcap))
    return torch.cat(pieces, dim=2)


def visible_ranges(forest: Forest, segment: int, lowest: int) -> list[tuple[int, int]]:
    """Return the flat ranges of the tokens on a segment's path whose position is at least ``lowest``, in order."""
    ranges = []
    while segment >= 0:
        start, stop, _ = forest.segments[segment]
        begin = start + max(0, lowest - forest.first_position[segment])
        if begin < stop:
            ranges.append((begin, stop))
        segment = forest.parent[segment]
    return ranges[::-1]


def masked_block(q: Tensor, k: Tensor, v: Tensor, allowed: Tensor, scale: float, softcap: float | None) -> Tensor:
    """Return softmax attention of the queries over the keys that ``allowed[query, key]`` lets them see."""
    logits = q @ k.transpose(-1, -2) * scale
    if softcap is not None:
        logits = torch.tanh(logits / softcap) * softcap
    logits = logits.masked_fill(~allowed, float("-inf"))
    dtype = torch.float32 if q.dtype in (torch.bfloat16, torch.float16) else q.dtype
    return torch.softmax(logits, dim=-1, dtype=dtype).to(q.dtype) @ v
