"""A million pairs fit in memory and do not take long."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_a_million_pairs_are_read_within_one_and_a_half_gigabytes(tmp_path):
    measure = runpy.run_path(str(ROOT / "benchmarks" / "data_scale.py"))["measure"]
    figures = measure(1_000_000, 1, tmp_path)
    print(json.dumps(figures, indent=2))
    assert figures["groups"] == 1_000_000
    assert figures["peak_rss_mb"] < 1500
    assert figures["rows_per_second"] > 4_000
    assert figures["cache_hit_seconds"] < 10
