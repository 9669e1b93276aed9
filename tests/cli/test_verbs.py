"""What the verbs do with their arguments, before any model is loaded."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from inspect import signature
from pathlib import Path
from typing import get_args

import pytest
from typer.testing import CliRunner

from plaudit.cli.console import print_result
from plaudit.cli.evaluate import evaluate
from plaudit.cli.main import app
from plaudit.cli.score import parse_shard
from plaudit.cli.targets import slug
from plaudit.cli.train import choose_run_dir
from plaudit.config import load_config
from plaudit.data.audit.contents import Contents, labels_of
from plaudit.data.schema.group import Group, Message, Preference, Step
from plaudit.errors import ConfigError
from plaudit.evaluation.metrics.preference import DEFAULT_TIE_RULE, TieRule
from plaudit.records import Interval, LabelCounts, Measure, Result
from plaudit.training.config import TrainConfig

NOON = datetime(2026, 3, 4, 12, 0, 5, tzinfo=UTC)

BOTH = "both must be strings or lists of messages"


def group(*responses: str, **labels) -> Group:
    return Group((Message("user", "Hi"),), responses, **labels)


def write_rows(path: Path, *rows: dict[str, object]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def test_a_run_goes_where_it_is_told_or_under_its_name_and_time(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert choose_run_dir("small", Path("here"), resume=True, now=NOON) == Path("here")
    assert choose_run_dir("small", None, resume=False, now=NOON) == Path("runs/small-20260304-120005")


def test_resuming_without_a_folder_names_the_latest_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"--resume needs --run-dir; no run small-\* is in runs/"):
        choose_run_dir("small", None, resume=True, now=NOON)
    for name in ("small-20260301-000000", "small-20260302-000000", "small-er-20260303-000000"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    with pytest.raises(ConfigError, match="the latest run of this name is runs/small-20260302-000000"):
        choose_run_dir("small", None, resume=True, now=NOON)


def test_several_processes_must_be_given_one_folder(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="give --run-dir"):
        choose_run_dir("small", None, resume=False, now=NOON)


def test_a_shard_is_a_part_of_a_whole():
    assert parse_shard("0/1") == (0, 1)
    assert parse_shard("3/4") == (3, 4)
    for text in ("4/4", "1", "-1/4", "0/0", "a/b"):
        with pytest.raises(ConfigError, match="--shard is"):
            parse_shard(text)


def test_the_aggregation_reaches_the_scorer_and_must_be_a_known_one(tmp_path, monkeypatch):
    path = write_rows(tmp_path / "groups.jsonl", {"prompt": "Hi", "responses": ["a", "b"]})
    (tmp_path / "lengths.py").write_text("def reward(prompt, responses):\n    return [len(r) for r in responses]\n")
    monkeypatch.chdir(tmp_path)
    command = ["score", "lengths:reward", path, "-o", "out.jsonl", "--aggregation"]
    refused = CliRunner().invoke(app, [*command, "product"])
    assert refused.exit_code != 0
    assert "aggregation is product, but lengths:reward gives no rewards to aggregate" in refused.output
    unknown = CliRunner().invoke(app, [*command, "median"])
    assert "'log_odds'" in unknown.output


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("runs/small/model", "small-model"),
        ("org/reward-1.5b", "org-reward-1.5b"),
        ("package.module:function", "package.module-function"),
        ("../x/", "x"),
        ("/", "model"),
    ],
)
def test_a_model_name_becomes_the_name_of_a_folder(model, expected):
    assert slug(model) == expected


def test_the_tie_rules_offered_are_those_of_the_evaluation():
    offered = signature(evaluate).parameters["tie_rule"]
    assert get_args(get_args(offered.annotation)[0]) == get_args(TieRule)
    assert offered.default == DEFAULT_TIE_RULE


def test_two_files_of_one_name_are_refused_before_anything_is_loaded(tmp_path):
    shown = CliRunner().invoke(app, ["evaluate", "model", "a/pairs.jsonl", "b/pairs.jsonl"])
    assert shown.exit_code == 2
    assert "two of the files have the same name" in shown.stderr


def test_a_result_is_printed_with_its_intervals_baselines_and_counts(capsys):
    def interval(value: float, n: int) -> Interval:
        return Interval(value=value, low=value - 0.05, high=value + 0.05, method="wilson", n=n)

    result = Result(
        name="pairs",
        model="m",
        tie_rule="half",
        n=110,
        scored=100,
        unscored=7,
        failed=3,
        measures=(
            Measure(
                kind="preference",
                primary="accuracy",
                counts=LabelCounts(n=103, scored=100, unscored=0, failed=3),
                details={"ties": 2},
                metrics={"accuracy": interval(0.75, 100)},
                baselines={"accuracy": {"longer_response": interval(0.6, 100)}},
                slices={"web": {"accuracy": interval(0.8, 40)}},
            ),
        ),
    )
    print_result(result, everything=True)
    shown = capsys.readouterr().out
    assert shown.startswith("In 75.0% of 100 pairs, the model gives the preferred response the higher reward")
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown.splitlines() if line.startswith("│")]
    assert rows == [
        ["metric", "accuracy", "0.750", "0.700 – 0.800", "100"],
        ["baseline", "longer_response", "0.600", "0.550 – 0.650", "100"],
        ["source", "web", "0.800", "0.750 – 0.850", "40"],
    ]
    assert "110 items: 100 scored, 7 without a label, 3 failed; 2 exact ties, each counted as half" in shown


def test_each_kind_of_label_is_named():
    assert labels_of(group("a", "b")) == []
    assert labels_of(group("a", "b", ranks=(None, None), outcomes=(None, None), steps=(None, ()))) == []
    full = group(
        "a",
        "b",
        preferences=(Preference(0, 1, margin=2.0), Preference(1, 0, probability=0.4)),
        ranks=(1, 2),
        ratings={"clarity": (1.0, None), "depth": (None, None)},
        outcomes=(True, None),
        steps=((Step(1, None),), None),
    )
    assert labels_of(full) == [
        "preferences",
        "preferences with a margin",
        "preferences with a probability",
        "ranks",
        "outcomes",
        "steps",
        "rating clarity",
    ]


def test_contents_count_each_group_once_for_each_label_it_has():
    found = Contents.of(
        [
            group("a", "b", preferences=(Preference(0, 1),), source="web"),
            group("a", "b", "c", ranks=(1, 2, 3), source="web"),
            group("a"),
        ]
    )
    assert found.labels == {"preferences": 1, "ranks": 1, "no label": 1}
    assert {name: source.groups for name, source in found.sources.items()} == {"web": 2, "(none)": 1}
    assert found.sizes == {1: 1, 2: 1, 3: 1}


def test_data_show_counts_groups_and_names_what_was_left_out(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    path = write_rows(
        tmp_path / "pairs.jsonl",
        {"prompt": "Hi", "chosen": "Hello!", "rejected": "No."},
        {"prompt": "Hi", "chosen": "Same", "rejected": "Same"},
        {"prompt": "Hi", "chosen": "Good day.", "rejected": 3},
    )
    shown = CliRunner().invoke(app, ["data", "show", path])
    assert shown.exit_code == 0
    assert "rows     3\n  groups   1" in shown.output
    assert f"{path}:2: chosen equals rejected" in shown.output
    assert f"{path}:3: chosen is a string and rejected is 3; {BOTH}" in shown.output
    assert "│ preferences │      1 │" in shown.output
    strict = CliRunner().invoke(app, ["data", "show", path, "--on-error", "raise"])
    assert strict.exit_code == 2
    assert strict.stderr == f"error: {path}:3: chosen is a string and rejected is 3; {BOTH}\n"


def test_data_show_names_a_file_that_is_not_there():
    shown = CliRunner().invoke(app, ["data", "show", "no_such.jsonl"])
    assert shown.exit_code == 2
    assert "no_such.jsonl" in shown.stderr


def test_data_show_reads_the_files_of_a_config_as_it_says(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    path = write_rows(
        tmp_path / "pairs.jsonl",
        {"prompt": "Hi", "chosen": "Hello!", "rejected": "No."},
        {"prompt": "Hi", "chosen": "Good day.", "rejected": "Go."},
    )
    config = tmp_path / "config.yaml"
    config.write_text(
        "name: small\nmodel: {init: {type: scratch}}\n"
        f"data: {{train: [{{path: {path}, limit: 1, source: mine}}]}}\n"
    )
    shown = CliRunner().invoke(app, ["data", "show", str(config)])
    assert shown.exit_code == 0, shown.output
    assert "data.train\n" in shown.output
    assert "groups   1" in shown.output
    assert "│ mine   │ 1      │ 1     │" in shown.output
    assert "held out: 10% of the prompts of data.train" in shown.output


def test_a_dry_run_prints_a_config_that_loads_again_and_trains_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = tmp_path / "config.yaml"
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path.parent / "cache"))
    write_rows(tmp_path / "a.jsonl", *({"prompt": f"Hi {k}", "chosen": "Hello!", "rejected": "No."} for k in range(30)))
    config.write_text("name: small\nmodel: {init: {type: scratch}}\ndata: {train: [{path: a.jsonl}]}\n")
    shown = CliRunner().invoke(app, ["train", "config.yaml", "optim.lr=3e-6", "model.lora.rank=8", "--dry-run"])
    assert shown.exit_code == 0, shown.output
    (tmp_path / "again.yaml").write_text(shown.stdout)
    assert load_config(TrainConfig, tmp_path / "again.yaml") == load_config(
        TrainConfig, config, ["optim.lr=3e-6", "model.lora.rank=8"]
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl", "again.yaml", "config.yaml"]


def test_a_misspelt_override_of_a_run_is_one_line(tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text("name: small\nmodel: {init: {type: scratch}}\ndata: {train: [{path: a.jsonl}]}\n")
    shown = CliRunner().invoke(app, ["train", str(config), "model.init.hiden_size=64", "--dry-run"])
    assert shown.exit_code == 2
    assert shown.stderr == (
        "error: override 'model.init.hiden_size=64': model.init.hiden_size: unknown key; did you mean 'hidden_size'?\n"
    )


@pytest.fixture
def scored_folder(tmp_path, monkeypatch) -> Path:
    """A working directory with three pairs and a function that rewards length."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "lengths_of_this_test.py").write_text(
        "def reward(prompt, responses):\n    return [len(response) for response in responses]\n"
    )
    write_rows(
        tmp_path / "pairs.jsonl",
        {"prompt": "One", "chosen": "longer", "rejected": "short"},
        {"prompt": "Two", "chosen": "no", "rejected": "a longer one"},
        {"prompt": "Three", "chosen": "same", "rejected": "four"},
        {"prompt": "Four", "chosen": 4, "rejected": "five"},
    )
    return tmp_path


def test_score_writes_one_line_for_each_group_and_says_what_it_left_out(scored_folder):
    command = ["score", "lengths_of_this_test:reward", "pairs.jsonl", "-o", "out.jsonl"]
    strict = CliRunner().invoke(app, command)
    assert strict.exit_code == 2
    assert strict.stderr == f"error: pairs.jsonl:4: chosen is 4 and rejected is a string; {BOTH}\n"
    shown = CliRunner().invoke(app, [*command, "--on-error", "skip"])
    assert shown.exit_code == 0, shown.output
    assert shown.stdout == ("wrote out.jsonl: 3 groups, 3 scored\nrows left out: 1 malformed chosen\n")
    lines = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    assert [line["rewards"] for line in lines] == [[6, 5], [2, 12], [4, 4]]
    again = CliRunner().invoke(app, [*command, "--on-error", "skip"])
    assert again.exit_code == 2
    assert "add --overwrite" in again.stderr


def test_the_shards_of_a_file_are_the_whole_file(scored_folder):
    for part in ("0/2", "1/2"):
        command = ["score", "lengths_of_this_test:reward", "pairs.jsonl", "--on-error", "skip"]
        shown = CliRunner().invoke(app, [*command, "--shard", part, "-o", f"{part[0]}.jsonl"])
        assert shown.exit_code == 0, shown.output
    lines = [json.loads(line) for name in ("0", "1") for line in Path(f"{name}.jsonl").read_text().splitlines()]
    assert [line["rewards"] for line in lines] == [[6, 5], [2, 12], [4, 4]]


@pytest.mark.parametrize(("rule", "accuracy"), [("loss", 1 / 3), ("half", 1.5 / 3)])
def test_evaluate_counts_a_right_a_wrong_and_a_tied_pair(scored_folder, rule, accuracy):
    shown = CliRunner().invoke(
        app,
        ["evaluate", "lengths_of_this_test:reward", "pairs.jsonl", "--on-error", "skip", "--tie-rule", rule],
    )
    assert shown.exit_code == 0, shown.output
    assert "pairs.jsonl: left out 1 malformed chosen" in shown.stderr
    assert "3 items: 3 scored" in shown.stdout
    assert f"1 exact ties, each counted as {rule}" in shown.stdout
    (written,) = Path("evaluations").glob("*/pairs/result.json")
    result = Result.model_validate_json(written.read_text())
    assert result.preference.metrics["accuracy"].value == pytest.approx(accuracy)
    assert (result.model, result.tie_rule, result.preference.details["ties"]) == (
        "lengths_of_this_test:reward",
        rule,
        1,
    )


def test_a_model_that_is_not_there_is_one_line(scored_folder):
    shown = CliRunner().invoke(app, ["score", "no_such_module:reward", "pairs.jsonl", "-o", "x", "--on-error", "skip"])
    assert shown.exit_code == 2
    assert shown.stderr.startswith("error: no function 'no_such_module:reward'")


def test_every_kind_of_label_is_printed_with_baselines_reasons_and_counts(capsys):
    half = Interval(value=0.5, low=0.4, high=0.6, method="wilson", n=20)
    measure = Measure(
        kind="rating",
        attribute="clarity",
        primary="spearman",
        counts=LabelCounts(n=12, scored=9, unscored=1, failed=2),
        details={"responses": 20, "unrated_responses": 0},
        rules={"number": "the model's output 'clarity'"},
        metrics={"spearman": half},
        baselines={"spearman": {"length": half}},
        absent={"rmse": "no units"},
        slices={"web": {"spearman": half}},
    )
    result = Result(name="d", model="m", tie_rule="loss", n=12, scored=9, unscored=1, failed=2)
    print_result(result.model_copy(update={"measures": (measure,)}), everything=True)
    shown = capsys.readouterr().out
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown.splitlines() if line.startswith("│")]
    assert rows == [
        ["metric", "spearman", "0.500", "0.400 – 0.600", "20"],
        ["baseline", "length", "0.500", "0.400 – 0.600", "20"],
        ["source", "web", "0.500", "0.400 – 0.600", "20"],
    ]
    assert "d: rating clarity" in shown
    assert "no rmse: no units" in shown
    assert "number: the model's output 'clarity'" in shown
    assert "12 groups: 9 scored, 1 that say nothing, 2 failed\nresponses 20\n" in shown
    assert shown.endswith("12 items: 9 scored, 1 without a label, 2 failed\n")


def test_a_file_of_solutions_is_evaluated_by_problem_from_the_command_line(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shortest_first.py").write_text(
        "def reward(prompt, responses):\n    return [-len(text) for text in responses]\n"
    )
    rows = [
        {"prompt": f"Q{k}", "response": text, "label": label, "id": f"{k}-{text}"}
        for k in range(3)
        for text, label in (("answer: 1!", True), ("answer: 2", k == 0), ("answer: 1 or 1", True))
    ]
    path = write_rows(tmp_path / "solutions.jsonl", *rows)
    arguments = ["evaluate", "shortest_first:reward", path, "-o", "out", "--group-by-prompt"]
    shown = CliRunner().invoke(app, [*arguments, "--answer-pattern", "answer: (.)"])
    assert shown.exit_code == 0, shown.output
    result = Result.model_validate_json((tmp_path / "out" / "solutions" / "result.json").read_text())
    (measure,) = result.measures
    assert result.n == 3
    assert measure.metrics["best_of_k"].value == pytest.approx(1 / 3)
    assert measure.baselines["best_of_k"]["majority_vote"].value == 1.0
    assert "best_of_k" in shown.output
