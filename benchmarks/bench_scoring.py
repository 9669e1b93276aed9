"""Best-of-n scoring speed beside transformers, in one run, alternating.

    python benchmarks/bench_scoring.py --task long --shape 256x6

Tasks: ``long`` (prompts of 400 tokens, responses of 50–150) and ``short`` (prompts of 25, responses of 100–400), 16
responses each. Peers: a *length-sorted* padded batch of 16 through ``AutoModelForSequenceClassification``'s forward,
and transformers' text-classification pipeline (batch 16, arrival order). All three start from conversations: rendering
and tokenising are timed. The rewards must agree to 1e-4. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bound import flops, matmul_flops_per_second
from machine import describe
from transformers import pipeline
from transformers.utils.logging import set_verbosity_error
from workloads import k_responses, llama, tokenizer_for, words

from plaudit.batching.encode import EncodingReport
from plaudit.data.schema.group import Group
from plaudit.models.reward_model import RewardModel
from plaudit.scoring.local.engine import RewardScorer

BATCH = 16
TASKS = {"long": ((400, 400), (50, 150)), "short": ((25, 25), (100, 400))}


def texts_of(model: RewardModel, groups: list[Group]) -> list[str]:
    """Return every conversation as text."""
    encoder = model.recipe.encoder(model.tokenizer)
    return [encoder.render(group.prompt, response) for group in groups for response in group.responses]


@torch.inference_mode()
def score_padded_sorted(model: RewardModel, groups: list[Group]) -> list[float]:
    """Score with transformers alone, in batches of similar length."""
    tokenizer, texts = model.tokenizer, texts_of(model, groups)
    ids = tokenizer(texts, add_special_tokens=False)["input_ids"]
    order = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
    rewards = [0.0] * len(ids)
    for first in range(0, len(order), BATCH):
        rows = order[first : first + BATCH]
        batch = tokenizer.pad({"input_ids": [ids[i] for i in rows]}, return_tensors="pt")
        logits = model.core(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, 0]
        for row, value in zip(rows, logits.tolist(), strict=True):
            rewards[row] = value
    return rewards


def score_pipeline(model: RewardModel, groups: list[Group]) -> list[float]:
    """Score with transformers' text-classification pipeline."""
    classify: Any = pipeline(
        "text-classification", model=model.core, tokenizer=model.tokenizer, batch_size=BATCH, device="cpu"
    )
    found = classify(texts_of(model, groups), function_to_apply="none", add_special_tokens=False)
    return [each["score"] for each in found]


def score_plaudit(model: RewardModel, groups: list[Group], layout: Any, max_tokens: int) -> list[float]:
    """Score with plaudit."""
    model.use_layout(layout)
    try:
        scorer = RewardScorer(model, max_tokens=max_tokens)
        return [float(reward or 0.0) for scored in scorer.score_groups(groups) for reward in scored.rewards]
    finally:
        model.use_layout("padded")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=tuple(TASKS), default="long")
    parser.add_argument("--shape", choices=("256x6", "512x8"), default="256x6")
    parser.add_argument("--groups", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--max-tokens", type=int, default=16_384)
    parser.add_argument("--out", type=Path, help="also write the JSON here")
    args = parser.parse_args()
    set_verbosity_error()
    rng = np.random.default_rng(0)
    vocabulary = words(rng, 6000)
    tokenizer = tokenizer_for(vocabulary, rng)
    prompt, response = TASKS[args.task]
    groups = k_responses(args.groups, 16, prompt, response, vocabulary, rng)
    model = llama(args.shape, tokenizer).eval()
    ways: dict[str, Callable[[], list[float]]] = {
        "plaudit": lambda: score_plaudit(model, groups, "shared_prefix", args.max_tokens),
        "padded_sorted": lambda: score_padded_sorted(model, groups),
        "pipeline": lambda: score_pipeline(model, groups),
    }
    rewards = {name: np.asarray(way()) for name, way in ways.items()}
    difference = max(float(np.abs(values - rewards["plaudit"]).max()) for values in rewards.values())
    assert difference < 1e-4, f"the rewards differ by {difference}"
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(args.repeats):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - began)
    report(args, model, groups, seconds, difference)


def report(
    args: argparse.Namespace,
    model: RewardModel,
    groups: list[Group],
    seconds: dict[str, list[float]],
    difference: float,
) -> None:
    encoder = model.recipe.encoder(model.tokenizer)
    tokens: list[Any] = list(encoder.encode(list(enumerate(groups)), EncodingReport()))
    unique = sum(group.tree.num_tokens for group in tokens)
    keys = sum(
        int(
            (
                np.arange(g.tree.num_tokens)
                + np.repeat(g.tree.position_starts() - g.tree.start[:-1], np.diff(g.tree.start))
                + 1
            ).sum()
        )
        for g in tokens
    )
    rate = matmul_flops_per_second(model, min(unique, 4096), backward=False)
    bound = flops(model, unique, keys / unique, backward=False) / rate
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    result = {
        "benchmark": "scoring",
        "task": args.task,
        "shape": args.shape,
        "groups": args.groups,
        "responses_per_group": 16,
        "max_tokens": args.max_tokens,
        "seconds": {name: [round(value, 3) for value in each] for name, each in seconds.items()},
        "median_seconds": medians,
        "ratio_to_padded_sorted": medians["padded_sorted"] / medians["plaudit"],
        "ratio_to_pipeline": medians["pipeline"] / medians["plaudit"],
        "largest_reward_difference": difference,
        "unique_tokens": unique,
        "separate_tokens": int(sum(group.lengths().sum() for group in tokens)),
        "matmul_gflops": rate / 1e9,
        "seconds_over_bound": medians["plaudit"] / bound,
    }
    text = json.dumps(result | describe(), indent=2)
    print(text)
    if args.out is not None:
        args.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
