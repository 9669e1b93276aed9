"""A comparison is one text that ends where its answer is predicted; what cannot be compared is counted."""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import replace

import numpy as np
import pytest
from tokenizers.processors import TemplateProcessing

from plaudit.batching.batch import build_batch
from plaudit.batching.comparison import (
    COMPARISON_TOO_LONG,
    IDENTICAL,
    NO_COMPARISON,
    NO_PREFERENCE,
    PAIR_TOO_LONG,
    PROMPT_TAG,
    RESPONSE_TAG,
    ComparisonEncoder,
    OrderedPair,
    comparison_text,
)
from plaudit.batching.encode import EMPTY, REFUSED, EncodingReport, NotEncoded
from plaudit.batching.planner import GroupSizes
from plaudit.batching.token_set import encode_to_file
from plaudit.batching.truncation import TOKENS_CUT, TRUNCATED
from plaudit.data.reading.options import ReadingOptions
from plaudit.data.reading.sources.rlhflow import read_pair
from plaudit.data.schema.group import Group, Message, Preference, conversation

# The turns of Gemma, Llama 3 (as first published: the header of the answer always follows) and a template without any.
GEMMA = (
    "{% for m in messages %}<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content | trim }}"
    "<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
ALWAYS = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}<|assistant|>"
NEVER = "{% for m in messages %}{{ m.content }}{% endfor %}"

PROMPT = (Message("user", "Q1"), Message("assistant", "A1"), Message("user", "Q2"))
TEXT = "[CONTEXT] \n\n<turn> user\n Q1\n<turn> assistant\n A1\n<turn> user\n Q2\n [RESPONSE A] ra [RESPONSE B] rb \n"
GROUP = Group(PROMPT, ("red cat", "blue", "one two"), (Preference(0, 1), Preference(2, 1, probability=0.75)), id="a")


@pytest.fixture
def encoder(tokenizer):
    def make(**changes):
        fields = {
            "tokenizer": tokenizer,
            "chat_template": tokenizer.chat_template,
            "special_tokens": False,
            "max_length": 512,
            "truncation": "truncate_prompt",
        }
        return ComparisonEncoder(**(fields | changes))

    return make


def encode(encoder, *groups):
    report = EncodingReport()
    return list(encoder.encode(list(enumerate(groups)), report)), report


# ----------------------------------------------------------------------------------------------- text


def test_the_text_is_the_one_of_pair_pm():
    assert comparison_text(PROMPT, "ra", "rb") == TEXT


def test_the_text_is_what_the_reader_of_that_format_reads_back():
    row = {"messages": [{"role": "user", "content": TEXT}, {"role": "assistant", "content": "B"}]}
    assert read_pair(row, ReadingOptions()) == Group(PROMPT, ("rb", "ra"), (Preference(0, 1),))


def test_every_turn_is_named_by_its_role_and_nothing_is_stripped():
    prompt = (Message("system", "be brief"), Message("user", " hi "))
    assert comparison_text(prompt, "a ", " b").startswith(
        "[CONTEXT] \n\n<turn> system\n be brief\n<turn> user\n  hi \n"
    )
    assert comparison_text(prompt, "a ", " b").endswith(" [RESPONSE A] a  [RESPONSE B]  b \n")


@pytest.mark.parametrize(
    ("template", "ending"),
    [
        (GEMMA, "<end_of_turn>\n<start_of_turn>model\n"),
        (GEMMA.replace("if add_generation_prompt", "if false"), "<end_of_turn>\n"),
        (ALWAYS, "<|end|><|assistant|>"),
        (NEVER, " [RESPONSE B] blue \n"),
    ],
)
def test_the_answer_follows_the_rendered_text_with_its_generation_prompt(encoder, tokenizer, template, ending):
    made = encoder(chat_template=template)
    (encoded,), _ = encode(made, GROUP)
    for index, comparison in enumerate(made.comparisons(0, GROUP)):
        body = comparison_text(PROMPT, GROUP.responses[comparison.first], GROUP.responses[comparison.second])
        wanted = tokenizer.apply_chat_template(
            [{"role": "user", "content": body}], chat_template=template, add_generation_prompt=True, tokenize=False
        )
        assert tokenizer.decode(encoded.tree.sequence(index)) == wanted
    texts = [tokenizer.decode(encoded.tree.sequence(index)) for index in range(2)]
    assert texts == made.texts(GROUP)
    assert any(text.endswith(ending) for text in texts)
    assert encoded.step_response.tolist() == [0, 1]
    assert encoded.step_position.tolist() == (encoded.lengths() - 1).tolist()


def test_without_the_generation_prompt_gemma_would_be_read_before_the_turn_of_the_answer(encoder):
    (right,), _ = encode(encoder(chat_template=GEMMA), GROUP)
    (wrong,), _ = encode(encoder(chat_template=GEMMA.replace("if add_generation_prompt", "if false")), GROUP)
    assert (right.step_position > wrong.step_position).all()
    assert np.array_equal(right.tree.sequence(0)[: len(wrong.tree.sequence(0))], wrong.tree.sequence(0))


def test_what_the_tokenizer_appends_stands_behind_the_answer_and_is_left_out(encoder, tokenizer):
    made = copy.deepcopy(tokenizer)
    made.add_special_tokens({"bos_token": "<|bos|>"})
    numbers = [("<|bos|>", made.convert_tokens_to_ids("<|bos|>")), ("<|end|>", made.convert_tokens_to_ids("<|end|>"))]
    made.backend_tokenizer.post_processor = TemplateProcessing(single="<|bos|> $A <|end|>", special_tokens=numbers)
    plain = encoder(chat_template=NEVER)
    (found,), _ = encode(dataclasses.replace(plain, tokenizer=made, special_tokens=True), GROUP)
    (wanted,), _ = encode(plain, GROUP)
    assert found.tree.sequence(0).tolist() == [numbers[0][1], *wanted.tree.sequence(0).tolist()]


# --------------------------------------------------------------------------------------- answer tokens


def test_the_answer_is_the_token_that_follows_the_text(encoder, tokenizer):
    assert encoder().answer_token("A") == tokenizer.convert_tokens_to_ids("A")
    assert encoder().answer_token("answer word") is None
    # a word that the tokenizer joins with the end of the text is no token of its own there
    joined = encoder(chat_template="{% for m in messages %}{{ m.content }}{% endfor %}the answe")
    assert joined.answer_token("r") is None


# --------------------------------------------------------------------------------------------- training


def test_a_label_is_the_probability_that_the_one_named_first_is_better(encoder):
    made = encoder(orders="both")
    (encoded,), report = encode(made, GROUP)
    assert made.comparisons(0, GROUP) == [
        OrderedPair(0, 1, 1.0),
        OrderedPair(1, 0, 0.0),
        OrderedPair(2, 1, 0.75),
        OrderedPair(1, 2, 0.25),
    ]
    assert encoded.step_label.tolist() == [1.0, 0.0, 0.75, 0.25]
    assert (report.groups, report.kept, dict(report.changed), dict(report.dropped)) == (1, 1, {}, {})


def test_orders_are_drawn_from_the_seed_the_row_and_the_id_and_from_nothing_else(encoder):
    groups = [dataclasses.replace(GROUP, id=f"g{number}") for number in range(200)]

    def drawn(seed, rows=range(200)):
        made = encoder(seed=seed)
        return [made.comparisons(row, group)[0].first == 0 for row, group in zip(rows, groups, strict=True)]

    assert drawn(0) == drawn(0)
    assert drawn(0) != drawn(1)
    assert drawn(0) != drawn(0, rows=range(1, 201))
    # a fair coin falls so unevenly once in 10^5 seeds
    assert 0.35 < np.mean(drawn(0)) < 0.65
    other = dataclasses.replace(GROUP, id="g0", responses=("cat", "dog", "tree"))
    assert [each.first for each in encoder().comparisons(0, other)] == [
        each.first for each in encoder().comparisons(0, groups[0])
    ]


def test_what_teaches_nothing_is_left_out_and_counted(encoder):
    same = Group(conversation("hi"), ("yes", "yes"), (Preference(0, 1),), id="same")
    bare = Group(conversation("hi"), ("yes", "no"), id="bare")
    (first, second, third), report = encode(encoder(), same, bare, GROUP)
    assert first == NotEncoded(0, IDENTICAL)
    assert second == NotEncoded(1, NO_PREFERENCE)
    assert third.index == 2
    assert (report.groups, report.kept) == (3, 1)
    assert report.dropped == {NO_COMPARISON: 1, NO_PREFERENCE: 1}
    assert report.changed == {IDENTICAL: 1}


@pytest.mark.parametrize("tag", ["[CONTEXT]", "[RESPONSE A]", "[RESPONSE B]"])
def test_text_that_holds_a_tag_is_left_out_and_counted(encoder, tag):
    prompt = Group(conversation(f"what is {tag}?"), ("yes", "no"), (Preference(0, 1),), id="p")
    response = Group(PROMPT, ("yes", f"it is {tag}", "no"), (Preference(0, 1), Preference(0, 2)), id="r")
    (first, second), report = encode(encoder(), prompt, response)
    assert first == NotEncoded(0, PROMPT_TAG)
    assert len(second.step_label) == 1
    assert (report.dropped, report.changed) == ({PROMPT_TAG: 1}, {RESPONSE_TAG: 1})


def test_a_template_that_changes_the_tags_is_refused_and_counted(encoder):
    lower = "{% for m in messages %}{{ m.content | lower }}{% endfor %}"
    (found,), report = encode(encoder(chat_template=lower), GROUP)
    assert found.reason.startswith(f"{REFUSED}: the chat template does not leave each of [CONTEXT]")
    assert report.dropped == {REFUSED: 1}
    assert "group 'a'" in report.examples[REFUSED]


# --------------------------------------------------------------------------------------------- lengths


def long_group(turns):
    return Group(
        conversation("red green blue " * turns), ("one", "two three"), (Preference(0, 1), Preference(1, 0)), id="long"
    )


def test_the_prompt_is_cut_from_the_left_behind_the_opening_in_each_comparison_by_itself(encoder, tokenizer):
    (whole,), _ = encode(encoder(orders="both"), long_group(30))
    limit = int(whole.lengths().max()) - 20
    (cut,), report = encode(encoder(orders="both", max_length=limit), long_group(30))
    lost = whole.lengths() - limit
    assert (cut.lengths() == limit).all()
    assert report.changed == {TRUNCATED: 4, TOKENS_CUT: int(lost.sum())}
    opening = len(tokenizer.encode("<|user|>[CONTEXT]", add_special_tokens=False))
    for index in range(4):
        short, full = cut.tree.sequence(index), whole.tree.sequence(index)
        assert short.tolist() == [*full[:opening], *full[opening + lost[index] :]]
    assert tokenizer.decode(cut.tree.sequence(0)).startswith("<|user|>[CONTEXT]")
    assert cut.step_position.tolist() == (cut.lengths() - 1).tolist()
    assert tokenizer.decode(cut.tree.sequence(0)[cut.response_start[0] :]).strip().startswith("[RESPONSE A]")


def test_comparisons_whose_responses_are_too_long_are_left_out_and_the_others_kept(encoder):
    group = Group(
        conversation("red " * 50), ("one", "two", "cat dog " * 200), (Preference(0, 2), Preference(0, 1)), id="g"
    )
    (kept,), report = encode(encoder(max_length=90), group)
    assert (len(kept.step_label), int(kept.lengths().max())) == (1, 90)
    assert report.changed[PAIR_TOO_LONG] == 1
    (kept,), report = encode(encoder(max_length=200, truncation="drop"), group)
    assert (len(kept.step_label), report.changed) == (1, {COMPARISON_TOO_LONG: 1})
    (gone,), report = encode(encoder(max_length=90, truncation="drop"), group)
    assert gone == NotEncoded(0, COMPARISON_TOO_LONG)
    assert (report.dropped, report.kept) == ({NO_COMPARISON: 1}, 0)


@pytest.mark.parametrize("truncation", ["truncate_prompt", "drop"])
def test_a_comparison_that_just_fits_is_kept(encoder, truncation):
    group = long_group(5)
    (whole,), _ = encode(encoder(), group)
    needed = int(whole.lengths().max())
    if truncation == "truncate_prompt":
        # all that stands between the opening and the first response can go
        sequence = whole.tree.sequence(0)
        opening = len(encoder().tokenizer.encode("<|user|>[CONTEXT]", add_special_tokens=False))
        needed = len(sequence) - (int(whole.response_start[0]) - opening)
    (kept,), report = encode(encoder(max_length=needed, truncation=truncation), group)
    assert int(kept.lengths().max()) == needed
    assert PAIR_TOO_LONG not in report.changed
    (left,), _ = encode(encoder(max_length=needed - 1, truncation=truncation), group)
    assert left == NotEncoded(0, PAIR_TOO_LONG if truncation == "truncate_prompt" else COMPARISON_TOO_LONG)


def test_a_pair_to_be_scored_is_cut_by_itself(encoder):
    group = Group(conversation("red green " * 40), ("one", "two", "cat dog " * 10), id="g")
    made = encoder(max_length=150)
    alone = made.encode_pairs(0, group, [(0, 1)], EncodingReport())
    beside = made.encode_pairs(0, group, [(0, 1), (0, 2)], EncodingReport())
    assert beside.comparisons == (OrderedPair(0, 1), OrderedPair(1, 0), OrderedPair(0, 2), OrderedPair(2, 0))
    for index in range(2):
        assert beside.tokens.tree.sequence(index).tolist() == alone.tokens.tree.sequence(index).tolist()
    assert beside.tokens.lengths().tolist()[2:] == [150, 150]
    assert np.isnan(beside.tokens.step_label).all()


def test_a_comparison_to_train_on_has_the_tokens_of_the_one_that_is_scored(encoder):
    group = Group(conversation("red green " * 40), ("one", "two", "cat dog " * 10), (Preference(0, 1),), id="g")
    group = replace(group, preferences=(Preference(0, 1), Preference(2, 0)))
    made = encoder(max_length=150, orders="both")
    (trained,), _ = encode(made, group)
    scored = made.encode_pairs(0, group, [(0, 1), (2, 0)], EncodingReport()).tokens
    assert [trained.tree.sequence(k).tolist() for k in range(4)] == [scored.tree.sequence(k).tolist() for k in range(4)]


def test_a_comparison_with_an_empty_response_is_left_out_and_counted(encoder):
    group = Group(conversation("hi"), ("one", " ", "two"), (Preference(0, 1), Preference(0, 2)), id="g")
    (kept,), report = encode(encoder(), group)
    assert len(kept.step_label) == 1
    assert report.changed == {EMPTY: 1}


# ------------------------------------------------------------------------------------------ token groups


def test_all_comparisons_of_a_group_share_its_prompt(encoder):
    group = Group(conversation("red green blue " * 20), tuple(f"{word} cat dog" for word in "abcde"), id="g")
    made = encoder(max_length=4096)
    pairs = [(i, j) for i in range(5) for j in range(i + 1, 5)]
    tokens = made.encode_pairs(0, group, pairs, EncodingReport()).tokens
    assert tokens.num_responses == 20
    opening = len(made.tokenizer.encode(made.render(group.prompt, "x", "y").split(" x")[0], add_special_tokens=False))
    separate = int(tokens.lengths().sum())
    # the prompt and the opening stand there once for all 20 comparisons, each first response once for its 4
    assert tokens.tree.num_tokens <= separate - 19 * (opening - 1)
    assert max(tokens.tree.parent) >= 0
    assert separate > 3 * tokens.tree.num_tokens


def test_comparisons_go_through_a_file_and_into_batches_like_any_group(encoder, tmp_path):
    tokens = encode_to_file([GROUP, GROUP], encoder(), tmp_path / "t.arrow")
    assert tokens.count_labels("steps").tolist() == [2, 2]
    assert tokens.count_labels("preferences").tolist() == [0, 0]
    groups = list(tokens)
    for layout in ("shared_prefix", "packed", "padded"):
        batch = build_batch(groups, layout=layout, pad_id=0)
        ends = batch.input_ids.flatten()[batch.step_end].tolist()
        assert ends == [encoder().tokenizer.convert_tokens_to_ids("<|assistant|>")] * 4
        assert batch.step_end.tolist() == batch.response_end.tolist()
        assert batch.labels.step_label.tolist() == [each for group in groups for each in group.step_label.tolist()]
    assert GroupSizes.of(groups).responses.tolist() == [2, 2]
