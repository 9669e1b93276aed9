"""The command line and the public module load none of the heavy packages; and this test can fail."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

HEAVY = (
    "torch",
    "transformers",
    "datasets",
    "accelerate",
    "peft",
    "matplotlib",
    "scipy",
    "numpy",
    "pandas",
    "trl",
)


def heavy_modules_after(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    return {name for name in HEAVY if name in shown.stdout.split()}


@pytest.mark.parametrize(
    "statement",
    [
        "import plaudit.cli.main",
        "import plaudit, plaudit.errors, plaudit.config, plaudit.records, plaudit.journal, plaudit.jobs",
        "import plaudit; plaudit.Group, plaudit.Scorer, plaudit.DataError, plaudit.Result, plaudit.Config",
        "import plaudit; dir(plaudit)",
    ],
)
def test_nothing_heavy_is_loaded_before_it_is_needed(statement):
    assert heavy_modules_after(statement) == set()


def test_help_loads_nothing_heavy():
    statement = (
        "from typer.testing import CliRunner; from plaudit.cli.main import app\n"
        "for verb in ([], ['train'], ['evaluate'], ['data', 'show'], ['recipes', 'copy']):\n"
        "    assert CliRunner().invoke(app, [*verb, '--help']).exit_code == 0"
    )
    assert heavy_modules_after(statement) == set()


def test_this_guard_sees_a_heavy_import():
    assert heavy_modules_after("import plaudit.cli.main, numpy") == {"numpy"}


SCRIPTS = sorted(path for folder in ("benchmarks", "docs", "examples") for path in (ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_imports_names_that_stand_in_plaudit(script):
    missing = []
    for node in ast.walk(ast.parse(script.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("plaudit"):
            module = importlib.import_module(node.module)
            for alias in node.names:
                if not hasattr(module, alias.name) and not importlib.util.find_spec(f"{node.module}.{alias.name}"):
                    missing.append(f"{node.module}.{alias.name}")
    assert missing == []
