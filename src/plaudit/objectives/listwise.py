"""Losses on rankings: one value per group, nothing reduced.

A rank is 1 for the best response of a group and equal for ties; 0 stands for unranked. ``partial`` is the rule for
unranked responses: ``ranked_only`` leaves them out, ``top`` places them behind every ranked one, in no order among
themselves. A group orders something where one response stands strictly before another; where none does (a single
response, all of them tied, none ranked) its loss is 0, with zero gradient, and the objectives give it no weight.

Nothing loops over groups: the work is over pairs of responses of a group, ΣK² entries.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from typing_extensions import override

from plaudit.objectives.numerics import at_least_float32, segment_logsumexp, segment_mean, segment_sum
from plaudit.objectives.objective import (
    BatchLabels,
    ItemLosses,
    Needs,
    ObjectiveSection,
    OptimizerStepRewards,
    Partial,
    Rewards,
    num_groups,
    required,
    weighed,
)
from plaudit.records import RewardScale

_LAST = torch.iinfo(torch.int64).max
"""A rank behind every other."""


def plackett_luce_loss(
    rewards: Float[Tensor, " response"],
    rank: Int[Tensor, " response"],
    group: Int[Tensor, " response"],
    *,
    num_groups: int,
    partial: Partial = "ranked_only",
) -> Float[Tensor, " group"]:
    r"""Negative log-likelihood of the ranking of each group under Plackett–Luce.

    A ranking is a row of choices: the best of all, the best of those that are left, and so on:

    .. math:: \ell = \sum_i \left( \log \sum_{j :\, \text{rank}_j \ge \text{rank}_i} e^{r_j} - r_i \right)

    over the ranked responses i. Two responses give Bradley–Terry. The d responses of a tie could be chosen in any
    order; Efron's form stands for the mean over these orders: the l-th choice among them (l = 0 … d − 1) still sees
    the share :math:`(d - l)/d` of the weight :math:`e^{r_j}` of each tied one,

    .. math:: \log \left( \sum_{j \text{ behind}} e^{r_j} + \frac{d - l}{d} \sum_{j \text{ tied}} e^{r_j} \right)

    which is that mean exactly where the tied rewards are equal, and an upper bound of it elsewhere. So a tie inside an
    ordered group pulls its rewards together.

    Args:
        rewards: one reward per response.
        rank: rank of each response in its group.
        group: group of each response, from 0.
        num_groups: number of groups.
        partial: rule for unranked responses: left out, or behind every ranked one.

    Source: Luce (1959); Plackett (1975); for rewards Zhu et al. (2023, arXiv 2301.11270); ties as in Efron (1977).
    """
    values = at_least_float32(rewards)
    choices = ranked_choices(rank, group, partial=partial)
    seen = values[choices.alternative] + choices.log_share.to(values.dtype)
    losses = segment_logsumexp(seen, choices.chooser, len(values)) - values
    ordered = orders_something(rank, group, num_groups=num_groups, partial=partial)
    return segment_sum(losses, group, num_groups).masked_fill(~ordered, 0.0)


def top_one_loss(
    rewards: Float[Tensor, " response"],
    rank: Int[Tensor, " response"],
    group: Int[Tensor, " response"],
    *,
    num_groups: int,
    partial: Partial = "ranked_only",
) -> Float[Tensor, " group"]:
    r"""Negative log-probability that the best response of each group is chosen among all of them.

    .. math:: \ell = \log \sum_j e^{r_j} - \frac{1}{|B|} \sum_{i \in B} r_i

    with B the responses of the best rank: tied ones share the target evenly. The order behind the best does not count.
    The arguments are those of ``plackett_luce_loss``, of which this is the first choice.

    Source: Luce (1959); as a loss over lists the top-one probability of Cao et al. (2007, ListNet).
    """
    values = at_least_float32(rewards)
    contends = torch.ones_like(rank, dtype=torch.bool) if partial == "top" else rank > 0
    best = best_of_group(rank, group, num_groups=num_groups)
    total = segment_logsumexp(values[contends], group[contends], num_groups)
    target = segment_mean(values[best], group[best], num_groups)
    ordered = orders_something(rank, group, num_groups=num_groups, partial=partial)
    return torch.where(ordered, total, 0.0) - torch.where(ordered, target, 0.0)


def orders_something(
    rank: Int[Tensor, " response"], group: Int[Tensor, " response"], *, num_groups: int, partial: Partial
) -> Bool[Tensor, " group"]:
    """Return, per group, whether one of its responses stands strictly before another."""
    last = torch.where(rank > 0, rank, _LAST if partial == "top" else 0)
    highest = rank.new_zeros(num_groups).scatter_reduce(0, group, last, reduce="amax")
    return _best_rank(rank, group, num_groups) < highest


def best_of_group(
    rank: Int[Tensor, " response"], group: Int[Tensor, " response"], *, num_groups: int
) -> Bool[Tensor, " response"]:
    """Return whether each response has the best rank that occurs in its group."""
    return (rank > 0) & (rank == _best_rank(rank, group, num_groups)[group])


def _best_rank(rank: Tensor, group: Tensor, num_groups: int) -> Tensor:
    ranked = torch.where(rank > 0, rank, _LAST)
    return rank.new_full((num_groups,), _LAST).scatter_reduce(0, group, ranked, reduce="amin")


@dataclass(frozen=True, slots=True)
class Choices:
    """The choices that rankings consist of, as pairs of responses.

    In the choice of response ``chooser[entry]`` the response ``alternative[entry]`` was there too, with the share
    exp ``log_share[entry]`` of its weight; ``is_behind[entry]`` says that it stands strictly behind. Every response
    has an entry with itself; an unranked one has no other.
    """

    chooser: Int[Tensor, " entry"]
    alternative: Int[Tensor, " entry"]
    log_share: Float[Tensor, " entry"]
    is_behind: Bool[Tensor, " entry"]


def ranked_choices(rank: Int[Tensor, " response"], group: Int[Tensor, " response"], *, partial: Partial) -> Choices:
    """Return the choices of all groups; Efron's shares for ties."""
    first, second = same_group_pairs(group)
    place = torch.where(rank > 0, rank, _LAST if partial == "top" else -1)
    is_choice = rank[first] > 0
    is_behind = is_choice & (place[second] > place[first])
    is_tied = is_choice & (place[second] == place[first])
    kept = is_behind | is_tied | (first == second)
    ties = torch.bincount(first[is_tied], minlength=len(rank))
    chosen_before = torch.bincount(first[is_tied & (second < first)], minlength=len(rank))
    left = torch.where(is_tied, (ties - chosen_before)[first], 1).double()
    log_share = torch.log(left / torch.where(is_tied, ties[first], 1))
    return Choices(first[kept], second[kept], log_share[kept], is_behind[kept])


def same_group_pairs(
    group: Int[Tensor, " response"],
) -> tuple[Int[Tensor, " entry"], Int[Tensor, " entry"]]:
    """Return all ordered pairs of responses of one group, each response with itself too; any order of responses."""
    order = torch.argsort(group, stable=True)
    sizes = torch.bincount(group)
    start = torch.cumsum(sizes, 0) - sizes
    repeats = sizes[group]
    first = torch.repeat_interleave(torch.arange(len(group), device=group.device), repeats)
    within = torch.arange(len(first), device=group.device) - (torch.cumsum(repeats, 0) - repeats)[first]
    return first, order[start[group[first]] + within]


class RankingObjective(ObjectiveSection):
    """Base of the objectives on rankings. An item is a group."""

    _loss: ClassVar[Callable[..., Tensor]]
    type: str
    """Name of the objective."""
    partial: Partial = "ranked_only"
    """Unranked responses: ``ranked_only`` leaves them out, ``top`` places them behind every ranked one."""

    @property
    def needs(self) -> Needs:
        """Return ranks."""
        return Needs(labels="ranks", partial=self.partial)

    @property
    @override
    def reward_scale(self) -> RewardScale:
        """Return differences that are log-odds: with two responses this is Bradley–Terry."""
        return "log_odds_differences"

    def weights(self, labels: BatchLabels) -> Float[Tensor, " group"]:
        """Return 1 for a group whose ranking orders something, else 0."""
        ordered = orders_something(labels.rank, labels.group, num_groups=num_groups(labels), partial=self.partial)
        return ordered.float()

    def __call__(self, rewards: Rewards, labels: BatchLabels, step: OptimizerStepRewards | None = None) -> ItemLosses:
        """Return one loss per group, and the metrics of ``_ranking_metrics``."""
        count = num_groups(labels)
        values = required(rewards, "response", objective=self.type)
        losses = self._loss(values, labels.rank, labels.group, num_groups=count, partial=self.partial)
        return weighed(losses, self.weights(labels), _ranking_metrics(values, labels, count, self.partial))


class PlackettLuce(RankingObjective):
    """Plackett–Luce on rankings: full, partial, with ties (Efron)."""

    type: Literal["plackett_luce"] = "plackett_luce"
    """Name of the objective."""

    _loss: ClassVar[Callable[..., Tensor]] = staticmethod(plackett_luce_loss)


class TopOne(RankingObjective):
    """Softmax over the responses of a group: only which one is best counts."""

    type: Literal["top_one"] = "top_one"
    """Name of the objective."""

    _loss: ClassVar[Callable[..., Tensor]] = staticmethod(top_one_loss)


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
