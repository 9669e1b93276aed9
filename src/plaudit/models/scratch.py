"""A small decoder and its tokenizer, built in code from nothing: for built-in worlds, tests and small studies."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    LlamaForTokenClassification,
    PreTrainedTokenizerFast,
)

from plaudit.models.backbone import initialise_head, prepare_config
from plaudit.models.checkpoint.recipe import ScoringRecipe
from plaudit.models.heads.kinds import SCALAR, HeadChoice
from plaudit.models.reward_model import RewardModel

CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)

SPECIAL_TOKENS = ("<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>")


_CLASSES = {
    "sequence": LlamaForSequenceClassification,
    "token": LlamaForTokenClassification,
    "language_model": LlamaForCausalLM,
}


def build_tokenizer(texts: Iterable[str], *, vocabulary: int) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE of at most ``vocabulary`` entries trained on ``texts``, with a chat template."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<|pad|>", eos_token="<|end|>")
    fast.chat_template = CHAT_TEMPLATE
    return fast


def build_decoder(
    tokenizer: PreTrainedTokenizerFast,
    *,
    hidden_size: int,
    num_layers: int,
    num_heads: int,
    max_length: int,
    seed: int,
    init_std: float = 0.02,
    head: HeadChoice = SCALAR,
) -> RewardModel:
    """Return a randomly initialised Llama reward model: feed-forward width 8/3 · hidden, rounded up to 32.

    Weights are drawn from N(0, ``init_std``²), the head as ``initialise_head`` says.
    """
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden_size,
        intermediate_size=-(-hidden_size * 8 // 3 // 32) * 32,
        num_hidden_layers=num_layers,
        num_attention_heads=num_heads,
        num_key_value_heads=num_heads,
        max_position_embeddings=max_length,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        initializer_range=init_std,
    )
    spec = head.spec()
    prepare_config(config, spec)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _CLASSES[spec.task](config)
    initialise_head(network, seed=seed)
    recipe = ScoringRecipe(
        chat_template=CHAT_TEMPLATE,
        special_tokens=False,
        final_token=None,
        pad_token=tokenizer.pad_token_id,
        vocabulary=len(tokenizer),
        max_length=max_length,
        truncation="truncate_prompt",
        read_out="last_token",
        architecture=type(network).__name__,
        dtype="float32",
    )
    return RewardModel(network, tokenizer, head.described_in(recipe, tokenizer))
