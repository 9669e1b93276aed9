"""Writes docs/explain/planted.md, the table of planted signals, from the experiments: ``python docs/build_planted.py``.

Every ``tests/planted/experiments_*.py`` holds functions that return what is planted, the figure that the right formula
reaches, and the same figure of a broken one. It takes about a minute. Tests hold each figure within its bounds, and the
page to the list of experiments.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "explain" / "planted.md"
SMALLEST = 0.0005
"""Figures below it are shown as ``< 0.001``: what is left of them depends on the machine."""

Experiment = Callable[[], dict[str, Any]]

HEADER = """# Planted signals

For every objective and head there are data made so that only the right formula can find what is in them. *Right* is the
figure that it reaches, *broken* the same figure of the variant in the last column. The variants are those that public
code of this field ships or invites, and a test fails where one of them comes near the right figure. Data and fits are
small, drawn from fixed seeds, and run with the tests (`tests/planted`); the first column names each row's experiment.

This page is made from the experiments by `python docs/build_planted.py`.

| objective or head | planted | figure | right | broken | broken variant |
|---|---|---|--:|--:|---|
"""


def experiments(root: Path = ROOT) -> Iterator[tuple[str, Experiment]]:
    """Yield ``module.function`` and the function of every experiment, in the order of the files."""
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    for path in sorted((root / "tests" / "planted").glob("experiments_*.py")):
        module = importlib.import_module(f"tests.planted.{path.stem}")
        for each in module.EXPERIMENTS:
            yield f"{path.stem.removeprefix('experiments_')}.{each.__name__}", each


def row(label: str, found: dict[str, Any]) -> str:
    """Return the row of one experiment."""
    cells = [
        f"{found['name']} <br> `{label}`",
        found["what"],
        found["metric"],
        shown(found["right"]),
        shown(found["broken"]),
        found["broken_variant"],
    ]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def shown(value: float) -> str:
    """Return a figure with three decimals, or with three digits where it is large."""
    if abs(value) < SMALLEST:
        return "< 0.001"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.3g}"


def render() -> str:
    """Return the page, every experiment run anew."""
    return HEADER + "".join(f"{row(label, experiment())}\n" for label, experiment in experiments())


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
