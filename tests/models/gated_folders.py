"""A tiny random model in the published layout of ArmoRM, and the published forward, written out slowly."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import LlamaConfig, LlamaModel, PreTrainedTokenizerFast

from plaudit.data.schema.group import Message
from plaudit.models.create import build_tokenizer

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    "{{ m.content | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
PATTERN = "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
WIDTH, HIDDEN, COUNT = 32, 12, 5


def gated_tokenizer(words: Sequence[str]) -> PreTrainedTokenizerFast:
    """A tokenizer with the turn tokens of Llama 3, and a template of their form."""
    tokenizer = build_tokenizer([" ".join(words)] * 4, vocabulary=400)
    special = ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    tokenizer.add_special_tokens({"bos_token": "<s>", "additional_special_tokens": special})
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def save_published(
    folder: Path,
    tokenizer: PreTrainedTokenizerFast,
    *,
    count: int = COUNT,
    layers: int = 3,
    config: dict[str, Any] | None = None,
    seed: int = 0,
) -> dict[str, Tensor]:
    """Write a random model in the published layout, with code beside it that must never run; return its tensors."""
    torch.manual_seed(seed)
    sizes = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        initializer_range=0.15,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    tensors = {f"model.{name}": weight for name, weight in LlamaModel(sizes).state_dict().items()}
    widths = [WIDTH, *[HIDDEN] * layers, count]
    for place, (inputs, outputs) in enumerate(pairwise(widths)):
        tensors[f"gating.layers.{place}.weight"] = torch.randn(outputs, inputs) * 2 / inputs**0.5
        tensors[f"gating.layers.{place}.bias"] = torch.randn(outputs)
    tensors["gating.logit_scale"] = torch.tensor([1.3])
    tensors["regression_layer.weight"] = torch.randn(count, WIDTH) / WIDTH**0.5
    tensors["reward_transform_matrix"] = torch.eye(count)
    tensors["reward_transform_matrix"][1] -= torch.rand(count)
    folder.mkdir(parents=True)
    tensors = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    record = sizes.to_dict() | {
        "architectures": ["LlamaForRewardModelWithGating"],
        "auto_map": {"AutoModelForSequenceClassification": "modeling_custom.LlamaForRewardModelWithGating"},
        "num_objectives": count,
        "gating_temperature": 1.5,
        "gating_hidden_dim": HIDDEN,
        "gating_n_hidden": layers,
        "id2label": {"0": "LABEL_0"},
        "label2id": {"LABEL_0": 0},
    }
    record |= config or {}
    (folder / "config.json").write_text(json.dumps({k: v for k, v in record.items() if v is not ...}))
    (folder / "modeling_custom.py").write_text("raise RuntimeError('code of a checkpoint was run')\n")
    tokenizer.save_pretrained(folder)
    return tensors


@torch.no_grad()
def published_forward(
    folder: Path, tensors: dict[str, Tensor], prompt: Sequence[Message], response: str, *, temperature: float = 1.5
) -> tuple[list[float], list[float], float]:
    """What the published class says of one conversation: attributes, gating output, score; unpadded, alone."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    backbone = LlamaModel(LlamaConfig.from_pretrained(folder)).eval()
    own = {name.removeprefix("model."): each.float() for name, each in tensors.items() if name.startswith("model.")}
    backbone.load_state_dict(own)
    turns = [*({"role": m.role, "content": m.content} for m in prompt), {"role": "assistant", "content": response}]
    text = tokenizer.apply_chat_template(turns, tokenize=False)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    pattern = tokenizer(PATTERN, add_special_tokens=False)["input_ids"]
    (*_, at) = (place for place in range(len(ids)) if ids[place : place + len(pattern)] == pattern)
    hidden = backbone(torch.tensor([ids])).last_hidden_state[0]
    rewards = tensors["regression_layer.weight"].float() @ hidden[-1]
    x = hidden[at]
    last = max(int(name.split(".")[2]) for name in tensors if name.startswith("gating.layers"))
    for place in range(last + 1):
        weight, bias = (tensors[f"gating.layers.{place}.{kind}"].float() for kind in ("weight", "bias"))
        x = weight @ x + bias
        x = x.clamp_min(0) if place < last else x
    powers = [float(torch.exp(each / temperature)) for each in x]
    gating = [power / sum(powers) * float(tensors["gating.logit_scale"]) for power in powers]
    adjusted = [
        sum(float(rewards[a] * tensors["reward_transform_matrix"][a, b]) for a in range(len(gating)))
        for b in range(len(gating))
    ]
    return rewards.tolist(), gating, sum(g * r for g, r in zip(gating, adjusted, strict=True))
