"""From a config to an objective: rewards and labels in, one loss per item out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from plaudit.objectives.config import BradleyTerry, ObjectiveConfig
from plaudit.objectives.labels import PairLabels
from plaudit.objectives.pairwise import bradley_terry_loss, reward_centering_penalty
from plaudit.objectives.precision import at_least_float32


@dataclass(frozen=True, slots=True)
class ItemLosses:
    """One loss and one weight per item, and per-item values to log, detached.

    The trainer divides Σ weight · loss by the Σ weight of the global step, so the weights of a step decide shares
    and never its scale.
    """

    losses: Float[Tensor, " item"]
    weights: Float[Tensor, " item"]
    logged: dict[str, Float[Tensor, " item"]]


@runtime_checkable
class Objective(Protocol):
    """A training loss over the preferences of a batch."""

    def weights(self, pairs: PairLabels) -> Float[Tensor, " item"]:
        """Return the weight of each item, without looking at a reward."""
        ...

    def __call__(self, rewards: Float[Tensor, " response"], pairs: PairLabels) -> ItemLosses:
        """Return one loss per item of the batch."""
        ...


@dataclass(frozen=True, slots=True)
class BradleyTerryObjective:
    """``bradley_terry_loss`` plus ``centering`` times ``reward_centering_penalty``."""

    config: BradleyTerry

    def weights(self, pairs: PairLabels) -> Float[Tensor, " item"]:
        """Return 1 per preference, or its share of its group."""
        return pairs.weight if self.config.weight == "group" else torch.ones_like(pairs.weight)

    def __call__(self, rewards: Float[Tensor, " response"], pairs: PairLabels) -> ItemLosses:
        """Return one loss per preference.

        The logged ``accuracy`` is that of an evaluation with its usual tie rule: 1 where the response that the
        label holds to be likelier has the higher reward, else 0, an exact tie included. A label of probability ½
        holds neither to be better and makes no mistake possible: such a pair, which an evaluation leaves out,
        counts as ½ here, which is what either order of it is worth under its label.
        """
        config = self.config
        chosen, rejected = rewards[pairs.chosen], rewards[pairs.rejected]
        losses = bradley_terry_loss(
            chosen,
            rejected,
            margin=pairs.margin * config.margin_scale if config.use_margin else None,
            probability=pairs.probability,
            label_smoothing=config.label_smoothing,
        )
        if config.centering > 0:
            losses = losses + config.centering * reward_centering_penalty(chosen, rejected)
        chosen, rejected = at_least_float32(chosen.detach()), at_least_float32(rejected.detach())
        lead = chosen - rejected
        logged = {
            "accuracy": _right(lead, pairs.probability),
            "chosen_rewards": chosen,
            "rejected_rewards": rejected,
            "reward_margin": lead,
            "ties": (lead == 0).float(),
        }
        return ItemLosses(losses, self.weights(pairs), logged)


def _right(lead: Float[Tensor, " item"], probability: Float[Tensor, " item"]) -> Float[Tensor, " item"]:
    """Return 1 where the sign of ``lead`` is that of probability − ½, ½ where the latter is 0, else 0."""
    side = torch.sign(probability - 0.5)
    return torch.where(side == 0, 0.5, (lead * side > 0).float())


def build_objective(config: ObjectiveConfig) -> Objective:
    """Return the objective that ``config`` describes."""
    return BradleyTerryObjective(config)
