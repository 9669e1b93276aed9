"""Stated 95 % intervals hold the truth in 93 to 97 % of simulated studies, and paired tests keep their level of 5 %.

``benchmarks/coverage.py`` has the whole grid of settings; these are the ones that every change must keep.
"""

from __future__ import annotations

import importlib.util
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from plaudit.statistics.intervals import fraction_interval, mean_interval, proportion_interval, wilson_interval
from plaudit.statistics.metric import IntervalSettings, PromptSums, interval, ratio
from plaudit.statistics.paired_tests import (
    mcnemar_exact,
    paired_difference,
    permutation_test,
    sign_test,
)

pytestmark = pytest.mark.slow

RUNS = 2000
ERROR = 3 * (0.95 * 0.05 / RUNS) ** 0.5  # three standard deviations of a simulated share of 95 %: 0.0146
SIZES = [(2,), (4,), (1, 1, 2, 8)]


def held(intervals, truth: float) -> float:
    """Return the share of intervals that hold the truth; one that is not there does not."""
    return float(np.mean([each is not None and each.low <= truth <= each.high for each in intervals]))


def bootstrap(values, index, run):
    """Return the mean as a formula of totals, which resamples prompts."""
    sums = PromptSums.of_rows({"sum": values, "n": np.ones(len(values))}, index.tolist())
    metric = sums.metric(lambda totals: ratio(totals["sum"], totals["n"]), len(values))
    return interval(metric, IntervalSettings(resamples=400, seed=run))


def clustered(rng, prompts: int, sizes, share: float):
    """Return outcomes and prompts; two outcomes of one prompt correlate at 0.3."""
    rates = rng.beta(share * 7 / 3, (1 - share) * 7 / 3, prompts)
    index = np.repeat(np.arange(prompts), rng.choice(sizes, prompts))
    return (rng.random(len(index)) < rates[index]).astype(float), index


@pytest.mark.parametrize("share", [0.5, 0.8])
@pytest.mark.parametrize("n", [30, 200])
def test_wilson_covers_independent_items(n, share):
    rng = np.random.default_rng(0)
    found = held((wilson_interval(int(k), n) for k in rng.binomial(n, share, RUNS)), share)
    assert 0.93 - ERROR < found < 0.97 + ERROR


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize(("prompts", "share"), [(20, 0.5), (40, 0.7), (200, 0.9)])
def test_a_share_and_a_mean_share_cover_clustered_items(prompts, sizes, share):
    rng = np.random.default_rng(1)
    draws = [clustered(rng, prompts, sizes, share) for _ in range(RUNS)]
    for of in (proportion_interval, fraction_interval):
        found = held((of(values, index) for values, index in draws), share)
        assert 0.93 - ERROR < found < 0.97 + ERROR


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("prompts", [5, 20, 100])
def test_a_mean_covers_clustered_numbers(prompts, sizes):
    rng = np.random.default_rng(2)
    found = []
    for _ in range(RUNS):
        index = np.repeat(np.arange(prompts), rng.choice(sizes, prompts))
        found.append(mean_interval(rng.normal(size=prompts)[index] + rng.normal(size=len(index)), index))
    assert 0.93 - ERROR < held(found, 0.0) < 0.97 + ERROR


@pytest.mark.parametrize("prompts", [20, 100])
def test_the_cluster_bootstrap_covers_clustered_numbers(prompts):
    rng = np.random.default_rng(3)
    index = np.repeat(np.arange(prompts), 3)
    found = [
        bootstrap(rng.normal(size=prompts)[index] + rng.normal(size=len(index)), index, run) for run in range(RUNS)
    ]
    assert 0.93 - ERROR < held(found, 0.0) < 0.97 + ERROR


@pytest.mark.parametrize("sizes", [(1,), *SIZES])
@pytest.mark.parametrize("prompts", [20, 100])
def test_paired_tests_keep_their_level_and_the_difference_is_covered(prompts, sizes):
    rng = np.random.default_rng(4)
    rejected = {"permutation": 0, "sign": 0, "mcnemar": 0, "items": 0}
    student, drawn = [], []
    for run in range(RUNS):
        first, index = clustered(rng, prompts, sizes, 0.7)
        rates = rng.beta(2.1, 0.9, prompts)
        second = (rng.random(len(index)) < rates[index]).astype(float)
        differences = np.where(rng.random(len(index)) < 0.5, 0.0, first - second)
        rejected["permutation"] += permutation_test(differences, index) < 0.05
        rejected["sign"] += sign_test(differences, index) < 0.05
        by_item = mcnemar_exact(int((differences > 0).sum()), int((differences < 0).sum()))
        rejected["mcnemar" if sizes == (1,) else "items"] += by_item < 0.05
        student.append(paired_difference(differences, index))
        drawn.append(bootstrap(differences, index, run))
    for name in ("permutation", "sign", "mcnemar"):
        assert rejected[name] / RUNS < 0.05 + ERROR
    if sizes == (1, 1, 2, 8) and prompts == 100:
        assert rejected["items"] / RUNS > 0.08  # what happens where clusters are not respected
    assert 0.93 - ERROR < held(student, 0.0) < 0.97 + ERROR
    if prompts > 20:
        assert 0.92 - ERROR < held(drawn, 0.0) < 0.97 + ERROR


# ------------------------------------------------------------------------------ every kind of interval, a few cells


@pytest.fixture(scope="module")
def every_kind():
    """Hits of every kind of interval at 10 prompts, by ``benchmarks/coverage.py``."""
    folder = Path(__file__).parents[2] / "benchmarks"
    spec = importlib.util.spec_from_file_location("coverage_study", folder / "coverage.py")
    study = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(folder))
    try:
        spec.loader.exec_module(study)
    finally:
        sys.path.remove(str(folder))
    return study.count(150, partial(study.every_kind_trial, prompts=10), seed=5)


def test_every_kind_of_interval_holds_the_truth_at_ten_prompts(every_kind):
    # three standard deviations of a simulated share of 93 % over 150 runs: 0.062
    assert {name: each["value"] for name, each in every_kind.items() if each["value"] < 0.93 - 0.062} == {}
    assert len(every_kind) == 16
