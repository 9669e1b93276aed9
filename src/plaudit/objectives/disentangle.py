"""ODIN: a length head that takes up the length, so that the quality head is free of it.

The length term correlates rewards with lengths over a whole optimiser step, which is cut into micro-batches. Each
micro-batch gets the rewards and lengths of the step as constants and adds, for its own responses, a term whose gradient
is that of the correlation, in closed form; so the sum over any cut of the step has the gradient of the whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from plaudit.errors import ModelError
from plaudit.objectives.numerics import at_least_float32, segment_sum
from plaudit.objectives.objective import (
    BatchLabels,
    Coefficient,
    ItemLosses,
    Needs,
    ObjectiveSection,
    OptimizerStepRewards,
    Rewards,
    num_groups,
    required,
    right_side,
    weighed,
)
from plaudit.objectives.pairwise import PairWeight, bradley_terry_loss, pair_metrics, pair_weights
from plaudit.records import RewardScale

MIN_RESPONSES = 3
"""Two points always correlate perfectly."""


@dataclass(frozen=True, slots=True)
class LengthCorrelation:
    r"""Pearson's ρ of rewards r and lengths L over a step, with the terms of its derivative.

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


def correlation(rewards: Float[Tensor, " response"], lengths: Float[Tensor, " response"]) -> LengthCorrelation:
    """Return Pearson's ρ of rewards and lengths, computed in float64."""
    r, length = rewards.detach().double(), lengths.detach().double()
    if len(r) < MIN_RESPONSES:
        zero, one = r.new_zeros(()), r.new_ones(())
        return LengthCorrelation(zero, len(r), zero, one, zero, one, is_defined=False)
    r_spread, length_spread = r.std(correction=0), length.std(correction=0)
    is_defined = not (_is_constant(r, r_spread) or _is_constant(length, length_spread))
    covariance = ((r - r.mean()) * (length - length.mean())).mean()
    value = (covariance / (r_spread * length_spread)).clamp(-1.0, 1.0) if is_defined else torch.zeros_like(r_spread)
    return LengthCorrelation(value, len(r), r.mean(), r_spread, length.mean(), length_spread, is_defined)


def _is_constant(values: Tensor, spread: Tensor) -> bool:
    return bool(spread <= torch.finfo(torch.float32).eps * values.abs().max())


def length_loss(
    attributes: Float[Tensor, "response 2"], lengths: Float[Tensor, " response"], step: OptimizerStepRewards
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


class Odin(ObjectiveSection):
    """ODIN: a quality and a length head, trained together on preferences; the quality head alone is used after."""

    # The length and orthogonality terms belong to the step, not to a preference. The responses of a group carry their
    # shares of them into the group's preferences, so that Σ weight · loss ÷ Σ weight over the step is the loss of the
    # step, however it is cut. A group without preferences has no item that could carry its share; such groups should
    # not be in a step. Source: Chen et al. (2024, ODIN, arXiv 2402.07319), section 3.

    type: Literal["odin"] = "odin"
    """Name of the objective."""
    length: Coefficient = 1.0
    """Coefficient of abs(correlation of quality with length) − correlation of the length head with length."""
    orthogonality: Coefficient = 1.0
    """Coefficient of the absolute cosine between the weights of the two heads."""
    weight: PairWeight = "pair"
    """``pair``: every preference weighs 1. ``group``: the preferences of a group share a weight of 1 (InstructGPT)."""

    @property
    def needs(self) -> Needs:
        """Return preferences, and the rewards of the whole step."""
        return Needs(heads=("odin",), labels="preferences", whole_step=True)

    @property
    @override
    def reward_scale(self) -> RewardScale:
        """Return an order: the quality head gives a part of the log-odds only."""
        return "order"

    def weights(self, labels: BatchLabels) -> Float[Tensor, " pair"]:
        """Return 1 per preference, or its share of its group."""
        return pair_weights(labels.pairs, self.weight)

    def __call__(self, rewards: Rewards, labels: BatchLabels, step: OptimizerStepRewards | None = None) -> ItemLosses:
        """Return one loss per preference; accuracy, rewards, margin and ties are those of the quality head alone.

        Raises:
            ModelError: when the head does not give two attributes.
        """
        pairs, weights = labels.pairs, self.weights(labels)
        attributes = at_least_float32(required(rewards, "attributes", objective=self.type))
        if attributes.shape[1] != 2:
            raise ModelError(
                f"objective odin needs two heads, quality and length; this model has {attributes.shape[1]}"
            )
        lengths = labels.length.to(attributes.dtype)
        if step is None:
            step = OptimizerStepRewards(attributes.detach(), lengths, weights.sum())
        total, quality = attributes.sum(dim=1), attributes[:, 0]
        losses = bradley_terry_loss(total[pairs.chosen], total[pairs.rejected], probability=pairs.probability)
        overlap = head_overlap(required(rewards, "head_weight", objective=self.type))
        shares = self.length * length_loss(attributes, lengths, step)
        shares = shares + self.orthogonality * overlap / len(step.length)
        losses = losses + _carried(shares, labels, weights) * step.weight.to(losses.dtype)
        logged = pair_metrics(quality[pairs.chosen], quality[pairs.rejected], pairs)
        logged["sum_accuracy"] = right_side((total[pairs.chosen] - total[pairs.rejected]).detach(), pairs.probability)
        for column, name in enumerate(("quality_length_correlation", "length_head_correlation")):
            found = correlation(step.attributes[:, column], step.length).value
            logged[name] = found.to(losses.dtype).expand(len(pairs))
        logged["head_overlap"] = overlap.to(losses.dtype).expand(len(pairs))
        return weighed(losses, weights, logged)


def _carried(
    shares: Float[Tensor, " response"], labels: BatchLabels, weights: Float[Tensor, " pair"]
) -> Float[Tensor, " pair"]:
    """Return the share of each preference, so that Σ weight · share over a group is the sum of the group's shares."""
    count = num_groups(labels)
    group = labels.group[labels.pairs.chosen]
    weight = segment_sum(weights, group, count)
    return segment_sum(shares, labels.group, count)[group] / weight[group]
