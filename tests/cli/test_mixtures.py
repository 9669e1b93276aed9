"""`plaudit data show` and `build` on mixtures, and training on one."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from plaudit.cli.main import app
from plaudit.config import load_config
from plaudit.data.reading.read import read_groups
from plaudit.errors import ConfigError
from plaudit.training.config import TrainConfig
from plaudit.training.run import train

MIXTURE = """
name: small
parts:
  - name: rated
    files: [{{path: {folder}/rated.jsonl}}]
    rules: [{{type: pairs, by: score}}]
    expected: 61
  - name: pairs
    files: [{{path: {folder}/pairs.jsonl}}]
split: {{type: prompts, share: 0.2}}
"""
TRAINING = """
name: mixed
model: {{init: {{type: scratch, hidden_size: 16, num_layers: 1, num_heads: 2, vocabulary: 320}}}}
data: {{mixture: {folder}/mixture.yaml}}
step: {{groups_per_step: 8, max_steps: 2, trackers: [], threads: 1}}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    rated = [
        {"prompt": f"question {n}", "responses": ["good", "bad", "so so"], "ratings": {"score": [3, 1, 1]}}
        for n in range(30)
    ]
    pairs = [{"prompt": f"other {n}", "chosen": "yes", "rejected": "no"} for n in range(20)]
    for name, rows in (("rated", rated), ("pairs", pairs)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "mixture.yaml").write_text(MIXTURE.format(folder=tmp_path))
    (tmp_path / "train.yaml").write_text(TRAINING.format(folder=tmp_path))
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_mixture_is_shown_as_a_tree_with_what_was_expected(folder):
    shown = run("data", "show", folder / "mixture.yaml")
    assert shown.exit_code == 0, shown.output
    assert "rated: 30 groups, 60 pairs  (expected 61, -1)" in shown.output
    assert "− 30 pairs: equal ratings" in shown.output
    assert "read from the cache" not in shown.output
    again = run("data", "show", folder / "mixture.yaml", "name=other")
    assert "other: 50 groups, 80 pairs" in again.output
    assert "read from the cache" in again.output


def test_a_training_config_shows_its_mixture(folder):
    shown = run("data", "show", folder / "train.yaml")
    assert shown.exit_code == 0, shown.output
    assert "small: 50 groups, 80 pairs" in shown.output


def test_a_built_mixture_lies_in_files_with_its_counts_and_its_config(folder):
    built = run("data", "build", folder / "mixture.yaml", "-o", folder / "built")
    assert built.exit_code == 0, built.output
    record = json.loads((folder / "built" / "mixture.json").read_text())
    sets = {split["name"]: split for split in record["splits"]}
    for name in ("train", "held_out"):
        groups = read_groups(folder / "built" / f"{name}.jsonl", format="groups", cache_dir=folder / "cache")
        assert (len(groups), groups.fingerprint) == (sets[name]["groups"], sets[name]["fingerprint"])
    again = run("data", "build", folder / "built" / "config.yaml", "-o", folder / "built")
    assert again.exit_code == 0, again.output
    assert json.loads((folder / "built" / "mixture.json").read_text()) == record


def test_a_folder_with_other_files_is_left_alone(folder):
    (folder / "mine").mkdir()
    (folder / "mine" / "notes.txt").write_text("keep me")
    refused = run("data", "build", folder / "mixture.yaml", "-o", folder / "mine")
    assert refused.exit_code == 2
    assert "mine holds other files and no mixture; name another folder" in refused.output
    assert [path.name for path in (folder / "mine").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("parts.0.rules.0.by=scor", "no group passed its rules; 30 groups: pairs by=scor: no rating scor"),
        ("parts.0.rules.0.choose=best", "best_vs_random"),
        ("parts.0.rules.0.type=pair", "did you mean 'pairs'"),
        ("parts.1.name=rated", "two parts are named 'rated'"),
        ("split.share=1.5", "less than 1"),
        ("parts.0.files.0.path=nothing.jsonl", "nothing.jsonl"),
    ],
)
def test_a_wrong_mixture_is_an_error_of_one_line(folder, change, message):
    refused = run("data", "show", folder / "mixture.yaml", change)
    assert refused.exit_code == 2
    assert message in refused.output
    assert "Traceback" not in refused.output


def test_training_on_a_mixture_records_its_fingerprint_and_holds_out_what_it_sets_apart(folder):
    finished = train(load_config(TrainConfig, folder / "train.yaml"), run_dir=folder / "run")
    record = json.loads((finished / "run.json").read_text())
    shown = run("data", "show", folder / "mixture.yaml", "seed=0")
    fingerprint = record["data"]["train"]["read"]["mixture"]
    assert fingerprint in shown.output.replace("\n", "")
    assert record["data"]["held_out"]["read"]["mixture"] == fingerprint
    assert record["data"]["train"]["groups"] + record["data"]["held_out"]["groups"] == 50
    held_out = read_groups(finished / "data" / "held_out.jsonl", format="groups", cache_dir=folder / "cache")
    assert len(held_out) == record["data"]["held_out"]["groups"] > 0


def test_a_training_config_takes_files_or_a_mixture(folder):
    for changes in (["data.mixture=null"], ["data.train=[{path: a.jsonl}]"]):
        with pytest.raises(ConfigError, match="give either train, the files to train on, or mixture"):
            load_config(TrainConfig, folder / "train.yaml", changes)


def test_a_mixture_is_known_by_its_keys_however_they_are_written(folder):
    (folder / "flow.yaml").write_text(f"{{name: flow, parts: [{{name: p, files: [{{path: {folder}/pairs.jsonl}}]}}]}}")
    shown = run("data", "show", folder / "flow.yaml")
    assert shown.exit_code == 0, shown.output
    assert "flow: 20 groups, 20 pairs" in shown.output
    (folder / "misspelt.yaml").write_text("name: m\npart:\n  - {name: p}\n")
    refused = run("data", "show", folder / "misspelt.yaml")
    assert refused.exit_code == 2
    assert "part: unknown key; did you mean 'parts'?" in refused.output


def test_changes_without_a_config_are_refused(folder):
    for names in (["seed=1"], [folder / "pairs.jsonl", "seed=1"]):
        refused = run("data", "show", *names)
        assert refused.exit_code == 2
        assert "seed=1: no such file, and no config is given that it could change" in refused.output


def test_sets_of_an_earlier_building_do_not_stay_beside_the_new_ones(folder):
    built = folder / "built"
    run("data", "build", folder / "mixture.yaml", "-o", built)
    assert run("data", "build", folder / "mixture.yaml", "split=null", "-o", built, "--compressed").exit_code == 0
    assert sorted(path.name for path in built.iterdir()) == ["config.yaml", "mixture.json", "train.jsonl.gz"]


def test_a_building_that_was_interrupted_is_done_again_by_the_same_command(folder, monkeypatch):
    from plaudit.data.reading import write

    whole = write.write_groups

    def interrupted(path, groups):
        if path.name.endswith("held_out.jsonl"):
            raise KeyboardInterrupt
        return whole(path, groups)

    monkeypatch.setattr(write, "write_groups", interrupted)
    stopped = run("data", "build", folder / "mixture.yaml", "-o", folder / "built")
    assert stopped.exit_code == 130
    assert "the same command writes it anew" in stopped.output
    monkeypatch.setattr(write, "write_groups", whole)
    again = run("data", "build", folder / "mixture.yaml", "-o", folder / "built")
    assert again.exit_code == 0, again.output
    names = ["config.yaml", "held_out.jsonl", "mixture.json", "train.jsonl"]
    assert sorted(path.name for path in (folder / "built").iterdir()) == names


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.write_text("x"), "is a file; name a folder"),
        (lambda path: (path.mkdir(), (path / "mixture.json").write_text("[]")), "is no record of a mixture"),
    ],
)
def test_an_output_that_is_no_mixture_is_left_alone(folder, make, message):
    make(folder / "mine")
    refused = run("data", "build", folder / "mixture.yaml", "-o", folder / "mine")
    assert refused.exit_code == 2
    assert message in refused.output


def test_a_name_that_no_group_has_is_named_in_the_tree_and_in_the_error(folder):
    rule = "parts.0.rules=[{type: mean_rating, of: [score, scor], missing: ignored}]"
    assert "no group has scor, but: score" in run("data", "show", folder / "mixture.yaml", rule).output
    rule = "parts.0.rules=[{type: keep, without_sources: [nothing]}]"
    assert "no group has nothing, but: rated" in run("data", "show", folder / "mixture.yaml", rule).output
    refused = run("data", "show", folder / "mixture.yaml", "parts.0.rules.0.by=scor")
    assert "no group has scor, but: score" in refused.output.replace("\n", " ")


def test_rows_that_a_file_leaves_out_are_named_where_its_part_is_empty(folder):
    refused = run("data", "show", folder / "mixture.yaml", "parts.1.files.0.where={chosen: never}")
    assert refused.exit_code == 2
    assert "no group passed its rules; 20 rows: chosen is not 'never'" in refused.output


def test_a_part_that_the_rules_of_all_parts_take_away_is_shown(folder):
    shown = run("data", "show", folder / "mixture.yaml", "rules=[{type: keep, sources: [rated]}]")
    assert "pairs: 0 → 0 groups" in shown.output


@pytest.mark.parametrize("change", ["augment=[{type: shuffle}]", "draw={type: by_weight, groups: 60, repeat: true}"])
def test_a_mixture_of_copies_without_a_split_is_not_held_out_from_itself(folder, change):
    text = MIXTURE.format(folder=folder).replace("split: {type: prompts, share: 0.2}", change.replace("=", ": ", 1))
    (folder / "mixture.yaml").write_text(text)
    with pytest.raises(ConfigError, match="mixture small repeats or augments its groups and sets none apart"):
        train(load_config(TrainConfig, folder / "train.yaml"), run_dir=folder / "run")
