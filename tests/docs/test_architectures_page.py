"""The page of architectures is that of the measured results, and no deviation on it is more than rounding."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
build = runpy.run_path(str(ROOT / "docs" / "build_architectures.py"))
RESULT = json.loads(build["RESULT"].read_text(encoding="utf-8"))
LAYOUTS = {"padded": None, "packed": "packed proof", "shared_prefix": "shared_prefix proof"}


def test_the_page_is_that_of_the_results():
    assert build["render"](RESULT) == build["PAGE"].read_text(encoding="utf-8"), (
        "run: python docs/build_architectures.py"
    )


def test_every_model_type_stands_on_the_page_once_for_each_head():
    page = build["render"](RESULT).splitlines()
    for row in RESULT["architectures"]:
        heads = [head for head in ("sequence", "language_model") if head in row]
        assert sum(line.startswith(f"| {row['type']} |") for line in page) == len(heads), row["type"]
        assert any(f"`{row['type']}`" in line for line in page if not line.startswith("|")) == (not heads), row["type"]


def test_every_layout_that_is_taken_gives_the_rewards_of_conversations_alone():
    for row in RESULT["architectures"]:
        for head in ("sequence", "language_model"):
            found = row.get(head, {})
            for layout, proof in LAYOUTS.items():
                if "reloaded" in found and (proof is None or found[proof] == "exact"):
                    assert found[layout] < 1e-3, (row["type"], head, layout)


def test_types_that_were_not_reached_stand_apart_from_those_without_a_config():
    machine = {"versions": {"transformers": "5"}, "date": "2026-01-01"}
    rows = [{"type": "a", "not made": "not reached"}, {"type": "b", "not made": "TypeError"}]
    page = build["render"]({"machine": machine, "classes": [], "architectures": rows})
    assert page.endswith("## Not tried: not reached\n\n`a`.\n")
    assert "not installed. That says nothing about the models.\n\n`b`.\n" in page
