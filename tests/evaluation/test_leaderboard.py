"""Leaderboards: order, scores, the letters of models that cannot be told apart, and what is not common to all."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plaudit.evaluation.compare.leaderboard import inseparable, leaderboards, letter
from plaudit.records import ItemScore
from plaudit.statistics.intervals import wilson_interval


def items(right: str, *, start: int = 0) -> list[ItemScore]:
    """Return one pair for each character: ``+`` right, ``-`` wrong, ``.`` without a reward."""
    rewards = {"+": (1.0, 0.0), "-": (0.0, 1.0), ".": (None, 1.0)}
    return [
        ItemScore(
            id=f"i{k}",
            source="",
            prompt_key=f"p{k}",
            rewards=rewards[each],
            lengths=(1, 2),
            preferences=((0, 1),),
        )
        for k, each in enumerate(right, start=start)
    ]


def test_models_are_ordered_by_score_and_those_that_differ_surely_share_no_letter():
    models = {"poor": items("-" * 20), "good": items("+" * 20), "better than half": items("+" * 11 + "-" * 9)}
    (board,) = leaderboards(models, tie_rule="loss")
    assert [(each.name, each.score.value) for each in board.standings] == [
        ("good", 1.0),
        ("better than half", 0.55),
        ("poor", 0.0),
    ]
    # p = 2 ÷ 2^20, 2 ÷ 2^9 and 2 ÷ 2^11: all below .05 after Holm.
    assert [each.letters for each in board.standings] == ["a", "b", "c"]
    assert board.standings[1].score == wilson_interval(11, 20)
    assert (board.kind, board.items, board.left_out, board.unjudged) == ("preference", 20, 0, 0)


def test_a_model_between_two_others_shares_a_letter_with_each():
    # Against the middle one, four pairs are gained and four lost: p = 2 ÷ 16. Between the ends it is 2 ÷ 256, times 3.
    models = {"top": items("+" * 8), "middle": items("+" * 4 + "-" * 4), "last": items("-" * 8)}
    (board,) = leaderboards(models, tie_rule="loss")
    assert [(each.name, each.letters) for each in board.standings] == [("top", "a"), ("middle", "a b"), ("last", "b")]


def test_only_what_all_models_have_is_compared_and_the_rest_is_counted():
    models = {"a": items("+++."), "b": items("-+++", start=1)}
    (board,) = leaderboards(models, tie_rule="loss")
    # i1 to i3 are common; the first model has no reward for i3.
    assert (board.items, board.left_out, board.unjudged) == (3, 1, 1)
    assert [(each.name, each.score.value, each.score.n) for each in board.standings] == [("a", 1.0, 2), ("b", 0.5, 2)]
    assert leaderboards({"a": items("+"), "b": items("+", start=5)}, tie_rule="loss") == []
    assert leaderboards({"a": items(".."), "b": items("++")}, tie_rule="loss") == []
    assert leaderboards({"a": items("++")}, tie_rule="loss") == []


@given(st.integers(1, 6), st.data())
def test_two_share_a_group_where_they_are_not_parted_and_only_there(count, data):
    pairs = list(combinations(range(count), 2))
    parted = set(data.draw(st.lists(st.sampled_from(pairs), unique=True))) if pairs else set()
    groups = inseparable(count, parted)
    for pair in pairs:
        assert any(set(pair) <= group for group in groups) == (pair not in parted)
    assert all(any(k in group for group in groups) for k in range(count))
    assert not any(one < other for one in groups for other in groups)


@pytest.mark.parametrize(("number", "name"), [(0, "a"), (25, "z"), (26, "aa"), (51, "az"), (52, "ba")])
def test_letters_go_on_after_z(number, name):
    assert letter(number) == name
