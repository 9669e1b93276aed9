"""Runs that were damaged or cannot be written: an error that says what to do, and nothing lost."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from plaudit.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    InvalidGroupError,
    LayoutError,
    ModelError,
    OutputError,
    PlauditError,
    UnknownNameError,
)

RESUME = ("train", "config.yaml", "--run-dir", "run", "--resume")


def broken(path, content):
    return lambda run: (run / path).write_bytes(content)


def damaged_cache(run):
    for path in (run / "data").glob("tokens-*.arrow"):
        path.write_bytes(b"xx")


def unfinish(run):
    """Let the record say what it says while a run is trained."""
    record = run / "run.json"
    record.write_text(record.read_text().replace('"finished",', '"running",'))


DAMAGED = [
    # what was damaged, how, what the error says
    ("the weights", broken("checkpoints/checkpoint-2/model.safetensors", b"xx"), "checkpoint-2"),
    (
        "the optimiser",
        broken("checkpoints/checkpoint-2/optimizer.pt", b"xx"),
        "optimizer.pt is damaged: it is not the file that was written; remove run/",
    ),
    ("the state", broken("checkpoints/checkpoint-2/trainer_state.json", b"{"), "trainer_state.json is damaged"),
    ("a row of metrics", broken("metrics.jsonl", b"[1]\n"), "run/metrics.jsonl:1: not a row of metrics"),
    ("the config", broken("config.yaml", b"{"), "run/config.yaml:1: "),
]


@pytest.mark.parametrize(("damage", "says"), [each[1:] for each in DAMAGED], ids=[each[0] for each in DAMAGED])
def test_a_damaged_run_is_not_resumed_and_keeps_its_model(damage, says, place, run, invoke, files_of):
    unfinish(run)
    damage(run)
    before = files_of(run)
    shown = invoke(*RESUME)
    assert shown.exit_code == 2, repr(shown.exception)
    (line,) = [line for line in shown.stderr.splitlines() if line.startswith("error: ")]
    assert says in line
    changed = {name for name, content in files_of(run).items() if before.get(name) != content}
    assert {name for name in changed if not name.startswith("data/")} <= {"run.json"}


@pytest.mark.parametrize("damage", [damaged_cache, lambda run: shutil.rmtree(run / "data")], ids=["torn", "gone"])
def test_damaged_tokens_are_made_again_from_the_data(damage, place, run, invoke):
    before = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    unfinish(run)
    damage(run)
    assert invoke(*RESUME).exit_code == 0
    after = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert after[-1]["eval/rm/loss"] == before[-1]["eval/rm/loss"]


def test_a_torn_last_row_of_metrics_is_left_out_of_a_report(place, run, invoke):
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "train/rm')
    assert invoke("report", "run", "-o", "page.html").exit_code == 0
    assert (place / "page.html").read_text().startswith("<!doctype html>")


def test_a_run_is_not_written_over(place, run, invoke, files_of):
    before = files_of(run)
    shown = invoke(*RESUME[:-1])
    assert (
        shown.stderr == "error: run holds a run already; add --resume to go on with it, or choose another --run-dir\n"
    )
    other = invoke(*RESUME, "optim.lr=1e-3")
    assert "the config differs from run/config.yaml" in other.stderr
    assert (shown.exit_code, other.exit_code) == (2, 2)
    assert files_of(run) == before


def test_a_response_of_a_megabyte_is_counted_in_training(place, invoke):
    row = {"prompt": "Q", "chosen": "a" * 1_000_000, "rejected": "A"}
    (place / "long.jsonl").write_text((place / "pairs.jsonl").read_text() + json.dumps(row) + "\n")
    shown = invoke("train", "config.yaml", "data.train.0.path=long.jsonl", "step.max_steps=1", "--run-dir", "new")
    assert shown.exit_code == 0, shown.output
    assert "train: 1 responses alone longer than max_length" in shown.stdout
    record = json.loads((place / "new" / "run.json").read_text())
    assert record["data"]["train"]["encoded"]["dropped"] == {"responses alone longer than max_length": 1}


# A full disk, made by the limit of the system on the size of a file.


def test_a_disk_that_fills_during_scoring_keeps_what_was_scored_before(place, invoke, small_disk):
    rows = [{"prompt": f"Q{number}", "chosen": "this one", "rejected": "that"} for number in range(700)]
    (place / "many.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = ("score", "functions_to_spoil:lengths", "many.jsonl", "-o", "out.jsonl")
    assert invoke("data", "show", "many.jsonl").exit_code == 0
    with small_disk(20_000):
        shown = invoke(*command)
    assert shown.exit_code == 2
    assert shown.stderr.startswith("error: cannot write ")
    assert not (place / "out.jsonl").exists()
    again = invoke(*command)
    assert again.exit_code == 0, again.output
    assert len((place / "out.jsonl").read_text().splitlines()) == 700


def test_a_disk_that_fills_during_an_evaluation_is_one_line_and_goes_on_later(place, invoke, small_disk):
    rows = [{"prompt": f"Q{number}", "chosen": "this one", "rejected": "that"} for number in range(300)]
    (place / "many.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = ("evaluate", "functions_to_spoil:lengths", "many.jsonl", "-o", "results")
    assert invoke("data", "show", "many.jsonl", "--on-error", "raise").exit_code == 0
    with small_disk(20_000):
        shown = invoke(*command)
    assert (shown.exit_code, len(shown.stderr.splitlines())) == (2, 1), shown.output
    assert "cannot write results/many/items.partial.jsonl: " in shown.stderr
    assert not (place / "results" / "many" / "result.json").exists()
    assert invoke(*command).exit_code == 0


@pytest.mark.parametrize("size", [10, 6_000, 40_000])
def test_a_disk_that_fills_during_training_is_one_error_and_no_half_model(size, place, invoke, small_disk):
    with small_disk(size):
        shown = invoke("train", "config.yaml", "--run-dir", "new")
    assert shown.exit_code == 2, repr(shown.exception)
    (line,) = [line for line in shown.stderr.splitlines() if line.startswith("error: ")]
    assert "cannot write " in line
    assert not (place / "new" / "model").exists()
    assert not list(place.glob("new/checkpoints/*/complete.json"))


def test_a_disk_that_fills_keeps_the_old_model_page_and_groups(place, run, original, small_disk, files_of):
    from plaudit import load, read_groups, write_groups, write_report
    from plaudit.models.checkpoint.files import save_reward_model

    (place / "page.html").write_text("old")
    (place / "copy.jsonl").write_text("old")
    model, groups = load("model").model, read_groups("pairs.jsonl")
    before = files_of(place)
    for write in (
        lambda: save_reward_model(model, place / "model"),
        lambda: write_report([run], place / "page.html"),
        lambda: write_groups("copy.jsonl", groups),
    ):
        with small_disk(500), pytest.raises(OutputError, match=r"cannot write .*: .+"):
            write()
    assert files_of(place) == before


# The same through Python.


def api_calls():
    from plaudit import Group, TrainConfig, load, load_config, read_groups, write_groups

    def scorer():
        return load("model")

    return {
        "an empty prompt": (lambda: scorer().score("", ["a"]), InvalidGroupError, r"prompt\[0\]\.content is empty"),
        "no responses": (lambda: scorer().score("Q", []), InvalidGroupError, "responses is empty"),
        "responses as one string": (lambda: scorer().score("Q", "ab"), InvalidGroupError, "must be a list of strings"),
        "a response that is a number": (lambda: scorer().score("Q", [3]), InvalidGroupError, "responses.0. is int"),
        "an unknown layout": (lambda: load("model", layout="shared"), UnknownNameError, "mean 'shared_prefix'"),
        "an unknown dtype": (lambda: load("model", dtype="float8"), ModelError, "unknown dtype 'float8'"),
        "an unknown device": (lambda: load("model", device="gpu"), ModelError, "cannot be put on device 'gpu'"),
        "no tokens at a time": (lambda: load("model", max_tokens=0), ConfigError, "max_tokens is 0"),
        "no model": (lambda: load(""), ModelError, "name of the model is empty"),
        "rows of the wrong file": (lambda: read_groups("config.yaml"), DataError, "unknown suffix '.yaml'"),
        "an unwritable suffix": (lambda: write_groups("out.csv", []), OutputError, "to .jsonl or .jsonl.gz"),
        "a prompt as one string": (
            lambda: Group("Q", ("a",)),
            InvalidGroupError,
            "prompt.0. is str; it must be a Message",
        ),
        "an unset variable": (lambda: load("${NO_SUCH_FOLDER}/m"), ConfigError, "NO_SUCH_FOLDER, which is not set"),
        "a config without a file": (lambda: load_config(TrainConfig, None), ConfigError, "name: missing"),
        "a model over a foreign folder": (
            lambda: save_over_foreign(scorer()),
            OutputError,
            "thesis.txt, which is not of a model",
        ),
    }


def save_over_foreign(scorer):
    from plaudit.models.checkpoint.files import save_reward_model

    Path("mine").mkdir()
    Path("mine/thesis.txt").write_text("years of work")
    try:
        save_reward_model(scorer.model, Path("mine"))
    finally:
        assert Path("mine/thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("what", sorted(api_calls()))
def test_bad_input_through_python_is_an_error_of_plaudit(what, place):
    call, kind, says = api_calls()[what]
    with pytest.raises(kind, match=says) as caught:
        call()
    assert isinstance(caught.value, PlauditError)


def test_a_checkpoint_error_is_a_model_error():
    assert issubclass(CheckpointError, ModelError)
    assert issubclass(LayoutError, PlauditError)


# What an interrupt says.


def interrupting(monkeypatch, where, name):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(where, name, interrupt)


def test_ctrl_c_before_training_says_that_the_same_command_starts_again(place, invoke, monkeypatch):
    from plaudit.training import run as run_module

    interrupting(monkeypatch, run_module, "prepare_model")
    shown = invoke("train", "config.yaml", "--run-dir", "new")
    assert shown.exit_code == 130
    assert "interrupted: nothing was trained yet; the same command starts again" in shown.stderr
    assert not (place / "new" / "config.yaml").exists()
    monkeypatch.undo()
    monkeypatch.chdir(place)
    assert invoke("train", "config.yaml", "--run-dir", "new").exit_code == 0


def test_ctrl_c_before_the_first_checkpoint_names_the_command_that_goes_on(place, invoke, monkeypatch):
    from plaudit.training.trainer import RewardTrainer

    interrupting(monkeypatch, RewardTrainer, "training_step")
    shown = invoke("train", "config.yaml", "--run-dir", "new")
    assert "interrupted: no checkpoint was written yet; start again with:\n  plaudit train config.yaml" in shown.stderr
    monkeypatch.undo()
    monkeypatch.chdir(place)
    assert invoke("train", "config.yaml", "--run-dir", "new", "--resume").exit_code == 0


def test_ctrl_c_after_training_says_that_the_model_is_whole_and_the_command_evaluates_it(place, invoke, monkeypatch):
    import plaudit.api

    interrupting(monkeypatch, plaudit.api, "held_out_result")
    shown = invoke("train", "config.yaml", "--run-dir", "new")
    assert shown.exit_code == 130
    assert "interrupted: the model is whole in new/model; evaluate it and write its report with:" in shown.stderr
    monkeypatch.undo()
    monkeypatch.chdir(place)
    again = invoke("train", "config.yaml", "--run-dir", "new", "--resume")
    assert again.exit_code == 0, again.output
    assert "new is finished already: nothing was changed" in again.stdout
    assert (place / "new" / "report.html").exists()


def test_resuming_a_run_that_has_its_report_changes_nothing(place, run, invoke, files_of):
    before = files_of(run)
    assert invoke(*RESUME).exit_code == 0
    assert files_of(run) == before


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_command_that_is_stopped_leaves_no_lock_and_no_half_written_file(place, how):
    (place / "slow.py").write_text(
        "import time\ndef rewards(prompt, responses):\n    time.sleep(0.1)\n    return [1.0] * len(responses)\n"
    )
    command = [sys.executable, "-m", "plaudit", "score", "slow:rewards", "pairs.jsonl", "-o", "out.jsonl"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not Path("out.jsonl.partial").exists() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(how)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted: the rewards so far are kept beside out.jsonl" in said
    assert [path.name for path in place.glob("*out*")] == ["out.jsonl.partial"]


@pytest.mark.parametrize(
    "name", ["model/notes.txt", "checkpoints/checkpoint-1/weights.bin", "metrics.jsonl", "config.json", "run.json"]
)
def test_a_folder_that_is_no_run_keeps_what_training_would_replace(name, place, run, invoke, files_of):
    mine = place / "mine"
    (mine / name).parent.mkdir(parents=True)
    (mine / name).write_text("MINE")
    before = files_of(mine)
    shown = invoke("train", "config.yaml", "--run-dir", "mine")
    assert shown.exit_code == 2
    assert f"mine holds {name.partition('/')[0]} but no config.yaml, so it is no run" in shown.stderr
    assert files_of(mine) == before


def test_a_run_in_place_of_a_config_is_answered_with_the_command_that_goes_on(run, invoke):
    shown = invoke("train", "run", "--resume")
    assert shown.stderr == (
        "error: run is a run; go on with it: plaudit train run/config.yaml --run-dir run --resume\n"
    )
    assert shown.exit_code == 2
