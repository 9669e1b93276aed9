"""A pairwise preference model is trained by the same loop, from preferences, through its own text."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from plaudit.batching.comparison import NO_COMPARISON, NO_PREFERENCE, RESPONSE_TAG
from plaudit.cli.train import finish
from plaudit.config import load_config
from plaudit.data.reading.write import write_groups
from plaudit.data.schema.group import Group, Preference, conversation
from plaudit.errors import ConfigError, DataError
from plaudit.models.heads.language_model import COMPARISON
from plaudit.opening import load
from plaudit.scoring.local.pairwise import PairwiseScorer
from plaudit.training.config import TrainConfig
from plaudit.training.prepare import label_kind, trained_head
from plaudit.training.run import train

pytestmark = pytest.mark.filterwarnings("ignore")
CONFIG = """
name: pairs
model:
  init: {type: scratch, hidden_size: 16, num_layers: 1, num_heads: 2, vocabulary: 400}
  head: {type: comparison}
  max_length: 256
data: {train: [{path: pairs.jsonl}], held_out_share: 0.2}
objective: {type: process, over: vocabulary}
optim: {lr: 1e-2}
step: {groups_per_step: 8, max_steps: 3, threads: 1, log_every: 1, trackers: []}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory, make_groups):
    path = tmp_path_factory.mktemp("runs")
    tagged = Group(conversation("hi"), ("yes", "[RESPONSE A]"), (Preference(0, 1),), id="tagged")
    unlabelled = Group(conversation("hi there"), ("yes", "no"), id="unlabelled")
    write_groups(path / "pairs.jsonl", make_groups(30))
    write_groups(path / "odd.jsonl", [*make_groups(6, responses=(3, 3)), tagged, unlabelled])
    (path / "config.yaml").write_text(CONFIG)
    with contextlib.chdir(path):
        yield path


def config(*overrides):
    return load_config(TrainConfig, Path("config.yaml"), overrides)


@pytest.fixture
def run(folder, request):
    return folder / request.node.name.translate(str.maketrans("[]", "--"))


def metrics(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


# ---------------------------------------------------------------------------------------------- config


def test_the_head_answers_with_two_words_of_which_the_last_says_that_the_first_is_better(folder):
    assert trained_head(config()) == COMPARISON
    other = trained_head(config("model.head.words=[yes, no]", "model.head.mode=linear"))
    assert (other.class_words, other.comparison_mode) == (("no", "yes"), "linear")
    assert label_kind(config().objective, "comparison") == "preferences"
    assert label_kind(config().objective) == "steps"


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("objective={type: bradley_terry}", r"leave model\.head out or set objective to \{type: process\}"),
        ("objective={type: token_outcome}", "the objective has no classes of steps"),
        ("objective={type: process, classes: [-1, 0, 1]}", "the objective has the classes -1, 0, 1"),
    ],
)
def test_another_objective_is_refused_with_the_one_that_fits(folder, override, words):
    with pytest.raises(ConfigError, match=words):
        trained_head(config(override))


def test_a_misspelt_order_or_mode_is_refused(folder):
    with pytest.raises(ConfigError, match=r"model\.head.*orders"):
        config("model.head.orders=random")
    with pytest.raises(ConfigError, match=r"model\.head.*mode"):
        config("model.head.mode=pivot")


# ------------------------------------------------------------------------------------------------ runs


def test_a_run_makes_a_causal_model_that_loads_as_a_pairwise_scorer(folder, run, make_groups):
    train(config(), run_dir=run)
    scorer = load(run)
    assert isinstance(scorer, PairwiseScorer)
    theirs = AutoModelForCausalLM.from_pretrained(run / "model")
    for name, weight in theirs.state_dict().items():
        assert torch.equal(weight, scorer.model.network.state_dict()[name])
    assert scorer.model.recipe.class_tokens == tuple(scorer.model.tokenizer.convert_tokens_to_ids(["B", "A"]))
    first = metrics(run)[0]
    # log-probability over the vocabulary, before anything is learned: about log 400
    assert first["train/rm/loss"] == pytest.approx(np.log(400), rel=0.05)
    assert {"train/rm/step_accuracy", "train/rm/step_rewards"} <= set(first)


def test_both_orders_are_two_comparisons_of_one_preference(folder, run):
    counts = {}
    for orders in ("drawn", "both"):
        train(config(f"model.head.orders={orders}", "step.max_steps=1"), run_dir=run / orders)
        counts[orders] = json.loads((run / orders / "run.json").read_text())["data"]["train"]
    assert counts["drawn"]["preferences"] == counts["both"]["preferences"] > 0
    assert counts["both"]["tokens_separate"] > 1.9 * counts["drawn"]["tokens_separate"]
    assert {each["labels"] for each in counts.values()} == {"preferences"}
    shares = [each["tokens_shared"] / each["tokens_separate"] for each in counts.values()]
    assert shares[1] < shares[0] < 1


def test_what_cannot_be_compared_is_counted_in_the_record(folder, run):
    train(config("data.train=[{path: odd.jsonl}]", "data.held_out=[{path: pairs.jsonl}]"), run_dir=run)
    counts = json.loads((run / "run.json").read_text())["data"]["train"]
    assert (counts["groups"], counts["preferences"], counts["without_labels"]) == (6, 12, 0)
    assert counts["encoded"]["dropped"] == {NO_COMPARISON: 1, NO_PREFERENCE: 1}
    assert counts["encoded"]["changed"] == {RESPONSE_TAG: 1}


def test_data_without_any_preference_is_an_error(folder, run):
    write_groups(folder / "none.jsonl", [Group(conversation(f"hi {k}"), ("yes", "no"), id=f"u{k}") for k in range(9)])
    with pytest.raises(DataError, match=r"no training group carries a preference.*7 groups without a preference"):
        train(config("data.train=[{path: none.jsonl}]"), run_dir=run)


def test_a_step_does_not_depend_on_the_layout_or_on_memory(folder, run):
    losses = []
    for layout, limit in (("shared_prefix", 10**6), ("padded", 200)):
        train(config(f"model.layout={layout}", f"step.max_tokens={limit}", "optim.epsilon=1e-4"), run_dir=run / layout)
        losses.append([row["train/rm/loss"] for row in metrics(run / layout) if "train/rm/loss" in row])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_the_drawn_orders_are_those_of_the_seed(folder, run):
    # one step holds all groups, so that the order of the groups plays no part in its mean label
    shares = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(config(f"step.seed={seed}", "step.max_steps=1", "step.groups_per_step=64"), run_dir=run / name)
        shares.append(metrics(run / name)[0]["train/rm/step_labels"])
    assert shares[0] == shares[1]
    assert abs(shares[0] - shares[2]) > 1e-3
    assert all(0.2 < share < 0.8 for share in shares)


def test_training_lowers_the_loss_and_the_command_finishes_the_run(folder, run, capsys):
    trained = config("step.max_steps=40", "data.held_out=[{path: pairs.jsonl}]")
    train(trained, run_dir=run)
    rows = metrics(run)
    # the letters are known to be letters soon: what is left is which of the two
    assert rows[-1]["eval/rm/loss"] < 0.25 * rows[0]["train/rm/loss"]
    finish(trained, run)
    assert "accuracy" in capsys.readouterr().out
    assert (run / "report.html").exists()
