"""The published mixtures, on rows in the official layouts: the pairs found equal the closed form."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from plaudit.cli.main import app
from plaudit.config import load_config
from plaudit.data.mixing.config import MixtureConfig
from plaudit.data.mixing.mixture import build_mixture
from plaudit.data.reading.sources.formats import SOURCES

ROOT = Path(__file__).resolve().parents[2]
VERSIONS = sorted(ROOT.glob("recipes/mixtures/*/config.yaml"))
COUNT = 12
PUBLISHED = {
    "rlhflow_v1": [115_547, 7_562, 6_405, 55_916, 62_793, 8_206],
    "rlhflow_v2": [115_547, 7_562, 6_405, 109_526, 267_416, 21_576],
    "rlhflow_v3": [115_547, 7_562, 6_405, 109_526, 267_416, 21_576, 30_000],
    "rlhflow_v4": [115_547, 7_562, 6_405, 109_526, 267_416, 21_576, 150_000],
}

Row = dict[str, Any]


def transcripts(name: str) -> Iterator[Row]:
    """hh-rlhf; the first row has the same text on both sides."""
    for n in range(COUNT):
        opening = f"\n\nHuman: {name} {n}\n\nAssistant:"
        yield {"chosen": f"{opening} good", "rejected": f"{opening} {'good' if n == 0 else 'bad'}"}


def capybara() -> Iterator[Row]:
    """Whole conversations; the first row has equal ratings."""
    for n in range(COUNT):
        turns = [{"role": "user", "content": f"capybara {n}"}]
        sides = [[*turns, {"role": "assistant", "content": text}] for text in ("good", "bad")]
        yield {
            "source": "Dove",
            "chosen": sides[0],
            "rejected": sides[1],
            "rating_chosen": 5,
            "rating_rejected": 5 if n == 0 else 4,
        }


def orca() -> Iterator[Row]:
    """The texts as the judge saw them; the first two rows are ties."""
    for n in range(COUNT):
        yield {
            "system": "",
            "input": f"orca {n}",
            "chosen": "good",
            "rejected": "bad",
            "generations": ["good", "bad"],
            "rating": [9.0, 9.0 if n < 2 else 7.0],
            "status": "tie" if n < 2 else "unchanged",
        }


def shp() -> Iterator[Row]:
    """Seven comments of a post below one another: six pairs with the best, one of them of ratio 2."""
    for n in range(COUNT):
        for low in (1, 2, 3, 4, 5, 10):
            yield {
                "post_id": f"p{n}",
                "domain": "askculinary_train",
                "history": f"post {n}",
                "human_ref_A": "best",
                "human_ref_B": f"comment {low}",
                "score_A": 20,
                "score_B": low,
                "labels": 1,
            }


def ultrafeedback() -> Iterator[Row]:
    """Four responses whose means are 1, 2, 3 and 3: five pairs."""
    for n in range(COUNT):
        yield {
            "instruction": f"instruction {n}",
            "completions": [
                {
                    "response": f"response {k}",
                    "overall_score": 5,
                    "annotations": {
                        aspect: {"Rating": str(min(k, 3))}
                        for aspect in ("helpfulness", "honesty", "instruction_following", "truthfulness")
                    },
                }
                for k in range(1, 5)
            ],
        }


def helpsteer() -> Iterator[Row]:
    """Three responses of a prompt below one another, of means 1, 2 and 3."""
    for n in range(COUNT):
        for k in (1, 2, 3):
            yield {
                "prompt": f"prompt {n}",
                "response": f"response {k}",
                "helpfulness": k,
                "correctness": k,
                "coherence": 4,
                "complexity": 1,
                "verbosity": 1,
            }


def safe_rlhf() -> Iterator[Row]:
    """The safer response is the less helpful one."""
    for n in range(COUNT):
        yield {
            "prompt": f"question {n}",
            "response_0": "help",
            "response_1": "refusal",
            "is_response_0_safe": False,
            "is_response_1_safe": True,
            "better_response_id": 0,
            "safer_response_id": 1,
        }


# Pairs of each part. At most one pair of a prompt, or five: five of the six pairs of a post have a ratio above 2.
# UltraFeedback's best is one of the two 3s; the other response is drawn, so between 0 and 12 pairs are left.
CLOSED_FORM = {
    "hh_rlhf": 3 * (COUNT - 1),
    "capybara": COUNT - 1,
    "orca": COUNT - 2,
    "shp": {1: COUNT, 5: 5 * COUNT},
    "ultrafeedback": {5: 5 * COUNT},
    "helpsteer": {1: COUNT, 5: 3 * COUNT},
    "safe_rlhf": COUNT,
}


def expected_pairs(part: str, most: int) -> int | None:
    """The pairs of a part in the version that takes at most ``most`` pairs of a post; None where they are drawn."""
    count = CLOSED_FORM[part]
    return count.get(most) if isinstance(count, dict) else count


@pytest.fixture
def stand_ins(tmp_path):
    """Return a function that writes rows for every file of a mixture, and gives the changes that name them."""

    def write(config: MixtureConfig) -> list[str]:
        makers = {
            "capybara_dpo": capybara,
            "orca_dpo": orca,
            "shp": shp,
            "ultrafeedback": ultrafeedback,
            "helpsteer": helpsteer,
            "pku_saferlhf_30k": safe_rlhf,
            "pku_saferlhf": safe_rlhf,
        }
        changes = []
        for i, part in enumerate(config.parts):
            for j, file in enumerate(part.files):
                rows = makers[file.path]() if file.path in makers else transcripts(file.path)
                path = tmp_path / f"{i}-{j}.jsonl"
                path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
                changes.append(f"parts.{i}.files.{j}.path={path}")
        return changes

    return write


@pytest.mark.parametrize("path", VERSIONS, ids=lambda path: path.parent.name)
def test_the_pairs_of_a_version_equal_the_closed_form(path, stand_ins, tmp_path):
    config = load_config(MixtureConfig, path)
    mixture = build_mixture(load_config(MixtureConfig, path, stand_ins(config)), cache_dir=tmp_path / "cache")
    most = 1 if config.name == "rlhflow_v1" else 5
    found = {part.name: part.pairs for part in mixture.report.parts}
    assert [part.expected for part in mixture.report.parts] == PUBLISHED[config.name]
    for part, pairs in found.items():
        expected = expected_pairs(part, most)
        assert pairs == expected or (expected is None and 0 < pairs < COUNT), part
    assert sum(found.values()) == sum(len(group.preferences) for group in mixture.sets["train"])
    safe = [group for group in mixture.sets["train"] if group.id.startswith("safe_rlhf/")]
    assert all(group.responses[group.preferences[0].chosen] == "refusal" for group in safe)


def test_every_file_of_a_version_is_a_source_of_the_catalogue():
    for path in VERSIONS:
        for part in load_config(MixtureConfig, path).parts:
            assert {file.path for file in part.files} <= SOURCES.keys()


def test_the_tree_shows_expected_beside_found_and_why_rows_went(stand_ins, tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    path = ROOT / "recipes/mixtures/rlhflow_v2/config.yaml"
    shown = CliRunner().invoke(app, ["data", "show", str(path), *stand_ins(load_config(MixtureConfig, path))])
    assert shown.exit_code == 0, shown.output
    assert "hh_rlhf: 33 groups, 33 pairs  (expected 115,547, -115,514)" in shown.output
    assert "− 1 rows: chosen equals rejected" in shown.output
    assert "pairs choose=given by=score min_ratio=2.0: 12 → 12 groups, 72 → 60 pairs" in shown.output
    assert "− 12 pairs: ratio not above 2" in shown.output
    assert "pairs by=mean: 12 → 12 groups, 0 + 72 considered → 60 pairs" in shown.output
    assert "− 12 pairs: equal ratings" in shown.output
