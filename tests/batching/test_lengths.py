"""``truncate_response`` cuts what the tokenizer itself would cut, each response by itself, and counts it."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers.processors import TemplateProcessing

from plaudit.batching.encode import IDENTICAL_PAIR, Encoder, EncodingReport, NotEncoded
from plaudit.batching.truncation import PROMPT_TOO_LONG, RESPONSE_TOKENS_CUT, RESPONSES_CUT
from plaudit.data.schema.group import Group, Preference, Step, conversation
from plaudit.models.checkpoint.recipe import NAMED_TEMPLATES

LONG, LONGER = "red cat sees " * 24, "blue dog never eats " * 20


@pytest.fixture
def encoder(tokenizer):
    def make(max_length=60, **changes):
        options = {"chat_template": tokenizer.chat_template, "special_tokens": False, "final_token": None}
        own = changes.pop("tokenizer", tokenizer)
        return Encoder(tokenizer=own, max_length=max_length, truncation="truncate_response", **(options | changes))

    return make


def encode(made, *groups):
    report = EncodingReport()
    return list(made.encode(list(enumerate(groups)), report)), report


def ids(token_group):
    return [token_group.tree.sequence(k).tolist() for k in range(token_group.num_responses)]


def by_tokenizer(made, group, max_length):
    return [
        made.tokenizer(text, add_special_tokens=made.special_tokens, truncation=True, max_length=max_length)[
            "input_ids"
        ]
        for text in made.texts(group)
    ]


def test_the_ids_are_those_of_the_tokenizers_own_truncation_and_both_sides_are_counted(encoder):
    made, group = encoder(), Group(conversation("hi"), (LONG, "yes", LONGER))
    whole = [len(each) for each in by_tokenizer(made, group, 10_000)]
    (found,), report = encode(made, group)
    assert ids(found) == by_tokenizer(made, group, 60)
    assert found.lengths().tolist() == [60, whole[1], 60]
    assert report.changed == {RESPONSES_CUT: 2, RESPONSE_TOKENS_CUT: whole[0] + whole[2] - 120}
    (uncut,), _ = encode(encoder(10_000), group)
    assert found.response_start.tolist() == uncut.response_start.tolist()


def test_what_the_tokenizer_puts_behind_a_text_stays_behind_the_cut(encoder, tokenizer):
    own = copy.deepcopy(tokenizer)
    first, last = own.convert_ids_to_tokens([5, 6])
    own.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{first} $A {last}", special_tokens=[(first, 5), (last, 6)]
    )
    made = encoder(tokenizer=own, chat_template=NAMED_TEMPLATES["plain"], special_tokens=True)
    (found,), _ = encode(made, Group(conversation("hi"), (LONG, "yes")))
    wanted = by_tokenizer(made, Group(conversation("hi"), (LONG, "yes")), 60)
    assert ids(found) == wanted
    assert (wanted[0][0], wanted[0][-1], len(wanted[0])) == (5, 6, 60)


def test_a_final_token_of_plaudits_own_stays_behind_the_cut(encoder, tokenizer):
    end = tokenizer.eos_token_id
    made = encoder(chat_template=NAMED_TEMPLATES["plain"], final_token=end)
    (found,), _ = encode(made, Group(conversation("hi"), (LONG,)))
    (text,) = made.texts(Group(conversation("hi"), (LONG,)))
    assert ids(found) == [[*tokenizer(text, add_special_tokens=False)["input_ids"][:59], end]]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(count=st.integers(1, 60), limit=st.integers(20, 90))
def test_the_reward_position_and_ids_never_depend_on_a_sibling(encoder, count, limit):
    response = "one small tree " * count
    both = Group(conversation("why"), (response, LONGER))
    alone = Group(conversation("why"), (response,))
    (found,), _ = encode(encoder(limit), both)
    (single,), _ = encode(encoder(limit), alone)
    assert ids(found)[0] == ids(single)[0]
    assert len(ids(found)[0]) <= limit


def test_a_response_of_which_nothing_would_be_left_is_left_out_and_counted(encoder):
    group = Group(conversation("how " * 80), (LONG,))
    (left,), report = encode(encoder(), group)
    assert left == NotEncoded(0, PROMPT_TOO_LONG)
    assert report.dropped == {PROMPT_TOO_LONG: 1}
    assert report.changed == {}
    (whole,), _ = encode(encoder(10_000), group)
    start = int(whole.response_start[0])
    (kept,), _ = encode(encoder(start + 1), group)
    assert len(ids(kept)[0]) == start + 1
    assert encode(encoder(start), group)[0] == [NotEncoded(0, PROMPT_TOO_LONG)]


def test_pairs_that_the_cut_makes_identical_are_counted_and_steps_behind_it_are_gone(encoder):
    same = "one two three " * 30
    steps = ((Step(3, 1.0), Step(len(same.strip()), 0.0)), (Step(3, 1.0),))
    group = Group(conversation("hi"), (same + "good", same + "bad"), (Preference(0, 1),), steps=steps)
    (found,), report = encode(encoder(), group)
    assert ids(found)[0] == ids(found)[1]
    assert report.changed[IDENTICAL_PAIR] == 1
    assert found.step_response.tolist() == [0, 1]
    np.testing.assert_array_equal(found.step_label, [1.0, 1.0])
    assert found.step_position.max() < 60


def test_groups_within_the_limit_are_as_under_any_other_rule(encoder, make_groups):
    groups = make_groups(6)
    made, report = encode(encoder(400), *groups)
    other, _ = encode(
        dataclasses.replace(encoder(400), truncation="drop"),
        *groups,
    )
    assert [ids(each) for each in made] == [ids(each) for each in other]
    assert report.changed == {}
