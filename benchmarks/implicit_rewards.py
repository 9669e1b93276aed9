"""The implicit reward of a policy that DPO trained, beside Bradley–Terry on the same preferences.

    OMP_NUM_THREADS=1 python benchmarks/implicit_rewards.py

A tiny language model learns the chosen responses of pairs of the built-in world (the reference), then DPO moves a copy
of it by the same pairs (the policy). β times their log-ratio is read as a reward, by ``dpo:POLICY,REFERENCE``: summed,
per token, and without the reference. Beside it stand two Bradley–Terry models on the same pairs, as many steps of as
many pairs as DPO has: one with the weights of the reference to begin with, one from random weights. On new prompts,
with labels by the gold reward: the agreement, also apart for pairs whose better response is the longer and the shorter
one, and the correlation of reward and length. Each seed has a world, data and weights of its own; intervals are
Student's over the seeds. Writes the figures as JSON and prints them.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import describe
from odin_world import EASY, length_differences
from world_runs import (
    SCRATCH,
    agreement,
    batches,
    encoded_groups,
    fine_tune,
    language_model,
    margins,
    optimiser_of,
    over_seeds,
    response_tokens,
    trained,
)

from plaudit.batching.batch import TokenBatch, build_batch
from plaudit.data.schema.group import Group
from plaudit.models.checkpoint.files import load_language_model, save_reward_model
from plaudit.models.heads.language_model import log_likelihoods
from plaudit.models.reward_model import RewardModel
from plaudit.opening import open_scorer
from plaudit.records import write_json
from plaudit.scoring.scorer import Scorer
from plaudit.statistics.correlation import pearson
from plaudit.worlds.world import World

ROOT = Path(__file__).resolve().parents[1]
PER_STEP = 16


def response_log_likelihoods(model: RewardModel, batch: TokenBatch) -> torch.Tensor:
    """Return [response] the log-probability of each response given its prompt, in nats."""
    sums = torch.zeros(batch.num_responses)
    return sums.index_add(0, batch.labels.token_response, log_likelihoods(model, batch))


def direct_preference(
    policy: RewardModel,
    reference: RewardModel,
    groups: Sequence[Group],
    *,
    beta: float,
    steps: int,
    lr: float,
    seed: int,
) -> dict[str, float]:
    """Train the policy by DPO and return loss and accuracy over the last tenth of the steps.

    With r = β (log π − log π₀) of a whole response, the loss of a pair is −log σ(r(chosen) − r(rejected)).

    Source: Rafailov et al. (2023), arXiv 2305.18290, equation 7.
    """
    encoded, losses, right = encoded_groups(policy, groups), [], []
    optimiser, schedule = optimiser_of(policy, lr=lr, steps=steps)
    for chosen in batches(encoded, PER_STEP, steps=steps, seed=seed):
        batch = build_batch(chosen, layout=policy.layout, pad_id=policy.recipe.pad_token, tokens=True)
        with torch.no_grad():
            before = response_log_likelihoods(reference, batch)
        rewards = beta * (response_log_likelihoods(policy, batch) - before)
        margin = rewards[batch.pairs.chosen] - rewards[batch.pairs.rejected]
        loss = -torch.nn.functional.logsigmoid(margin).mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
        right.append(agreement(margin.detach().numpy()))
    last = max(1, steps // 10)
    return {"loss": float(np.mean(losses[-last:])), "accuracy": float(np.mean(right[-last:]))}


def figures_of(scorer: Scorer, groups: Sequence[Group], lengths: np.ndarray) -> dict[str, float]:
    """Return the agreement over all pairs and by which response is longer, and the correlation with length."""
    margin, longer = margins(scorer, groups), length_differences(list(groups), lengths)
    rewards = [reward for each in scorer.score_groups(groups) for reward in each.rewards]
    correlation = pearson(np.asarray(rewards, dtype=float), lengths)
    if correlation is None:
        raise ValueError("all rewards are equal")
    return {
        "agreement": agreement(margin),
        "agreement_better_is_longer": agreement(margin[longer > 0]),
        "agreement_better_is_shorter": agreement(margin[longer < 0]),
        "correlation_with_length": correlation,
    }


def replicate(args: argparse.Namespace, seed: int, folder: Path) -> dict[str, Any]:
    """Return what one seed found."""
    groups = list(World(seed=seed, **EASY).groups(args.pairs, responses=2, split="train"))
    held_out = list(World(seed=seed, temperature=0.0, **EASY).groups(args.held_out, responses=2, split="held_out"))
    liked = [Group(each.prompt, (each.responses[each.preferences[0].chosen],), id=each.id) for each in groups]
    reference = language_model(liked, hidden=64, vocabulary=SCRATCH["vocabulary"], seed=seed)
    sft_loss = fine_tune(reference, liked, steps=args.sft_steps, lr=2e-3, seed=seed)
    paths = {name: str(folder / name) for name in ("reference", "policy")}
    save_reward_model(reference, Path(paths["reference"]))
    policy, _ = load_language_model(paths["reference"], layout="shared_prefix")
    ended = direct_preference(
        policy, reference, groups, beta=args.beta, steps=args.dpo_steps, lr=args.dpo_lr, seed=seed
    )
    save_reward_model(policy, Path(paths["policy"]))
    pair = f"beta={args.beta}:{paths['policy']},{paths['reference']}"
    scorers: dict[str, Scorer] = {
        "implicit": open_scorer(f"dpo:{pair}"),
        "implicit_per_token": open_scorer(f"dpo-mean:{pair}"),
        "policy_alone": open_scorer(f"dpo:{paths['policy']}"),
        "reference_alone": open_scorer(f"dpo:{paths['reference']}"),
    }
    starts = {
        "bradley_terry_from_reference": {"type": "pretrained", "path": paths["reference"]},
        "bradley_terry_from_scratch": SCRATCH,
    }
    for name, start in starts.items():
        run = trained(
            groups,
            folder / name,
            seed=seed,
            model={"init": start, "max_length": 512},
            objective={"type": "bradley_terry"},
            step={"groups_per_step": PER_STEP, "max_steps": args.dpo_steps},
        )
        scorers[name] = open_scorer(str(run))
    lengths = response_tokens(reference, held_out)
    return {
        "seed": seed,
        "sft_nats_per_token": sft_loss,
        "dpo": ended,
        "label_agrees_with_gold": label_quality(groups, World(seed=seed, **EASY)),
        "models": {name: figures_of(scorer, held_out, lengths) for name, scorer in scorers.items()},
    }


def label_quality(groups: Sequence[Group], world: World) -> float:
    """Return the share of the preferences whose chosen response has the higher gold reward."""
    return agreement(
        np.asarray(
            [
                world.gold_reward(group.prompt, group.responses[pair.chosen])
                - world.gold_reward(group.prompt, group.responses[pair.rejected])
                for group in groups
                for pair in group.preferences
            ]
        )
    )


def summary(seeds: list[dict[str, Any]]) -> dict[str, Any]:
    """Return every figure over the seeds, and the agreement less that of the implicit reward, seed by seed."""
    models = [each["models"] for each in seeds]
    return {
        "models": {
            name: {figure: over_seeds([each[name][figure] for each in models]) for figure in figures}
            for name, figures in models[0].items()
        },
        "agreement_less_implicit": {
            name: over_seeds([each[name]["agreement"] - each["implicit"]["agreement"] for each in models])
            for name in models[0]
            if name != "implicit"
        },
        "label_agrees_with_gold": over_seeds([each["label_agrees_with_gold"] for each in seeds]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=2400, help="training pairs, each of a prompt of its own")
    parser.add_argument("--sft-steps", type=int, default=150, help="steps of 16 chosen responses")
    parser.add_argument("--dpo-steps", type=int, default=150, help="steps of 16 pairs, of DPO and of Bradley–Terry")
    parser.add_argument("--dpo-lr", type=float, default=5e-4)
    parser.add_argument("--beta", type=float, default=0.1)
    parser.add_argument("--held-out", type=int, default=600, help="held-out pairs of each seed")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/implicit_rewards.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        seeds = [replicate(args, seed, Path(name) / f"seed-{seed}") for seed in range(args.seeds)]
    result = {
        "benchmark": "implicit_rewards",
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
