"""Shuffles, changes of style and truncations keep every label true, and leave alone what they cannot be sure of."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plaudit.data.mixing.augment import augmented
from plaudit.data.mixing.config import Restyle, Shuffle, Truncation
from plaudit.data.mixing.edits import cut_places, reordered, restyled
from plaudit.data.mixing.report import AugmentTally
from plaudit.data.schema.group import Group, Preference, Step, conversation


def run(groups, rule, *, seed=0):
    tally = AugmentTally()
    return list(augmented(groups, rule, seed=seed, tally=tally)), tally.report(rule)


def pair(chosen, rejected, **fields):
    return Group(conversation("hi"), (chosen, rejected), (Preference(0, 1),), **({"id": "g"} | fields))


# -------------------------------------------------------------------------------------------------- shuffle


def labels_by_text(group):
    """Every label of the group, by the texts of its responses."""
    names = group.responses
    return (
        sorted((names[p.chosen], names[p.rejected], p.margin, p.probability) for p in group.preferences),
        dict(zip(names, group.ranks, strict=True)),
        {attribute: dict(zip(names, values, strict=True)) for attribute, values in group.ratings.items()},
        dict(zip(names, group.outcomes, strict=True)),
        dict(zip(names, group.steps, strict=True)),
    )


def test_every_label_moves_with_its_response(make_labelled_groups):
    given_groups = make_labelled_groups(60)
    found, report = run(given_groups, Shuffle())
    for before, after in zip(given_groups, found, strict=True):
        assert labels_by_text(after) == labels_by_text(before)
        assert (after.id, after.source, after.prompt) == (before.id, before.source, before.prompt)
    moved = sum(before.responses != after.responses for before, after in zip(given_groups, found, strict=True))
    assert moved == report.augmented > 30
    assert report.groups_out == report.groups_in == 60


def test_a_reordered_group_holds_its_labels_at_the_new_places():
    group = Group(conversation("q"), ("a", "b", "c"), (Preference(2, 0, margin=3.0),), ranks=(3, 2, 1), id="g")
    assert reordered(group, (1, 2, 0)) == Group(
        group.prompt, ("b", "c", "a"), (Preference(1, 2, margin=3.0),), ranks=(2, 1, 3), id="g"
    )
    for order in ((0, 1), (0, 0, 1), (1, 2, 3)):
        with pytest.raises(ValueError, match="each of the 3 responses once"):
            reordered(group, order)


def test_every_order_is_drawn_about_equally_often():
    groups = [Group(conversation(f"q{n}"), ("a", "b", "c"), id=f"g{n}") for n in range(1200)]
    found, _ = run(groups, Shuffle())
    counts = Counter(group.responses for group in found)
    assert set(counts) == set(itertools.permutations("abc"))
    # 200 expected, standard deviation sqrt(1200 * 1/6 * 5/6) = 12.9; five of them
    assert all(abs(count - 200) < 65 for count in counts.values())


def test_one_response_has_no_other_order():
    group = Group(conversation("q"), ("a",), id="g")
    found, report = run([group], Shuffle())
    assert found == [group]
    assert report.left_alone == {"one response": 1}


# ---------------------------------------------------------------------------------------------------- style


@pytest.mark.parametrize(
    ("transform", "text", "expected"),
    [
        ("whitespace", " a  \nb\t\r\n\n\n\nc\n\n", "a\nb\n\nc"),
        ("whitespace", "    indented\n    code", "    indented\n    code"),
        ("whitespace", "a  b", "a  b"),
        ("bold", "a **bold word** and **x**, **y**.", "a bold word and x, y."),
        ("bold", "**a *b* c** **d ** e**", "a *b* c **d ** e**"),
        ("bold", "2 ** 3 ** 4 and 2**3**4 and ** a **", "2 ** 3 ** 4 and 2**3**4 and ** a **"),
        ("bold", "__init__ and *italic* and ***both***", "__init__ and *italic* and ***both***"),
        ("bold", "**over\ntwo lines**", "**over\ntwo lines**"),
        ("bold", "run `2 **a** 3` or **`this`**", "run `2 **a** 3` or `this`"),
        ("headings", "# One\n## Two\n#3 is no heading\ntext # four", "One\nTwo\n#3 is no heading\ntext # four"),
        ("headings", "`x`# no heading", "`x`# no heading"),
        ("headings", "```\n# a comment\n```\n# Title", "```\n# a comment\n```\nTitle"),
        ("headings", "```python\n# never closed", "```python\n# never closed"),
        ("bullets", "- one\n  * two\n• three\n- - -\n- 5\n1. four", "one\n  two\nthree\n- - -\n- 5\n1. four"),
        ("bullets", "~~~\n- a\n~~~\n- b", "~~~\n- a\n~~~\nb"),
    ],
)
def test_a_transform_changes_this_and_nothing_else(transform, text, expected):
    assert restyled(text, (transform,)) == expected
    assert restyled(expected, (transform,)) == expected


def test_code_keeps_its_place_even_where_the_text_holds_private_characters():
    text = "\ue000 **a** `**b**`\n\n\n\n```\nx  \n\n\n\ny\n```\n**c** `d`"
    assert restyled(text, ("whitespace", "bold")) == "\ue000 a `**b**`\n\n```\nx  \n\n\n\ny\n```\nc `d`"


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from("ab*#-` \n~1\t"), max_size=60))
def test_restyling_twice_is_restyling_once_and_letters_stay(text):
    once = restyled(text, ("whitespace", "headings"))
    assert restyled(once, ("whitespace", "headings")) == once
    every = restyled(text, ("whitespace", "bold", "headings", "bullets"))
    assert [c for c in every if c in "ab1"] == [c for c in text if c in "ab1"]


@pytest.mark.parametrize("text", ["a" + " " * 200_000 + "b", "**a " * 20_000, "`a " * 20_000, "```\nx\n" * 10_001])
def test_long_runs_of_one_mark_take_no_longer_than_other_text(text):
    started = time.process_time()
    restyled(text, ("whitespace", "bold", "headings", "bullets"))
    cut_places(text, "word", (0.1, 0.9))
    assert time.process_time() - started < 5.0


def test_the_copy_stands_beside_its_group_under_the_same_labels():
    group = pair("**yes** ", "no\n", ranks=(1, 2), source="s")
    found, report = run([group], Restyle())
    assert found == [
        group,
        dataclasses.replace(group, responses=("yes", "no"), id="g#style", source="style:s"),
    ]
    assert (report.groups_added, report.preferences_made) == (1, {"restyled": 1})
    found, report = run([group], Restyle(keep_original=False))
    assert found == [dataclasses.replace(group, responses=("yes", "no"))]
    assert report.groups_out == 1


@pytest.mark.parametrize(
    ("group", "reason"),
    [
        (pair("yes", "no"), "nothing to change"),
        (pair("**yes**", "yes"), "different responses would become equal"),
        (pair("**yes**", "no", steps=((Step(3, 1.0),), None)), "labelled steps"),
    ],
)
def test_a_group_whose_labels_might_not_survive_is_left_alone(group, reason):
    found, report = run([group], Restyle())
    assert found == [group]
    assert report.left_alone == {reason: 1}


# ----------------------------------------------------------------------------------------------- truncation

LONG = (
    "The tides are made by the moon, and a little by the sun. Water on the near side is pulled more than the earth. "
    "So it rises there! Does it rise on the far side, too? It does, because the earth is pulled more than that water."
)


def test_a_word_cut_breaks_off_inside_a_sentence():
    places = cut_places(LONG, "word", (0.1, 0.9))
    assert len(places) > 20
    for place in places:
        assert LONG[place - 1].isalpha()
        assert LONG[place] == " "
        assert 0.1 * len(LONG) <= place <= 0.9 * len(LONG)
    assert cut_places("one two\nthree (four) five", "word", (0.0, 1.0)) == [3, 13]


def test_a_sentence_cut_ends_behind_a_sentence():
    starts = [LONG[:place].split(". ")[-1] for place in cut_places(LONG, "sentence", (0.1, 0.9))]
    assert len(starts) == 4
    assert cut_places('He said "No!" Then 3.14 came. End.', "sentence", (0.0, 1.0)) == [13, 29]
    assert cut_places("今日は雨です。明日は晴れ。終", "sentence", (0.0, 1.0)) == [7, 13]
    assert cut_places("今日は雨です。明日は晴れ。終", "word", (0.0, 1.0)) == []


@pytest.mark.parametrize("cut", ["word", "sentence"])
def test_the_chosen_response_wins_against_its_own_beginning(cut):
    for seed in range(10):
        group = pair(f"{LONG}\n", "no", source="s")
        (first, made), report = run([group], Truncation(cut=cut, share=1.0), seed=seed)
        assert first == group
        (preference,) = made.preferences
        whole, beginning = made.responses[preference.chosen], made.responses[preference.rejected]
        assert whole == LONG
        assert whole.startswith(beginning)
        assert 0.3 * len(LONG) <= len(beginning) <= 0.8 * len(LONG)
        assert (made.id, made.source, made.prompt) == ("g#truncation", "truncation:s", group.prompt)
        assert report.preferences_made == {"truncated": 1}


def test_the_rejected_response_is_never_the_whole_one():
    turned = Group(conversation("hi"), (LONG, f"Yes. {LONG}"), (Preference(0, 1, probability=0.2),), id="g")
    (_, made), _ = run([turned], Truncation(share=1.0))
    assert made.responses[made.preferences[0].chosen] == f"Yes. {LONG}"


def test_both_orders_and_many_places_are_drawn():
    found = [run([pair(LONG, "no", id=f"g{n}")], Truncation(share=1.0))[0][1] for n in range(200)]
    first = sum(made.preferences[0].chosen == 0 for made in found)
    assert 65 < first < 135
    assert len({made.responses[made.preferences[0].rejected] for made in found}) > 10


@pytest.mark.parametrize(
    ("group", "reason"),
    [
        (pair("too short", "no"), "the chosen response is too short"),
        (pair("word" * 40, "no"), "no word ends between the bounds"),
        (Group(conversation("q"), (LONG, "no"), id="g"), "no preference that decides between two different responses"),
        (pair("a" * 50 + " " + "b" * 50, "a" * 50), "the beginning equals a response of the group"),
    ],
)
def test_a_group_that_cannot_be_cut_is_left_alone(group, reason):
    found, report = run([group], Truncation(share=1.0))
    assert found == [group]
    assert report.left_alone == {reason: 1}


def test_about_the_asked_share_of_groups_is_cut():
    groups = [pair(LONG, "no", id=f"g{n}") for n in range(2000)]
    _, report = run(groups, Truncation(share=0.1))
    # standard deviation sqrt(2000 * .1 * .9) = 13.4; five of them
    assert abs(report.augmented - 200) < 67
    assert report.left_alone == {"not drawn": 2000 - report.augmented}


words = st.lists(st.text("abc.,!é。 \n", min_size=1, max_size=12), min_size=1, max_size=40).map(" ".join)


@settings(max_examples=100, deadline=None)
@given(words, st.sampled_from(["word", "sentence"]), st.integers(0, 3))
def test_whatever_is_cut_is_a_shorter_beginning_without_blanks_at_its_ends(text, cut, seed):
    if not text.strip() or text.strip() == "no":
        return
    group = pair(text, "no")
    found, report = run([group], Truncation(cut=cut, share=1.0, min_characters=2), seed=seed)
    assert found[0] == group
    assert len(found) == 1 + report.augmented
    for made in found[1:]:
        (preference,) = made.preferences
        whole, beginning = made.responses[preference.chosen], made.responses[preference.rejected]
        assert whole.startswith(beginning)
        assert len(beginning) < len(whole)
        assert (whole, beginning) == (whole.strip(), beginning.strip())
