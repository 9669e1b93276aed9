"""The code of the README runs, and its tables are those of the result files."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from plaudit.models.checkpoint.files import save_reward_model
from plaudit.models.create import build_decoder

ROOT = Path(__file__).resolve().parents[2]


def builder():
    spec = importlib.util.spec_from_file_location("build_figures", ROOT / "docs/build_figures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["README.md", "docs/measured.md"])
def test_the_tables_of_a_page_are_those_of_the_result_files(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    assert builder().fill(text) == text, "run: python docs/build_figures.py"


def test_the_readme_has_at_most_three_tables():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(re.findall(r"^\|(?:[-: ]+\|)+$", text, flags=re.MULTILINE)) <= 3


def test_a_changed_figure_would_be_seen():
    readme = (ROOT / "docs" / "measured.md").read_text(encoding="utf-8")
    marker = "<!-- figures:accuracy -->\n"
    assert marker in readme
    changed = readme.replace(marker, marker + "| invented | 1 | 0.999 | 0.5 |\n")
    assert builder().fill(changed) == readme


def test_the_python_of_the_readme_scores_two_responses(tmp_path, monkeypatch, tokenizer, capsys):
    model = build_decoder(tokenizer, hidden_size=32, num_layers=1, num_heads=2, max_length=512, seed=0)
    save_reward_model(model, tmp_path / "runs/quickstart/run/model")
    monkeypatch.chdir(tmp_path)
    block = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    exec(compile(block[1], "README.md", "exec"), {})
    assert re.fullmatch(
        r"good plan [+-]\d+\.\d\d, bad plan [+-]\d+\.\d\d: the (good|bad) one wins\n", capsys.readouterr().out
    )
