"""RLHFlow's chats: judged steps, judged solutions, compared responses, and its standard preference rows."""

from __future__ import annotations

import pytest

from plaudit.data.reading.sources.fields import UnusableRowError
from plaudit.data.reading.sources.formats import detect_format
from plaudit.data.schema.group import Group, Message, Preference, Step

from .rows import read_row

QUESTION = (Message("user", "2+2+1?"),)


def chat(*contents, name="conversations"):
    roles = ("user", "assistant")
    return {name: [{"role": roles[index % 2], "content": content} for index, content in enumerate(contents)]}


@pytest.mark.parametrize("name", ["conversations", "messages"])
def test_exchanges_are_steps_and_the_first_turn_also_holds_the_problem(name):
    row = chat("2+2+1? Step 1: 2+2=4.", "+", "Step 2: 4+1=6.", "-", name=name)
    assert read_row(row, "rlhflow_process") == Group(
        QUESTION, ("Step 1: 2+2=4.\nStep 2: 4+1=6.",), steps=((Step(14, 1.0), Step(29, 0.0)),), step_classes=(0.0, 1.0)
    )


def test_judged_steps_are_joined_by_the_separator_and_lose_their_tags():
    row = chat("2+2+1? Step 1: 2+2=4. ки", "+", " Step 2: 4+1=5. ки", "+")
    group = read_row(row, "rlhflow_process", step_separator="\n\n")
    assert group.responses == ("Step 1: 2+2=4.\n\nStep 2: 4+1=5.",)
    assert group.steps == ((Step(14, 1.0), Step(30, 1.0)),)


def test_a_single_verdict_on_many_steps_is_an_outcome():
    solution = "\n".join(f"Step {number}: x. ки" for number in range(1, 12))
    group = read_row(chat(f"2+2+1? {solution}", "-"), "rlhflow_process")
    assert group.outcomes == (False,)
    assert group.steps is None
    assert group.responses[0].endswith("\nStep 10: x.\nStep 11: x.")  # nothing is cut at "Step 10"


def test_a_single_verdict_on_a_single_step_is_both():
    assert read_row(chat("2+2+1? Step 1: 5.", "+"), "rlhflow_process") == Group(
        QUESTION, ("Step 1: 5.",), outcomes=(True,), steps=((Step(10, 1.0),),), step_classes=(0.0, 1.0)
    )


def test_a_solution_may_speak_of_step_1_without_marking_it_again():
    row = chat("2+2+1? Step 1: 2+2=4. Step 2: By Step 1 and Step 10, 5.", "+")
    assert read_row(row, "rlhflow_process").prompt == QUESTION


@pytest.mark.parametrize(
    ("contents", "reason"),
    [
        (("2+2+1? We add first.", "+", "So 5.", "+"), "no 'Step 1:' between problem and solution"),
        (("2+2+1? Step 10: We add first.", "+"), "no 'Step 1:' between problem and solution"),
        (("Step 1: 2+2. Step 1: is 4.", "+"), "more than one 'Step 1:' between problem and solution"),
        (("Step 1: 4.", "+"), "empty turn in the prompt"),
        (("2+2+1? Step 1: 4.", "+", " ки", "-"), "a labelled step holds no text"),
    ],
)
def test_a_chat_whose_problem_cannot_be_told_apart_has_its_own_reason(contents, reason):
    with pytest.raises(UnusableRowError) as caught:
        read_row(chat(*contents), "rlhflow_process")
    assert caught.value.reason == reason


# Comparisons. The texts are those of the format exactly, with its line breaks and blanks.

ONE_TURN = "[CONTEXT] \n\n<turn> user\n 2+2+1?\n [RESPONSE A] 5 [RESPONSE B] 6 \n"
THREE_TURNS = (
    "[CONTEXT] \n\n<turn> user\n Hi\n<turn> assistant\n Yes?\n\nI listen.\n<turn> user\n 2+2+1?\n "
    "[RESPONSE A] 5 [RESPONSE B] 6 \n"
)


@pytest.mark.parametrize(("answer", "responses"), [("A", ("5", "6")), ("B", ("6", "5"))])
def test_the_preferred_response_comes_first_wherever_it_stood(answer, responses):
    row = chat(ONE_TURN, answer, name="messages")
    assert read_row(row, "rlhflow_pair") == Group(QUESTION, responses, (Preference(0, 1),))


def test_the_same_pair_in_both_orders_is_the_same_group():
    swapped = ONE_TURN.replace("5", "7").replace("6", "5").replace("7", "6")
    first, second = (read_row(chat(*each), "rlhflow_pair") for each in ((ONE_TURN, "A"), (swapped, "B")))
    assert first == second


def test_a_context_of_several_turns_is_a_conversation():
    group = read_row(chat(THREE_TURNS, "A"), "rlhflow_pair")
    assert group.prompt == (Message("user", "Hi"), Message("assistant", "Yes?\n\nI listen."), *QUESTION)
    assert group.responses == ("5", "6")


def test_a_context_without_turns_is_one_user_turn():
    group = read_row(chat("[CONTEXT] 2+2+1? [RESPONSE A] 5 [RESPONSE B] 6 \n", "B"), "rlhflow_pair")
    assert group == Group(QUESTION, ("6", "5"), (Preference(0, 1),))


def test_a_tie_keeps_the_order_and_has_probability_one_half():
    group = read_row(chat(ONE_TURN, "Same"), "rlhflow_pair")
    assert (group.responses, group.preferences) == (("5", "6"), (Preference(0, 1, probability=0.5),))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (ONE_TURN.replace("5", "5 or [RESPONSE B] 7"), "text holds a tag of the format more than once"),
        (ONE_TURN.replace("2+2", "[CONTEXT] 2+2"), "text holds a tag of the format more than once"),
        (ONE_TURN.replace("5", "6"), "chosen equals rejected"),
        (THREE_TURNS.replace("Yes?", "Yes?\n<turn> assistant\n No."), "turns of the context do not alternate"),
        (THREE_TURNS.replace("<turn> user\n 2+2+1?\n", ""), "prompt ends in an assistant turn"),
        (THREE_TURNS.replace("Yes?\n\nI listen.", ""), "empty turn in the prompt"),
    ],
)
def test_a_comparison_that_cannot_be_read_without_guessing_has_its_own_reason(content, reason):
    with pytest.raises(UnusableRowError) as caught:
        read_row(chat(content, "A"), "rlhflow_pair")
    assert caught.value.reason == reason


def test_standard_preference_rows_are_read_as_trl_rows():
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"}]
    turns += [{"role": "user", "content": "2+2+1?"}]
    row = {
        side: [*turns, {"role": "assistant", "content": content}]
        for side, content in (("rejected", "6"), ("chosen", "5"))
    }
    assert detect_format(row) == "trl"
    assert read_row(row, "trl") == Group(
        (Message("user", "Hi"), Message("assistant", "Yes?"), *QUESTION), ("5", "6"), (Preference(0, 1),)
    )
