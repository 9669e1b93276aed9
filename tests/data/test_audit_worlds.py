"""What is planted in the built-in world is found with its rate in the interval; a clean world raises no alarm."""

from __future__ import annotations

import dataclasses
import random

import pytest

from plaudit.data.audit.contamination import BenchmarkPrompt
from plaudit.data.audit.run import audit_groups
from plaudit.data.schema.group import Preference
from plaudit.data.schema.group_set import GroupSet
from plaudit.worlds.world import World

COUNT = 1500


@pytest.fixture(scope="module")
def clean():
    """Return the groups of a clean world."""
    return list(World(seed=11).groups(COUNT, split="train"))


def audited(groups, **arguments):
    return audit_groups(GroupSet.from_groups(groups), **arguments)


def numbered(groups):
    return [dataclasses.replace(group, id=str(number)) for number, group in enumerate(groups)]


def turned(group):
    (preference,) = group.preferences
    return dataclasses.replace(group, preferences=(Preference(preference.rejected, preference.chosen),))


def with_chosen(group, change):
    responses = list(group.responses)
    chosen = group.preferences[0].chosen
    responses[chosen] = change(responses[chosen])
    return dataclasses.replace(group, responses=tuple(responses))


def names(report, severity):
    return {(finding.check, finding.name) for finding in report.of(severity)}


def holds(interval, value):
    return interval.low <= value <= interval.high


@pytest.mark.parametrize("seed", [1, 2, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(3, 13))])
def test_a_clean_world_raises_no_alarm(seed):
    world = World(seed=seed)
    other = GroupSet.from_groups(world.groups(200, split="held_out"))
    report = audited(world.groups(COUNT, split="train"), against=other)
    assert names(report, "alarm") == set()
    assert report.pairs == COUNT
    # What is told without alarm is little, too: with p below 0.01 in each of a few families, at most one of them.
    assert len(report.of("notice")) <= 1


def test_flipped_labels_are_seen_where_words_tell_the_better_response():
    """With every family on the first side of each choice, the words of a response tell its reward."""
    groups = list(World(seed=5, temperature=0.0, popularity=1.0).groups(4000, split="train"))
    draw = random.Random(0)
    flipped = [draw.random() < 0.05 for _ in groups]
    before = audited(groups).find("noise", "wrong labels, from a judge of words")
    after = audited([turned(group) if flip else group for group, flip in zip(groups, flipped, strict=True)])
    assert before.severity == "ok"
    assert before.rate.high < 0.02
    found = after.find("noise", "wrong labels, from a judge of words")
    assert found.severity == "notice"
    assert holds(found.rate, 0.05)
    assert all(flipped[example.row] for example in found.examples)
    assert "wrong labels, from repeated pairs" in after.not_judged


def test_flipped_labels_are_seen_where_pairs_are_labelled_twice(clean):
    draw = random.Random(1)
    labelled = [turned(group) if draw.random() < 0.05 else group for group in (*clean, *clean)]
    found = audited(numbered(labelled)).find("noise", "wrong labels, from repeated pairs")
    assert found.severity == "alarm"
    assert holds(found.rate, 0.05)
    assert holds(found.figures["disagreement"], 2 * 0.05 * 0.95)
    same = audited(numbered([*clean, *clean])).find("noise", "wrong labels, from repeated pairs")
    assert (same.severity, same.count) == ("ok", 0)


def test_contradictions_are_counted_exactly(clean):
    # 30 of the groups come again the other way round: 60 of 1530 pairs are contradicted.
    report = audited(numbered([*clean, *(turned(group) for group in clean[:30])]))
    found = report.find("repeats", "contradictory pairs")
    assert (found.severity, found.count, found.rate.n) == ("alarm", 60, COUNT + 30)
    assert {(example.row, example.place) for example in found.examples} <= {
        pair for row in range(30) for pair in ((row, str(COUNT + row)), (COUNT + row, str(row)))
    }


def test_repeated_rows_are_counted_exactly_whatever_their_order_and_case(clean):
    copies = [
        dataclasses.replace(
            group,
            responses=tuple(response.upper() for response in group.responses[::-1]),
            preferences=(Preference(group.preferences[0].rejected, group.preferences[0].chosen),),
        )
        for group in clean[:75]
    ]
    report = audited(numbered([*clean, *copies]))
    found = report.find("repeats", "repeated groups")
    assert (found.severity, found.count) == ("alarm", 75)
    assert found.rate.value == pytest.approx(75 / (COUNT + 75))
    assert [(example.row, example.place) for example in found.examples] == [(COUNT + i, str(i)) for i in range(5)]
    # The copies agree with the first labels: the lower-case one is chosen, and so is the upper-case one.
    assert report.find("repeats", "contradictory pairs").count == 0


def test_a_leaked_prompt_is_an_alarm_with_both_places(clean):
    other = list(World(seed=11).groups(100, split="held_out"))
    leaked = dataclasses.replace(clean[7], id="leaked")
    report = audited(clean, against=GroupSet.from_groups([*other, leaked]))
    found = report.find("leakage", "equal prompts in the other split")
    assert (found.severity, found.count, found.rate.n) == ("alarm", 1, 101)
    assert [(example.row, example.place) for example in found.examples] == [(7, "leaked")]
    assert report.find("leakage", "near prompts in the other split").severity == "ok"


def test_a_nearly_leaked_prompt_is_found_as_near(clean):
    (turn,) = clean[9].prompt
    changed = dataclasses.replace(turn, content=f"{turn.content} Indeed.")
    other = [dataclasses.replace(clean[9], prompt=(changed,), id="near")]
    report = audited(clean, against=GroupSet.from_groups(other))
    assert report.find("leakage", "equal prompts in the other split").count == 0
    found = report.find("leakage", "near prompts in the other split")
    assert [(example.row, example.place) for example in found.examples] == [(9, "near")]


def test_a_benchmark_prompt_is_an_alarm(clean):
    prompts = [BenchmarkPrompt("bench", "bench.jsonl:3", clean[20].prompt[0].content)]
    found = audited(clean, benchmark_prompts=prompts).find("leakage", "prompts of benchmarks")
    assert found.severity == "alarm"
    assert (20, "bench, bench.jsonl:3", "equal") in {(each.row, each.place, each.note) for each in found.examples}


def test_a_trailing_space_on_one_side_is_an_alarm_with_its_rate(clean):
    draw = random.Random(3)
    groups = [with_chosen(group, "{} ".format) if draw.random() < 0.1 else group for group in clean]
    report = audited(groups)
    found = report.find("leaks", "trailing space")
    assert found.severity == "alarm"
    assert holds(found.rate, 0.1)
    assert holds(found.figures["on chosen"], 0.1)
    assert found.figures["on rejected"].value == 0.0
    assert found.figures["chosen, where one side has it"].value == 1.0
    # The same spaces are seen in the last characters; nothing else is.
    ends = {("leaks", "ends in ' '"), ("leaks", "ends in '.'")}
    assert names(report, "alarm") - ends == {("leaks", "trailing space")}


def test_an_opening_that_tells_the_label_is_found_without_being_known(clean):
    draw = random.Random(4)
    groups = [with_chosen(group, "Certainly! {}".format) if draw.random() < 0.3 else group for group in clean]
    report = audited(groups)
    found = report.find("leaks", "opens with the word 'certainly'")
    assert found.severity == "alarm"
    assert holds(found.rate, 0.3)
    assert report.find("style", "exclamation mark").severity == "alarm"


def test_a_turn_marker_on_one_side_is_an_alarm(clean):
    draw = random.Random(5)
    groups = [with_chosen(group, "Assistant: {}".format) if draw.random() < 0.2 else group for group in clean]
    found = audited(groups).find("leaks", "opens with a turn marker")
    assert found.severity == "alarm"
    assert holds(found.rate, 0.2)


def test_a_length_shortcut_is_an_alarm_with_its_rate(clean):
    draw = random.Random(6)
    groups = []
    for group in clean:
        longer = max((0, 1), key=lambda k: len(group.responses[k]))
        chosen = longer if draw.random() < 0.7 else 1 - longer
        groups.append(dataclasses.replace(group, preferences=(Preference(chosen, 1 - chosen),)))
    report = audited(groups)
    found = report.find("length", "longer response wins")
    assert found.severity == "alarm"
    ties = found.figures["ties"].value
    assert holds(found.rate, 0.7 * (1 - ties) + 0.5 * ties)
    assert found.figures["auc"].value > 0.6


def test_polite_responses_that_win_are_an_alarm_of_style():
    report = audited(World(seed=3, politeness_bias=1.0).groups(COUNT, split="train"))
    assert ("style", "politeness") in names(report, "alarm")


def test_a_chosen_response_that_often_stands_first_is_an_alarm(clean):
    draw = random.Random(7)
    groups = []
    for group in clean:
        (preference,) = group.preferences
        order = (preference.chosen, preference.rejected)
        order = order if draw.random() < 0.8 else order[::-1]
        responses = tuple(group.responses[k] for k in order)
        chosen = order.index(preference.chosen)
        groups.append(dataclasses.replace(group, responses=responses, preferences=(Preference(chosen, 1 - chosen),)))
    found = audited(groups).find("leaks", "chosen response first")
    assert found.severity == "alarm"
    assert holds(found.rate, 0.8)


def test_copies_of_one_pair_are_no_evidence_of_bias(clean):
    """A thousand copies of a pair are one prompt: their length says no more than one pair's."""
    pair = next(group for group in clean if len(group.responses[0]) != len(group.responses[1]))
    report = audited(numbered([*clean[:200], *[pair] * 1000]))
    assert report.find("length", "longer response wins").severity == "ok"
    assert names(report, "alarm") == {("repeats", "repeated groups")}
