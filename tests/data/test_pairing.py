"""Ranks follow from ratings and preferences from ranks, by hand and by property."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plaudit.data.reading.read import read_groups
from plaudit.data.schema.group import Group, Preference, conversation
from plaudit.data.schema.pairing import ranks_of, with_all_pairs, with_ranks_from
from plaudit.errors import DataError


def group_of(**labels):
    return Group(conversation("q"), ("a", "b", "c", "d"), id="g", **labels)


def test_ranks_from_a_rating_share_places_and_leave_out_what_is_unrated():
    group = with_ranks_from(group_of(ratings={"score": (3.0, None, 5.0, 3.0)}), "score")
    assert group.ranks == (2, None, 1, 2)


def test_ranks_that_are_there_and_groups_without_the_attribute_stay_as_they_are():
    ranked = group_of(ranks=(1, 2, 3, 4), ratings={"score": (1.0, 2.0, 3.0, 4.0)})
    assert with_ranks_from(ranked, "score") is ranked
    other = group_of(ratings={"other": (1.0, 2.0, 3.0, 4.0)})
    assert with_ranks_from(other, "score") is other


def test_all_pairs_by_hand():
    group = with_all_pairs(group_of(ranks=(2, None, 1, 2)))
    assert group.preferences == (Preference(2, 0), Preference(2, 3))
    unranked = group_of()
    assert with_all_pairs(unranked) is unranked


def test_preferences_of_the_data_are_kept():
    group = dataclasses.replace(group_of(ranks=(1, 2, 3, 4)), preferences=(Preference(3, 0),))
    assert with_all_pairs(group) is group


def test_a_file_is_read_with_ranks_and_pairs_from_its_ratings(tmp_path):
    row = {"prompt": "q", "responses": ["a", "b", "c"], "ratings": {"score": [1, 3, 2]}}
    path = tmp_path / "rated.jsonl"
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    (plain,) = read_groups(path, cache_dir=tmp_path / "cache")
    assert (plain.ranks, plain.preferences) == (None, ())
    (group,) = read_groups(path, cache_dir=tmp_path / "cache", ranks_from="score", pairs="all")
    assert group.ranks == (3, 1, 2)
    assert {(each.chosen, each.rejected) for each in group.preferences} == {(1, 0), (2, 0), (1, 2)}


@given(st.lists(st.one_of(st.none(), st.integers(0, 4).map(float)), min_size=4, max_size=4))
def test_every_pair_goes_to_the_higher_rating_and_every_untied_pair_is_there(values):
    group = with_all_pairs(group_of(ranks=ranks_of(values)) if any(v is not None for v in values) else group_of())
    found = {(each.chosen, each.rejected) for each in group.preferences}
    wanted = {
        (i, j)
        for i, first in enumerate(values)
        for j, second in enumerate(values)
        if first is not None and second is not None and first > second
    }
    assert found == wanted


def test_more_preferences_than_fit_the_memory_are_refused_with_their_number():
    group = Group(conversation("q"), tuple(map(str, range(1500))), ranks=tuple(range(1, 1501)), id="a")
    with pytest.raises(DataError, match="group a: pairs is all, and 1,500 ranked responses make 1,124,250 preferences"):
        with_all_pairs(group)
    tied = dataclasses.replace(group, ranks=(1, *[2] * 1499))
    assert len(with_all_pairs(tied).preferences) == 1499
