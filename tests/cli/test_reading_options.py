"""The options of ``plaudit score`` and ``plaudit evaluate`` that say how rows and rewards are read."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from plaudit.cli.main import app
from plaudit.models.checkpoint.files import save_reward_model
from plaudit.models.heads.token import TokenHead
from plaudit.records import Result, read_items

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


def write_rows(path: Path, *rows: dict[str, object]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def test_score_and_evaluate_take_the_label_columns_of_the_format_attributes(tmp_path, monkeypatch):
    rows = [{"prompt": f"p {n // 2}", "response": "x" * (n + 1), "fact": n % 3, "style": n % 2} for n in range(8)]
    write_rows(tmp_path / "rated.jsonl", *rows)
    (tmp_path / "by_length.py").write_text("def reward(prompt, responses):\n    return [len(r) for r in responses]\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "by_length", raising=False)
    named = ["by_length:reward", "rated.jsonl", "--format", "attributes", "--attributes", "fact, style"]
    shown = CliRunner().invoke(app, ["score", *named, "-o", "rewards.jsonl"])
    assert shown.exit_code == 0, shown.output
    lines = [json.loads(line) for line in (tmp_path / "rewards.jsonl").read_text().splitlines()]
    assert [line["rewards"] for line in lines] == [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]]
    shown = CliRunner().invoke(app, ["evaluate", *named, "-o", "results"])
    assert shown.exit_code == 0, shown.output
    result = Result.model_validate_json((tmp_path / "results/rated/result.json").read_text())
    assert [measure.name for measure in result.measures] == ["rating fact", "rating style"]
    for verb, told in (
        (["score", *named[:4]], "format attributes needs the names of its label columns"),
        (["evaluate", *named[:2], "--attributes", "fact"], "the format is auto"),
        (["score", *named[:5], "fact,,style"], "--attributes is 'fact,,style'; it must be names with commas between"),
        (["evaluate", *named[:5], "fact,nothing"], "nothing"),
    ):
        refused = CliRunner().invoke(app, [*verb, "-o", "none"])
        assert refused.exit_code == 2, refused.output
        assert told in refused.output
        assert not (tmp_path / "none").exists()


def test_evaluate_takes_an_aggregation_of_steps_and_gives_it_a_folder_of_its_own(tmp_path, monkeypatch, make_decoder):
    save_reward_model(make_decoder(head=TokenHead(classes=(0.0, 1.0))), tmp_path / "steps")
    row = {"prompt": "p", "responses": ["a\nb", "c\nd e"], "preferences": [{"chosen": 0, "rejected": 1}]}
    write_rows(tmp_path / "pairs.jsonl", row)
    monkeypatch.chdir(tmp_path)
    for options in ((), ("--aggregation", "min"), ("--aggregation", "log_odds")):
        shown = CliRunner().invoke(app, ["evaluate", "steps", "pairs.jsonl", *options])
        assert shown.exit_code == 0, shown.output
    found = {}
    for folder in ("steps", "steps-min", "steps-log_odds"):
        (item,) = read_items(tmp_path / "evaluations" / folder / "pairs" / "items.jsonl")
        found[folder] = item.rewards
        assert item.steps is not None
        first, last = item.steps[0]
        expected = {"steps": last, "steps-min": min(first, last)}
        if folder in expected:
            assert item.rewards[0] == pytest.approx(expected[folder])
    assert len(set(found.values())) >= 2
    (tmp_path / "by_size.py").write_text("def reward(prompt, responses):\n    return [len(r) for r in responses]\n")
    refused = CliRunner().invoke(app, ["evaluate", "by_size:reward", "pairs.jsonl", "--aggregation", "min"])
    assert "by_size:reward gives no rewards to aggregate" in refused.output


def test_data_show_takes_a_format_of_a_module_in_the_working_directory(tmp_path, monkeypatch):
    write_rows(tmp_path / "own.jsonl", {"ask": "Q", "good": "yes", "bad": "no"})
    (tmp_path / "own_format.py").write_text(
        "from plaudit.data.reading.sources.declared import PairFormat\n"
        'FORMAT = PairFormat(name="own", prompt="ask", responses=("good", "bad"))\n'
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "own_format", raising=False)
    shown = CliRunner().invoke(app, ["data", "show", "own.jsonl", "--format", "own_format:FORMAT"])
    assert shown.exit_code == 0, shown.output
    assert "format   own_format:FORMAT" in shown.output
    refused = CliRunner().invoke(app, ["data", "show", "own.jsonl", "--format", "own_fromat:FORMAT"])
    assert refused.exit_code == 2
    assert "format is 'own_fromat:FORMAT', which cannot be imported" in refused.output
