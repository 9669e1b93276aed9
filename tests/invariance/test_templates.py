"""Whatever a chat template does, a reward is that of transformers on the tokens that it makes itself."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch
from tokenizers.processors import TemplateProcessing
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import plaudit
from plaudit.data.schema.group import Group, Message, Step, conversation
from plaudit.errors import ModelError
from plaudit.models.checkpoint.doctor import diagnose
from plaudit.models.checkpoint.files import load_reward_model, save_reward_model
from plaudit.models.create import new_reward_model
from plaudit.models.heads.language_model import COMPARISON, LanguageModelHead
from plaudit.scoring.local.engine import RewardScorer

from .chat_templates import NAMED, STYLES

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")

RESPONSES = (
    "It is 4.",
    "It is four, because one and one are two.",
    "<think>\n\n</think>\n\nIt is 4.",
    "<think>\nTwo and two.\n</think>\n\nIt is 4.",
    "</think>",
    "  end<|im  ",
    "end",
)


@pytest.fixture
def folder(make_decoder, tmp_path):
    """Return a function that saves a model whose tokenizer has the template and special tokens of a style."""

    def make(name, *, is_foreign=True, **changes):
        style = STYLES[name]
        model = make_decoder(max_length=512, init_std=0.2, **changes)
        tokenizer = copy.deepcopy(model.tokenizer)
        tokenizer.chat_template = style.template
        named = {"eos_token": style.eos, "pad_token": style.pad}
        tokenizer.add_special_tokens(named | ({} if style.bos is None else {"bos_token": style.bos}))
        if style.adds_bos:
            special = [(style.bos, tokenizer.bos_token_id)]
            tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
                single=f"{style.bos} $A", special_tokens=special
            )
        model.core.resize_token_embeddings(len(tokenizer))
        model.core.config.pad_token_id = tokenizer.pad_token_id
        path = tmp_path / name.replace(" ", "_")
        model.core.save_pretrained(path)
        tokenizer.chat_template = dict.fromkeys(NAMED[name], style.template) if name in NAMED else style.template
        tokenizer.save_pretrained(path)
        return path

    return make


def by_transformers(path, prompt, responses):
    """Return the reward of each response, alone, at the last token of ``apply_chat_template(tokenize=True)``."""
    tokenizer = AutoTokenizer.from_pretrained(path)
    model = AutoModelForSequenceClassification.from_pretrained(path, dtype=torch.float32).eval()
    rewards = []
    for response in responses:
        chat = [{"role": m.role, "content": m.content} for m in (*prompt, Message("assistant", response))]
        ids = tokenizer.apply_chat_template(chat, tokenize=True, return_dict=True)["input_ids"]
        with torch.no_grad():
            hidden = model.model(torch.tensor([ids])).last_hidden_state[0, -1]
            rewards.append(float(model.score(hidden)))
    return rewards


def prompts(style):
    turns = (Message("user", "What is 2 + 2?"), Message("assistant", "Why?"), Message("user", "I ask."))
    yield conversation("What is 2 + 2?")
    yield turns
    if style.has_system:
        yield (Message("system", "Be brief."), *turns)


@pytest.mark.parametrize("name", STYLES)
def test_every_response_of_a_group_has_the_reward_that_transformers_gives_it(folder, name):
    path = folder(name)
    if name == "Llama 3.2":
        # the date of the day is no part of this: a model that plaudit saves has a fixed one
        save_reward_model(load_reward_model(str(path))[0], path.with_name("saved"))
        path = path.with_name("saved")
    for layout in ("shared_prefix", "padded"):
        scorer = plaudit.load(path, layout=layout)
        for prompt in prompts(STYLES[name]):
            (found,) = scorer.score_groups([Group(prompt, RESPONSES, id="g")])
            assert found.reason is None
            np.testing.assert_allclose(found.rewards, by_transformers(path, prompt, RESPONSES), atol=1e-5)


def test_two_responses_that_a_template_renders_alike_have_one_reward(folder):
    scorer = plaudit.load(folder("Qwen 3"))
    thinking, plain = scorer.score("What is 2 + 2?", ["<think>\n\n</think>\n\nIt is 4.", "It is 4."])
    assert thinking == pytest.approx(plain, abs=1e-6)


def test_a_saved_template_prints_the_date_that_is_read_here(folder, tmp_path):
    path = folder("Llama 3.2")
    model = new_reward_model(str(path), seed=0)
    save_reward_model(model, tmp_path / "new")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "new")
    text = tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False)
    assert "Today Date: 26 Jul 2024" in text
    assert statuses(tmp_path / "new")["date"] == "ok"
    assert statuses(path)["date"] == "warning"


def test_of_several_named_templates_default_is_taken_and_said(folder, caplog):
    path = folder("Command")
    assert load_reward_model(str(path))[0].recipe.chat_template == STYLES["Command"].template
    assert "has the chat templates default, tool_use; default is used" in caplog.text
    assert new_reward_model(str(path), seed=0).recipe.chat_template == STYLES["Command"].template
    found = AutoTokenizer.from_pretrained(path)
    found.chat_template = {"tool_use": STYLES["Command"].template, "rag": STYLES["Command"].template}
    found.save_pretrained(path)
    (path / "additional_chat_templates" / "default.jinja").unlink(missing_ok=True)
    (path / "chat_template.jinja").unlink(missing_ok=True)
    with pytest.raises(ModelError, match="has the chat templates rag, tool_use and none named default"):
        new_reward_model(str(path), seed=0)


# ------------------------------------------------------------------------------------------- the doctor


def checks(path):
    return {check.name: check for check in diagnose(str(path))}


def statuses(path):
    return {name: check.status for name, check in checks(path).items()}


@pytest.mark.parametrize("name", STYLES)
def test_the_doctor_warns_of_a_template_only_where_other_tools_read_something_else(folder, name):
    wanted = {"Llama 3.2": {"date", "as other tools tokenise chats"}, "Zephyr": {"as other tools tokenise text"}}
    found = checks(folder(name))
    warned = {each for each, check in found.items() if check.status != "ok"}
    assert warned - {"scoring recipe"} == wanted.get(name, set())


def test_a_pad_token_that_ends_no_conversation_is_fine_and_its_name_is_told(folder):
    found = checks(folder("Mistral 1"))
    assert found["pad token"].status == "ok"
    assert "the end token too, in which no conversation ends" in found["pad token"].found
    # the last token is the space behind EOS
    assert found["first and last token"].found == "1 BOS '<s>'; the conversation ends in 'Ġ'"


def test_the_doctor_says_that_thinking_is_dropped(folder):
    assert "rewrites a response with a thinking part" in checks(folder("R1"))["thinking"].found
    assert "thinking" not in checks(folder("ChatML"))


@pytest.mark.parametrize(("name", "status"), [("ChatML", "ok"), ("OLMo think", "warning"), ("channels", "warning")])
def test_the_doctor_says_where_a_comparison_is_answered(folder, tmp_path, name, status):
    path = folder(name, head=LanguageModelHead())
    save_reward_model(new_reward_model(str(path), seed=0, head=COMPARISON), tmp_path / "compares")
    assert checks(tmp_path / "compares")["place of the answer"].status == status


# ---------------------------------------------------------------------------------------- steps as turns

TURNS = LanguageModelHead(classes=(0.0, 1.0), class_words=("-", "+"), form="turns")


@pytest.mark.parametrize("name", ["ChatML", "Qwen 3", "Llama 2", "R1", "channels"])
def test_a_step_has_the_same_reward_whether_or_not_another_follows(folder, tmp_path, name):
    path = folder(name, head=LanguageModelHead())
    model = new_reward_model(str(path), seed=0, head=TURNS)
    save_reward_model(model, tmp_path / "judges")
    text = "2 x 3 = 6\n6 + 1 = 7"
    one, two = (Step(9, None),), (Step(9, None), Step(len(text), None))
    group = Group(conversation("What is 2 x 3 + 1?"), (text[:9], text), steps=(one, two), id="g")
    (found,) = plaudit.load(tmp_path / "judges").score_groups([group])
    assert found.steps[0][0] == pytest.approx(found.steps[1][0], abs=1e-6)
    context = checks(tmp_path / "judges")["context of steps"]
    assert context.status == "ok"
    assert ("a user turn is put behind the last one" in context.found) == (name == "Qwen 3")


def test_steps_in_different_contexts_are_refused(folder):
    path = folder("ChatML", head=LanguageModelHead())
    numbered = STYLES["ChatML"].template.replace("{{ m.role }}", "{{ m.role }} {{ loop.index0 }}")
    with pytest.raises(ModelError, match="opens the assistant's turns of one chat differently"):
        new_reward_model(str(path), seed=0, head=TURNS, chat_template=numbered).recipe.response_encoder(
            AutoTokenizer.from_pretrained(path)
        )


# ---------------------------------------------------------------------------------------------- limits


@pytest.mark.parametrize(
    "loops",
    [
        "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
        "{% for i in range(99999) %}{% set x = range(99999) | list %}{% endfor %}",
        "{% set n = 100 * 1000 %}{% if true %}{% for i in range(n) %}{% for j in range(0, n) %}{% endfor %}{% endfor %}"
        "{% endif %}",
    ],
)
def test_a_template_that_loops_for_ever_is_refused_at_once(make_decoder, loops):
    model = make_decoder()
    model.recipe = model.recipe.model_copy(update={"chat_template": loops + model.recipe.chat_template})
    (found,) = RewardScorer(model).score_groups([Group(conversation("a"), ("b",), id="g")])
    assert found.rewards == (None,)
    assert "its loops count to more than 1,000,000" in found.reason


def test_a_template_may_loop_within_reason(make_decoder):
    model = make_decoder()
    loops = (
        "{% for i in range(1000) %}{% for m in messages %}{% generation %}{% endgeneration %}{% endfor %}{% endfor %}"
    )
    model.recipe = model.recipe.model_copy(update={"chat_template": loops + model.recipe.chat_template})
    assert None not in RewardScorer(model).score("a", ["b"])


def test_the_hashes_of_the_files_are_those_of_what_is_on_disk(folder, tmp_path):
    model = new_reward_model(str(folder("ChatML")), seed=0)
    save_reward_model(model, tmp_path / "new")
    record = json.loads((tmp_path / "new" / "plaudit.json").read_text())
    assert (record["tokenizer_hash"], record["config_hash"]) == (model.recipe.tokenizer_hash, model.recipe.config_hash)
    assert None not in (record["tokenizer_hash"], record["config_hash"])
