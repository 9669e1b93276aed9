"""Rows in the official layout of public sets of tasks, mixtures and processes become the groups that they describe."""

from __future__ import annotations

import re

import pytest

from plaudit.data.reading.sources.attributes import ARMORM as ARMORM_ATTRIBUTES
from plaudit.data.reading.sources.formats import FORMATS, SOURCES, detect_format
from plaudit.data.schema.group import Group, Message, Preference, Step
from plaudit.errors import DataError

from .public_rows_b import (
    ALPACA,
    ALPACA_PROMPT,
    ALPACA_PROMPT_WITHOUT_INPUT,
    ARMORM,
    AXES,
    AXIS,
    BEAVERTAILS,
    COMPARISON,
    FEEDBACK,
    LABELS,
    OFFSETBIAS,
    PAIR,
    PREFERENCE,
    PRM800K,
    SHEPHERD,
    STANDARD,
    TULU,
    TULU_405B,
    TURNS,
    ULTRAINTERACT,
    WEBGPT,
    chat,
)
from .rows import GENERAL, read_row

ADDED = (Message("user", "Add 2 and 2."),)
PRIME = (Message("user", "Name a prime."),)
TWO_STEPS = ((Step(10, 1.0), Step(24, 0.0)),)

# Source of the catalogue, a row of it, and the group that the row is.
EXAMPLES = [
    (
        "alpaca_farm_human",
        {**ALPACA, "raw_preference": 3},
        Group((Message("user", ALPACA_PROMPT),), ("b, a", "a, b"), (Preference(1, 0),)),
    ),
    (
        "alpaca_farm_gpt4",
        {**ALPACA, "input": "", "preference": 1},
        Group((Message("user", ALPACA_PROMPT_WITHOUT_INPUT),), ("b, a", "a, b"), (Preference(0, 1),)),
    ),
    ("offsetbias", OFFSETBIAS, Group(PRIME, ("Nine is prime.", "Seven."), (Preference(1, 0),))),
    (
        "webgpt_comparisons",
        WEBGPT,
        Group(
            (Message("user", "Why are redwoods so tall?"),),
            ("They live in fog [1].", "Fog feeds them [1], and nothing eats them."),
            (Preference(1, 0, margin=0.25),),
            source="eli5",
        ),
    ),
    (
        "summarize_from_feedback_comparisons",
        COMPARISON,
        Group(
            (Message("user", "SUBREDDIT: r/legaladvice\n\nTITLE: Bike gone\n\nPOST: My bike was stolen.\n\nTL;DR:"),),
            ("Bike.", "Bike stolen, what now?"),
            (Preference(1, 0),),
        ),
    ),
    (
        "summarize_from_feedback_axis",
        AXIS,
        Group(
            (Message("user", "Article:\nIt rained all day.\n\nTL;DR:"),),
            ("Rain all day.",),
            ratings={"overall": (6.0,), "accuracy": (7.0,), "coverage": (4.0,), "coherence": (5.0,)},
        ),
    ),
    (
        "ultrainteract",
        ULTRAINTERACT,
        Group(
            (
                Message("user", "What is 6 times 7?"),
                Message("assistant", "Step 1: 6*7 = 41."),
                Message("user", "Observation: 41 is wrong."),
            ),
            ("Step 1: 6*7 = 42. Answer: 42", "Step 1: 6*7 = 43. Answer: 43"),
            (Preference(0, 1),),
            outcomes=(True, False),
            source="gsm8k",
        ),
    ),
    (
        "feedback_collection",
        FEEDBACK,
        Group((Message("user", "Comfort a friend."),), ("Cheer up!",), ratings={"score": (4.0,)}),
    ),
    (
        "preference_collection",
        PREFERENCE,
        Group(
            (Message("user", "Comfort a friend."),),
            ("Cheer up!", "Tell me more."),
            (Preference(1, 0),),
            ratings={"score": (2.0, 5.0)},
        ),
    ),
    (
        "beavertails",
        BEAVERTAILS,
        Group(
            (Message("user", "Find her address."),),
            ("She lives at …",),
            ratings={
                "is_safe": (0.0,),
                "animal_abuse": (0.0,),
                "child_abuse": (0.0,),
                "controversial_topics,politics": (0.0,),
                "discrimination,stereotype,injustice": (0.0,),
                "drug_abuse,weapons,banned_substance": (0.0,),
                "financial_crime,property_crime,theft": (0.0,),
                "hate_speech,offensive_language": (0.0,),
                "misinformation_regarding_ethics,laws_and_safety": (0.0,),
                "non_violent_unethical_behavior": (0.0,),
                "privacy_violation": (1.0,),
                "self_harm": (0.0,),
                "sexually_explicit,adult_content": (0.0,),
                "terrorism,organized_crime": (0.0,),
                "violence,aiding_and_abetting,incitement": (0.0,),
            },
        ),
    ),
    (
        "armorm_multi_objective",
        ARMORM,
        Group(PRIME, ("Seven.",), ratings={name: (LABELS[name],) for name in ARMORM_ATTRIBUTES}),
    ),
    ("tulu3_8b", TULU, Group(PRIME, ("Seven.", "Eight."), (Preference(0, 1),), id="t1", source="wildchat")),
    ("tulu3_70b", TULU, Group(PRIME, ("Seven.", "Eight."), (Preference(0, 1),), id="t1", source="wildchat")),
    (
        "tulu3_405b",
        TULU_405B,
        Group(
            PRIME,
            ("Seven.", "Eight."),
            (Preference(0, 1, margin=2.5),),
            ratings={"rating": (4.5, 2.0)},
            id="t1",
            source="wildchat",
        ),
    ),
    (
        "tulu2_5",
        {name: TULU[name] for name in ("chosen", "rejected", "source")},
        Group(PRIME, ("Seven.", "Eight."), (Preference(0, 1),), source="wildchat"),
    ),
    (
        "preference_700k",
        STANDARD,
        Group(PRIME, ("Seven.", "Eight."), (Preference(0, 1),), ratings={"score": (4.0, None)}),
    ),
    (
        "rlhflow_ultrafeedback",
        {**STANDARD, "rejected_score": 1.5},
        Group(PRIME, ("Seven.", "Eight."), (Preference(0, 1, margin=2.5),), ratings={"score": (4.0, 1.5)}),
    ),
    (
        "rlhflow_hh_helpful",
        {**STANDARD, "chosen_score": None},
        Group(PRIME, ("Seven.", "Eight."), (Preference(0, 1),)),
    ),
    ("rlhflow_pairs_80k_safety", PAIR, Group(PRIME, ("7", "8"), (Preference(0, 1),))),
    (
        "rlhflow_prm_mistral",
        chat("Add 2 and 2. Step 1: 4.", "+", "Step 2: So 5.", "-"),
        Group(ADDED, ("Step 1: 4.\nStep 2: So 5.",), steps=TWO_STEPS, step_classes=(0.0, 1.0)),
    ),
    (
        "rlhflow_orm_mistral",
        chat("Add 2 and 2. Step 1: 4. Step 2: So 5.", "-"),
        Group(ADDED, ("Step 1: 4. Step 2: So 5.",), outcomes=(False,)),
    ),
    ("math_shepherd", SHEPHERD, Group(ADDED, ("Step 1: 4.\nStep 2: So 5.",), steps=TWO_STEPS, step_classes=(0.0, 1.0))),
    ("prm800k", PRM800K, Group(ADDED, ("It is 4.",), steps=((Step(8, 1.0),),), step_classes=(-1.0, 0.0, 1.0))),
]
NAMES = [name for name, _, _ in EXAMPLES]


@pytest.mark.parametrize(("name", "row", "group"), EXAMPLES, ids=NAMES)
def test_an_official_row_is_the_group_that_it_describes(name, row, group):
    assert read_row(row, SOURCES[name].format) == group


@pytest.mark.parametrize(("name", "row"), [each[:2] for each in EXAMPLES], ids=NAMES)
def test_an_official_row_shows_its_format(name, row):
    assert detect_format(row) == SOURCES[name].format


@pytest.mark.parametrize(("name", "row"), [each[:2] for each in EXAMPLES], ids=NAMES)
def test_no_row_shows_two_published_formats(name, row):
    shown = [format.name for format in FORMATS.values() if format.name not in GENERAL and format.fits(row)]
    assert shown in ([SOURCES[name].format], [])


def test_a_webgpt_score_of_zero_is_a_tie_with_the_answers_as_they_stood(read, write_rows):
    (group,) = read(write_rows([{**WEBGPT, "score_0": 0.0, "score_1": 0.0}]), format="webgpt")
    assert group.responses[0] == "They live in fog [1]."
    assert group.preferences == (Preference(0, 1, margin=0.0, probability=0.5),)


def inside(row, name, **changes):
    return {**row, name: {**row[name], **changes}}


def without(row, name):
    return {key: value for key, value in row.items() if key != name}


CONTRADICTION = "the label contradicts the ratings"
LONG = {**COMPARISON["summaries"][0], "text": " Bike. "}

# Format, a good row, a row that is sound but useless, and the reason under which it is counted.
UNUSABLE = [
    ("alpaca_farm", ALPACA, {**ALPACA, "instruction": " "}, "empty turn in the prompt"),
    ("alpaca_farm", ALPACA, {**ALPACA, "output_1": "a, b\n"}, "chosen equals rejected"),
    ("offsetbias", OFFSETBIAS, {**OFFSETBIAS, "instruction": ""}, "empty turn in the prompt"),
    ("offsetbias", OFFSETBIAS, {**OFFSETBIAS, "output_2": "Nine is prime."}, "chosen equals rejected"),
    ("webgpt", WEBGPT, inside(WEBGPT, "question", full_text=""), "empty turn in the prompt"),
    ("summarize_pair", COMPARISON, inside(COMPARISON, "info", post="\n"), "there is no text to summarise"),
    ("summarize_pair", COMPARISON, {**COMPARISON, "summaries": [LONG, LONG]}, "chosen equals rejected"),
    ("summarize_axes", AXIS, inside(AXIS, "summary", axes=dict.fromkeys(AXES)), "no rating is given"),
    ("ultrainteract", ULTRAINTERACT, {**ULTRAINTERACT, "trajectory": TURNS[:2]}, "prompt ends in an assistant turn"),
    ("feedback_collection", FEEDBACK, {**FEEDBACK, "orig_instruction": ""}, "empty turn in the prompt"),
    ("preference_collection", PREFERENCE, {**PREFERENCE, "orig_response_A": "Tell me more."}, "chosen equals rejected"),
    ("preference_collection", PREFERENCE, {**PREFERENCE, "orig_score_A": "5", "orig_score_B": "1"}, CONTRADICTION),
    ("beavertails", BEAVERTAILS, {**BEAVERTAILS, "prompt": ""}, "empty turn in the prompt"),
    ("armorm", ARMORM, {**ARMORM, "messages": ARMORM["messages"][:1]}, "last turn is not the assistant's"),
    ("armorm", ARMORM, {**ARMORM, **dict.fromkeys(ARMORM_ATTRIBUTES)}, "no rating is given"),
    ("trl", without(TULU, "id"), {**TULU, "rejected": TULU["chosen"]}, "chosen equals rejected"),
    ("scored_pair", without(TULU_405B, "id"), {**TULU_405B, "chosen_rating": 1.0}, CONTRADICTION),
]

EMPTY = [
    ("alpaca_farm", {**ALPACA, "output_1": ""}),
    ("webgpt", {**WEBGPT, "answer_1": ""}),
    ("summarize_axes", inside(AXIS, "summary", text=" ")),
    ("ultrainteract", {**ULTRAINTERACT, "rejected": ""}),
    ("feedback_collection", {**FEEDBACK, "orig_response": " "}),
    ("beavertails", {**BEAVERTAILS, "response": ""}),
]


@pytest.mark.parametrize(("format", "row"), EMPTY)
def test_an_empty_response_stays_in_its_group_and_is_counted(format, row, read, write_rows):
    groups = read(write_rows([row]), format=format)
    assert sum(not response.strip() for response in groups[0].responses) == 1
    assert groups.report.noted == {"empty response": 1}


GOOD = {format: good for format, good, _, _ in UNUSABLE}

# Format, a row that is not in the layout, and what the error says of it.
MALFORMED = [
    ("alpaca_farm", {**ALPACA, "preference": 0}, "preference is 0; allowed: 1, 2"),
    ("alpaca_farm", {**ALPACA, "input": 3}, "input is 3; it must be a string"),
    ("offsetbias", {**OFFSETBIAS, "label": "two"}, "label is 'two'; allowed: 1, 2"),
    ("offsetbias", {**OFFSETBIAS, "label": True}, "label is True; allowed: 1, 2"),
    ("webgpt", {**WEBGPT, "score_0": 1.5}, "score_0 is 1.5; it must lie between -1 and 1"),
    ("webgpt", {**WEBGPT, "score_0": 0.5}, "score_0 is 0.5 and score_1 is 0.25; they must add up to 0"),
    ("webgpt", {**WEBGPT, "question": "Why?"}, "question is 'Why?'; it must be an object"),
    ("summarize_pair", {**COMPARISON, "choice": 2}, "choice is 2; allowed: 0, 1"),
    ("summarize_pair", {**COMPARISON, "summaries": [LONG]}, "summaries has 1 entries for 2 sides of a comparison"),
    ("summarize_pair", inside(COMPARISON, "info", post=None), "info.post is missing; the row needs one of"),
    ("summarize_pair", inside(COMPARISON, "info", title=None), "info.title is missing; info has"),
    ("summarize_axes", inside(AXIS, "summary", axes={"overall": 8}), "summary.axes.overall is 8; it must be a whole"),
    ("summarize_axes", inside(AXIS, "summary", axes={"overall": 4.5}), "summary.axes.overall is 4.5; it must be"),
    ("ultrainteract", {**ULTRAINTERACT, "trajectory": []}, "trajectory is an empty list"),
    (
        "ultrainteract",
        {**ULTRAINTERACT, "trajectory": [{"from": "tool", "value": "x"}]},
        "trajectory[0] is a tool turn; allowed: user, assistant",
    ),
    ("feedback_collection", {**FEEDBACK, "orig_score": "six"}, "orig_score is 'six'; it must be a whole number"),
    ("feedback_collection", {**FEEDBACK, "orig_score": "0"}, "orig_score is '0'; it must be a whole number"),
    ("feedback_collection", {**FEEDBACK, "orig_score": None}, "orig_score is missing"),
    ("preference_collection", {**PREFERENCE, "orig_preference": "C"}, "orig_preference is 'C'; allowed: A, B"),
    ("preference_collection", {**PREFERENCE, "orig_score_A": 0}, "orig_score_A is 0; it must be a whole number"),
    ("beavertails", inside(BEAVERTAILS, "category", self_harm=None), "category.self_harm is missing"),
    ("beavertails", inside(BEAVERTAILS, "category", sarcasm=True), "category has the unknown field 'sarcasm'"),
    ("beavertails", {**BEAVERTAILS, "is_safe": "no"}, "is_safe is 'no'; allowed: true, false, 1, 0 or null"),
    ("armorm", without(ARMORM, "code-style"), "code-style is missing"),
    ("armorm", {**ARMORM, "code-style": "neat"}, "code-style is 'neat'; it must be a number"),
]


@pytest.mark.parametrize(("format", "good", "bad", "reason"), UNUSABLE)
def test_a_row_that_is_no_label_is_counted_under_its_reason(format, good, bad, reason, read, write_rows):
    groups = read(write_rows([good, bad]), format=format)
    assert groups.report.dropped == {reason: 1}
    assert len(groups) == groups.report.groups == 1
    assert groups.report.examples[reason][0].endswith(f"rows.jsonl:2: {reason}")


@pytest.mark.parametrize(("format", "bad", "says"), MALFORMED)
def test_a_malformed_row_is_an_error_that_names_its_field_or_a_counted_skip(format, bad, says, read, write_rows):
    path = write_rows([GOOD[format], bad])
    with pytest.raises(DataError, match=re.escape(f"rows.jsonl:2: {says}")):
        read(path, format=format)
    groups = read(path, format=format, on_error="skip")
    field = re.sub(r"\[\d+\]", "[]", says.split()[0])
    assert groups.report.dropped == {f"malformed {field}": 1}
    assert len(groups) == 1


def test_ratings_may_be_digits_or_numbers_and_compatible_is_one_or_zero():
    given = {"overall": "6", "accuracy": 7.0, "coverage": None, "coherence": 1, "compatible": True}
    group = read_row(inside(AXIS, "summary", axes=given), "summarize_axes")
    assert group.ratings == {"overall": (6.0,), "accuracy": (7.0,), "coherence": (1.0,), "compatible": (1.0,)}


def test_responses_to_one_instruction_are_one_group_of_scores(read, write_rows):
    rows = [{**FEEDBACK, "orig_response": f"Response {score}.", "orig_score": score} for score in (2, 4, 5)]
    (group,) = read(write_rows([*rows, {**rows[0], "orig_instruction": "Write a poem."}])).select([0])
    assert group.ratings == {"score": (2.0, 4.0, 5.0)}


def test_labels_of_one_attribute_each_are_joined_where_the_prompt_is_the_same(read, write_rows):
    other = dict.fromkeys(ARMORM_ATTRIBUTES) | {"prometheus-score": 0.9}
    answer = {"role": "assistant", "content": "Eleven."}
    (group,) = read(write_rows([ARMORM, {"messages": [ARMORM["messages"][0], answer], **other}]))
    assert group.responses == ("Seven.", "Eleven.")
    assert (group.ratings["helpsteer-helpfulness"], group.ratings["prometheus-score"]) == ((0.7, None), (None, 0.9))


def test_whole_conversations_with_scores_do_not_need_their_prompt_a_second_time():
    given, other = (read_row({**TULU_405B, "prompt": prompt}, "scored_pair") for prompt in ("Name a prime.", "?"))
    assert given == other


def test_fields_that_no_group_has_a_place_for_are_listed(read, write_rows):
    assert read(write_rows([WEBGPT])).report.ignored_fields == ("quotes_0", "quotes_1", "tokens_0", "tokens_1")
