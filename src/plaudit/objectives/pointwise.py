"""Losses on single responses, one value per response, and the objectives on ratings and outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor
from typing_extensions import override

from plaudit.errors import ModelError
from plaudit.objectives.numerics import at_least_float32
from plaudit.objectives.objective import (
    BatchLabels,
    ItemLosses,
    Needs,
    ObjectiveSection,
    OptimizerStepRewards,
    Rewards,
    required,
    right_side,
    weighed,
)
from plaudit.records import RewardScale


def regression_loss(
    predicted: Float[Tensor, "response attribute"],
    rating: Float[Tensor, "response attribute"],
    *,
    scale: Sequence[float] | Float[Tensor, " attribute"] | None = None,
) -> Float[Tensor, " response"]:
    r"""Mean squared error of each response over the attributes it was rated on.

    .. math:: \ell_k = \frac{1}{|A_k|} \sum_{a \in A_k} \left( \frac{\hat y_{ka} - y_{ka}}{s_a} \right)^2

    with :math:`A_k` the attributes whose rating is there. A missing one (NaN) carries no loss and no gradient; a
    response without any has loss 0.

    Args:
        predicted: predicted ratings, in the units of the data.
        rating: ratings; NaN where missing.
        scale: size of each attribute, in its units, by which its errors are divided; absent means 1.

    Source: masked regression as in HelpSteer (Wang et al., 2023, arXiv 2311.09528) and ArmoRM (Wang et al., 2024,
    arXiv 2406.12845), section 3.1.
    """
    errors = rating_errors(predicted, rating)
    if scale is not None:
        errors = errors / torch.as_tensor(scale, dtype=errors.dtype, device=errors.device)
    present = (~rating.isnan()).sum(dim=1).clamp(min=1)
    return errors.square().sum(dim=1) / present


def rating_errors(
    predicted: Float[Tensor, "response attribute"], rating: Float[Tensor, "response attribute"]
) -> Float[Tensor, "response attribute"]:
    """Return predicted − rating; 0, without gradient, where the rating is missing."""
    is_missing = rating.isnan()
    difference = at_least_float32(predicted) - at_least_float32(rating).masked_fill(is_missing, 0.0)
    return difference.masked_fill(is_missing, 0.0)


def outcome_loss(
    logits: Float[Tensor, " item"], outcome: Float[Tensor, " item"], *, positive_weight: float = 1.0
) -> Float[Tensor, " item"]:
    r"""Binary cross-entropy of each item, from the logit of "right".

    .. math:: \ell = -w\, y \log \sigma(z) - (1 - y) \log \sigma(-z)

    Args:
        logits: logit z of "right".
        outcome: 1 for right, 0 for wrong, a probability between, NaN where unknown: no loss and no gradient.
        positive_weight: weight w of right ones, for data in which they are rare.

    Source: Cobbe et al. (2021, arXiv 2110.14168), section 4.
    """
    is_missing = outcome.isnan()
    y = at_least_float32(outcome).masked_fill(is_missing, 0.0)
    z = at_least_float32(logits)
    losses = -positive_weight * y * F.logsigmoid(z) - (1.0 - y) * F.logsigmoid(-z)
    return losses.masked_fill(is_missing, 0.0)


class Regression(ObjectiveSection):
    """Squared error on ratings, one output per attribute; missing ratings carry no loss."""

    type: Literal["regression"] = "regression"
    """Name of the objective."""
    attributes: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]
    """Names of the rated attributes, in the order of the model's outputs."""
    standardise: bool = True
    """Train on (rating − mean) ÷ standard deviation of each attribute in the training data; rewards keep its units."""
    scale: tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...] | None = None
    """Size of each attribute, by which errors are divided; null for its standard deviation, 1 if not standardised."""
    reward_weights: tuple[Annotated[float, Field(allow_inf_nan=False)], ...] | None = None
    """Weight of each attribute, in the units of its ratings, in the reward of a response; null: all weigh alike, each
    divided by its standard deviation."""

    @model_validator(mode="after")
    def _one_scale_per_attribute(self) -> Regression:
        twice = sorted({name for name in self.attributes if self.attributes.count(name) > 1})
        if twice:
            raise ValueError(f"attributes names {', '.join(twice)} more than once")
        for name, given in (("scale", self.scale), ("reward_weights", self.reward_weights)):
            if given is not None and len(given) != len(self.attributes):
                raise ValueError(f"{name} has {len(given)} entries for {len(self.attributes)} attributes")
        return self

    @property
    def needs(self) -> Needs:
        """Return ratings of the attributes."""
        return Needs(heads=("attributes",), labels="ratings", attributes=self.attributes)

    def weights(self, labels: BatchLabels) -> Float[Tensor, " response"]:
        """Return 1 for a response that is rated on some attribute, else 0."""
        return (~labels.ratings.isnan()).any(dim=1).float()

    def __call__(self, rewards: Rewards, labels: BatchLabels, step: OptimizerStepRewards | None = None) -> ItemLosses:
        """Return one loss per response; ``mse`` is it without any scale, ``bias`` the mean of predicted − rated.

        Errors are divided by ``scale``, or else, where attributes are standardised, by the scale of the model. What is
        logged is in the units of the ratings.

        Raises:
            ModelError: when the head has not one output per attribute.
        """
        predicted = required(rewards, "attributes", objective=self.type)
        names = self.attributes
        if not predicted.shape[1] == labels.ratings.shape[1] == len(names):
            raise ModelError(
                f"objective regression rates {', '.join(names)}; the head gives {predicted.shape[1]} attributes and "
                f"the batch {labels.ratings.shape[1]}"
            )
        own = rewards.attribute_scale if self.standardise else None
        losses = regression_loss(predicted, labels.ratings, scale=self.scale or own)
        errors = rating_errors(predicted.detach(), labels.ratings)
        present = (~labels.ratings.isnan()).sum(dim=1).clamp(min=1)
        logged = {"mse": errors.square().sum(dim=1) / present, "bias": errors.sum(dim=1) / present}
        return weighed(losses, self.weights(labels), logged)


class Outcome(ObjectiveSection):
    """Binary cross-entropy on the outcome, from the reward of the whole response."""

    type: Literal["outcome"] = "outcome"
    """Name of the objective."""
    positive_weight: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    """Multiplies the loss of right responses, where they are rare."""

    @property
    def needs(self) -> Needs:
        """Return outcomes."""
        return Needs(labels="outcomes")

    @property
    @override
    def reward_scale(self) -> RewardScale:
        """Return values that are log-odds of being right; differences only, where ``positive_weight`` w adds log w."""
        return "log_odds_values" if self.positive_weight == 1.0 else "log_odds_differences"

    def weights(self, labels: BatchLabels) -> Float[Tensor, " response"]:
        """Return 1 for a response whose outcome is known, else 0."""
        return (~labels.outcome.isnan()).float()

    def __call__(self, rewards: Rewards, labels: BatchLabels, step: OptimizerStepRewards | None = None) -> ItemLosses:
        """Return one loss per response, and the metrics of ``outcome_metrics``."""
        logits = required(rewards, "response", objective=self.type)
        losses = outcome_loss(logits, labels.outcome, positive_weight=self.positive_weight)
        return weighed(losses, self.weights(labels), outcome_metrics(logits, labels.outcome))


def outcome_metrics(
    logits: Float[Tensor, " response"], outcome: Float[Tensor, " response"]
) -> dict[str, Float[Tensor, " response"]]:
    """Return accuracy (see ``right_side``), the reward, and the outcome, whose mean is the share that is right."""
    values = at_least_float32(logits.detach())
    return {"accuracy": right_side(values, outcome), "rewards": values, "outcomes": outcome}
