"""The doors by which a trained reward model is asked for a reward: plaudit's own, and those of other tools."""

from __future__ import annotations

import contextlib
import io
import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    pipeline,
)
from typer.testing import CliRunner

import plaudit
from plaudit.config import load_config
from plaudit.data.reading.write import write_groups
from plaudit.data.schema.group import Group, Preference, conversation
from plaudit.evaluation.run import evaluate
from plaudit.models.create import build_tokenizer
from plaudit.training.config import TrainConfig
from plaudit.training.run import train

KINDS = ("decoder", "encoder")
MAX_LENGTH = 48

CONFIG = """
name: doors
model: {init: {type: pretrained, path: base, chat_template: TEMPLATE}, max_length: 48}
data: {train: [{path: train.jsonl}], held_out: [{path: held_out.jsonl}]}
optim: {lr: 1e-2}
step: {groups_per_step: 8, max_steps: 6, threads: 1, trackers: []}
"""

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
WORDS = ("user", "assistant", ":", "what", "is", "two", "and", "it", "four", "as", "we", "know", "yes", "no", "red")


def save_tiny_encoder(folder: Path) -> None:
    """Write a tiny BERT whose tokenizer puts [CLS] and [SEP] around a text, and brings no chat template."""
    vocabulary = [*SPECIAL, *WORDS]
    tokenizer = Tokenizer(models.WordLevel({word: k for k, word in enumerate(vocabulary)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    named = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token"), SPECIAL, strict=True))
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        BertModel(BertConfig(vocab_size=len(vocabulary), pad_token_id=0, **sizes)).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named).save_pretrained(folder)


def save_tiny_decoder(folder: Path) -> None:
    """Write a tiny Llama for language modelling, with a chat template of its own."""
    tokenizer = build_tokenizer([" ".join(WORDS)] * 4, vocabulary=360)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    ids = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id, "bos_token_id": None}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **sizes, **ids)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def pairs(count: int, seed: int) -> list[Group]:
    """Return short pairs: the longer answer is the better one."""
    rng = np.random.default_rng(seed)

    def text(least: int, most: int) -> str:
        return " ".join(rng.choice(WORDS[3:], int(rng.integers(least, most))))

    return [
        Group(conversation(f"{text(3, 7)} ?"), (text(4, 9), text(1, 4)), (Preference(0, 1),), id=f"g{k}")
        for k in range(count)
    ]


def odd() -> list[Group]:
    """Return groups with a prompt that is cut, an empty response, and a response that is too long by itself."""
    long = " ".join(["red"] * 60)
    return [
        Group(conversation(long), ("it is four", "yes"), (Preference(0, 1),), id="cut"),
        Group(conversation("what is two"), ("it is four", "  "), (Preference(0, 1),), id="empty"),
        Group(conversation("what is two"), (long, "no"), (Preference(0, 1),), id="long"),
    ]


def trained(kind: str, folder: Path) -> Path:
    """Return a run that trained a tiny model of a kind in ``folder``, held out: ordinary pairs."""
    folder.mkdir(parents=True)
    (save_tiny_decoder if kind == "decoder" else save_tiny_encoder)(folder / "base")
    write_groups(folder / "train.jsonl", pairs(64, 0))
    write_groups(folder / "held_out.jsonl", pairs(12, 1))
    template = "null" if kind == "decoder" else "plain"
    (folder / "config.yaml").write_text(CONFIG.replace("TEMPLATE", template))
    with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return train(load_config(TrainConfig, Path("config.yaml")), run_dir=folder / "run")


def chats(groups: Sequence[Group]) -> list[list[dict[str, str]]]:
    """Return the conversation of each response of each group, as other tools take them."""
    return [
        [{"role": turn.role, "content": turn.content} for turn in group.prompt]
        + [{"role": "assistant", "content": response}]
        for group in groups
        for response in group.responses
    ]


def by_python(run: Path, groups: Sequence[Group]) -> list[float | None]:
    """Return the rewards of ``plaudit.load(run).score``."""
    scorer = plaudit.load(run)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return [reward for group in groups for reward in scorer.score(group.prompt, group.responses)]


def by_score(run: Path, groups: Sequence[Group]) -> list[float | None]:
    """Return the rewards that ``plaudit score`` writes."""
    from plaudit.cli.main import app

    folder = run.parent
    write_groups(folder / "asked.jsonl", groups)
    arguments = ["score", str(run), str(folder / "asked.jsonl"), "-o", str(folder / "out.jsonl"), "--overwrite"]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    lines = (folder / "out.jsonl").read_text().splitlines()
    return [reward for line in lines for reward in json.loads(line)["rewards"]]


def by_evaluate(run: Path, groups: Sequence[Group]) -> list[float | None]:
    """Return the rewards that ``plaudit evaluate`` keeps of every item."""
    folder = run.parent / "evaluated"
    evaluate(plaudit.load(run), groups, name="doors", model="run", output_dir=folder, replace="any")
    lines = (folder / "items.jsonl").read_text().splitlines()
    return [reward for line in lines for reward in json.loads(line).get("rewards", ())]


def by_transformers(run: Path, groups: Sequence[Group]) -> list[float]:
    """Return the logits of the class of transformers on ``apply_chat_template(tokenize=True)``, in one padded batch."""
    model, tokenizer = _loaded(run)
    inputs = tokenizer.apply_chat_template(
        chats(groups), tokenize=True, padding=True, return_tensors="pt", return_dict=True
    )
    with torch.inference_mode():
        return model(**inputs).logits[:, 0].tolist()


def by_pipeline(run: Path, groups: Sequence[Group]) -> list[float]:
    """Return the scores of a pipeline on rendered text, to which the tokenizer adds nothing."""
    model, tokenizer = _loaded(run)
    asked = pipeline("text-classification", model=model, tokenizer=tokenizer, function_to_apply="none")
    texts = [tokenizer.apply_chat_template(chat, tokenize=False) for chat in chats(groups)]
    return [each["score"] for each in asked(texts, add_special_tokens=False, batch_size=4)]


def by_grpo(run: Path, groups: Sequence[Group]) -> list[float]:
    """Return the rewards that TRL's GRPO works out of completions, given the folder of the model as reward function."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    policy = run.parent / "policy"
    if not policy.exists():
        save_tiny_decoder(policy)
    asked: list[dict[str, Any]] = [{"prompt": chat[:-1], "completion": chat[-1:]} for chat in chats(groups)]
    # bf16 is the default of TRL, and rounds the rewards of a model too
    options = {"use_cpu": True, "bf16": False, "report_to": [], "num_generations": 2, "per_device_train_batch_size": 2}
    arguments = GRPOConfig(output_dir=str(run.parent / "grpo"), **options)
    trainer = GRPOTrainer(
        str(policy),
        reward_funcs=str(run / "model"),
        args=arguments,
        train_dataset=Dataset.from_list([{"prompt": each["prompt"]} for each in asked]),
    )
    prompts, completions = ([each[name] for each in asked] for name in ("prompt", "completion"))
    return trainer._calculate_rewards(asked, prompts, completions, [[]] * len(asked))[:, 0].tolist()


def _loaded(run: Path) -> tuple[Any, Any]:
    folder = run / "model"
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    return model, AutoTokenizer.from_pretrained(folder)


def end_of_training(run: Path) -> float:
    """Return the mean reward of the chosen responses that were held out, as the end of training states it."""
    return json.loads((run / "run.json").read_text())["figures"]["eval/rm/chosen_rewards"]


Door = Callable[[Path, Sequence[Group]], Sequence[float | None]]

OWN: dict[str, Door] = {"`plaudit score`": by_score, "`plaudit evaluate`": by_evaluate}
OTHERS: dict[str, Door] = {
    "transformers, `apply_chat_template(tokenize=True)`": by_transformers,
    '`pipeline("text-classification", function_to_apply="none")`': by_pipeline,
    "TRL 1.16, GRPO with `reward_funcs=RUN/model`": by_grpo,
}


def differences(run: Path) -> dict[str, float]:
    """Return, for each door, the largest difference of a reward from that in Python, over the held-out pairs."""
    groups = pairs(12, 1)
    wanted = np.asarray(by_python(run, groups), dtype=float)
    found = {name: float(np.abs(np.asarray(door(run, groups)) - wanted).max()) for name, door in (OWN | OTHERS).items()}
    return {"the end of training (mean of the chosen)": abs(end_of_training(run) - wanted[0::2].mean())} | found
