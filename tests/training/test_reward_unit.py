"""A model says whether it was trained to give log-odds, and evaluation reads its margins accordingly."""

from __future__ import annotations

import math
import sys
from types import SimpleNamespace

import pytest
import torch

from plaudit.models.checkpoint.recipe import read_recipe
from plaudit.models.heads.kinds import head_of
from plaudit.objectives.config import (
    BradleyTerry,
    CustomObjective,
    Odin,
    Outcome,
    PlackettLuce,
    Process,
    Regression,
    TopOne,
)
from plaudit.objectives.objective import Needs
from plaudit.objectives.pairwise import bradley_terry_loss, reward_centering_penalty
from plaudit.training.config import TrainConfig
from plaudit.training.run import train


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        (BradleyTerry(), "log_odds_differences"),
        (BradleyTerry(flip_rate=0.1), "log_odds_differences"),
        (BradleyTerry(centering=0.01), "assumed_log_odds_differences"),
        (BradleyTerry(use_margin=True, centering=0.01), "order"),
        (BradleyTerry(strength="scaled"), "order"),
        (BradleyTerry(label_smoothing=0.1), "order"),
        (PlackettLuce(), "log_odds_differences"),
        (TopOne(), "log_odds_differences"),
        (Outcome(), "log_odds_values"),
        (Outcome(positive_weight=2.0), "log_odds_differences"),
        (Odin(), "order"),
        (Regression(attributes=("tone",)), None),
        (Process(), None),
    ],
)
def test_which_objectives_make_log_odds(objective, expected):
    assert objective.reward_scale == expected


def optimum(preferences, centering):
    """Rewards of three responses at the optimum of Bradley–Terry with centering, by Newton-free descent in float64."""
    rewards = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    first, second, share = (torch.tensor(column) for column in zip(*preferences, strict=True))
    optimiser = torch.optim.LBFGS([rewards], max_iter=500, tolerance_grad=1e-12, line_search_fn="strong_wolfe")

    def loss():
        optimiser.zero_grad()
        one, other = rewards[first], rewards[second]
        value = bradley_terry_loss(one, other, probability=share).sum()
        value = value + (centering * reward_centering_penalty(one, other)).sum()
        value.backward()
        return value

    optimiser.step(loss)
    return (rewards - rewards.mean()).detach()


@pytest.mark.parametrize(("centering", "outer"), [(0.0, 2.0), (0.01, 1.776), (0.1, 1.086)])
def test_centering_pulls_the_rewards_of_three_responses_together_so_they_are_log_odds_approximately_only(
    centering, outer
):
    true = (2.0, 0.0, -2.0)
    pairs = [(i, j, 1 / (1 + math.exp(true[j] - true[i]))) for i, j in ((0, 1), (0, 2), (1, 2))]
    assert optimum(pairs, centering).tolist() == pytest.approx([outer, 0.0, -outer], abs=2e-3)


def test_a_class_of_before_that_says_log_odds_is_understood_with_a_warning(monkeypatch):
    monkeypatch.setitem(
        sys.modules, "old_losses", SimpleNamespace(Mine=type("Mine", (), OLD), Bare=type("Bare", (), NEW))
    )
    with pytest.warns(DeprecationWarning, match="log_odds is called reward_scale now"):
        assert CustomObjective(path="old_losses:Mine").reward_scale == "log_odds_differences"
    assert CustomObjective(path="old_losses:Bare").reward_scale == "order"


NEW = {"needs": Needs(labels="preferences"), "weights": lambda self, labels: None, "__call__": lambda self: None}
OLD = NEW | {"log_odds": True}


@pytest.mark.parametrize(("smoothing", "unit"), [(0.0, "log_odds_differences"), (0.1, "order")])
def test_a_trained_model_says_what_its_rewards_are(tmp_path, make_groups, smoothing, unit):
    from plaudit.data.reading.write import write_groups

    write_groups(tmp_path / "pairs.jsonl", make_groups(24))
    config = TrainConfig.model_validate(
        {
            "name": "units",
            "model": {"init": {"type": "scratch", "hidden_size": 32, "num_layers": 1, "num_heads": 2}},
            "data": {"train": [{"path": str(tmp_path / "pairs.jsonl")}], "held_out_share": 0},
            "objective": {"type": "bradley_terry", "label_smoothing": smoothing},
            "step": {"groups_per_step": 8, "max_steps": 1, "trackers": []},
        }
    )
    recipe = read_recipe(train(config, run_dir=tmp_path / "run") / "model")
    assert head_of(recipe).scale == unit
    unsaid = recipe.model_copy(update={"reward_scale": None})
    assert head_of(unsaid).scale == "assumed_log_odds_differences"
    assert unsaid.hash == recipe.hash
