"""The page about benchmarks and the catalogue say the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from plaudit.evaluation.official.catalog import CATALOG, benchmark_named

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "benchmarks.md"


@pytest.mark.parametrize("name", sorted(CATALOG))
def test_the_page_has_the_rows_that_the_benchmark_says(name):
    found, lines = benchmark_named(name), PAGE.read_text(encoding="utf-8").splitlines()
    paper = found.citation.rsplit(", ", 1)[-1]
    assert f"| `{name}` | {found.title}: {paper} | {found.official} | {found.licence} |" in lines
    assert f"| `{name}` | {found.ties} | {found.missing_rewards} |" in lines
