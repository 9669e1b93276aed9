"""Steps end where their text ends: found by a separator, made by joining, labelled once where they are shared."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plaudit.data.schema.group import Group, Message, Step
from plaudit.data.schema.steps import join_steps, label_steps_once, split_steps
from plaudit.errors import DataError

QUESTION = (Message("user", "Q"),)


def ends(response, separator="\n"):
    return [step.end for step in split_steps(response, separator)]


@pytest.mark.parametrize(
    ("response", "separator", "expected"),
    [
        ("ab\ncd", "\n", [2, 5]),
        ("ab", "\n", [2]),
        ("ab\n", "\n", [2]),
        ("\nab\n\n \n\t\ncd\n\n", "\n", [3, 11]),  # blank pieces are no steps: "ab" is 1-2, "cd" 9-10
        ("ab  \n cd ", "\n", [2, 8]),  # a step ends before its trailing blanks
        ("ab\r\ncd\r\n\r\n", "\n", [2, 6]),
        ("ab\r\n\r\ncd\n\nef", "\n\n", [2, 8, 12]),  # "\r\n\r\n" is a blank line too
        ("ab\ncd\n\nef", "\n\n", [5, 9]),
        ("ab\n\n\ncd", "\n\n", [2, 7]),
        ("a.b", ".", [1, 3]),  # the separator is text, not a pattern
        ("a<s>b<s>", "<s>", [1, 5]),
        ("", "\n", []),
        (" \n\n", "\n", []),
    ],
)
def test_a_step_ends_just_past_its_last_character(response, separator, expected):
    assert ends(response, separator) == expected
    assert all(step.label is None for step in split_steps(response, separator))


def test_an_empty_separator_is_refused():
    with pytest.raises(DataError, match="step_separator is empty"):
        split_steps("ab", "")


@given(st.text("ab \n\r\t", max_size=30))
def test_every_character_that_is_not_blank_belongs_to_one_step(response):
    steps = split_steps(response, "\n")
    starts = [0, *(step.end for step in steps)]
    pieces = [response[start : step.end].strip() for start, step in zip(starts, steps, strict=False)]
    assert all(piece and "\n" not in piece for piece in pieces)
    assert "".join("".join(pieces).split()) == "".join(response.split())
    Group(QUESTION, (response + "a",), steps=(steps,))  # the offsets are those of a valid group


texts = st.text("abc .", min_size=1, max_size=6).filter(str.strip)


@given(st.lists(st.tuples(texts, st.none() | st.sampled_from([-1.0, 0.0, 1.0])), min_size=1, max_size=6))
def test_joined_steps_are_split_again_at_the_same_places(pieces):
    response, steps = join_steps(pieces, "\n\n")
    assert [step.end for step in steps] == ends(response, "\n\n")
    starts = [0, *(step.end + 2 for step in steps)]
    assert [response[start : step.end] for start, step in zip(starts, steps, strict=False)] == [
        text.strip() for text, _ in pieces
    ]
    assert [step.label for step in steps] == [label for _, label in pieces]


@pytest.mark.parametrize("pieces", [[], [("a", 1.0), (" \n", 1.0)]])
def test_nothing_is_never_a_step(pieces):
    with pytest.raises(ValueError, match="each has text"):
        join_steps(pieces, "\n")


def tree():
    """Two paths that share "ab", and a third that judges "ab" otherwise."""
    return Group(
        QUESTION,
        ("ab\nc", "ab\nd", "ab", "abc"),
        steps=(
            (Step(2, 1.0), Step(4, 0.0)),
            (Step(2, 1.0), Step(4, 0.0)),
            (Step(2, -1.0),),
            None,
        ),
    )


def test_a_shared_step_keeps_its_label_on_the_first_response_only():
    assert label_steps_once(tree()).steps == (
        (Step(2, 1.0), Step(4, 0.0)),
        (Step(2, None), Step(4, 0.0)),
        (Step(2, -1.0),),
        None,
    )


def test_equal_ends_and_labels_of_other_texts_are_not_shared():
    group = Group(QUESTION, ("ab", "cd"), steps=((Step(2, 1.0),), (Step(2, 1.0),)))
    assert label_steps_once(group) == group


def test_groups_without_steps_stay_as_they_are():
    group = Group(QUESTION, ("ab",))
    assert label_steps_once(group) is group
