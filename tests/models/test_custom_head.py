"""Heads of one's own: saved with their import path, loaded strictly and only where that is allowed."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
import torch

from plaudit.errors import CheckpointError, ConfigError, ModelError
from plaudit.models.checkpoint.average import average_models
from plaudit.models.checkpoint.files import load_reward_model, save_reward_model
from plaudit.models.checkpoint.recipe import read_recipe
from plaudit.models.heads.kinds import custom_head, head_of

SOURCE = """
from dataclasses import dataclass
import numpy as np
from plaudit.models.heads.head import DecodedRewards, HeadSpec, as_float64
from plaudit.models.heads.kinds import CustomHead
from plaudit.objectives.objective import Rewards

@dataclass(frozen=True, kw_only=True)
class Blend(CustomHead):
    shares: tuple[float, ...] = (0.5, 0.5)
    def spec(self):
        return HeadSpec("sequence", len(self.shares), tuple(f"part {k}" for k in range(len(self.shares))))
    def read(self, outputs, batch, model):
        return Rewards(response=outputs @ outputs.new_tensor(self.shares), outputs=outputs)
    def decode(self, rewards, labels):
        spread = as_float64(rewards.outputs.std(dim=1))
        return DecodedRewards(as_float64(rewards.response), np.zeros((len(spread), 0)), uncertainty=spread)
    @property
    def scale(self):
        return "ratings"
"""


@pytest.fixture
def module(monkeypatch):
    """A module that can be imported, as an installed package can be."""
    made = ModuleType("blends")
    monkeypatch.setitem(sys.modules, "blends", made)
    exec(SOURCE, made.__dict__)
    return made


@pytest.fixture
def saved(module, make_decoder, tmp_path):
    model = make_decoder(head=module.Blend(shares=(0.75, 0.25)))
    save_reward_model(model, tmp_path / "model")
    return model, str(tmp_path / "model")


def test_it_comes_back_with_its_fields_its_weights_and_its_rewards(saved, module, make_groups):
    from plaudit.scoring.local.engine import RewardScorer

    model, folder = saved
    loaded, _ = load_reward_model(folder, layout="padded", trust_remote_code=True)
    assert loaded.head == module.Blend(shares=(0.75, 0.25))
    groups = make_groups(4)
    before, after = (list(RewardScorer(each).score_groups(groups)) for each in (model, loaded))
    assert before == after
    features = torch.randn(3, 32)
    parts = model.core.score(features)
    wanted = 0.75 * parts[:, 0] + 0.25 * parts[:, 1]
    torch.testing.assert_close(model.head.read(model.outputs_from(features), None, model).response, wanted)
    assert min(each for group in after for each in group.uncertainty) > 0


def test_models_with_one_are_averaged_where_its_import_is_allowed(saved, module):
    model, folder = saved
    with pytest.raises(CheckpointError, match="pass trust_remote_code=True"):
        average_models([folder, folder])
    made = average_models([folder, folder], trust_remote_code=True)
    assert made.head == model.head
    torch.testing.assert_close(made.core.score.weight, model.core.score.weight)


def test_loading_imports_nothing_that_was_not_allowed(saved, monkeypatch):
    _, folder = saved
    monkeypatch.delitem(sys.modules, "blends")
    with pytest.raises(CheckpointError, match=r"a custom head, blends:Blend; pass trust_remote_code=True"):
        load_reward_model(folder)
    with pytest.raises(ConfigError, match=r"custom_head\.path is 'blends:Blend', which cannot be imported: No module"):
        load_reward_model(folder, trust_remote_code=True)


def test_a_head_with_other_outputs_than_the_checkpoint_is_refused(saved, module):
    _, folder = saved
    exec(SOURCE.replace("len(self.shares), tuple", "3, tuple"), module.__dict__)
    with pytest.raises(CheckpointError, match="has 2 outputs; its recipe says 3"):
        load_reward_model(folder, trust_remote_code=True)


def test_its_fields_are_in_the_hash_of_the_recipe(saved):
    from pathlib import Path

    recipe = read_recipe(Path(saved[1]))
    rule = recipe.custom_head.model_copy(update={"options": {"shares": [0.5, 0.5]}})
    other = recipe.model_copy(update={"custom_head": rule})
    assert other.hash != recipe.hash
    assert head_of(other).shares == (0.5, 0.5)


@pytest.mark.parametrize(
    ("path", "options", "error", "words"),
    [
        ("blends:np", {}, ModelError, "no subclass of plaudit"),
        ("blends:Rewards", {}, ModelError, "no subclass of plaudit"),
        ("blends:Blend", {"share": 1}, ConfigError, "cannot be made of {'share': 1}"),
        ("blends", {}, ConfigError, "must have the form"),
    ],
)
def test_a_path_that_leads_to_no_head_is_named(module, path, options, error, words):
    with pytest.raises(error, match=words):
        custom_head(path, options, key="model.head.path")


def test_a_head_in_a_script_cannot_be_saved(module, make_decoder):
    module.Blend.__module__ = "__main__"
    with pytest.raises(ModelError, match="Blend stands in a script"):
        make_decoder(head=module.Blend())


# ------------------------------------------------------------------------------ heads inside classes and functions


def test_a_head_inside_a_class_comes_back(module, make_decoder, tmp_path):
    class Outer:
        Blend = module.Blend

    module.Outer = Outer
    module.Blend.__qualname__ = "Outer.Blend"
    save_reward_model(make_decoder(head=module.Blend()), tmp_path / "model")
    loaded, _ = load_reward_model(str(tmp_path / "model"), trust_remote_code=True)
    assert type(loaded.head) is module.Blend


def test_a_head_inside_a_function_cannot_be_saved(module, make_decoder):
    module.Blend.__qualname__ = "build.<locals>.Blend"
    with pytest.raises(ModelError, match="stands in a function; move it to a module"):
        make_decoder(head=module.Blend())


# ------------------------------------------------------------------------------ the command line and other doors


def test_a_verb_opens_it_where_code_may_be_imported(saved, make_groups, tmp_path):
    from typer.testing import CliRunner

    from plaudit.cli.main import app
    from plaudit.data.reading.write import write_groups

    def invoke(*command):
        return CliRunner().invoke(app, command)

    write_groups(tmp_path / "groups.jsonl", make_groups(3))
    command = ("score", saved[1], str(tmp_path / "groups.jsonl"), "--output", str(tmp_path / "rewards.jsonl"))
    refused = invoke(*command)
    assert refused.exit_code == 2
    assert "pass trust_remote_code=True" in refused.stderr
    assert invoke(*command, "--trust-remote-code").exit_code == 0
    assert (tmp_path / "rewards.jsonl").read_text().count("\n") == 3


def test_its_order_is_no_probability_of_steps(saved, module):
    from plaudit.opening import _unit, load
    from plaudit.scoring.scorer import info_of

    module.Blend.scale = property(lambda self: "order")
    assert _unit(info_of(load(saved[1], trust_remote_code=True))) is None
