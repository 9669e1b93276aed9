"""Process models of another trainer are read at the separators behind their steps, as TRL's PRMTrainer trains them."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers import LlamaConfig, LlamaForTokenClassification

import plaudit
from plaudit.cli.doctor import doctor
from plaudit.data.schema.group import Group, Step, conversation
from plaudit.errors import CheckpointError, ConfigError

PROMPT = "The good dog sat"
STEPS = ("the dog is good.", "it ran far", "so it is home!")


@pytest.fixture
def trained(tokenizer, tmp_path):
    """Return the folder of a classifier of tokens with two labels, as TRL saves it, its network and its tokenizer."""
    own = copy.deepcopy(tokenizer)
    own.chat_template = None
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(own),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=256,
        pad_token_id=own.pad_token_id,
        num_labels=2,
    )
    network = LlamaForTokenClassification(config).eval()
    network.save_pretrained(tmp_path / "prm")
    own.save_pretrained(tmp_path / "prm")
    return tmp_path / "prm", network, own


def by_hand(network, tokenizer, prompt, steps, separator):
    """Return P(label 1) at the last token of each separator, of the ids that PRMTrainer.tokenize_row makes."""

    def ids_of(text):
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    ids = ([] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]) + ids_of(prompt)
    places = []
    for step in steps:
        ids += ids_of(step) + ids_of(separator)
        places.append(len(ids) - 1)
    with torch.no_grad():
        logits = network(input_ids=torch.tensor([ids])).logits[0]
    return logits.softmax(-1)[places, 1].tolist()


@pytest.mark.parametrize("separator", ["\n", "\n\n", " step. "])
@pytest.mark.parametrize("bos", [None, "<s>"])
def test_rewards_are_those_of_the_network_at_the_separators(trained, separator, bos):
    folder, network, tokenizer = trained
    if bos is not None:
        tokenizer.bos_token = "<|endoftext|>" if "<|endoftext|>" in tokenizer.get_vocab() else tokenizer.eos_token
    else:
        tokenizer.bos_token = None
    tokenizer.save_pretrained(folder)
    response = separator.join(STEPS)
    ends = [len(separator.join(STEPS[: k + 1])) for k in range(len(STEPS))]
    given = Group(conversation(PROMPT), (response,), steps=(tuple(Step(end, None) for end in ends),), id="given")
    found = Group(conversation(PROMPT), (response, STEPS[0]), id="found")

    model = plaudit.load(folder, step_classes=(0, 1), step_separator=separator)
    wanted = by_hand(network, tokenizer, PROMPT, STEPS, separator)
    first, second = model.score_groups([given, found])
    assert first.steps is not None
    assert second.steps is not None
    assert first.steps[0] == pytest.approx(wanted, abs=1e-5)
    assert second.steps[0] == pytest.approx(wanted, abs=1e-5)
    assert second.steps[1] == pytest.approx(wanted[:1], abs=1e-5)
    assert second.rewards == pytest.approx((wanted[-1], wanted[0]), abs=1e-5)


def test_the_doctor_saves_a_copy_that_is_read_alike(trained, tmp_path):
    folder, network, tokenizer = trained
    copy_of = tmp_path / "copy"
    doctor(str(folder), step_classes="0,1", step_separator=r"\n", save=copy_of)
    (found,) = plaudit.load(copy_of).score_groups([Group(conversation(PROMPT), ("\n".join(STEPS),), id="a")])
    assert found.steps is not None
    assert found.steps[0] == pytest.approx(by_hand(network, tokenizer, PROMPT, STEPS, "\n"), abs=1e-5)
    with pytest.raises(CheckpointError, match="says itself how it is read"):
        plaudit.load(copy_of, step_classes=(0, 1), step_separator="\n")
    with pytest.raises(ConfigError, match="exists; choose another folder"):
        doctor(str(folder), step_classes="0,1", step_separator=r"\n", save=copy_of)


def test_a_long_prompt_is_cut_before_the_steps(trained):
    folder, network, tokenizer = trained
    prompt = " ".join(["the dog ran home"] * 200)
    model = plaudit.load(folder, step_classes=(0, 1), step_separator="\n")
    (found,) = model.score_groups([Group(conversation(prompt), ("\n".join(STEPS),), id="a")])
    assert found.steps is not None
    ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    behind = sum(len(tokenizer(each + "\n", add_special_tokens=False)["input_ids"]) for each in STEPS)
    kept = tokenizer.decode(ids[-(256 - behind) :])
    assert found.steps[0] == pytest.approx(by_hand(network, tokenizer, kept, STEPS, "\n"), abs=1e-5)


def test_one_that_is_not_described_says_how_to(trained):
    folder, _, _ = trained
    with pytest.raises(CheckpointError, match=r"step_classes=\(0, 1\), step_separator='\\n'"):
        plaudit.load(folder)
    with pytest.raises(ConfigError, match="belong together"):
        plaudit.load(folder, step_classes=(0, 1))
    with pytest.raises(ConfigError, match="from low to high"):
        plaudit.load(folder, step_classes=(1, 0), step_separator="\n")
    with pytest.raises(ConfigError, match="step_separator is empty"):
        plaudit.load(folder, step_classes=(0, 1), step_separator="")
    with pytest.raises(CheckpointError, match="has 2 outputs; step_classes names 3"):
        plaudit.load(folder, step_classes=(-1, 0, 1), step_separator="\n")
