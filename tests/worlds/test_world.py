import itertools
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest

from plaudit.errors import ConfigError, UnknownNameError
from plaudit.statistics.agreement import length_only_accuracy, preference_accuracy
from plaudit.worlds.labels import LABELS
from plaudit.worlds.prompts import CHOICES, FILLERS, POLITE_CLOSINGS, POLITE_OPENINGS, VERBS, read_wishes, split_of
from plaudit.worlds.responses import count_polite, read_steps
from plaudit.worlds.world import World

PROMPT = (
    "Please plan a day for Ada and family. They love the pier. They dream of the wave. The children like the oven. "
    "They enjoy the spice. Write four steps that they will like."
)
"""The family is on the sides sea and kitchen; snow and music are the others."""


def gold_by_polite_or_length(world: World, count: int):
    """Accuracy against the gold order of 'longer wins' and of 'more polite wins', ties a half."""
    chosen, rejected = [], []
    for group in world.groups(count, split="train", labels=("ranks",)):
        if group.ranks[0] != group.ranks[1]:
            order = (0, 1) if group.ranks[0] < group.ranks[1] else (1, 0)
            chosen.append(group.responses[order[0]])
            rejected.append(group.responses[order[1]])
    longer = length_only_accuracy(list(map(len, chosen)), list(map(len, rejected)), tie_rule="half")
    politer = preference_accuracy(
        [count_polite(a) - count_polite(b) for a, b in zip(chosen, rejected, strict=True)], tie_rule="half"
    )
    return longer.accuracy, politer.accuracy


def label_by_polite_or_length(world: World, count: int):
    """The same against the drawn preferences."""
    lengths, polite = [], []
    for group in world.groups(count, split="train"):
        (preference,) = group.preferences
        chosen, rejected = group.responses[preference.chosen], group.responses[preference.rejected]
        lengths.append(len(chosen) - len(rejected))
        polite.append(count_polite(chosen) - count_polite(rejected))
    return (
        preference_accuracy(lengths, tie_rule="half").accuracy,
        preference_accuracy(polite, tie_rule="half").accuracy,
    )


def test_the_gold_reward_counts_right_steps_against_wrong_ones():
    world = World()
    right = ["visit the harbour", "paint the anchor", "find the dough", "draw the pan"]
    wrong = ["visit the igloo", "praise the drum"]
    assert world.gold_reward(PROMPT, ". ".join(right)) == 1.0
    assert world.gold_reward(PROMPT, "First, visit the harbour. Then, visit the igloo.") == 0.0
    assert world.gold_reward(PROMPT, ". ".join(right[:2])) == 0.5  # 2 of the 4 asked for
    assert world.gold_reward(PROMPT, ". ".join([*right[:3], wrong[0]])) == 0.5  # (3 - 1) / 4
    assert world.gold_reward(PROMPT, ". ".join(wrong)) == -0.5
    assert world.gold_reward(PROMPT, "Have a wonderful time, dear friends.") == 0.0


def test_the_gold_reward_cannot_be_gamed():
    world = World()
    assert world.gold_reward(PROMPT, "visit the harbour. " * 50) == 0.25  # one of four, said often
    everything = ". ".join(
        f"{verb} the {thing}" for verb in VERBS for pair in CHOICES for side in pair for thing in side.things
    )
    assert world.gold_reward(PROMPT, everything) == -1.0
    beyond = ". ".join(f"{verb} the {thing}" for verb in VERBS for thing in ("harbour", "pan"))
    assert world.gold_reward(PROMPT, beyond) == 1.0
    assert world.gold_reward(PROMPT, "igloo igloo the harbour") == 0.0


def test_a_right_step_is_right_in_any_case_and_without_a_full_stop():
    assert World().gold_reward(PROMPT, "VISIT the Harbour") == 0.25
    assert [step.end for step in read_steps("Visit the harbour. Then paint the pan!")] == [18, 37]


def test_each_attribute_has_its_worked_value():
    response = f"{POLITE_OPENINGS[0]} First, visit the harbour. Then, visit the igloo."
    found = World().gold_attributes(PROMPT, response)
    # One of two steps right; one of two choices served rightly; one polite sentence of two; 6 + 8 words.
    assert found == {
        "correctness": 0.5,
        "coverage": 0.5,
        "courtesy": 0.5,
        "brevity": pytest.approx(1 - 14 / 100),
    }


def test_a_text_that_is_no_prompt_of_the_world_is_refused():
    with pytest.raises(ConfigError, match="not a prompt of this world: 'What is love"):
        World().gold_reward("What is love?", "visit the pier")


def test_the_same_seed_gives_the_same_groups_in_another_process():
    code = (
        "from plaudit.worlds.world import World\n"
        "import hashlib\n"
        "groups = list(World(seed=7).groups(5, responses=3, split='train', "
        "labels=('preferences', 'ranks', 'ratings', 'outcomes', 'steps')))\n"
        "print(hashlib.sha256(repr(groups).encode()).hexdigest())"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(printed) == 1


def test_another_seed_gives_other_text_and_a_shorter_run_is_a_beginning_of_a_longer_one():
    first = list(World(seed=0).groups(4, split="train"))
    assert first == list(World(seed=0).groups(6, split="train"))[:4]
    assert first != list(World(seed=1).groups(4, split="train"))
    assert [group.prompt for group in first] == World(seed=0).prompts(4, split="train")


def test_asking_for_more_labels_moves_no_other_label():
    bare = next(World().groups(1, split="train", labels=("preferences",)))
    full = next(World().groups(1, split="train", labels=LABELS))
    assert (full.responses, full.preferences) == (bare.responses, bare.preferences)


def test_splits_share_no_prompt_and_no_set_of_things():
    things = {}
    for split in ("train", "held_out"):
        prompts = [prompt[0].content for prompt in World().prompts(1500, split=split)]
        assert len(set(prompts)) == 1500
        things[split] = {frozenset(re.findall(r"(?:\w) the (\w+)\.", prompt)) for prompt in prompts}
        assert all(len(found) == 6 for found in things[split])
    assert not things["train"] & things["held_out"]


def test_few_choices_hold_out_a_fifth_of_the_sets_of_each_combination_of_sides():
    # 6 sets of two things of four to a side: 1 of 6 for one choice, 7 of 36 for two
    for choices, held_out in ((1, 1), (2, 7)):
        of_each = [itertools.combinations(sorted(first.things), 2) for first, _ in CHOICES[:choices]]
        sets = [tuple(itertools.chain(*parts)) for parts in itertools.product(*of_each)]
        assert sum(split_of(things) == "held_out" for things in sets) == held_out


@pytest.mark.parametrize("choices", [1, 2, 3])
def test_both_splits_hold_families_of_both_sides(choices):
    world = World(seed=0, choices=choices, popularity=0.65)
    for split in ("train", "held_out"):
        wishes = [read_wishes(prompt[0].content) for prompt in world.prompts(400, split=split)]
        by_the_sea = Counter("sea" in each.sides for each in wishes if each is not None)
        # 0.65 within four standard deviations
        assert abs(by_the_sea[True] / by_the_sea.total() - 0.65) < 4 * (0.65 * 0.35 / 400) ** 0.5, split


def test_groups_are_different_responses_with_unique_ids_and_the_source_world():
    groups = list(World().groups(100, responses=6, split="train"))
    assert len({group.id for group in groups}) == 100
    assert {group.source for group in groups} == {"world"}
    assert all(len(set(group.responses)) == 6 for group in groups)


def test_groups_stream():
    endless = World().groups(10**9, split="train")
    assert len(list(itertools.islice(endless, 3))) == 3


def test_every_label_agrees_with_the_gold_reward():
    world = World(temperature=0.0, missing_ratings=0.0)
    for group in world.groups(80, responses=4, split="held_out", labels=LABELS):
        rewards = [world.gold_reward(group.prompt, response) for response in group.responses]
        assert len(set(rewards)) > 1
        unequal = sum(a != b for a, b in itertools.combinations(rewards, 2))
        assert len(group.preferences) == unequal
        assert all(rewards[pair.chosen] > rewards[pair.rejected] for pair in group.preferences)
        assert group.ranks == tuple(1 + sum(other > reward for other in rewards) for reward in rewards)
        assert group.outcomes == tuple(reward == 1.0 for reward in rewards)
        for k, steps in enumerate(group.steps):
            labels = [step.label for step in steps]
            assert len(labels) == 6
            assert (labels.count(1.0) - labels.count(0.0)) / 6 == pytest.approx(rewards[k])
            assert group.outcomes[k] == all(labels)
            assert group.ratings["correctness"][k] == pytest.approx(sum(labels) / 6)
            assert world.gold_attributes(group.prompt, group.responses[k]) == {
                name: values[k] for name, values in group.ratings.items()
            }


def test_a_step_ends_just_past_its_full_stop():
    sides = {thing: side.name for pair in CHOICES for side in pair for thing in side.things}
    for group in World().groups(30, split="train", labels=("steps",)):
        wishes = read_wishes(group.prompt[0].content)
        for response, steps in zip(group.responses, group.steps, strict=True):
            for step in steps:
                words = response[: step.end].split()
                assert words[-3] in VERBS
                assert words[-1][-1] == "."
                assert step.label == float(sides[words[-1][:-1]] in wishes.sides)


def test_only_the_labels_that_were_asked_for_are_there():
    group = next(World().groups(1, split="train", labels=("outcomes",)))
    assert group.outcomes is not None
    assert (group.preferences, group.ranks, dict(group.ratings), group.steps) == ((), None, {}, None)
    assert len(next(World().groups(1, responses=1, split="train", labels=("steps",))).responses) == 1


def test_as_many_ratings_are_missing_as_the_knob_says():
    groups = World(missing_ratings=0.25).groups(300, responses=4, split="train", labels=("ratings",))
    values = [value for group in groups for column in group.ratings.values() for value in column]
    assert len(values) == 300 * 4 * 4
    assert sum(value is None for value in values) / len(values) == pytest.approx(0.25, abs=0.03)


def test_preferences_are_drawn_by_bradley_terry():
    # At temperature 1 and 6 steps, one step more right means a gold difference of 1/3: σ(1/3) = 0.583.
    world = World(temperature=1.0)
    agreed = []
    for group in world.groups(1000, responses=4, split="train"):
        rewards = [world.gold_reward(group.prompt, response) for response in group.responses]
        for pair in group.preferences:
            if abs(rewards[pair.chosen] - rewards[pair.rejected]) == pytest.approx(1 / 3):
                agreed.append(rewards[pair.chosen] > rewards[pair.rejected])
    assert len(agreed) > 700
    assert sum(agreed) / len(agreed) == pytest.approx(0.583, abs=0.05)


def test_soft_labels_carry_the_probability_and_a_tie_is_one_half():
    world = World(soft_labels=True, temperature=0.5)
    halves = 0
    for group in world.groups(60, responses=4, split="train"):
        rewards = [world.gold_reward(group.prompt, response) for response in group.responses]
        assert len(group.preferences) == 6
        for pair in group.preferences:
            difference = rewards[pair.chosen] - rewards[pair.rejected]
            assert difference >= 0.0
            assert (pair.probability == 0.5) == (difference == 0.0)
            halves += pair.probability == 0.5
            if difference == pytest.approx(1 / 3):
                assert pair.probability == pytest.approx(0.66076, abs=1e-5)  # σ(2/3)
    assert halves > 0
    assert all(p.probability is None for g in World().groups(20, split="train") for p in g.preferences)


def test_length_and_politeness_say_nothing_by_default():
    longer, politer = gold_by_polite_or_length(World(), 4000)
    assert 0.47 < longer < 0.53
    assert 0.47 < politer < 0.53


def test_layout_and_the_order_of_responses_say_nothing_by_default():
    bullets, first = [], []
    for group in World().groups(2500, split="train"):
        (pair,) = group.preferences
        is_list = ["\n- " in response for response in group.responses]
        bullets.append(is_list[pair.chosen] - is_list[pair.rejected])
        first.append(pair.chosen == 0)
    assert preference_accuracy(bullets, tie_rule="half").accuracy == pytest.approx(0.5, abs=0.03)
    assert sum(first) / len(first) == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_bias_of_the_annotator_sways_preferences_and_leaves_the_gold_order_alone(sign):
    longer, _ = label_by_polite_or_length(World(length_bias=sign), 1000)
    _, politer = label_by_polite_or_length(World(politeness_bias=sign), 1000)
    assert sign * (longer - 0.5) > 0.12
    assert sign * (politer - 0.5) > 0.1
    against_gold = gold_by_polite_or_length(World(length_bias=sign, politeness_bias=sign), 300)
    assert against_gold == gold_by_polite_or_length(World(), 300)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_bias_of_the_responses_ties_length_and_politeness_to_the_gold_order(sign):
    biased = World(length_bias=sign, politeness_bias=sign, bias_enters="responses")
    longer, politer = gold_by_polite_or_length(biased, 800)
    assert sign * (longer - 0.5) > 0.2
    assert sign * (politer - 0.5) > 0.15


def test_the_response_alone_is_worth_nothing_at_even_popularity():
    # With every prompt swapped for another, half of the choices agree by chance: the rewards average to 0.
    world = World(popularity=0.5)
    groups = list(world.groups(400, split="train", labels=("ranks",)))
    own = [world.gold_reward(group.prompt, group.responses[0]) for group in groups]
    foreign = [
        world.gold_reward(other.prompt, group.responses[0])
        for group, other in zip(groups, groups[1:] + groups[:1], strict=True)
    ]
    assert sum(a != b for a, b in zip(own, foreign, strict=True)) > 300
    centred = sum(a * b for a, b in zip(own, foreign, strict=True)) / sum(a * a for a in own)
    assert abs(centred) < 0.15


def test_the_policy_is_as_good_as_it_is_told_to_be():
    world = World()
    prompt = world.prompts(1, split="held_out")[0]
    rewards = {
        quality: [world.gold_reward(prompt, text) for text in world.sample_responses(prompt, 60, quality=quality)]
        for quality in (0.0, 0.5, 1.0)
    }
    assert set(rewards[1.0]) == {1.0}
    assert set(rewards[0.0]) == {-1.0}
    assert abs(sum(rewards[0.5]) / 60) < 0.25


def test_samples_are_different_repeatable_and_moved_by_the_seed():
    world = World()
    prompt = world.prompts(1, split="train")[0]
    samples = world.sample_responses(prompt, 32, seed=3)
    assert len(set(samples)) == 32
    assert samples == world.sample_responses(prompt[0].content, 32, seed=3)
    assert samples != world.sample_responses(prompt, 32, seed=4)


def test_samples_share_beginnings_where_they_branch():
    def shared(branching: float) -> int:
        world = replace(World(), branching=branching)
        total = 0
        for prompt in world.prompts(20, split="train"):
            samples = sorted(world.sample_responses(prompt, 8))
            for one, other in itertools.pairwise(samples):
                equal = (a == b for a, b in zip(one, other, strict=False))
                total += sum(itertools.takewhile(bool, equal))
        return total

    assert shared(0.8) > 2 * shared(0.0)


def test_no_response_repeats_a_step():
    for group in World(branching=1.0).groups(100, responses=4, split="train"):
        for response in group.responses:
            actions = [step.action for step in read_steps(response)]
            assert len(actions) == len(set(actions)) == 6


@pytest.mark.parametrize(("choices", "steps"), [(1, 2), (1, 8), (2, 4), (4, 8)])
def test_every_size_of_the_world_works(choices, steps):
    world = World(choices=choices, steps=steps)
    for group in world.groups(20, responses=3, split="held_out", labels=LABELS):
        assert all(len(found) == steps for found in group.steps)
        assert len(read_wishes(group.prompt[0].content).sides) == choices


def test_no_sentence_around_the_steps_is_a_step():
    for sentence in (*FILLERS, *POLITE_OPENINGS, *POLITE_CLOSINGS):
        assert read_steps(sentence) == ()


def test_no_thing_is_on_two_sides():
    things = [thing for pair in CHOICES for side in pair for thing in side.things]
    assert len(things) == len(set(things)) == 4 * 2 * 4


@pytest.mark.parametrize(
    ("field", "value"),
    [("choices", 0), ("steps", 9), ("temperature", -1.0), ("length_bias", 1.5), ("branching", float("nan"))],
)
def test_a_knob_out_of_range_is_refused_by_name(field, value):
    with pytest.raises(ConfigError, match=f"World.{field} is"):
        World(**{field: value})


def test_misspelt_names_are_refused():
    with pytest.raises(ConfigError, match="bias_enters"):
        World(bias_enters="labels")
    with pytest.raises(UnknownNameError, match="did you mean 'held_out'"):
        World().prompts(1, split="heldout")
    with pytest.raises(UnknownNameError, match="did you mean 'ratings'"):
        World().groups(1, split="train", labels=("rating",))
    with pytest.raises(ConfigError, match="responses is 1"):
        World().groups(1, responses=1, split="train")
    with pytest.raises(ConfigError, match="quality is 2"):
        World().sample_responses(PROMPT, 1, quality=2.0)
