"""``plaudit evaluate --gold``: two files of rewards make the curve of proxy against gold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from plaudit.cli.main import app
from plaudit.records import Result


def lines(path: Path, rows) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Four samples of two prompts; the model's favourite is worth most of the first prompt and least of the second."""
    monkeypatch.chdir(tmp_path)
    ids = ("a", "b")
    samples = lines(
        tmp_path / "samples.jsonl",
        [{"id": id, "prompt": f"p{id}", "responses": [f"{id}{k}" for k in range(4)]} for id in ids],
    )
    proxy = lines(tmp_path / "proxy.jsonl", [{"id": id, "rewards": [1, 2, 3, 4]} for id in ids])
    gold = lines(tmp_path / "gold.jsonl", [{"id": "a", "rewards": [0, 2, 4, 6]}, {"id": "b", "rewards": [6, 4, 2, 0]}])
    return samples, proxy, gold


def run(*arguments):
    return CliRunner().invoke(app, [str(each) for each in arguments])


def test_the_curve_of_two_files_of_rewards_stands_in_the_result_and_is_printed(files, tmp_path):
    samples, proxy, gold = files
    done = run("rescore", proxy, samples, "--gold", gold, "-o", tmp_path / "out", "--all")
    assert done.exit_code == 0, done.output
    assert "2 groups have a gold reward, 0 have none" in done.output
    result = Result.model_validate_json((tmp_path / "out/samples/result.json").read_text())
    [measure] = [each for each in result.measures if each.attribute == "gold"]
    points = {point.n: point for point in measure.best_of_n.points}
    assert {n: points[n].gold.value for n in (1, 2, 4)} == pytest.approx({1: 3, 2: 3, 4: 3})
    assert points[4].oracle.value == 6
    assert points[4].regret.value == 3
    assert "KL" in done.output


def test_gold_rewards_of_no_group_end_it(files, tmp_path):
    samples, proxy, _ = files
    other = lines(tmp_path / "other.jsonl", [{"id": "elsewhere", "rewards": [1, 2]}])
    done = run("rescore", proxy, samples, "--gold", other, "-o", tmp_path / "out")
    assert done.exit_code != 0
    assert "no group has a gold reward" in done.output


def test_a_benchmark_takes_no_gold(files, tmp_path):
    _, proxy, gold = files
    done = run("rescore", proxy, "llmbar=nowhere", "--gold", gold, "-o", tmp_path / "out")
    assert done.exit_code != 0
    assert "labels of its own" in done.output


def test_gold_without_a_file_to_rate_is_refused(files, tmp_path):
    samples, proxy, gold = files
    run("rescore", proxy, samples, "-o", tmp_path / "out")
    done = run("rescore", tmp_path / "out/samples/items.jsonl", "--gold", gold)
    assert done.exit_code != 0
    assert "name the file as TARGET" in done.output
