"""Trackers get every metric, with its place in the run; one that fails is named in one line."""

from __future__ import annotations

import json
import sys
import types

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import TrainerCallback
from transformers.integrations import integration_utils

from plaudit.config import load_config
from plaudit.data.reading.write import write_groups
from plaudit.errors import ConfigError
from plaudit.training import arguments
from plaudit.training.config import TrainConfig
from plaudit.training.run import train
from plaudit.worlds.world import World

SECTIONS = (
    "name=tracked",
    "model.init={type: scratch, hidden_size: 16, num_layers: 1, num_heads: 2, vocabulary: 400}",
    "data.train=[{path: pairs.jsonl}]",
    "step={max_steps: 3, groups_per_step: 4, log_every: 1, threads: 1}",
)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_groups("pairs.jsonl", World(seed=0).groups(20, responses=2, split="train"))
    return tmp_path


def test_tensorboard_gets_every_metric_of_the_rows_and_their_place(folder):
    run = train(load_config(TrainConfig, None, SECTIONS), run_dir=folder / "run")
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    for name in ("train/rm/loss", "train/rm/accuracy", "train/grad_norm", "eval/rm/loss", "eval/rm/accuracy"):
        wanted = [(row["step"], pytest.approx(row[name], rel=1e-6)) for row in rows if name in row]
        assert wanted
        assert [(each.step, each.value) for each in events.Scalars(name)] == wanted
    assert [each.value for each in events.Scalars("train/episode")] == [4, 8, 12, 12]
    seconds = [each.value for each in events.Scalars("train/seconds")]
    assert seconds == pytest.approx([row["seconds"] for row in rows], rel=1e-6)


def test_a_tracker_that_fails_is_one_line(folder, monkeypatch):
    class Refusal(Exception):
        """An error of the package."""

    Refusal.__module__ = "scribe.errors"

    class Failing(TrainerCallback):
        def on_train_begin(self, *_, **__):
            raise Refusal("no server at this address\nsee the manual")

    monkeypatch.setitem(integration_utils.INTEGRATION_TO_CALLBACK, "scribe", Failing)
    monkeypatch.setattr(arguments, "get_available_reporting_integrations", lambda: ["scribe"])
    monkeypatch.setitem(sys.modules, "scribe", types.ModuleType("scribe"))
    config = load_config(TrainConfig, None, [*SECTIONS, "step.trackers=[scribe]"])
    with pytest.raises(
        ConfigError, match=r"^step\.trackers: scribe cannot be used: no server at this address; set it up"
    ):
        train(config, run_dir=folder / "run")
