"""A run from the command line: trained, interrupted, resumed by the command it names, reported."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from transformers import TrainerCallback
from typer.testing import CliRunner

from plaudit.cli.main import app
from plaudit.data.reading.write import write_groups
from plaudit.training import run as run_module
from plaudit.worlds.world import World

CONFIG = """
name: tiny
model: {init: {type: scratch, hidden_size: 16, num_layers: 1, num_heads: 2, vocabulary: 300}}
data: {train: [{path: pairs.jsonl}], held_out_share: 0.2}
optim: {lr: 1e-3}
step: {groups_per_step: 8, max_steps: 80, threads: 1, log_every: 1, trackers: []}
"""
STEPS = 80


@pytest.fixture
def folder(tmp_path) -> Path:
    write_groups(tmp_path / "pairs.jsonl", World(seed=0).groups(200, split="train"))
    (tmp_path / "config.yaml").write_text(CONFIG)
    return tmp_path


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(folder / "cache")}
    return subprocess.Popen(
        [sys.executable, "-m", "plaudit", *arguments],
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def steps_of(run: Path) -> list[int]:
    lines = (run / "metrics.jsonl").read_text().splitlines() if (run / "metrics.jsonl").exists() else []
    return [json.loads(line)["step"] for line in lines]


class CtrlC(TrainerCallback):
    """Ctrl-C in the third step."""

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == 2:
            os.kill(os.getpid(), signal.SIGINT)


def test_a_stopped_run_names_the_command_that_finishes_it_and_is_reported(folder, monkeypatch):
    monkeypatch.chdir(folder)
    run, build = folder / "runs" / "tiny", run_module.build_trainer

    def stopped(*arguments):
        trainer = build(*arguments)
        trainer.add_callback(CtrlC())
        return trainer

    monkeypatch.setattr(run_module, "build_trainer", stopped)
    options = ["step.seed=3", "step.max_steps=5", "--run-dir", "runs/tiny"]
    ran = CliRunner().invoke(app, ["train", "config.yaml", *options])
    assert ran.exit_code == 130, ran.output
    assert steps_of(run) == [1, 2, 3]
    assert json.loads((run / "run.json").read_text())["status"] == "stopped"

    monkeypatch.setattr(run_module, "build_trainer", build)
    (command,) = [line.strip() for line in ran.stderr.splitlines() if line.strip().startswith("plaudit train")]
    resumed = CliRunner().invoke(app, shlex.split(command)[1:])
    assert resumed.exit_code == 0, resumed.output
    assert "finished: runs/tiny" in resumed.output
    record = json.loads((run / "run.json").read_text())
    assert (record["status"], record["seed"], max(steps_of(run))) == ("finished", 3, 5)

    report = CliRunner().invoke(app, ["report", "runs/tiny"])
    assert report.exit_code == 0, report.output
    assert "wrote runs/tiny/report.html" in report.output
    assert "<svg" in (run / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_ctrl_c_names_the_command_that_finishes_the_run_of_a_process(folder):
    run = folder / "runs" / "tiny"
    process = start(folder, "train", "config.yaml", "step.seed=3", "--run-dir", "runs/tiny")
    deadline = time.monotonic() + 90
    while len(steps_of(run)) < 3 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    stopped_at = steps_of(run)[-1]
    assert 3 <= stopped_at < STEPS
    assert json.loads((run / "run.json").read_text())["status"] == "stopped"

    (command,) = [line.strip() for line in stderr.splitlines() if line.strip().startswith("plaudit train")]
    resumed = start(folder, *shlex.split(command)[1:])
    stdout, stderr = resumed.communicate(timeout=120)
    assert resumed.returncode == 0, stderr
    assert "finished: runs/tiny" in stdout
    record = json.loads((run / "run.json").read_text())
    assert (record["status"], record["seed"]) == ("finished", 3)
    assert max(steps_of(run)) == STEPS
    assert (run / "model" / "model.safetensors").is_file()

    report = start(folder, "report", "runs/tiny")
    stdout, stderr = report.communicate(timeout=60)
    assert report.returncode == 0, stderr
    assert "wrote runs/tiny/report.html" in stdout
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "<svg" in page
    assert "tiny" in page
