"""The Python door: data of every kind, models by name, short reprs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas
import pytest
from datasets import Dataset, DatasetDict

import plaudit
from plaudit.models.checkpoint.files import save_reward_model
from plaudit.scoring.function import FunctionScorer

ROWS = [
    {"prompt": f"Is house {k} red?", "chosen": f"yes, {k} is good", "rejected": f"no, {k} is bad"} for k in range(40)
]


@pytest.fixture
def here(tmp_path, monkeypatch, make_decoder):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    save_reward_model(make_decoder(), tmp_path / "base")
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return tmp_path


def longest(prompt, responses):
    return [len(each) for each in responses]


def kinds(here):
    groups = plaudit.read_groups(here / "pairs.jsonl")
    return {
        "str": str(here / "pairs.jsonl"),
        "path": here / "pairs.jsonl",
        "paths": [here / "pairs.jsonl"],
        "dicts": ROWS,
        "groups": list(groups),
        "group set": groups,
        "frame": pandas.DataFrame(ROWS),
        "dataset": Dataset.from_list(ROWS),
        "generator": iter(ROWS),
    }


KINDS = ["str", "path", "paths", "dicts", "groups", "group set", "frame", "dataset", "generator"]


@pytest.mark.parametrize("kind", KINDS)
def test_data_of_every_kind_is_evaluated_alike(here, kind):
    result = plaudit.evaluate(FunctionScorer(longest), kinds(here)[kind])
    # of "yes, K is good" and "no, K is bad" the longer is the chosen one
    assert result.preference.metrics["accuracy"].value == 1.0
    assert result.n == 40


@pytest.mark.parametrize("kind", ["str", "frame", "dataset"])
def test_data_of_every_kind_is_trained_on_and_leaves_a_run_that_can_be_made_again(here, kind):
    overrides = ("step.max_steps=2", "step.trackers=[]")
    run = plaudit.train(kinds(here)[kind], "base", run_dir="run", overrides=overrides)
    assert json.loads((run / "run.json").read_text())["data"]["train"]["groups"] == 36
    again = plaudit.train(run / "config.yaml", run_dir="again")
    prompt, answers = "Is house 7 red?", ["yes", "no"]
    assert plaudit.load(again).score(prompt, answers) == plaudit.load(str(run)).score(prompt, answers)
    assert plaudit.evaluate(run, here / "pairs.jsonl").model == "run"


def test_a_run_is_never_begun_again_over_another_and_resumed_with_its_own_rows_alone(here):
    plaudit.train(ROWS, "base", run_dir="run", overrides=("step.max_steps=1", "step.trackers=[]"))
    begun = (here / "run/given/train.jsonl").read_bytes()
    with pytest.raises(plaudit.ConfigError, match="run holds a run already; go on with resume=True"):
        plaudit.train(ROWS[:30], "base", run_dir="run")
    with pytest.raises(plaudit.ConfigError, match=r"the data differs from run/given/train\.jsonl"):
        plaudit.train(ROWS[:30], "base", run_dir="run", resume=True)
    assert (here / "run/given/train.jsonl").read_bytes() == begun


def test_cells_of_a_frame_are_read_as_json_has_them(here):
    frame = pandas.DataFrame(ROWS[:4])
    frame["margin"] = [1.5, None, np.float64(0.5), float("nan")]
    frame["prompt"] = [np.array([{"role": "user", "content": text}], dtype=object) for text in frame["prompt"]]
    groups = plaudit.api.groups_of(frame, here / "rows", plaudit.data.reading.options.ReadingOptions())
    assert [group.preferences[0].margin for group in groups] == [1.5, None, 0.5, None]
    assert groups[1].prompt[0].content == "Is house 1 red?"


@pytest.mark.parametrize(
    ("data", "error"),
    [
        ([], "the data holds no rows"),
        ([3], "row 1 of the data is int; it must be a dict or a Group"),
        ({"prompt": "a"}, "the data is dict; it must be a path, a list of dicts or groups, a DataFrame or a Dataset"),
        (
            DatasetDict(train=Dataset.from_list(ROWS)),
            r"is a DatasetDict with the splits train; name one: data\['train'\]",
        ),
        ([{"prompt": "a", "chosen": "b", "rejected": 3}], "rejected is 3"),
    ],
)
def test_data_that_is_none_is_refused_in_one_line(data, error):
    with pytest.raises(plaudit.DataError, match=error):
        plaudit.evaluate(FunctionScorer(longest), data)


def test_training_without_a_model_says_what_to_add():
    with pytest.raises(plaudit.ConfigError, match=r"name the model to train: plaudit\.train"):
        plaudit.train(ROWS)


def test_a_result_shows_itself_shortly_in_html_and_as_a_frame(here):
    result = plaudit.evaluate(FunctionScorer(longest), ROWS, name="pairs", model="longest")
    assert repr(result) == "Result(longest on pairs: 40 items, accuracy 1.000 (0.912–1.000))"
    frame = result.to_frame()
    row = frame[(frame["label"] == "preference") & (frame["metric"] == "accuracy")]
    assert row["value"].tolist() == [1.0, 1.0]
    assert row["baseline"].tolist() == ["", "longer_response"]
    page = result._repr_html_()
    assert page.count("<tr>") == len(frame) + 1
    assert "<td>accuracy</td>" in page


def test_a_scorer_shows_itself_shortly(here):
    assert (
        repr(plaudit.load("base"))
        == "RewardScorer(LlamaForSequenceClassification, scalar head, 128 tokens, shared_prefix)"
    )


def test_rows_in_memory_are_no_files(here):
    for data in (pandas.DataFrame(ROWS), ROWS, None, 5):
        with pytest.raises(plaudit.DataError, match=r"is no path, and only files are read here; plaudit\.train and"):
            plaudit.read_groups(data)
    assert len(plaudit.read_groups(here.glob("pairs.jsonl"))) == len(ROWS)


def test_a_cell_that_json_cannot_hold_is_named(here):
    with pytest.raises(plaudit.DataError, match=r"row 2 of the data cannot be written as JSON: .*object"):
        plaudit.evaluate("base", [ROWS[0], {**ROWS[1], "kept": object()}])


def test_a_report_takes_paths_as_text(here):
    plaudit.evaluate("base", ROWS, output_dir="result")
    assert plaudit.write_report("result", "page.html") == plaudit.write_report(["result"], Path("page.html"))
    assert (here / "page.html").read_text().startswith("<!doctype html>")
