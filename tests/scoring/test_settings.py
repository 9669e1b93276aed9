"""Another longest conversation and another truncation: checked, in the hash, exact, and counted with the rewards."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from plaudit.batching.batch import build_batch
from plaudit.batching.prefix_tree import build_prefix_tree
from plaudit.batching.tokens import TokenGroup
from plaudit.batching.truncation import PROMPT_TOO_LONG, RESPONSES_CUT, Truncation
from plaudit.data.schema.group import Group, conversation
from plaudit.errors import ConfigError, ModelError
from plaudit.models.heads.language_model import COMPARISON, LanguageModelHead
from plaudit.models.heads.token import TokenHead
from plaudit.models.parity import choose_layout
from plaudit.scoring.ensemble import EnsembleScorer
from plaudit.scoring.function import FunctionScorer
from plaudit.scoring.implicit import ImplicitRewardScorer
from plaudit.scoring.local.chunks import IDENTICAL_RESPONSES
from plaudit.scoring.local.engine import RewardScorer
from plaudit.scoring.local.pairwise import PairwiseScorer
from plaudit.scoring.scorer import GroupRewards, ResponseTruncation, with_lengths

SAME = "cat dog " * 80


@pytest.fixture
def scorer(make_decoder):
    def make(layout="shared_prefix", **changes):
        model = make_decoder(**changes)
        choose_layout(model, layout)
        return RewardScorer(model)

    return make


def cut_scorer(scorer, layout="shared_prefix", max_length=None):
    return with_lengths(scorer(layout), max_length, "truncate_response", name="m")


def reward_of_ids(model, ids):
    import numpy as np

    group = TokenGroup(index=0, tree=build_prefix_tree([ids]), response_start=np.zeros(1, dtype=np.int32))
    batch = build_batch([group], layout=model.layout, pad_id=model.recipe.pad_token)
    with torch.inference_mode():
        return model(batch).response.item()


@pytest.mark.parametrize("layout", ["shared_prefix", "padded"])
def test_a_cut_response_has_the_reward_of_the_hand_cut_ids_and_the_others_their_own(scorer, layout):
    import numpy as np

    made = cut_scorer(scorer, layout)
    group = Group(conversation("hi"), ("red " * 150, "no", "blue tree " * 90), id="g")
    (found,) = made.score_groups([group])
    texts = made.model.recipe.encoder(made.model.tokenizer).texts(group)
    ids = [made.model.tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    wanted = [reward_of_ids(made.model, np.asarray(each[:128], dtype=np.int32)) for each in ids]
    assert found.rewards == pytest.approx(wanted, abs=2e-6)
    assert found.reason is None
    assert found.truncation == ResponseTruncation((len(ids[0]) - 128, 0, len(ids[2]) - 128), 0)
    assert made.report.changed[RESPONSES_CUT] == 2
    # without the policy the two long ones have no reward, and the short one has the same
    (before,) = scorer(layout).score_groups([group])
    assert before.rewards == (None, pytest.approx(wanted[1], abs=2e-6), None)
    assert before.truncation is None


def test_rewards_of_what_is_not_cut_are_unchanged_bit_for_bit(scorer, make_groups):
    groups = make_groups(8)
    plain, cutting = scorer(), cut_scorer(scorer)
    assert [each.rewards for each in plain.score_groups(groups)] == [
        each.rewards for each in cutting.score_groups(groups)
    ]
    assert all(each.truncation is None for each in cutting.score_groups(groups))


def test_responses_that_the_cut_makes_identical_share_a_reward_and_are_counted(scorer):
    made = cut_scorer(scorer)
    group = Group(conversation("hi"), (SAME + "good", SAME + "bad", "no", SAME + "better"), id="g")
    (found,) = made.score_groups([group])
    assert found.rewards[0] == found.rewards[1] == found.rewards[3] != found.rewards[2]
    cut = found.truncation
    assert cut is not None
    assert cut.identical == 2
    assert made.report.changed[IDENTICAL_RESPONSES] == 2


def test_a_prompt_that_leaves_no_room_leaves_no_reward_and_says_so(scorer):
    (found,) = cut_scorer(scorer).score_groups([Group(conversation("how " * 200), ("yes", "no"), id="g")])
    assert (found.rewards, found.reason) == ((None, None), PROMPT_TOO_LONG)


def test_a_prompt_cut_from_the_left_is_told_with_the_rewards_too(scorer):
    made = scorer()
    group = Group(conversation("red cat " * 60), ("yes", "blue dog " * 20), id="g")
    (found,) = made.score_groups([group])
    texts = made.model.recipe.encoder(made.model.tokenizer).texts(group)
    lengths = [len(made.model.tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts]
    assert found.truncation == ResponseTruncation(tuple(max(0, each - 128) for each in lengths))
    assert made.report.changed["prompt tokens cut"] == sum(max(0, each - 128) for each in lengths)


def test_what_was_cut_is_told_of_implicit_rewards_and_of_comparisons_too(make_decoder):
    group = Group(conversation("red cat " * 64), ("yes", "blue dog"), id="g")
    implicit = ImplicitRewardScorer(make_decoder(head=LanguageModelHead()), None)
    (found,) = implicit.score_groups([group])
    assert found.truncation.tokens[1] > found.truncation.tokens[0] > 0
    assert implicit.report.changed["prompt tokens cut"] == sum(found.truncation.tokens)
    comparing = PairwiseScorer(make_decoder(head=COMPARISON))
    short = Group(conversation("hi"), group.responses, id="short")
    found, uncut = comparing.score_groups([group, short])
    # both orders of the one pair lose as many tokens
    assert found.truncation.tokens == (comparing.report.changed["prompt tokens cut"] // 2,) * 2
    assert uncut.truncation is None


def test_rewards_with_a_cut_equal_the_same_ones_without(scorer):
    (found,) = cut_scorer(scorer).score_groups([Group(conversation("hi"), (SAME,), id="g")])
    assert found == GroupRewards(id="g", rewards=found.rewards)
    assert GroupRewards(id="g", rewards=found.rewards) == found
    assert found != GroupRewards(id="g", rewards=(None,))


def test_the_longest_conversation_is_checked_against_the_positions_and_stands_in_recipe_and_hash(scorer):
    plain = scorer()
    with pytest.raises(ConfigError, match="max_length is 129, but m has positions for 128 tokens only"):
        with_lengths(scorer(), 129, None, name="m")
    with pytest.raises(ConfigError, match="max_length is 1; it must be at least 2"):
        with_lengths(scorer(), 1, None, name="m")
    shorter = with_lengths(scorer(), 64, None, name="m")
    assert (shorter.info.settings["max_length"], shorter.info.settings["truncation"]) == (64, "truncate_prompt")
    dropping = with_lengths(scorer(), 64, "drop", name="m")
    hashes = {each.info.recipe_hash for each in (plain, shorter, dropping)}
    assert len(hashes) == 3
    (found,) = dropping.score_groups([Group(conversation("hi"), ("yes", "red " * 80), id="g")])
    assert found.rewards[1] is None
    assert found.reason == "longer than max_length"
    assert with_lengths(plain, None, None, name="m") is plain


def test_a_recipe_of_a_model_with_room_is_raised_to_it_and_no_further(make_decoder):
    model = make_decoder()
    model.recipe = model.recipe.model_copy(update={"max_length": 40})
    group = Group(conversation("hi"), ("red " * 80,), id="g")
    assert RewardScorer(model).score_groups([group]).__next__().rewards == (None,)
    raised = with_lengths(RewardScorer(model), 128, None, name="m")
    assert raised.score_groups([group]).__next__().rewards[0] is not None


def test_models_that_read_what_would_be_cut_refuse_it(make_decoder):
    steps = RewardScorer(make_decoder(head=TokenHead(classes=(0.0, 1.0))), aggregation="min")
    with pytest.raises(ConfigError, match="m: truncation is truncate_response, but a model of rewards of steps reads"):
        with_lengths(steps, None, "truncate_response", name="m")
    shorter = with_lengths(steps, 64, None, name="m")
    assert shorter.info.settings["aggregation"] == "min"


def test_an_ensemble_changes_its_members_and_cannot_cut_responses(scorer):
    pair = EnsembleScorer([scorer(), scorer(seed=1)], "minimum", names=["a", "b"])
    changed = with_lengths(pair, 64, "drop", name="ensemble")
    found = changed.info.settings
    assert found["rule"] == "minimum"
    assert [each["max_length"] for each in found["members"].values()] == [64, 64]
    assert changed.info.recipe_hash != pair.info.recipe_hash
    with pytest.raises(ConfigError, match="ensemble puts members together that may be cut differently"):
        with_lengths(pair, None, "truncate_response", name="ensemble")


def test_what_has_no_recipe_refuses_both(scorer):
    function = FunctionScorer(lambda prompt, responses: [0.0] * len(responses))
    with pytest.raises(ConfigError, match="lengths:reward has no scoring recipe here"):
        with_lengths(function, 64, None, name="lengths:reward")
    mixed = EnsembleScorer([scorer(), function], names=["a", "lengths:reward"])
    with pytest.raises(ConfigError, match="lengths:reward has no scoring recipe here"):
        with_lengths(mixed, 64, None, name="ensemble")
    assert function.info.settings == {}


def test_no_model_is_trained_by_a_recipe_that_cuts_responses(make_decoder):
    model = make_decoder()
    recipe = model.recipe.with_lengths(None, "truncate_response")
    with pytest.raises(ModelError, match="which is for evaluation; train with another"):
        recipe.encoder(model.tokenizer, for_training=True)
    assert recipe.encoder(model.tokenizer).truncation == "truncate_response"


def test_the_command_line_offers_the_truncations_of_the_recipe():
    from plaudit.cli.options import ModelChanges, TruncationOption

    (literal, _) = get_args(get_args(TruncationOption)[0])
    assert set(get_args(literal)) == set(get_args(Truncation))
    assert ModelChanges(max_length=64, truncation="drop").given == {"--max-length": "64", "--truncation": "drop"}


def test_the_window_of_a_scorer_is_the_number_of_groups_that_it_batches_together(scorer, monkeypatch):
    monkeypatch.setattr("plaudit.scoring.local.engine.WINDOW", 8)
    function = FunctionScorer(lambda prompt, responses: [0.0] * len(responses))
    assert scorer().info.window == 8
    assert function.info.window == 1
    assert EnsembleScorer([function, function]).info.window == 1
    assert EnsembleScorer([function, scorer()]).info.window == 256


def test_every_setting_in_the_hash_of_implicit_rewards_is_told(make_decoder):
    policy = make_decoder(head=LanguageModelHead())
    lines, steps = (ImplicitRewardScorer(policy, None, step_separator=each) for each in ("\n", "|"))
    assert lines.info.recipe_hash != steps.info.recipe_hash
    assert lines.info.settings != steps.info.settings
