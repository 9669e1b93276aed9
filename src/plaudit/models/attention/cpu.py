"""Exact attention over prefix trees on the CPU, forward and backward, without a T×T mask.

Small trees: each segment's scores against its path are one dense block, which stays in the cache. Large trees: the
depth-first layout makes two kinds of block, each segment with itself (causal) and all descendants of a segment with
that segment (no mask); both go to the flash kernel behind SDPA, and the partial results are merged by their
log-sum-exp. Where a sliding window or a soft cap binds, the queries of a segment are masked in blocks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.utils.checkpoint import checkpoint
from typing_extensions import override

from plaudit.batching.batch import Forest

_flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default
_flash_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward.default

DENSE_KEYS = 512
"""Longest path whose segment is attended as one dense block; beyond it the scores leave the cache."""


_HELD = 1 << 20
"""Logits of masked attention that are held at a time: 4 MiB in float32."""
_MIN_ROWS = 16


class ScoreRule(NamedTuple):
    """Attention logits from products of queries and keys: scale, sliding window, cap c of c·tanh(z / c)."""

    scale: float
    window: int | None = None
    softcap: float | None = None


class _Plan(NamedTuple):
    """The blocks of a forest: (rows, ranges of the path) for dense ones, (rows, keys) for flash ones.

    Flash blocks of a segment with itself, whose rows are its keys, come before those of its descendants with it.
    """

    dense: list[tuple[int, int, list[tuple[int, int]]]]
    flash: list[tuple[slice, slice]]


def _plan(forest: Forest, *, allow_dense: bool) -> _Plan:
    plan = _Plan([], [])
    below: list[tuple[slice, slice]] = []
    tree_end, is_dense = -1, False
    for number, (start, stop, subtree_end) in enumerate(forest.segments):
        if start >= tree_end:
            tree_end = subtree_end
            is_dense = allow_dense and _longest_path(forest, number) <= DENSE_KEYS
        if is_dense:
            plan.dense.append((start, stop, visible_ranges(forest, number, 0)))
        else:
            own = slice(start, stop)
            plan.flash.append((own, own))
            if subtree_end > stop:
                below.append((slice(stop, subtree_end), own))
    plan.flash.extend(below)
    return plan


def _longest_path(forest: Forest, root: int) -> int:
    """Return the length of the longest sequence in the tree whose root is that segment."""
    end, longest = forest.segments[root][2], 0
    for number in range(root, len(forest.segments)):
        start, stop, _ = forest.segments[number]
        if start >= end:
            break
        longest = max(longest, forest.first_position[number] + stop - start)
    return longest


class TreeAttention(torch.autograd.Function):
    """Exact softmax attention over a forest; query, key and value are ``[1, head, token, feature]`` on the CPU."""

    @staticmethod
    @override
    def forward(*args: Any, **kwargs: Any) -> Tensor:
        """Return the output ``[1, head, token, feature]`` for (context, query, key, value, forest, scale)."""
        ctx, query, key, value, forest, scale = args
        batch, heads, tokens, width = query.shape
        output = query.new_empty(batch, tokens, heads, width).transpose(1, 2)
        plan = _plan(forest, allow_dense=query.dtype in (torch.float32, torch.float64))
        probabilities = _dense_forward(plan, query[0], key[0], value[0], output[0], scale)
        lse = _flash_forward(plan, query, key, value, output, scale)
        ctx.save_for_backward(query, key, value, output, lse, *probabilities)
        ctx.plan, ctx.scale = plan, scale
        return output

    @staticmethod
    @override
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor, Tensor, Tensor, None, None]:
        """Return the gradients: those of all blocks, given the merged output, add up exactly."""
        (grad_output,) = grad_outputs
        query, key, value, output, lse, *probabilities = ctx.saved_tensors
        grads = (torch.empty_like(query), torch.zeros_like(key), torch.zeros_like(value))
        for (start, stop, path), probability in zip(ctx.plan.dense, probabilities, strict=True):
            _dense_backward(
                (start, stop), path, probability, (query[0], key[0], value[0]), grad_output[0], grads, ctx.scale
            )
        _flash_backward_blocks(ctx.plan, (query, key, value, output, lse), grad_output, grads, ctx.scale)
        return *grads, None, None


@lru_cache(maxsize=4)
def _causal_bias(size: int, dtype: torch.dtype) -> Tensor:
    """Return ``[row, column]``, 0 where column − size ≤ row, else −∞: any segment's mask is a slice of it."""
    row = torch.arange(size)[:, None]
    column = torch.arange(2 * size)[None, :] - size
    return torch.zeros(size, 2 * size, dtype=dtype).masked_fill_(column > row, float("-inf"))


def _on_path(values: Tensor, path: list[tuple[int, int]]) -> Tensor:
    """Return ``values[:, path]``, a view where the path is one range."""
    if len(path) == 1:
        return values[:, path[0][0] : path[0][1]]
    return torch.cat([values[:, begin:end] for begin, end in path], dim=1)


def _dense_forward(
    plan: _Plan, query: Tensor, key: Tensor, value: Tensor, output: Tensor, scale: float
) -> list[Tensor]:
    """Fill in the rows of the dense blocks; return each block's probabilities ``[head, row, key]``."""
    probabilities = []
    for start, stop, path in plan.dense:
        rows, keys = stop - start, sum(end - begin for begin, end in path)
        bias = _causal_bias(DENSE_KEYS, query.dtype)[:rows, DENSE_KEYS - keys + rows : DENSE_KEYS + rows]
        scores = torch.baddbmm(
            bias.expand(query.shape[0], -1, -1),
            query[:, start:stop],
            _on_path(key, path).transpose(1, 2),
            alpha=scale,
        )
        probability = torch.softmax(scores, dim=-1)
        output[:, start:stop] = torch.bmm(probability, _on_path(value, path))
        probabilities.append(probability)
    return probabilities


def _dense_backward(
    rows: tuple[int, int],
    path: list[tuple[int, int]],
    probability: Tensor,
    inputs: tuple[Tensor, Tensor, Tensor],
    grad_output: Tensor,
    grads: tuple[Tensor, Tensor, Tensor],
    scale: float,
) -> None:
    """Write the gradient of the queries of one dense block, and add those of its keys and values."""
    query, key, value = inputs
    own = slice(*rows)
    grad = grad_output[:, own]
    grad_probability = torch.bmm(grad, _on_path(value, path).transpose(1, 2))
    grad_scores = torch.ops.aten._softmax_backward_data(grad_probability, probability, -1, probability.dtype)
    grads[0][0, :, own] = torch.bmm(grad_scores, _on_path(key, path)).mul_(scale)
    grad_key = torch.bmm(grad_scores.transpose(1, 2), query[:, own]).mul_(scale)
    grad_value = torch.bmm(probability.transpose(1, 2), grad)
    at = 0
    for begin, end in path:
        size = end - begin
        grads[1][0, :, begin:end] += grad_key[:, at : at + size]
        grads[2][0, :, begin:end] += grad_value[:, at : at + size]
        at += size


def _flash_forward(
    plan: _Plan, query: Tensor, key: Tensor, value: Tensor, output: Tensor, scale: float
) -> Tensor | None:
    """Fill in the rows of the flash blocks; return the log-sum-exp ``[1, head, token]`` of their scores."""
    if not plan.flash:
        return None
    lse = query.new_empty(query.shape[:-1], dtype=torch.float32 if query.dtype != torch.float64 else query.dtype)
    for rows, keys in plan.flash:
        is_own = rows == keys
        part, part_lse = _flash(query[:, :, rows], key[:, :, keys], value[:, :, keys], 0.0, is_own, scale=scale)
        if is_own:
            output[:, :, rows], lse[:, :, rows] = part, part_lse
        else:
            _merge(output[:, :, rows], lse[:, :, rows], part, part_lse)
    return lse


def _merge(output: Tensor, lse: Tensor, part: Tensor, part_lse: Tensor) -> None:
    """Merge a second set of keys into ``output`` and ``lse`` in place."""
    merged = torch.logaddexp(lse, part_lse)
    weight = (part_lse - merged).exp().unsqueeze(-1)
    if output.dtype == weight.dtype:
        output.lerp_(part, weight)
    else:
        output.copy_(torch.lerp(output.to(weight.dtype), part.to(weight.dtype), weight))
    lse.copy_(merged)


def _flash_backward_blocks(
    plan: _Plan,
    saved: tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None],
    grad_output: Tensor,
    grads: tuple[Tensor, Tensor, Tensor],
    scale: float,
) -> None:
    """Write the gradients of the flash blocks: each block's, given the merged log-sum-exp, add up exactly."""
    query, key, value, output, lse = saved
    for rows, keys in plan.flash:
        assert lse is not None
        is_own = rows == keys
        parts = _flash_backward(
            grad_output[:, :, rows],
            query[:, :, rows],
            key[:, :, keys],
            value[:, :, keys],
            output[:, :, rows],
            lse[:, :, rows],
            0.0,
            is_own,
            scale=scale,
        )
        for grad, part, where in zip(grads, parts, (rows, keys, keys), strict=True):
            if is_own:
                grad[:, :, where] = part
            else:
                grad[:, :, where] += part


def padded_tree_attention(query: Tensor, key: Tensor, value: Tensor, forest: Forest, scale: float) -> Tensor:
    """Return ``TreeAttention`` of queries and values of different widths (latent attention): zeros fill the narrower.

    Zeros add nothing to a product of queries and keys, and give outputs that are cut off.
    """
    width = max(query.shape[-1], value.shape[-1])
    filled = [pad(each, (0, width - each.shape[-1])) for each in (query, key, value)]
    return TreeAttention.apply(*filled, forest, scale)[..., : value.shape[-1]]


def masked_tree_attention(query: Tensor, key: Tensor, value: Tensor, forest: Forest, rule: ScoreRule) -> Tensor:
    r"""Return softmax attention ``[1, head, token, feature]`` over the forest, with its exact window and soft cap.

    A query at position p sees the keys of its path at positions in (p − window, p]. The logits become
    :math:`c \tanh(z / c)` for a soft cap c. Each segment attends to its ancestors' keys and its own, of which those
    that no query can see are left out. Long segments are worked on in blocks of queries, so memory grows with their
    length, not with its square.
    """
    pieces: list[Tensor] = []
    # Without gradients the blocks are put in place at once: what is kept between them would leave holes in memory.
    whole = None if torch.is_grad_enabled() else value.new_empty(*query.shape[:3], value.shape[-1])
    for segment, (start, stop, _) in enumerate(forest.segments):
        first = forest.first_position[segment]
        begin = end = start
        while end < stop:
            begin, at = end, first + end - start
            seen = at if rule.window is None else min(at, rule.window)
            end = min(stop, begin + _rows_at_once(query.shape[1], seen))
            lowest = 0 if rule.window is None else max(0, at - rule.window + 1)
            path = [(low, min(high, end)) for low, high in visible_ranges(forest, segment, lowest)]
            block = _remembering_little(_path_block, query, key, value, (begin, end), path, at, rule)
            if whole is None:
                pieces.append(block)
            else:
                whole[:, :, begin:end] = block
    return torch.cat(pieces, dim=2) if whole is None else whole


def _path_block(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    rows: tuple[int, int],
    path: list[tuple[int, int]],
    at: int,
    rule: ScoreRule,
) -> Tensor:
    """Return the attention of ``rows``, whose first stands at position ``at``, over the keys of their path.

    The path ends with the rows, so its last key has the position of the last row, and they go down by one.
    """
    q = query[:, :, rows[0] : rows[1]]
    k, v = _on_path(key[0], path)[None], _on_path(value[0], path)[None]
    last = at + q.shape[2]
    q_position = torch.arange(at, last, device=q.device)[:, None]
    k_position = torch.arange(last - k.shape[2], last, device=q.device)[None, :]
    allowed = k_position <= q_position
    if rule.window is not None:
        allowed &= k_position > q_position - rule.window
    return masked_block(q, k, v, allowed, rule)


def _rows_at_once(heads: int, seen: int) -> int:
    """Return the number of rows n whose logits, heads · n · (seen + n), are about ``_HELD``.

    Blocks of one size use the same memory one after the other; growing ones would leave holes between them.
    """
    held = _HELD / heads
    return max(_MIN_ROWS, int((math.sqrt(seen * seen + 4.0 * held) - seen) / 2.0))


def _remembering_little(block: Callable[..., Tensor], *arguments: Any) -> Tensor:
    """Return ``block(*arguments)``; in the backward pass it is worked out again, so that no logits are kept."""
    if not torch.is_grad_enabled():
        return block(*arguments)
    return checkpoint(block, *arguments, use_reentrant=False, preserve_rng_state=False)


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


def in_blocks(
    q: Tensor, k: Tensor, v: Tensor, allowed: Callable[[Tensor], Tensor], rows: Tensor, rule: ScoreRule
) -> Tensor:
    """Return ``masked_block`` of queries ``rows``, a block at a time; ``allowed(rows)`` are the keys that they see."""
    size = max(_MIN_ROWS, _HELD // (q.shape[1] * k.shape[2]))

    def block(queries: Tensor, k: Tensor, v: Tensor, some: Tensor) -> Tensor:
        return masked_block(queries, k, v, allowed(some), rule)

    pieces = [
        _remembering_little(block, queries, k, v, some)
        for queries, some in zip(q.split(size, dim=2), rows.split(size), strict=True)
    ]
    return torch.cat(pieces, dim=2)


def masked_block(q: Tensor, k: Tensor, v: Tensor, allowed: Tensor, rule: ScoreRule) -> Tensor:
    """Return softmax attention of the queries over the keys that ``allowed[query, key]`` lets them see."""
    logits = (q * rule.scale) @ k.transpose(-1, -2)
    if rule.softcap is not None:
        logits = torch.tanh(logits / rule.softcap) * rule.softcap
    logits = logits.masked_fill_(~allowed, float("-inf"))
    dtype = torch.float32 if q.dtype in (torch.bfloat16, torch.float16) else q.dtype
    return torch.softmax(logits, dim=-1, dtype=dtype).to(q.dtype) @ v
