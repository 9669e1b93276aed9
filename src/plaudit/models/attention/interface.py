"""Attention over prefix trees, registered with transformers' attention interface.

A token sees its own segment causally and every ancestor segment entirely: token q sees token t exactly when
``t <= q < subtree_end[t]``. The CPU works block by block (``attention.cpu``), masked where a sliding
window or a soft cap binds, CUDA through FlexAttention (``attention.cuda``); no T×T mask is ever made.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface

from plaudit.batching.batch import Forest
from plaudit.errors import LayoutError
from plaudit.models.attention.cpu import ScoreRule, TreeAttention, masked_tree_attention, padded_tree_attention
from plaudit.models.attention.cuda import flex_tree_attention
from plaudit.models.attention.read_out import FOREST_ARGUMENT, read_attention, reads_only_some

ATTENTION_NAME = "plaudit_prefix_tree"
"""Name under which the attention is registered with transformers."""


def prefix_tree_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Return the output ``[batch, token, head, feature]`` of attention over the forest in ``kwargs``.

    ``query`` is ``[1, head, token, feature]``; ``key`` and ``value`` may have fewer heads (grouped queries). A sliding
    window and soft-capping of the logits are exact; attention sinks and dropout are refused.

    Raises:
        LayoutError: with the reason, where the result could not be exact.
    """
    forest: Forest | None = kwargs.get(FOREST_ARGUMENT)
    _refuse_what_is_not_exact(forest, query, attention_mask, dropout, kwargs)
    assert forest is not None
    if torch.is_autocast_enabled(query.device.type):
        dtype = torch.get_autocast_dtype(query.device.type)
        query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
    groups = query.shape[1] // key.shape[1]
    scale = scaling if scaling is not None else query.shape[-1] ** -0.5
    rule = ScoreRule(scale, kwargs.get("sliding_window") or None, kwargs.get("softcap"))
    forest.callers[id(module)] = rule.window
    if query.is_cuda:
        output = flex_tree_attention(query, key, value, forest, rule, grouped=groups > 1)
        return output.transpose(1, 2).contiguous(), None
    if groups > 1:
        key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    if rule.window is not None and longest_path(forest) <= rule.window:
        rule = rule._replace(window=None)
    if reads_only_some(module, forest):
        output = read_attention(query, key, value, forest, rule)
    elif rule.window is not None or rule.softcap is not None:
        output = masked_tree_attention(query, key, value, forest, rule)
    elif value.shape[-1] != query.shape[-1]:
        output = padded_tree_attention(query, key, value, forest, scale)
    else:
        output = TreeAttention.apply(query, key, value, forest, scale)
    return output.transpose(1, 2).contiguous(), None


def longest_path(forest: Forest) -> int:
    """Return the length of the longest sequence in the forest."""
    return max(
        first + stop - start for (start, stop, _), first in zip(forest.segments, forest.first_position, strict=True)
    )


def _refuse_what_is_not_exact(
    forest: Forest | None,
    query: Tensor,
    attention_mask: Tensor | None,
    dropout: float,
    kwargs: dict[str, Any],
) -> None:
    if forest is None:
        raise LayoutError(
            "this model does not hand its keyword arguments on to its attention, so it cannot learn where the "
            "segments are; use layout: padded"
        )
    if attention_mask is not None:
        raise LayoutError("this model makes its own attention mask; use layout: padded")
    if dropout > 0:
        raise LayoutError(f"attention dropout is {dropout}; set it to 0, or use layout: padded")
    if kwargs.get("s_aux") is not None:
        raise LayoutError("attention sinks are not supported in a shared prefix; use layout: padded")
    if query.shape[0] != 1 or query.shape[2] != forest.subtree_end.shape[0]:
        raise LayoutError(
            f"attention was called with {tuple(query.shape)} queries for {forest.subtree_end.shape[0]} tokens in one "
            "row; use layout: padded"
        )


AttentionInterface.register(ATTENTION_NAME, prefix_tree_attention)
