"""The rewards of a whole optimiser step, for objectives whose terms are statistics over all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from accelerate import Accelerator
from torch import nn

from plaudit.batching.batch import TokenBatch
from plaudit.objectives.labels import BatchLabels
from plaudit.objectives.rewards import StepRewards


@torch.no_grad()
def step_rewards(
    model: nn.Module,
    batches: Iterable[tuple[TokenBatch, bool]],
    accelerator: Accelerator,
    *,
    weigh: Callable[[BatchLabels], torch.Tensor],
) -> StepRewards:
    """Return the rewards and lengths of all responses of the batches of all ranks; fillers are run and left out.

    Each batch comes with whether it counts. Every rank runs its own, and the same number of them. ``weigh`` gives the
    weights of a batch's items, whose sum over the step comes back too.
    """
    weight = torch.zeros((), device=accelerator.device, dtype=torch.float64)
    rewards: list[torch.Tensor] = []
    lengths: list[torch.Tensor] = []
    for batch, counts in batches:
        moved = batch.to(accelerator.device)
        found = model(moved).attributes
        rewards.append(found if counts else found[:0])
        if counts:
            weight += weigh(moved.labels).sum().to(weight)
        lengths.append(moved.labels.length.to(found)[: len(rewards[-1])])
    table = torch.cat([torch.cat(rewards), torch.cat(lengths)[:, None]], dim=1)
    padded = accelerator.pad_across_processes(table, dim=0, pad_index=torch.nan)  # pyrefly: ignore
    gathered = accelerator.gather(padded)
    assert isinstance(gathered, torch.Tensor)
    kept = gathered[~gathered[:, -1].isnan()]
    total = accelerator.reduce(weight, reduction="sum")
    assert isinstance(total, torch.Tensor)
    return StepRewards(attributes=kept[:, :-1], length=kept[:, -1], weight=total.to(kept))
