"""Generated workloads for the speed benchmarks: texts with stated length distributions, a tokenizer, small Llamas.

The distribution ``hh`` follows the lengths measured on the four hh-rlhf subsets (7,184 pairs) with a byte-level BPE of
8,000 entries: prompts 11 / 25 / 108 / 220 / 467 tokens and responses 10 / 26 / 55 / 106 / 243 tokens at the 5th, 25th,
50th, 75th and 95th percentile; correlation of the two responses of a pair 0.49.
"""

from __future__ import annotations

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForSequenceClassification, PreTrainedTokenizerFast

from plaudit.data.schema.group import Group, Message, Preference
from plaudit.models.backbone import initialise_head, prepare_config
from plaudit.models.checkpoint.recipe import ScoringRecipe
from plaudit.models.create import CHAT_TEMPLATE, build_tokenizer
from plaudit.models.reward_model import RewardModel

SHAPES = {"256x6": (256, 6, 4), "512x8": (512, 8, 8)}
"""Name → hidden size, layers, heads. Feed-forward width is 8/3 of the hidden size; heads of 64."""

VOCABULARY = 8000

_PERCENTILES = np.asarray([0, 5, 10, 25, 50, 75, 90, 95, 99, 100]) / 100
_PROMPT = np.asarray([3, 11, 13, 25, 108, 220, 355, 467, 811, 1000])
_RESPONSE = np.asarray([3, 10, 13, 26, 55, 106, 177, 243, 304, 1000])


def words(rng: np.random.Generator, count: int) -> list[str]:
    """Return ``count`` made-up words."""
    onsets, vowels = list("bcdfghjklmnprstvw"), list("aeiou")
    made: set[str] = set()
    while len(made) < count:
        syllables = rng.integers(1, 4)
        made.add("".join(rng.choice(onsets) + rng.choice(vowels) for _ in range(syllables)))
    return sorted(made)


def tokenizer_for(vocabulary_words: list[str], rng: np.random.Generator) -> PreTrainedTokenizerFast:
    """Return a BPE tokenizer of 8,000 entries in which the words are mostly one token each."""
    lines = (" ".join(rng.choice(vocabulary_words, size=40)) for _ in range(4000))
    return build_tokenizer(lines, vocabulary=VOCABULARY)


def text(rng: np.random.Generator, vocabulary_words: list[str], tokens: int) -> str:
    """Return a text of about ``tokens`` tokens."""
    return " ".join(rng.choice(vocabulary_words, size=max(1, tokens)))


def hh_pairs(count: int, vocabulary_words: list[str], rng: np.random.Generator) -> list[Group]:
    """Return pairs with the lengths of hh-rlhf."""
    groups = []
    for number in range(count):
        prompt = int(np.interp(rng.random(), _PERCENTILES, _PROMPT))
        shared = rng.random()
        lengths = [
            int(np.interp(shared if rng.random() < 0.45 else rng.random(), _PERCENTILES, _RESPONSE)) for _ in range(2)
        ]
        groups.append(_group(number, prompt, lengths, vocabulary_words, rng, (Preference(0, 1),)))
    return groups


def k_responses(
    count: int,
    k: int,
    prompt: tuple[int, int],
    response: tuple[int, int],
    vocabulary_words: list[str],
    rng: np.random.Generator,
) -> list[Group]:
    """Return groups of ``k`` responses with all preferences, lengths uniform in the given ranges."""
    preferences = tuple(Preference(i, j) for i in range(k) for j in range(i + 1, k))
    return [
        _group(
            number,
            int(rng.integers(prompt[0], prompt[1] + 1)),
            [int(rng.integers(response[0], response[1] + 1)) for _ in range(k)],
            vocabulary_words,
            rng,
            preferences,
        )
        for number in range(count)
    ]


def _group(
    number: int,
    prompt: int,
    lengths: list[int],
    vocabulary_words: list[str],
    rng: np.random.Generator,
    preferences: tuple[Preference, ...],
) -> Group:
    return Group(
        prompt=(Message("user", text(rng, vocabulary_words, prompt)),),
        responses=tuple(text(rng, vocabulary_words, length) for length in lengths),
        preferences=preferences,
        id=str(number),
    )


def llama(shape: str, tokenizer: PreTrainedTokenizerFast, *, max_length: int = 2048) -> RewardModel:
    """Return a random Llama reward model of one of ``SHAPES``."""
    hidden, layers, heads = SHAPES[shape]
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=-(-hidden * 8 // 3 // 32) * 32,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=max_length,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    prepare_config(config)
    torch.manual_seed(0)
    network = LlamaForSequenceClassification(config)
    initialise_head(network, seed=0)
    recipe = ScoringRecipe(
        chat_template=CHAT_TEMPLATE,
        special_tokens=False,
        final_token=None,
        pad_token=tokenizer.pad_token_id,
        vocabulary=len(tokenizer),
        max_length=max_length,
        truncation="drop",
        read_out="last_token",
        architecture=type(network).__name__,
        dtype="float32",
    )
    return RewardModel(network, tokenizer, recipe)
