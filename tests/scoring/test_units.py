"""What the rewards of each kind of scorer are, from its recipe and its settings alone."""

from __future__ import annotations

import json

import pytest

from plaudit.models.checkpoint.recipe import ScoringRecipe, read_recipe
from plaudit.models.heads.kinds import head_of
from plaudit.models.heads.language_model import LanguageModelHead
from plaudit.scoring.ensemble import EnsembleScorer, Scale
from plaudit.scoring.function import FunctionScorer
from plaudit.scoring.implicit import ImplicitRewardScorer
from plaudit.scoring.scorer import ScorerInfo


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


class OfScale:
    """A scorer of which only the scale of its rewards is there."""

    def __init__(self, scale) -> None:
        self.info = ScorerInfo(scale=scale)

    def score_groups(self, groups):
        raise AssertionError("nothing is to be scored here")


STEPS = {"head": "token", "classes": (0.0, 1.0)}
RATINGS = {"head": "attributes", "attributes": ("clarity", "depth")}


@pytest.mark.parametrize(
    ("fields", "scale"),
    [
        ({}, "assumed_log_odds_differences"),
        ({"head": "odin"}, "assumed_log_odds_differences"),
        (RATINGS, "ratings"),
        ({"head": "token"}, "log_odds_values"),
        (STEPS | {"aggregation": "min"}, "probabilities"),
        (STEPS | {"aggregation": "mean_logit"}, "probabilities"),
        (STEPS | {"aggregation": "log_odds"}, "assumed_log_odds_differences"),
        (STEPS | {"aggregation": "mean_odds"}, "order"),
    ],
)
def test_the_head_and_the_aggregation_say_what_the_rewards_are(fields, scale):
    assert head_of(recipe(**fields)).scale == scale


@pytest.mark.parametrize("scale", ["log_odds_values", "log_odds_differences", "order"])
def test_a_scalar_head_of_known_training_says_what_the_recipe_says(scale):
    assert head_of(recipe(reward_scale=scale)).scale == scale
    assert head_of(recipe(reward_scale=scale, head="odin")).scale == scale


@pytest.mark.parametrize(("trained", "scale"), [(True, "log_odds_differences"), (False, "order"), (None, None)])
def test_a_recipe_of_before_keeps_its_hash_its_scale_and_its_rewards_of_steps(tmp_path, trained, scale):
    now = recipe(head="token", classes=(-1.0, 0.0, 1.0), reward_scale=scale, step_reward="highest")
    fields = now.model_dump(mode="json", exclude={"reward_scale", "step_reward"})
    (tmp_path / "plaudit.json").write_text(json.dumps(fields | {"trained_as_log_odds": trained}))
    found = read_recipe(tmp_path)
    assert found == now
    assert found.hash == now.hash != recipe(head="token", classes=(-1.0, 0.0, 1.0)).hash


def test_two_classes_have_one_hash_whatever_the_reward_of_a_step_is_called():
    assert recipe(**STEPS).hash == recipe(**STEPS, step_reward="highest").hash


def test_only_heads_of_steps_say_what_the_rewards_of_steps_are():
    assert [head_of(recipe(**each)).step_scale for each in (STEPS, {"head": "token"}, {})] == [
        "probabilities",
        None,
        None,
    ]


def test_an_implicit_reward_is_in_log_odds_only_as_a_whole_and_beside_its_reference(make_decoder):
    policy, reference = (make_decoder(head=LanguageModelHead(), num_layers=1, seed=seed) for seed in (0, 1))
    assert ImplicitRewardScorer(policy, reference).info.scale == "assumed_log_odds_differences"
    assert ImplicitRewardScorer(policy, reference, per_token="mean").info.scale == "order"
    assert ImplicitRewardScorer(policy, None).info.scale == "order"


def test_a_function_does_not_say_what_its_rewards_are():
    assert FunctionScorer(lambda prompt, responses: [0.0 for _ in responses]).info.scale is None


@pytest.mark.parametrize(
    ("members", "rule", "scale"),
    [
        (["assumed_log_odds_differences"] * 2, "mean", "assumed_log_odds_differences"),
        (["assumed_log_odds_differences"] * 2, "minimum", "order"),
        (["assumed_log_odds_differences"] * 2, "mean_minus_std", "order"),
        (["log_odds_values"] * 2, "mean", "log_odds_values"),
        (["log_odds_values", "log_odds_differences"], "mean", "log_odds_differences"),
        (["log_odds_values", "log_odds_differences"], "minimum", "order"),
        (["ratings"] * 2, "minimum", "ratings"),
        (["assumed_log_odds_differences", "ratings"], "mean", None),
        (["ratings", None], "mean", None),
        ([None, None], "mean", None),
    ],
)
def test_an_ensemble_keeps_the_scale_that_its_members_share_where_its_rule_does(members, rule, scale):
    assert EnsembleScorer([OfScale(each) for each in members], rule).info.scale == scale


def test_standardised_rewards_are_good_for_their_order_only():
    made = EnsembleScorer([OfScale("ratings"), OfScale(None)], scales=[Scale(0.0, 1.0), Scale(1.0, 2.0)])
    assert made.info.scale == "order"
