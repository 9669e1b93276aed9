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
    probability: Float[Tensor, " pair"] | None = None,
    label_smoothing: float = 0.0,
) -> Float[Tensor, " pair"]:
    r"""Negative log-likelihood of each preference under Bradley–Terry.

    With :math:`\Delta = r_c - r_r - m` and :math:`p` the probability that *chosen* is better,

    .. math:: \ell = -p \log \sigma(\Delta) - (1 - p) \log \sigma(-\Delta')

    where :math:`\Delta' = r_c - r_r + m`, so a margin asks the preferred side to lead by :math:`m` whichever side
    that is. A hard label has p = 1 and only the first term. Label smoothing :math:`\epsilon` replaces p by
    :math:`p(1-\epsilon) + (1-p)\epsilon`.

    Args:
        chosen: rewards of the chosen responses.
        rejected: rewards of the rejected responses.
        margin: how far chosen should lead, in units of the reward; absent means 0.
        probability: probability that chosen is the better response; absent means 1.
        label_smoothing: probability that a label is flipped, in [0, ½).

    Source: Bradley & Terry (1952); margin from Touvron et al. (2023, Llama 2), eq. 2; smoothing as the
    conservative form of Mitchell (2023).
    """
    difference = at_least_float32(chosen) - at_least_float32(rejected)
    lead = difference if margin is None else difference - margin
    if probability is None and label_smoothing == 0.0:
        return -F.logsigmoid(lead)
    deficit = difference if margin is None else difference + margin
    p = label_smoothing_probability(probability, label_smoothing)
    return -p * F.logsigmoid(lead) - (1.0 - p) * F.logsigmoid(-deficit)


def label_smoothing_probability(
    probability: Float[Tensor, " pair"] | None, label_smoothing: float
) -> Float[Tensor, " pair"] | float:
    """Return p(1 − ε) + (1 − p)ε: the probability of the stated side when a share ε of the labels is flipped."""
    if probability is None:
        return 1.0 - label_smoothing
    return probability * (1.0 - label_smoothing) + (1.0 - probability) * label_smoothing


def reward_centering_penalty(
    chosen: Float[Tensor, " pair"], rejected: Float[Tensor, " pair"]
) -> Float[Tensor, " pair"]:
    r"""Squared sum :math:`(r_c + r_r)^2` of each pair, which pulls the mean reward to 0 and moves no difference.

    Source: Eisenstein et al. (2023), arXiv 2312.09244, section 3.
    """
    return (at_least_float32(chosen) + at_least_float32(rejected)).square()
