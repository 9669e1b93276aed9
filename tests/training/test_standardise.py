"""Ratings are trained on in standard deviations from their mean, and read in their own units."""

from __future__ import annotations

import contextlib
import json
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from plaudit.data.reading.write import write_groups
from plaudit.data.schema.group import Group, conversation
from plaudit.errors import DataError
from plaudit.opening import load
from plaudit.training.config import TrainConfig
from plaudit.training.run import train
from plaudit.training.standardise import AttributeUnits, Moments, equal_weights, measured_units
from plaudit.training.trainer import RewardTrainer

pytestmark = pytest.mark.filterwarnings("ignore")


def rated(*tables):
    """One group per table of {attribute: ratings}."""
    made = []
    for table in tables:
        count = max((len(values) for values in table.values()), default=1)
        made.append(Group(conversation("Rate it."), tuple(f"Text {k}." for k in range(count)), ratings=table))
    return made


# -------------------------------------------------------------------------------------- by hand


def test_mean_and_standard_deviation_are_over_the_known_ratings_of_all_groups():
    groups = rated({"a": (1.0, None)}, {"b": (10.0, 30.0)}, {"a": (3.0, 8.0), "b": (None, None)}, {})
    # a: 1, 3, 8 with mean 4 and squared deviations 9, 1, 16; b: 10, 30
    found = measured_units(groups, ("b", "a"))
    assert found.locations == (20.0, 4.0)
    assert found.scales == pytest.approx((10.0, math.sqrt(26 / 3)), rel=1e-15)


def test_a_large_mean_costs_no_digits():
    groups = rated({"a": tuple(1e9 + step for step in (4.0, 7.0, 13.0, 16.0))})
    # the textbook's sum of squares minus square of the sum has no digit right here
    found = measured_units(groups, ("a",), scale=None)
    assert found.locations == (1e9 + 10.0,)
    moments = Moments()
    for step in (4.0, 7.0, 13.0, 16.0):
        moments.add(1e9 + step)
    assert moments.std == pytest.approx(math.sqrt(22.5), rel=1e-12)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30))
def test_moments_equal_those_of_all_numbers_at_once(numbers):
    moments = Moments()
    for number in numbers:
        moments.add(number)
    size = max(map(abs, numbers))
    assert moments.count == len(numbers)
    assert moments.mean == pytest.approx(np.mean(numbers), rel=1e-12, abs=1e-12 * size)
    assert moments.std == pytest.approx(np.std(numbers), rel=1e-9, abs=1e-9 * size)


def test_given_scales_take_the_place_of_standard_deviations():
    found = measured_units(rated({"a": (1.0, 3.0), "b": (5.0, 5.0)}), ("a", "b"), scale=(7.0, 0.5))
    assert found == AttributeUnits(locations=(2.0, 5.0), scales=(7.0, 0.5))


def test_an_attribute_without_spread_has_the_scale_one_and_says_so(caplog):
    found = measured_units(rated({"a": (0.1, 0.1, 0.1), "b": (0.0, 2.0, None)}), ("a", "b"))
    assert found == AttributeUnits(locations=(0.1, 1.0), scales=(1.0, 1.0))
    assert [record.getMessage() for record in caplog.records] == [
        "all 3 training ratings of a are 0.1: there is no spread to learn or to divide by, so its scale is 1"
    ]


def test_a_spread_that_float32_cannot_hold_is_none():
    found = measured_units(rated({"a": (1e9, 1e9 + 16.0)}), ("a",))
    assert found == AttributeUnits(locations=(1e9 + 8.0,), scales=(1.0,))


def test_an_attribute_that_is_never_rated_is_an_error_that_says_which_are():
    with pytest.raises(DataError, match=r"no training group rates c, d, so .* \(ratings found: a 2, b 1\); leave"):
        measured_units(rated({"a": (1.0, 2.0), "b": (None, 3.0), "c": (None, None)}), ("a", "b", "c", "d"))


def test_without_any_rating_there_are_no_units():
    assert measured_units(rated({"x": (1.0,)}), ("a", "b")) == AttributeUnits()


def test_it_is_computed_without_torch():
    code = "import sys, plaudit.training.standardise; print('torch' in sys.modules, 'plaudit' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert shown.stdout.split() == ["False", "True"]


# ------------------------------------------------------------------------------------- planted


def planted(count, seed, *, stars=(50.0, 12.0), share=(0.1, 0.02)):
    """Good responses get more stars, red ones a larger share; half of the shares are unknown."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(count):
        kinds = rng.integers(0, 2, (3, 2))
        texts = tuple(f"{('bad', 'good')[a]} and {('blue', 'red')[b]} one" for a, b in kinds)
        noise = 0.2 * rng.normal(size=(3, 2))
        values = 2.0 * kinds - 1.0 + noise
        ratings = {
            "stars": tuple((stars[0] + stars[1] * values[:, 0]).tolist()),
            "share": tuple(
                None if rng.random() < 0.5 else value for value in (share[0] + share[1] * values[:, 1]).tolist()
            ),
        }
        made.append(Group(conversation(f"how is number {number}"), texts, ratings=ratings, id=f"p{seed}-{number}"))
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("standardise")
    write_groups(path / "train.jsonl", planted(240, 0))
    write_groups(path / "fresh.jsonl", planted(60, 1))
    write_groups(path / "shifted.jsonl", planted(40, 2, stars=(-5.0, 1.0), share=(7.0, 3.0)))
    with contextlib.chdir(path):
        yield path


def config(*, objective=None, init=None, data="train.jsonl", **step):
    scratch = {"type": "scratch", "hidden_size": 16, "num_layers": 1, "num_heads": 2, "vocabulary": 300}
    return TrainConfig.model_validate(
        {
            "name": "attributes",
            "model": {"init": init or scratch, "max_length": 64},
            "data": {"train": [{"path": data}], "held_out_share": 0},
            "objective": {"type": "regression", "attributes": ["stars", "share"]} | (objective or {}),
            "optim": {"lr": 2e-2, "schedule": "linear", "warmup": 0.1},
            "step": {"groups_per_step": 16, "max_steps": 45, "threads": 1, "log_every": 1, "trackers": []} | step,
        }
    )


def found_and_wanted(run, groups):
    """Return ratings and predictions [attribute, response] of the responses that have both ratings."""
    wanted = np.asarray(
        [[group.ratings[a][k] for a in ("stars", "share")] for group in groups for k in range(3)], float
    )
    scored = load(run, layout="padded").score_groups(groups)
    said = np.asarray([row for each in scored for row in zip(*each.attributes.values(), strict=True)])
    known = ~np.isnan(wanted).any(axis=1)
    return said[known].T, wanted[known].T


@pytest.fixture(scope="module")
def standardised(folder):
    return train(config(), run_dir=folder / "standardised")


@pytest.fixture(scope="module")
def raw(folder):
    return train(config(objective={"standardise": False}), run_dir=folder / "raw")


def test_a_short_training_reaches_mean_and_order_of_attributes_of_any_size(standardised):
    said, wanted = found_and_wanted(standardised, planted(60, 1))
    for attribute, (mean, spread) in enumerate(((50.0, 12.0), (0.1, 0.02))):
        assert np.corrcoef(said[attribute], wanted[attribute])[0, 1] > 0.9
        assert abs(said[attribute].mean() - wanted[attribute].mean()) < 0.2 * spread
        assert abs(wanted[attribute].mean() - mean) < 0.3 * spread


def test_without_standardisation_the_same_training_reaches_neither(raw):
    said, wanted = found_and_wanted(raw, planted(60, 1))
    assert abs(said[0].mean() - wanted[0].mean()) > 12.0
    assert abs(np.corrcoef(said[1], wanted[1])[0, 1]) < 0.7


def rows_of(run):
    timed = ("train/tokens_per_second", "train/groups_per_second", "seconds")
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key not in timed} for row in rows]


def test_the_loss_is_in_standard_deviations_and_the_logged_errors_in_units_of_the_ratings(standardised):
    first, *_, last = rows_of(standardised)
    # the mean of the ratings alone would cost about 1 per attribute; of stars the variance is 12² · 1.04 = 150
    assert 0.5 < first["train/rm/loss"] < 4.0
    assert 50.0 < first["train/rm/mse"] < 600.0
    assert last["train/rm/loss"] < 0.3
    assert abs(last["train/rm/bias"]) < 6.0


def test_the_recipe_holds_the_moments_of_the_training_groups(standardised):
    recipe = json.loads((standardised / "model" / "plaudit.json").read_text())
    groups = planted(240, 0)
    for place, name in enumerate(("stars", "share")):
        known = [value for group in groups for value in group.ratings[name] if value is not None]
        assert recipe["attribute_locations"][place] == pytest.approx(np.mean(known), rel=1e-9)
        assert recipe["attribute_scales"][place] == pytest.approx(np.std(known), rel=1e-9)


# ---------------------------------------------------------------------------- kept on the way


class Killed(BaseException):
    """Stands for the end of the process: nobody catches it."""


def test_a_killed_run_goes_on_digit_for_digit(folder, tmp_path, monkeypatch):
    short = config(max_steps=5, save_every=2)
    whole = train(short, run_dir=tmp_path / "whole")
    original = RewardTrainer.training_step

    def dying(self, *arguments):
        if self.state.global_step == 3:
            raise Killed
        return original(self, *arguments)

    monkeypatch.setattr(RewardTrainer, "training_step", dying)
    with pytest.raises(Killed):
        train(short, run_dir=tmp_path / "cut")
    monkeypatch.setattr(RewardTrainer, "training_step", original)
    cut = train(short, run_dir=tmp_path / "cut", resume=True)
    assert rows_of(cut) == rows_of(whole)
    assert (cut / "model" / "plaudit.json").read_text() == (whole / "model" / "plaudit.json").read_text()
    for name, weight in load_file(whole / "model" / "model.safetensors").items():
        assert torch.equal(load_file(cut / "model" / "model.safetensors")[name], weight)


def affine_of(run):
    recipe = json.loads((run / "model" / "plaudit.json").read_text())
    return recipe["attribute_locations"], recipe["attribute_scales"]


def test_a_model_that_rates_these_attributes_already_keeps_its_units(folder, standardised, tmp_path):
    init = {"type": "pretrained", "path": str(standardised / "model")}
    for standardise in (True, False):
        run = train(
            config(init=init, data="shifted.jsonl", objective={"standardise": standardise}, max_steps=1),
            run_dir=tmp_path / f"run {standardise}",
        )
        assert affine_of(run) == affine_of(standardised)


def test_a_model_without_units_that_rates_these_attributes_keeps_the_ratings_units(folder, raw, tmp_path, caplog):
    init = {"type": "pretrained", "path": str(raw / "model")}
    run = train(config(init=init, max_steps=1), run_dir=tmp_path / "run")
    assert affine_of(run) == ([], [])
    assert "rates these attributes already, in units that are kept: nothing is standardised" in caplog.text


def test_a_model_of_other_attributes_gets_the_units_of_the_training_groups(folder, standardised, tmp_path):
    init = {"type": "pretrained", "path": str(standardised / "model")}
    run = train(config(init=init, objective={"attributes": ["share", "stars"]}, max_steps=1), run_dir=tmp_path / "run")
    locations, scales = affine_of(standardised)
    assert affine_of(run) == (locations[::-1], scales[::-1])


def test_an_attribute_that_no_group_rates_stops_the_run_before_it_begins(folder, tmp_path):
    with pytest.raises(DataError, match="no training group rates depth, so that output would stay random"):
        train(config(objective={"attributes": ["stars", "depth"]}), run_dir=tmp_path / "run")
    assert not (tmp_path / "run" / "config.yaml").exists()


# --------------------------------------------------------------------------------- the reward of a response


def test_by_default_all_attributes_weigh_alike_whatever_their_units():
    assert equal_weights((2.0, 50.0)) == (0.25, 0.01)
    assert equal_weights((3.0,)) == equal_weights(()) == ()


def rewards_and_attributes(run):
    found = list(load(run, layout="padded").score_groups(planted(20, 1)))
    rewards = np.asarray([reward for each in found for reward in each.rewards])
    return rewards, np.asarray([row for each in found for row in zip(*each.attributes.values(), strict=True)])


def test_the_reward_of_a_trained_model_is_the_mean_of_attributes_in_their_standard_deviations(standardised, capsys):
    recipe = load(standardised).recipe
    rewards, attributes = rewards_and_attributes(standardised)
    spreads = np.asarray(recipe.attribute_scales)
    assert recipe.attribute_weights == pytest.approx(1 / (2 * spreads))
    assert rewards == pytest.approx((attributes / spreads).mean(axis=1))
    # both attributes move it: a plain mean would be that of the stars alone
    assert min(abs(np.corrcoef(rewards, column)[0, 1]) for column in attributes.T) > 0.4


def test_without_standardisation_they_weigh_alike_too(raw, standardised):
    recipe, other = load(raw).recipe, load(standardised).recipe
    assert recipe.attribute_scales == ()
    assert recipe.attribute_weights == pytest.approx(other.attribute_weights)


def test_weights_are_asked_for_printed_recorded_and_kept_when_training_goes_on(folder, capsys):
    run = train(config(objective={"reward_weights": [1, -20]}, max_steps=1), run_dir=folder / "weighed")
    told = "reward of a response: 1 · stars - 20 · share (objective.reward_weights sets others)"
    assert told in capsys.readouterr().out
    assert json.loads((run / "run.json").read_text())["model"]["reward"] == "1 · stars - 20 · share"
    rewards, attributes = rewards_and_attributes(run)
    assert rewards == pytest.approx(attributes @ np.asarray([1.0, -20.0]))
    again = {"type": "pretrained", "path": str(run / "model")}
    later = train(config(init=again, max_steps=1), run_dir=folder / "weighed_again")
    assert load(later).recipe.attribute_weights == (1.0, -20.0)


@pytest.mark.parametrize("weights", [[1], [1, 2, 3]])
def test_there_is_one_weight_per_attribute(weights):
    with pytest.raises(ValueError, match=rf"reward_weights has {len(weights)} entries for 2 attributes"):
        config(objective={"reward_weights": weights})
