"""The table of planted signals names every experiment, and its figures are those of the experiments."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
build = runpy.run_path(str(ROOT / "docs" / "build_planted.py"))
PAGE = (ROOT / "docs" / "explain" / "planted.md").read_text(encoding="utf-8")
REMAKE = "run: python docs/build_planted.py"


def rows(page: str) -> dict[str, list[str]]:
    """{experiment: the cells of its row}."""
    cells = [[cell.strip() for cell in line.split(" | ")] for line in page.splitlines() if line.startswith("| ")]
    return {named[1]: each for each in cells if (named := re.search(r"`(\w+\.\w+)`$", each[0]))}


def figure(cell: str) -> float:
    return 0.0 if cell == "< 0.001" else float(cell)


def test_the_table_names_every_experiment_in_order():
    labels = [label for label, _ in build["experiments"]()]
    assert len(labels) > 30
    assert list(rows(PAGE)) == labels, REMAKE


def test_the_page_begins_as_it_is_built():
    assert PAGE.startswith(build["HEADER"]), REMAKE


def test_a_row_shows_small_large_and_negative_figures():
    found = {"name": "a", "what": "b|c", "metric": "d", "right": 1e-7, "broken": -0.62584, "broken_variant": "e"}
    made = build["row"]("x.y", found)
    assert made == "| a <br> `x.y` | b\\|c | d | < 0.001 | -0.626 | e |"
    assert rows(made)["x.y"][3:5] == ["< 0.001", "-0.626"]
    assert [build["shown"](value) for value in (50.43, 1.0, 0.0, -1e-9)] == ["50.4", "1.000", "< 0.001", "< 0.001"]


@pytest.mark.slow
def test_the_figures_are_those_of_the_experiments():
    on_page = rows(PAGE)
    for label, experiment in build["experiments"]():
        found = experiment()
        name, what, metric, right, broken, variant = on_page[label]
        assert name == f"| {found['name']} <br> `{label}`", REMAKE
        assert (what, metric, variant) == (found["what"], found["metric"], f"{found['broken_variant']} |"), REMAKE
        assert figure(right) == pytest.approx(found["right"], abs=0.02, rel=0.02), REMAKE
        assert figure(broken) == pytest.approx(found["broken"], abs=0.02, rel=0.02), REMAKE
