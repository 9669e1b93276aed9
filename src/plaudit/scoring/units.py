"""What the rewards of a scorer are: log-odds, ratings, probabilities, or numbers of which only the order counts."""

from __future__ import annotations

from typing import assert_never

from plaudit.models.checkpoint.recipe import ScoringRecipe
from plaudit.records import RewardUnit
from plaudit.scoring.ensemble import EnsembleScorer
from plaudit.scoring.implicit import ImplicitRewardScorer
from plaudit.scoring.local.engine import RewardScorer
from plaudit.scoring.local.pairwise import PairwiseScorer
from plaudit.scoring.scorer import Scorer


def reward_unit(scorer: Scorer) -> RewardUnit | None:
    """Return what the rewards of ``scorer`` are, see ``RewardUnit``; None where nothing says so.

    Nothing says so of a Python function, a server, a file of rewards, a scorer of one's own, or an ensemble whose
    members are not of one kind. The implicit reward of a policy is assumed to be in log-odds where it is summed and has
    a reference: it is for the β that the policy was trained with.
    """
    match scorer:
        case RewardScorer():
            return unit_of_recipe(scorer.recipe)
        case PairwiseScorer():
            return "log_odds" if scorer.unit == "log_odds" else "win_rates"
        case ImplicitRewardScorer():
            whole = scorer.reference is not None and scorer.per_token == "sum"
            return "assumed_log_odds" if whole else "order"
        case EnsembleScorer():
            return _of_ensemble(scorer)
        case _:
            return None


def unit_of_recipe(recipe: ScoringRecipe) -> RewardUnit:
    """Return what the rewards of a model with this recipe are, that scores each response by itself.

    Objectives of preferences, ranks and outcomes give a scalar head log-odds, but a margin or smoothing changes them:
    plaudit's training says which in the recipe. A head of another origin may be a regression.
    """
    match recipe.head:
        case "scalar" | "odin":
            said = recipe.trained_as_log_odds
            return "assumed_log_odds" if said is None else "log_odds" if said else "order"
        case "attributes" | "gated":
            return "ratings"
        case "token" | "language_model" if not recipe.reads_steps:
            # the logit of "right": of two responses, one of them right, σ of the difference says which
            return "log_odds"
        case "token" | "language_model":
            return _of_steps(recipe)
        case _:
            assert_never(recipe.head)


def _of_steps(recipe: ScoringRecipe) -> RewardUnit:
    match recipe.aggregation:
        case "last" | "mean" | "min" | "product" | "max" | "geometric_mean" | "mean_logit":
            return "probabilities"
        case "log_odds":
            return "assumed_log_odds"
        case "mean_odds":
            return "order"
        case _:
            assert_never(recipe.aggregation)


def _of_ensemble(ensemble: EnsembleScorer) -> RewardUnit | None:
    """Return the one unit of all members: a cautious rule keeps ratings and probabilities, and unmakes log-odds."""
    if ensemble.scales is not None:
        return "order"
    units = {reward_unit(member) for member in ensemble.members}
    if len(units) > 1:
        return None
    (unit,) = units
    are_log_odds = unit in ("log_odds", "assumed_log_odds")
    return "order" if are_log_odds and ensemble.rule != "mean" else unit
