"""What the rewards of each kind of scorer are, from its recipe and its settings alone."""

from __future__ import annotations

import pytest

from plaudit.models.checkpoint.recipe import ScoringRecipe
from plaudit.scoring.ensemble import EnsembleScorer, Scale
from plaudit.scoring.function import FunctionScorer
from plaudit.scoring.implicit import ImplicitRewardScorer
from plaudit.scoring.local.engine import RewardScorer
from plaudit.scoring.local.pairwise import PairwiseScorer
from plaudit.scoring.units import reward_unit, unit_of_recipe


def recipe(**fields) -> ScoringRecipe:
    return ScoringRecipe(
        chat_template="",
        special_tokens=False,
        final_token=None,
        pad_token=0,
        vocabulary=8,
        max_length=8,
        truncation="drop",
        read_out="last_token",
        architecture="none",
        dtype="float32",
        **fields,
    )


class OfRecipe(RewardScorer):
    """A reward model of which only the recipe is there."""

    def __init__(self, **fields) -> None:
        self.recipe = recipe(**fields)


class Comparing(PairwiseScorer):
    """A model that compares responses, of which only the unit is there."""

    def __init__(self, unit) -> None:
        self.unit = unit


class Implicit(ImplicitRewardScorer):
    """An implicit reward, of which only the settings are there."""

    def __init__(self, reference, per_token) -> None:
        self.reference, self.per_token = reference, per_token


STEPS = {"head": "token", "classes": (0.0, 1.0)}
RATINGS = {"head": "attributes", "attributes": ("clarity", "depth")}


@pytest.mark.parametrize(
    ("fields", "unit"),
    [
        ({}, "assumed_log_odds"),
        ({"head": "odin"}, "assumed_log_odds"),
        (RATINGS, "ratings"),
        ({"head": "token"}, "log_odds"),
        (STEPS | {"aggregation": "min"}, "probabilities"),
        (STEPS | {"aggregation": "mean_logit"}, "probabilities"),
        (STEPS | {"aggregation": "log_odds"}, "assumed_log_odds"),
        (STEPS | {"aggregation": "mean_odds"}, "order"),
    ],
)
def test_the_head_and_the_aggregation_say_what_the_rewards_are(fields, unit):
    assert unit_of_recipe(recipe(**fields)) == unit
    assert reward_unit(OfRecipe(**fields)) == unit


def test_a_model_that_compares_gives_win_rates_until_it_is_asked_for_log_odds():
    assert reward_unit(Comparing("win_rate")) == "win_rates"
    assert reward_unit(Comparing("log_odds")) == "log_odds"


def test_an_implicit_reward_is_in_log_odds_only_as_a_whole_and_beside_its_reference():
    assert reward_unit(Implicit(object(), "sum")) == "assumed_log_odds"
    assert reward_unit(Implicit(object(), "mean")) == "order"
    assert reward_unit(Implicit(None, "sum")) == "order"


def test_a_function_does_not_say_what_its_rewards_are():
    assert reward_unit(FunctionScorer(lambda prompt, responses: [0.0 for _ in responses])) is None


@pytest.mark.parametrize(
    ("members", "rule", "unit"),
    [
        ([{}, {}], "mean", "assumed_log_odds"),
        ([{}, {}], "minimum", "order"),
        ([{}, {}], "mean_minus_std", "order"),
        ([RATINGS, RATINGS], "minimum", "ratings"),
        ([{}, RATINGS], "mean", None),
    ],
)
def test_an_ensemble_keeps_the_unit_that_its_members_share_where_its_rule_does(members, rule, unit):
    assert reward_unit(EnsembleScorer([OfRecipe(**fields) for fields in members], rule)) == unit


def test_standardised_rewards_are_good_for_their_order_only():
    made = EnsembleScorer([OfRecipe(), OfRecipe()], scales=[Scale(0.0, 1.0), Scale(1.0, 2.0)])
    assert reward_unit(made) == "order"
