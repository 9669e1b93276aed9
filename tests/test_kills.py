"""Killed commands go on to the same end; slow tests, since importing torch alone takes longer than a fast one may."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "kills.py"


def kill(tmp_path, *options, timeout):
    command = [sys.executable, str(SCRIPT), "-o", str(tmp_path / "kills.json"), *options]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return json.loads((tmp_path / "kills.json").read_text())


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_scoring_that_is_killed_goes_on_and_a_second_one_is_refused(tmp_path):
    found = kill(tmp_path, "--only", "score", "--moments", "2", "--groups", "40", timeout=600)
    assert found["killed"]["score"]["resumed_digit_for_digit"] == 2
    assert found["two_processes"]["score"]["second_refused"]


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_every_verb_that_is_killed_at_thirty_moments_goes_on_digit_for_digit(tmp_path):
    found = kill(tmp_path, timeout=7000)
    for name, each in found["killed"].items():
        assert each["resumed_digit_for_digit"] == each["moments"] >= 10, name
        assert each["met_unfinished_work"] >= each["moments"] // 2, name
    assert set(found["damaged"]["checkpoint"]["files"]) <= {"refused", "resumed before it, the same end"}
    assert found["replacing"]["average"]["after_the_kill"].get("neither", 0) == 0
    assert all(each["failures"] == [] for each in found["replacing"].values())
