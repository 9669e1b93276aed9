"""Terms added to a loss that keep rewards or hidden states in place: one value per item, nothing reduced."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor

from plaudit.objectives.precision import at_least_float32
from plaudit.objectives.segments import segment_mean


def reward_centering_penalty(
    chosen: Float[Tensor, " pair"], rejected: Float[Tensor, " pair"]
) -> Float[Tensor, " pair"]:
    r"""Squared sum :math:`(r_c + r_r)^2` of each pair, which pulls the mean reward to 0 and moves no difference.

    Source: Eisenstein et al. (2023), arXiv 2312.09244, section 3.
    """
    return (at_least_float32(chosen) + at_least_float32(rejected)).square()


def language_model_loss(
    log_likelihood: Float[Tensor, " token"], token_response: Int[Tensor, " token"], num_responses: int
) -> Float[Tensor, " response"]:
    r"""Mean negative log-likelihood of the tokens of each response, in nats; 0 for a response without tokens.

    .. math:: \ell_k = -\frac{1}{T_k} \sum_{t \in k} \log \pi(y_t \mid x, y_{<t})

    On the chosen responses of pairs, times a coefficient α, it is the SFT regulariser of a generalisable reward model:
    the backbone stays a language model while its reward head is trained.

    Args:
        log_likelihood: log-probability of each response token.
        token_response: the response of each token.
        num_responses: number of responses.

    Source: Yang et al. (2024, GRM, arXiv 2406.10216), section 3.2, SFT regularisation. There the reward loss is weighed
    by 1 − α; here it keeps its weight of 1.
    """
    return segment_mean(-at_least_float32(log_likelihood), token_response, num_responses)
