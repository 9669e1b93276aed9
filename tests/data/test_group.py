"""The rules of the schema hold for groups made in Python."""

from __future__ import annotations

import dataclasses

import pytest

from plaudit.data.schema.group import Group, Message, Preference, Step, conversation
from plaudit.errors import InvalidGroupError

PROMPT = (Message("user", "Q"),)


@pytest.mark.parametrize(
    ("fields", "fragment"),
    [
        ({"responses": (3,)}, r"responses\[0\] is int; it must be a string"),
        ({"responses": ("a\ud800",)}, r"responses\[0\] holds a lone surrogate at character 1"),
        ({"preferences": (Preference(0, True),)}, r"preferences\[0\].rejected is True"),
        ({"preferences": (Preference(-1, 0),)}, r"preferences\[0\].chosen is -1; .* from 0 to 1"),
        ({"preferences": (Preference(0, 1, margin=10**400),)}, "an integer too large for a 64-bit float"),
        (
            {"preferences": (Preference(0, 1, probability=float("nan")),)},
            "probability is nan; it must be finite",
        ),
        ({"ranks": (1, 2**31)}, r"ranks\[1\] is 2147483648; it must be an integer from 1"),
        ({"ranks": (True, 2)}, r"ranks\[0\] is True"),
        ({"ratings": {"x": (1.0,)}}, r"ratings\['x'\] has 1 entries for 2 responses"),
        ({"ratings": {"\ud800": (1.0, 2.0)}}, "an attribute name holds a lone surrogate"),
        ({"ratings": {7: (1.0, 2.0)}}, "an attribute name is int; it must be a string"),
        ({"outcomes": (1, None)}, r"outcomes\[0\] is 1; it must be true, false or null"),
        ({"steps": ((Step(1, None), Step(1, None)), None)}, r"steps\[0\]\[1\].end is 1; it must lie after 1"),
        ({"id": "\ud800"}, "id holds a lone surrogate"),
        ({"source": None}, "source is NoneType; it must be a string"),
    ],
)
def test_a_broken_rule_names_the_field(fields, fragment):
    with pytest.raises(InvalidGroupError, match=fragment):
        Group(**{"prompt": PROMPT, "responses": ("a", "b"), **fields})


def test_a_group_cannot_be_changed():
    group = Group(PROMPT, ("a",))
    with pytest.raises(dataclasses.FrozenInstanceError):
        group.id = "other"


def test_the_prompt_key_ignores_space_at_the_ends_of_turns_but_not_who_speaks():
    assert Group((Message("user", " Q\n"),), ("a",)).prompt_key == Group(PROMPT, ("b",)).prompt_key
    assert Group((Message("tool", "Q"),), ("a",)).prompt_key != Group(PROMPT, ("a",)).prompt_key


def test_a_conversation_is_made_of_text_messages_or_objects():
    assert conversation("Q") == PROMPT
    assert conversation([{"role": "user", "content": "Q"}]) == PROMPT
    assert conversation(PROMPT) == PROMPT
    with pytest.raises(InvalidGroupError, match=r"prompt\[0\] is str; it must be an object"):
        conversation(["Q"])


def test_a_group_of_too_many_responses_is_refused_with_the_number_allowed():
    with pytest.raises(InvalidGroupError, match="responses has 16,385 entries; a group has at most 16,384"):
        Group(PROMPT, ("A",) * 16_385)
