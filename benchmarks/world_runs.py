"""What the studies on the built-in world share: tiny models trained on it, and figures over its seeds."""

from __future__ import annotations

import contextlib
import io
import math
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats

from plaudit.batching.batch import build_batch
from plaudit.batching.encode import EncodingReport
from plaudit.batching.tokens import TokenGroup
from plaudit.data.reading.write import write_groups
from plaudit.data.schema.group import Group
from plaudit.models.create import build_decoder, build_tokenizer
from plaudit.models.heads.language_model import LanguageModelHead, log_likelihoods
from plaudit.models.reward_model import RewardModel
from plaudit.records import Interval
from plaudit.scoring.scorer import Scorer
from plaudit.training.config import TrainConfig
from plaudit.training.run import train

SCRATCH = {"type": "scratch", "hidden_size": 64, "num_layers": 2, "num_heads": 4, "init_std": 0.05, "vocabulary": 800}
OPTIM = {"lr": 2e-3, "schedule": "cosine", "warmup": 0.1, "weight_decay": 0.01}


def over_seeds(values: Sequence[float], confidence: float = 0.95) -> dict[str, Any]:
    """Return the mean of one figure per seed with Student's interval, and the figures themselves.

    With S seeds, mean m and standard deviation s (over S − 1): m ± t s ÷ √S, t the quantile of Student's distribution
    with S − 1 degrees of freedom. Everything that a seed draws (data, weights, prompts of the test) is in the interval.
    """
    array = np.asarray(values, dtype=np.float64)
    count = len(array)
    if count < 2 or not np.isfinite(array).all():
        raise ValueError(f"an interval over seeds needs two finite figures or more; found {array.tolist()}")
    half = float(stats.t.ppf(0.5 + confidence / 2, count - 1) * array.std(ddof=1) / math.sqrt(count))
    mean = float(array.mean())
    found = Interval(
        value=mean,
        low=mean - half,
        high=mean + half,
        confidence=confidence,
        method=f"Student's t over {count} seeds",
        n=count,
    )
    return found.model_dump(mode="json", exclude={"version"}) | {"each": array.tolist()}


def trained(groups: Sequence[Group], folder: Path, *, seed: int, **sections: dict[str, Any]) -> Path:
    """Train as ``sections`` of a config say (model, objective, step; optim where it differs) and return the run."""
    write_groups(folder / "train.jsonl", groups)
    common = {"seed": seed, "max_tokens": 16_384, "trackers": [], "threads": 1, "log_every": 50}
    config = TrainConfig.model_validate(
        {
            "name": folder.name,
            "data": {"train": [{"path": str(folder / "train.jsonl")}], "held_out_share": 0},
            "optim": OPTIM,
            **sections,
            "step": common | sections["step"],
        }
    )
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return train(config, run_dir=folder / "run")


# ------------------------------------------------------------------------------------ language models


def language_model(groups: Sequence[Group], *, hidden: int, vocabulary: int, seed: int) -> RewardModel:
    """Return a random causal language model of two layers with a tokenizer trained on the texts of ``groups``."""
    texts = (text for group in groups for text in (group.prompt[0].content, *group.responses))
    model = build_decoder(
        build_tokenizer(texts, vocabulary=vocabulary),
        hidden_size=hidden,
        num_layers=2,
        num_heads=4,
        max_length=512,
        seed=seed,
        init_std=0.05,
        head=LanguageModelHead(),
    )
    model.use_layout("shared_prefix")
    return model


def encoded_groups(model: RewardModel, groups: Sequence[Group]) -> list[TokenGroup]:
    """Return the groups as tokens; all of them must be short enough."""
    encoder = model.recipe.conversation_encoder(model.tokenizer)
    found = encoder.encode(list(enumerate(groups)), EncodingReport())
    encoded = [each for each in found if isinstance(each, TokenGroup)]
    if len(encoded) < len(groups):
        raise ValueError(f"only {len(encoded)} of {len(groups)} groups could be encoded")
    return encoded


def fine_tune(model: RewardModel, groups: Sequence[Group], *, steps: int, lr: float, seed: int) -> float:
    """Train on the likelihood of every response token, 16 groups a step; return the last tenth's mean loss in nats."""
    encoded, losses = encoded_groups(model, groups), []
    optimiser, schedule = optimiser_of(model, lr=lr, steps=steps)
    for chosen in batches(encoded, 16, steps=steps, seed=seed):
        batch = build_batch(chosen, layout="shared_prefix", pad_id=model.recipe.pad_token, tokens=True)
        loss = -log_likelihoods(model, batch).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
    return float(np.mean(losses[-max(1, steps // 10) :]))


def optimiser_of(model: RewardModel, *, lr: float, steps: int) -> tuple[torch.optim.Optimizer, Any]:
    """Return AdamW and a schedule that rises over a tenth of the steps and falls to 0 along a cosine."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.01)
    rise = max(1, steps // 10)

    def share(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))

    return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, share)


def batches(items: Sequence[TokenGroup], size: int, *, steps: int, seed: int) -> Iterator[list[TokenGroup]]:
    """Yield ``steps`` batches, every item once before any comes again."""
    draw, left = random.Random(seed), []
    for _ in range(steps):
        if len(left) < size:
            left = draw.sample(range(len(items)), len(items))
        yield [items[left.pop()] for _ in range(size)]


# ------------------------------------------------------------------------------------------- figures


def margins(scorer: Scorer, groups: Sequence[Group]) -> np.ndarray:
    """Return [preference] reward of chosen − reward of rejected, over all preferences of the groups."""
    found = []
    for group, each in zip(groups, scorer.score_groups(groups), strict=True):
        for pair in group.preferences:
            chosen, rejected = each.rewards[pair.chosen], each.rewards[pair.rejected]
            if chosen is None or rejected is None:
                raise ValueError(f"group {group.id} has no reward: {each.reason}")
            found.append(chosen - rejected)
    return np.asarray(found)


def agreement(margin: np.ndarray) -> float:
    """Return the share of margins above 0, a tie counting as a half."""
    return float(np.mean(np.where(margin == 0, 0.5, margin > 0)))


def response_tokens(model: RewardModel, groups: Sequence[Group]) -> np.ndarray:
    """Return [response] the number of the model's tokens of each response, over all groups."""
    texts = [text for group in groups for text in group.responses]
    return np.asarray([len(ids) for ids in model.tokenizer(texts, add_special_tokens=False)["input_ids"]])
