"""Planted signals for the objectives on rankings. Each function gives the right figure and a broken one."""

from __future__ import annotations

import torch
from torch import Tensor

from plaudit.objectives.listwise import orders_something, plackett_luce_loss, top_one_loss

from .fits import Planted, drawn, farthest, fitted, normal, uniform

TRUTH = torch.tensor([1.0, -0.5, 0.5], dtype=torch.float64)
K = 5


def drawn_rankings(count: int, seed: int, *, truth: Tensor = TRUTH, shared: Tensor | None = None):
    """Features [response, feature], ranks and groups of ``count`` groups of K, ranked by Plackett–Luce.

    Rewards with independent Gumbel noise, sorted, are a draw from Plackett–Luce.
    """
    generator = drawn(seed)
    features = normal(generator, count, K, len(truth))
    if shared is not None:
        features = features + shared[:, None]
    noisy = features @ truth - torch.log(-torch.log(uniform(generator, count, K)))
    rank = torch.argsort(torch.argsort(-noisy, dim=1), dim=1) + 1
    group = torch.arange(count).repeat_interleave(K)
    return features.flatten(0, 1), rank.flatten(), group


def fitted_weights(features: Tensor, rank: Tensor, group: Tensor, loss_of=plackett_luce_loss, **options) -> Tensor:
    """The weights of a linear reward fitted to rankings, with the mean over the groups that order something."""
    count = int(group.max()) + 1
    options.setdefault("partial", "ranked_only")
    weight = orders_something(rank, group, num_groups=count, partial=options["partial"]).double()

    def loss(weights: Tensor) -> Tensor:
        losses = loss_of(features @ weights, rank, group, num_groups=count, **options)
        return (losses * weight).sum() / weight.sum().clamp(min=1)

    return fitted(loss, *[0.0] * features.shape[1])


def full_ranking() -> Planted:
    """The responses chosen already must leave the denominator of the next choice."""
    features, rank, group = drawn_rankings(2000, seed=0)

    def all_stay(rewards: Tensor, rank: Tensor, group: Tensor, *, num_groups: int, partial: str) -> Tensor:
        rows = rewards.view(num_groups, K)
        return (torch.logsumexp(rows, 1, keepdim=True) - rows).sum(1)

    return {
        "name": "plackett_luce",
        "what": "2,000 rankings of five drawn from a linear reward",
        "metric": "largest error of the three weights",
        "right": farthest(fitted_weights(features, rank, group), TRUTH),
        "broken": farthest(fitted_weights(features, rank, group, all_stay), TRUTH),
        "broken_variant": "every choice is made among all responses",
    }


def reversed_ranking() -> Planted:
    """Rank 1 is the best; read as a score it would be the worst."""
    features, rank, group = drawn_rankings(2000, seed=0)
    return {
        "name": "plackett_luce",
        "what": "2,000 rankings of five drawn from a linear reward",
        "metric": "largest error of the three weights",
        "right": farthest(fitted_weights(features, rank, group), TRUTH),
        "broken": farthest(fitted_weights(features, K + 1 - rank, group), TRUTH),
        "broken_variant": "a high rank read as a good one",
    }


def unranked() -> Planted:
    """Two of five responses were not ranked, at random; rank 0 must not be taken for better than 1."""
    features, rank, group = drawn_rankings(2000, seed=1)
    hidden = (torch.rand(len(rank), generator=drawn(2)).view(-1, K).argsort(1).argsort(1) < 2).flatten()
    rank = rank.masked_fill(hidden, 0)
    return {
        "name": "plackett_luce, partial: ranked_only",
        "what": "2,000 rankings of five, two of them unranked at random",
        "metric": "largest error of the three weights",
        "right": farthest(fitted_weights(features, rank, group), TRUTH),
        "broken": farthest(fitted_weights(features, rank + 1, group), TRUTH),
        "broken_variant": "rank 0 read as the best",
    }


def only_the_best_are_ranked() -> Planted:
    """The two best of five are ranked; what stands behind them is known to be worse."""
    features, rank, group = drawn_rankings(2000, seed=3)
    rank = rank.masked_fill(rank > 2, 0)
    return {
        "name": "plackett_luce, partial: top",
        "what": "2,000 groups of five of which the best two are ranked",
        "metric": "largest error of the three weights",
        "right": farthest(fitted_weights(features, rank, group, partial="top"), TRUTH),
        "broken": farthest(fitted_weights(features, rank, group, partial="ranked_only"), TRUTH),
        "broken_variant": "unranked responses left out, though they lost",
    }


def ties() -> Planted:
    """Ranks of three levels among five responses; one feature is the place in the list and means nothing."""
    features, rank, group = drawn_rankings(2000, seed=4)
    place = torch.arange(K, dtype=torch.float64).repeat(2000)
    features = torch.cat([features, place[:, None] - 2], dim=1)
    rank = (rank + 1) // 2
    in_order = torch.argsort(torch.argsort((rank * K + place.long()).view(-1, K), dim=1), dim=1).flatten() + 1
    return {
        "name": "plackett_luce, ties",
        "what": "2,000 rankings of five in three levels",
        "metric": "absolute weight of the place in the list, which means nothing",
        "right": abs(float(fitted_weights(features, rank, group)[-1])),
        "broken": abs(float(fitted_weights(features, in_order, group)[-1])),
        "broken_variant": "ties broken by the place in the list",
    }


def top_one() -> Planted:
    """A softmax over the whole batch compares the best with responses to other prompts."""
    truth = torch.tensor([1.0, 0.5], dtype=torch.float64)
    generator = drawn(5)
    shared = 6 * normal(generator, 400, 1) + 1.5 * normal(generator, 400, 2)
    features, rank, group = drawn_rankings(400, seed=6, truth=truth, shared=shared)
    fresh = normal(generator, 5000, K, 2)

    def agreement(found: Tensor) -> float:
        return float(((fresh @ found).argmax(1) == (fresh @ truth).argmax(1)).double().mean())

    def whole_batch(rewards: Tensor, rank: Tensor, group: Tensor, *, num_groups: int, partial: str) -> Tensor:
        return torch.logsumexp(rewards, 0) - rewards[rank == 1]

    return {
        "name": "top_one",
        "what": "400 groups of five; two features that the prompt raises together for all",
        "metric": "share of fresh groups whose best response is found",
        "right": agreement(fitted_weights(features, rank, group, top_one_loss)),
        "broken": agreement(fitted_weights(features, rank, group, whole_batch)),
        "broken_variant": "softmax over the batch in place of the group",
    }


EXPERIMENTS = (full_ranking, reversed_ranking, unranked, only_the_best_are_ranked, ties, top_one)
