"""A run trains on the labels that say something, counts the groups without, and refuses what it cannot learn from."""

from __future__ import annotations

import contextlib
import dataclasses
import json

import numpy as np
import pytest

from plaudit.batching.batch import build_batch
from plaudit.batching.token_set import encode_to_file
from plaudit.data.reading.write import write_groups
from plaudit.data.schema.group import Preference, Step
from plaudit.errors import ConfigError, DataError
from plaudit.training.config import TrainConfig
from plaudit.training.prepare import carries_labels, label_kind
from plaudit.training.run import train

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def folder(tmp_path):
    with contextlib.chdir(tmp_path):
        yield tmp_path


def config(objective, *, head=None, **step):
    scratch = {"type": "scratch", "hidden_size": 16, "num_layers": 1, "num_heads": 2, "vocabulary": 400}
    sizes = {"groups_per_step": 4, "max_steps": 2, "threads": 1, "log_every": 1, "trackers": []}
    return TrainConfig.model_validate(
        {
            "name": "labels",
            "model": {"init": scratch, "head": head, "max_length": 128},
            "data": {"train": [{"path": "groups.jsonl"}], "held_out_share": 0},
            "objective": objective,
            "step": sizes | step,
        }
    )


def run(folder, groups, *arguments, **options):
    write_groups(folder / "groups.jsonl", groups)
    path = train(config(*arguments, **options), run_dir=folder / "run")
    rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    return rows, json.loads((path / "run.json").read_text())["data"]["train"]


@pytest.fixture
def ranked(make_groups):
    """Three groups of each of: only the best known, all tied, none ranked, a full order."""

    def ranks_of(number, size):
        return [(1, *[None] * (size - 1)), (2,) * size, None, tuple(range(size, 0, -1))][number % 4]

    groups = make_groups(12)
    return [
        dataclasses.replace(group, ranks=ranks_of(number, len(group.responses))) for number, group in enumerate(groups)
    ]


@pytest.mark.parametrize("kind", ["plackett_luce", "top_one"])
def test_only_rankings_that_order_something_are_trained_on_and_the_others_are_counted(folder, ranked, capsys, kind):
    rows, counts = run(folder, ranked, {"type": kind})
    assert counts["without_labels"] == 9
    assert rows[0]["train/rm/loss"] > 0.5
    assert "train: 9 groups without a ranking that orders something" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["plackett_luce", "top_one"])
def test_a_best_response_before_unranked_ones_is_a_ranking_where_these_stand_last(folder, ranked, kind):
    assert run(folder, ranked, {"type": kind, "partial": "top"})[1]["without_labels"] == 6


@pytest.mark.parametrize(
    "objective",
    [
        {"type": "plackett_luce"},
        {"type": "plackett_luce", "partial": "top"},
        {"type": "bradley_terry", "strength": "scaled"},
        {"type": "bradley_terry"},
        {"type": "outcome"},
    ],
)
def test_a_group_carries_labels_exactly_where_its_items_have_weight(tmp_path, make_decoder, ranked, objective):
    margins = (None, 0.0, 1.5)
    groups = [
        dataclasses.replace(
            group,
            preferences=(Preference(0, 1, margin=margins[number % 3]),),
            outcomes=None if number % 5 else (None, *[True] * (len(group.responses) - 1)),
        )
        for number, group in enumerate(ranked)
    ]
    model, chosen = make_decoder(), config(objective).objective
    tokens = encode_to_file(groups, model.recipe.encoder(model.tokenizer), tmp_path / "tokens.arrow")
    weighs = [float(chosen.weights(build_batch([each], layout="padded", pad_id=0).labels).sum()) > 0 for each in tokens]
    assert carries_labels(tokens, chosen).tolist() == weighs
    assert any(weighs)


def test_preferences_without_a_strength_are_counted_and_alone_refused(folder, make_groups):
    def with_margin(group, number):
        margin = (None, 0.0, 2.0)[number % 3]
        return dataclasses.replace(group, preferences=(Preference(0, 1, margin=margin),))

    groups = [with_margin(group, number) for number, group in enumerate(make_groups(9))]
    _, counts = run(folder, groups, {"strength": "scaled"})
    assert (counts["labels"], counts["without_labels"]) == ("strengths", 6)
    assert counts["preferences_without_margin"] == 3
    assert label_kind(config({}).objective) == "preferences"
    write_groups(folder / "groups.jsonl", groups[:2])
    with pytest.raises(DataError, match="no training group carries a preference with a margin other than 0"):
        train(config({"strength": "scaled"}), run_dir=folder / "other")


def test_margins_that_are_asked_for_must_be_there(folder, make_groups):
    with pytest.raises(DataError, match="use_margin is true, but no preference of the training data has a margin"):
        run(folder, make_groups(4), {"use_margin": True})


def test_labels_that_cannot_be_learnt_from_are_refused_before_the_first_step(folder, make_groups):
    def labelled(group, number):
        steps = tuple((Step(len(response), -1.0 if number == 7 else 1.0),) for response in group.responses)
        margin = -0.5 if number == 7 else 1.0
        return dataclasses.replace(group, steps=steps, preferences=(Preference(0, 1, margin=margin),))

    groups = [labelled(group, number) for number, group in enumerate(make_groups(8))]
    with pytest.raises(DataError, match="a step has the label -1, outside the classes 0, 1"):
        run(folder, groups, {"type": "process"})
    with pytest.raises(DataError, match=r"margin -0\.5; objective\.strength: scaled reads margins as strengths"):
        train(config({"strength": "scaled"}), run_dir=folder / "other")
    assert not (folder / "run" / "metrics.jsonl").exists()
    assert not (folder / "other" / "metrics.jsonl").exists()


def test_evaluation_during_training_needs_held_out_groups(folder, make_groups):
    with pytest.raises(ConfigError, match="evaluate_every is 1, but no group is held out to evaluate on"):
        run(folder, make_groups(4), {}, evaluate_every=1)


def test_a_step_that_responses_share_is_one_item_and_its_error_ends_all_of_them(folder, make_groups):
    (group,) = make_groups(1)
    texts = ("the cat\na dog\none", "the cat\na dog\ntwo", "the cat\nthe house")
    steps = tuple(
        tuple(Step(end, label) for end, label in zip(ends, labels, strict=True))
        for ends, labels in (((7, 13, 17), (1, 0, 1)), ((7, 13, 17), (1, 0, 0)), ((7, 17), (1, 0)))
    )
    shared = dataclasses.replace(group, responses=texts, preferences=(), steps=steps)
    rows, _ = run(folder, [shared], {"type": "process"}, max_steps=1)
    # right, wrong, then one each of the three responses: 1, 0, 0
    assert rows[0]["train/rm/step_labels"] == pytest.approx(2 / 5)
    write_groups(folder / "groups.jsonl", [shared])
    path = train(config({"type": "process", "until_first_error": True}, max_steps=1), run_dir=folder / "until")
    (row, *_) = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    # the steps behind the shared error are left out of both of its responses
    assert row["train/rm/step_labels"] == pytest.approx(1 / 3)
    assert np.isfinite(row["train/rm/loss"])
