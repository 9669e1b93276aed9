"""A quantile head, as the page "extend" writes it, finds for which prompts ratings are noisy."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

import plaudit
from plaudit.data.reading.write import write_groups
from plaudit.data.schema.group import Group, conversation
from plaudit.training.config import TrainConfig
from plaudit.training.run import train

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how_to" / "extend.md"
NOISE = {"calm": 0.2, "wild": 1.0}
QUALITY = {"bad": 1.0, "fair": 3.0, "good": 5.0}


def rated_groups(count, seed):
    """Ratings around the quality of a response, with a standard deviation that the prompt tells."""
    draw = random.Random(seed)
    for number in range(count):
        kind = draw.choice(sorted(NOISE))
        words = [draw.choice(sorted(QUALITY)) for _ in range(3)]
        ratings = tuple(QUALITY[word] + draw.gauss(0.0, NOISE[kind]) for word in words)
        responses = tuple(f"{word} {k}" for k, word in enumerate(words))
        yield Group(conversation(f"{kind} {number % 50}"), responses, ratings={"stars": ratings}, id=f"{seed}-{number}")


@pytest.fixture
def scorer(tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n# quantiles\.py\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "planted_quantiles.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    write_groups(tmp_path / "train.jsonl", list(rated_groups(1500, seed=0)))
    sizes = {"type": "scratch", "hidden_size": 32, "num_layers": 2, "num_heads": 2, "init_std": 0.1, "vocabulary": 300}
    config = {
        "name": "quantiles",
        "model": {"init": sizes, "head": {"type": "custom", "path": "planted_quantiles:QuantileHead"}},
        "data": {"train": [{"path": str(tmp_path / "train.jsonl")}], "held_out_share": 0},
        "objective": {"type": "custom", "path": "planted_quantiles:QuantileLoss", "attribute": "stars"},
        "optim": {"lr": 5e-3},
        "step": {"groups_per_step": 25, "epochs": 4, "threads": 1, "trackers": []},
    }
    run = train(TrainConfig.model_validate(config), run_dir=tmp_path / "run")
    return plaudit.load(run, trust_remote_code=True)


@pytest.mark.slow
def test_the_uncertainty_is_the_noise_of_the_prompt_and_the_reward_the_quality(scorer):
    groups = list(rated_groups(100, seed=1))
    found = list(scorer.score_groups(groups))
    for kind, noise in NOISE.items():
        ours = [each for group, each in zip(groups, found, strict=True) if group.prompt[0].content.startswith(kind)]
        spread = [value for each in ours for value in each.uncertainty]
        assert sum(spread) / len(spread) == pytest.approx(noise, rel=0.25)
        assert max(spread) < 2 * noise
    error = [
        reward - QUALITY[response.split()[0]]
        for group, each in zip(groups, found, strict=True)
        for response, reward in zip(group.responses, each.rewards, strict=True)
    ]
    assert sum(map(abs, error)) / len(error) < 0.25
