"""Rules of mixtures: every one by hand, and by property against an obvious script; all counts add up."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter

import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plaudit.data.mixing.config import (
    Differing,
    Distinct,
    Keep,
    MeanRating,
    Pairs,
    PerPrompt,
    Ranks,
    Sample,
    Slice,
)
from plaudit.data.mixing.group_rules import passed
from plaudit.data.mixing.report import RuleCounts, RuleReport
from plaudit.data.mixing.rules import apply_rules, rule_text
from plaudit.data.schema.group import Group, Preference, conversation
from plaudit.data.schema.group_set import GroupSet


def rated(*values, name="score", prompt="q", **fields):
    responses = tuple(f"answer {index}" for index in range(len(values)))
    return Group(conversation(prompt), responses, ratings={name: tuple(values)}, **fields)


def after(group, rule, seed=0):
    counts = RuleCounts(rule_text(rule))
    return passed(group, rule, seed, counts), counts.report()


def pairs_of(group):
    return [(pair.chosen, pair.rejected) for pair in group.preferences]


@pytest.fixture
def through(tmp_path):
    def run(groups, *rules, seed=0):
        kept, reports = apply_rules(GroupSet.from_groups(groups), rules, seed=seed, folder=tmp_path / "rules")
        return list(kept), reports

    return run


def test_the_mean_of_ratings_is_that_of_each_response():
    group = dataclasses.replace(rated(1.0, 2.0, None), ratings={"a": (1.0, 4.0, None), "b": (2.0, None, None)})
    strict, _ = after(group, MeanRating(of=("a", "b"), into="m"))
    assert strict.ratings["m"] == (1.5, None, None)
    lenient, _ = after(group, MeanRating(of=("a", "b"), into="m", missing="ignored"))
    assert lenient.ratings["m"] == (1.5, 4.0, None)
    nothing, report = after(rated(1.0), MeanRating(of=("x",)))
    assert nothing is None
    assert report.groups_left_out == {"no rating of x": 1}


def test_all_pairs_leave_out_ties_and_the_unrated_and_carry_margins():
    group, report = after(rated(3.0, 1.0, None, 3.0), Pairs(by="score", margin=True))
    assert group.preferences == (Preference(0, 1, margin=2.0), Preference(3, 1, margin=2.0))
    assert report.pairs_made == 3
    assert report.pairs_left_out == {"equal ratings": 1}


def test_ties_can_be_pairs_of_probability_one_half():
    group, _ = after(rated(3.0, 1.0, 3.0), Pairs(by="score", ties="half"))
    assert group.preferences == (Preference(0, 1), Preference(0, 2, probability=0.5), Preference(2, 1))


def test_bounds_on_difference_and_ratio():
    by_gap, report = after(rated(5.0, 4.5, 1.0), Pairs(by="score", min_gap=1.0))
    assert pairs_of(by_gap) == [(0, 2), (1, 2)]
    assert report.pairs_left_out == {"difference below 1": 1}
    # the ratio must exceed the bound: 4 / 2 does not exceed 2, 5 / 2 does
    by_ratio, report = after(rated(4.0, 2.0, 5.0, -1.0), Pairs(by="score", min_ratio=2.0))
    assert pairs_of(by_ratio) == [(2, 1)]
    assert report.pairs_left_out == {"ratio not above 2": 2, "no ratio: a rating of 0 or less": 3}


def test_given_pairs_are_bounded_by_a_rating_and_keep_their_direction():
    given_pairs = (Preference(1, 0), Preference(0, 2))
    group, report = after(rated(3.0, 1.0, 3.0, preferences=given_pairs), Pairs(choose="given", by="score", margin=True))
    assert group.preferences == (Preference(1, 0, margin=-2.0),)
    assert report.pairs_left_out == {"equal ratings": 1}


def test_ranks_stand_in_for_a_rating_and_the_best_rank_is_the_lowest():
    group = Group(conversation("q"), ("a", "b", "c"), ranks=(2, 1, None))
    assert pairs_of(after(group, Pairs())[0]) == [(1, 0)]
    assert after(rated(1.0, 2.0), Pairs())[1].groups_left_out == {"no ranks": 1}


def test_ranks_follow_from_a_rating():
    assert after(rated(3.0, None, 5.0, 3.0), Ranks(by="score"))[0].ranks == (2, None, 1, 2)
    assert after(rated(1.0), Ranks(by="other"))[1].groups_left_out == {"no rating other": 1}


def test_best_against_worst_and_best_against_random():
    worst, _ = after(rated(2.0, 5.0, 1.0, 3.0), Pairs(choose="best_vs_worst", by="score"))
    assert pairs_of(worst) == [(1, 2)]
    drawn = Counter(
        pairs_of(after(rated(2.0, 5.0, 1.0, 3.0, prompt=f"q{n}"), Pairs(choose="best_vs_random", by="score"))[0])[0]
        for n in range(3000)
    )
    assert set(drawn) == {(1, 0), (1, 2), (1, 3)}
    # each with probability 1/3: within five standard deviations of 1,000
    assert all(abs(count - 1000) < 5 * (3000 * 2 / 9) ** 0.5 for count in drawn.values())


def test_a_drawn_pair_of_equal_ratings_is_left_out_after_the_draw():
    # best is one of the two 5s; the other one is drawn in half of the groups, and then the pair goes
    left = [
        after(rated(5.0, 5.0, 1.0, prompt=f"q{n}"), Pairs(choose="best_vs_random", by="score"))[0] for n in range(800)
    ]
    kept = [pairs_of(group)[0] for group in left if group is not None]
    assert abs(len(kept) - 400) < 5 * 200**0.5
    assert Counter(kept).keys() == {(0, 2), (1, 2)}


def test_new_pairs_replace_the_given_ones():
    group, report = after(rated(1.0, 2.0, preferences=(Preference(0, 1),)), Pairs(by="score"))
    assert group.preferences == (Preference(1, 0),)
    assert report.pairs_left_out == {"replaced by this rule": 1}


@pytest.mark.parametrize(
    "fields",
    [{"min_ratio": 2.0}, {"choose": "given", "margin": True}, {"choose": "given", "min_gap": 1}, {"max_pairs": 0}],
)
def test_rules_that_mean_nothing_are_refused(fields):
    with pytest.raises(pydantic.ValidationError):
        Pairs(**fields)


ratings = st.lists(st.one_of(st.none(), st.integers(-3, 5).map(float)), min_size=1, max_size=7)


@settings(max_examples=200, deadline=None)
@given(
    values=ratings,
    choose=st.sampled_from(["all", "best_vs_random", "best_vs_worst"]),
    ties=st.sampled_from(["drop", "half"]),
    min_gap=st.sampled_from([0.0, 1.0, 2.5]),
    min_ratio=st.sampled_from([None, 1.5, 2.0]),
    max_pairs=st.one_of(st.none(), st.integers(1, 4)),
    seed=st.integers(0, 5),
)
def test_pairs_of_any_group_keep_every_promise(values, choose, ties, min_gap, min_ratio, max_pairs, seed):
    rule = Pairs(
        choose=choose, by="score", ties=ties, min_gap=min_gap, min_ratio=min_ratio, max_pairs=max_pairs, margin=True
    )
    group, report = after(rated(*values), rule, seed)
    again, _ = after(rated(*values), rule, seed)
    assert group == again
    known = [value for value in values if value is not None]
    considered = len(list(itertools.combinations(known, 2))) if choose == "all" else min(1, len(known) // 2)
    assert report.pairs_made == considered
    if group is None:
        assert report.pairs_out == 0
        return
    pairs = pairs_of(group)
    assert len(pairs) <= (max_pairs or len(pairs))
    # no self pairs, none twice, none both ways
    assert all(first != second for first, second in pairs)
    assert len({frozenset(pair) for pair in pairs}) == len(pairs)
    for pair in group.preferences:
        high, low = values[pair.chosen], values[pair.rejected]
        assert pair.margin == high - low
        if high == low:
            assert (ties, pair.probability) == ("half", 0.5)
        else:
            assert high - low >= min_gap
            assert pair.probability is None
            assert min_ratio is None or (low > 0 and high > min_ratio * low)
    if choose == "best_vs_worst":
        assert (values[pairs[0][0]], values[pairs[0][1]]) == (max(known), min(known))
    if choose == "best_vs_random":
        assert values[pairs[0][0]] == max(known)


@settings(max_examples=50, deadline=None)
@given(values=st.lists(st.integers(0, 9).map(float), min_size=2, max_size=6, unique=True), seed=st.integers(0, 9))
def test_all_pairs_turn_round_with_the_ratings(values, seed):
    pairs = pairs_of(after(rated(*values), Pairs(by="score"), seed)[0])
    turned = pairs_of(after(rated(*(-value for value in values)), Pairs(by="score"), seed)[0])
    assert sorted((second, first) for first, second in pairs) == sorted(turned)


def test_pairs_of_the_same_text_are_left_out():
    group = Group(conversation("q"), ("yes", " yes\n", "no"), preferences=(Preference(0, 1), Preference(0, 2)))
    kept, report = after(group, Differing())
    assert pairs_of(kept) == [(0, 2)]
    assert report.pairs_left_out == {"the two responses are the same": 1}
    assert after(dataclasses.replace(group, preferences=(Preference(0, 1),)), Differing())[0] is None


@pytest.mark.parametrize(
    ("bound", "reason"),
    [
        ({"sources": ("b",)}, "of another source"),
        ({"without_sources": ("a",)}, "of source a"),
        ({"min_responses": 3}, "fewer than 3 responses"),
        ({"max_responses": 1}, "more than 1 responses"),
        ({"min_characters": 9}, "a response of fewer than 9 characters"),
        ({"max_characters": 8}, "more than 8 characters"),
    ],
)
def test_bounds_of_keep(bound, reason):
    group = rated(1.0, 2.0, source="a")
    assert after(group, Keep(**bound))[1].groups_left_out == {reason: 1}
    assert (
        after(group, Keep(sources=("a",), max_responses=2, max_turns=1, min_characters=8, max_characters=9))[0] == group
    )


def test_at_most_n_pairs_of_a_prompt_over_all_of_its_groups(through):
    one = rated(
        1.0, 2.0, 3.0, prompt="same", id="g1", preferences=(Preference(2, 0), Preference(2, 1), Preference(1, 0))
    )
    two = rated(1.0, 2.0, prompt="same", id="g2", preferences=(Preference(1, 0),))
    other = rated(1.0, 2.0, prompt="other", id="g3", preferences=(Preference(1, 0),))
    kept, (report,) = through([one, two, other], PerPrompt(max_pairs=2))
    assert sum(len(group.preferences) for group in kept if group.prompt == one.prompt) == 2
    assert sum(len(group.preferences) for group in kept) == report.pairs_out == 3
    assert all(
        set(group.preferences) <= set(before.preferences)
        for group in kept
        for before in (one, two, other)
        if before.id == group.id
    )


def test_every_pair_of_a_prompt_is_as_likely_to_stay(through):
    groups = [
        rated(
            1.0, 2.0, 3.0, prompt=f"q{n}", id=f"{n}", preferences=(Preference(2, 0), Preference(2, 1), Preference(1, 0))
        )
        for n in range(3000)
    ]
    kept, _ = through(groups, PerPrompt(max_pairs=1))
    drawn = Counter(pairs_of(group)[0] for group in kept)
    assert len(kept) == 3000
    assert all(abs(drawn[pair] - 1000) < 5 * (3000 * 2 / 9) ** 0.5 for pair in ((2, 0), (2, 1), (1, 0)))


@settings(max_examples=40, deadline=None)
@given(
    prompts=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=12),
    most=st.integers(1, 4),
)
def test_the_cap_of_pairs_equals_the_closed_form(prompts, most, tmp_path_factory):
    groups = [
        rated(*range(5), prompt=f"q{prompt}", id=str(n), preferences=tuple(Preference(4, low) for low in range(count)))
        for n, (prompt, count) in enumerate(prompts)
    ]
    kept, (report,) = apply_rules(
        GroupSet.from_groups(groups), [PerPrompt(max_pairs=most)], seed=1, folder=tmp_path_factory.mktemp("rules")
    )
    total = Counter()
    for prompt, count in prompts:
        total[prompt] += count
    assert report.pairs_out == sum(min(count, most) for count in total.values())
    assert all(group.preferences for group in kept)


def test_the_first_of_equal_groups_or_prompts_stays(through):
    same = rated(1.0, 2.0, id="a", source="x")
    groups = [same, dataclasses.replace(same, id="b", source="y"), rated(2.0, 1.0, id="c")]
    assert [group.id for group in through(groups, Distinct())[0]] == ["a", "c"]
    kept, (report,) = through(groups, Distinct(of="prompt"))
    assert [group.id for group in kept] == ["a"]
    assert report.groups_left_out == {"the prompt came before": 2}


def test_a_sample_is_the_same_whatever_the_order_and_differs_by_seed(through):
    groups = [rated(1.0, prompt=f"q{n}", id=str(n)) for n in range(200)]
    drawn = {group.id for group in through(groups, Sample(groups=50))[0]}
    assert len(drawn) == 50
    assert drawn == {group.id for group in through(groups[::-1], Sample(groups=50))[0]}
    assert drawn != {group.id for group in through(groups, Sample(groups=50), seed=1)[0]}
    assert len(through(groups, Sample(fraction=0.1))[0]) == 20
    assert len(through(groups, Sample(groups=500))[0]) == 200
    for wrong in ({}, {"groups": 1, "fraction": 0.5}):
        with pytest.raises(pydantic.ValidationError):
            Sample(**wrong)


def test_a_slice_is_by_position(through):
    groups = [rated(1.0, prompt=f"q{n}", id=str(n)) for n in range(5)]
    assert [group.id for group in through(groups, Slice(start=1, stop=3))[0]] == ["1", "2"]
    with pytest.raises(pydantic.ValidationError):
        Slice(start=3, stop=3)


def test_rules_of_both_kinds_follow_each_other_and_their_counts_join(through):
    groups = [rated(1.0, float(n % 3), prompt=f"q{n}", id=str(n)) for n in range(9)]
    kept, reports = through(groups, Pairs(by="score"), Slice(stop=4), Pairs(choose="given", by="score", min_gap=1.0))
    # ratings 1 against 0, 1, 2, 0, 1, 2 …: the ties go, six stay; then the first four; all differ by 1
    assert [report.groups_out for report in reports] == [6, 4, 4]
    assert [report.pairs_in for report in reports] == [0, 6, 4]
    assert len(kept) == 4


def test_counts_that_do_not_add_up_are_no_report():
    with pytest.raises(pydantic.ValidationError, match="do not add up"):
        RuleReport(rule="keep", groups_in=3, groups_out=2, pairs_in=0, pairs_out=0)


def test_a_rule_is_told_in_one_line():
    assert rule_text(Pairs(by="score", min_ratio=2.0)) == "pairs by=score min_ratio=2.0"
    assert rule_text(Keep(sources=("a", "b"))) == "keep sources=a,b"
