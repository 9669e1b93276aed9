"""Any valid group is the same after its row, after JSON, and after Arrow."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from plaudit.data.reading.sources.groups import group_to_row
from plaudit.data.schema.group import LARGEST, Group, Message, Preference, Step
from plaudit.data.schema.group_set import GroupSet

from .rows import read_row

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).filter(lambda t: not t.isspace())
labels = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
numbers = st.one_of(st.floats(-LARGEST, LARGEST), st.integers(-(10**15), 10**15))


def optional(strategy):
    return st.none() | strategy


@st.composite
def prompts(draw):
    system = [Message("system", draw(texts))] if draw(st.booleans()) else []
    turns = draw(st.lists(st.builds(Message, st.sampled_from(["user", "assistant", "tool"]), texts), max_size=3))
    return (*system, *turns, Message(draw(st.sampled_from(["user", "tool"])), draw(texts)))


@st.composite
def steps_of(draw, response):
    ends = sorted(draw(st.sets(st.integers(1, len(response)), max_size=4)))
    return tuple(Step(end, draw(optional(numbers))) for end in ends)


@st.composite
def groups(draw):
    responses = tuple(draw(st.lists(texts, min_size=1, max_size=4)))
    count = len(responses)
    each = {"min_size": count, "max_size": count}
    pairs = [(i, j) for i in range(count) for j in range(count) if i != j]
    probabilities = optional(st.floats(0, 1))
    preferences = [
        Preference(*draw(st.sampled_from(pairs)), draw(optional(numbers)), draw(probabilities))
        for _ in range(draw(st.integers(0, 2)) if pairs else 0)
    ]
    return Group(
        draw(prompts()),
        responses,
        tuple(preferences),
        ranks=draw(optional(st.lists(optional(st.integers(1, 9)), **each).map(tuple))),
        ratings=draw(st.dictionaries(labels, st.lists(optional(numbers), **each).map(tuple), max_size=2)),
        outcomes=draw(optional(st.lists(optional(st.booleans()), **each).map(tuple))),
        steps=draw(optional(st.tuples(*(optional(steps_of(response)) for response in responses)))),
        id=draw(labels),
        source=draw(labels),
    )


@settings(max_examples=150, deadline=None)
@given(groups())
def test_a_group_is_equal_after_its_row_as_json(group):
    assert read_row(json.loads(json.dumps(group_to_row(group))), "groups") == group


@settings(max_examples=60, deadline=None)
@given(st.lists(groups(), max_size=6))
def test_groups_are_equal_after_arrow_in_any_selection(many):
    stored = GroupSet.from_groups(many)
    assert list(stored) == many
    backwards = list(range(len(many)))[::-1]
    assert list(stored.select(backwards)) == many[::-1]
    assert [stored[index] for index in backwards] == many[::-1]


@settings(max_examples=60, deadline=None)
@given(groups(), groups())
def test_fingerprints_are_equal_where_the_groups_are(first, second):
    one, two = (GroupSet.from_groups([group]).fingerprint for group in (first, second))
    assert GroupSet.from_groups([first]).fingerprint == one
    if first != second:
        assert one != two
