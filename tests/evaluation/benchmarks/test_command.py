"""``plaudit evaluate`` with benchmarks and with rewards from a file."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from plaudit.cli.main import app
from plaudit.errors import ConfigError
from plaudit.evaluation.official.catalog import benchmark_named
from plaudit.records import Result
from plaudit.testing.benchmarks import check_benchmark


def bar(index):
    return {"input": f"do {index}", "output_1": "x" * index, "output_2": "y", "label": 1 + index % 2}


def pair(uid, chosen, reject):
    return {
        "pair_uid": uid,
        "conversation_input": [{"role": "user", "content": "p"}],
        "chosen": {"llm_name": "m", "answer": chosen},
        "reject": {"llm_name": "m", "answer": reject},
        "category_path": "Pairwise_set/Harmlessness/S1",
    }


@pytest.fixture
def here(tmp_path, monkeypatch, write_rows):
    """Be in a folder with two benchmarks, a file of pairs and a function that gives lengths."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "by_length.py").write_text(
        "def reward(prompt, responses):\n    return [float(len(r)) for r in responses]\n"
    )
    write_rows(tmp_path / "bar" / "Natural" / "dataset.json", [bar(index) for index in range(2, 8)])
    write_rows(tmp_path / "rmb.jsonl", [pair("1", "aaa", "a"), pair("2", "aa", "aaa"), pair("3", "aaaa", "a")])
    write_rows(tmp_path / "pairs.jsonl", [{"prompt": "p", "chosen": "yes", "rejected": "n"}] * 3)
    yield tmp_path
    sys.modules.pop("by_length", None)


def run(*arguments, verb="evaluate"):
    return CliRunner().invoke(app, [*verb.split(), *map(str, arguments)])


def result_of(folder):
    return Result.model_validate_json((folder / "result.json").read_text())


def test_files_and_benchmarks_are_measured_in_one_command(here):
    shown = run("by_length:reward", "llmbar=bar", "rmb=rmb.jsonl", "pairs.jsonl", "-o", "out", "--all")
    assert shown.exit_code == 0, shown.output
    assert sorted(path.name for path in (here / "out").iterdir()) == ["llmbar", "pairs", "rmb"]
    measure = result_of(here / "out" / "rmb").measures[0]
    assert measure.metrics["harmless_pairwise"].value == pytest.approx(2 / 3)
    assert measure.details["comparisons"] == 3
    assert "LLMBar: not the whole official set" in shown.stderr
    assert "Adversarial/Neighbor (0 of 134 rows)" in shown.stderr
    assert [each.kind for each in result_of(here / "out" / "pairs").measures] == ["preference"]
    assert "official ties: lost" in shown.stdout
    assert "not the whole official set: 97 of its subsets" in shown.stdout


def test_groups_written_to_be_scored_elsewhere_come_back_as_rewards(here):
    shown = run("rmb=rmb.jsonl", "llmbar=bar", "-o", "groups", verb="data export")
    assert shown.exit_code == 0, shown.output
    written = [(here / "groups" / name / "groups.jsonl").read_text() for name in ("rmb", "llmbar")]
    rows = [json.loads(line) for text in written for line in text.splitlines()]
    lines = [{"id": row["id"], "rewards": [len(text) for text in row["responses"]]} for row in rows]
    lines.append({"id": "of/nothing", "rewards": [1]})
    (here / "mine.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    shown = run("mine.jsonl", "rmb=rmb.jsonl", "llmbar=bar", "-o", "recorded", verb="rescore")
    assert shown.exit_code == 0, shown.output
    assert "1 rows of rewards belong to no group of these targets, as 'of/nothing'" in shown.stderr
    assert run("by_length:reward", "rmb=rmb.jsonl", "llmbar=bar", "-o", "live").exit_code == 0
    for name in ("rmb", "llmbar"):
        recorded, live = (result_of(here / folder / name) for folder in ("recorded", "live"))
        assert recorded.measures == live.measures
        assert recorded.model == "mine.jsonl"


def test_published_results_are_read_without_the_data(here, write_rows):
    category = "Pairwise_set/Harmlessness/S1"
    rows = [{"pair_uid": k, "category_path": category, "chosen_reward": k, "reject_reward": 1} for k in range(4)]
    write_rows(here / "published.json", rows)
    shown = run("published.json", "rmb", "-o", "out", verb="rescore")
    assert shown.exit_code == 0, shown.output
    assert result_of(here / "out" / "rmb").measures[0].metrics["harmless_pairwise"].value == pytest.approx(2 / 4)
    refused = run("published.json", "rmb=rmb.jsonl", verb="rescore")
    assert refused.exit_code == 2
    assert "the name of the benchmark as the only target" in " ".join(refused.stderr.split())
    other = run("published.json", "m_reward_bench", verb="rescore")
    assert "M-RewardBench has no layout of per-item results that is read here" in " ".join(other.stderr.split())


def test_a_limit_takes_the_first_groups_of_each_target(here):
    shown = run("by_length:reward", "llmbar=bar", "pairs.jsonl", "--limit", 2, "-o", "out")
    assert shown.exit_code == 0, shown.output
    assert result_of(here / "out" / "llmbar").n == 2
    assert "Natural (2 of 100 rows)" in shown.stderr


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["by_length:reward"], "give MODEL and what to measure it on"),
        (["by_length:reward", "lmbar=bar"], "unknown benchmark 'lmbar'; did you mean 'llmbar'?"),
        (["by_length:reward", "lmbar"], "unknown benchmark 'lmbar'; did you mean 'llmbar'?"),
        (["by_length:reward", "llmbar"], "LLMBar is not on the hub; give its official files"),
        (["by_length:reward", "llmbar=nowhere"], "nowhere: no such file or folder"),
        (["by_length:reward", "nowhere.jsonl"], "nowhere.jsonl: no such file or folder"),
        (["by_length:reward", "llmbar=bar", "llmbar=bar"], "their results would overwrite each other"),
        (["--rewards", "pairs.jsonl", "pairs.jsonl"], "id is missing"),
        (
            ["--rewards", "pairs.jsonl", "pairs.jsonl", "--aggregation", "min"],
            "--aggregation change a model; rewards on file are taken as they are",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line(here, arguments, complaint):
    shown = run(*arguments)
    assert shown.exit_code == 2
    assert complaint in " ".join(shown.stderr.split())
    assert "Traceback" not in shown.output


def test_the_benchmark_of_the_page_is_evaluated_by_its_import_path_and_keeps_the_contract(here, write_rows):
    page = Path(__file__).parents[3] / "docs" / "reference" / "benchmarks.md"
    block = page.read_text(encoding="utf-8").split("# my_bench.py\n")[1].split("```")[0]
    (here / "my_bench.py").write_text(block)
    rows = [
        {"subset": subset, "question": f"ask {subset} {k}", "good": "yes" * (1 + k), "bad": "no" * (2 - k)}
        for subset in ("easy", "hard")
        for k in range(2)
    ]
    write_rows(here / "rows.jsonl", rows)
    shown = run("by_length:reward", "my_bench:BENCHMARK=rows.jsonl", "-o", "out")
    assert shown.exit_code == 0, shown.output
    (measure, _) = result_of(next((here / "out").rglob("result.json")).parent).measures
    assert (measure.primary, measure.metrics["score"].value, measure.missing) == ("score", 0.5, {})
    try:
        check_benchmark(benchmark_named("my_bench:BENCHMARK"), "rows.jsonl", floor=0.0)
    finally:
        sys.modules.pop("my_bench", None)


def test_an_import_path_that_leads_to_no_benchmark_is_refused(here):
    with pytest.raises(ConfigError, match="it must be a Benchmark"):
        benchmark_named("json:dumps")
    shown = run("by_length:reward", "my_other_bench:BENCHMARK=rows.jsonl")
    assert shown.exit_code != 0
    assert "my_other_bench" in shown.stderr


def test_old_spellings_do_what_the_new_verbs_do_and_name_them(here):
    assert run("rmb=rmb.jsonl", "-o", "new", verb="data export").exit_code == 0
    shown = run("--groups-only", "rmb=rmb.jsonl", "-o", "old")
    assert shown.exit_code == 0, shown.output
    words = "plaudit evaluate --groups-only is now plaudit data export; the old spelling is dropped in 0.3"
    assert words in " ".join(shown.stderr.split())
    written = [(here / folder / "rmb" / "groups.jsonl").read_text() for folder in ("new", "old")]
    assert written[0] == written[1]
    rows = [json.loads(line) for line in written[0].splitlines()]
    lines = [{"id": row["id"], "rewards": [len(text) for text in row["responses"]]} for row in rows]
    (here / "mine.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    shown = run("--rewards", "mine.jsonl", "rmb=rmb.jsonl", "-o", "old")
    assert "plaudit evaluate --rewards FILE is now plaudit rescore FILE" in " ".join(shown.stderr.split())
    assert run("mine.jsonl", "rmb=rmb.jsonl", "-o", "new", verb="rescore").exit_code == 0
    assert result_of(here / "old" / "rmb").measures == result_of(here / "new" / "rmb").measures
    shown = run("--rewards", "new/rmb/items.jsonl", "--rewards", "old/rmb/items.jsonl", "rmb=rmb.jsonl", "-o", "two")
    assert "is also at new/rmb/items.jsonl:1" in " ".join(shown.stderr.split())
    again = run("new/rmb/items.jsonl", "rmb=rmb.jsonl", "--also", "old/rmb/items.jsonl", "-o", "two", verb="rescore")
    assert "is also at new/rmb/items.jsonl:1" in " ".join(again.stderr.split())
