"""``plaudit rescore``: what belongs to nothing is counted, and what contradicts itself is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from plaudit.cli.main import app
from plaudit.evaluation.store.published import published_name
from plaudit.records import Result


def lines(path: Path, rows) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def run(*arguments, code=0):
    done = CliRunner().invoke(app, [str(each) for each in arguments])
    assert done.exit_code == code, done.output
    return done


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [{"id": str(k), "prompt": f"p{k}", "chosen": "yes it is", "rejected": "no"} for k in range(4)]
    rewards = [{"id": str(k), "rewards": [1.0, 0.5 * k]} for k in range(4)]
    return lines(tmp_path / "pairs.jsonl", rows), rewards


def test_rewards_that_belong_to_no_group_stand_in_the_result_and_on_the_page(files, tmp_path):
    pairs, rewards = files
    given = lines(tmp_path / "rewards.jsonl", [*rewards, {"id": "x", "rewards": [1]}, {"id": "y", "rewards": [2]}])
    done = run("rescore", given, pairs, "-o", "out")
    assert "2 rows of rewards belong to no group of these targets, as 'x'" in done.output
    result = Result.model_validate_json((tmp_path / "out/pairs/result.json").read_text())
    assert result.details["rewards_of_no_group"] == 2
    run("report", "out/pairs", "-o", "page.html")
    assert "2 rows of rewards belong to no group." in (tmp_path / "page.html").read_text()


def test_gold_rewards_of_no_group_are_said(files, tmp_path):
    pairs, rewards = files
    given, gold = (
        lines(tmp_path / "rewards.jsonl", rewards),
        lines(tmp_path / "gold.jsonl", [*rewards, {"id": "stranger", "rewards": [1.0]}]),
    )
    done = run("rescore", given, pairs, "--gold", gold, "-o", "out")
    assert "1 rows of gold rewards belong to no group of these targets, as 'stranger'" in done.output


def test_a_file_of_rewards_that_was_mended_is_measured_at_once(files, tmp_path):
    pairs, rewards = files
    given = lines(tmp_path / "rewards.jsonl", [*rewards[:3], {"id": "3", "rewards": [1.0, 2.0, 3.0]}])
    assert "rewards" in run("rescore", given, pairs, "-o", "out", code=2).output
    assert (tmp_path / "out/pairs/items.partial.jsonl").exists()
    lines(tmp_path / "rewards.jsonl", rewards)
    run("rescore", given, pairs, "-o", "out")
    assert Result.model_validate_json((tmp_path / "out/pairs/result.json").read_text()).scored == 4


def test_measuring_and_only_writing_groups_exclude_each_other(files, tmp_path):
    pairs, rewards = files
    given = lines(tmp_path / "rewards.jsonl", rewards)
    done = run("evaluate", "--rewards", given, pairs, "--groups-only", "-o", "out", code=2)
    assert "give one of them" in done.output


def test_a_pipe_in_place_of_items_does_not_make_compare_wait(tmp_path):
    (tmp_path / "one").mkdir()
    os.mkfifo(tmp_path / "one/items.jsonl")
    done = run("compare", tmp_path / "one", tmp_path / "one", code=2)
    assert "is no regular file" in done.output


def test_the_same_command_again_counts_no_rewards_as_strangers(files, tmp_path):
    pairs, rewards = files
    given = lines(tmp_path / "rewards.jsonl", rewards)
    for _ in range(2):
        done = run("rescore", given, pairs, "-o", "out")
        assert "belong to no group" not in done.output
    assert "rewards_of_no_group" not in json.loads((tmp_path / "out/pairs/result.json").read_text())["details"]
    for _ in range(2):
        done = run("rescore", "out/pairs/items.jsonl", pairs, "-o", "again")
        assert "belong to no group" not in done.output


def test_options_of_reading_are_refused_where_nothing_is_read(files, tmp_path):
    pairs, rewards = files
    given = lines(tmp_path / "rewards.jsonl", rewards)
    run("rescore", given, pairs, "-o", "out")
    done = run("rescore", "out/pairs/items.jsonl", "--limit", 2, code=2)
    assert "--limit say how groups are read" in done.output


def test_a_model_beside_rewards_on_file_is_named(files, tmp_path):
    pairs, rewards = files
    given = lines(tmp_path / "rewards.jsonl", rewards)
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text("{}")
    done = run("evaluate", "model", "--rewards", given, pairs, code=2)
    assert "model is a model or a run; rewards on file take the place of a model" in done.output


def solved(tmp_path, name: str) -> str:
    rows = [{"problem": "p", "solution_reference": ["human_to_GPT-4", "a"], "score": [2.0, 1.0]}]
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    return lines(tmp_path / name, rows)


def test_published_results_have_the_name_that_they_are_given_or_a_short_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    judge = "dataset=judgebench,response_model=gpt-4o-2024-05-13,judge_name=reward_model,judge_model=Skywork_Gemma"
    given = solved(tmp_path, f"outputs/{judge}.jsonl")
    run("rescore", given, "-o", "short")
    named = Result.model_validate_json((tmp_path / "short/rewardmath/result.json").read_text())
    assert named.model == "Skywork_Gemma"
    run("rescore", given, "-o", "named", "--name", "Skywork, 27B")
    assert Result.model_validate_json((tmp_path / "named/rewardmath/result.json").read_text()).model == "Skywork, 27B"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("results/RewardMATH/ArmoRM_reward.json", "ArmoRM_reward"),
        ("/data/outputs/gpt-4o", "gpt-4o"),
        ("logs/Llama-3.1-8B.jsonl.gz", "Llama-3.1-8B"),
        ("Natural/evaluators/GPT-4/CoT/result.json", "GPT-4/CoT"),
        ("scores/org/model/", "model"),
        ("results.json", "results"),
        ("out/dataset=judgebench,judge_model=o1-mini-2024-09-12.jsonl", "o1-mini-2024-09-12"),
    ],
)
def test_a_published_file_is_called_by_what_tells_it_apart(path: str, name: str):
    assert published_name(path) == name


def test_rewards_on_file_can_be_named_and_items_keep_the_name_of_their_model(files, tmp_path):
    pairs, rewards = files
    given = lines(tmp_path / "rewards.jsonl", rewards)
    run("rescore", given, pairs, "-o", "out", "--name", "mine")
    assert Result.model_validate_json((tmp_path / "out/pairs/result.json").read_text()).model == "mine"
    done = run("rescore", "out/pairs/items.jsonl", "--name", "other", code=2)
    assert "--name" in done.output
    assert "items keep the name of their model" in done.output
