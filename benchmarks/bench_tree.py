"""The prefix tree beside one trunk and beside separate sequences, on samples of one policy of the built-in world.

    python benchmarks/bench_tree.py --responses 16

Prints one JSON object: tokens computed and seconds of a forward pass for the three ways, alternating, medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import replace
from pathlib import Path

import torch
from machine import describe

from plaudit.batching.batch import build_batch
from plaudit.batching.encode import EncodingReport
from plaudit.batching.prefix_tree import build_prefix_tree
from plaudit.batching.tokens import TokenGroup
from plaudit.data.schema.group import Group
from plaudit.models.create import build_decoder, build_tokenizer
from plaudit.worlds.world import World

WAYS = {"tree": None, "one_trunk": 2, "separate": 1}


def rebuilt(group: TokenGroup, max_depth: int | None) -> TokenGroup:
    """Return the group with its tree limited to ``max_depth`` levels."""
    sequences = [group.tree.sequence(k) for k in range(group.num_responses)]
    return replace(group, tree=build_prefix_tree(sequences, max_depth=max_depth))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--groups", type=int, default=24)
    parser.add_argument("--responses", type=int, default=16)
    parser.add_argument("--quality", type=float, default=0.8)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, help="also write the JSON here")
    args = parser.parse_args()
    world = World(seed=0)
    prompts = world.prompts(args.groups, split="held_out")
    groups = [
        Group(prompt, tuple(world.sample_responses(prompt, args.responses, quality=args.quality, seed=n)), id=str(n))
        for n, prompt in enumerate(prompts)
    ]
    tokenizer = build_tokenizer((text for group in groups for text in group.responses), vocabulary=1000)
    model = build_decoder(tokenizer, hidden_size=256, num_layers=6, num_heads=4, max_length=1024, seed=0).eval()
    model.use_layout("shared_prefix")
    encoded = list(model.recipe.encoder(tokenizer).encode(list(enumerate(groups)), EncodingReport()))
    tokens = [each for each in encoded if isinstance(each, TokenGroup)]
    batches = {
        name: [build_batch([rebuilt(group, depth)], layout="shared_prefix", pad_id=0) for group in tokens]
        for name, depth in WAYS.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    with torch.inference_mode():
        for _ in range(args.repeats + 1):
            for name, each in batches.items():
                began = time.perf_counter()
                for batch in each:
                    model(batch)
                seconds[name].append(time.perf_counter() - began)
        rewards = {name: torch.cat([model(batch) for batch in each]) for name, each in batches.items()}
    medians = {name: statistics.median(each[1:]) for name, each in seconds.items()}
    counts = {name: sum(batch.num_tokens for batch in each) for name, each in batches.items()}
    result = {
        "benchmark": "tree",
        "groups": len(tokens),
        "responses_per_group": args.responses,
        "quality": args.quality,
        "tokens": counts,
        "median_seconds": medians,
        "tree_over_trunk": medians["one_trunk"] / medians["tree"],
        "tree_over_separate": medians["separate"] / medians["tree"],
        "largest_reward_difference": max(float((each - rewards["separate"]).abs().max()) for each in rewards.values()),
    }
    text = json.dumps(result | describe(), indent=2)
    print(text)
    if args.out is not None:
        args.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
