"""Every benchmark of the catalogue keeps its contract, and the check of the contract sees a benchmark that does not."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from plaudit.evaluation.official.catalog import CATALOG, benchmark_named
from plaudit.statistics.metric import RowMean, TotalsFormula
from plaudit.testing.benchmarks import check_benchmark

CEILINGS = {"reward_bench_2": (3 + 1.01) / 4}
"""RewardBench 2: three subsets whole, and Ties with 0.01 for margins beyond any spread."""

FLOORS = {
    "big_bench_mistake": 4 / 12,  # no mistake is said to be anywhere: of twelve traces four have none
    "judgebench": 1 / 3,  # the second response is taken, the better one of every third pair
    "llmbar": 0.0,
    "m_reward_bench": 0.0,
    "ppe_preference": 10 / 29,  # of 48 winners a, b, tie, a, tie … the second response wins 10 of 29
    "prmbench": None,
    "processbench": 0.0,  # no error is said to be anywhere, so none is located
    "rag_reward_bench": 0.0,
    "reward_bench": 0.0,
    "reward_bench_2": 3 * (1 / 4) / 4,  # one of four is drawn in three subsets, and Ties are lost
    "rewardmath": 0.0,
    "rm_bench": 0.0,
    "rmb": 0.0,
    "ppe_correctness": None,
}


@pytest.mark.parametrize("name", CATALOG)
def test_a_benchmark_keeps_its_contract(name, tmp_path, official_rows):
    path = official_rows(name, tmp_path / name)
    check_benchmark(benchmark_named(name), path, ceiling=CEILINGS.get(name, 1.0), floor=FLOORS[name])


def test_every_benchmark_has_its_floor():
    assert set(FLOORS) == set(CATALOG)


def halved(metrics):
    name = metrics.primary
    metric = metrics.metrics[name]
    assert isinstance(metric, TotalsFormula)
    metrics.metrics[name] = replace(metric, formula=lambda totals: metric.formula(totals) / 2, proportions=None)
    return metrics


def out_of_range(metrics):
    metrics.metrics["new"] = RowMean(np.array([0.5, 1.5]), ["p", "q"])
    return metrics


def without_a_reason(metrics):
    del metrics.metrics[metrics.primary]
    return metrics


def broken(change):
    """Return LLMBar with ``change`` made to its metrics."""
    benchmark = benchmark_named("llmbar")
    return benchmark.model_copy(update={"compute": lambda items: change(benchmark.compute(items))})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (halved, "give a score of 0.5, not 1.0"),
        (out_of_range, "new is 1.0; its range|outside 0 to 1"),
        (without_a_reason, "score has neither a value nor a reason"),
    ],
)
def test_metrics_that_break_the_contract_are_seen(change, words, tmp_path, official_rows):
    path = official_rows("llmbar", tmp_path)
    with pytest.raises((AssertionError, ValueError), match=words):
        check_benchmark(broken(change), path)


def test_what_is_read_wrongly_or_lost_is_seen(tmp_path, official_rows):
    benchmark, path = benchmark_named("llmbar"), official_rows("llmbar", tmp_path)

    def of_the_first_half(items):
        return benchmark.compute(items[: len(items) // 2])

    def labels_turned(rows, gathering):
        benchmark.read(rows, gathering)
        gathering.facts = {name: {**facts, "better": 0} for name, facts in gathering.facts.items()}

    def without_subsets(rows, gathering):
        benchmark.read(rows, gathering)
        gathering.facts = {name: {"better": facts["better"]} for name, facts in gathering.facts.items()}
        gathering.found = Counter()

    def drops_missing(items):
        return benchmark.compute([item for item in items if None not in item.rewards])

    for wrong, words in (
        (benchmark.model_copy(update={"compute": of_the_first_half}), "in another order"),
        (benchmark.model_copy(update={"read": labels_turned}), "rewards that follow the labels give a score"),
        (benchmark.model_copy(update={"read": without_subsets}), "names no subset"),
        (benchmark.model_copy(update={"compute": drops_missing}), "no part of n"),
    ):
        with pytest.raises(AssertionError, match=words):
            check_benchmark(wrong, path, floor=None)
    with pytest.raises(AssertionError, match="equal rewards give a score of 0"):
        check_benchmark(benchmark, path, floor=0.5)
