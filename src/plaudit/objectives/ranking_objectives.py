"""Objectives whose items are groups with a ranking: Plackett–Luce and the top-one softmax."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from plaudit.objectives.config import PlackettLuce, TopOne
from plaudit.objectives.labels import BatchLabels
from plaudit.objectives.listwise import (
    Partial,
    best_of_group,
    orders_something,
    plackett_luce_loss,
    ranked_choices,
    top_one_loss,
)
from plaudit.objectives.objective import ItemLosses, Needs, num_groups, required, weighed
from plaudit.objectives.precision import at_least_float32
from plaudit.objectives.rewards import Rewards, StepRewards
from plaudit.objectives.segments import segment_mean


@dataclass(frozen=True, slots=True)
class RankingObjective:
    """``plackett_luce_loss`` or ``top_one_loss``, as the config says. An item is a group."""

    config: PlackettLuce | TopOne

    @property
    def needs(self) -> Needs:
        """Return nothing beside rewards and ranks."""
        return Needs()

    def weights(self, labels: BatchLabels) -> Float[Tensor, " group"]:
        """Return 1 for a group whose ranking orders something, else 0."""
        ordered = orders_something(
            labels.rank, labels.group, num_groups=num_groups(labels), partial=self.config.partial
        )
        return ordered.float()

    def __call__(self, rewards: Rewards, labels: BatchLabels, step: StepRewards | None = None) -> ItemLosses:
        """Return one loss per group, and what ``_ranking_metrics`` logs."""
        config, count = self.config, num_groups(labels)
        values = required(rewards, "response", objective=config.type)
        loss = plackett_luce_loss if isinstance(config, PlackettLuce) else top_one_loss
        losses = loss(values, labels.rank, labels.group, num_groups=count, partial=config.partial)
        return weighed(losses, self.weights(labels), _ranking_metrics(values, labels, count, config.partial))


def _ranking_metrics(
    rewards: Float[Tensor, " response"], labels: BatchLabels, count: int, partial: Partial
) -> dict[str, Float[Tensor, " group"]]:
    """Return, per group, how rewards and ranking agree.

    ``accuracy``: 1 where some response of the best rank has a higher reward than every one ranked behind it; an exact
    tie is wrong. ``pairwise_accuracy`` and ``ties``: the share of the pairs that the ranking orders whose rewards stand
    in the same order, and whose rewards are equal. ``chosen_rewards`` and ``rejected_rewards``: the mean reward of the
    best rank and of all behind it; ``reward_margin`` is their difference.
    """
    values = at_least_float32(rewards.detach())
    group = labels.group
    choices = ranked_choices(labels.rank, group, partial=partial)
    before, behind = choices.chooser[choices.is_behind], choices.alternative[choices.is_behind]
    lead = values[before] - values[behind]
    best = best_of_group(labels.rank, group, num_groups=count)
    rest = torch.zeros_like(best)
    rest[behind] = True
    lowest = values.new_full((count,), -torch.inf)
    first, second = (lowest.scatter_reduce(0, group[part], values[part], reduce="amax") for part in (best, rest))
    chosen, rejected = (segment_mean(values[part], group[part], count) for part in (best, rest))
    return {
        "accuracy": (first > second).to(values.dtype),
        "pairwise_accuracy": segment_mean((lead > 0).to(values.dtype), group[before], count),
        "ties": segment_mean((lead == 0).to(values.dtype), group[before], count),
        "chosen_rewards": chosen,
        "rejected_rewards": rejected,
        "reward_margin": chosen - rejected,
    }
