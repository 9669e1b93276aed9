"""From a file of pairs to a trained and measured model in one line: ``plaudit train FILE --model NAME``."""

from __future__ import annotations

import csv
import json

import pytest
import yaml
from typer.testing import CliRunner

from plaudit.cli.main import app
from plaudit.config import load_config
from plaudit.models.checkpoint.files import save_reward_model
from plaudit.records import Result
from plaudit.training.config import TrainConfig
from plaudit.training.trials.dry_run import dry_run

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

ROWS = [
    {
        "prompt": f"Is house {k} red?",
        "chosen": f"yes, house {k} is good",
        "rejected": f"no, {k} is a bad house near you",
    }
    for k in range(40)
]


@pytest.fixture
def here(tmp_path, monkeypatch, make_decoder):
    """A working directory with a model and 40 pairs in JSON Lines."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    save_reward_model(make_decoder(), tmp_path / "base")
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return tmp_path


def plaudit(*words: str):
    return CliRunner().invoke(app, list(words))


def write_csv(path):
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, ["prompt", "chosen", "rejected"])
        table.writeheader()
        table.writerows(ROWS)


def test_a_file_and_a_model_are_enough_to_train(here):
    shown = plaudit("train", "pairs.jsonl", "--model", "base", "--run-dir", "run", "step.trackers=[]", "optim.lr=1e-3")
    assert shown.exit_code == 0, shown.output
    assert "the config of this run: run/config.yaml" in shown.stdout
    config = load_config(TrainConfig, here / "run" / "config.yaml")
    assert config.name == "pairs-base"
    assert config.optim.lr == 1e-3
    assert config.objective.type == "bradley_terry"
    result = Result.model_validate_json((here / "run/eval/held_out/result.json").read_text())
    assert (result.n, result.model) == (4, "pairs-base")
    assert (here / "run" / "model" / "README.md").is_file()
    # the verdict stands before every table, and the counts after it
    assert shown.stdout.index("the model gives the preferred response") < shown.stdout.index("held_out: preference")
    assert "brier" not in shown.stdout
    assert "4 items: 4 scored" in shown.stdout


@pytest.mark.parametrize("form", ["csv", "parquet", "glob", "several", "folder", "shards"])
def test_every_form_of_a_file_is_taken(here, form):
    if form == "csv":
        write_csv(here / "data.csv")
        files = ["data.csv"]
    elif form == "parquet":
        import pandas

        pandas.DataFrame(ROWS).to_parquet(here / "data.parquet")
        files = ["data.parquet"]
    elif form == "folder":
        import datasets

        datasets.Dataset.from_list(ROWS).save_to_disk(str(here / "data"))
        files = ["data"]
    elif form == "shards":
        (here / "data").mkdir()
        write_csv(here / "data" / "one.csv")
        files = ["data"]
    else:
        (here / "parts").mkdir()
        for k in range(2):
            text = "".join(json.dumps({**row, "id": f"{k}"}) + "\n" for row in ROWS[k::40])
            (here / "parts" / f"{k}.jsonl").write_text(text)
        files = ["parts/*.jsonl"] if form == "glob" else ["parts/0.jsonl", "parts/1.jsonl"]
    shown = plaudit("train", *files, "--model", "base", "--dry-run", "data.held_out_share=0")
    assert shown.exit_code == 0, shown.output
    count = 2 if form in ("glob", "several") else 40
    assert f"data: {count} groups to train on, 0 held out" in shown.stderr


def test_a_held_out_file_is_evaluated_on(here):
    write_csv(here / "later.csv")
    shown = plaudit("train", "pairs.jsonl", "--model", "base", "--held-out", "later.csv", "--dry-run")
    assert shown.exit_code == 0, shown.output
    assert "data: 40 groups to train on, 40 held out" in shown.stderr
    assert yaml.safe_load(shown.stdout)["data"]["held_out"][0]["path"] == "later.csv"


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["pairs.csv"], "pairs.csv is data; name the model to train on it: plaudit train pairs.csv --model NAME"),
        (["pairs.jsonl"], "pairs.jsonl is data; name the model"),
        (["data/*.parquet"], "is data; name the model"),
        (["c.yaml", "--model", "base"], "c.yaml is a config; --model goes with data: set model.init.path=base"),
        (["c.yaml", "--held-out", "x.csv"], "--held-out goes with --model; in a config set data.held_out"),
        (["c.yaml", "--format", "trl"], "of a config set data.train.0.format=…"),
        (["gone/*.jsonl", "--model", "base"], "gone/*.jsonl: no file matches"),
        (["-", "--model", "base"], "write standard input to a file"),
        (["gone.jsonl", "--model", "base"], "gone.jsonl: no such file or folder"),
        (["pairs.jsonl", "--model", "./gone"], "./gone does not exist"),
        (["unlabelled.jsonl", "--model", "base"], "the first 2 groups carry no label to train on"),
    ],
)
def test_a_wrong_line_is_answered_with_the_right_one(here, words, error):
    write_csv(here / "pairs.csv")
    (here / "c.yaml").write_text("name: a\nmodel: {init: {path: base}}\ndata: {train: [{path: pairs.jsonl}]}\n")
    (here / "unlabelled.jsonl").write_text('{"prompt": "a", "responses": ["b", "c"]}\n' * 2)
    shown = plaudit("train", *words)
    assert shown.exit_code == 2
    assert error in shown.stderr
    assert shown.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("row", "objective"),
    [
        ({"responses": ["a", "b"], "ranks": [2, 1]}, {"type": "bradley_terry"}),
        ({"responses": ["a", "b"], "outcomes": [True, False]}, {"type": "outcome"}),
        ({"responses": ["a", "b"], "ratings": {"care": [1, 2], "art": [2, 1]}}, {"type": "regression"}),
    ],
)
def test_the_labels_choose_the_objective(here, row, objective):
    rows = [{"prompt": f"one {k}", **row} for k in range(4)]
    (here / "rows.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    shown = plaudit("train", "rows.jsonl", "--model", "base", "--dry-run")
    assert shown.exit_code == 0, shown.output
    made = yaml.safe_load(shown.stdout)
    assert made["objective"].items() >= objective.items()
    assert made["objective"].get("attributes", ["art", "care"]) == ["art", "care"]
    assert made["data"]["train"][0]["pairs"] == ("all" if "ranks" in row else "given")


def test_a_start_with_a_path_is_a_pretrained_one_and_one_with_sizes_is_from_scratch(tmp_path):
    path = tmp_path / "c.yaml"
    for start, kind in (("{path: base}", "pretrained"), ("{hidden_size: 64}", "scratch")):
        path.write_text(f"name: a\nmodel: {{init: {start}}}\ndata: {{train: [{{path: a.jsonl}}]}}\n")
        assert load_config(TrainConfig, path).model.init.type == kind
    path.write_text("name: a\nmodel: {init: {path: base, dtyp: float32}}\ndata: {train: [{path: a.jsonl}]}\n")
    with pytest.raises(ValueError, match=r"model\.init\.dtyp: unknown key; did you mean 'dtype'\?"):
        load_config(TrainConfig, path)


# ------------------------------------------------------------------------------------------------- dry runs and trials


def test_a_dry_run_tells_steps_tokens_and_memory_and_shows_the_first_conversation(here):
    shown = plaudit("train", "pairs.jsonl", "--model", "base", "--dry-run", "step.epochs=2", "model.layout=padded")
    assert shown.exit_code == 0, shown.output
    # 36 groups in steps of 16 are 3 steps a pass
    assert "data: 36 groups to train on, 4 held out" in shown.stderr
    assert "steps: 6 in all" in shown.stderr
    assert "<|user|>Is house 0 red?<|end|><|assistant|>yes, house 0 is good<|end|>" in shown.stderr
    assert not (here / "runs").exists()


def test_the_tokens_of_a_dry_run_are_those_of_training(here):
    dry = plaudit("train", "pairs.jsonl", "--model", "base", "--dry-run", "data.held_out_share=0")
    words = ["--model", "base", "--run-dir", "run", "step.max_steps=1", "data.held_out_share=0"]
    assert plaudit("train", "pairs.jsonl", *words).exit_code == 0
    counts = json.loads((here / "run/run.json").read_text())["data"]["train"]
    assert f"{counts['tokens_shared']:,} a pass" in dry.stderr


def test_the_estimate_of_memory_is_that_of_its_formula(here):
    (here / "c.yaml").write_text("name: a\nmodel: {init: {path: base}}\ndata: {train: [{path: pairs.jsonl}]}\n")

    def found(*changes):
        return dry_run(load_config(TrainConfig, here / "c.yaml", changes))

    whole = found()
    # weights, gradients and two moments of 4 bytes; 68 bytes for each of 8192 tokens, 2 layers and 32 features
    activations = 8192 * 2 * 32 * 68
    assert whole.gigabytes == pytest.approx((16 * whole.parameters + activations) / 1e9)
    checkpointed = found("step.gradient_checkpointing=true")
    assert checkpointed.gigabytes == pytest.approx((16 * whole.parameters + 8192 * 32 * (2 * 4 + 68)) / 1e9)
    adapters = found("model.lora={rank: 4, targets: [q_proj]}")
    assert adapters.trainable == 2 * 4 * (32 + 32)  # two layers, rank 4, 32 inputs and outputs
    assert adapters.gigabytes == pytest.approx((4 * whole.parameters + 12 * adapters.trainable + activations) / 1e9)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ("data.train.0.path=gone.jsonl", "gone.jsonl: no such file or folder"),
        ("model.init.path=./gone", "./gone does not exist"),
        ("model.init.chat_template=gone.jinja", "gone.jinja does not exist"),
        ("model.max_length=4", "none of the first 36 groups can be trained on"),
        ("model.max_length=4096", "has positions for 128 tokens only"),
    ],
)
def test_a_dry_run_finds_what_training_would_fail_at(here, change, error):
    (here / "c.yaml").write_text("name: a\nmodel: {init: {path: base}}\ndata: {train: [{path: pairs.jsonl}]}\n")
    shown = plaudit("train", "c.yaml", change, "--dry-run")
    assert shown.exit_code == 2
    assert error in shown.stderr


def test_a_trial_puts_a_tiny_model_in_the_place_of_the_real_one_and_says_so_everywhere(here):
    rows = "".join(json.dumps({**row, "prompt": f"{row['prompt']} {k}"}) + "\n" for k in range(5) for row in ROWS)
    (here / "many.jsonl").write_text(rows)
    shown = plaudit("train", "many.jsonl", "--model", "base", "--tiny", "--run-dir", "run")
    assert shown.exit_code == 0, shown.output
    assert "tiny: a random llama of 2 layers and width 64 with its own tokenizer stands in for base" in shown.stderr
    record = json.loads((here / "run/run.json").read_text())
    assert record["model"]["tiny"] == "base"
    assert record["data"]["train"]["read"]["groups"] == 128
    card = (here / "run/model/README.md").read_text()
    assert "A trial, not a model" in card
    assert "- tiny-random" in card


def test_a_trial_needs_neither_the_model_nor_the_data(here):
    (here / "c.yaml").write_text(
        "name: a\nmodel: {init: {path: acme/Qwen2-9B-Instruct}, lora: {rank: 4}}\n"
        "data: {train: [{path: acme/secret-pairs}]}\n"
        "objective: {type: regression, attributes: [helpfulness, wit]}\n"
    )
    shown = plaudit("train", "c.yaml", "--tiny", "--run-dir", "run")
    assert shown.exit_code == 0, shown.output
    assert "a random qwen2 of 2 layers and width 64 with a tokenizer of its texts stands in" in shown.stderr
    assert "groups of the built-in world stand in for the data, of which acme/secret-pairs" in shown.stderr
    assert json.loads((here / "run/run.json").read_text())["model"]["architecture"] == "Qwen2ForSequenceClassification"
