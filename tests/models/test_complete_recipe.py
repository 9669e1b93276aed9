"""Everything that fixes a reward stands in the recipe, and what does not fit it is refused in one line."""

from __future__ import annotations

import json
import os

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer, BertConfig, BertModel, PreTrainedTokenizerFast

import plaudit
from plaudit.batching.encode import EncodingReport
from plaudit.data.schema.group import Group, conversation
from plaudit.errors import CheckpointError, ModelError
from plaudit.models.checkpoint.doctor import diagnose
from plaudit.models.checkpoint.files import load_reward_model, save_reward_model
from plaudit.models.checkpoint.recipe import NAMED_TEMPLATES
from plaudit.models.create import new_reward_model

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


def edited(path, change):
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def swapped(record):
    vocabulary = record["model"]["vocab"]
    vocabulary["c"], vocabulary["d"] = vocabulary["d"], vocabulary["c"]


CHANGES = {
    "two ids": ("tokenizer.json", swapped),
    "no merges": ("tokenizer.json", lambda record: record["model"].update(merges=[])),
    "lower case": ("tokenizer.json", lambda record: record.update(normalizer={"type": "Lowercase"})),
    "another end token": ("tokenizer_config.json", lambda record: record.update(eos_token="<|user|>")),
    "another pad token": ("config.json", lambda record: record.update(pad_token_id=7)),
    "another activation": ("config.json", lambda record: record.update(hidden_act="gelu")),
    "another theta": ("config.json", lambda record: record["rope_parameters"].update(rope_theta=5e5)),
    "another epsilon": ("config.json", lambda record: record.update(rms_norm_eps=0.1)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_file_that_changed_since_the_model_was_saved_is_refused(saved, name):
    file, change = CHANGES[name]
    load_reward_model(str(saved))
    edited(saved / file, change)
    owner = "config.json" if file == "config.json" else "tokenizer.json"
    with pytest.raises(CheckpointError, match=f"{owner} has changed since the model was saved.*restore the file"):
        load_reward_model(str(saved))


def test_what_changes_no_reward_is_no_change(saved):
    wanted = plaudit.load(saved).info.recipe_hash
    edited(saved / "config.json", lambda record: record.update(transformers_version="9", attention_dropout=0.3))
    edited(saved / "tokenizer_config.json", lambda record: record.update(model_max_length=99999))
    edited(saved / "tokenizer.json", lambda record: record.update(truncation=None, padding=None))
    assert plaudit.load(saved).info.recipe_hash == wanted


def test_merges_are_the_same_however_they_are_written(saved):
    def rewritten(record):
        merges = record["model"]["merges"]
        record["model"]["merges"] = [each if isinstance(each, str) else " ".join(each) for each in merges]

    edited(saved / "tokenizer.json", rewritten)
    load_reward_model(str(saved))


def test_a_recipe_of_an_older_version_loads_and_is_said_to_be_unverified(saved, caplog):
    edited(saved / "plaudit.json", lambda record: [record.pop(name) for name in ("tokenizer_hash", "config_hash")])
    model, _ = load_reward_model(str(saved))
    assert (model.recipe.tokenizer_hash, model.recipe.config_hash) == (None, None)
    assert "is unverified" in caplog.text
    assert {each.name: each.status for each in diagnose(str(saved))}["scoring recipe"] == "warning"


def test_a_model_of_another_tool_is_known_by_its_tokenizer_too(saved):
    (saved / "plaudit.json").unlink()
    before = plaudit.load(saved).info.recipe_hash
    edited(saved / "tokenizer.json", swapped)
    assert plaudit.load(saved).info.recipe_hash != before


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("pad_token", -1, "pad_token"),
        ("final_token", -5, "final_token"),
        ("pad_token", 10**9, "pad_token is 1000000000 in plaudit.json; the model has embeddings of the tokens 0 to"),
        ("final_token", 10**9, "final_token is 1000000000 in plaudit.json"),
        ("class_tokens", [10**9], "class_tokens is 1000000000 in plaudit.json"),
    ],
)
def test_a_token_that_the_model_does_not_have_is_one_line(saved, field, value, words):
    edited(saved / "plaudit.json", lambda record: record.update({field: value}))
    with pytest.raises(CheckpointError, match=words) as found:
        plaudit.load(saved).score("hi", ["yes"])
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("name", ["config.json", "plaudit.json", "tokenizer.json", "chat_template.jinja"])
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_file_that_might_never_end_is_refused_at_once(saved, name, kind):
    (saved / name).unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(saved / name)
    else:
        (saved / name).symlink_to("/dev/zero")
    with pytest.raises(ModelError, match=f"{name} is no regular file"):
        plaudit.load(saved)


@pytest.mark.slow
@pytest.mark.parametrize("has_recipe", [True, False])
@pytest.mark.parametrize("field", ["vocab_size", "intermediate_size", "num_hidden_layers"])
def test_a_config_of_a_far_larger_model_allocates_nothing(saved, field, has_recipe):
    sizes = {"vocab_size": 10**9, "intermediate_size": 10**9, "num_hidden_layers": 5000}
    edited(saved / "config.json", lambda record: record.update({field: sizes[field]}))
    if has_recipe:
        edited(saved / "plaudit.json", lambda record: record.update(config_hash=None))
    else:
        (saved / "plaudit.json").unlink()
    with pytest.raises(ModelError, match=r"has shape .* the config asks for|its config asks for .* weights"):
        plaudit.load(saved)


# ------------------------------------------------------------------- special tokens in the saved template


@pytest.fixture
def encoder(tmp_path):
    """A tiny BERT whose tokenizer puts [CLS] and [SEP] around a text, and brings no chat template."""
    special = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
    words = [*special, *"user assistant : what is two and it four as we know yes no".split()]  # noqa: SIM905
    tokenizer = Tokenizer(models.WordLevel({word: k for k, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    named = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        BertModel(BertConfig(vocab_size=len(words), pad_token_id=0, **sizes)).save_pretrained(tmp_path / "bert")
    fast.save_pretrained(tmp_path / "bert")
    return tmp_path / "bert"


@pytest.mark.parametrize("name", ["plain", "concatenate"])
def test_a_new_encoder_writes_its_special_tokens_in_the_saved_template(encoder, tmp_path, name):

    model = new_reward_model(str(encoder), seed=0, chat_template=name)
    assert not model.recipe.special_tokens
    save_reward_model(model, tmp_path / "new")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "new")
    chat = [{"role": "user", "content": "What is two and two?"}, {"role": "assistant", "content": "It is four."}]
    ids = tokenizer.apply_chat_template(chat, tokenize=True, return_dict=True)["input_ids"]
    group = Group(conversation("What is two and two?"), ("It is four.",))
    assert tokenizer.convert_ids_to_tokens([ids[0], ids[-1]]) == ["[CLS]", "[SEP]"]
    # the tokens are those that the tokenizer puts around the text of the bare template

    text = tokenizer.apply_chat_template(chat, chat_template=NAMED_TEMPLATES[name], tokenize=False)
    assert ids == tokenizer(text)["input_ids"]

    (found,) = model.recipe.encoder(model.tokenizer).encode([(0, group)], EncodingReport())
    assert found.tree.sequence(0).tolist() == ids
    prompt = tokenizer.apply_chat_template(chat[:1], add_generation_prompt=True, tokenize=False)
    assert not prompt.endswith("[SEP]")
    told = {each.name: each for each in diagnose(str(tmp_path / "new"))}
    assert told["as other tools tokenise chats"].status == "ok"
    assert "it adds '[CLS]', '[SEP]'" in told["as other tools tokenise text"].found


def test_the_doctor_tries_the_chat_template_as_other_tools_do(encoder, tmp_path):

    model = new_reward_model(str(encoder), seed=0, chat_template="plain")
    # as recipes were before: the tokenizer adds the special tokens, and the template writes none
    model.recipe = model.recipe.model_copy(update={"chat_template": NAMED_TEMPLATES["plain"], "special_tokens": True})
    save_reward_model(model, tmp_path / "old")
    told = {each.name: each for each in diagnose(str(tmp_path / "old"))}["as other tools tokenise chats"]
    assert told.status == "warning"
    assert "without '[CLS]','[SEP]'" in told.found.replace(", ", ",")


def test_a_new_decoder_with_a_named_template_ends_in_its_end_token_and_opens_with_its_bos(saved, tmp_path):

    tokenizer = AutoTokenizer.from_pretrained(saved)
    tokenizer.bos_token = "<|system|>"
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|system|> $A", special_tokens=[("<|system|>", tokenizer.bos_token_id)]
    )
    tokenizer.save_pretrained(saved)
    model = new_reward_model(str(saved), seed=0, chat_template="plain")
    chat = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}]
    text = model.tokenizer.apply_chat_template(chat, chat_template=model.recipe.chat_template, tokenize=False)
    assert text == "<|system|>user: hi\n\nassistant: yes<|end|>"
    assert (model.recipe.final_token, model.recipe.special_tokens) == (None, False)
