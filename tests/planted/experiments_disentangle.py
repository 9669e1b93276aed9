"""Planted signals for ODIN. Each function gives the right figure and a broken one."""

from __future__ import annotations

import torch
from torch import Tensor

from plaudit.objectives.config import Odin
from plaudit.objectives.disentangle import correlation, length_loss
from plaudit.objectives.objective import BatchLabels, OptimizerStepRewards, PairLabels, Rewards
from plaudit.objectives.pairwise import bradley_terry_loss

from .fits import Planted, adapted, drawn, normal, uniform

PAIRS = 1000


def pair_labels(length: Tensor) -> BatchLabels:
    """Labels of groups of two responses, the first of them chosen."""
    count = len(length) // 2
    nothing = torch.zeros(0)
    return BatchLabels(
        pairs=PairLabels(
            chosen=torch.arange(0, 2 * count, 2),
            rejected=torch.arange(1, 2 * count, 2),
            margin=torch.zeros(count),
            probability=torch.ones(count),
            weight=torch.ones(count),
        ),
        group=torch.arange(count).repeat_interleave(2),
        rank=torch.zeros(2 * count, dtype=torch.int64),
        outcome=torch.full((2 * count,), torch.nan),
        ratings=torch.zeros(2 * count, 0),
        length=length.long(),
        step_response=nothing.long(),
        step_label=nothing,
        step_repeats=nothing.bool(),
        token_response=nothing.long(),
    )


def drawn_texts(seed: int, *, odd: bool = False):
    """Features [response, (quality, length, third)] and lengths of pairs preferred for quality and for length alike.

    Responses of one pair stand side by side, the chosen one first. The third feature carries quality and length
    together; an ``odd`` one means nothing and has heavy tails.
    """
    generator = drawn(seed)
    quality, length = normal(generator, PAIRS, 2), normal(generator, PAIRS, 2)
    third = 0.7 * quality + 0.7 * length + 0.2 * normal(generator, PAIRS, 2)
    if odd:
        third = normal(generator, PAIRS, 2) / normal(generator, PAIRS, 2).abs().clamp(min=1e-3)
    lead = 1.5 * (quality + length) @ torch.tensor([1.0, -1.0], dtype=torch.float64)
    features = torch.stack([quality, length, third], dim=2)
    first_wins = uniform(generator, PAIRS) < torch.sigmoid(lead)
    features = torch.where(first_wins[:, None, None], features, features.flip(1)).flatten(0, 1)
    return features, (100 + 20 * features[:, 1]).round()


def correlated(x: Tensor, y: Tensor) -> float:
    """Pearson's correlation."""
    return float(torch.corrcoef(torch.stack([x, y]))[0, 1])


def fitted_heads(features: Tensor, loss_of) -> Tensor:
    """Weights [head, feature] of two linear heads; the loss takes their rewards and themselves."""

    def loss(weights: Tensor) -> Tensor:
        heads = weights.view(2, 3)
        return loss_of(features @ heads.T, heads)

    return adapted(loss, 0.1, 0.1, 0.1, -0.1, 0.2, 0.1).view(2, 3)


def odin_loss(lengths: Tensor, **options: float):
    """The loss of a whole step under the objective."""
    objective, labels = Odin(**options), pair_labels(lengths)

    def loss(attributes: Tensor, heads: Tensor) -> Tensor:
        return objective(Rewards(attributes=attributes, head_weight=heads), labels).losses.mean()

    return loss


def one_wrong_pair() -> Planted:
    """Fifteen pairs are right by 2, one is wrong by 3: that one must be pushed."""
    lead = torch.tensor([2.0] * 15 + [-3.0], dtype=torch.float64)

    def push(loss_of) -> float:
        found = lead.clone().requires_grad_()
        loss_of(found, torch.zeros_like(found)).sum().backward()
        assert found.grad is not None
        return abs(float(found.grad[-1]))

    return {
        "name": "odin, ranking term",
        "what": "15 pairs right by 2, one wrong by 3",
        "metric": "gradient on the wrong pair (σ(3) = 0.953)",
        "right": push(bradley_terry_loss),
        "broken": push(lambda c, r: bradley_terry_loss(c.sum()[None], r.sum()[None])),
        "broken_variant": "loss over the sum of the batch",
    }


def quality_of_pairs() -> Planted:
    """The same, fitted: the quality head must order fresh pairs by quality."""
    features, lengths = drawn_texts(seed=0, odd=True)
    fresh, _ = drawn_texts(seed=1, odd=True)
    order = torch.sign(fresh[0::2, 0] - fresh[1::2, 0])

    def accuracy(heads: Tensor) -> float:
        reward = fresh @ heads[0]
        return float((torch.sign(reward[0::2] - reward[1::2]) == order).double().mean())

    def batch_summed(attributes: Tensor, heads: Tensor) -> Tensor:
        total = attributes.sum(1)
        step = OptimizerStepRewards(attributes.detach(), lengths, torch.ones(()))
        ranking = bradley_terry_loss(total[0::2].sum()[None], total[1::2].sum()[None])[0]
        return ranking + length_loss(attributes, lengths, step).sum()

    return {
        "name": "odin",
        "what": "1,000 pairs preferred for quality and for length alike; an odd feature of heavy tails means nothing",
        "metric": "share of fresh pairs that the quality head orders by quality",
        "right": accuracy(fitted_heads(features, odin_loss(lengths))),
        "broken": accuracy(fitted_heads(features, batch_summed)),
        "broken_variant": "ranking loss over the sum of the batch",
    }


def length_of_quality() -> Planted:
    """The quality head must neither like length nor dislike it."""
    features, lengths = drawn_texts(seed=0)

    def signed(attributes: Tensor, heads: Tensor) -> Tensor:
        total = attributes.sum(1)
        slope = [correlation(attributes[:, c], lengths).derivative(attributes[:, c].detach(), lengths) for c in (0, 1)]
        term = (slope[0] * attributes[:, 0]).sum() - (slope[1] * attributes[:, 1]).sum()
        value = correlation(attributes[:, 0], lengths).value - correlation(attributes[:, 1], lengths).value
        ranking = bradley_terry_loss(total[0::2], total[1::2]).mean()
        return ranking + term - term.detach() + value

    def found(loss_of) -> float:
        return abs(correlated(features @ fitted_heads(features, loss_of)[0], lengths))

    return {
        "name": "odin, length",
        "what": "1,000 pairs preferred for quality and for length alike",
        "metric": "absolute correlation of the quality head with length",
        "right": found(odin_loss(lengths)),
        "broken": found(signed),
        "broken_variant": "ρ in place of its absolute value: the shorter the better",
    }


def whole_step() -> Planted:
    """Memory cuts the step into micro-batches of one pair, where two points always correlate perfectly."""
    features, lengths = drawn_texts(seed=0)

    def by_pair(attributes: Tensor, heads: Tensor) -> Tensor:
        total = attributes.sum(1)
        rows, size = attributes.view(-1, 2, 2), lengths.view(-1, 2, 1)
        centred, long = rows - rows.mean(1, keepdim=True), size - size.mean(1, keepdim=True)
        rho = (centred * long).sum(1) / (centred.norm(dim=1) * long.norm(dim=1)).clamp(min=1e-8)
        return bradley_terry_loss(total[0::2], total[1::2]).mean() + (rho[:, 0].abs() - rho[:, 1]).mean()

    def found(loss_of) -> float:
        return abs(correlated(features @ fitted_heads(features, loss_of)[0], lengths))

    return {
        "name": "odin, length",
        "what": "1,000 pairs preferred for quality and for length alike",
        "metric": "absolute correlation of the quality head with length",
        "right": found(odin_loss(lengths)),
        "broken": found(by_pair),
        "broken_variant": "correlation of each micro-batch (one pair) in place of the step",
    }


def overlap() -> Planted:
    """Two heads that may share directions do."""
    features, lengths = drawn_texts(seed=0)

    def cosine(loss_of) -> float:
        heads = fitted_heads(features, loss_of)
        return abs(float(torch.cosine_similarity(heads[0], heads[1], dim=0)))

    return {
        "name": "odin, orthogonality",
        "what": "1,000 pairs; a third feature carries quality and length together",
        "metric": "absolute cosine of the two heads' weights",
        "right": cosine(odin_loss(lengths)),
        "broken": cosine(odin_loss(lengths, orthogonality=0.0)),
        "broken_variant": "orthogonal term left out, as shipped",
    }


EXPERIMENTS = (one_wrong_pair, quality_of_pairs, length_of_quality, whole_step, overlap)
