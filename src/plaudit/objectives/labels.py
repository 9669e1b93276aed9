"""What an objective needs to know about the items of a batch, as plain tensors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, slots=True)
class PairLabels:
    """Preferences of a batch: indices into its rewards.

    ``margin[pair]`` is 0 and ``probability[pair]`` 1 where the data say nothing. ``weight[pair]`` multiplies the loss
    of a pair; it never changes what the others weigh.
    """

    chosen: Int[Tensor, " pair"]
    rejected: Int[Tensor, " pair"]
    margin: Float[Tensor, " pair"]
    probability: Float[Tensor, " pair"]
    weight: Float[Tensor, " pair"]

    def __len__(self) -> int:
        """Return the number of pairs."""
        return self.chosen.shape[0]

    def to(self, device: torch.device) -> PairLabels:
        """Return the labels on ``device``."""
        return PairLabels(
            chosen=self.chosen.to(device, non_blocking=True),
            rejected=self.rejected.to(device, non_blocking=True),
            margin=self.margin.to(device, non_blocking=True),
            probability=self.probability.to(device, non_blocking=True),
            weight=self.weight.to(device, non_blocking=True),
        )
