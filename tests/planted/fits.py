"""What the planted experiments share: a record of two figures, drawn data, and a fit to the minimum of a loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypedDict

import torch
from torch import Tensor


class Planted(TypedDict):
    """A planted signal: the figure that the right formula reaches, and the same figure for a broken one."""

    name: str
    what: str
    metric: str
    right: float
    broken: float
    broken_variant: str


def drawn(seed: int) -> torch.Generator:
    """A generator of random numbers."""
    return torch.Generator().manual_seed(seed)


def normal(generator: torch.Generator, *shape: int) -> Tensor:
    """Standard normal numbers in float64."""
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def uniform(generator: torch.Generator, *shape: int) -> Tensor:
    """Numbers between 0 and 1 in float64."""
    return torch.rand(*shape, generator=generator, dtype=torch.float64)


def fitted(loss_of: Callable[[Tensor], Tensor], *start: float, steps: int = 100) -> Tensor:
    """The weights at which the loss, a number, is least; found by L-BFGS from ``start``."""
    weights = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=steps, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = loss_of(weights)
        loss.backward()
        return loss

    optimizer.step(closure)
    return weights.detach()


def descended(loss_of: Callable[[Tensor], Tensor], *start: float, steps: int = 100, rate: float = 0.1) -> Tensor:
    """The weights after some steps of gradient descent, for losses that may have no least value."""
    weights = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    for _ in range(steps):
        (gradient,) = torch.autograd.grad(loss_of(weights), weights)
        weights = (weights - rate * gradient).detach().requires_grad_()
    return weights.detach()


def adapted(loss_of: Callable[[Tensor], Tensor], *start: float, steps: int = 150, rate: float = 0.1) -> Tensor:
    """The weights after Adam with a rate that falls to 0, for losses with kinks, where L-BFGS halts."""
    weights = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([weights], lr=rate)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate * (1 - step / steps)
        optimizer.zero_grad()
        loss_of(weights).backward()
        optimizer.step()
    return weights.detach()


def probability(lead: Tensor) -> float:
    """The probability σ(lead) of a single lead."""
    return float(torch.sigmoid(lead))


def farthest(found: Tensor, truth: Tensor) -> float:
    """The largest difference between what was found and the truth."""
    return float((found - truth).abs().max())
