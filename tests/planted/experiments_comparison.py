"""Planted signals for the pairwise preference model, trained from nothing through text, tokens, loss and scorer.

Each response opens with a word that is good or bad; of two, the one with the good word is preferred. A tiny decoder
must find the word behind each tag and answer with the letter.
"""

from __future__ import annotations

import dataclasses
import functools
import random
from typing import Any

import numpy as np
import torch
from typing_extensions import override

from plaudit.batching.batch import build_batch
from plaudit.batching.comparison import ComparisonEncoder, OrderedPair, comparison_text
from plaudit.batching.encode import EncodingReport
from plaudit.data.schema.group import Group, Preference, conversation
from plaudit.models.create import build_decoder, build_tokenizer
from plaudit.models.heads.language_model import COMPARISON
from plaudit.models.reward_model import RewardModel
from plaudit.objectives.token import process_loss
from plaudit.scoring.local.pairwise import PairwiseScorer

from .fits import Planted

GOOD, BAD = ("good", "kind"), ("bad", "rude")
OTHER = ("red", "blue", "cat", "tree")
STEPS, PER_STEP, RATE = 120, 16, 1e-2

# The turns of Gemma, whose template writes the opening of the model's turn only where it is asked for.
GEMMA = (
    "{% for m in messages %}<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content | trim }}"
    "<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
WITHOUT_PROMPT = GEMMA.replace("if add_generation_prompt", "if false")


def planted_groups(count: int, seed: int) -> list[Group]:
    """Groups of a good and a bad response, in a drawn order, with their preference; either may be the longer one."""
    draw = random.Random(seed)
    made = []
    for number in range(count):
        longer = draw.randrange(2)
        texts = [
            " ".join([draw.choice(words), *draw.choices(OTHER, k=2 if place == longer else 1)])
            for place, words in enumerate((GOOD, BAD))
        ]
        chosen = draw.randrange(2)
        responses = (texts[chosen], texts[1 - chosen])
        prompt = conversation(draw.choice(OTHER))
        made.append(Group(prompt, responses, (Preference(chosen, 1 - chosen),), id=f"{seed}-{number}"))
    return made


class ChosenFirst(ComparisonEncoder):
    """The broken encoder: the chosen response is always named first."""

    @override
    def comparisons(self, row: int, group: Group) -> list[OrderedPair]:
        return [OrderedPair(each.chosen, each.rejected, 1.0) for each in group.preferences]


class LongerOne(ComparisonEncoder):
    """Another question about the same text: which response is the longer one."""

    @override
    def comparisons(self, row: int, group: Group) -> list[OrderedPair]:
        lengths = [len(response.split()) for response in group.responses]
        return [
            dataclasses.replace(each, label=float(lengths[each.first] > lengths[each.second]))
            for each in super().comparisons(row, group)
        ]


BOTH = ((ComparisonEncoder, GEMMA), (LongerOne, WITHOUT_PROMPT))
"""The preference after the generation prompt, the other question after the user's turn."""


@functools.cache
def trained(*kinds: tuple[type[ComparisonEncoder], str]) -> RewardModel:
    """A tiny decoder trained on the comparisons of several encoders at once, each with its template."""
    groups = planted_groups(STEPS * PER_STEP, seed=0)
    texts = [comparison_text(group.prompt, *group.responses) for group in groups[:200]]
    turns = [f"<start_of_turn>user\n{text}<end_of_turn>\n<start_of_turn>model\n" for text in texts]
    tokenizer = build_tokenizer(turns, vocabulary=500)
    sizes = {"hidden_size": 32, "num_layers": 2, "num_heads": 2, "max_length": 256}
    model = build_decoder(tokenizer, **sizes, seed=0, init_std=0.1, head=COMPARISON)
    model.recipe = COMPARISON.described_in(model.recipe.model_copy(update={"chat_template": GEMMA}), tokenizer)
    model.use_layout("shared_prefix")
    rows = list(enumerate(groups))
    rule = {"tokenizer": tokenizer, "special_tokens": False, "max_length": 256, "truncation": "drop"}
    encoders = [kind(chat_template=text, **rule) for kind, text in kinds]
    tokens = [list(encoder.encode(rows, EncodingReport())) for encoder in encoders]
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = RATE * min(1.0, (step + 1) / 20) * (1 - step / STEPS)
        chosen = slice(step * PER_STEP, (step + 1) * PER_STEP)
        batch = build_batch([each for made in tokens for each in made[chosen]], layout="shared_prefix", pad_id=0)
        columns = model(batch).steps
        loss = process_loss(columns, batch.labels.step_label, classes=(0.0, 1.0), over="vocabulary").mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


def leads(model: RewardModel, **changes: Any) -> np.ndarray:
    """The probability of the preferred response in each of 200 other pairs, with ``changes`` to the recipe."""
    kept, groups = model.recipe, planted_groups(200, seed=1)
    model.recipe = kept.model_copy(update=changes)
    try:
        pairs = [(group.preferences[0].chosen, group.preferences[0].rejected) for group in groups]
        tables = PairwiseScorer(model).probabilities(groups)
        return np.asarray([table[pair] for table, pair in zip(tables, pairs, strict=True)])
    finally:
        model.recipe = kept


def read_position() -> Planted:
    """Gemma's template without its generation prompt ends in the user's turn, where this model answers other things."""
    model = trained(*BOTH)
    return {
        "name": "pairwise preference model, read-out",
        "what": "1,920 pairs with a good and a bad word, a decoder of two layers, 120 steps",
        "metric": "accuracy on 200 other pairs",
        "right": float((leads(model) > 0.5).mean()),
        "broken": float((leads(model, chat_template=WITHOUT_PROMPT) > 0.5).mean()),
        "broken_variant": "read without the generation prompt",
    }


def drawn_order() -> Planted:
    """Where the better response is always named first, the answer is A whatever the responses say."""
    return {
        "name": "pairwise preference model, order",
        "what": "1,920 pairs with a good and a bad word, a decoder of two layers, 120 steps",
        "metric": "probability of the preferred response of 200 other pairs",
        "right": float(leads(trained(*BOTH)).mean()),
        "broken": float(leads(trained((ChosenFirst, GEMMA))).mean()),
        "broken_variant": "chosen always named first in training",
    }


EXPERIMENTS = (read_position, drawn_order)
