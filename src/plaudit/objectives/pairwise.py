"""Losses on preferences, one value per pair, and the objective Bradley–Terry in all its forms."""

from __future__ import annotations

import warnings
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from pydantic import Field, field_validator, model_validator
from torch import Tensor
from typing_extensions import override

from plaudit.errors import DataError
from plaudit.objectives.numerics import at_least_float32, segment_mean
from plaudit.objectives.objective import (
    BatchLabels,
    Coefficient,
    ItemLosses,
    Needs,
    ObjectiveSection,
    OptimizerStepRewards,
    PairLabels,
    Rewards,
    SpanOf,
    required,
    right_side,
    weighed,
)
from plaudit.records import RewardScale

PairWeight = Literal["pair", "group"]
"""Weight of preferences: 1 each (``pair``), or 1 shared by those of a group (``group``)."""


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


def reward_centering_penalty(
    chosen: Float[Tensor, " pair"], rejected: Float[Tensor, " pair"]
) -> Float[Tensor, " pair"]:
    r"""Squared sum :math:`(r_c + r_r)^2` of each pair, which pulls the mean reward to 0.

    It moves no difference of a pair that shares no response with another. Where preferences of a prompt share responses
    it pulls their rewards together, the more the larger its coefficient.

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


class BradleyTerry(ObjectiveSection):
    """Bradley–Terry on preferences: margin, strength, soft labels, smoothing, flipped labels, centering, SFT."""

    type: Literal["bradley_terry"] = "bradley_terry"
    """Name of the objective."""
    use_margin: bool = False
    """Ask chosen to lead by the margin that the data give (Llama 2). Data without margins count as margin 0."""
    margin_scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    """Multiplies the margins of the data."""
    strength: Literal["none", "scaled"] = "none"
    """``scaled``: multiply the loss of a pair by its margin, read as a strength (HelpSteer2-Preference); 0 weighs 0."""
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    """Share of labels taken to be flipped."""
    flip_rate: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    """Share of labels that are flipped, whose effect is taken out on average (rDPO); no lower bound on clean data."""
    centering: Coefficient = 0.0
    """Coefficient of the squared sum of both rewards; 0.01 is usual. Makes differences log-odds approximately only."""
    sft: Coefficient = 0.0
    """Coefficient of the language-model loss on the chosen response (GRM), 0.01 say; above 0 keeps the LM head."""
    weight: PairWeight = "pair"
    """``pair``: every preference weighs 1. ``group``: the preferences of a group share a weight of 1 (InstructGPT)."""

    @field_validator("strength", mode="before")
    @classmethod
    def _renamed_strength(cls, value: Any) -> Any:
        if value != "scale":
            return value
        warnings.warn(
            "objective.strength: scale is called scaled now; the old name is dropped in 0.3",
            DeprecationWarning,
            stacklevel=2,
        )
        return "scaled"

    @model_validator(mode="after")
    def _options_do_not_contradict(self) -> BradleyTerry:
        if self.use_margin and self.strength == "scaled":
            raise ValueError("use_margin and strength: scaled both read the margin of the data; choose one")
        if self.label_smoothing > 0 and self.flip_rate > 0:
            raise ValueError("label_smoothing and flip_rate undo one another; choose one")
        return self

    @property
    def needs(self) -> Needs:
        """Return preferences, and the tokens and their likelihood where the language model is kept."""
        return Needs(
            labels="preferences" if self.strength == "none" else "strengths",
            margins=self.use_margin,
            tokens=self.sft > 0,
            log_likelihood=self.sft > 0,
        )

    @property
    @override
    def reward_scale(self) -> RewardScale:
        """Return differences that are log-odds, approximately so with ``centering``; else an order.

        A margin, a strength and smoothing move the optimum away from the probability. Centering pulls the rewards of a
        prompt together as soon as its preferences share responses: with three responses, true differences of 2 come out
        as 1.776 at 0.01 and as 1.086 at 0.1.
        """
        if self.use_margin or self.strength == "scaled" or self.label_smoothing > 0:
            return "order"
        return "log_odds_differences" if self.centering == 0 else "assumed_log_odds_differences"

    @override
    def check_labels(self, span_of: SpanOf) -> None:
        """Raise DataError where the scaled form meets a negative strength."""
        if self.strength == "scaled":
            _check_strength(span_of("pair_margin")[0])

    def weights(self, labels: BatchLabels) -> Float[Tensor, " pair"]:
        """Return 1 per preference, or its share of its group; 0 for one of strength 0 in the scaled form.

        Raises:
            DataError: when the scaled form meets a negative strength.
        """
        weights = pair_weights(labels.pairs, self.weight)
        if self.strength == "none":
            return weights
        strength = labels.pairs.margin
        if len(strength):
            _check_strength(strength.min().item())
        return weights.masked_fill(strength == 0, 0.0)

    def __call__(self, rewards: Rewards, labels: BatchLabels, step: OptimizerStepRewards | None = None) -> ItemLosses:
        """Return one loss per preference, and the metrics of ``pair_metrics``."""
        pairs = labels.pairs
        values = required(rewards, "response", objective=self.type)
        chosen, rejected = values[pairs.chosen], values[pairs.rejected]
        margin = pairs.margin * self.margin_scale
        losses = bradley_terry_loss(
            chosen,
            rejected,
            margin=margin if self.use_margin else None,
            strength=margin if self.strength == "scaled" else None,
            probability=pairs.probability,
            label_smoothing=self.label_smoothing,
            flip_rate=self.flip_rate,
        )
        if self.centering > 0:
            losses = losses + self.centering * reward_centering_penalty(chosen, rejected)
        logged = pair_metrics(chosen, rejected, pairs)
        if self.sft > 0:
            likelihood = required(rewards, "log_likelihood", objective=self.type)
            text = language_model_loss(likelihood, labels.token_response, labels.num_responses)[pairs.chosen]
            losses = losses + self.sft * text
            logged["language_model_loss"] = text
        return weighed(losses, self.weights(labels), logged)


def _check_strength(lowest: float) -> None:
    """Raise DataError where the lowest margin of some preferences is no strength, for the scaled form."""
    if lowest < 0:
        raise DataError(
            f"a preference has the margin {lowest:g}; objective.strength: scaled reads margins as strengths, which "
            "must be at least 0: swap chosen and rejected, or use another objective"
        )


def pair_weights(pairs: PairLabels, weight: PairWeight) -> Float[Tensor, " pair"]:
    """Return 1 per preference, or its share of its group."""
    return pairs.weight if weight == "group" else torch.ones_like(pairs.weight)


def pair_metrics(
    chosen: Float[Tensor, " pair"], rejected: Float[Tensor, " pair"], pairs: PairLabels
) -> dict[str, Float[Tensor, " pair"]]:
    """Return accuracy (see ``right_side``), the rewards of both sides, chosen's lead, and whether they tie exactly."""
    chosen, rejected = at_least_float32(chosen.detach()), at_least_float32(rejected.detach())
    lead = chosen - rejected
    return {
        "accuracy": right_side(lead, pairs.probability),
        "chosen_rewards": chosen,
        "rejected_rewards": rejected,
        "reward_margin": lead,
        "ties": (lead == 0).float(),
    }
