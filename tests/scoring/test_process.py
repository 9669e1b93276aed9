"""Process and outcome models as scorers: every step of every response in one pass, and what is made of them."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from plaudit.data.schema.group import Group, Step, conversation
from plaudit.data.schema.steps import split_steps
from plaudit.errors import ConfigError, ModelError
from plaudit.models.heads.head import ScalarHead
from plaudit.models.heads.language_model import LanguageModelHead
from plaudit.models.heads.odin import OdinHead
from plaudit.models.heads.token import TokenHead
from plaudit.models.parity import choose_layout
from plaudit.scoring.local.engine import NO_STEP, RewardScorer

HEADS = {
    "token, 2 classes": TokenHead(classes=(0.0, 1.0)),
    "token, 3 classes": TokenHead(classes=(-1.0, 0.0, 1.0)),
    "words": LanguageModelHead(classes=(0.0, 1.0), class_words=("-", "+")),
    "three words": LanguageModelHead(classes=(-1.0, 0.0, 1.0), class_words=("-", "o", "+")),
    "turns": LanguageModelHead(classes=(0.0, 1.0), class_words=("-", "+"), form="turns"),
    "one turn": LanguageModelHead(classes=(0.0, 1.0), class_words=("-", "+"), form="one_turn"),
}
OUTCOMES = {
    "token": TokenHead(),
    "one word": LanguageModelHead(class_words=("+",)),
    "two words": LanguageModelHead(class_words=("-", "+")),
}
LINES = (
    "the cat runs\nthe dog sleeps\nthe cat sees a house",
    "the cat runs\nthe dog sleeps\nnever",
    "yes",
    "the cat runs under a tree\n\nand sleeps\nbut why\nno",
)
GROUP = Group(conversation("why one and two?"), LINES, id="g")


@pytest.fixture
def scorer(make_decoder):
    def make(head, layout="shared_prefix", *, max_tokens=4096, aggregation=None, **changes):
        model = make_decoder(head=head, max_length=256, init_std=0.3, **changes)
        if model.gain_and_bias is not None:
            model.gain_and_bias.data = torch.tensor([0.7, -0.2])
        choose_layout(model, layout)
        return RewardScorer(model, max_tokens=max_tokens, aggregation=aggregation)

    return make


def score(scorer, group=GROUP):
    (found,) = scorer.score_groups([group])
    return found


def close(found, wanted, tolerance=2e-6):
    assert [len(each) for each in found] == [len(each) for each in wanted]
    for a, b in zip(found, wanted, strict=True):
        assert a == pytest.approx(b, abs=tolerance)


# ----------------------------------------------------------- against one forward of transformers per step


def one_forward_per_step(scorer, response):
    """Return P(right) + P(neutral) of each step from a forward over everything up to it, as the public code does."""
    model, tokenizer, recipe = scorer.model, scorer.model.tokenizer, scorer.recipe
    steps = [line.strip() for line in response.split("\n") if line.strip()]
    steps = [response] if recipe.form == "one_turn" else steps
    found = []
    for count in range(1, len(steps) + 1):
        if recipe.form in ("turns", "one_turn"):
            turns = [{"role": "user", "content": f"{GROUP.prompt[0].content} {steps[0]}"}]
            for step in steps[1:count]:
                turns += [{"role": "assistant", "content": "+"}, {"role": "user", "content": step}]
            text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        else:
            turns = [{"role": "user", "content": GROUP.prompt[0].content}]
            text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
            end = split_steps(response, "\n")[count - 1].end
            text += response[:end]
        ids = torch.tensor([tokenizer(text, add_special_tokens=False)["input_ids"]])
        with torch.no_grad():
            logits = model.core(input_ids=ids).logits[0, -1].double()
        classes = logits if recipe.head == "token" else logits[list(recipe.class_tokens)]
        found.append(float(torch.softmax(classes, dim=-1)[1:].sum()))
    return found


@pytest.mark.parametrize("name", HEADS)
def test_every_step_gets_what_a_forward_of_its_own_would_give_it(scorer, name):
    made = scorer(HEADS[name], aggregation="min")
    found = score(made)
    made.model.use_layout("padded")
    wanted = [one_forward_per_step(made, response) for response in LINES]
    if name != "one turn":
        assert [len(steps) for steps in wanted] == [3, 3, 1, 4]
    close(found.steps, wanted)
    assert found.rewards == pytest.approx([min(steps) for steps in wanted], abs=2e-6)
    assert len({round(value, 4) for steps in wanted for value in steps}) > 3


@pytest.mark.parametrize("name", [*HEADS, *OUTCOMES])
@pytest.mark.parametrize(("layout", "max_tokens"), [("packed", 4096), ("shared_prefix", 70), ("padded", 1)])
def test_steps_and_rewards_do_not_depend_on_layout_or_memory(scorer, name, layout, max_tokens):
    head = (HEADS | OUTCOMES)[name]
    others = [
        Group(conversation("how?"), LINES[::-1], id="a"),
        GROUP,
        Group(conversation("when two?"), ("no",), id="b"),
    ]
    wanted = list(scorer(head, "padded").score_groups(others))
    found = list(scorer(head, layout, max_tokens=max_tokens).score_groups(others))
    for a, b in zip(found, wanted, strict=True):
        assert a.rewards == pytest.approx(b.rewards, abs=3e-6)
        if b.steps is None:
            assert a.steps is None
        else:
            close(a.steps, b.steps, 3e-6)


@pytest.mark.parametrize(
    ("how", "share"),
    [
        ({}, math.exp(2.0) + math.exp(1.0)),
        ({"step_reward": "highest"}, math.exp(1.0)),
        ({"step_reward": "mean"}, math.exp(2.0) / 2 + math.exp(1.0)),
    ],
)
def test_the_step_reward_of_three_classes_is_that_it_is_not_wrong_unless_the_recipe_says_otherwise(scorer, how, share):
    made = scorer(TokenHead(classes=(-1.0, 0.0, 1.0), **how))
    with torch.no_grad():
        made.model.core.score.weight.zero_()
        made.model.core.score.bias.copy_(torch.tensor([0.0, 2.0, 1.0]))
    total = 1.0 + math.exp(2.0) + math.exp(1.0)
    assert score(made).steps[2] == pytest.approx([share / total])


@pytest.mark.parametrize("aggregation", ["log_odds", "mean_odds"])
def test_rewards_are_aggregated_from_logits_and_do_not_tie_where_probabilities_round_to_one(scorer, aggregation):
    made, rewards = scorer(HEADS["token, 2 classes"], aggregation=aggregation), []
    for logit in (28.0, 33.0, 40.0):
        with torch.no_grad():
            made.model.core.score.weight.zero_()
            made.model.core.score.bias.copy_(torch.tensor([0.0, logit]))
        rewards.append(score(made).rewards[2])
    logits = [28.0, 33.0, 40.0]
    assert rewards == pytest.approx(logits if aggregation == "log_odds" else [math.exp(each) for each in logits])


def test_probabilities_next_to_one_are_told_apart(scorer):
    made = scorer(HEADS["token, 2 classes"], aggregation="last")
    rewards = []
    for logit in (20.0, 25.0, 30.0):
        with torch.no_grad():
            made.model.core.score.weight.zero_()
            made.model.core.score.bias.copy_(torch.tensor([0.0, logit]))
        rewards.append(score(made).rewards[0])
    # in float32 all three would be 1
    assert rewards[0] < rewards[1] < rewards[2] < 1.0


# ------------------------------------------------------------------------------------------ aggregation


@pytest.mark.parametrize(
    ("how", "by_hand"),
    [
        ("last", lambda p: p[-1]),
        ("mean", lambda p: sum(p) / len(p)),
        ("min", min),
        ("max", max),
        ("product", math.prod),
        ("log_odds", lambda p: sum(math.log(x / (1 - x)) for x in p)),
    ],
)
def test_the_scorer_chooses_how_steps_make_a_reward(scorer, how, by_hand):
    found = score(scorer(HEADS["words"], aggregation=how))
    assert found.rewards == pytest.approx([by_hand(steps) for steps in found.steps], abs=1e-12)


def test_without_a_choice_the_recipe_decides_and_the_hash_tells_the_choice(scorer):
    head = dataclasses.replace(HEADS["words"], aggregation="mean")
    assert score(scorer(head)).rewards == score(scorer(head, aggregation="mean")).rewards
    assert score(scorer(head)).rewards != score(scorer(head, aggregation="min")).rewards
    assert scorer(head).info.recipe_hash == scorer(head, aggregation="mean").info.recipe_hash
    assert scorer(head).info.recipe_hash != scorer(head, aggregation="min").info.recipe_hash


@pytest.mark.parametrize("head", [ScalarHead(), OdinHead(), *OUTCOMES.values()])
def test_a_model_without_steps_aggregates_none(scorer, head):
    with pytest.raises(ConfigError, match="gives no rewards to steps; leave it out"):
        scorer(head, aggregation="mean")
    assert score(scorer(head)).steps is None


# ------------------------------------------------------------------------------------------------ steps


def test_own_steps_come_first_and_others_are_split_by_the_separator(scorer):
    head = dataclasses.replace(HEADS["token, 2 classes"], step_separator="\n\n")
    assert [len(steps) for steps in score(scorer(head)).steps] == [1, 1, 1, 2]
    own = dataclasses.replace(GROUP, steps=((Step(12, 0.0), Step(27, 1.0)), None, None, None))
    found = score(scorer(head), own)
    assert [len(steps) for steps in found.steps] == [2, 1, 1, 2]
    lines = score(scorer(HEADS["token, 2 classes"]))
    assert found.steps[0] == pytest.approx(lines.steps[0][:2], abs=2e-6)


@pytest.mark.parametrize("name", ["token, 2 classes", "turns"])
def test_a_response_without_steps_has_no_reward_and_a_reason(scorer, name):
    split = tuple(split_steps(text, "\n") for text in LINES)
    without = dataclasses.replace(GROUP, steps=(split[0], (), *split[2:]))
    found, whole = score(scorer(HEADS[name]), without), score(scorer(HEADS[name]))
    assert (found.rewards[1], found.steps[1], found.reason) == (None, (), NO_STEP)
    kept = [0, 2, 3]
    assert [found.rewards[k] for k in kept] == pytest.approx([whole.rewards[k] for k in kept], abs=2e-6)
    nothing = dataclasses.replace(GROUP, steps=((),) * 4)
    for layout in ("shared_prefix", "padded"):
        empty = score(scorer(HEADS[name], layout), nothing)
        assert (empty.rewards, empty.reason) == ((None,) * 4, NO_STEP)


@pytest.mark.parametrize("layout", ["shared_prefix", "packed", "padded"])
def test_a_group_of_which_nothing_is_read_stands_beside_others(scorer, layout):
    nothing = dataclasses.replace(GROUP, steps=((),) * 4, id="nothing")
    made = scorer(HEADS["token, 2 classes"], layout)
    first, empty, last = made.score_groups([GROUP, nothing, dataclasses.replace(GROUP, id="last")])
    assert empty.rewards == (None,) * 4
    close((first.rewards, last.rewards), (score(made).rewards,) * 2)


def test_a_response_that_is_too_long_and_one_without_steps_give_both_reasons(scorer):
    group = Group(conversation("hi"), ("cat " * 300, "yes", "no"), steps=(None, (), None), id="x")
    found = score(scorer(HEADS["token, 2 classes"]), group)
    assert (found.rewards[:2], found.steps[:2]) == ((None, None), (None, ()))
    assert found.rewards[2] is not None
    assert found.reason == f"responses alone longer than max_length; {NO_STEP}"


def test_the_labels_of_the_data_never_reach_a_scorer(scorer):
    head = dataclasses.replace(HEADS["turns"], shown_words="labels")
    split = [split_steps(text, "\n") for text in LINES]
    labelled = [
        dataclasses.replace(GROUP, steps=tuple(tuple(Step(step.end, label) for step in steps) for steps in split))
        for label in (0.0, 1.0)
    ]
    wrong, right = (score(scorer(head), group) for group in labelled)
    assert wrong.steps == right.steps
    assert wrong.steps == score(scorer(HEADS["turns"])).steps


def test_the_first_error_is_found_in_what_a_scorer_says(scorer):
    found = score(scorer(HEADS["words"]))
    steps = found.steps[3]
    threshold = sorted(steps)[1]
    assert found.first_error(3, threshold=threshold) == steps.index(min(steps))
    assert found.first_error(3, threshold=0.0) is None
    with pytest.raises(ValueError, match="no step of response 0 of group 'g' has a reward"):
        score(scorer(ScalarHead())).first_error(0)


# --------------------------------------------------------------------------------------- outcome models


@pytest.mark.parametrize("name", OUTCOMES)
def test_an_outcome_model_is_read_at_the_last_token_of_the_response(scorer, name):
    made = scorer(OUTCOMES[name])
    found = score(made)
    model, tokenizer = made.model, made.model.tokenizer
    model.use_layout("padded")
    for response, reward in zip(LINES, found.rewards, strict=True):
        turns = [{"role": "user", "content": GROUP.prompt[0].content}, {"role": "assistant", "content": response}]
        ids = tokenizer.apply_chat_template(turns, return_tensors="pt", return_dict=True)["input_ids"]
        with torch.no_grad():
            logits = model.core(input_ids=ids).logits[0, -1].double()
        words = logits[list(model.recipe.class_tokens)]
        wanted = {
            "token": lambda logits=logits: logits[0],
            "one word": lambda words=words: 0.7 * words[0] - 0.2,
            "two words": lambda words=words: words[1] - words[0],
        }[name]()
        assert reward == pytest.approx(float(wanted), abs=3e-6)


@pytest.mark.parametrize("name", OUTCOMES)
def test_its_value_at_every_token_is_there_on_demand_and_ends_in_the_reward(scorer, name):
    wanted = None
    for layout, max_tokens in (("padded", 4096), ("shared_prefix", 4096), ("packed", 60)):
        made = scorer(OUTCOMES[name], layout, max_tokens=max_tokens)
        values = made.token_values(GROUP.prompt, LINES)
        for response, each, reward in zip(LINES, values, score(made).rewards, strict=True):
            assert "".join(each.tokens) == f"{response}<|end|>"
            assert len(each.values) == len(each.tokens)
            assert each.values[-1] == pytest.approx(1.0 / (1.0 + math.exp(-reward)), abs=2e-6)
        wanted = wanted or values
        close([each.values for each in values], [each.values for each in wanted])


def test_a_process_model_gives_no_values_of_tokens(scorer):
    with pytest.raises(ModelError, match="a head of kind token gives no values of tokens"):
        scorer(HEADS["token, 2 classes"]).token_values("hi", ["yes"])
