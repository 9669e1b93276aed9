"""ODIN: two heads, of which one takes the length and the other keeps the quality.

The length term correlates rewards with lengths over a whole optimiser step, which is cut into micro-batches. Each
micro-batch gets the rewards and lengths of the step as constants and adds, for its own responses, a term whose gradient
is that of the correlation, in closed form; so the sum over any cut of the step has the gradient of the whole.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from plaudit.objectives.precision import at_least_float32
from plaudit.objectives.rewards import StepRewards

MIN_RESPONSES = 3
"""Two points always correlate perfectly."""


@dataclass(frozen=True, slots=True)
class Correlation:
    r"""Pearson's ρ of rewards r and lengths L over a step, with what its derivative needs.

    .. math::

        \rho = \frac{\sum_i (r_i - \bar r)(L_i - \bar L)}{N s_r s_L}, \qquad
        \frac{\partial \rho}{\partial r_i} = \frac{1}{N s_r}
        \left( \frac{L_i - \bar L}{s_L} - \rho \, \frac{r_i - \bar r}{s_r} \right)

    with standard deviations s over N. Undefined for fewer than three responses and where rewards or lengths are
    constant (spread below their resolution in float32); then ρ and its derivative are 0.
    """

    value: Float[Tensor, ""]
    count: int
    reward_mean: Float[Tensor, ""]
    reward_spread: Float[Tensor, ""]
    length_mean: Float[Tensor, ""]
    length_spread: Float[Tensor, ""]
    is_defined: bool

    def derivative(
        self, rewards: Float[Tensor, " response"], lengths: Float[Tensor, " response"]
    ) -> Float[Tensor, " response"]:
        """Return dρ/dr, in float64, of responses of the step."""
        if not self.is_defined:
            return torch.zeros_like(rewards, dtype=torch.float64)
        r = (rewards.double() - self.reward_mean) / self.reward_spread
        length = (lengths.double() - self.length_mean) / self.length_spread
        return (length - self.value * r) / (self.count * self.reward_spread)


def correlation(rewards: Float[Tensor, " response"], lengths: Float[Tensor, " response"]) -> Correlation:
    """Return Pearson's ρ of rewards and lengths, computed in float64."""
    r, length = rewards.detach().double(), lengths.detach().double()
    if len(r) < MIN_RESPONSES:
        zero, one = r.new_zeros(()), r.new_ones(())
        return Correlation(zero, len(r), zero, one, zero, one, is_defined=False)
    r_spread, length_spread = r.std(correction=0), length.std(correction=0)
    is_defined = not (_is_constant(r, r_spread) or _is_constant(length, length_spread))
    covariance = ((r - r.mean()) * (length - length.mean())).mean()
    value = (covariance / (r_spread * length_spread)).clamp(-1.0, 1.0) if is_defined else torch.zeros_like(r_spread)
    return Correlation(value, len(r), r.mean(), r_spread, length.mean(), length_spread, is_defined)


def _is_constant(values: Tensor, spread: Tensor) -> bool:
    return bool(spread <= torch.finfo(torch.float32).eps * values.abs().max())


def length_loss(
    attributes: Float[Tensor, "response 2"], lengths: Float[Tensor, " response"], step: StepRewards
) -> Float[Tensor, " response"]:
    r"""Shares of the responses in :math:`|\rho(r^Q, L)| - \rho(r^L, L)`, the correlations taken over the whole step.

    Summed over all responses of the step this is the term itself, and its gradient with respect to every reward is the
    term's. The share of response i is :math:`1/N` of the value plus :math:`(r_i - \text{const}(r_i))` times the
    derivative; a term without a defined correlation is 0.

    Args:
        attributes: rewards of responses of the step; column 0 is quality, 1 is length.
        lengths: their numbers of tokens.
        step: rewards and lengths of all responses of the step.

    Source: Chen et al. (2024, ODIN, arXiv 2402.07319), section 3, the length loss.
    """
    values = at_least_float32(attributes)
    quality, length = (correlation(step.attributes[:, column], step.length) for column in (0, 1))
    shares = torch.full_like(lengths, 0.0, dtype=values.dtype) + (quality.value.abs() - length.value) / max(
        1, quality.count
    )
    for column, found, factor in ((0, quality, torch.sign(quality.value)), (1, length, -1.0)):
        own = values[:, column]
        slope = (factor * found.derivative(own.detach(), lengths)).to(values.dtype)
        shares = shares + slope * (own - own.detach())
    return shares.to(values.dtype)


def head_overlap(head_weight: Float[Tensor, "2 feature"]) -> Float[Tensor, ""]:
    r"""Absolute cosine :math:`|W_Q W_L^\top| / (\|W_Q\| \|W_L\|)` of the two heads' weights, in [0, 1].

    The rows are divided by their Euclidean norms, so the term has the same size for any width and scale; they are not
    centred. 0, without gradient, where a row is zero.

    Source: Chen et al. (2024, ODIN, arXiv 2402.07319), section 3, the orthogonal loss.
    """
    weight = at_least_float32(head_weight)
    squares = weight.detach().square().sum(dim=1)
    if bool((squares == 0).any()):
        return (weight * 0.0).sum()
    quality, length = weight / torch.linalg.vector_norm(weight, dim=1, keepdim=True)
    return (quality * length).sum().abs()
