"""Planted signals for the objectives on preferences. Each function gives the right figure and a broken one."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from plaudit.objectives.pairwise import bradley_terry_loss, language_model_loss, reward_centering_penalty

from .fits import Planted, drawn, farthest, fitted, normal, probability, uniform

TRUTH = torch.tensor([1.5, -1.0, 0.0, 0.5], dtype=torch.float64)


def drawn_pairs(truth: Tensor, count: int, seed: int, *, shared: Tensor | None = None) -> Tensor:
    """Features [pair, 2, feature] of pairs whose side 0 was preferred by Bradley–Terry under the weights ``truth``.

    ``shared`` [pair, feature] is added to both sides: what the prompt says of both.
    """
    generator = drawn(seed)
    features = normal(generator, count, 2, len(truth))
    if shared is not None:
        features = features + shared[:, None]
    rewards = features @ truth
    first_wins = uniform(generator, count) < torch.sigmoid(rewards[:, 0] - rewards[:, 1])
    return torch.where(first_wins[:, None, None], features, features.flip(1))


def fitted_weights(features: Tensor, loss_of) -> Tensor:
    """The weights of a linear reward fitted to pairs; ``loss_of`` takes the rewards of both sides."""

    def loss(weights: Tensor) -> Tensor:
        rewards = features @ weights
        return loss_of(rewards[:, 0], rewards[:, 1]).mean()

    return fitted(loss, *[0.0] * features.shape[-1])


def lead(loss_of) -> Tensor:
    """The lead of chosen that makes a loss of that lead least."""
    return fitted(lambda weights: loss_of(weights, torch.zeros_like(weights)).mean(), 0.0)[0]


def batch_sum() -> Planted:
    """Rewards summed over the batch before the sigmoid, as a public ODIN does."""
    features = drawn_pairs(TRUTH, 10_000, seed=0)
    right = fitted_weights(features, bradley_terry_loss)
    broken = fitted_weights(features, lambda c, r: bradley_terry_loss(c.sum()[None], r.sum()[None]))
    return {
        "name": "bradley_terry",
        "what": "10,000 preferences drawn from a linear reward",
        "metric": "largest error of the four weights",
        "right": farthest(right, TRUTH),
        "broken": farthest(broken, TRUTH),
        "broken_variant": "rewards summed over the batch before the sigmoid",
    }


def broadcast() -> Planted:
    """[B, 1] − [B] compares every chosen response with every rejected one, of other prompts too."""
    truth = torch.tensor([1.0, 0.5], dtype=torch.float64)
    generator = drawn(1)
    shared = 6 * normal(generator, 1000, 1) + 1.5 * normal(generator, 1000, 2)
    features = drawn_pairs(truth, 1000, seed=2, shared=shared)
    fresh = normal(generator, 20_000, 2)

    def agreement(found: Tensor) -> float:
        return float(((fresh @ found > 0) == (fresh @ truth > 0)).double().mean())

    return {
        "name": "bradley_terry",
        "what": "two features that the prompt raises together for both sides",
        "metric": "share of fresh pairs ordered as the truth orders them",
        "right": agreement(fitted_weights(features, bradley_terry_loss)),
        "broken": agreement(fitted_weights(features, lambda c, r: -F.logsigmoid(c[:, None] - r))),
        "broken_variant": "[B, 1] − [B], broadcast to [B, B]",
    }


def soft_labels() -> Planted:
    """Every label names side 0, and only its probability of 0.7 tells how surely."""
    p = torch.tensor([0.7], dtype=torch.float64)
    return {
        "name": "bradley_terry, probability",
        "what": "preferences of probability 0.7, all for the same side",
        "metric": "gap between the model's probability and 0.7",
        "right": abs(probability(lead(lambda c, r: bradley_terry_loss(c, r, probability=p))) - 0.7),
        "broken": abs(probability(lead(bradley_terry_loss)) - 0.7),
        "broken_variant": "hard labels where soft ones matter",
    }


def margin() -> Planted:
    """With p = 0.9 a lead settles at log 9 = 2.20; a margin must push it up."""
    p, m = torch.tensor([0.9], dtype=torch.float64), torch.tensor([1.0], dtype=torch.float64)
    plain = lead(lambda c, r: bradley_terry_loss(c, r, probability=p))
    right = lead(lambda c, r: bradley_terry_loss(c, r, probability=p, margin=m))
    broken = lead(lambda c, r: bradley_terry_loss(c, r, probability=p, margin=-m))
    return {
        "name": "bradley_terry, use_margin",
        "what": "preferences of probability 0.9 with a margin of 1",
        "metric": "lead of chosen beyond that without a margin",
        "right": float(right - plain),
        "broken": float(broken - plain),
        "broken_variant": "margin of the wrong sign",
    }


def strength() -> Planted:
    """60 weak preferences (strength 1) for one side, 40 strong ones (3) for the other: 120 against 60 in all."""
    side = torch.tensor([-1.0] * 60 + [1.0] * 40, dtype=torch.float64)
    strong = torch.tensor([1.0] * 60 + [3.0] * 40, dtype=torch.float64)

    def chance(scale: Tensor | None) -> float:
        zero = torch.zeros_like(side)
        return probability(
            fitted(lambda weights: bradley_terry_loss(side * weights, zero, strength=scale).mean(), 0.0)[0]
        )

    return {
        "name": "bradley_terry, strength: scaled",
        "what": "60 preferences of strength 1 against 40 of strength 3",
        "metric": "gap between the model's probability and the share of the strength, 2/3",
        "right": abs(chance(strong) - 2 / 3),
        "broken": abs(chance(None) - 2 / 3),
        "broken_variant": "strengths left out",
    }


def smoothing() -> Planted:
    """A tenth of the labels is taken to be flipped: a sure preference becomes one of 0.9."""
    return {
        "name": "bradley_terry, label_smoothing",
        "what": "preferences that all agree, smoothed by 0.1",
        "metric": "gap between the model's probability and 0.9",
        "right": abs(probability(lead(lambda c, r: bradley_terry_loss(c, r, label_smoothing=0.1))) - 0.9),
        "broken": abs(probability(lead(lambda c, r: bradley_terry_loss(r, c, label_smoothing=0.1))) - 0.9),
        "broken_variant": "ε on the wrong side",
    }


def flipped_labels() -> Planted:
    """Thirty of a hundred labels are flipped; the unbiased form finds the clean weights."""
    features = drawn_pairs(TRUTH, 60_000, seed=3)
    flips = uniform(drawn(4), len(features)) < 0.3
    features = torch.where(flips[:, None, None], features.flip(1), features)
    right = fitted_weights(features, lambda c, r: bradley_terry_loss(c, r, flip_rate=0.3))
    broken = fitted_weights(features, lambda c, r: bradley_terry_loss(c, r, label_smoothing=0.3))
    return {
        "name": "bradley_terry, flip_rate",
        "what": "60,000 preferences, 30 % of them flipped",
        "metric": "largest error of the four weights",
        "right": farthest(right, TRUTH),
        "broken": farthest(broken, TRUTH),
        "broken_variant": "smoothing in place of the unbiased form",
    }


def group_weight() -> Planted:
    """Ten groups of nine responses (36 pairs each) say one thing, a hundred groups of two another."""
    side = torch.tensor([-1.0] * 360 + [1.0] * 100, dtype=torch.float64)
    share = torch.tensor([1 / 36] * 360 + [1.0] * 100, dtype=torch.float64)

    def chance(weight: Tensor) -> float:
        def loss(found: Tensor) -> Tensor:
            return (bradley_terry_loss(side * found, torch.zeros_like(side)) * weight).sum() / weight.sum()

        return probability(fitted(loss, 0.0)[0])

    return {
        "name": "bradley_terry, weight: group",
        "what": "10 groups of K = 9 against 100 groups of K = 2, all pairs",
        "metric": "gap between the model's probability and the share of the groups, 100/110",
        "right": abs(chance(share) - 100 / 110),
        "broken": abs(chance(torch.ones_like(share)) - 100 / 110),
        "broken_variant": "every pair weighs 1",
    }


def centering() -> Planted:
    """Preferences leave the mean reward free; it starts at 5 and should come to 0."""
    features = drawn_pairs(TRUTH, 2000, seed=5)

    def mean_reward(penalty) -> float:
        def rewards(weights: Tensor) -> Tensor:
            return features @ weights[:-1] + weights[-1]

        def loss(weights: Tensor) -> Tensor:
            chosen, rejected = rewards(weights).unbind(1)
            return (bradley_terry_loss(chosen, rejected) + 0.01 * penalty(chosen, rejected)).mean()

        return abs(float(rewards(fitted(loss, 0.0, 0.0, 0.0, 0.0, 5.0)).mean()))

    return {
        "name": "bradley_terry, centering",
        "what": "a reward with a free offset that starts at 5",
        "metric": "absolute mean reward",
        "right": mean_reward(reward_centering_penalty),
        "broken": mean_reward(lambda c, r: (c - r).square()),
        "broken_variant": "squared difference in place of the squared sum",
    }


def language_model() -> Planted:
    """Chosen texts use the first half of eight words, rejected ones the second; the LM must stay on the chosen."""
    generator = drawn(6)
    words = torch.stack(
        [torch.randint(0, 4, (200,), generator=generator), torch.randint(4, 8, (200,), generator=generator)]
    )
    owner = torch.arange(2).repeat_interleave(200)

    def loss_on(response: int) -> float:
        def loss(logits: Tensor) -> Tensor:
            likelihood = torch.log_softmax(logits, 0)[words.flatten()]
            return language_model_loss(likelihood, owner, 2)[response] + 1e-3 * logits.square().sum()

        found = torch.log_softmax(fitted(loss, *[0.0] * 8), 0)
        return float(-found[words[0]].mean())

    return {
        "name": "bradley_terry, sft",
        "what": "chosen texts over four words of eight; a unigram language model",
        "metric": f"nats per token of the chosen texts (least: log 4 = {math.log(4):.3f})",
        "right": loss_on(0),
        "broken": loss_on(1),
        "broken_variant": "SFT on the rejected response",
    }


EXPERIMENTS = (
    batch_sum,
    broadcast,
    soft_labels,
    margin,
    strength,
    smoothing,
    flipped_labels,
    group_weight,
    centering,
    language_model,
)
