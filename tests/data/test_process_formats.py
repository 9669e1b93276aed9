"""Rows of PRM800K, Math-Shepherd, Math-APS and TRL's stepwise layout become the steps that they describe."""

from __future__ import annotations

import pytest

from plaudit.data.reading.sources.fields import UnusableRowError
from plaudit.data.schema.group import Group, Message, Step
from plaudit.errors import DataError

from .rows import read_row

PROBLEM = (Message("user", "2+2+1?"),)


def pieces(response, steps):
    """Return the text and label of each step, found by its offsets alone."""
    starts = [0, *(step.end for step in steps)]
    return [(response[start : step.end].strip(), step.label) for start, step in zip(starts, steps, strict=False)]


def paths(group):
    return [pieces(*each) for each in zip(group.responses, group.steps, strict=True)]


# PRM800K


def completion(text, rating):
    return {"text": text, "rating": rating, "flagged": False}


def step(*completions, chosen=None, human=None):
    return {"completions": list(completions), "chosen_completion": chosen, "human_completion": human}


def labelled(*steps, **label):
    return {"question": {"problem": "2+2+1?", "ground_truth_answer": "5"}, "label": {"steps": list(steps), **label}}


def test_alternatives_branch_off_the_followed_path_and_never_follow_each_other():
    row = labelled(
        step(completion("2+2=5.", -1), completion("2+2=4.", 1), chosen=1),
        step(completion("4+1=6.", -1), completion("4+1=5.", 1), completion("Adding one.", 0), chosen=1),
        finish_reason="solution",
    )
    group = read_row(row, "prm800k")
    # "2+2=4." has 6 characters, the line break is the 7th, "4+1=5." ends at 13, "Adding one." at 7 + 11.
    assert group == Group(
        PROBLEM,
        ("2+2=4.\n4+1=5.", "2+2=5.", "2+2=4.\n4+1=6.", "2+2=4.\nAdding one."),
        step_classes=(-1.0, 0.0, 1.0),
        steps=(
            (Step(6, 1.0), Step(13, 1.0)),
            (Step(6, -1.0),),
            (Step(6, 1.0), Step(13, -1.0)),
            (Step(6, 1.0), Step(18, 0.0)),
        ),
    )
    concatenated = "2+2=5.\n2+2=4."  # what the public code makes of step 1: alternatives one after the other
    assert not any(concatenated in response for response in group.responses)


def test_the_step_that_a_labeller_wrote_is_followed_without_a_label():
    row = labelled(
        step(completion("2+2=5.", -1), human={"text": "2+2=4.", "rating": None, "source": "human"}),
        step(completion("4+1=5.", 1), chosen=0),
    )
    assert paths(read_row(row, "prm800k")) == [
        [("2+2=4.", None), ("4+1=5.", 1.0)],
        [("2+2=5.", -1.0)],
    ]


def test_a_path_that_only_alternatives_continue_is_no_response_of_its_own():
    row = labelled(
        step(completion("2+2=4.", 1), chosen=0),
        step(completion("4+1=6.", -1), completion("4+1=5.", 1)),
        finish_reason="found_error",
    )
    assert paths(read_row(row, "prm800k")) == [
        [("2+2=4.", 1.0), ("4+1=6.", -1.0)],
        [("2+2=4.", 1.0), ("4+1=5.", 1.0)],
    ]


@pytest.mark.parametrize("last", [step(), step(completion("Hm.", None)), {"completions": None}])
def test_a_last_step_without_any_rating_ends_the_followed_path_before_it(last):
    row = labelled(step(completion("2+2=4.", 1), chosen=0), last, finish_reason="give_up")
    assert paths(read_row(row, "prm800k")) == [[("2+2=4.", 1.0)]]


def test_a_followed_step_without_a_rating_is_unlabelled_and_an_alternative_without_one_is_left_out():
    row = labelled(step(completion("2+2=4.", None), completion("2+2=5.", None), chosen=0))
    assert paths(read_row(row, "prm800k")) == [[("2+2=4.", None)]]


def test_prm800k_steps_may_be_joined_otherwise_and_keep_lines_of_their_own():
    row = labelled(
        step(completion(" 2+2=4. ", 1), chosen=0), step(completion("So five.\n\n# Answer\n\n5", 1), chosen=0)
    )
    group = read_row(row, "prm800k", step_separator="\n\n")
    assert group.responses == ("2+2=4.\n\nSo five.\n\n# Answer\n\n5",)
    assert paths(group) == [[("2+2=4.", 1.0), ("So five.\n\n# Answer\n\n5", 1.0)]]


def test_files_with_an_object_of_nulls_where_no_completion_was_written_read_the_same():
    row = labelled(step(completion("2+2=5.", -1), human={"text": None, "rating": None}))
    assert paths(read_row(row, "prm800k")) == [[("2+2=5.", -1.0)]]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (labelled(), "no step is rated or followed"),
        (labelled(step(completion("a", None))), "no step is rated or followed"),
        (
            labelled(step(completion("a", 1), chosen=0), finish_reason="bad_problem"),
            "the labeller marked the problem as bad",
        ),
        (
            labelled(step(completion("a", -1)), step(completion("b", 1), chosen=0)),
            "steps come after one that nobody followed",
        ),
    ],
)
def test_a_prm800k_row_without_a_path_has_its_own_reason(row, reason):
    with pytest.raises(UnusableRowError) as caught:
        read_row(row, "prm800k")
    assert caught.value.reason == reason


# Math-Shepherd

TAGGED = "2+2+1? Step 1: 2+2=4. ки\nStep 2: 4+1=6. The answer is: 6 ки"


def judged(text, *signs):
    head, *rest = text.split("ки")
    return {"input": text, "label": head + "".join(sign + part for sign, part in zip(signs, rest, strict=True))}


def test_tags_leave_the_text_and_become_labels():
    group = read_row({**judged(TAGGED, "+", "-"), "task": "GSM8K"}, "math_shepherd")
    first, second = "Step 1: 2+2=4.", "Step 2: 4+1=6. The answer is: 6"
    assert group == Group(
        PROBLEM,
        (f"{first}\n{second}",),
        step_classes=(0.0, 1.0),
        steps=((Step(len(first), 1.0), Step(len(first) + 1 + len(second), 0.0)),),
    )
    assert "ки" not in group.responses[0]


def test_the_tenth_step_is_not_the_first():
    problem = "In Step 10: what is x?"
    lines = "".join(f"Step {number}: x{number} ки\n" for number in range(1, 12))
    group = read_row(judged(f"{problem} {lines}", *"+" * 10, "-"), "math_shepherd")
    assert group.prompt[0].content == problem
    assert paths(group) == [[(f"Step {number}: x{number}", float(number < 11)) for number in range(1, 12)]]
    # Splitting at the bare words, as the public code does, cuts inside "Step 10".
    assert f"{problem} {lines}".split("Step 1")[0] == "In "


def test_text_after_the_last_tag_is_an_unlabelled_step():
    row = judged("Q Step 1: a ки\nStep 2: b", "+")
    assert paths(read_row(row, "math_shepherd")) == [[("Step 1: a", 1.0), ("Step 2: b", None)]]


def test_the_letters_of_the_tag_inside_a_word_are_text():
    row = {"input": "Какие руки? Step 1: Две руки. ки", "label": "Какие руки? Step 1: Две руки. +"}
    group = read_row(row, "math_shepherd")
    assert (group.prompt[0].content, group.responses) == ("Какие руки?", ("Step 1: Две руки.",))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Q so a ки\nStep 2: b ки", "no 'Step 1:' between problem and solution"),
        ("Q Step 10: a ки\nb ки", "no 'Step 1:' between problem and solution"),
        ("Step 1: is a title. Step 1: a ки\nb ки", "more than one 'Step 1:' between problem and solution"),
        ("Step 1: a ки\nb ки", "empty turn in the prompt"),
        ("Q Step 1: a ки\n ки", "a labelled step holds no text"),
    ],
)
def test_a_solution_that_cannot_be_placed_has_its_own_reason(text, reason):
    with pytest.raises(UnusableRowError) as caught:
        read_row(judged(text, "+", "+"), "math_shepherd")
    assert caught.value.reason == reason


# Math-APS


def node(text, value, *children):
    return {"text": text, "mc_value": value, "children": list(children)}


def test_every_path_of_a_tree_to_a_leaf_is_a_response_with_soft_values():
    root = node("2+2+1?", 0.5, node("2+2=4.", 0.75, node("So 5.", 1.0), node("So 6.", 0.0)), node("It is 7.", 0.0))
    group = read_row({"question": "2+2+1?", "reasoning_steps": root, "final_answer": "5"}, "math_aps")
    assert group == Group(
        PROBLEM,
        ("2+2=4.\n\nSo 5.", "2+2=4.\n\nSo 6.", "It is 7."),
        step_classes=(0.0, 1.0),
        steps=((Step(6, 0.75), Step(13, 1.0)), (Step(6, 0.75), Step(13, 0.0)), (Step(8, 0.0),)),
    )


def test_leaves_with_equal_texts_stay_apart_with_their_own_values():
    root = node("2+2+1?", 0.5, node("It is 5.", 1.0), node("It is 5.", None))
    assert paths(read_row({"question": "2+2+1?", "reasoning_steps": root}, "math_aps")) == [
        [("It is 5.", 1.0)],
        [("It is 5.", None)],
    ]


def prefixes(*entries):
    return {
        "question": "2+2+1?",
        "reasoning_steps": [{"solution_prefix": "2+2+1?" + rest, "mc_value": value} for rest, value in entries],
    }


def test_prefixes_that_others_continue_are_their_steps():
    row = prefixes(("", 0.5), ("\n\n 2+2=4.", 0.75), ("\n\n 2+2=4.\n\nSo 5.", 1.0), ("\n\n 2+2=4.\n\nSo 6.", 0.0))
    assert read_row(row, "math_aps") == Group(
        PROBLEM,
        ("2+2=4.\n\nSo 5.", "2+2=4.\n\nSo 6."),
        step_classes=(0.0, 1.0),
        steps=((Step(6, 0.75), Step(13, 1.0)), (Step(6, 0.75), Step(13, 0.0))),
    )


def test_a_prefix_in_the_middle_of_a_word_is_no_step():
    row = prefixes(("\n\nx is 1", 0.0), ("\n\nx is 12", 1.0), ("\n\nx is 1\n\nSo 1.", 0.5))
    assert paths(read_row(row, "math_aps")) == [[("x is 12", 1.0)], [("x is 1", 0.0), ("So 1.", 0.5)]]


def test_two_values_of_a_continued_prefix_count_as_their_mean_and_leaves_keep_their_own():
    row = prefixes(("\n\na", 0.0), ("\n\na", 0.5), ("\n\na", None), ("\n\na\n\nb", 1.0), ("\n\na\n\nb", 0.0))
    assert paths(read_row(row, "math_aps")) == [[("a", 0.25), ("b", 1.0)], [("a", 0.25), ("b", 0.0)]]


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        (node("2+2+1?", 0.5), "no solution of the problem has a value"),
        (node("2+2+1?", 0.5, node(" ", 0.5)), "a labelled step holds no text"),
        ([], "no solution of the problem has a value"),
        ([{"solution_prefix": "2+2+1?\n\n", "mc_value": 0.5}], "no solution of the problem has a value"),
    ],
)
def test_math_aps_rows_without_a_solution_have_their_own_reason(steps, reason):
    with pytest.raises(UnusableRowError) as caught:
        read_row({"question": "2+2+1?", "reasoning_steps": steps}, "math_aps")
    assert caught.value.reason == reason


# TRL's stepwise layout


def test_a_label_on_the_last_step_only_leaves_the_others_unlabelled():
    row = {"prompt": "2+2+1?", "completions": ["2+2=4.", "4+1=5."], "labels": [None, True]}
    assert paths(read_row(row, "stepwise", step_separator="\n\n")) == [[("2+2=4.", None), ("4+1=5.", 1.0)]]


def test_the_number_that_pytorch_ignores_is_no_label():
    row = {"prompt": "2+2+1?", "completions": ["2+2=4.", "4+1=5."], "labels": [-100, True]}
    with pytest.raises(DataError, match=r"labels\[0\] is -100.*write null"):
        read_row(row, "stepwise")
