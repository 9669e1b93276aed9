"""A reward model as a scorer: in order, streaming, honest about what it cannot score."""

from __future__ import annotations

import math

import pytest
import torch

from plaudit.data.schema.group import Group, conversation
from plaudit.models.parity import choose_layout
from plaudit.scoring.local import chunks as parts
from plaudit.scoring.local.engine import WINDOW, RewardScorer


@pytest.fixture
def scorer(make_decoder):
    def make(layout="shared_prefix", max_tokens=4096, **changes):
        model = make_decoder(**changes)
        choose_layout(model, layout)
        return RewardScorer(model, max_tokens=max_tokens)

    return make


def all_rewards(scorer, groups):
    return [each.rewards for each in scorer.score_groups(groups)]


def close(found, wanted, tolerance=2e-6):
    assert [len(each) for each in found] == [len(each) for each in wanted]
    for a, b in zip(found, wanted, strict=True):
        assert a == pytest.approx(b, abs=tolerance)


def test_rewards_come_in_the_order_of_the_groups_and_of_their_responses(scorer, make_groups):
    made, groups = scorer(), make_groups(12)
    together = list(made.score_groups(groups))
    assert [each.id for each in together] == [group.id for group in groups]
    close([each.rewards for each in together], [made.score(group.prompt, group.responses) for group in groups])
    turned = list(made.score_groups(groups[::-1]))
    close([each.rewards for each in turned[::-1]], [each.rewards for each in together])


@pytest.mark.parametrize("layout", ["shared_prefix", "packed", "padded"])
@pytest.mark.parametrize("max_tokens", [1, 37, 4096])
def test_rewards_do_not_depend_on_layout_or_memory(scorer, make_groups, layout, max_tokens):
    groups = make_groups(8)
    wanted = all_rewards(scorer("padded"), groups)
    close(all_rewards(scorer(layout, max_tokens), groups), wanted)


def test_it_never_reads_further_ahead_than_its_window(scorer, make_groups):
    read = []

    def stream():
        for group in make_groups(2 * WINDOW + 5, responses=(1, 1), words=(1, 3)):
            read.append(group.id)
            yield group

    iterator = scorer().score_groups(stream())
    assert read == []
    first = next(iterator)
    assert (first.id, len(read)) == ("g0", WINDOW)
    for _ in range(WINDOW):
        next(iterator)
    assert len(read) == 2 * WINDOW
    assert len(list(iterator)) == WINDOW + 4
    assert len(read) == 2 * WINDOW + 5


def test_a_response_that_is_too_long_gets_none_and_the_reason_and_the_others_their_rewards(scorer, make_groups):
    long = Group(conversation("hi"), ("cat " * 300, "no"), id="long")
    groups = [*make_groups(2), long, *make_groups(1, seed=3)]
    made = scorer()
    scored = list(made.score_groups(groups))
    assert scored[2].rewards == (None, pytest.approx(made.score("hi", ["no"])[0], abs=2e-6))
    assert scored[2].reason == "responses alone longer than max_length"
    assert all(reward is not None for each in (0, 1, 3) for reward in scored[each].rewards)
    assert [scored[each].reason for each in (0, 1, 3)] == [None] * 3
    assert made.report.dropped == {"responses alone longer than max_length": 1}
    with pytest.warns(UserWarning, match="responses alone longer than max_length"):
        assert made.score("hi", ["cat " * 300])[0] is None


@pytest.mark.parametrize("layout", ["shared_prefix", "padded"])
def test_a_reward_does_not_depend_on_a_longer_sibling(scorer, layout):
    made, prompt = scorer(layout), "red cat " * 12
    # the sibling alone exceeds the 128 tokens of the model together with the prompt, which "yes" does not
    (alone,) = made.score(prompt, ["yes"])
    assert made.report.changed == {}
    longer = "blue dog " * 52
    (long_alone,) = made.score(prompt, [longer])
    assert made.report.changed["conversations whose prompt was truncated from the left"] == 1
    for max_tokens in (1, 4096):
        split = scorer(layout, max_tokens)
        assert split.score(prompt, ["yes", longer]) == pytest.approx((alone, long_alone), abs=2e-6)
        assert split.score(prompt, [longer, "yes"]) == pytest.approx((long_alone, alone), abs=2e-6)
        beside = [Group(conversation(prompt), ("cat " * 300, "yes", longer), id="g")]
        (found,) = split.score_groups(beside)
        assert found.rewards == (None, pytest.approx(alone, abs=2e-6), pytest.approx(long_alone, abs=2e-6))
        assert found.reason == "responses alone longer than max_length"
        assert (split.report.groups, split.report.kept) == (3, 3)


def test_a_model_that_drops_what_is_too_long_drops_the_response_only(scorer, make_groups):
    made = scorer()
    made.model.recipe = made.model.recipe.model_copy(update={"truncation": "drop"})
    made = RewardScorer(made.model)
    (found,) = made.score_groups([Group(conversation("hi"), ("yes", "cat " * 300), id="g")])
    assert found.rewards == (pytest.approx(made.score("hi", ["yes"])[0], abs=2e-6), None)
    assert found.reason == "longer than max_length"


def test_only_groups_that_cannot_be_scored_are_a_window_too(scorer):
    (scored,) = scorer().score_groups([Group(conversation("hi"), ("cat " * 300,), id="long")])
    assert scored.rewards == (None,)


def test_a_reward_that_is_not_finite_is_none_with_a_reason(scorer, make_groups):
    made = scorer()
    with torch.no_grad():
        made.model.core.score.weight.fill_(math.inf)
    (scored, _) = made.score_groups(make_groups(2))
    assert set(scored.rewards) == {None}
    assert scored.reason == "the model gave a reward that is not a finite number"


@pytest.mark.parametrize(("layout", "limit"), [("shared_prefix", 60), ("packed", 90), ("padded", 90)])
def test_a_group_larger_than_the_budget_is_split_into_parts_that_fit(scorer, monkeypatch, layout, limit):
    group = Group(conversation("cat dog " * 12), tuple(f"red {k} " + "blue " * (k % 5) for k in range(9)), id="big")
    wanted = all_rewards(scorer(layout), [group])
    sizes = []
    original = parts.build_batch

    def counted(*arguments, **options):
        batch = original(*arguments, **options)
        sizes.append(batch.num_tokens)
        return batch

    monkeypatch.setattr(parts, "build_batch", counted)
    close(all_rewards(scorer(layout, limit), [group]), wanted)
    assert len(sizes) > 1
    assert max(sizes) <= limit


def test_one_response_larger_than_the_budget_is_scored_alone(scorer, make_groups):
    groups = make_groups(3)
    close(all_rewards(scorer(max_tokens=1), groups), all_rewards(scorer(), groups))


def test_equal_responses_and_single_responses_are_scored(scorer):
    (scored,) = scorer().score_groups([Group(conversation("hi"), ("yes", "yes", "no"))])
    assert scored.rewards[0] == pytest.approx(scored.rewards[1], abs=1e-6)
    (alone,) = scorer().score_groups([Group(conversation("hi"), ("no",))])
    assert alone.rewards[0] == pytest.approx(scored.rewards[2], abs=2e-6)


def test_models_of_one_recipe_are_told_apart_by_their_heads(scorer):
    assert scorer().info.weights_hash == scorer().info.weights_hash
    assert scorer().info.recipe_hash == scorer(seed=1).info.recipe_hash
    assert scorer().info.weights_hash != scorer(seed=1).info.weights_hash


def test_models_of_one_head_are_told_apart_by_their_backbones(scorer):
    made, changed = scorer(), scorer()
    with torch.no_grad():
        changed.model.core.model.layers[0].mlp.up_proj.weight.add_(1e-3)
    assert made.info.weights_hash == scorer().info.weights_hash
    assert made.info.recipe_hash == changed.info.recipe_hash
    assert made.info.weights_hash != changed.info.weights_hash
