"""``plaudit evaluate`` a second time: after a kill, into a folder that is taken, from its own items, otherwise cut."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest
from datasets import Dataset, DatasetDict
from typer.testing import CliRunner

from plaudit import journal
from plaudit.cli import console
from plaudit.cli.main import app
from plaudit.cli.options import parse_separator
from plaudit.journal import locked
from plaudit.models.checkpoint.files import save_reward_model
from plaudit.records import Result, read_items
from plaudit.scoring import files

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")

FUNCTIONS = """
import time

def reward(prompt, responses):
    return [len(response) for response in responses]

def other(prompt, responses):
    return [-len(response) for response in responses]

def slow(prompt, responses):
    time.sleep(0.003)
    return [len(response) + 0.25 * len(prompt[0].content) for response in responses]
"""


def write_rows(path: Path, rows) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path.name


def pairs(count: int, seed: int = 0) -> list[dict[str, str]]:
    draws = random.Random(seed)
    return [
        {"prompt": f"p{k}", "chosen": "x" * draws.randint(1, 9), "rejected": "y" * draws.randint(10, 15)}
        for k in range(count)
    ]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "again_functions", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "again_functions.py").write_text(FUNCTIONS)
    write_rows(tmp_path / "pairs.jsonl", pairs(12))
    return tmp_path


def invoke(*arguments: str, code: int = 0):
    shown = CliRunner().invoke(app, list(arguments))
    assert shown.exit_code == code, shown.output
    return shown


def bare(place: Path) -> dict[str, object]:
    """Return the files of a result without times; a kill within a write leaves a hidden file that nothing reads."""
    names = {path for path in place.iterdir() if path.name != "result.json" and not path.name.startswith(".")}
    files = {path.name: path.read_bytes() for path in names}
    return {**files, "result.json": {**json.loads((place / "result.json").read_text()), "created": ""}}


def no_model(*arguments, **options):
    raise AssertionError("a model was loaded")


def test_another_models_result_is_kept_before_anything_is_loaded_or_scored(folder, monkeypatch):
    write_rows(folder / "more.jsonl", pairs(3))
    invoke("evaluate", "again_functions:reward", "pairs.jsonl", "-o", "out")
    before = bare(folder / "out" / "pairs")
    with monkeypatch.context() as patched:
        patched.setattr("plaudit.opening.open_scorer", no_model)
        # the folder of the first target is free: it is not filled before the second is looked at
        shown = invoke("evaluate", "again_functions:other", "more.jsonl", "pairs.jsonl", "-o", "out", code=2)
    assert shown.stderr.startswith("error: out/pairs holds the result of model 'again_functions:reward' of 20")
    assert "give another folder with -o, or --overwrite" in shown.stderr
    assert not (folder / "out" / "more").exists()
    assert bare(folder / "out" / "pairs") == before
    invoke("evaluate", "again_functions:other", "pairs.jsonl", "-o", "out", "--overwrite")
    assert json.loads((folder / "out/pairs/result.json").read_text())["model"] == "again_functions:other"


@pytest.mark.parametrize("seed", [0, 1])
def test_targets_killed_at_random_moments_end_in_the_same_files(folder, seed):
    write_rows(folder / "more.jsonl", pairs(60, seed=1))
    write_rows(folder / "pairs.jsonl", pairs(60))
    command = ["evaluate", "again_functions:slow", "pairs.jsonl", "more.jsonl", "-o"]
    invoke(*command, "whole")
    draws = random.Random(seed)
    kills, caught_in_the_middle = 0, 0
    for _ in range(60):
        child = os.fork()
        if child == 0:
            done = CliRunner().invoke(app, [*command, "killed"]).exit_code
            os._exit(done)
        deadline = time.monotonic() + draws.uniform(0.02, 0.3)
        while time.monotonic() < deadline and kills < 6:
            time.sleep(0.005)
        if kills < 6:
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        kills += os.WIFSIGNALED(status)
        caught_in_the_middle += any(Path("killed").glob("*/items.partial.jsonl"))
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0
            if kills >= 6 or not any(Path("killed").glob("*/items.partial.jsonl")):
                break
    assert caught_in_the_middle > 0
    for name in ("pairs", "more"):
        assert bare(folder / "killed" / name) == bare(folder / "whole" / name)


def test_the_same_command_again_scores_nothing(folder):
    command = ["evaluate", "again_functions:reward", "pairs.jsonl", "-o", "out"]
    invoke(*command)
    before = (folder / "out/pairs/items.jsonl").stat().st_mtime_ns, bare(folder / "out" / "pairs")
    shown = invoke(*command, "--tie-rule", "half")
    assert "each counted as half" in shown.stdout
    invoke(*command)
    assert bare(folder / "out" / "pairs") == before[1]


def test_items_alone_give_the_result_again_without_a_model_or_the_data(folder, monkeypatch):
    invoke("evaluate", "again_functions:reward", "pairs.jsonl", "-o", "out")
    before = bare(folder / "out" / "pairs")
    (folder / "pairs.jsonl").unlink()
    monkeypatch.setattr("plaudit.opening.open_scorer", no_model)
    shown = invoke("rescore", "out/pairs/items.jsonl")
    assert "wrote out/pairs;" in shown.stdout
    assert bare(folder / "out" / "pairs") == before
    invoke("rescore", "out/pairs/items.jsonl", "-o", "copy")
    assert bare(folder / "copy" / "pairs") == before
    refused = invoke("evaluate", "--rewards", "out/pairs/items.jsonl", "--max-length", "64", code=2)
    assert "--max-length change a model" in refused.stderr


def test_items_give_a_benchmark_again_without_its_files(folder, monkeypatch):
    rows = [
        {"id": k, "prompt": f"p{k}", "chosen": ["a" * k, "bb", "ccc"], "rejected": ["d", "ee", "fff"], "domain": domain}
        for k, domain in enumerate(("chat", "code", "math", "safety-refuse"), start=1)
    ]
    (folder / "total.json").write_text(json.dumps(rows))
    invoke("evaluate", "again_functions:reward", "rm_bench=total.json", "-o", "out")
    before = bare(folder / "out" / "rm_bench")
    (folder / "total.json").unlink()
    monkeypatch.setattr("plaudit.opening.open_scorer", no_model)
    for arguments, place in (
        (["rm_bench", "-o", "copy"], "copy/rm_bench"),
        (["-o", "other"], "other/rm_bench"),
        ([], "out/rm_bench"),
    ):
        invoke("rescore", "out/rm_bench/items.jsonl", *arguments)
        assert bare(folder / place) == before
    result = Result.model_validate_json((folder / "copy/rm_bench/result.json").read_text())
    assert (result.measures[0].kind, result.model) == ("benchmark", "again_functions:reward")


def test_items_are_measured_on_other_labels_of_the_same_texts(folder):
    invoke("evaluate", "again_functions:reward", "pairs.jsonl", "-o", "out")
    turned = [
        {"id": f"pairs:{k}", "prompt": row["prompt"], "chosen": row["rejected"], "rejected": row["chosen"]}
        for k, row in enumerate(pairs(12), start=1)
    ]
    write_rows(folder / "turned.jsonl", turned)
    shown = invoke("rescore", "out/pairs/items.jsonl", "turned.jsonl", "-o", "out", code=2)
    assert "is of another prompt or other responses than the group" in shown.stderr
    groups = [
        {
            "id": item.id,
            "prompt": f"p{k}",
            "responses": [row["chosen"], row["rejected"]],
            "preferences": [{"chosen": 1, "rejected": 0}],
        }
        for k, (item, row) in enumerate(zip(read_items(folder / "out/pairs/items.jsonl"), pairs(12), strict=True))
    ]
    write_rows(folder / "turned.jsonl", groups)
    invoke("rescore", "out/pairs/items.jsonl", "turned.jsonl", "-o", "out")
    result = Result.model_validate_json((folder / "out/turned/result.json").read_text())
    assert result.figures["accuracy"].value == 1.0  # rejected was always the longer one
    write_rows(folder / "rewards.jsonl", [{"id": "a", "rewards": [1.0, 2.0]}])
    mixed = ["out/pairs/items.jsonl", "turned.jsonl", "--also", "rewards.jsonl"]
    assert "give files of one kind" in invoke("rescore", *mixed, code=2).stderr


def test_a_split_and_a_step_separator_are_taken_as_a_config_takes_them(folder):
    own = {"train": Dataset.from_list(pairs(4)), "test": Dataset.from_list(pairs(7, seed=3))}
    DatasetDict(own).save_to_disk(folder / "saved")
    for split, count in (("train", 4), ("test", 7)):
        invoke("evaluate", "again_functions:reward", "saved", "--split", split, "-o", split)
        assert len(read_items(folder / split / "saved" / "items.jsonl")) == count
        invoke("score", "again_functions:reward", "saved", "--split", split, "-o", f"{split}.jsonl")
        assert len((folder / f"{split}.jsonl").read_text().splitlines()) == count
    row = {"prompt": "p", "completions": ["a", "bb", "ccc"], "labels": [True, True, False]}
    write_rows(folder / "steps.jsonl", [row])
    for separator, length in ((r"\n", 8), (r"\n\n", 10), (" and ", 16)):
        options = ["steps.jsonl", "--format", "stepwise", "--step-separator", separator]
        invoke("evaluate", "again_functions:reward", *options, "-o", f"steps{length}")
        (item,) = read_items(folder / f"steps{length}" / "steps" / "items.jsonl")
        assert item.lengths == (length,)
        invoke("score", "again_functions:reward", *options, "-o", f"steps{length}.jsonl")
        assert json.loads((folder / f"steps{length}.jsonl").read_text())["rewards"] == [length]


def test_a_separator_is_read_as_a_shell_hands_it_on():
    assert [parse_separator(text) for text in (r"\n\n", r"\t", r"\\n", "ки\n", r"\d")] == [
        "\n\n",
        "\t",
        r"\n",
        "ки\n",
        r"\d",
    ]


def test_over_long_responses_are_cut_counted_and_named_in_the_recipe(folder, make_decoder):
    save_reward_model(make_decoder(), folder / "model")
    long = [
        {"prompt": "hi", "chosen": "red cat " * 90, "rejected": "no"},
        {"prompt": "p", "chosen": "a", "rejected": "b"},
    ]
    write_rows(folder / "long.jsonl", long)
    shown = invoke("evaluate", "model", "long.jsonl")
    assert "without a reward: 1 responses alone longer than max_length" in shown.stdout
    invoke("evaluate", "model", "long.jsonl", "--truncation", "truncate_response")
    place = folder / "evaluations" / "model-truncate_response" / "long"
    result = Result.model_validate_json((place / "result.json").read_text())
    scoring = json.loads((place / "scoring.json").read_text())
    assert (result.failed, result.details["truncated_responses"]) == (0, 1)
    assert (scoring["settings"]["truncation"], scoring["settings"]["max_length"]) == ("truncate_response", 128)
    assert result.details["truncated_tokens"] == sum(scoring["truncations"][0]["tokens"]) > 0
    plain, cut = (read_items(each / "items.jsonl") for each in (folder / "evaluations/model/long", place))
    assert plain[1].rewards == pytest.approx(cut[1].rewards, abs=2e-6)
    taken = invoke("evaluate", "model", "long.jsonl", "-o", "evaluations/model", "--max-length", "64", code=2)
    assert (
        "of the same model" in taken.stderr or "with other settings (max_length 128 there and 64 here)" in taken.stderr
    )
    beyond = invoke("score", "model", "long.jsonl", "--max-length", "999", "-o", "x.jsonl", code=2)
    assert "max_length is 999, but model has positions for 128 tokens only" in beyond.stderr
    scored = invoke("score", "model", "long.jsonl", "--truncation", "truncate_response", "-o", "x.jsonl")
    assert "truncated, of what this run scored: 60 tokens, 1 responses" in scored.stdout


def test_a_log_shows_groups_done_of_all_their_rate_and_the_time_left(monkeypatch):
    monkeypatch.setattr(console, "LINE_EVERY_SECONDS", 0.0)
    shown = invoke("evaluate", "again_functions:slow", "pairs.jsonl", "-o", "out")
    lines = [line for line in shown.stderr.splitlines() if line.startswith("pairs: ")]
    assert lines[0] == "pairs: 0 of 12"
    assert lines[-1].startswith("pairs: 12 of 12, ")
    assert lines[-1].endswith("/s, 0:00 left")


@pytest.mark.slow
def test_processes_score_a_file_as_one_does(folder, monkeypatch):
    invoke("score", "again_functions:reward", "pairs.jsonl", "-o", "one.jsonl")
    shown = invoke("score", "again_functions:reward", "pairs.jsonl", "-o", "two.jsonl", "--workers", 2)
    assert "wrote two.jsonl: 12 groups, 12 scored" in shown.stdout
    assert (folder / "two.jsonl").read_bytes() == (folder / "one.jsonl").read_bytes()
    assert list(folder.glob("two.jsonl.*")) == []
    both = invoke(
        "score", "again_functions:reward", "pairs.jsonl", "-o", "x.jsonl", "--workers", 2, "--shard", "0/2", code=2
    )
    assert "--workers makes shards of its own" in both.stderr


@pytest.mark.parametrize("workers", [1, 2])
def test_a_second_scoring_of_one_output_is_refused_at_once(folder, workers):
    with locked(folder / "out.jsonl"):
        shown = invoke(
            "score", "again_functions:reward", "pairs.jsonl", "-o", "out.jsonl", "--workers", workers, code=2
        )
    assert f"error: cannot write out.jsonl: process {os.getpid()} on " in shown.stderr
    assert not (folder / "out.jsonl").exists()
    assert list(folder.glob("*.partial")) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_an_output_that_another_process_wrote_before_the_lock_was_taken_is_not_replaced(folder, workers, monkeypatch):
    @contextlib.contextmanager
    def locked_late(output, **options):
        if output.name == "out.jsonl":
            output.write_text("of another process")
        with locked(output, **options):
            yield

    for module in (journal, files, importlib.import_module("plaudit.cli.best")):
        monkeypatch.setattr(module, "locked", locked_late)
    rest = ("again_functions:reward", "pairs.jsonl", "-o", "out.jsonl")
    for command in (("score", *rest, "--workers", workers), ("best", *rest)):
        (folder / "out.jsonl").unlink(missing_ok=True)
        assert "out.jsonl exists; add --overwrite" in invoke(*command, code=2).stderr
        assert (folder / "out.jsonl").read_text() == "of another process"


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    "left", [b'{"id": "a", "rewards": [1.0]}\n', b'{"journal": "rewards", "identity": {"model": "other"}}\n{}\n']
)
def test_overwrite_lets_go_of_unfinished_work_of_another_job_or_version(folder, workers, left):
    command = ("score", "again_functions:reward", "pairs.jsonl", "-o", "out.jsonl", "--workers", workers)
    for name in ("out.jsonl.partial", "out.jsonl.0-of-2.partial"):
        (folder / name).write_bytes(left)
    assert "remove" in invoke(*command, code=2).stderr
    assert "wrote out.jsonl: 12 groups" in invoke(*command, "--overwrite").stdout


def test_each_process_gets_a_device_of_its_own_and_its_part_of_the_cpu(monkeypatch):
    from plaudit.cli import score

    monkeypatch.setattr("os.cpu_count", lambda: 16)
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert score._environments(3) == [
        {"OMP_NUM_THREADS": "5", "CUDA_VISIBLE_DEVICES": device} for device in ("3", "5", "3")
    ]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    assert score._environments(2) == [{"OMP_NUM_THREADS": "8"}]
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert score._environments(2) == [{}]
