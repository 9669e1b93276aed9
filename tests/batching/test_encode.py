"""Encoding gives the ids any other tool would, places responses and steps, and counts what it drops or cuts."""

from __future__ import annotations

import copy
import datetime
from dataclasses import replace

import numpy as np
import pytest
from tokenizers.processors import TemplateProcessing

from plaudit.batching.batch import build_batch
from plaudit.batching.encode import (
    EMPTY,
    IDENTICAL_PAIR,
    PAIR_LOST,
    REFUSED,
    REWRITTEN,
    STEPS_LOST,
    Encoder,
    EncodingReport,
    NotEncoded,
)
from plaudit.batching.tokens import TokenGroup
from plaudit.batching.truncation import RESPONSES_TOO_LONG, TOKENS_CUT, TOO_LONG, TRUNCATED
from plaudit.data.schema.group import Group, Message, Preference, Step, conversation

PLAIN = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"


@pytest.fixture
def encoder(tokenizer):
    def make(**changes):
        fields = {
            "tokenizer": tokenizer,
            "chat_template": tokenizer.chat_template,
            "special_tokens": False,
            "final_token": None,
            "max_length": 512,
            "truncation": "truncate_prompt",
        }
        return Encoder(**(fields | changes))

    return make


def encode(encoder, *groups):
    report = EncodingReport()
    return list(encoder.encode(list(enumerate(groups)), report)), report


TURNS = (
    Message("system", "be good"),
    Message("user", "why two?"),
    Message("assistant", "because."),
    Message("user", "and three?"),
)
GROUP = Group(TURNS, ("yes, three", "no", "  red\nblue  "), (Preference(0, 1), Preference(1, 2, 0.5, 0.75)), id="a")


# ------------------------------------------------------------------------------------------------ ids


def test_ids_are_those_of_the_whole_conversation_through_the_tokenizers_own_template(encoder, tokenizer):
    (encoded,), report = encode(encoder(), GROUP)
    for k, response in enumerate(GROUP.responses):
        turns = [{"role": m.role, "content": m.content} for m in TURNS]
        turns.append({"role": "assistant", "content": response})
        wanted = tokenizer.apply_chat_template(turns, tokenize=True, return_dict=False)
        assert encoded.tree.sequence(k).tolist() == wanted
    assert (report.groups, report.kept, dict(report.dropped), dict(report.changed)) == (1, 1, {}, {})


def test_sharing_is_found_in_the_ids_and_changes_none(encoder):
    (shared,), _ = encode(encoder(min_saving=1), GROUP)
    (apart,), _ = encode(encoder(min_saving=10**6), GROUP)
    assert shared.tree.num_tokens < apart.tree.num_tokens
    for k in range(3):
        assert shared.tree.sequence(k).tolist() == apart.tree.sequence(k).tolist()


def test_a_response_starts_where_its_text_starts(encoder, tokenizer):
    (encoded,), _ = encode(encoder(), GROUP)
    for k, response in enumerate(GROUP.responses):
        tail = encoded.tree.sequence(k)[encoded.response_start[k] :]
        assert tokenizer.decode(tail).lstrip().startswith(response.strip())
        head = tokenizer.decode(encoded.tree.sequence(k)[: encoded.response_start[k]])
        assert response.strip() not in head or k == 1


def test_a_response_whose_words_also_stand_in_the_template_is_found_at_its_own_place(encoder, tokenizer):
    template = (
        "{% for m in messages %}<{{ m.role }}>{% if m.role == 'assistant' %} {% endif %}"
        "{{ m.content }}</end>{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    group = Group(conversation("say end"), ("end", "d"))
    (encoded,), _ = encode(encoder(chat_template=template), group)
    for k, response in enumerate(group.responses):
        tail = tokenizer.decode(encoded.tree.sequence(k)[encoded.response_start[k] :])
        assert tail.lstrip() == f"{response}</end>"


def test_the_last_place_is_taken_where_the_generation_prompt_differs_from_the_rendered_turn(encoder, tokenizer):
    template = (
        "{% for m in messages %}{{ m.role }}|{{ m.content }}|end|{% endfor %}"
        "{% if add_generation_prompt %}assistant|<think>{% endif %}"
    )
    group = Group(conversation("the end"), ("the end", "no"))
    (encoded,), _ = encode(encoder(chat_template=template), group)
    for k, response in enumerate(group.responses):
        tail = tokenizer.decode(encoded.tree.sequence(k)[encoded.response_start[k] :])
        assert tail == f"{response}|end|"


def test_a_response_that_repeats_words_of_the_template_is_not_looked_for_in_them(encoder, tokenizer):
    template = (
        "{% for m in messages %}{{ m.role }}|{{ m.content }}|end|{% endfor %}"
        "{% if add_generation_prompt %}assistant|<think>{% endif %}"
    )
    group = Group(conversation("say it"), ("end", "a"))
    (encoded,), _ = encode(encoder(chat_template=template), group)
    for k, response in enumerate(group.responses):
        tail = tokenizer.decode(encoded.tree.sequence(k)[encoded.response_start[k] :])
        assert tail == f"{response}|end|"


# ------------------------------------------------------------------------------------- special tokens


@pytest.fixture
def with_bos(tokenizer):
    """A tokenizer that has a BOS and adds it when asked to add special tokens."""
    made = copy.deepcopy(tokenizer)
    made.add_special_tokens({"bos_token": "<|bos|>"})
    number = made.convert_tokens_to_ids("<|bos|>")
    made.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|bos|> $A", special_tokens=[("<|bos|>", number)]
    )
    return made


def test_special_tokens_are_added_only_when_the_recipe_says_so(encoder, with_bos):
    bos = with_bos.bos_token_id
    for asked, first in ((True, [bos]), (False, [])):
        (encoded,), _ = encode(encoder(tokenizer=with_bos, chat_template=PLAIN, special_tokens=asked), GROUP)
        plain = with_bos(encoder(chat_template=PLAIN).render(TURNS, "no"), add_special_tokens=False)["input_ids"]
        assert encoded.tree.sequence(1).tolist() == first + plain


def test_the_final_token_is_appended_where_it_is_not_there_already(encoder, tokenizer):
    eos = tokenizer.eos_token_id
    (without,), _ = encode(encoder(chat_template=PLAIN), GROUP)
    (appended,), _ = encode(encoder(chat_template=PLAIN, final_token=eos), GROUP)
    assert appended.tree.sequence(0).tolist() == [*without.tree.sequence(0).tolist(), eos]
    (written,), _ = encode(encoder(), GROUP)
    (same,), _ = encode(encoder(final_token=eos), GROUP)
    assert written.tree.sequence(0).tolist() == same.tree.sequence(0).tolist()


# ------------------------------------------------------------------------------------------ truncation


def long_group(prompt=60):
    return Group(
        conversation("cat dog " * prompt),
        ("yes " * 30, "no"),
        (Preference(0, 1),),
        steps=((Step(11, 1.0), Step(39, 0.0)), None),
    )


def test_truncation_cuts_each_conversation_by_itself_behind_bos_and_no_token_of_a_response(encoder, with_bos):
    group, fields = long_group(), {"tokenizer": with_bos, "special_tokens": True}
    (whole,), _ = encode(encoder(**fields), group)
    limit = int(whole.lengths().max()) - 17
    (cut,), report = encode(encoder(max_length=limit, **fields), group)
    # the shorter side fits, and keeps its whole prompt
    assert int(whole.lengths()[1]) < limit
    assert cut.lengths().tolist() == [limit, int(whole.lengths()[1])]
    for k, lost in enumerate((17, 0)):
        before, after = whole.tree.sequence(k), cut.tree.sequence(k)
        assert before[0] == with_bos.bos_token_id
        assert after.tolist() == [before[0], *before[1 + lost :]]
        assert cut.response_start[k] == whole.response_start[k] - lost
    assert report.changed == {TRUNCATED: 1, TOKENS_CUT: 17}


@pytest.mark.parametrize("truncation", ["truncate_prompt", "drop"])
def test_the_tokens_of_a_response_never_depend_on_its_siblings(encoder, truncation):
    responses = ("yes", "cat " * 30, "cat dog " * 60, "no " * 20)
    made = encoder(max_length=110, truncation=truncation)
    together = next(made.encode_responses([(0, Group(conversation("red " * 70), responses))], EncodingReport()))
    for k, response in enumerate(responses):
        alone = next(made.encode_responses([(0, Group(conversation("red " * 70), (response,)))], EncodingReport()))
        assert alone.reasons == (together.reasons[k],)
        assert alone.lost == (together.lost[k],)
        if alone.tokens is not None:
            place = together.members.index(k)
            assert together.tokens.tree.sequence(place).tolist() == alone.tokens.tree.sequence(0).tolist()
    assert any(together.reasons)
    assert any(each is None for each in together.reasons)


def test_steps_move_with_the_cut(encoder):
    (whole,), _ = encode(encoder(), long_group())
    (cut,), _ = encode(encoder(max_length=int(whole.lengths().max()) - 17), long_group())
    assert (whole.step_position - cut.step_position).tolist() == [17, 17]
    assert [cut.tree.sequence(0)[i] for i in cut.step_position] == [
        whole.tree.sequence(0)[i] for i in whole.step_position
    ]


def labelled(*responses):
    """Three or more responses with a label of each kind."""
    count = len(responses)
    return Group(
        conversation("hi"),
        responses,
        tuple(Preference(0, k, float(k)) for k in range(1, count)),
        ranks=tuple(range(1, count + 1)),
        ratings={"help": tuple(float(k) for k in range(count))},
        outcomes=tuple(k != 1 for k in range(count)),
        steps=tuple((Step(len(each), k / 10),) if each.strip() else None for k, each in enumerate(responses)),
        id="g",
    )


@pytest.mark.parametrize(
    ("response", "truncation", "reason"),
    [
        ("cat dog " * 40, "truncate_prompt", RESPONSES_TOO_LONG),
        ("cat dog " * 40, "drop", TOO_LONG),
        ("", "truncate_prompt", EMPTY),
        (" \n\t", "drop", EMPTY),
    ],
)
def test_a_response_that_cannot_be_kept_goes_with_its_labels_and_the_others_stay(encoder, response, truncation, reason):
    group = labelled("yes", response, "no")
    made = encoder(max_length=30, truncation=truncation)
    (kept,), report = encode(made, group)
    assert kept.num_responses == 2
    assert (kept.pair_chosen.tolist(), kept.pair_rejected.tolist(), kept.pair_margin.tolist()) == ([0], [1], [2.0])
    assert kept.ranks.tolist() == [1, 3]
    assert kept.ratings["help"].tolist() == [0.0, 2.0]
    assert kept.outcomes.tolist() == [1.0, 1.0]
    assert kept.step_response.tolist() == [0, 1]
    np.testing.assert_allclose(kept.step_label, [0.0, 0.2])
    assert (report.groups, report.kept) == (1, 1)
    assert report.dropped == {reason: 1}
    assert report.changed == {PAIR_LOST: 1}
    found = next(made.encode_responses([(0, group)], EncodingReport()))
    assert (found.members, found.reasons) == ((0, 2), (None, reason, None))


def test_a_group_of_which_nothing_can_be_kept_is_left_out_with_every_reason(encoder):
    (left,), report = encode(encoder(max_length=20), Group(conversation("hi"), ("cat dog " * 40, "")))
    assert left == NotEncoded(0, f"{RESPONSES_TOO_LONG}; {EMPTY}")
    assert report.dropped == {RESPONSES_TOO_LONG: 1, EMPTY: 1}
    assert (report.groups, report.kept) == (1, 0)


def test_the_prompt_can_be_cut_down_to_nothing_but_not_further(encoder):
    group = Group(conversation("cat " * 30), ("yes", "no"))
    (whole,), _ = encode(encoder(), group)
    room = int(whole.response_start.min())
    (kept,), _ = encode(encoder(max_length=int(whole.lengths().max()) - room), group)
    assert kept.response_start.tolist() == [0, 0]
    (left,), _ = encode(encoder(max_length=int(whole.lengths().max()) - room - 1), group)
    assert left == NotEncoded(0, RESPONSES_TOO_LONG)


# ------------------------------------------------------------------------------------ labels and counts


def test_preferences_between_identical_tokens_are_dropped_and_counted(encoder):
    # a template that strips makes "no" and " no " the same tokens
    template = "{% for m in messages %}{{ m.role }}: {{ m.content | trim }}\n{% endfor %}"
    group = Group(conversation("hi"), ("no", " no ", "yes"), (Preference(0, 1), Preference(2, 1, 1.5, 0.9)))
    (encoded,), report = encode(encoder(chat_template=template), group)
    assert (encoded.pair_chosen.tolist(), encoded.pair_rejected.tolist()) == ([2], [1])
    assert encoded.pair_margin.tolist() == pytest.approx([1.5])
    assert encoded.pair_probability.tolist() == pytest.approx([0.9])
    assert report.changed == {IDENTICAL_PAIR: 1}
    assert report.kept == 1


def test_absent_labels_are_nan_and_never_a_number(encoder):
    group = Group(
        conversation("hi"),
        ("a b", "c d"),
        (Preference(0, 1),),
        ranks=(2, None),
        ratings={"help": (1.5, None)},
        outcomes=(True, None),
        steps=((Step(1, None), Step(3, -1.0)), None),
    )
    (encoded,), _ = encode(encoder(), group)
    assert np.isnan(encoded.pair_margin).all()
    assert np.isnan(encoded.pair_probability).all()
    assert encoded.ranks.tolist() == [2, 0]
    np.testing.assert_array_equal(encoded.ratings["help"], [1.5, np.nan])
    np.testing.assert_array_equal(encoded.outcomes, [1.0, np.nan])
    np.testing.assert_array_equal(encoded.step_label, [np.nan, -1.0])


def test_a_step_that_responses_share_keeps_its_label_and_is_marked_as_a_repeat(encoder):
    steps = ((Step(3, 1.0), Step(7, 0.0)), (Step(3, 1.0), Step(7, 0.0)), (Step(3, 0.0),), (Step(3, None),))
    group = Group(conversation("hi"), ("cat dog", "cat red", "cat", "cat yes"), steps=steps)
    (encoded,), _ = encode(encoder(), group)
    np.testing.assert_array_equal(encoded.step_label, [1, 0, 1, 0, 0, np.nan])
    # another label of the same text is another judgement
    assert encoded.step_repeats.tolist() == [0, 0, 1, 0, 0, 0]
    batch = build_batch([encoded, replace(encoded, step_repeats=np.zeros(0, np.int32))], layout="padded", pad_id=0)
    assert batch.labels.step_repeats.tolist() == [False, False, True, False, False, False] + [False] * 6


def test_a_step_ends_at_the_last_token_that_holds_its_text(encoder, tokenizer):
    response = "  cat dog\n\nred blue. yes"
    steps = (Step(9, 1.0), Step(20, 0.0), Step(24, 1.0))
    group = Group(conversation("hi"), ("no", response), steps=(None, steps))
    (encoded,), _ = encode(encoder(), group)
    ids = encoded.tree.sequence(1)
    assert encoded.step_response.tolist() == [1, 1, 1]
    read = [tokenizer.decode(ids[: position + 1]) for position in encoded.step_position]
    assert [text.endswith(end) for text, end in zip(read, ("cat dog", "red blue.", "yes"), strict=True)] == [True] * 3


def test_a_step_of_leading_space_ends_at_or_after_the_start_of_its_response(encoder):
    template = "{% for m in messages %}{{ m.role }}:{{ m.content | trim }}\n{% endfor %}"
    group = Group(conversation("hi"), ("   cat dog", "no"), steps=((Step(2, 1.0), Step(10, 0.0)), None))
    (encoded,), _ = encode(encoder(chat_template=template), group)
    assert (encoded.step_position >= encoded.response_start[0]).all()


# ------------------------------------------------------------------------------------------- templates

REFUSES_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role here') }}{% endif %}" + PLAIN


def test_a_conversation_that_the_template_refuses_is_left_out_with_its_words_and_counted(encoder):
    fine = Group(conversation("hi"), ("yes", "no"), id="fine")
    (left, kept), report = encode(encoder(chat_template=REFUSES_SYSTEM), GROUP, fine)
    assert isinstance(left, NotEncoded)
    assert "no system role here" in left.reason
    assert isinstance(kept, TokenGroup)
    assert kept.index == 1
    assert report.dropped == {REFUSED: len(GROUP.responses)}
    assert "group 'a'" in report.examples[REFUSED]
    assert (report.groups, report.kept) == (2, 1)


def test_a_template_that_changes_the_response_is_read_as_it_writes_it_and_counted(encoder, tokenizer, caplog):
    template = "{% for m in messages %}{{ m.content | upper }}|{% endfor %}"
    (found,), report = encode(encoder(chat_template=template), Group(conversation("hi"), ("yes", "no"), id="g"))
    wanted = [tokenizer(f"HI|{text}|", add_special_tokens=False)["input_ids"] for text in ("YES", "NO")]
    assert [found.tree.sequence(k).tolist() for k in range(2)] == wanted
    assert [tokenizer.decode(ids[start:]) for ids, start in zip(wanted, found.response_start, strict=True)] == [
        "YES|",
        "NO|",
    ]
    assert report.changed == {REWRITTEN: 2}
    assert len([record for record in caplog.records if "rewrites a response of group 'g'" in record.message]) == 1


def test_only_a_model_that_reads_steps_leaves_a_rewritten_response_out(encoder):
    template = "{% for m in messages %}{{ m.content.split('</think>')[-1] }}|{% endfor %}"
    group = Group(conversation("hi"), ("a</think>yes", "no"), steps=((Step(12, 1.0),), (Step(2, 0.0),)), id="g")
    (found,), _ = encode(encoder(chat_template=template), group)
    assert (found.num_responses, found.step_response.tolist()) == (2, [1])
    (kept,), report = encode(encoder(chat_template=template, needs_steps=True), group)
    assert (kept.num_responses, kept.step_label.tolist()) == (1, [0.0])
    assert report.dropped == {STEPS_LOST: 1}


THINKS = (
    "{% for m in messages %}{% if m.role == 'assistant' %}{% set c = m.content %}{% set r = '' %}"
    "{% if '</think>' in c %}{% set r = c.split('</think>')[0].split('<think>')[-1].strip() %}"
    "{% set c = c.split('</think>')[-1].lstrip() %}{% endif %}"
    "assistant:<think>\n{{ r }}\n</think>\n\n{{ c }}|{% else %}{{ m.role }}:{{ m.content }}|{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)


@pytest.mark.parametrize(
    ("response", "start", "whole"),
    [
        ("It is 4.", "It is 4.|", True),
        ("<think>\n\n</think>\n\nIt is 4.", "<think>\n\n</think>\n\nIt is 4.|", True),
        ("<think>\n2 and 2\n</think>\n\nIt is 4.", "<think>\n2 and 2\n</think>\n\nIt is 4.|", True),
        # what the template writes is not what the response says: it begins where the text parts from any other
        ("<think>2 and 2</think>It is 4.", "2 and 2\n</think>\n\nIt is 4.|", False),
    ],
)
def test_a_response_that_thinks_begins_where_its_own_text_does(encoder, tokenizer, response, start, whole):
    (found,), report = encode(encoder(chat_template=THINKS), Group(conversation("2 + 2?"), (response,), id="g"))
    tail = tokenizer.decode(found.tree.sequence(0)[found.response_start[0] :])
    assert tail.lstrip() == start
    assert report.changed == ({} if whole else {REWRITTEN: 1})


def test_a_template_that_prints_the_date_always_prints_the_same_one(encoder):
    template = "{{ strftime_now('%d %b %Y') }}|" + PLAIN
    text = encoder(chat_template=template).render(conversation("hi"), "yes")
    assert text.startswith("26 Jul 2024|")
    assert not text.startswith(datetime.date.today().strftime("%d %b %Y"))


@pytest.mark.parametrize(
    ("format", "wanted"), [("%d %B %Y", "26 July 2024"), ("%-m/%-d/%y", "7/26/24"), ("%A, %H:%M", "Friday, 00:00")]
)
def test_dates_are_written_in_the_format_that_the_template_asks_for(encoder, format, wanted):
    template = (
        "\n  {% if strftime_now is defined %}{% set today = strftime_now('FORMAT') %}{% endif %}\n{{ today }}\n" + PLAIN
    )
    dated = encoder(chat_template=template.replace("FORMAT", format)).render(conversation("hi"), "yes")
    fixed = template.replace("strftime_now is defined", "true").replace("strftime_now('FORMAT')", f"'{wanted}'")
    assert dated == encoder(chat_template=fixed).render(conversation("hi"), "yes")


def test_the_order_of_groups_is_kept_and_batching_changes_no_ids(encoder, make_groups):
    groups = make_groups(9)
    together, _ = encode(encoder(), *groups)
    alone = [encode(encoder(), group)[0][0] for group in groups]
    assert [each.index for each in together] == list(range(9))
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(one.tree.ids, other.tree.ids)
        np.testing.assert_array_equal(one.response_start, other.response_start)


def test_a_step_that_ends_in_a_character_of_several_tokens_ends_at_the_last_of_them(encoder, tokenizer):
    response = "cat ки\ndog 🦊"
    steps = (Step(6, 1.0), Step(len(response), 0.0))
    (encoded,), _ = encode(encoder(), Group(conversation("hi"), (response,), steps=(steps,)))
    ids = encoded.tree.sequence(0)
    read = [tokenizer.decode(ids[: position + 1]) for position in encoded.step_position]
    assert [text.endswith(end) for text, end in zip(read, ("cat ки", "🦊"), strict=True)] == [True, True]


def test_a_last_step_of_trailing_space_ends_with_the_text_that_the_template_keeps(encoder, tokenizer):
    template = "{% for m in messages %}{{ m.role }}:{{ m.content | trim }}\n{% endfor %}"
    group = Group(conversation("hi"), ("cat\ndog  \n",), steps=((Step(3, 1.0), Step(10, 0.0)),))
    (encoded,), _ = encode(encoder(chat_template=template), group)
    ids = encoded.tree.sequence(0)
    assert tokenizer.decode(ids[: encoded.step_position[1] + 1]).endswith("dog")
