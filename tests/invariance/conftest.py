"""Tiny random models of many architectures, and groups that are hard for a layout."""

from __future__ import annotations

import pytest

SIZES = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "bos_token_id": None,
}
ARCHITECTURES = {
    "llama": ("LlamaConfig", {}),
    "llama, one key per query": ("LlamaConfig", {"num_key_value_heads": 4}),
    "llama, one key for all": ("LlamaConfig", {"num_key_value_heads": 1}),
    "qwen2": ("Qwen2Config", {}),
    "qwen2, window in one layer": (
        "Qwen2Config",
        {"use_sliding_window": True, "sliding_window": 7, "max_window_layers": 1},
    ),
    "qwen3": ("Qwen3Config", {}),
    "mistral": ("MistralConfig", {"sliding_window": None}),
    "mistral, binding window": ("MistralConfig", {"sliding_window": 6}),
    "mistral, wide window": ("MistralConfig", {"sliding_window": 200}),
    "gemma2, window and soft cap": ("Gemma2Config", {"sliding_window": 7, "attn_logit_softcapping": 2.0}),
    "gemma3, window": ("Gemma3TextConfig", {"sliding_window": 7, "num_hidden_layers": 3, "sliding_window_pattern": 2}),
    "gpt-neox": ("GPTNeoXConfig", {}),
    "phi3": ("Phi3Config", {}),
    "phi3, window": ("Phi3Config", {"sliding_window": 7}),
    "olmo2": ("Olmo2Config", {}),
    "olmo3, window": ("Olmo3Config", {"sliding_window": 7}),
    "smollm3": ("SmolLM3Config", {}),
    "gpt2": ("GPT2Config", {"n_embd": 32, "n_layer": 2, "n_head": 4}),
    "opt": ("OPTConfig", {"ffn_dim": 48, "word_embed_proj_dim": 32}),
    "qwen3 mixture": (
        "Qwen3MoeConfig",
        {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16},
    ),
    "gpt-oss, attention sinks": (
        "GptOssConfig",
        {"sliding_window": 7, "num_local_experts": 2, "num_experts_per_tok": 1, "rope_parameters": None},
    ),
    "bloom, alibi": ("BloomConfig", {"n_head": 4, "n_layer": 2}),
    "bert": ("BertConfig", {}),
    "deberta-v2": ("DebertaV2Config", {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]}),
}
REFUSED = ("gpt-oss, attention sinks", "bloom, alibi", "bert", "deberta-v2")
EXACT = tuple(name for name in ARCHITECTURES if name not in REFUSED)


@pytest.fixture
def build(tokenizer):
    """Return a function that builds a tiny random reward model of a named architecture, in a float type."""
    import torch
    import transformers

    from plaudit.models.backbone import initialise_head, prepare_config, read_out_of
    from plaudit.models.checkpoint.recipe import ScoringRecipe
    from plaudit.models.reward_model import RewardModel

    def make(name, *, dtype=torch.float32, attention=None, **changes):
        kind, fields = ARCHITECTURES[name]
        wanted = {
            key: value for key, value in (SIZES | fields | changes).items() if value is not None or "window" in key
        }
        wanted.setdefault("bos_token_id", None)
        if kind not in (
            "LlamaConfig",
            "Qwen3Config",
            "MistralConfig",
            "Gemma2Config",
            "Gemma3TextConfig",
            "GptOssConfig",
        ):
            wanted.pop("head_dim", None)
        config = getattr(transformers, kind)(**wanted)
        prepare_config(config)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            options = {} if attention is None else {"attn_implementation": attention}
            network = transformers.AutoModelForSequenceClassification.from_config(config, **options)
            for weight in network.parameters():
                if weight.ndim > 1:
                    torch.nn.init.normal_(weight, std=0.15)
        initialise_head(network, seed=0)
        recipe = ScoringRecipe(
            chat_template="{{ messages }}",
            special_tokens=False,
            final_token=None,
            pad_token=0,
            vocabulary=96,
            max_length=256,
            truncation="drop",
            read_out=read_out_of(network),
            architecture=type(network).__name__,
            dtype=str(dtype).removeprefix("torch."),
        )
        return RewardModel(network.to(dtype), tokenizer, recipe).eval()

    return make


@pytest.fixture(scope="session")
def hard_groups(make_token_group):
    """Groups of 1 to 8 responses: no prompt, one-token and equal responses, one that begins another, a deep tree."""
    import numpy as np

    same = [5, 6, 7, 8, 9]
    rng = np.random.default_rng(1)
    levels = [rng.integers(3, 90, 4) for _ in range(5)]
    chain = [np.concatenate([*levels[: level + 1], rng.integers(3, 90, 3)]) for level in range(5)]
    return [
        make_token_group(0, 12, [9, 1]),
        make_token_group(1, 0, [3, 5, 11]),
        make_token_group(2, 10, [same, same, same[:2], same[:1], 4]),
        make_token_group(3, 6, chain),
        make_token_group(4, 14, [2, 3, 4, 5, 6, 1, 2, 8]),
        make_token_group(5, 5, [7]),
        make_token_group(6, 0, [1]),
    ]
