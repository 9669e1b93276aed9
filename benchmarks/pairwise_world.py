"""A pairwise preference model beside Bradley–Terry, on the same preferences and for the same number of tokens.

    OMP_NUM_THREADS=1 python benchmarks/pairwise_world.py

Both are tiny decoders from random weights, trained once over the same pairs of the built-in world: one reads both
responses in one text and answers A or B (the comparison head over the vocabulary, in RLHFlow's text, one drawn order
per pair), the other gives each response a reward. Bradley–Terry's texts are shorter; it goes on over the same pairs
until it has read as many tokens. On new prompts, with labels by the gold reward: the agreement of one order and of both
averaged, the bias for a position, and the gold reward of the best of K by rewards, by win rates over all pairs, by win
rates against one anchor, and by a knockout, with the tokens that each computes. Each seed has a world, data and weights
of its own; intervals are Student's over the seeds. Writes the figures as JSON and prints them.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import resource
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import describe
from odin_world import EASY
from scipy import special
from world_runs import SCRATCH, agreement, encoded_groups, language_model, margins, over_seeds, trained

from plaudit.batching.batch import build_batch
from plaudit.batching.comparison import ComparisonEncoder
from plaudit.batching.encode import EncodingReport
from plaudit.batching.tokens import TokenGroup
from plaudit.data.schema.group import Group
from plaudit.opening import load
from plaudit.records import write_json
from plaudit.scoring.local.engine import RewardScorer
from plaudit.scoring.local.pairwise import PairwiseScorer
from plaudit.scoring.scorer import Scorer
from plaudit.worlds.world import World

ROOT = Path(__file__).resolve().parents[1]
MAX_LENGTH = 512


def models_of(
    args: argparse.Namespace, groups: Sequence[Group], seed: int, folder: Path
) -> tuple[PairwiseScorer, RewardScorer, dict[str, float]]:
    """Train both models for the same number of tokens; return them with the tokens and steps of each."""
    comparison = trained(
        groups,
        folder / "comparison",
        seed=seed,
        model={"init": SCRATCH, "head": {"type": "comparison"}, "max_length": MAX_LENGTH},
        objective={"type": "process", "over": "vocabulary"},
        step={"groups_per_step": args.groups_per_step},
    )
    read = tokens_of(comparison)
    # the same tokenizer as the training below makes of the same texts
    planned = language_model(groups, hidden=64, vocabulary=SCRATCH["vocabulary"], seed=seed)
    per_pass = sum(each.tree.num_tokens for each in encoded_groups(planned, groups))
    steps = -(-len(groups) // args.groups_per_step)
    longer = round(steps * read / per_pass)
    scalar = trained(
        groups,
        folder / "bradley_terry",
        seed=seed,
        model={"init": SCRATCH, "max_length": MAX_LENGTH},
        objective={"type": "bradley_terry"},
        step={"groups_per_step": args.groups_per_step, "max_steps": longer},
    )
    if tokens_of(scalar) != per_pass:
        raise ValueError(f"one pass was planned to be {per_pass} tokens, and is {tokens_of(scalar)}")
    pairwise, rewarding = load(comparison), load(scalar)
    assert isinstance(pairwise, PairwiseScorer)
    assert isinstance(rewarding, RewardScorer)
    spent = {
        "comparison_steps": steps,
        "comparison_tokens": read,
        "bradley_terry_steps": longer,
        "bradley_terry_tokens": per_pass * longer / steps,
    }
    return pairwise, rewarding, spent


def tokens_of(run: Path) -> int:
    """Return the tokens that one pass over the training data of a run computes."""
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    return int(record["data"]["train"]["tokens_shared"])


@torch.inference_mode()
def both_orders(scorer: PairwiseScorer, groups: Sequence[Group]) -> np.ndarray:
    """Return ``[pair, 2]`` the log-odds of the one named first, with the better response first and second."""
    model = scorer.model
    encoder = model.recipe.encoder(model.tokenizer, for_training=True)
    assert isinstance(encoder, ComparisonEncoder)
    encoder = dataclasses.replace(encoder, orders="both")
    encoded = [
        each for each in encoder.encode(list(enumerate(groups)), EncodingReport()) if isinstance(each, TokenGroup)
    ]
    found = []
    for first in range(0, len(encoded), 32):
        batch = build_batch(encoded[first : first + 32], layout=model.layout, pad_id=model.recipe.pad_token)
        answers = model(batch).steps
        log_odds = (answers[:, 1] - answers[:, 0]).double().numpy()
        better_first = batch.labels.step_label.numpy() == 1.0
        found.append(np.stack([log_odds[better_first], log_odds[~better_first]], axis=1))
    table = np.concatenate(found)
    if len(table) != sum(len(group.preferences) for group in groups):
        raise ValueError(f"{len(table)} comparisons were encoded in both orders")
    return table


def order_figures(scorer: PairwiseScorer, groups: Sequence[Group]) -> dict[str, float]:
    """Return the agreement in one order and in both, and how much the order decides."""
    table = both_orders(scorer, groups)
    better_first, better_second = special.expit(table).T
    return {
        "one_order": agreement(np.concatenate([table[:, 0], -table[:, 1]])),
        "both_orders": agreement(better_first - better_second),
        "probability_of_first": float((better_first + better_second).mean() / 2),
        "order_decides": float(np.mean(np.sign(table[:, 0]) * np.sign(table[:, 1]) > 0)),
    }


def choosing_figures(
    world: World, pairwise: PairwiseScorer, scalar: RewardScorer, candidates: Sequence[Group]
) -> dict[str, dict[str, float]]:
    """Return, for each way to choose, the gold reward of the chosen response, and texts and tokens per group."""
    linear = PairwiseScorer(pairwise.model, mode="linear", max_tokens=pairwise.max_tokens)
    ways: dict[str, tuple[PairwiseScorer | RewardScorer, Callable[[], list[int]]]] = {
        "rewards": (scalar, lambda: highest(scalar, candidates)),
        "all_pairs": (pairwise, lambda: highest(pairwise, candidates)),
        "linear": (linear, lambda: highest(linear, candidates)),
        "knockout": (pairwise, lambda: [each or 0 for each in pairwise.best(candidates)]),
    }
    gold = [[world.gold_reward(group.prompt, text) for text in group.responses] for group in candidates]
    found = {}
    for name, (scorer, choose) in ways.items():
        texts, tokens = [], []

        def count(_: Any, arguments: Any, texts: list[int] = texts, tokens: list[int] = tokens) -> None:
            texts.append(arguments[0].num_responses)
            tokens.append(arguments[0].num_tokens)

        hook = scorer.model.register_forward_pre_hook(count)
        chosen = choose()
        hook.remove()
        found[name] = {
            "gold_reward": float(np.mean([values[place] for values, place in zip(gold, chosen, strict=True)])),
            "texts": sum(texts) / len(candidates),
            "tokens": sum(tokens) / len(candidates),
        }
    found["gold"] = {"gold_reward": float(np.mean([max(values) for values in gold]))}
    found["random"] = {"gold_reward": float(np.mean(gold))}
    return found


def highest(scorer: Scorer, groups: Sequence[Group]) -> list[int]:
    """Return the place of the highest reward of each group."""
    return [int(np.argmax(np.asarray(each.rewards, dtype=float))) for each in scorer.score_groups(groups)]


def replicate(args: argparse.Namespace, seed: int, folder: Path) -> dict[str, Any]:
    """Return what one seed found."""
    world = World(seed=seed, **EASY)
    fair = dataclasses.replace(world, temperature=0.0)
    groups = list(world.groups(args.pairs, responses=2, split="train"))
    held_out = list(fair.groups(args.held_out, responses=2, split="held_out"))
    prompts = fair.prompts(args.held_out + args.prompts, split="held_out")[args.held_out :]
    candidates = [
        Group(prompt, tuple(fair.sample_responses(prompt, args.k, quality=0.5)), id=str(index))
        for index, prompt in enumerate(prompts)
    ]
    pairwise, scalar, spent = models_of(args, groups, seed, folder)
    return {
        "seed": seed,
        "training": spent,
        "agreement": order_figures(pairwise, held_out) | {"bradley_terry": agreement(margins(scalar, held_out))},
        "choosing": choosing_figures(fair, pairwise, scalar, candidates),
    }


def summary(seeds: list[dict[str, Any]]) -> dict[str, Any]:
    """Return every figure over the seeds, and the differences that are taken seed by seed."""
    agreements = [each["agreement"] for each in seeds]
    choosing = [each["choosing"] for each in seeds]
    return {
        "agreement": {name: over_seeds([each[name] for each in agreements]) for name in agreements[0]},
        "both_orders_less_one": over_seeds([each["both_orders"] - each["one_order"] for each in agreements]),
        "both_orders_less_bradley_terry": over_seeds(
            [each["both_orders"] - each["bradley_terry"] for each in agreements]
        ),
        "choosing": {
            way: {figure: over_seeds([each[way][figure] for each in choosing]) for figure in figures}
            for way, figures in choosing[0].items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=3200, help="training pairs, each of a prompt of its own")
    parser.add_argument("--groups-per-step", type=int, default=16)
    parser.add_argument("--held-out", type=int, default=600, help="held-out pairs of each seed")
    parser.add_argument("--prompts", type=int, default=60, help="prompts to choose for, of each seed")
    parser.add_argument("--k", type=int, default=8, help="responses to choose from")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/pairwise_world.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        seeds = [replicate(args, seed, Path(name) / f"seed-{seed}") for seed in range(args.seeds)]
    result = {
        "benchmark": "pairwise_world",
        "settings": {key: value for key, value in vars(args).items() if key != "out"} | {"world": EASY},
        "seeds": seeds,
        **summary(seeds),
        "cpu_seconds": resource.getrusage(resource.RUSAGE_SELF).ru_utime,
        **describe(),
    }
    print(json.dumps(result, indent=2))
    write_json(args.out, result)


if __name__ == "__main__":
    main()
