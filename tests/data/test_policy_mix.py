"""A mix takes a prompt from one side only, in exact numbers; the teacher split keeps three sets of prompts apart."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plaudit.data.mixing.splits import PolicyMixReport, mix_policies, teacher_split
from plaudit.data.schema.group import Group, conversation
from plaudit.data.schema.group_set import GroupSet
from plaudit.errors import DataError


def side(prompts, name):
    """One group per prompt in the list; a prompt may come twice."""
    groups = [
        Group(conversation(f"prompt {prompt}"), (f"{name} {number}",), id=f"{name}{number}", source=name)
        for number, prompt in enumerate(prompts)
    ]
    return GroupSet.from_groups(groups)


def keys(groups, source=None):
    return {group.prompt_key for group in groups if source in (None, group.source)}


# ------------------------------------------------------------------------------------------------------ mix


@pytest.mark.parametrize(("fraction", "count"), [(0.0, 0), (0.25, 10), (0.5, 20), (0.75, 30), (1.0, 40), (0.33, 13)])
def test_the_asked_share_of_prompts_is_on_policy_exactly(fraction, count):
    on, off = side(range(40), "on"), side(range(39, -1, -1), "off")
    mixed, report = mix_policies(on, off, fraction_on_policy=fraction, seed=182)
    assert (len(keys(mixed, "on")), len(keys(mixed, "off"))) == (count, 40 - count)
    assert keys(mixed, "on") | keys(mixed, "off") == keys(on)
    assert len(mixed) == 40
    assert (report.prompts_on_policy, report.prompts_off_policy) == (count, 40 - count)
    assert report.groups_left_out == 40


prompt_lists = st.lists(st.integers(0, 30), min_size=1, max_size=60)


@settings(max_examples=30, deadline=None)
@given(prompt_lists, prompt_lists, st.floats(0, 1), st.integers(0, 3))
def test_no_prompt_is_from_both_sides_and_every_group_is_counted(on_prompts, off_prompts, fraction, seed):
    on, off = side(on_prompts, "on"), side(off_prompts, "off")
    shared = set(on_prompts) & set(off_prompts)
    if not shared:
        with pytest.raises(DataError, match="no prompt in common"):
            mix_policies(on, off, fraction_on_policy=fraction, seed=seed)
        return
    mixed, report = mix_policies(on, off, fraction_on_policy=fraction, seed=seed)
    from_on, from_off = keys(mixed, "on"), keys(mixed, "off")
    assert not from_on & from_off
    assert len(from_on | from_off) == report.prompts_shared == len(shared)
    assert abs(len(from_on) - fraction * len(shared)) <= 0.5
    # every group of a prompt is taken, in the order of its side, on-policy first
    expected = [g for g in on if g.prompt_key in from_on] + [g for g in off if g.prompt_key in from_off]
    assert list(mixed) == expected
    assert report.groups_on_policy + report.groups_off_policy == len(mixed)
    assert report.groups_left_out == len(on) + len(off) - len(mixed)
    assert report.only_on_policy == len(set(on_prompts) - shared)
    assert report.only_off_policy == len(set(off_prompts) - shared)


@settings(max_examples=12, deadline=None)
@given(st.permutations(range(25)), st.floats(0, 1), st.floats(0, 1), st.integers(0, 3))
def test_a_larger_share_holds_the_on_policy_prompts_of_a_smaller_one_whatever_the_order(order, first, second, seed):
    small, large = sorted((first, second))
    off = side(range(25), "off")
    few, _ = mix_policies(side(range(25), "on"), off, fraction_on_policy=small, seed=seed)
    many, _ = mix_policies(side(order, "on"), off, fraction_on_policy=large, seed=seed)
    assert keys(few, "on") <= keys(many, "on")


def test_another_seed_draws_other_prompts():
    on, off = side(range(40), "on"), side(range(40), "off")
    drawn = [keys(mix_policies(on, off, fraction_on_policy=0.5, seed=seed)[0], "on") for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan")])
def test_a_share_that_is_none_is_refused(fraction):
    with pytest.raises(DataError, match="it must lie between 0 and 1"):
        mix_policies(side([1], "on"), side([1], "off"), fraction_on_policy=fraction, seed=0)


def test_a_report_that_does_not_add_up_is_refused():
    _, report = mix_policies(side(range(4), "on"), side(range(4), "off"), fraction_on_policy=0.5, seed=0)
    with pytest.raises(ValueError, match="do not add up"):
        PolicyMixReport.model_validate(report.model_dump() | {"prompts_on_policy": 3})


# -------------------------------------------------------------------------------------------- teacher split


def test_four_fifths_of_the_prompts_train_the_reward_model_and_the_test_stays():
    train, test = side([n % 500 for n in range(1000)], "train"), side(range(1000, 1100), "test")
    split = teacher_split(train, test, seed=0)
    assert len(split.reward_model) + len(split.policy_gradient) == 1000
    assert split.test is test
    assert not keys(split.reward_model) & keys(split.policy_gradient)
    report = split.report
    # 500 prompts: standard deviation sqrt(500 * .8 * .2) = 8.9; five of them
    assert abs(report.reward_model_prompts - 400) < 45
    assert report.reward_model_prompts + report.policy_gradient_prompts == 500
    assert (report.reward_model, report.policy_gradient) == (len(split.reward_model), len(split.policy_gradient))
    assert report.reward_model == 2 * report.reward_model_prompts
    assert (report.test, report.test_prompts, report.left_out) == (100, 100, 0)
    assert (report.train_fingerprint, report.test_fingerprint) == (train.fingerprint, test.fingerprint)


def test_training_groups_whose_prompt_is_tested_are_left_out_and_counted():
    train, test = side([*range(60), 5, 6], "train"), side([5, 6, 6, 99], "test")
    split = teacher_split(train, test, seed=1)
    assert not keys(test) & (keys(split.reward_model) | keys(split.policy_gradient))
    assert (split.report.left_out, split.report.left_out_prompts) == (4, 2)
    assert split.report.reward_model + split.report.policy_gradient == 58
    assert list(split.test) == list(test)


def test_a_split_depends_on_the_seed_and_not_on_the_order():
    test = side([1000], "test")
    forward, backward, other = (
        keys(teacher_split(side(prompts, "train"), test, seed=seed).policy_gradient)
        for prompts, seed in ((range(90), 3), (range(89, -1, -1), 3), (range(90), 4))
    )
    assert forward == backward != other


def test_what_cannot_be_split_is_refused():
    train, test = side(range(20), "train"), side(range(20), "test")
    with pytest.raises(DataError, match="every prompt of the training set is in the test set"):
        teacher_split(train, test, seed=0)
    for share in (0.0, 1.0, float("nan")):
        with pytest.raises(DataError, match="reward_share is"):
            teacher_split(train, side([99], "test"), reward_share=share, seed=0)
    with pytest.raises(DataError, match="cannot be split into two sides"):
        teacher_split(side([1], "train"), side([99], "test"), seed=0)
