"""Rows in the official layout of each format become the groups that they describe."""

from __future__ import annotations

import pytest

from plaudit.data.reading.sources.fields import UnusableRowError
from plaudit.data.reading.sources.formats import detect_format
from plaudit.data.reading.sources.groups import group_to_row
from plaudit.data.schema.group import Group, Message, Preference, Step
from plaudit.errors import DataError

from .rows import read_row

QUESTION = (Message("user", "What is the tallest tree?"),)


def user(content):
    return {"role": "user", "content": content}


def assistant(content):
    return {"role": "assistant", "content": content}


def test_an_explicit_text_pair_is_one_preference_of_the_first_response():
    row = {"prompt": "What is the tallest tree?", "chosen": " The redwood.", "rejected": "A shrub."}
    assert read_row(row, "trl") == Group(QUESTION, (" The redwood.", "A shrub."), (Preference(0, 1),))


def test_an_explicit_conversational_pair_reads_the_same_as_its_text():
    row = {
        "prompt": [user("What is the tallest tree?")],
        "chosen": [assistant("The redwood.")],
        "rejected": [assistant("A shrub.")],
        "margin": 2,
    }
    assert read_row(row, "trl") == Group(QUESTION, ("The redwood.", "A shrub."), (Preference(0, 1, margin=2.0),))


def test_an_implicit_conversational_pair_has_its_common_messages_as_prompt():
    common = [
        {"role": "system", "content": "Be brief."},
        user("Hi"),
        assistant("Yes?"),
        user("Tallest tree?"),
    ]
    row = {"chosen": [*common, assistant("Redwood.")], "rejected": [*common, assistant("Shrub.")]}
    group = read_row(row, "trl")
    assert [turn.role for turn in group.prompt] == ["system", "user", "assistant", "user"]
    assert group.responses == ("Redwood.", "Shrub.")


@pytest.mark.parametrize("prompt", ["Hi", [user("Hi")]])
def test_sides_that_repeat_the_prompt_do_not_double_it(prompt):
    row = {
        "prompt": prompt,
        "chosen": [user("Hi"), assistant("Hello.")],
        "rejected": [user("Hi"), assistant("No.")],
    }
    assert read_row(row, "trl") == Group((Message("user", "Hi"),), ("Hello.", "No."), (Preference(0, 1),))


def test_sides_that_continue_the_prompt_over_several_turns_share_those_turns():
    row = {
        "prompt": [user("Hi")],
        "chosen": [assistant("Yes?"), user("Why?"), assistant("So.")],
        "rejected": [assistant("Yes?"), user("Why?"), assistant("No.")],
    }
    group = read_row(row, "trl")
    assert group.prompt == (Message("user", "Hi"), Message("assistant", "Yes?"), Message("user", "Why?"))
    assert group.responses == ("So.", "No.")


def test_implicit_text_without_turns_is_refused_because_the_prompt_cannot_be_known():
    with pytest.raises(DataError, match="where the prompt ends cannot be known"):
        read_row({"chosen": "The sky is blue.", "rejected": "The sky is green."}, "trl")


def test_implicit_text_of_transcripts_is_read_as_transcripts():
    row = {"chosen": "\n\nHuman: Hi\n\nAssistant: Hello.", "rejected": "\n\nHuman: Hi\n\nAssistant: No."}
    assert read_row(row, "trl") == read_row(row, "hh")


def test_a_transcript_is_split_at_the_last_assistant_turn():
    start = "\n\nHuman: Hi\n\nAssistant: Yes?\n\nI listen.\n\nHuman: Tree?"
    row = {"chosen": start + "\n\nAssistant: Redwood. ", "rejected": start + "\n\nAssistant:  Shrub"}
    assert read_row(row, "hh") == Group(
        (Message("user", "Hi"), Message("assistant", "Yes?\n\nI listen."), Message("user", "Tree?")),
        ("Redwood.", "Shrub"),
        (Preference(0, 1),),
    )


def test_consecutive_turns_of_one_role_stay_apart_when_both_sides_have_them():
    start = "\n\nHuman: Hi\n\nAssistant: One.\n\nAssistant: Two.\n\nHuman: Go on"
    group = read_row({"chosen": start + "\n\nAssistant: A", "rejected": start + "\n\nAssistant: B"}, "hh")
    assert [turn.content for turn in group.prompt] == ["Hi", "One.", "Two.", "Go on"]


def test_a_speaker_inside_a_paragraph_opens_no_turn():
    start = "\n\nHuman: Hi.  Human: again\nAssistant: not a turn"
    group = read_row({"chosen": start + "\n\nAssistant: A", "rejected": start + "\n\nAssistant: B"}, "hh")
    assert group.prompt == (Message("user", "Hi.  Human: again\nAssistant: not a turn"),)


HI = "\n\nHuman: Hi"


@pytest.mark.parametrize(
    ("chosen", "rejected", "reason"),
    [
        (HI + "\n\nAssistant: A", HI + "\n\nAssistant: A", "chosen equals rejected"),
        (HI + "\n\nAssistant: A", HI + "\n\nAssistant: A ", "chosen equals rejected"),
        (HI + "\n\nAssistant: A", HI + "!\n\nAssistant: B", "dialogues differ before the last turn"),
        (
            HI + "\n\nAssistant: A\n\nAssistant: B",
            HI + "\n\nAssistant: A",
            "dialogues differ before the last turn",
        ),
        (HI + "\n\nAssistant: A", HI + "\n\nAssistant: A\n\nHuman: B", "last turn is not the assistant's"),
        (
            HI + "\n\nAssistant: A\n\nAssistant: B",
            HI + "\n\nAssistant: A\n\nAssistant: C",
            "prompt ends in an assistant turn",
        ),
        (
            HI + "\n\nAssistant: \n\nHuman: B\n\nAssistant: C",
            HI + "\n\nAssistant: \n\nHuman: B\n\nAssistant: D",
            "empty turn in the prompt",
        ),
    ],
)
def test_an_unusable_transcript_pair_has_its_own_reason(chosen, rejected, reason):
    with pytest.raises(UnusableRowError) as caught:
        read_row({"chosen": chosen, "rejected": rejected}, "hh")
    assert caught.value.reason == reason


def test_message_lists_that_differ_before_the_last_turn_are_unusable_not_guessed():
    row = {
        "chosen": [user("Hi"), assistant("A"), user("B"), assistant("C")],
        "rejected": [user("Hi"), assistant("D")],
    }
    with pytest.raises(UnusableRowError, match="differ before the last turn"):
        read_row(row, "trl")


def test_ratings_of_single_responses_are_gathered_by_attribute():
    row = {
        "prompt": "Q",
        "responses": [
            {"text": "A", "ratings": {"helpful": 3, "brief": 1.5}},
            {"content": "B", "ratings": {"helpful": None}, "score": 7},
            {"response": "C", "ratings": {"brief": 2}},
        ],
    }
    assert read_row(row, "responses").ratings == {
        "helpful": (3.0, None, None),
        "brief": (1.5, None, 2.0),
        "score": (None, 7.0, None),
    }


def test_ranks_scores_and_ratings_of_the_row_are_kept_and_make_no_preferences():
    row = {
        "prompt": "Q",
        "responses": ["A", "B"],
        "ranks": [2, 1],
        "scores": [0.5, 4],
        "ratings": {"x": [1, None]},
    }
    group = read_row(row, "responses")
    assert group.ranks == (2, 1)
    assert group.ratings == {"x": (1.0, None), "score": (0.5, 4.0)}
    assert group.preferences == ()


def test_ratings_may_be_one_object_per_response():
    row = {"prompt": "Q", "responses": ["A", "B"], "ratings": [{"x": 1}, {"x": 2, "y": 3}]}
    assert read_row(row, "responses").ratings == {"x": (1.0, 2.0), "y": (None, 3.0)}


def test_a_rank_may_stand_in_its_response_and_be_missing_for_another():
    row = {"prompt": "Q", "responses": [{"text": "A", "rank": 1}, {"text": "B"}]}
    assert read_row(row, "responses").ranks == (1, None)


@pytest.mark.parametrize(
    "row",
    [
        {"response": "4", "label": True},
        {"completion": "4", "label": 1},
        {"completion": [assistant("4")], "correct": True},
        {"responses": ["4"], "labels": [True]},
        {"completions": ["4"], "label": [1.0]},
    ],
)
def test_one_correct_response_reads_the_same_in_every_spelling(row):
    expected = Group((Message("user", "2+2?"),), ("4",), outcomes=(True,))
    assert read_row({"prompt": "2+2?", **row}, "outcome") == expected


def test_outcomes_of_several_responses_may_be_unknown():
    row = {"prompt": "2+2?", "responses": ["4", "5", "?"], "labels": [True, 0, None]}
    assert read_row(row, "outcome").outcomes == (True, False, None)


def test_steps_end_just_past_their_last_character():
    row = {"prompt": "2+2+1?", "completions": ["2+2=4.", "4+1=6."], "labels": [True, False]}
    group = read_row(row, "stepwise")
    assert group.responses == ("2+2=4.\n4+1=6.",)
    # "2+2=4." has 6 characters; the separator is the 7th; the second step ends at 6 + 1 + 6.
    assert group.steps == ((Step(6, 1.0), Step(13, 0.0)),)


def test_steps_are_joined_by_the_separator_that_was_asked_for():
    row = {"prompt": "Q", "steps": ["ab", "", "c"], "labels": [1, None, -1]}
    group = read_row(row, "stepwise", step_separator="\n\n")
    assert group.responses == ("ab\n\n\n\nc",)
    assert group.steps == ((Step(2, 1.0), Step(4, None), Step(7, -1.0)),)


def test_a_native_row_reads_back_equal():
    group = Group(
        (Message("system", "S"), Message("user", "Q")),
        ("one", "two"),
        preferences=(Preference(1, 0, margin=0.5, probability=0.75),),
        ranks=(2, None),
        ratings={"x": (None, 1.0)},
        outcomes=(True, None),
        steps=(None, (Step(1, None), Step(3, 0.5))),
        id="a",
        source="b",
    )
    assert read_row(group_to_row(group), "groups") == group


@pytest.mark.parametrize(
    ("row", "format"),
    [
        ({"chosen": HI + "\n\nAssistant: A", "rejected": HI + "\n\nAssistant: B"}, "hh"),
        ({"prompt": "Q", "chosen": "A", "rejected": "B"}, "trl"),
        ({"chosen": [user("Q"), assistant("A")], "rejected": [user("Q"), assistant("B")]}, "trl"),
        ({"prompt": "Q", "responses": ["A"], "ranks": [1]}, "responses"),
        ({"prompt": "Q", "responses": [{"text": "A", "score": 1}]}, "responses"),
        ({"prompt": "Q", "responses": ["A"], "labels": [None]}, "outcome"),
        ({"prompt": "Q", "responses": ["A"], "preferences": []}, "groups"),
        ({"prompt": "Q", "completion": "A", "label": False}, "outcome"),
        ({"prompt": "Q", "completions": ["A", "B"], "labels": [1, 0]}, "stepwise"),
        ({"prompt": "Q", "steps": ["A"], "labels": [None], "chosen": None}, "stepwise"),
        ({"question": {"problem": "Q"}, "label": {"steps": []}}, "prm800k"),
        ({"input": "Q Step 1: a ки", "label": "Q Step 1: a +"}, "math_shepherd"),
        ({"question": "Q", "reasoning_steps": []}, "math_aps"),
        ({"question": "Q", "reasoning_steps": {"text": "Q"}}, "math_aps"),
        ({"conversations": [user("Q Step 1: a"), assistant("+"), user("b"), assistant("-")]}, "rlhflow_process"),
        ({"messages": [user("[CONTEXT] Q [RESPONSE A] a [RESPONSE B] b \n"), assistant("A")]}, "rlhflow_pair"),
        (
            {"prompt": "Q", "response": "A"}
            | dict.fromkeys(("helpfulness", "correctness", "coherence", "complexity", "verbosity"), 1),
            "helpsteer",
        ),
    ],
)
def test_the_format_is_told_from_the_fields_of_a_row(row, format):
    assert detect_format(row) == format


@pytest.mark.parametrize(
    "row",
    [
        {"question": "Q", "response": "A", "helpfulness": 1},
        {"input": "Q", "label": "+"},
    ],
)
def test_a_row_that_shows_no_format_for_certain_is_not_guessed(row):
    with pytest.raises(DataError, match="format cannot be told"):
        detect_format(row)


@pytest.mark.parametrize(
    ("fields", "first", "columns"),
    [
        (("question", "good_answer", "bad_answer"), "trl", "prompt=question,chosen=good_answer,rejected=bad_answer"),
        (("bad", "q", "better"), "trl", "prompt=q,chosen=better,rejected=bad"),
        (("userQuery", "modelAnswer", "isCorrect"), "outcome", "prompt=userQuery,response=modelAnswer,label=isCorrect"),
        (("question", "answer", "stars"), "conversation", "prompt=question,response=answer,score=stars"),
        (("question", "answer"), "conversation", "prompt=question,response=answer"),
        (("a", "b", "c"), "trl", "prompt=a,chosen=b,rejected=c"),
    ],
)
def test_fields_of_no_format_are_refused_with_three_likely_ones_and_the_columns_to_write(fields, first, columns):
    with pytest.raises(DataError) as caught:
        detect_format(dict.fromkeys(fields, "text"))
    message = str(caught.value)
    assert message.startswith(f"format cannot be told from the fields {', '.join(fields)}; likely: {first} (")
    assert message.endswith(f"; name its columns: --columns {columns}")
    assert sum(name in message for name in ("trl (", "outcome (", "conversation (")) == 3
    assert "webgpt" not in message
