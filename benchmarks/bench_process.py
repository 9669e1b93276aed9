"""Steps of reasoning judged in one pass per group, beside one forward per step, in one run, alternating.

    python benchmarks/bench_process.py --shape 256x6

Groups of K = 4 solutions of 8 steps: problems of 60–120 tokens, steps of 20–40. Forms: ``token`` (a classifier read at
the ends of steps) and ``turns`` (RLHFlow's: each step a user turn, answered with + or -). Peers: one forward per
(response, step) over everything up to that step, batch 1, as the public code does; and the same prefixes in
*length-sorted* padded batches of 16, with the logits of the last position alone. All start from text. The probabilities
must agree to 1e-4. Also counts the tokens of K = 4 and K = 9 groups under the all-pairs and the K-wise objectives.
Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bound import flops, matmul_flops_per_second
from machine import describe
from transformers import PreTrainedTokenizerFast
from workloads import SHAPES, k_responses, text, tokenizer_for, words

from plaudit.batching.batch import build_batch
from plaudit.batching.encode import EncodingReport
from plaudit.data.schema.group import Group, Message
from plaudit.data.schema.steps import join_steps
from plaudit.models.create import build_decoder
from plaudit.models.heads.language_model import LanguageModelHead
from plaudit.models.heads.token import TokenHead
from plaudit.models.reward_model import RewardModel
from plaudit.scoring.local.engine import RewardScorer

BATCH = 16
STEPS = 8
CLASSES = (0.0, 1.0)
FORMS = {
    "token": TokenHead(classes=CLASSES),
    "turns": LanguageModelHead(classes=CLASSES, class_words=("-", "+"), form="turns"),
}


def solutions(count: int, k: int, vocabulary: list[str], rng: np.random.Generator) -> list[Group]:
    """Return groups of ``k`` solutions of eight steps."""
    groups = []
    for number in range(count):
        problem = text(rng, vocabulary, int(rng.integers(60, 121)))
        made = [
            join_steps([(text(rng, vocabulary, int(rng.integers(20, 41))), None) for _ in range(STEPS)], "\n")
            for _ in range(k)
        ]
        responses, steps = zip(*made, strict=True)
        groups.append(Group((Message("user", problem),), responses, steps=steps, id=str(number)))
    return groups


def prefixes(model: RewardModel, groups: list[Group]) -> list[str]:
    """Return the text up to each step of each response: with the steps before it judged +, where steps are turns."""
    found = []
    for group in groups:
        problem = group.prompt[0].content
        for response, steps in zip(group.responses, group.steps or (), strict=True):
            starts = [0, *(step.end for step in steps or ())]
            said = [response[first : step.end].strip() for first, step in zip(starts, steps or (), strict=False)]
            for count in range(1, len(said) + 1):
                if model.recipe.form == "turns":
                    turns = [{"role": "user", "content": f"{problem} {said[0]}"}]
                    for each in said[1:count]:
                        turns += [{"role": "assistant", "content": "+"}, {"role": "user", "content": each}]
                else:
                    turns = [{"role": "user", "content": problem}]
                rendered = model.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
                found.append(rendered + (response[: starts[count]] if model.recipe.form == "conversation" else ""))
    return found


def right(model: RewardModel, logits: torch.Tensor) -> list[float]:
    """Return P(right) from logits ``[row, output]``."""
    chosen = logits if model.recipe.head == "token" else logits[:, list(model.recipe.class_tokens)]
    return torch.softmax(chosen.double(), dim=-1)[:, 1].tolist()


@torch.inference_mode()
def one_forward_per_step(model: RewardModel, groups: list[Group]) -> list[float]:
    """Judge each step in a forward of its own, all logits computed, as the public code does."""
    found = []
    for each in prefixes(model, groups):
        ids = torch.tensor([model.tokenizer(each, add_special_tokens=False)["input_ids"]])
        found += right(model, model.core(input_ids=ids).logits[:, -1])
    return found


@torch.inference_mode()
def padded_sorted(model: RewardModel, groups: list[Group]) -> list[float]:
    """Judge the same prefixes in batches of similar length."""
    ids = model.tokenizer(prefixes(model, groups), add_special_tokens=False)["input_ids"]
    order = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
    found = [0.0] * len(ids)
    for first in range(0, len(order), BATCH):
        rows = order[first : first + BATCH]
        batch = model.tokenizer.pad({"input_ids": [ids[i] for i in rows]}, padding_side="left", return_tensors="pt")
        keep: dict[str, Any] = {} if model.recipe.head == "token" else {"logits_to_keep": 1}
        logits = model.core(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], **keep).logits[:, -1]
        for row, value in zip(rows, right(model, logits), strict=True):
            found[row] = value
    return found


def plaudit(model: RewardModel, groups: list[Group], max_tokens: int) -> list[float]:
    """Judge all steps of all responses of a group in one pass."""
    model.use_layout("shared_prefix")
    try:
        scored = RewardScorer(model, max_tokens=max_tokens).score_groups(groups)
        return [value for each in scored for steps in each.steps or () for value in steps or ()]
    finally:
        model.use_layout("padded")


def measure(
    form: str, args: argparse.Namespace, tokenizer: PreTrainedTokenizerFast, groups: list[Group]
) -> dict[str, Any]:
    """Return what one form takes in each way, and the tokens that each way computes."""
    hidden, layers, heads = SHAPES[args.shape]
    model = build_decoder(
        tokenizer,
        hidden_size=hidden,
        num_layers=layers,
        num_heads=heads,
        max_length=2048,
        seed=0,
        init_std=0.05,
        head=FORMS[form],
    ).eval()
    ways: dict[str, Callable[[], list[float]]] = {
        "plaudit": lambda: plaudit(model, groups, args.max_tokens),
        "one_forward_per_step": lambda: one_forward_per_step(model, groups),
        "padded_sorted": lambda: padded_sorted(model, groups),
    }
    values = {name: np.asarray(way()) for name, way in ways.items()}
    difference = max(float(np.abs(each - values["plaudit"]).max()) for each in values.values())
    assert len(values["plaudit"]) == STEPS * sum(len(group.responses) for group in groups)
    assert difference < 1e-4, f"the probabilities differ by {difference}"
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(args.repeats):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - began)
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    return {
        "seconds": {name: [round(value, 3) for value in each] for name, each in seconds.items()},
        "median_seconds": medians,
        "ratio_to_one_forward_per_step": medians["one_forward_per_step"] / medians["plaudit"],
        "ratio_to_padded_sorted": medians["padded_sorted"] / medians["plaudit"],
        "largest_probability_difference": difference,
        "spread_of_probabilities": float(values["plaudit"].std()),
        **tokens_of_steps(model, groups, medians["plaudit"]),
    }


def tokens_of_steps(model: RewardModel, groups: list[Group], seconds: float) -> dict[str, Any]:
    """Return the tokens of one pass and of one forward per step, and how near to the bound the one pass is."""
    encoder = model.recipe.encoder(model.tokenizer)
    encoded: list[Any] = list(encoder.encode(list(enumerate(groups)), EncodingReport()))
    unique = sum(group.tree.num_tokens for group in encoded)
    keys = sum(
        int(
            (
                np.arange(g.tree.num_tokens)
                + np.repeat(g.tree.position_starts() - g.tree.start[:-1], np.diff(g.tree.start))
                + 1
            ).sum()
        )
        for g in encoded
    )
    ids = model.tokenizer(prefixes(model, groups), add_special_tokens=False)["input_ids"]
    tokens = {"tokens_one_pass": unique, "tokens_one_forward_per_step": sum(map(len, ids))}
    if model.recipe.head != "token":
        return tokens
    rate = matmul_flops_per_second(model, min(unique, 4096), backward=False)
    bound = flops(model, unique, keys / unique, backward=False) / rate
    return tokens | {"matmul_gflops": rate / 1e9, "seconds_over_bound": seconds / bound}


def tokens_of_rankings(
    k: int, tokenizer: PreTrainedTokenizerFast, vocabulary: list[str], rng: np.random.Generator
) -> dict[str, Any]:
    """Return the tokens that a step over groups of ``k`` responses computes, for all pairs and for a ranking."""
    pairs = k_responses(8, k, (100, 200), (50, 150), vocabulary, rng)
    ranked = [replace(group, preferences=(), ranks=tuple(range(1, k + 1))) for group in pairs]
    model = build_decoder(tokenizer, hidden_size=32, num_layers=1, num_heads=2, max_length=2048, seed=0)
    encoder = model.recipe.encoder(tokenizer)
    counts: dict[str, Any] = {"responses": k}
    for name, groups in (("all_pairs", pairs), ("k_wise", ranked)):
        encoded: list[Any] = list(encoder.encode(list(enumerate(groups)), EncodingReport()))
        batch = build_batch(encoded, layout="shared_prefix", pad_id=model.recipe.pad_token)
        counts[f"tokens_{name}"] = batch.num_tokens
        if name == "all_pairs":
            lengths = [int(group.lengths().sum()) for group in encoded]
            counts["preferences_per_group"] = len(batch.pairs) // len(groups)
            counts["tokens_of_the_groups"] = sum(group.tree.num_tokens for group in encoded)
            counts["tokens_separate_responses"] = sum(lengths)
            counts["tokens_separate_pairs"] = (k - 1) * sum(lengths)
    assert counts["tokens_all_pairs"] == counts["tokens_k_wise"] == counts["tokens_of_the_groups"]
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=tuple(SHAPES), default="256x6")
    parser.add_argument("--groups", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--max-tokens", type=int, default=16_384)
    parser.add_argument("--out", type=Path, help="also write the JSON here")
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    vocabulary = words(rng, 6000)
    tokenizer = tokenizer_for(vocabulary, rng)
    groups = solutions(args.groups, 4, vocabulary, rng)
    result = {
        "benchmark": "process",
        "shape": args.shape,
        "groups": args.groups,
        "responses_per_group": 4,
        "steps_per_response": STEPS,
        "max_tokens": args.max_tokens,
        "forms": {form: measure(form, args, tokenizer, groups) for form in FORMS},
        "rankings": [tokens_of_rankings(k, tokenizer, vocabulary, rng) for k in (4, 9)],
    }
    written = json.dumps(result | describe(), indent=2)
    print(written)
    if args.out is not None:
        args.out.write_text(written + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
