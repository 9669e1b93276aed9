"""The notebook of the quickstart: it holds no outputs, uses public names only, and runs."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import plaudit

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "learn" / "quickstart.ipynb"
CELLS = [cell for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
CODE = "\n".join("".join(cell["source"]) for cell in CELLS)


def test_the_notebook_holds_no_outputs_and_uses_public_names_only():
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in CELLS)
    tree = ast.parse(CODE)
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "plaudit"
    }
    assert {"train", "load", "evaluate", "write_report"} <= used <= set(plaudit.__all__)


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        cwd=tmp_path,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "right in " in done.stdout
    page = (tmp_path / "runs" / "notebook" / "report.html").read_text(encoding="utf-8")
    assert "Loss by step" in page
    result = json.loads((tmp_path / "runs/notebook/run/eval/held_out/result.json").read_text(encoding="utf-8"))
    accuracy, longer = (
        result["measures"][0]["metrics"]["accuracy"],
        result["measures"][0]["baselines"]["accuracy"]["longer_response"],
    )
    assert accuracy["low"] > max(longer["high"], 0.5)  # it learned more than length
