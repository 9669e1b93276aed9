"""The bound: what the matrix multiplications of the unique tokens alone would take on this machine."""

from __future__ import annotations

import time

import torch
import torch.nn.functional as F
from torch import nn

from plaudit.models.reward_model import RewardModel


def linear_shapes(model: RewardModel) -> dict[tuple[int, int], int]:
    """Return how often each (out, in) shape of a linear layer occurs in the backbone."""
    shapes: dict[tuple[int, int], int] = {}
    for name, module in model.core.named_modules():
        if isinstance(module, nn.Linear) and "score" not in name:
            shape = (module.out_features, module.in_features)
            shapes[shape] = shapes.get(shape, 0) + 1
    return shapes


def matmul_flops_per_second(
    model: RewardModel, tokens: int, *, backward: bool, dtype: torch.dtype = torch.float32, repeats: int = 5
) -> float:
    """Return the measured rate of these multiplications at ``tokens`` rows: forward, or forward and backward."""
    seconds = flops = 0.0
    for (out, inner), count in linear_shapes(model).items():
        x, w, g = (
            torch.randn(tokens, inner, dtype=dtype),
            torch.randn(out, inner, dtype=dtype),
            torch.randn(tokens, out, dtype=dtype),
        )
        best = min(_timed(x, w, g, backward) for _ in range(repeats))
        seconds += best * count
        flops += 2.0 * tokens * out * inner * (3 if backward else 1) * count
    return flops / seconds


def _timed(x: torch.Tensor, w: torch.Tensor, g: torch.Tensor, backward: bool) -> float:
    began = time.perf_counter()
    F.linear(x, w)
    if backward:
        g @ w
        g.T @ x
    return time.perf_counter() - began


def flops(model: RewardModel, unique_tokens: int, attended: float, *, backward: bool) -> float:
    """Return the FLOPs of ``unique_tokens``, of which each attends to ``attended`` keys on average.

    Linear layers: 2 · parameters per token; attention: 4 · hidden · keys per token and layer; the backward pass costs
    twice the forward.
    """
    config = model.core.config
    linear = 2.0 * sum(out * inner * count for (out, inner), count in linear_shapes(model).items())
    attention = 4.0 * config.hidden_size * attended * config.num_hidden_layers
    return unique_tokens * (linear + attention) * (3 if backward else 1)
