"""ODIN beside Bradley–Terry on preferences of the built-in world that length has a hand in.

    OMP_NUM_THREADS=1 python benchmarks/odin_world.py

The annotator is swayed by filler sentences; length says nothing of the gold reward. All models have the same data,
backbone from random weights, optimiser, order and number of steps; ODIN runs with its coefficients as published, and
with a tenth of the length term's, since the correlation of a small step is noisy. The world is its easiest one: one
choice, of which nine families in ten are on the same side. On new prompts, with labels by the gold reward: the
agreement over all pairs and over those in which the better response is the shorter one, the correlation of reward and
length, and the gold reward of the best of 16 responses of the world's policy. Each seed has a world, data and weights
of its own; intervals are Student's over the seeds. Writes the figures as JSON and prints them.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import resource
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import describe
from world_runs import SCRATCH, agreement, margins, over_seeds, response_tokens, trained

from plaudit.data.schema.group import Group
from plaudit.evaluation.metrics.best_of_n import best_of_n
from plaudit.opening import load
from plaudit.records import write_json
from plaudit.scoring.local.engine import RewardScorer
from plaudit.worlds.world import World

ROOT = Path(__file__).resolve().parents[1]
BRADLEY_TERRY: dict[str, Any] = {"type": "bradley_terry"}
ODIN: dict[str, Any] = {"type": "odin", "length": 1.0, "orthogonality": 1.0}
WAYS = {"bradley_terry": BRADLEY_TERRY, "odin": ODIN, "odin_tenth": ODIN | {"length": 0.1}}
EASY: dict[str, Any] = {"choices": 1, "steps": 4, "popularity": 0.9}
WORLDS: dict[str, dict[str, Any]] = {"easy": EASY, "default": {}}
N = 16


@dataclasses.dataclass(frozen=True)
class Test:
    """What the models of one seed are tried on: pairs with gold labels, their lengths, candidates to choose from."""

    world: World
    pairs: list[Group]
    candidates: list[Group]


def the_test(args: argparse.Namespace, seed: int) -> Test:
    """Return held-out pairs labelled by the gold reward, and candidates for other held-out prompts."""
    fair = World(seed=seed, temperature=0.0, **WORLDS[args.world])
    prompts = fair.prompts(args.pairs + args.prompts, split="held_out")[args.pairs :]
    candidates = [
        Group(prompt, tuple(fair.sample_responses(prompt, args.candidates, quality=0.5)), id=str(index))
        for index, prompt in enumerate(prompts)
    ]
    return Test(fair, list(fair.groups(args.pairs, responses=2, split="held_out")), candidates)


def figures_of(scorer: RewardScorer, test: Test) -> dict[str, float]:
    """Return the agreement by whether the better response is the longer one, the correlation and the best of 16."""
    margin = margins(scorer, test.pairs)
    lengths = response_tokens(scorer.model, test.pairs)
    longer = np.sign(length_differences(test.pairs, lengths))
    rewards = [reward for each in scorer.score_groups(test.pairs) for reward in each.rewards]
    table = best_of_n(
        scorer,
        test.candidates,
        lambda group: [test.world.gold_reward(group.prompt, text) for text in group.responses],
        name="candidates",
        model="odin_world",
        gold_name="gold reward of the built-in world",
        counts=(1, N),
    )
    (_, best) = table.rows
    return {
        "agreement": agreement(margin),
        "agreement_better_is_longer": agreement(margin[longer > 0]),
        "agreement_better_is_shorter": agreement(margin[longer < 0]),
        "correlation_with_length": float(np.corrcoef(np.asarray(rewards, dtype=float), lengths)[0, 1]),
        "best_of_16": best.chosen.value,
        "best_of_16_by_gold": best.oracle.value,
        "random": best.mean.value,
    }


def length_differences(groups: list[Group], lengths: np.ndarray) -> np.ndarray:
    """Return [preference] tokens of chosen − tokens of rejected; ``lengths`` run over all responses."""
    starts = np.cumsum([0, *(len(group.responses) for group in groups)])
    return np.asarray(
        [
            lengths[start + pair.chosen] - lengths[start + pair.rejected]
            for start, group in zip(starts, groups, strict=False)
            for pair in group.preferences
        ]
    )


def data_figures(groups: list[Group], world: World, scorer: RewardScorer, test: Test) -> dict[str, float]:
    """Return what length is worth in the training preferences, and in the gold reward of the test."""
    longer = length_differences(groups, response_tokens(scorer.model, groups))
    gold = [
        world.gold_reward(group.prompt, group.responses[pair.chosen])
        - world.gold_reward(group.prompt, group.responses[pair.rejected])
        for group in groups
        for pair in group.preferences
    ]
    truth = [test.world.gold_reward(group.prompt, text) for group in test.pairs for text in group.responses]
    held_out = length_differences(test.pairs, response_tokens(scorer.model, test.pairs))
    return {
        "preferences": len(longer),
        "longer_is_chosen": agreement(longer),
        "label_agrees_with_gold": agreement(np.asarray(gold)),
        "gold_correlation_with_length": float(np.corrcoef(truth, response_tokens(scorer.model, test.pairs))[0, 1]),
        "test_pairs": len(held_out),
        "test_better_is_shorter": int((held_out < 0).sum()),
        "test_equally_long": int((held_out == 0).sum()),
    }


def replicate(args: argparse.Namespace, seed: int, folder: Path) -> dict[str, Any]:
    """Return what one seed found: figures of each model, and of the data."""
    swayed = World(seed=seed, length_bias=args.length_bias, **WORLDS[args.world])
    groups = list(swayed.groups(args.groups, responses=4, split="train"))
    test = the_test(args, seed)
    models: dict[str, RewardScorer] = {}
    for name, objective in WAYS.items():
        run = trained(
            groups,
            folder / name,
            seed=seed,
            model={"init": SCRATCH, "max_length": 512},
            objective=objective,
            step={"groups_per_step": args.groups_per_step},
        )
        scorer = load(run)
        assert isinstance(scorer, RewardScorer)
        models[name] = scorer
    return {
        "seed": seed,
        "data": data_figures(groups, swayed, models["odin"], test),
        "models": {name: figures_of(scorer, test) for name, scorer in models.items()},
    }


def summary(seeds: list[dict[str, Any]]) -> dict[str, Any]:
    """Return every figure over the seeds, and what ODIN gains over Bradley–Terry, seed by seed."""
    models = [each["models"] for each in seeds]
    figures = list(models[0]["odin"])
    return {
        "models": {
            name: {figure: over_seeds([each[name][figure] for each in models]) for figure in figures}
            for name in models[0]
        },
        "gain_over_bradley_terry": {
            name: {
                figure: over_seeds([each[name][figure] - each["bradley_terry"][figure] for each in models])
                for figure in figures
                if figure not in ("best_of_16_by_gold", "random")
            }
            for name in models[0]
            if name != "bradley_terry"
        },
        "data": {name: over_seeds([each["data"][name] for each in seeds]) for name in seeds[0]["data"]},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--world", choices=tuple(WORLDS), default="easy", help="the default one is learned much later")
    parser.add_argument("--length-bias", type=float, default=0.5, help="at 1 a filler sways as much as two right steps")
    parser.add_argument("--groups", type=int, default=1600, help="training groups of four responses, all six pairs")
    parser.add_argument("--groups-per-step", type=int, default=8)
    parser.add_argument("--pairs", type=int, default=600, help="held-out pairs of each seed")
    parser.add_argument("--prompts", type=int, default=60, help="prompts to choose for, of each seed")
    parser.add_argument("--candidates", type=int, default=24, help="responses per prompt")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/odin_world.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        seeds = [replicate(args, seed, Path(name) / f"seed-{seed}") for seed in range(args.seeds)]
    result = {
        "benchmark": "odin_world",
        "settings": {key: value for key, value in vars(args).items() if key != "out"}
        | {"ways": WAYS, "world": WORLDS[args.world]},
        "seeds": seeds,
        **summary(seeds),
        "cpu_seconds": resource.getrusage(resource.RUSAGE_SELF).ru_utime,
        **describe(),
    }
    print(json.dumps(result, indent=2))
    write_json(args.out, result)


if __name__ == "__main__":
    main()
