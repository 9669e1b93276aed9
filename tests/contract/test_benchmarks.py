"""Every benchmark of the catalogue keeps its contract, and the check of the contract sees a benchmark that does not."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from plaudit.evaluation.official.catalog import CATALOG, benchmark_named
from plaudit.evaluation.store.items import item_score
from plaudit.scoring.scorer import GroupRewards
from plaudit.statistics.metric import IntervalSettings, RowMean, TotalsFormula
from plaudit.testing.benchmarks import _ideal, check_benchmark

CEILINGS = {"reward_bench_2": (3 + 1.01) / 4}
"""RewardBench 2: three subsets whole, and Ties with 0.01 for margins beyond any spread."""

FLOORS = {
    "big_bench_mistake": 4 / 12,  # no mistake is said to be anywhere: of twelve traces four have none
    "code_pref_bench": 0.5,  # an undecided pair counts half
    "judgebench": 1 / 3,  # the second response is taken, the better one of every third pair
    "llmbar": 0.0,
    "m_reward_bench": 0.0,
    "mr_math": None,
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


def drawn(group, rng):
    steps = None if group.steps is None else tuple(tuple(rng.random(len(own)).tolist()) for own in group.steps)
    return GroupRewards(group.id, tuple(rng.normal(size=len(group.responses)).tolist()), steps=steps)


def followed(group, rng):
    """Rewards that follow the labels; steps without labels follow the response that they are of."""
    found = _ideal(group)
    if group.steps is None or any(step.label is not None for own in group.steps for step in own or ()):
        return found
    steps = tuple(
        (1.0 if reward == max(found.rewards) else 0.5,) * len(own or ())
        for reward, own in zip(found.rewards, group.steps, strict=True)
    )
    return replace(found, steps=steps)


def metrics_of(name, folder, official_rows, scorer):
    benchmark, rng = benchmark_named(name), np.random.default_rng(11)
    loaded = benchmark.load(official_rows(name, folder / name))
    items = [
        item_score(each, scorer(each, rng)).model_copy(update={"metadata": dict(loaded.facts[each.id])})
        for each in loaded.groups
    ]
    return benchmark.measure(items, IntervalSettings(confidence=0.999, resamples=200))


@pytest.mark.parametrize("name", CATALOG)
def test_random_rewards_have_the_chance_value_of_every_metric_within_its_interval(name, tmp_path, official_rows):
    measure = metrics_of(name, tmp_path, official_rows, drawn)
    found = {metric: rules["random"] for metric, rules in measure.baselines.items() if "random" in rules}
    assert found
    for metric, chance in found.items():
        figure = measure.metrics[metric]
        assert figure.low <= chance.value <= figure.high, f"{metric}: {figure}, by chance {chance.value}"


@pytest.mark.parametrize("name", CATALOG)
def test_rewards_that_follow_the_labels_reach_the_ceiling_of_every_metric(name, tmp_path, official_rows):
    measure = metrics_of(name, tmp_path, official_rows, followed)
    for metric, figure in measure.metrics.items():
        if metric in ("separability", "brier"):
            continue  # of battles that end in a tie, which no reward foretells
        assert figure.value == pytest.approx(ceiling_of(name, metric), abs=1e-9), metric


OTHER_CEILINGS = {
    "tie_rate": 0.0,
    "loss": 0.0,
    "gap_to_english": 0.0,
    "Ties": 1.01,
}
"""Ceilings of metrics that are no proportions of things done right."""


def ceiling_of(name, metric):
    if metric.startswith("score"):
        return CEILINGS.get(name, 1.0)
    return OTHER_CEILINGS.get("loss" if metric.startswith("loss") else metric, 1.0)
