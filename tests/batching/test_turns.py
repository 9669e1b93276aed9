"""Steps as turns are read where their word is predicted, whatever the template, and are laid out as one tree."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from plaudit.batching.encode import REFUSED, EncodingReport, NotEncoded
from plaudit.batching.token_set import encode_to_file
from plaudit.batching.truncation import TOKENS_CUT, TRUNCATED
from plaudit.batching.turns import TurnsEncoder, word_tokens
from plaudit.data.schema.group import Group, Message, Step, conversation
from plaudit.data.schema.steps import join_steps, split_steps
from plaudit.errors import ModelError

TEMPLATES = {
    "ours": None,
    "llama 3": (
        "{% for m in messages %}<|{{ m.role }}|>\n\n{{ m.content | trim }}<|end|>{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>\n\n{% endif %}"
    ),
    "chatml": "{% for m in messages %}<|system|>{{ m.role }}\n{{ m.content }}<|end|>\n{% endfor %}",
    "instruct": (
        "{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
        "{% else %}{{ m.content }}<|end|>{% endif %}{% endfor %}"
    ),
    "a space before the word": "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}",
    "no turn end": "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}",
    "thoughts in the last turn": (
        "{% for m in messages %}<|{{ m.role }}|>{% if loop.last and m.role == 'assistant' %}<think>\n\n</think>\n\n"
        "{% endif %}{{ m.content }}<|end|>{% endfor %}"
    ),
    "a date": "{{ strftime_now('%Y') }}{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}",
}
PROBLEM = (Message("system", "be good"), Message("user", "one and two + three?"))


def solved(*labels, name="the cat"):
    """Return a response and its steps, one line each, with these labels."""
    return join_steps([(f"{name} runs {k + 1} + {k}", label) for k, label in enumerate(labels)], "\n")


def group_of(*responses, prompt=PROBLEM, **fields):
    texts, steps = zip(*responses, strict=True)
    return Group(prompt, texts, steps=steps, id="g", **fields)


GROUP = group_of(solved(1, 1, 0), solved(1, None, name="the dog"), solved(0, 0, 0, 1, name="a house"))


@pytest.fixture
def make(tokenizer):
    def encoder(template=None, *, words=("-", "+"), classes=(0.0, 1.0), **changes):
        chat_template = TEMPLATES[template] if template else None
        chat_template = chat_template or tokenizer.chat_template
        fields = {
            "tokenizer": tokenizer,
            "chat_template": chat_template,
            "special_tokens": False,
            "max_length": 512,
            "truncation": "truncate_prompt",
            "words": words,
            "word_tokens": word_tokens(words, tokenizer, chat_template, special_tokens=False),
            "classes": classes,
        }
        return TurnsEncoder(**(fields | changes))

    return encoder


def encode(encoder, *groups):
    report = EncodingReport()
    return list(encoder.encode(list(enumerate(groups)), report)), report


def chat(*turns):
    roles = ("user", "assistant")
    return [{"role": "system", "content": "be good"}] + [
        {"role": roles[k % 2], "content": text} for k, text in enumerate(turns)
    ]


# ---------------------------------------------------------------------------------- what is rendered


def test_the_first_turn_is_the_problem_a_space_and_step_one_and_the_assistant_says_plus(make, tokenizer):
    encoder = make()
    (found,) = [encoder.texts(group_of(solved(1, 0)))]
    turns = chat("one and two + three? the cat runs 1 + 0", "+", "the cat runs 2 + 1", "+")
    assert found == [tokenizer.apply_chat_template(turns, tokenize=False)]


def test_a_judged_chat_of_rlhflow_comes_back_as_the_chat_that_it_was(make, tokenizer):
    from plaudit.data.reading.options import ReadingOptions
    from plaudit.data.reading.sources.formats import format_named

    said = ("2+2+1? Step 1: 2+2=4.", "+", "Step 2: 4+1=6.", "-", "Step 3: so 6.", "-")
    turns = [{"role": ("user", "assistant")[k % 2], "content": text} for k, text in enumerate(said)]
    reader = format_named("rlhflow_process")
    group = reader.read({"messages": turns}, ReadingOptions())
    ((made,), _), (text,) = encode(make(shown="labels"), group), make(shown="labels").texts(group)
    assert text == tokenizer.apply_chat_template(turns, tokenize=False)
    assert made.step_label.tolist() == [1.0, 0.0, 0.0]
    single = [turns[0], turns[1]]
    assert make(unit="response").texts(reader.read({"messages": single}, ReadingOptions())) == [
        tokenizer.apply_chat_template(single, tokenize=False)
    ]


@pytest.mark.parametrize("template", TEMPLATES)
def test_every_step_is_read_at_the_token_before_its_word_in_the_text_of_any_tool(make, tokenizer, template):
    encoder = make(template)
    ((made,), report), texts = encode(encoder, GROUP), encoder.texts(GROUP)
    assert (report.kept, dict(report.dropped)) == (1, {})
    assert made.step_response.tolist() == [0] * 3 + [1] * 2 + [2] * 4
    np.testing.assert_array_equal(made.step_label, [1, 1, 0, 1, np.nan, 0, 0, 0, 1])
    for k, text in enumerate(texts):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        positions = made.step_position[made.step_response == k].tolist()
        sequence = made.tree.sequence(k).tolist()
        # the sequence is the beginning of the whole chat, up to the last position that is read
        assert sequence == ids[: positions[-1] + 1]
        words = [ids[position + 1] for position in positions]
        assert words == [encoder.word_tokens[1]] * len(positions)
        # and they are the assistant's words, not signs in the text: what stands before them holds all k steps
        for step, position in enumerate(positions, start=1):
            assert tokenizer.decode(ids[: position + 1]).count("runs") == step


def test_a_fixed_place_from_the_end_reads_something_else(make, tokenizer):
    # RLHFlow's position -3 counts a line break, the word and the end of turn behind it: true of one template
    right = {}
    for template in TEMPLATES:
        encoder = make(template)
        ((made,), _), text = encode(encoder, GROUP), encoder.texts(GROUP)[0]
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        right[template] = made.step_position[2] == len(ids) - 3
    assert right["llama 3"]
    assert not right["chatml"]
    assert not right["no turn end"]
    assert 0 < sum(right.values()) < len(TEMPLATES)


def test_a_step_ends_where_its_offset_says_so_step_ten_is_not_cut_at_step_one(make):
    text = "\n".join(f"Step {k}: {k} + 1" for k in range(1, 12))
    group = Group(conversation("why"), (text,), steps=(split_steps(text, "\n"),))
    encoder = make()
    ((made,), _), (chat_text,) = encode(encoder, group), encoder.texts(group)
    assert len(made.step_position) == 11
    assert "<|user|>Step 10: 10 + 1<|end|>" in chat_text
    assert chat_text.count("Step 1") == 3


def test_text_behind_the_last_step_is_left_out_and_a_response_without_steps_is_read_nowhere(make):
    group = Group(PROBLEM, ("red\nblue", "green"), steps=((Step(3, 1.0),), None))
    encoder = make()
    ((made,), _), texts = encode(encoder, group), encoder.texts(group)
    assert "blue" not in texts[0]
    assert "one and two + three? green" in texts[1]
    assert (made.step_response.tolist(), made.num_responses) == ([0], 2)


# ------------------------------------------------------------------------------- what the context shows


def test_the_context_always_shows_the_best_word_unless_asked_for_the_labels(make):
    group = group_of(solved(0, 1, 0, 1))
    always, own = (make(shown=shown).texts(group)[0] for shown in ("best", "labels"))
    words = [text.split("<|assistant|>")[1:] for text in (always, own)]
    assert [[word[0] for word in turns] for turns in words] == [["+"] * 4, ["-", "+", "-", "+"]]
    soft = group_of(solved(-1, 0, -0.6, 0.2, None, 1))
    three = make(words=("-", "a", "+"), classes=(-1.0, 0.0, 1.0), shown="labels")
    found = [each.split("<|end|>")[0] for each in three.texts(soft)[0].split("<|assistant|>")[1:]]
    # the class nearest to the label; an unlabelled step shows the best one
    assert found == ["-", "a", "-", "a", "+", "+"]


def test_responses_that_share_a_wrong_step_both_show_it_as_wrong_and_count_it_once(make):
    first, second = solved(1, 0, 1), solved(1, 0, 0)
    group = group_of(first, (second[0] + " again", (*second[1][:2], Step(second[1][2].end + 6, 0.0))))
    encoder = make(shown="labels")
    (made,), _ = encode(encoder, group)
    shown = [[turn[0] for turn in text.split("<|assistant|>")[1:]] for text in encoder.texts(group)]
    assert shown == [["+", "-", "+"], ["+", "-", "-"]]
    assert made.step_label.tolist() == [1, 0, 1, 1, 0, 0]
    assert made.step_repeats.tolist() == [0, 0, 0, 1, 1, 0]
    read = [
        made.tree.path(response)[place] for response, place in zip(made.step_response, made.step_position, strict=True)
    ]
    assert read[:2] == read[3:5]


def test_equal_responses_as_one_turn_are_an_outcome_each(make):
    group = Group(PROBLEM, ("yes", "yes"), outcomes=(True, True))
    (made,), _ = encode(make(unit="response"), group)
    assert (made.step_label.tolist(), made.step_repeats.tolist()) == ([1, 1], [])


def test_no_position_sees_the_word_that_it_predicts(make):
    # with the labels shown, two responses that differ in the last label alone are one sequence
    group = group_of(solved(1, 0), solved(1, 1))
    (made,), _ = encode(make(shown="labels"), group)
    assert made.tree.sequence(0).tolist() == made.tree.sequence(1).tolist()
    earlier = group_of(solved(1, 1, 1), solved(0, 1, 1))
    (made,), _ = encode(make(shown="labels"), earlier)
    first = made.step_position[0]
    assert made.tree.sequence(0)[: first + 1].tolist() == made.tree.sequence(1)[: first + 1].tolist()
    assert made.tree.sequence(0).tolist() != made.tree.sequence(1).tolist()


def test_the_whole_response_is_one_turn_with_its_outcome(make, tokenizer):
    group = group_of(solved(1, 0), solved(0, 0, name="a dog"), solved(1, name="a tree"), outcomes=(True, False, None))
    encoder = make(unit="response")
    ((made,), _), texts = encode(encoder, group), encoder.texts(group)
    turns = chat("one and two + three? the cat runs 1 + 0\nthe cat runs 2 + 1", "+")
    assert texts[0] == tokenizer.apply_chat_template(turns, tokenize=False)
    assert made.step_response.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(made.step_label, [1, 0, np.nan])
    assert [made.tree.sequence(k).size - 1 for k in range(3)] == made.step_position.tolist()
    (unknown,), _ = encode(encoder, Group(PROBLEM, ("yes",)))
    assert np.isnan(unknown.step_label).tolist() == [True]


# --------------------------------------------------------------------------------------------- tokens


def test_all_responses_are_one_tree_and_sharing_changes_no_sequence(make):
    shared = "\n".join(["the cat runs", "the dog sleeps"])
    group = Group(PROBLEM, (f"{shared}\nyes", f"{shared}\nno", "no"), id="g")
    group = dataclasses.replace(group, steps=tuple(split_steps(text, "\n") for text in group.responses))
    (together,), _ = encode(make(min_saving=1), group)
    (apart,), _ = encode(make(min_saving=10**6), group)
    assert together.tree.num_tokens < apart.tree.num_tokens
    for k in range(3):
        assert together.tree.sequence(k).tolist() == apart.tree.sequence(k).tolist()


def test_the_response_starts_at_its_first_step(make, tokenizer):
    (made,), _ = encode(make(), GROUP)
    for k in range(3):
        head = tokenizer.decode(made.tree.sequence(k)[: made.response_start[k]])
        assert head.rstrip().endswith("one and two + three?")


def test_a_long_problem_is_cut_from_the_left_and_the_places_move_with_it(make):
    long = (Message("user", "cat " * 60 + "why?"),)
    group = group_of(*(zip(GROUP.responses, GROUP.steps, strict=True)), prompt=long)
    (whole,), _ = encode(make(), group)
    limit = int(max(whole.lengths())) - 20
    (cut,), report = encode(make(max_length=limit), group)
    lost = np.maximum(whole.lengths() - limit, 0)
    assert lost.max() == 20
    assert (report.changed[TRUNCATED], report.changed[TOKENS_CUT]) == ((lost > 0).sum(), lost.sum())
    np.testing.assert_array_equal(cut.step_position, whole.step_position - lost[whole.step_response])
    np.testing.assert_array_equal(cut.response_start, whole.response_start - lost)
    for k, count in enumerate(lost.tolist()):
        before, after = whole.tree.sequence(k).tolist(), cut.tree.sequence(k).tolist()
        assert after == before[count:]
    (kept,), report = encode(make(max_length=limit, truncation="drop"), group)
    assert kept.num_responses == (lost == 0).sum()


def test_labels_go_through_the_file_of_tokens(make, tmp_path):
    tokens = encode_to_file([GROUP], make(), tmp_path / "tokens.arrow")
    assert tokens.count_labels("steps").tolist() == [8]
    (made,), _ = encode(make(), GROUP)
    assert tokens[0].step_position.tolist() == made.step_position.tolist()
    assert tokens[0].step_repeats.tolist() == made.step_repeats.tolist() == [0] * 9


# ------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("group", "reason"),
    [
        (group_of(solved(1), prompt=(Message("user", "a"), Message("tool", "b"))), "the prompt ends in a tool turn"),
        (Group(PROBLEM, ("a   b",), steps=((Step(1, 1.0), Step(3, 1.0)),)), "step 2 of response 0 holds no text"),
        (Group(PROBLEM, ("a\ue0010\ue002b",), steps=((Step(5, 1.0),),)), "does not write every assistant turn once"),
    ],
)
def test_what_cannot_be_turns_is_left_out_and_counted_beside_the_others(make, group, reason):
    (left, kept), report = encode(make(), group, GROUP)
    assert isinstance(left, NotEncoded)
    assert reason in left.reason
    assert (report.groups, report.kept, dict(report.dropped)) == (2, 1, {REFUSED: 1})
    assert kept.index == 1
    assert kept.num_responses == 3


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ messages[0].content }}", "does not write every assistant turn once and in order"),
        (
            "{% for m in messages %}{{ m.content | replace('+', 'plus') }}{% endfor %}",
            "changes the text of steps or words",
        ),
        ("{% for m in messages %}{{ m.content }}{{ raise_exception('no') }}{% endfor %}", "refuses this conversation"),
    ],
)
def test_a_template_that_loses_or_changes_words_is_found(make, template, reason):
    (left,), _ = encode(make(chat_template=template), GROUP)
    assert reason in left.reason


def test_a_word_that_runs_into_its_neighbours_is_another_token_and_found(make, tokenizer):
    # nothing stands before the word here: behind a "t" the word "he" becomes "the"
    glued = "{% for m in messages %}{{ m.content }}{% if m.role == 'assistant' %}|{% endif %}{% endfor %}"
    words = word_tokens(("a", "he"), tokenizer, glued, special_tokens=False)
    encoder = make(words=("a", "he"), chat_template=glued, word_tokens=words)
    (kept, left), report = encode(encoder, GROUP, Group(PROBLEM, ("red 1t",), steps=((Step(6, 1.0),),)))
    assert len(kept.step_position) == 9
    assert "the class word 'he' is token" in left.reason
    assert (report.kept, dict(report.dropped)) == (1, {REFUSED: 1})


def test_words_are_looked_up_in_the_rendered_chat(make, tokenizer):
    # behind a space the word is another token than alone
    alone = tokenizer.encode("yes", add_special_tokens=False)
    spaced = word_tokens(("yes",), tokenizer, TEMPLATES["a space before the word"], special_tokens=False)
    assert len(spaced) == 1
    assert list(spaced) != alone
    assert tokenizer.decode(spaced) == " yes"


@pytest.mark.parametrize(
    ("words", "template", "reason"),
    [
        (("-", "perhaps not"), "ours", "'perhaps not' is not one token of its own"),
        (("-", "+"), "{% for m in messages %}{{ m.role }}{% endfor %}", "does not write the class word '-' as it is"),
        (("-", "+"), "{{ raise_exception('no') }}", "cannot be an assistant's turn"),
    ],
)
def test_words_that_cannot_judge_are_refused(tokenizer, words, template, reason):
    with pytest.raises(ModelError, match=reason):
        word_tokens(
            words, tokenizer, TEMPLATES.get(template, template) or tokenizer.chat_template, special_tokens=False
        )
