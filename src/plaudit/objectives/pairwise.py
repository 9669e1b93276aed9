"""Losses on preferences: one value per pair, nothing reduced."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from plaudit.objectives.precision import at_least_float32


def bradley_terry_loss(
    chosen: Float[Tensor, " pair"],
    rejected: Float[Tensor, " pair"],
    *,
    margin: Float[Tensor, " pair"] | None = None,
    strength: Float[Tensor, " pair"] | None = None,
    probability: Float[Tensor, " pair"] | None = None,
    label_smoothing: float = 0.0,
    flip_rate: float = 0.0,
) -> Float[Tensor, " pair"]:
    r"""Negative log-likelihood of each preference under Bradley–Terry.

    With :math:`\Delta = r_c - r_r - m`, :math:`s` the strength and :math:`p` the probability that *chosen* is better,

    .. math:: \ell = s \left( -p \log \sigma(\Delta) - (1 - p) \log \sigma(-\Delta') \right)

    where :math:`\Delta' = r_c - r_r + m`, so a margin asks the preferred side to lead by :math:`m` whichever side
    that is. A hard label has p = 1 and only the first term. Label smoothing :math:`\epsilon` replaces p by
    :math:`p(1-\epsilon) + (1-p)\epsilon`, which makes the model less sure. A flip rate :math:`\epsilon` does the
    opposite, and replaces p by :math:`(p - \epsilon) / (1 - 2\epsilon)`: the loss
    :math:`((1-\epsilon)\ell(\Delta) - \epsilon\ell(-\Delta)) / (1-2\epsilon)`, whose mean over labels that were flipped
    at that rate is the loss of the clean ones. It has no lower bound: on separable data it falls for ever.

    Args:
        chosen: rewards of the chosen responses.
        rejected: rewards of the rejected responses.
        margin: how far chosen should lead, in units of the reward; absent means 0.
        strength: how much better chosen is, ≥ 0, as a factor of the loss; absent means 1.
        probability: probability that chosen is the better response; absent means 1.
        label_smoothing: share of labels that the loss assumes to be flipped, in [0, ½).
        flip_rate: share of labels that are flipped and whose effect is taken out, in [0, ½).

    Source: Bradley & Terry (1952); margin from Touvron et al. (2023, Llama 2), eq. 2; strength from Wang et al.
    (2024, HelpSteer2-Preference, arXiv 2410.01257), "scaled Bradley–Terry"; smoothing as the conservative form of
    Mitchell (2023); flip rate from Chowdhury et al. (2024, arXiv 2403.00409), the unbiased form.
    """
    difference = at_least_float32(chosen) - at_least_float32(rejected)
    lead = difference if margin is None else difference - margin
    if probability is None and label_smoothing == 0.0 and flip_rate == 0.0:
        losses = -F.logsigmoid(lead)
    else:
        deficit = difference if margin is None else difference + margin
        p = unflipped_probability(label_smoothing_probability(probability, label_smoothing), flip_rate)
        losses = -p * F.logsigmoid(lead) - (1.0 - p) * F.logsigmoid(-deficit)
    return losses if strength is None else strength * losses


def label_smoothing_probability(
    probability: Float[Tensor, " pair"] | None, label_smoothing: float
) -> Float[Tensor, " pair"] | float:
    """Return p(1 − ε) + (1 − p)ε: the probability of the stated side when a share ε of the labels is flipped."""
    if probability is None:
        return 1.0 - label_smoothing
    return probability * (1.0 - label_smoothing) + (1.0 - probability) * label_smoothing


def unflipped_probability(
    probability: Float[Tensor, " pair"] | float, flip_rate: float
) -> Float[Tensor, " pair"] | float:
    """Return (p − ε) ÷ (1 − 2ε): the weight of the stated side that undoes, on average, flips at rate ε."""
    return (probability - flip_rate) / (1.0 - 2.0 * flip_rate)
