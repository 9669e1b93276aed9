"""The longest conversation that a model takes: its positions, its tokenizer, and rotary embeddings that change."""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

_LIMITS = ("max_position_embeddings", "n_positions", "max_seq_len", "max_seq_length", "max_sequence_length", "n_ctx")
"""Names that configs have for the number of positions, the first that is there counts."""

_CHANGING = ("longrope", "dynamic")


def longest_conversation(network: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int | None:
    """Return the longest conversation that the model and its tokenizer take.

    Long-range and dynamic rotary embeddings change their frequencies with the longest sequence of a *batch* beyond the
    length they were trained on; up to that length a reward does not depend on its neighbours. A table of positions may
    hold a few rows that no token uses (RoBERTa numbers tokens from 2).
    """
    config = network.config.get_text_config().to_dict()
    positions = next((config[name] for name in _LIMITS if isinstance(config.get(name), int)), None)
    stated = tokenizer.model_max_length
    limits = [positions, stated, _unchanged_rope(config), *_rows_of_tables(network)]
    known = [limit for limit in limits if isinstance(limit, int) and 0 < limit < 10**8]
    return min(known) if known else None


def too_long(network: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, wanted: int | None, name: str) -> str | None:
    """Return why conversations of ``wanted`` tokens are too long for the model ``name``, in words, or None."""
    limit = longest_conversation(network, tokenizer)
    if wanted is None or limit is None or wanted <= limit:
        return None
    opening = f"max_length is {wanted}, but {name}"
    config = network.config.get_text_config().to_dict()
    if limit == _unchanged_rope(config):
        kind = config["rope_parameters"]["rope_type"]
        return (
            f"{opening} takes {limit} tokens at most: beyond them its {kind} rotary embedding changes with the longest "
            "text of a batch, and with it every reward"
        )
    return f"{opening} has positions for {limit} tokens only"


def _unchanged_rope(config: dict[str, Any]) -> int | None:
    """Return the length up to which rotary embeddings keep their frequencies, where they change beyond it."""
    rope = config.get("rope_parameters") or {}
    if rope.get("rope_type") not in _CHANGING:
        return None
    name = "original_max_position_embeddings"
    return rope.get(name) or config.get(name) or config.get("max_position_embeddings")


def _rows_of_tables(network: PreTrainedModel) -> list[int]:
    """Return how many tokens each table of learned positions has rows for."""
    found = []
    for name, module in network.named_modules():
        last = name.rsplit(".", 1)[-1]
        if not isinstance(module, nn.Embedding) or last not in ("position_embeddings", "embed_positions", "wpe"):
            continue
        padding = module.padding_idx
        unused: Any = getattr(module, "offset", 0) if padding is None else padding + 1
        found.append(module.num_embeddings - unused)
    return found
