"""The union of objectives as configs: names, defaults, what is refused, and the way through YAML."""

from __future__ import annotations

from typing import get_args

import pydantic
import pytest

from plaudit.config import Config, dump_config, load_config
from plaudit.errors import ConfigError
from plaudit.objectives.config import (
    BradleyTerry,
    CustomObjective,
    ObjectiveConfig,
    Odin,
    Outcome,
    PlackettLuce,
    Process,
    Regression,
    TokenOutcome,
    TopOne,
)


class Run(Config):
    """A section with an objective."""

    objective: ObjectiveConfig = BradleyTerry()
    """The training loss."""


EXAMPLES = {
    "bradley_terry": BradleyTerry(strength="scaled", sft=0.01),
    "plackett_luce": PlackettLuce(partial="top"),
    "top_one": TopOne(),
    "regression": Regression(attributes=("helpfulness", "verbosity"), standardise=False, scale=(1.0, 2.0)),
    "outcome": Outcome(positive_weight=3.0),
    "token_outcome": TokenOutcome(language_model=0.1),
    "process": Process(classes=(-1.0, 0.0, 1.0), over="vocabulary", until_first_error=True, weight="response"),
    "odin": Odin(length=2.0, orthogonality=0.5),
    "custom": CustomObjective(path="torch.nn.functional:margin_ranking_loss", margin=2.0),
}


def test_the_union_has_these_variants_and_every_one_builds():
    union = get_args(get_args(ObjectiveConfig)[0])
    assert {each.model_fields["type"].default for each in union} == set(EXAMPLES)
    for config in EXAMPLES.values():
        assert callable(config)


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_config_survives_yaml(name, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(Run(objective=EXAMPLES[name])), encoding="utf-8")
    assert load_config(Run, path) == Run(objective=EXAMPLES[name])


def test_without_an_objective_it_is_bradley_terry_and_its_fields_can_be_set():
    assert load_config(Run, None).objective == BradleyTerry()
    assert load_config(Run, None, ["objective.centering=0.01"]).objective == BradleyTerry(centering=0.01)
    assert load_config(Run, None, ["objective.type=odin", "objective.length=0.5"]).objective == Odin(length=0.5)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["objective.type=bradley_tery"], "did you mean 'bradley_terry'"),
        (["objective.use_margin=true", "objective.strength=scaled"], "both read the margin of the data; choose one"),
        (["objective.label_smoothing=0.1", "objective.flip_rate=0.1"], "undo one another; choose one"),
        (["objective.flip_rate=0.5"], "less than 0.5"),
        (["objective.type=regression"], "Names of the rated attributes"),
        (["objective.type=regression", "objective.attributes=[]"], "at least 1"),
        (["objective.type=regression", "objective.attributes=[a, b, a]"], "attributes names a more than once"),
        (
            ["objective.type=regression", "objective.attributes=[a, b]", "objective.scale=[1]"],
            "scale has 1 entries for 2 attributes",
        ),
        (["objective.type=regression", "objective.attributes=[a]", "objective.scale=[0]"], "greater than 0"),
        (["objective.type=process", "objective.classes=[1]"], "at least 2"),
        (["objective.type=process", "objective.classes=[1, 0]"], "classes must ascend; found 1, 0"),
        (["objective.type=process", "objective.classes=[0, 0, 1]"], "classes must ascend"),
        (["objective.type=odin", "objective.length=-1"], "greater than or equal to 0"),
        (["objective.type=token_outcome", "objective.language_model=.inf"], "finite"),
        (["objective.type=outcome", "objective.positive_weight=0"], "greater than 0"),
    ],
)
def test_what_contradicts_itself_is_refused(overrides, message):
    with pytest.raises(ConfigError, match=message):
        load_config(Run, None, overrides)


def test_the_old_name_of_a_scaled_strength_still_works_and_says_that_it_goes():
    with pytest.warns(DeprecationWarning, match=r"scale is called scaled now; .* dropped in 0\.3"):
        assert load_config(Run, None, ["objective.strength=scale"]).objective == BradleyTerry(strength="scaled")


def test_configs_are_frozen():
    with pytest.raises(pydantic.ValidationError):
        BradleyTerry().sft = 0.1
