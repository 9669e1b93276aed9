"""The reward function that TRL's trainers take: grouped by prompt, and None where there is no reward."""

from __future__ import annotations

import pytest

import plaudit
from plaudit.models.checkpoint.files import save_reward_model
from plaudit.scoring.function import FunctionScorer

TURNS = [{"role": "user", "content": "Is it red?"}]


class Recording:
    """A scorer that rewards length and keeps the groups that it was given."""

    def __init__(self):
        self.groups = []

    def score_groups(self, groups):
        for group in groups:
            self.groups.append(group)
            yield from FunctionScorer(lambda prompt, responses: [len(each) for each in responses]).score_groups([group])


def said(text):
    return [{"role": "assistant", "content": text}]


def test_repeated_prompts_are_one_group_and_the_order_is_that_of_the_call():
    scorer = Recording()
    reward = plaudit.reward_function(scorer)
    assert reward(prompts=["a", "b", "a"], completions=["1", "22", "333"]) == [1.0, 2.0, 3.0]
    assert [group.responses for group in scorer.groups] == [("1", "333"), ("22",)]


def test_texts_and_messages_of_one_prompt_are_the_same():
    reward = plaudit.reward_function(Recording())
    parts = [{"role": "user", "content": [{"type": "text", "text": "Is it red?"}]}]
    prompts = ["Is it red?", TURNS, parts]
    scorer = Recording()
    reward = plaudit.reward_function(scorer)
    assert reward(prompts, ["yes", said("yes!"), said("no")], answer=[1, 2, 3], trainer_state=None) == [3.0, 4.0, 2.0]
    (group,) = scorer.groups
    assert group.responses == ("yes", "yes!", "no")


@pytest.mark.parametrize(
    "completion",
    [
        *(
            "",
            " \n",
            [],
            said(""),
            said(None),
            [{"role": "tool", "content": "4"}],
            said([{"type": "image"}]),
            "lone \ud800",
        ),
        *(None, 4, float("nan"), b"four", [None], ["four"], {"answer": "four"}),
    ],
    ids=str,
)
def test_a_completion_that_cannot_be_scored_is_none_and_its_siblings_are_scored(completion):
    assert plaudit.reward_function(Recording())([TURNS, TURNS], [completion, said("four")]) == [None, 4.0]


@pytest.mark.parametrize("prompt", ["", None, 4, b"ok", [], [None], ["ok"], {"question": "ok"}], ids=str)
def test_a_prompt_that_cannot_be_scored_gives_none(prompt):
    assert plaudit.reward_function(Recording())([prompt, "ok"], ["text", "text"]) == [None, 4.0]


def test_one_conversation_is_the_same_however_it_is_written():
    prompts = [TURNS, TURNS[0], [{"from": "Human", "value": "Is it red?"}], [plaudit.Message("user", "Is it red?")]]
    completions = ["yes", {"role": "assistant", "content": "yes!"}, [{"from": "gpt", "value": "no"}], said("never")]
    scorer = Recording()
    assert plaudit.reward_function(scorer)(iter(prompts), iter(completions)) == [3.0, 4.0, 2.0, 5.0]
    (group,) = scorer.groups
    assert (group.prompt, len(group.responses)) == ((plaudit.Message("user", "Is it red?"),), 4)


@pytest.mark.parametrize(
    ("prompts", "completions", "name"),
    [("word", "text", "prompts"), (None, ["text"], "prompts"), (["ok"], 3, "completions"), (TURNS[0], [1], "prompts")],
)
def test_what_is_no_list_is_refused_rather_than_read_by_its_letters(prompts, completions, name):
    with pytest.raises(plaudit.DataError, match=f"^{name} is .*; it must be a list"):
        plaudit.reward_function(Recording())(prompts, completions)


def test_the_turns_of_a_tool_belong_to_the_prompt_and_a_begun_answer_to_the_response():
    scorer = Recording()
    steps = [*said("I look."), {"role": "tool", "content": "4"}, *said("It is 4.")]
    plaudit.reward_function(scorer)([TURNS, [*TURNS, *said("Yes, ")]], [steps, "it is."])
    first, second = scorer.groups
    assert [message.role for message in first.prompt] == ["user", "assistant", "tool"]
    assert first.responses == ("It is 4.",)
    assert (len(second.prompt), second.responses) == (1, ("Yes, it is.",))


def test_an_uneven_call_is_an_error():
    with pytest.raises(plaudit.DataError, match="2 prompts and 1 completions"):
        plaudit.reward_function(Recording())(["a", "b"], ["c"])


def test_a_model_gives_the_rewards_that_it_scores_with_and_none_for_what_is_too_long(tmp_path, make_decoder):
    save_reward_model(make_decoder(), tmp_path / "base")
    reward = plaudit.reward_function(tmp_path / "base")
    assert reward.__name__ == "base"
    found = reward(["Is it red?", "Is it red?"], ["yes", "word " * 400])
    assert found[1] is None
    assert found[0] == pytest.approx(plaudit.load(tmp_path / "base").score("Is it red?", ["yes"])[0], abs=1e-6)
