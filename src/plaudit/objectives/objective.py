"""What an objective is: rewards and labels in, one loss per item out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from plaudit.errors import ModelError
from plaudit.objectives.labels import BatchLabels
from plaudit.objectives.rewards import Rewards, StepRewards


@dataclass(frozen=True, slots=True)
class ItemLosses:
    """One loss and one weight per item, and per-item values to log, detached.

    The trainer divides Σ weight · loss by the Σ weight of the global step, so the weights of a step decide shares
    and never its scale. An item of weight 0 has loss 0 with zero gradient.
    """

    losses: Float[Tensor, " item"]
    weights: Float[Tensor, " item"]
    logged: dict[str, Float[Tensor, " item"]]


@dataclass(frozen=True, slots=True)
class Needs:
    """What an objective asks of the batches and of the model, beside the labels."""

    tokens: bool = False
    """Batches list the tokens of their responses (``BatchLabels.token_response``)."""
    log_likelihood: bool = False
    """The model gives ``Rewards.log_likelihood``."""
    whole_step: bool = False
    """The objective is called with the ``StepRewards`` of the whole optimiser step, or of the whole evaluation."""
    attributes: tuple[str, ...] = ()
    """The columns of ``BatchLabels.ratings`` and ``Rewards.attributes``, in this order."""


@runtime_checkable
class Objective(Protocol):
    """A training loss over the items of a batch: pairs, groups, responses or steps, as the objective has it."""

    @property
    def needs(self) -> Needs:
        """Return what the objective asks of the batches and of the model."""
        ...

    def weights(self, labels: BatchLabels) -> Float[Tensor, " item"]:
        """Return the weight of each item, without looking at a reward; 0 where the labels say nothing of it."""
        ...

    def __call__(self, rewards: Rewards, labels: BatchLabels, step: StepRewards | None = None) -> ItemLosses:
        """Return one loss per item of the batch. Without ``step`` the batch is the whole step."""
        ...


def weighed(
    losses: Float[Tensor, " item"], weights: Float[Tensor, " item"], logged: dict[str, Float[Tensor, " item"]]
) -> ItemLosses:
    """Return the items, with losses and logged values of 0 where the weight is 0."""
    is_out = weights == 0
    detached = {name: values.detach().masked_fill(is_out, 0.0) for name, values in logged.items()}
    return ItemLosses(losses.masked_fill(is_out, 0.0), weights, detached)


def required(rewards: Rewards, name: str, *, objective: str) -> Tensor:
    """Return the field ``name`` of ``rewards``.

    Raises:
        ModelError: when the model's head does not give it.
    """
    value = getattr(rewards, name)
    if value is None:
        given = [field for field in Rewards._fields if getattr(rewards, field) is not None]
        raise ModelError(
            f"objective {objective} reads Rewards.{name}, which the head of this model does not give; it gives "
            f"{', '.join(given) or 'nothing'}"
        )
    return value


def right_side(lead: Float[Tensor, " item"], probability: Float[Tensor, " item"]) -> Float[Tensor, " item"]:
    """Return 1 where the sign of ``lead`` is that of probability − ½, ½ where the latter is 0, else 0.

    The accuracy of an evaluation with its usual tie rule: an exact tie of the rewards is wrong. A label of probability
    ½ holds neither side to be better and makes no mistake possible: such an item, which an evaluation leaves out,
    counts as ½, which is what either order of it is worth under its label.
    """
    side = torch.sign(probability - 0.5)
    return torch.where(side == 0, 0.5, (lead * side > 0).float())


def num_groups(labels: BatchLabels) -> int:
    """Return the number of groups of the batch."""
    return int(labels.group.max()) + 1 if labels.num_responses else 0
