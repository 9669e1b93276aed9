"""Attention over prefix trees, registered with transformers' attention interface.

A token sees its own segment causally and every ancestor segment entirely. The depth-first layout makes that two kinds
of dense block: each segment with itself (causal), and all descendants of a segment with that segment (no mask). On the
CPU both go to the flash kernel behind SDPA, and the partial results are merged by their log-sum-exp, forward and
backward, so no T×T mask is ever made. On CUDA the same rule is a FlexAttention block mask.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from typing_extensions import override

from plaudit.batching.batch import Forest
from plaudit.errors import LayoutError
from plaudit.models.attention_cuda import flex_tree_attention
from plaudit.models.attention_masked import masked_tree_attention

ATTENTION_NAME = "plaudit_prefix_tree"
"""Name under which the attention is registered with transformers."""

FOREST_ARGUMENT = "plaudit_forest"
"""Keyword by which a model's forward is handed the forest of its batch."""

_flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default
_flash_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward.default


class TreeAttention(torch.autograd.Function):
    """Exact softmax attention over a forest; query, key and value are ``[1, head, token, feature]`` on the CPU."""

    @staticmethod
    @override
    def forward(*args: Any, **kwargs: Any) -> Tensor:
        """Return the output ``[1, head, token, feature]`` for (context, query, key, value, forest, scale)."""
        ctx, query, key, value, forest, scale = args
        batch, heads, tokens, width = query.shape
        output = query.new_empty(batch, tokens, heads, width).transpose(1, 2)
        lse = query.new_empty(query.shape[:-1], dtype=torch.float32 if query.dtype != torch.float64 else query.dtype)
        for start, stop, _ in forest.segments:
            own = slice(start, stop)
            part, part_lse = _flash(query[:, :, own], key[:, :, own], value[:, :, own], 0.0, True, scale=scale)
            output[:, :, own] = part
            lse[:, :, own] = part_lse
        for start, stop, subtree_end in forest.segments:
            if subtree_end > stop:
                own, below = slice(start, stop), slice(stop, subtree_end)
                part, part_lse = _flash(query[:, :, below], key[:, :, own], value[:, :, own], 0.0, False, scale=scale)
                _merge(output[:, :, below], lse[:, :, below], part, part_lse)
        ctx.save_for_backward(query, key, value, output, lse)
        ctx.forest, ctx.scale = forest, scale
        return output

    @staticmethod
    @override
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor, Tensor, Tensor, None, None]:
        """Return the gradients: each block's, given the merged output and log-sum-exp, add up exactly."""
        (grad_output,) = grad_outputs
        query, key, value, output, lse = ctx.saved_tensors
        grads = torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)

        def block(rows: slice, own: slice, is_causal: bool) -> tuple[Tensor, Tensor, Tensor]:
            return _flash_backward(
                grad_output[:, :, rows],
                query[:, :, rows],
                key[:, :, own],
                value[:, :, own],
                output[:, :, rows],
                lse[:, :, rows],
                0.0,
                is_causal,
                scale=ctx.scale,
            )

        for start, stop, _ in ctx.forest.segments:
            own = slice(start, stop)
            for grad, part in zip(grads, block(own, own, True), strict=True):
                grad[:, :, own] = part
        for start, stop, subtree_end in ctx.forest.segments:
            if subtree_end > stop:
                own, below = slice(start, stop), slice(stop, subtree_end)
                parts = block(below, own, False)
                for grad, part, where in zip(grads, parts, (below, own, own), strict=True):
                    grad[:, :, where] += part
        return *grads, None, None


def _merge(output: Tensor, lse: Tensor, part: Tensor, part_lse: Tensor) -> None:
    """Merge a second set of keys into ``output`` and ``lse`` in place."""
    merged = torch.logaddexp(lse, part_lse)
    weight = (part_lse - merged).exp().unsqueeze(-1)
    if output.dtype == weight.dtype:
        output.lerp_(part, weight)
    else:
        output.copy_(torch.lerp(output.to(weight.dtype), part.to(weight.dtype), weight))
    lse.copy_(merged)


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
    window, softcap = kwargs.get("sliding_window"), kwargs.get("softcap")
    forest.windows.add(window)
    if query.is_cuda:
        output = flex_tree_attention(
            query, key, value, forest, scale=scale, window=window, softcap=softcap, grouped=groups > 1
        )
        return output.transpose(1, 2).contiguous(), None
    if groups > 1:
        key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    binds = window is not None and longest_path(forest) > window
    if binds or softcap is not None or value.shape[-1] != query.shape[-1]:
        output = masked_tree_attention(
            query, key, value, forest, scale=scale, window=window if binds else None, softcap=softcap
        )
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
