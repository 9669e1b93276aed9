"""The precision in which losses are computed."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_float32(values: Tensor) -> Tensor:
    """Return ``values`` in float32, float64 unchanged: differences of rewards cancel in half precision."""
    return values if values.dtype == torch.float64 else values.float()
