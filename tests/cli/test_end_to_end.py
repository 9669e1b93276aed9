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

from plaudit.data.reading.write import write_groups
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


def test_ctrl_c_names_the_command_that_finishes_the_run(folder):
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
