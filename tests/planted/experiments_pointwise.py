"""Planted signals for the objectives on single responses. Each function gives the right figure and a broken one."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from plaudit.objectives.pointwise import outcome_loss, regression_loss

from .fits import Planted, drawn, fitted, normal, uniform


def missing_ratings() -> Planted:
    """Ratings around 3; which attribute is there depends on the response, as when data sets are mixed."""
    generator = drawn(0)
    features = torch.cat([normal(generator, 2000, 3), torch.ones(2000, 1, dtype=torch.float64)], dim=1)
    truth = torch.tensor([[0.5, 0.2], [-0.3, 0.4], [0.0, -0.6], [3.0, 3.0]], dtype=torch.float64)
    clean = features @ truth
    rating = clean + 0.3 * normal(generator, 2000, 2)
    rating[features[:, 0] > 0, 1] = torch.nan
    rating[uniform(generator, 2000) < 0.3, 0] = torch.nan
    has_any = (~rating.isnan()).any(dim=1)

    def error(target: Tensor) -> float:
        def loss(weights: Tensor) -> Tensor:
            return regression_loss(features @ weights.view(4, 2), target)[has_any].mean()

        found = fitted(loss, *[0.0] * 8).view(4, 2)
        return float((features @ found - clean).square().mean().sqrt())

    return {
        "name": "regression",
        "what": "2,000 responses rated on two attributes, 40 % of the ratings missing",
        "metric": "root mean squared error of the predicted ratings, all attributes",
        "right": error(rating),
        "broken": error(rating.nan_to_num(0.0)),
        "broken_variant": "missing attributes read as 0",
    }


def scale() -> Planted:
    """One direction has to serve an attribute in percent and one from 0 to 1; in their own sizes both count alike."""
    generator = drawn(1)
    features = normal(generator, 2000, 2)
    sizes = torch.tensor([100.0, 1.0], dtype=torch.float64)
    rating = features * sizes

    def explained(scales: tuple[float, float] | None) -> float:
        def loss(weights: Tensor) -> Tensor:
            shared = features @ weights
            return regression_loss(shared[:, None] * sizes, rating, scale=scales).mean()

        shared = features @ fitted(loss, 0.1, 0.1)
        return min(float(torch.corrcoef(torch.stack([shared, rating[:, a]]))[0, 1]) for a in (0, 1))

    return {
        "name": "regression, scale",
        "what": "one direction for two attributes, of sizes 100 and 1",
        "metric": "correlation with the attribute that is served worse (best: 0.707)",
        "right": explained((100.0, 1.0)),
        "broken": explained(None),
        "broken_variant": "errors not divided by the size of the attribute",
    }


def soft_outcomes() -> Planted:
    """The share of sampled answers that came out right is a label of its own, not a vote."""
    share = torch.full((100,), 0.7, dtype=torch.float64)

    def chance(label: Tensor) -> float:
        logit = fitted(lambda z: outcome_loss(z.expand(100), label).mean() + 1e-6 * z.square().sum(), 0.0)
        return float(torch.sigmoid(logit))

    return {
        "name": "outcome, soft labels",
        "what": "outcomes with a label of 0.7",
        "metric": "gap between the model's probability and 0.7",
        "right": abs(chance(share) - 0.7),
        "broken": abs(chance(share.round()) - 0.7),
        "broken_variant": "soft labels rounded to hard ones",
    }


def unknown_outcomes() -> Planted:
    """Half of the outcomes are unknown, mostly the right ones."""
    generator = drawn(2)
    outcome = (uniform(generator, 2000) < 0.6).double()
    outcome[(outcome == 1) & (uniform(generator, 2000) < 0.5)] = torch.nan
    known = ~outcome.isnan()
    share = float(outcome[known].mean())

    def gap(label: Tensor, counted: Tensor) -> float:
        logit = fitted(lambda z: outcome_loss(z.expand(2000), label)[counted].mean(), 0.0)
        return abs(float(torch.sigmoid(logit)) - share)

    return {
        "name": "outcome",
        "what": "2,000 outcomes, a third of them unknown",
        "metric": "gap between the predicted and the true share of right among the known",
        "right": gap(outcome, known),
        "broken": gap(outcome.nan_to_num(0.0), torch.ones_like(known)),
        "broken_variant": "unknown outcomes read as wrong",
    }


def outcome_broadcast() -> Planted:
    """Logits [B, 1] against labels [B]: every response gets the mean label."""
    generator = drawn(3)
    features, truth = normal(generator, 500, 3), torch.tensor([2.0, -1.0, 0.5], dtype=torch.float64)
    outcome = (uniform(generator, 500) < torch.sigmoid(features @ truth)).double()
    fresh = normal(generator, 5000, 3)

    def agreement(loss_of) -> float:
        found = fitted(lambda weights: loss_of(features @ weights).mean(), 0.0, 0.0, 0.0)
        return float(((fresh @ found > 0) == (fresh @ truth > 0)).double().mean())

    return {
        "name": "outcome",
        "what": "500 outcomes drawn from a linear logit",
        "metric": "share of fresh responses on the right side",
        "right": agreement(lambda z: outcome_loss(z, outcome)),
        "broken": agreement(
            lambda z: F.binary_cross_entropy_with_logits(z[:, None].expand(500, 500), outcome.expand(500, 500))
        ),
        "broken_variant": "[B, 1] against [B], broadcast to [B, B]",
    }


def positive_weight() -> Planted:
    """One in ten is right; weighed by nine, right and wrong count alike."""
    outcome = torch.tensor([1.0] + [0.0] * 9, dtype=torch.float64)

    def chance(label: Tensor) -> float:
        logit = fitted(lambda z: outcome_loss(z.expand(10), label, positive_weight=9.0).mean(), 0.0)
        return float(torch.sigmoid(logit if label is outcome else -logit))

    return {
        "name": "outcome, positive_weight",
        "what": "one outcome in ten is right, weighed by 9",
        "metric": "gap between the model's probability and a balanced 0.5",
        "right": abs(chance(outcome) - 0.5),
        "broken": abs(chance(1 - outcome) - 0.5),
        "broken_variant": "weight on the wrong responses",
    }


EXPERIMENTS = (missing_ratings, scale, soft_outcomes, unknown_outcomes, outcome_broadcast, positive_weight)
