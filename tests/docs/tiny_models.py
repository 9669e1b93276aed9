"""A tiny language model in the place of those that recipes and pages name, with the form of their chat templates."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from plaudit.models.create import build_tokenizer

WORDS = "the step is right wrong two three four plus gives good bad answer question please Step 1 2 A B Same + -"

# Each writes its own BOS, as the public ones do; what they write around a turn is theirs too.
TEMPLATES = {
    "llama3": (
        "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
        "{{ m.content | trim }}<|eot_id|>{% endfor %}"
        "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
    ),
    "gemma": (
        "{{ bos_token }}{% for m in messages %}"
        "{% if m.role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
        "<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content | trim }}<end_of_turn>\n"
        "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
    ),
    "mistral": (
        "{{ bos_token }}{% for m in messages %}"
        "{% if m.role == 'assistant' %} {{ m.content }}{{ eos_token }}"
        "{% elif m.role == 'user' %} [INST] {{ m.content }} [/INST]"
        "{% else %}{{ raise_exception('Only user and assistant roles are supported') }}{% endif %}{% endfor %}"
    ),
    "tulu": (
        "{{ bos_token }}{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}"
        "{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}\n{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
    ),
}

SPECIAL = (
    "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<start_of_turn>", "<end_of_turn>", "[INST]", "[/INST]",
)  # fmt: skip


def template_of(hub_id: str) -> str:
    """Return which template a hub model has."""
    families = {"meta-llama/": "llama3", "google/gemma": "gemma", "mistralai/": "mistral", "allenai/": "tulu"}
    return next(family for opening, family in families.items() if hub_id.startswith(opening))


def save_tiny_models(folder: Path) -> dict[str, str]:
    """Write one random Llama of width 32, once for each template, and return {template: its folder}."""
    tokenizer = build_tokenizer([WORDS] * 4, vocabulary=360)
    tokenizer.add_special_tokens({"bos_token": "<s>", "additional_special_tokens": list(SPECIAL)})
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(folder / "weights")
    made: dict[str, str] = {}
    for name, template in TEMPLATES.items():
        shutil.copytree(folder / "weights", folder / name)
        tokenizer.chat_template = template
        tokenizer.save_pretrained(folder / name)
        made[name] = str(folder / name)
    return made
