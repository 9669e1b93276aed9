"""Published figures, recomputed from the published per-item files; official counts of the official files."""

from __future__ import annotations

import numpy as np
import pytest

from plaudit.evaluation.official.catalog import benchmark_named
from plaudit.evaluation.result import assemble_result

OUTPUTS = "judgebench/outputs/dataset=judgebench,response_model=gpt-4o-2024-05-13,judge_name="


@pytest.mark.parametrize(
    ("file", "published"),
    [
        (
            "reward_model,judge_model=Skywork_Skywork-Reward-Llama-3.1-8B.jsonl",
            {"score": 62.29, "knowledge": 59.09, "reasoning": 64.29, "math": 76.79, "coding": 50.00},
        ),
        (
            "arena_hard,judge_model=o1-mini-2024-09-12.jsonl",
            {"score": 65.71, "knowledge": 58.44, "reasoning": 62.24, "math": 82.14, "coding": 78.57},
        ),
    ],
)
def test_judgebench_gives_the_published_figures_of_a_reward_model_and_of_a_judge(shared, estimate, file, published):
    benchmark = benchmark_named("judgebench")
    items = benchmark.read_results(shared(OUTPUTS + file))
    measure = benchmark.measure(items, estimate)
    assert {name: round(100 * measure.metrics[name].value, 2) for name in published} == published
    assert (measure.counts.n, measure.counts.failed) == (350, 0)
    assert measure.missing == {"claude-3-5-sonnet-20240620": "0 of 270 rows"}


def test_a_judge_that_changes_its_mind_with_the_order_is_counted(shared, estimate):
    benchmark = benchmark_named("judgebench")
    items = benchmark.read_results(shared(OUTPUTS + "arena_hard,judge_model=o1-mini-2024-09-12.jsonl"))
    details = benchmark.measure(items, estimate).details
    assert details["pairs_judged_in_both_orders"] == 350
    assert details["pairs_whose_winner_changes_with_the_order"] == 76


@pytest.mark.parametrize(
    ("name", "found", "whole"),
    [
        ("rm_bench", {"chat": 129, "safety-refuse": 284}, False),
        ("llmbar", {"Natural": 100, "Adversarial/Neighbor": 134}, False),
        ("judgebench", {"gpt-4o-2024-05-13": 350}, False),
    ],
)
def test_the_official_files_hold_the_official_numbers_of_rows(shared, name, found, whole):
    benchmark = benchmark_named(name)
    loaded = benchmark.load(shared(name))
    assert dict(loaded.found) == found
    assert {subset: benchmark.expected[subset] for subset in found} == found
    assert set(loaded.missing) == set(benchmark.expected) - set(found)
    assert (loaded.refused, loaded.repeated) == ((), 0)


def test_rmb_puts_the_rows_of_a_prompt_into_one_group_and_loses_none(shared):
    loaded = benchmark_named("rmb").load(shared("rmb"))
    assert sum(loaded.found.values()) == 459 + 510 + 306 + 447 + 473 + 111 + 121 + 71 + 86 + 100
    assert len(loaded.groups) == 658
    assert len(loaded.missing) == 98 - 10


@pytest.mark.parametrize("name", ["rm_bench", "llmbar", "judgebench", "rmb"])
def test_a_model_that_gives_lengths_reaches_just_what_the_length_only_baseline_says(shared, estimate, score, name):
    benchmark = benchmark_named(name)
    items = score(benchmark.load(shared(name)), lambda group, index: float(len(group.responses[index])))
    measure = benchmark.measure(items, estimate)
    assert len(measure.metrics) > 3
    for figure, rules in measure.baselines.items():
        assert measure.metrics[figure] == rules["longer_response"]


def test_the_length_only_baselines_of_the_shared_files(shared, estimate, score):
    def length_only(name):
        benchmark = benchmark_named(name)
        measure = benchmark.measure(score(benchmark.load(shared(name)), lambda group, index: 0.0), estimate)
        return {figure: round(100 * rules["longer_response"].value, 2) for figure, rules in measure.baselines.items()}

    assert length_only("judgebench")["score"] == 46.00
    found = length_only("rm_bench")
    assert (found["hard"], found["normal"], found["easy"]) == (2.47, 22.13, 85.05)


def test_the_items_alone_give_every_figure_again(shared, score, tmp_path):
    benchmark = benchmark_named("rmb")
    rng = np.random.default_rng(0)
    items = score(benchmark.load(shared("rmb")), lambda group, index: float(rng.normal()))
    again = [type(item).model_validate_json(item.model_dump_json()) for item in items]
    first, second = (
        assemble_result(each, name="rmb", benchmark=benchmark, model="m", resamples=20) for each in (items, again)
    )
    assert first.measures == second.measures
