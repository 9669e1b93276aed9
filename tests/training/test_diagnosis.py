"""A run that learned little says so, with one thing to try; one that learned says nothing."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest

from plaudit.config import load_config
from plaudit.data.reading.write import write_groups
from plaudit.records import Interval, ItemScore, Measure, Result
from plaudit.training.config import TrainConfig
from plaudit.training.diagnosis import diagnosis, steps_in_words
from plaudit.training.run import train
from plaudit.worlds.world import World

LN2 = math.log(2)


def config(*overrides):
    text = ["name=a", "model.init.type=scratch", "data.train=[{path: a}]", "optim.lr=1e-4", *overrides]
    return load_config(TrainConfig, None, text)


def rows(losses, accuracy=0.7, held_out=(), held_out_accuracy=0.7):
    trained = [{"step": n, "train/rm/loss": loss, "train/rm/accuracy": accuracy} for n, loss in enumerate(losses)]
    return [*trained, *({"step": 9, "eval/rm/loss": each, "eval/rm/accuracy": held_out_accuracy} for each in held_out)]


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (
            rows([0.70, 0.695, 0.69, 0.69]),
            "the training loss is still ln 2: it ended at 0.690, .*; try optim.lr=0.0003$",
        ),
        (rows([0.70, 0.75, 0.74, 0.73]), "still ln 2: it ended at 0.730, .*; try optim.lr=1e-05$"),
        (
            rows([0.69, 1.2, 0.70, 0.693]),
            "the learning rate: the loss rose from 0.690 to 1.200 .*; try optim.lr=1e-05$",
        ),
        (
            rows([0.69, 0.4, 0.2, 0.1], 0.98, held_out=[0.6, 0.65, 0.8], held_out_accuracy=0.7),
            "over-fitting: accuracy 98.0% on the training groups and 70.0% on those held out, whose loss is 0.800; try "
            "step.epochs=0.5$",
        ),
    ],
)
def test_each_sign_comes_alone_and_with_one_thing_to_try(found, says):
    (sign,) = diagnosis(found, config())
    assert re.search(says, sign)


def test_a_run_that_learned_says_nothing():
    assert diagnosis(rows([0.69, 0.6, 0.5, 0.45], 0.8, held_out=[0.5, 0.48], held_out_accuracy=0.76), config()) == []
    assert diagnosis([], config()) == []


def test_a_loss_that_is_not_of_pairs_is_not_measured_by_ln_2():
    section = "objective={type: plackett_luce}"
    assert diagnosis(rows([1.8, 1.7, 1.6, 1.5], 0.6), config(section)) == []


def result(accuracy, longer):
    made = {"value": accuracy, "low": accuracy - 0.1, "high": accuracy + 0.1, "n": 40, "method": "normal"}
    measure = Measure(
        kind="preference",
        primary="accuracy",
        counts={"n": 40, "scored": 40, "unscored": 0, "failed": 0},
        metrics={"accuracy": Interval(**made)},
        baselines={"accuracy": {"longer_response": Interval(**(made | {"value": longer}))}},
    )
    return Result(
        name="held_out", model="m", tie_rule="loss", n=40, scored=40, unscored=0, failed=0, measures=(measure,)
    )


def test_no_better_than_length_is_said():
    (sign,) = diagnosis([], config(), result(0.6, 0.6))
    assert sign.startswith("held-out accuracy is 60.0%, and always taking the longer response would get 60.0%")
    assert diagnosis([], config(), result(0.65, 0.6)) == []


def make_item(rewards):
    return ItemScore(id="a", source="", prompt_key="a", rewards=rewards, lengths=(1,) * len(rewards))


def test_rewards_without_spread_are_said():
    alike = [make_item([1.0, 1.004]), make_item([2.0, 2.0, None]), make_item([0.0, 5.0])]
    (sign,) = diagnosis([], config(), None, alike)
    assert sign.startswith("the rewards have no spread: those of one held-out prompt lie 0.004 apart (median)")
    assert diagnosis([], config(), None, [make_item([1.0, 1.1])]) == []
    assert diagnosis([], config("objective={type: regression, attributes: [a]}"), None, alike) == []


@pytest.mark.parametrize(
    ("steps", "says"),
    [
        (1, "1 step in all, of 64 groups: few to learn from; lower step.groups_per_step, or raise step.epochs"),
        (10, "10 steps in all, of 64 groups: few to learn from"),
        (1200, "1,200 steps in all, of 64 groups"),
    ],
)
def test_the_length_of_a_run_is_told_and_a_short_one_named(steps, says):
    words = steps_in_words(steps, config())
    assert words.startswith(says)
    assert ("few" in words) == (steps < 50)


@pytest.mark.parametrize(
    ("change", "logged"),
    [
        ("step.max_steps=10", list(range(1, 11))),
        ("step.max_steps=60", [1, *range(3, 61, 3)]),
        ("step.max_steps=10 step.log_every=5", [1, 5, 10]),
    ],
)
def test_a_short_run_has_at_least_twenty_rows_or_one_for_each_step_and_each_says_where_it_stands(
    tmp_path, monkeypatch, capsys, change, logged
):
    monkeypatch.chdir(tmp_path)
    write_groups(tmp_path / "pairs.jsonl", World(seed=0).groups(20, responses=2, split="train"))
    (tmp_path / "config.yaml").write_text(
        """
name: short
model: {init: {type: scratch, hidden_size: 16, num_layers: 1, num_heads: 2, vocabulary: 400}, max_length: 256}
data: {train: [{path: pairs.jsonl}], held_out_share: 0}
step: {groups_per_step: 8, trackers: [], threads: 1}
"""
    )
    run = train(load_config(TrainConfig, Path("config.yaml"), change.split()), run_dir=tmp_path / "run")
    found = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in found] == logged
    # 20 groups in steps of 8 are 3 steps an epoch, the last of 4 groups
    assert [row["episode"] for row in found] == [step // 3 * 20 + step % 3 * 8 for step in logged]
    assert [row["epoch"] for row in found] == pytest.approx([step / 3 for step in logged])
    seconds = [row["seconds"] for row in found]
    assert seconds == sorted(seconds)
    assert seconds[0] > 0
    assert f"{logged[-1]} steps in all, of 8 groups" in capsys.readouterr().out
