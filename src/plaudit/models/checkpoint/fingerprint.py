"""Hashes of the files that fix a reward beside the weights and the recipe: the tokenizer's, and the model's config."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from plaudit.errors import CheckpointError

TOKENIZER_FILE = "tokenizer.json"
TOKENIZER_CONFIG_FILE = "tokenizer_config.json"
CONFIG_FILE = "config.json"

_LAST_CALL = ("truncation", "padding")
"""Parts of a tokenizer's file that say how it was last called, and nothing about its tokens."""

# fmt: off
_TOKENIZER_SETTINGS = (
    "add_bos_token", "add_eos_token", "add_prefix_space", "do_lower_case", "legacy", "split_special_tokens",
    "strip_accents", "tokenize_chinese_chars", "bos_token", "eos_token", "unk_token", "cls_token", "sep_token",
    "pad_token", "mask_token",
)
"""Fields of the tokenizer's config that change the tokens of a text, or what a template writes."""

_NOT_COMPUTING = (
    "architectures", "transformers_version", "_name_or_path", "dtype", "torch_dtype", "use_cache", "id2label",
    "label2id", "num_labels", "problem_type", "bos_token_id", "eos_token_id", "sep_token_id", "cls_token_id",
    "auto_map", "quantization_config", "initializer_range", "initializer_factor", "return_dict",
    "output_hidden_states", "output_attentions", "gradient_checkpointing", "tokenizer_class", "task_specific_params",
    "finetuning_task", "_attn_implementation", "attn_implementation",
)
"""Fields of a model's config that change nothing about the hidden states of a text; rates of dropout are others."""
# fmt: on


def tokenizer_hash(tokenizer_file: Path | None, config_file: Path | None) -> str | None:
    """Return a short hash of a tokenizer's two files, whatever their layout; None without the first one.

    Raises:
        CheckpointError: when one cannot be read.
    """
    if tokenizer_file is None:
        return None
    parts = {name: part for name, part in _read(tokenizer_file).items() if name not in _LAST_CALL}
    model = parts.get("model")
    if isinstance(model, dict) and isinstance(model.get("merges"), list):
        # Written as "a b" by older versions, as ["a", "b"] by younger ones.
        merges = [each.split(" ") if isinstance(each, str) else each for each in model["merges"]]
        parts["model"] = model | {"merges": merges}
    given = {} if config_file is None else _read(config_file)
    settings = {name: _text_of(given[name]) for name in _TOKENIZER_SETTINGS if given.get(name) is not None}
    return _hashed([parts, settings])


def config_hash(file: Path | None) -> str | None:
    """Return a short hash of the fields of a model's config that change what it computes; None without a file.

    Raises:
        CheckpointError: when it cannot be read.
    """
    return None if file is None else _hashed(_computing(_read(file)))


def _computing(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {
        name: _computing(each)
        for name, each in value.items()
        if each is not None and name not in _NOT_COMPUTING and "drop" not in name
    }


def _text_of(token: Any) -> Any:
    """Return a special token as text, which may be written as an object with its content."""
    return token.get("content") if isinstance(token, dict) else token


def _hashed(value: Any) -> str:
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=8).hexdigest()


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} holds {type(found).__name__}; it must be a JSON object")
    return found
