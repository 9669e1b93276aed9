"""Attention over prefix trees on CUDA: FlexAttention with a block mask made from one number per token."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from plaudit.batching.batch import Forest
from plaudit.models.attention.cpu import ScoreRule

_BLOCK = 128


def flex_tree_attention(
    query: Tensor, key: Tensor, value: Tensor, forest: Forest, rule: ScoreRule, *, grouped: bool
) -> Tensor:
    """Return softmax attention ``[1, head, token, feature]`` over the forest.

    The row is padded to a multiple of the block size, so that the compiled kernel sees few shapes; padded queries see
    only themselves and are cut off again.
    """
    tokens = query.shape[2]
    padding = -tokens % _BLOCK
    if padding:
        query, key, value = (torch.nn.functional.pad(x, (0, 0, 0, padding)) for x in (query, key, value))
    output = _flex(query.device.type)(
        query,
        key,
        value,
        score_mod=None if rule.softcap is None else _softcap(rule.softcap),
        block_mask=_block_mask(forest, rule.window, tokens + padding),
        scale=rule.scale,
        enable_gqa=grouped,
    )
    return output[:, :, :tokens]


def tree_mask(subtree_end: Tensor, position: Tensor, window: int | None) -> Callable[..., Tensor]:
    """Return the FlexAttention mask: query q sees key k exactly when k ≤ q < subtree_end[k], within the window."""

    def visible(_batch: Tensor, _head: Tensor, q: Tensor, k: Tensor) -> Tensor:
        seen = (k <= q) & (q < subtree_end[k])
        return seen if window is None else seen & (position[q] - position[k] < window)

    return visible


def _block_mask(forest: Forest, window: int | None, length: int) -> BlockMask:
    """Return the block mask of the forest, made once per batch and window."""
    known = forest.block_masks
    if (window, length) not in known:
        device = forest.subtree_end.device
        padding = length - forest.subtree_end.shape[0]
        own_end = torch.arange(length - padding, length, device=device, dtype=torch.int32) + 1
        subtree_end = torch.cat([forest.subtree_end, own_end])
        position = torch.cat([forest.position_ids, torch.zeros(padding, device=device, dtype=torch.int64)])
        mask = tree_mask(subtree_end, position, window)
        known[window, length] = create_block_mask(
            mask, None, None, length, length, device=device, BLOCK_SIZE=_BLOCK, _compile=device.type == "cuda"
        )
    return known[window, length]


@lru_cache(maxsize=1)
def _flex(device_type: str) -> Callable[..., Any]:
    """Return FlexAttention, compiled on CUDA; eager elsewhere, where only tests of the forward run it.

    Each window, soft cap, precision and mode is a compilation of its own; beyond the limit it would silently run eager,
    with dense scores.
    """
    if device_type == "cuda":
        torch._dynamo.config.recompile_limit = max(64, torch._dynamo.config.recompile_limit)
    return torch.compile(flex_attention, dynamic=True) if device_type == "cuda" else flex_attention


@lru_cache(maxsize=4)
def _softcap(cap: float) -> Callable[..., Tensor]:
    def capped(score: Tensor, _batch: Tensor, _head: Tensor, _q: Tensor, _k: Tensor) -> Tensor:
        return torch.tanh(score / cap) * cap

    return capped
