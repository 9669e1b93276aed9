"""Planted signals for semi-supervised training: the pseudo-label of a pair must be applied to it."""

from __future__ import annotations

import dataclasses
from functools import cache

import torch
from torch import Tensor

from plaudit.data.schema.group import Group, Preference, conversation
from plaudit.labeling.pseudo_label import PseudoTally, pseudo_labelled
from plaudit.objectives.pairwise import bradley_terry_loss
from plaudit.scoring.function import FunctionScorer

from .fits import Planted, drawn, fitted, normal, uniform

WIDTH, LABELLED, UNLABELLED, ROUNDS = 100, 30, 1000, 3
RIDGE = 0.02
"""Coefficient of the squared weights; without it thirty pairs in a hundred dimensions are fitted with any lead."""


@cache
def pairs(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Features [pair, response, feature], and [pair] which response is better; either stands first as often.

    One direction of the features tells the better response by ±1 on each side, and all others are noise.
    """
    generator = drawn(seed)
    features = normal(generator, count, 2, WIDTH)
    better = (uniform(generator, count) < 0.5).long()
    side = torch.ones(count, 2, dtype=torch.float64)
    side[torch.arange(count), 1 - better] = -1.0
    features[:, :, 0] = side + 0.5 * features[:, :, 0]
    return features, better


def fitted_reward(leads: Tensor) -> Tensor:
    """The weights of a linear reward fitted to [pair, feature] chosen less rejected."""

    def loss(weights: Tensor) -> Tensor:
        lead = leads @ weights
        return bradley_terry_loss(lead, torch.zeros_like(lead)).mean() + RIDGE * weights.square().sum()

    return fitted(loss, *[0.0] * WIDTH)


def kept_pairs(weights: Tensor, *, applied: bool) -> tuple[Tensor, float]:
    """The leads [pair, feature] of the pseudo-labelled pairs, and the share of them that point to the better response.

    ``applied=False`` is what public code does: the pairs are chosen by confidence, and written in their old order.
    """
    features, better = pairs(UNLABELLED, seed=1)
    rewards = (features @ weights).tolist()

    def scorer(prompt, responses) -> list[float]:
        return [rewards[int(pair)][int(side)] for pair, side in map(str.split, responses)]

    groups = [
        Group(conversation(f"prompt {k}"), (f"{k} 0", f"{k} 1"), (Preference(best, 1 - best),), id=str(k))
        for k, best in enumerate(better.tolist())
    ]
    found = list(pseudo_labelled(FunctionScorer(scorer), groups, model="planted", temperature=1.0, tally=PseudoTally()))
    if not applied:
        found = [dataclasses.replace(group, preferences=(Preference(0, 1),)) for group in found]
    rows = torch.tensor([int(group.id) for group in found], dtype=torch.long)
    chosen = torch.tensor([group.preferences[0].chosen for group in found], dtype=torch.long)
    leads = features[rows, chosen] - features[rows, 1 - chosen]
    return leads, float((chosen == better[rows]).double().mean())


@cache
def self_training(*, applied: bool) -> tuple[float, float]:
    """The accuracy of the first round's kept pseudo-labels, and that of the last round's reward on fresh pairs."""
    labelled = labelled_leads()
    weights, right = fitted_reward(labelled), []
    for _ in range(ROUNDS):
        leads, share = kept_pairs(weights, applied=applied)
        right.append(share)
        weights = fitted_reward(torch.cat([labelled, leads]))
    return right[0], fresh_accuracy(weights)


def labelled_leads() -> Tensor:
    """The leads [pair, feature] of the labelled pairs."""
    features, better = pairs(LABELLED, seed=0)
    row = torch.arange(LABELLED)
    return features[row, better] - features[row, 1 - better]


def fresh_accuracy(weights: Tensor) -> float:
    """The share of fresh pairs whose better response has the higher reward."""
    features, better = pairs(10_000, seed=2)
    return float(((features @ weights).argmax(1) == better).double().mean())


def supervised_accuracy() -> float:
    """The accuracy on fresh pairs of the reward fitted to the labelled pairs alone."""
    return fresh_accuracy(fitted_reward(labelled_leads()))


def pseudo_labels() -> Planted:
    """The pseudo-labels themselves: are they what the model says?"""
    return {
        "name": "ssrm",
        "what": f"{UNLABELLED} unlabelled pairs in arbitrary order, those of confidence ≥ 0.8 kept",
        "metric": "share of kept pseudo-labels that point to the better response",
        "right": self_training(applied=True)[0],
        "broken": self_training(applied=False)[0],
        "broken_variant": "pseudo-labels not applied: kept pairs in their original order",
    }


def rounds() -> Planted:
    """What they are for: a better reward than the labelled pairs alone give."""
    return {
        "name": "ssrm, three rounds",
        "what": f"{LABELLED} labelled and {UNLABELLED} unlabelled pairs; one feature of {WIDTH} tells",
        "metric": f"accuracy on fresh pairs (labelled pairs alone: {supervised_accuracy():.3f})",
        "right": self_training(applied=True)[1],
        "broken": self_training(applied=False)[1],
        "broken_variant": "pseudo-labels not applied: kept pairs in their original order",
    }


EXPERIMENTS = (pseudo_labels, rounds)
