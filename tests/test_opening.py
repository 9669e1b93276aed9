"""The scorer that a name on the command line stands for."""

from __future__ import annotations

import json
import sys

import pytest
from typer.testing import CliRunner

from plaudit.cli.main import app
from plaudit.data.reading.write import write_groups
from plaudit.data.schema.group import Group, Preference, conversation
from plaudit.errors import ConfigError, ModelError
from plaudit.models.checkpoint.files import load_reward_model, save_reward_model
from plaudit.models.heads.head import AttributesHead, ScalarHead
from plaudit.models.heads.language_model import COMPARISON, LanguageModelHead
from plaudit.models.heads.token import TokenHead
from plaudit.opening import load, model_source, open_scorer
from plaudit.scoring.ensemble import EnsembleScorer, Scale
from plaudit.scoring.function import FunctionScorer
from plaudit.scoring.implicit import ImplicitRewardScorer
from plaudit.scoring.local.engine import RewardScorer

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


@pytest.fixture
def functions(tmp_path, monkeypatch):
    """A module with reward functions: the length of a response, and ten times that."""
    (tmp_path / "lengths.py").write_text(
        "def one(prompt, responses):\n    return [len(r) for r in responses]\n"
        "def ten(prompt, responses):\n    return [10 * len(r) for r in responses]\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("lengths", None)
    yield
    sys.modules.pop("lengths", None)


@pytest.fixture
def models(make_decoder, tmp_path):
    """Two reward models and two language models in folders, by name."""
    for name, head in (("a", ScalarHead()), ("b", ScalarHead()), ("lm", LanguageModelHead())):
        save_reward_model(make_decoder(num_layers=1, seed=ord(name[0]), head=head), tmp_path / name)
    return {name: str(tmp_path / name) for name in ("a", "b", "lm")}


def group(*responses):
    return Group(conversation("hi"), responses, (Preference(0, 1),), id="0")


# ------------------------------------------------------------------------------------- ensembles


@pytest.mark.parametrize(
    ("rule", "reward"),
    # the rewards of the text "four" are 4 and 40: mean 22, standard deviation 18
    [("mean", 22.0), ("minimum", 4.0), ("mean-std", 4.0), ("mean-0.5std", 13.0), ("mean-2std", -14.0)],
)
def test_an_ensemble_is_named_by_its_rule_and_its_members(functions, rule, reward):
    scorer = open_scorer(f"ensemble:{rule}:lengths:one,lengths:ten")
    assert isinstance(scorer, EnsembleScorer)
    (found,) = scorer.score_groups([group("four", "x")])
    assert found.rewards[0] == pytest.approx(reward)
    assert found.uncertainty is not None
    assert found.uncertainty[0] == 18.0


@pytest.mark.parametrize("name", ["ensemble:mean:a,b", "dpo:a,b", "http://localhost:8000", "lengths:one"])
def test_what_is_no_single_model_is_not_loaded_and_the_error_says_what_takes_it(name):
    with pytest.raises(ModelError, match=r"is no single model to load; plaudit\.evaluate and plaudit\.reward_function"):
        load(name)


def test_a_member_may_bring_its_scale(functions):
    scorer = open_scorer("ensemble:minimum:lengths:one@2/0.5,lengths:ten@-1e1/2.5")
    assert isinstance(scorer, EnsembleScorer)
    assert scorer.scales == (Scale(2.0, 0.5), Scale(-10.0, 2.5))
    assert scorer.names == ("lengths:one", "lengths:ten")


def test_members_are_whatever_a_name_stands_for(functions, models):
    scorer = open_scorer(f"ensemble:mean:{models['a']},lengths:one", max_tokens=77)
    assert isinstance(scorer, EnsembleScorer)
    first, second = scorer.members
    assert isinstance(first, RewardScorer)
    assert first.max_tokens == 77
    assert isinstance(second, FunctionScorer)


def test_members_whose_rewards_are_in_different_units_need_a_scale_each(make_decoder, models, tmp_path):
    heads = {
        "steps": TokenHead(classes=(0.0, 1.0)),
        "rated": AttributesHead(attributes=("help", "safe")),
        "pair": COMPARISON,
    }
    for name, head in heads.items():
        save_reward_model(make_decoder(num_layers=1, head=head), tmp_path / name)
    at = {name: str(tmp_path / name) for name in heads}
    with pytest.raises(ConfigError, match=r"a gives log-odds, .*steps gives probabilities of steps; give every member"):
        open_scorer(f"ensemble:mean:{models['a']},{at['steps']}")
    with pytest.raises(ConfigError, match=r"rated gives ratings, .*b gives log-odds"):
        open_scorer(f"ensemble:minimum:{at['rated']},{models['b']}")
    open_scorer(f"ensemble:mean:{models['a']}@0/1,{at['steps']}@0.5/0.1")
    open_scorer(f"ensemble:mean:{at['steps']},{at['steps']}", aggregation="min")
    with pytest.raises(ConfigError, match=r"pair compares responses and .*a does not"):
        open_scorer(f"ensemble:mean:{models['a']},{at['pair']}")
    with pytest.raises(ConfigError, match="take no scale"):
        open_scorer(f"ensemble:mean:{at['pair']}@0.5/1,{at['pair']}@0.5/1")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ensemble:median:a,b", "the rule is 'median'; it must be mean, minimum, mean-std or mean-0.5std"),
        ("ensemble:mean--1std:a,b", "the rule is 'mean--1std'"),
        ("ensemble:a,b", "the rule is 'a,b'"),
        ("ensemble:mean:a", "the members are 'a'; there must be two or more"),
        ("ensemble:mean:a,,b", "the members are 'a,,b'"),
        ("ensemble:mean:a@1/2,b", "some members have a scale"),
        ("ensemble:mean:a@1/2,b@1/-", "b@1/-: '-' is not a number"),
        ("ensemble:mean:a,dpo:b,c", "dpo:b cannot be a member in a name"),
        ("ensemble:mean:a,ensemble:mean:b,c", "ensemble:mean:b cannot be a member in a name"),
        ("dpo:a,b,c", "the models are 'a,b,c'; they must be POLICY,REFERENCE"),
        ("dpo:", "the models are ''"),
        ("dpo:beta=much:a,b", "beta=much: 'much' is not a number"),
    ],
)
def test_a_name_that_is_not_of_its_form_is_refused_before_anything_is_loaded(name, words):
    with pytest.raises(ConfigError) as found:
        open_scorer(name)
    assert words in str(found.value)


def test_a_scale_without_width_and_a_member_that_is_not_there_are_refused(functions):
    with pytest.raises(ConfigError, match="a std above 0"):
        open_scorer("ensemble:mean:lengths:one@1/0,lengths:ten@1/1")
    with pytest.raises(ModelError, match=r"\./nowhere does not exist"):
        open_scorer("ensemble:mean:lengths:one,./nowhere")
    with pytest.raises(ConfigError, match="gives no rewards to aggregate"):
        open_scorer("dpo:a,b", aggregation="min")


# ------------------------------------------------------------------------------- implicit rewards


def test_implicit_rewards_are_named_by_policy_and_reference(models):
    both = open_scorer(f"dpo:{models['lm']},{models['lm']}")
    assert isinstance(both, ImplicitRewardScorer)
    assert both.score("hi", ["cat", "dog"]) == (0.0, 0.0)
    assert (both.beta, both.per_token) == (0.1, "sum")
    alone = open_scorer(f"dpo-mean:beta=0.05:{models['lm']}", max_tokens=50)
    assert isinstance(alone, ImplicitRewardScorer)
    assert (alone.beta, alone.per_token, alone.reference, alone.max_tokens) == (0.05, "mean", None, 50)
    with pytest.raises(ModelError, match="saved as LlamaForSequenceClassification"):
        open_scorer(f"dpo:{models['lm']},{models['a']}")


# ----------------------------------------------------------------------------------- command line


def run(*arguments):
    found = CliRunner().invoke(app, list(arguments))
    return found.exit_code, found.output


def test_a_run_stands_for_its_model(models, tmp_path):
    assert model_source(str(tmp_path / "a")) == str(tmp_path / "a")
    (tmp_path / "run").mkdir()
    (tmp_path / "a").rename(tmp_path / "run" / "model")
    assert model_source(str(tmp_path / "run")) == str(tmp_path / "run" / "model")


def test_a_model_in_a_python_package_is_no_function(models, tmp_path, monkeypatch):
    (tmp_path / "brought").mkdir()
    (tmp_path / "brought" / "__init__.py").touch()
    (tmp_path / "a").rename(tmp_path / "brought" / "a")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert isinstance(open_scorer("package:brought/a"), RewardScorer)


def test_doctor_takes_a_run(models, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "a").rename(tmp_path / "run" / "model")
    code, words = run("doctor", str(tmp_path / "run"))
    assert code == 0, words


def test_lengths_are_those_of_every_model_in_a_name(models):
    scorer = open_scorer(f"ensemble:mean:{models['a']},{models['b']}", max_length=64, truncation="drop")
    members = scorer.info.settings["members"]
    assert [each["max_length"] for each in members.values()] == [64, 64]


def test_plaudit_score_and_evaluate_take_an_ensemble_and_say_how_sure_it_is(functions, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_groups(tmp_path / "groups.jsonl", [group("longer", "long")])
    name = "ensemble:mean-std:lengths:one,lengths:ten"
    code, words = run("score", name, "groups.jsonl", "-o", "out.jsonl")
    assert code == 0, words
    (row,) = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert row["rewards"] == [6.0, 4.0]
    assert row["uncertainty"] == [27.0, 18.0]
    for rule in ("mean", "minimum"):
        code, words = run("evaluate", f"ensemble:{rule}:lengths:one,lengths:ten", "groups.jsonl")
        assert code == 0, words
    # each rule has a folder of its own
    assert sorted(path.name for path in (tmp_path / "evaluations").iterdir()) == [
        "ensemble-mean-lengths-one-lengths-ten",
        "ensemble-minimum-lengths-one-lengths-ten",
    ]


def test_plaudit_average_writes_a_model_and_does_not_replace_one_unless_told(models, tmp_path):
    out = str(tmp_path / "out")
    code, words = run("average", out, models["a"], models["b"], "--weights", "3,1")
    assert code == 0, words
    assert "the average of 2 models" in words
    first, second, found = (load_reward_model(each)[0].core.score.weight for each in (models["a"], models["b"], out))
    assert (found - (3 * first + second) / 4).abs().max() < 1e-7
    code, words = run("average", out, models["a"], models["b"])
    assert code == 2
    assert "exists; add --overwrite" in words
    assert run("average", out, models["a"], models["b"], "--overwrite")[0] == 0
    code, words = run("average", str(tmp_path / "none"), models["a"], models["b"], "--weights", "1,x")
    assert code == 2
    assert "--weights is '1,x'" in words
    code, words = run("average", str(tmp_path / "none"), models["a"], models["lm"])
    assert code == 2
    assert "the recipes differ in" in words
    assert not (tmp_path / "none").exists()


def test_what_was_begun_with_a_function_is_not_gone_on_with_once_its_code_has_changed(tmp_path, monkeypatch):
    code = "def reward(prompt, responses):\n    if prompt[0].content == 'p 299':\n        {}\n    return [{}] * 2\n"
    (tmp_path / "changing.py").write_text(code.format("raise ValueError('no')", 1.0))
    groups = [Group(conversation(f"p {n}"), ("a", "b"), (Preference(0, 1),), id=str(n)) for n in range(300)]
    write_groups(tmp_path / "groups.jsonl", groups)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    commands = {
        "score": ("score", "changing:reward", "groups.jsonl", "-o", "out.jsonl"),
        "evaluate": ("evaluate", "changing:reward", "groups.jsonl", "-o", "results"),
    }
    sys.modules.pop("changing", None)
    for command in commands.values():
        assert "failed on group '299'" in run(*command)[1]
    begun = {
        path: (tmp_path / path).read_bytes() for path in ("out.jsonl.partial", "results/groups/items.partial.jsonl")
    }
    assert all(begun.values())
    (tmp_path / "changing.py").write_text(code.format("pass  # mended, and changed", 2.0))
    sys.modules.pop("changing", None)
    for command in commands.values():
        code_found, said = run(*command)
        assert (code_found, "was begun by another run: recipe_hash" in said) == (2, True), said
    assert begun == {path: (tmp_path / path).read_bytes() for path in begun}
