"""The over-optimisation curve: what best-of-n by a learned reward is worth in gold reward, as n grows.

    python benchmarks/over_optimisation.py

Trains reward models of one start (a language model that was trained on good responses) with different heads and data
orders, on preferences of the built-in world of which a fifth are turned round; few groups and several epochs, so that
the noise is learned too. Then it compares, on new prompts, the gold reward of the best of n by one of them, by their
mean, their minimum, their mean less one standard deviation, and by the average of their weights. One start is what
makes an average of weights possible: models that were trained apart lie in different basins.

All of that, the start included, is done anew in the worlds of several seeds: how well a model learns from few noisy
labels is chance. The figures are means over the seeds, with Student's interval over them.

Two policies are chosen from. The world's own does each step right with probability one half, in the words of the
training data. The other repeats its first step over and over in one response of twenty, which no training response
does, and which is worth little: a step counts once.

Writes the figures as JSON and the curve as SVG, and prints the figures.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import random
import resource
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from machine import describe
from world_runs import agreement, fine_tune, language_model, margins, over_seeds, trained

from plaudit.data.schema.group import Group, Preference
from plaudit.models.checkpoint.average import average_models
from plaudit.models.checkpoint.files import save_reward_model
from plaudit.opening import load
from plaudit.records import write_json
from plaudit.reports.style import BASELINE, INK, MODEL, ORACLE, PAPER, REJECTED, WIDE, figure
from plaudit.scoring.ensemble import EnsembleScorer, Scale, measure_scales
from plaudit.scoring.scorer import GroupRewards, Scorer
from plaudit.statistics.best_of_n import best_of_n_table
from plaudit.worlds.prompts import read_wishes
from plaudit.worlds.responses import draft_response
from plaudit.worlds.world import World

ROOT = Path(__file__).resolve().parents[1]
COUNTS = (1, 2, 4, 8, 16, 32, 64)
RULES = ("mean", "minimum", "mean_minus_std")
POLICIES = {"own": "the world's own policy", "looping": "5 % of its responses repeat one step"}
LOOPING = 0.05
Table = npt.NDArray[np.float64]


@dataclasses.dataclass
class Recorded:
    """A scorer that gives the rewards it was given, by the id of the group."""

    rewards: dict[str, tuple[float | None, ...]]

    def score_groups(self, groups: Iterable[Group]) -> Iterator[GroupRewards]:
        """Yield the rewards of each group."""
        for group in groups:
            yield GroupRewards(group.id, self.rewards[group.id])


# ------------------------------------------------------------------------------------ data and models


def with_noise(groups: Iterable[Group], share: float, seed: int) -> Iterator[Group]:
    """Yield the groups with ``share`` of their preferences turned round."""
    draw = random.Random(seed)
    for group in groups:
        turned = tuple(
            Preference(each.rejected, each.chosen) if draw.random() < share else each for each in group.preferences
        )
        yield dataclasses.replace(group, preferences=turned)


def pretrained(args: argparse.Namespace, world: World, folder: Path) -> str:
    """Train a small language model on good responses, and return its folder."""
    groups = [
        Group(prompt, tuple(world.sample_responses(prompt, 1, quality=0.95)), id=str(index))
        for index, prompt in enumerate(world.prompts(args.pretraining_prompts, split="train"))
    ]
    model = language_model(groups, hidden=args.hidden, vocabulary=600, seed=world.seed)
    fine_tune(model, groups, steps=args.pretraining_steps, lr=2e-3, seed=world.seed)
    save_reward_model(model, folder)
    return str(folder)


def trained_members(args: argparse.Namespace, world: World, start: str, folder: Path) -> list[str]:
    """Return the folders of members trained from ``start`` on the same noisy preferences: heads and orders differ."""
    fair = world.groups(args.groups, responses=4, split="train")
    groups = list(with_noise(fair, args.noise, world.seed))
    folders = []
    for member in range(args.members):
        run = trained(
            groups,
            folder / f"member-{member}",
            seed=100 * world.seed + member,
            model={"init": {"type": "pretrained", "path": start}, "max_length": 512},
            objective={"type": "bradley_terry", "centering": 0.01},
            step={"groups_per_step": 8, "epochs": args.epochs},
        )
        folders.append(str(run / "model"))
    return folders


# --------------------------------------------------------------------------------------- candidates


def candidates(args: argparse.Namespace, world: World) -> dict[str, list[Group]]:
    """Return, by policy, groups of candidates for the same new prompts; the looping policy loops in place of some."""
    prompts = world.prompts(args.prompts, split="held_out")
    own, looping = [], []
    for index, prompt in enumerate(prompts):
        texts = world.sample_responses(prompt, args.candidates, quality=args.quality, seed=world.seed)
        own.append(Group(prompt, tuple(texts), id=f"own-{index}"))
        draw = random.Random(f"{world.seed}/{index}")
        looped = [loop(prompt[0].content, draw, args.quality) if draw.random() < LOOPING else text for text in texts]
        looping.append(Group(prompt, tuple(looped), id=f"looping-{index}"))
    return {"own": own, "looping": looping}


def loop(prompt: str, draw: random.Random, quality: float) -> str:
    """Return a response that does its first step over and over."""
    wishes = read_wishes(prompt)
    assert wishes is not None
    draft = draft_response(wishes, draw, quality=quality)
    return dataclasses.replace(draft, actions=draft.actions[:1] * len(draft.actions)).text()


def recorded(scorer: Scorer, pools: dict[str, list[Group]]) -> Recorded:
    """Return the rewards of all candidates; a text that two policies share is scored once."""
    groups = pools["own"]
    rewards = {each.id: each.rewards for each in scorer.score_groups(groups)}
    new = []
    for group, other in zip(groups, pools["looping"], strict=True):
        loops = tuple(text for text, old in zip(other.responses, group.responses, strict=True) if text != old)
        if loops:
            new.append(Group(other.prompt, loops, id=other.id))
    own_of = {each.id: iter(each.rewards) for each in scorer.score_groups(new)}
    for group, other in zip(groups, pools["looping"], strict=True):
        rewards[other.id] = tuple(
            next(own_of[other.id]) if text != old else reward
            for text, old, reward in zip(other.responses, group.responses, rewards[group.id], strict=True)
        )
    return Recorded(rewards)


# ------------------------------------------------------------------------------------------ figures


def best_of(scorer: Scorer, groups: Sequence[Group], gold: Sequence[Sequence[float]]) -> Table:
    """Return ``[prompt, n]`` the exact expected gold reward of the best of n by the scorer."""
    scored = scorer.score_groups(groups)
    rewards = [[reward for reward in each.rewards if reward is not None] for each in scored]
    return best_of_n_table(rewards, gold, COUNTS)


def tables_of(
    groups: Sequence[Group], members: Sequence[Scorer], average: Scorer, scales: Sequence[Scale], world: World
) -> dict[str, Table]:
    """Return, by rule, the gold reward of the best of n; ``members`` holds those of each member, ``[member, …]``."""
    gold = [[world.gold_reward(group.prompt, text) for text in group.responses] for group in groups]
    truth = Recorded({group.id: tuple(values) for group, values in zip(groups, gold, strict=True)})
    of_members = np.asarray([best_of(member, groups, gold) for member in members])
    return {
        "members": of_members,
        "one_model": of_members.mean(axis=0),
        **{rule: best_of(EnsembleScorer(members, rule, scales=scales), groups, gold) for rule in RULES},
        "average": best_of(average, groups, gold),
        "gold": best_of(truth, groups, gold),
    }


def figures_of(replicates: Sequence[dict[str, Table]]) -> dict[str, Any]:
    """Return the figures of one policy over the seeds: gold rewards, gains over one model, and the last change."""
    names = [name for name in replicates[0] if name != "members"]
    means = {name: np.stack([each[name].mean(axis=0) for each in replicates]) for name in names}
    one = means["one_model"]
    others = [name for name in names if name not in ("one_model", "gold")]
    return {
        "gold_reward": {
            name: [over_seeds(table[:, k].tolist()) for k in range(len(COUNTS))] for name, table in means.items()
        },
        "of_each_member": np.concatenate([each["members"].mean(axis=1) for each in replicates]).tolist(),
        "gain_over_one_model_at_64": {name: over_seeds((means[name] - one)[:, -1].tolist()) for name in others},
        "change_from_32_to_64": {
            name: over_seeds((table[:, -1] - table[:, -2]).tolist()) for name, table in means.items()
        },
        "penalty_gain_over_mean_at_64": over_seeds((means["mean_minus_std"] - means["mean"])[:, -1].tolist()),
    }


def disagreement(members: Sequence[Scorer], scales: Sequence[Scale], pools: dict[str, list[Group]]) -> dict[str, float]:
    """Return the mean standard deviation over the members, of the world's own responses and of loops."""
    scorer = EnsembleScorer(members, scales=scales)
    spread = {"own": [], "loops": []}
    for own, other in zip(pools["own"], pools["looping"], strict=True):
        (found,) = scorer.score_groups([other])
        for text, old, value in zip(other.responses, own.responses, found.uncertainty or (), strict=True):
            spread["own" if text == old else "loops"].append(value)
    return {name: float(np.mean(values)) for name, values in spread.items()}


# ------------------------------------------------------------------------------------------ drawing


def draw_curves(policies: dict[str, Any], path: Path) -> None:
    """Write the gold reward of the best of n against the KL divergence that choosing it costs."""
    kl = [math.log(n) - (n - 1) / n for n in COUNTS]
    styles = (
        ("one_model", "one model (band: worst to best of all seeds)", REJECTED, "-"),
        ("average", "average of the weights", INK, (0, (1.5, 1.5))),
        ("mean", "mean of the rewards", MODEL, "-"),
        ("minimum", "minimum", ORACLE, (0, (5, 2))),
        ("mean_minus_std", "mean less one standard deviation", ORACLE, "-"),
    )
    with figure(400, width=WIDE) as drawing:
        panels = drawing.subplots(1, len(POLICIES), sharey=True)
        for axes, (name, words) in zip(panels, POLICIES.items(), strict=True):
            found = policies[name]
            each = np.asarray(found["of_each_member"])
            axes.fill_between(kl, each.min(axis=0), each.max(axis=0), color=REJECTED, alpha=0.13, linewidth=0)
            for rule, label, colour, line in styles:
                values = [row["value"] for row in found["gold_reward"][rule]]
                axes.plot(kl, values, color=colour, linestyle=line, marker="o", markersize=4, label=label)
            axes.axhline(found["gold_reward"]["one_model"][0]["value"], color=BASELINE, linewidth=1.0)
            axes.set_xticks(kl, [str(n) for n in COUNTS])
            axes.set_title(words, fontsize=12, color=INK, loc="left")
            axes.set_xlabel("n, at its KL divergence from the policy: log n − (n − 1) / n")
        panels[0].set_ylabel("gold reward of the best of n")
        panels[0].legend(loc="upper left", fontsize=11)
        path.parent.mkdir(parents=True, exist_ok=True)
        drawing.savefig(path, format="svg", facecolor=PAPER, metadata={"Date": None, "Creator": None})


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, default=4)
    parser.add_argument("--groups", type=int, default=300, help="training groups of four responses, all six pairs")
    parser.add_argument("--epochs", type=float, default=6)
    parser.add_argument("--noise", type=float, default=0.2, help="share of the preferences that are turned round")
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--pretraining-prompts", type=int, default=3000)
    parser.add_argument("--pretraining-steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=5, help="worlds with a start, members and prompts of their own")
    parser.add_argument("--prompts", type=int, default=60, help="prompts to choose for, of each seed")
    parser.add_argument("--candidates", type=int, default=128, help="responses per prompt, at least 64")
    parser.add_argument("--quality", type=float, default=0.5, help="probability that a step of a candidate is right")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/over_optimisation.json")
    parser.add_argument("--drawing", type=Path, default=ROOT / "docs/explain/over_optimisation.svg")
    return parser.parse_args()


def replicate(args: argparse.Namespace, seed: int, folder: Path) -> dict[str, Any]:
    """Train members on preferences of one world and return what choosing by them gives, and how good they are."""
    world = World(seed=seed, temperature=0.0)
    start = pretrained(args, world, folder / "start")
    folders = trained_members(args, world, start, folder)
    save_reward_model(average_models(folders), folder / "average")
    models = [load(each) for each in [*folders, str(folder / "average")]]
    # the scales of the members are measured on prompts and responses that nothing is chosen from
    other = world.prompts(args.prompts + 200, split="held_out")[args.prompts :]
    apart = [
        Group(prompt, tuple(world.sample_responses(prompt, 4, quality=args.quality)), id=str(index))
        for index, prompt in enumerate(other)
    ]
    held_out = list(world.groups(400, responses=2, split="held_out"))
    scales = measure_scales(models[:-1], apart)
    pools = candidates(args, world)
    *members, average = [recorded(model, pools) for model in models]
    return {
        "seed": seed,
        "accuracy_of_members": [agreement(margins(model, held_out)) for model in models[:-1]],
        "accuracy_of_average": agreement(margins(models[-1], held_out)),
        "disagreement": disagreement(members, scales, pools),
        "tables": {name: tables_of(groups, members, average, scales, world) for name, groups in pools.items()},
    }


def main() -> None:
    args = parsed()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        found = [replicate(args, seed, Path(name) / f"seed-{seed}") for seed in range(args.seeds)]
    tables = [each.pop("tables") for each in found]
    policies = {name: figures_of([each[name] for each in tables]) for name in POLICIES}
    result = {
        "benchmark": "over_optimisation",
        "settings": {key: value for key, value in vars(args).items() if key not in ("out", "drawing")},
        "counts": COUNTS,
        "kl": [math.log(n) - (n - 1) / n for n in COUNTS],
        "seeds": found,
        "accuracy": {
            "members": over_seeds([float(np.mean(each["accuracy_of_members"])) for each in found]),
            "average": over_seeds([each["accuracy_of_average"] for each in found]),
        },
        "policies": policies,
        "cpu_seconds": resource.getrusage(resource.RUSAGE_SELF).ru_utime,
    }
    draw_curves(policies, args.drawing)
    print(json.dumps(result | describe(), indent=2))
    write_json(args.out, result | describe())


if __name__ == "__main__":
    main()
