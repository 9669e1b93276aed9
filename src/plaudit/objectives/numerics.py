"""Numerics that losses share: at least float32, and sums over the segments of a batch (groups, responses)."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


def at_least_float32(values: Tensor) -> Tensor:
    """Return ``values`` in float32, float64 unchanged: differences of rewards cancel in half precision."""
    return values if values.dtype == torch.float64 else values.float()


def segment_sum(values: Float[Tensor, " item"], segment: Int[Tensor, " item"], count: int) -> Float[Tensor, " segment"]:
    """Return the sum of the values of each of ``count`` segments; 0 for an empty one."""
    return values.new_zeros(count).index_add(0, segment, values)


def segment_mean(
    values: Float[Tensor, " item"], segment: Int[Tensor, " item"], count: int
) -> Float[Tensor, " segment"]:
    """Return the mean of the values of each of ``count`` segments; 0 for an empty one."""
    sizes = torch.bincount(segment, minlength=count).clamp(min=1)
    return segment_sum(values, segment, count) / sizes


def segment_logsumexp(
    values: Float[Tensor, " item"], segment: Int[Tensor, " item"], count: int
) -> Float[Tensor, " segment"]:
    """Return log Σ exp of the values of each of ``count`` segments; −∞, without gradient, for an empty one."""
    peak = values.new_full((count,), -torch.inf)
    peak = peak.scatter_reduce(0, segment, values.detach(), reduce="amax")
    is_empty = peak == -torch.inf
    peak = peak.masked_fill(is_empty, 0.0)
    total = segment_sum(torch.exp(values - peak[segment]), segment, count)
    return (torch.log(total.masked_fill(is_empty, 1.0)) + peak).masked_fill(is_empty, -torch.inf)
