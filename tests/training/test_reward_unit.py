"""A model says whether it was trained to give log-odds, and evaluation reads its margins accordingly."""

from __future__ import annotations

import pytest

from plaudit.models.checkpoint.recipe import read_recipe
from plaudit.models.heads.kinds import head_of
from plaudit.objectives.config import (
    BradleyTerry,
    Odin,
    Outcome,
    PlackettLuce,
    Process,
    Regression,
    TopOne,
)
from plaudit.training.config import TrainConfig
from plaudit.training.run import train


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        (BradleyTerry(), True),
        (BradleyTerry(flip_rate=0.1, centering=0.01), True),
        (BradleyTerry(use_margin=True), False),
        (BradleyTerry(strength="scaled"), False),
        (BradleyTerry(label_smoothing=0.1), False),
        (PlackettLuce(), True),
        (TopOne(), True),
        (Outcome(), True),
        (Odin(), False),
        (Regression(attributes=("tone",)), None),
        (Process(), None),
    ],
)
def test_which_objectives_make_log_odds(objective, expected):
    assert objective.log_odds is expected


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
    unsaid = recipe.model_copy(update={"trained_as_log_odds": None})
    assert head_of(unsaid).scale == "assumed_log_odds_differences"
    assert unsaid.hash == recipe.hash
