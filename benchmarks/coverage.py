"""How often stated 95 % intervals hold the truth, and how often paired tests find a difference that is not there.

    python benchmarks/coverage.py [--runs 1000] [--only STUDY] [-o benchmarks/results/coverage.json]

Every study draws data of a known truth: prompts have a share of right answers of their own (beta distributed, with
correlation ``rho`` between two items of one prompt) and come with 1 item, 2, 4, or a mixture of 1, 1, 2 and 8 items.
The plain percentile bootstrap over prompts, which cuts resamples at 2.5 % and 97.5 %, stands beside the intervals as
what they are measured against. ``--only`` runs the studies whose names hold these words, in place of those in the file.

Figures that are no means over items are compared as ``plaudit compare`` does: a blend of three subsets of very unequal
size that weigh the same, and F1 of the first error over solutions of which a prompt has one to four. "Exchangeable"
models are equal everywhere; models of "another make-up" have equal figures made of unequal parts.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import time
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import machine
import numpy as np
from scipy.special import expit, ndtr, ndtri

from plaudit.evaluation.metrics.composite import composite, mean_of
from plaudit.records import Interval, write_json
from plaudit.statistics.agreement import length_balanced_accuracy, length_controlled_accuracy
from plaudit.statistics.calibration import (
    brier_scores,
    calibration_error_interval,
    expected_calibration_error,
    temperature_interval,
)
from plaudit.statistics.classification import auc_interval
from plaudit.statistics.compare import PairedMetric, PairedSettings, compare
from plaudit.statistics.correlation import correlation
from plaudit.statistics.intervals import fraction_interval, mean_interval, proportion_interval, wilson_interval
from plaudit.statistics.metric import (
    Columns,
    IntervalSettings,
    Metric,
    PromptSums,
    RowMean,
    RowStatistic,
    harmonic,
    interval,
    ratio,
)
from plaudit.statistics.paired_tests import paired_difference, permutation_test, sign_test
from plaudit.statistics.position_bias import both_orders

SIZES = {"1": (1,), "2": (2,), "4": (4,), "mixture of 1 1 2 8": (1, 1, 2, 8)}
RESAMPLES = 400
PERMUTATIONS = 399
BLENDS = {
    "exchangeable": ((0.6, 0.75, 0.9), (0.6, 0.75, 0.9)),
    "another make-up": ((0.6, 0.75, 0.9), (0.9, 0.75, 0.6)),
    "better": ((0.7, 0.8, 0.9), (0.6, 0.7, 0.9)),
}
FIRST_ERRORS = {
    "exchangeable": ((0.4, 0.8), (0.4, 0.8)),
    "another make-up": ((0.3, 0.9), (0.45, 0.45)),
    "better": ((0.5, 0.8), (0.4, 0.8)),
}
CELLS = {
    "3 and 100 prompts": ((3, 100), (0.7, 0.7)),
    "100 and 5 prompts": ((100, 5), (0.95, 0.3)),
    "10, 30 and 120 prompts": ((10, 30, 120), (0.6, 0.7, 0.8)),
    "4 of 20 prompts": ((20,) * 4, (0.95,) * 4),
    "10 of 5 prompts": ((5,) * 10, (0.5,) * 10),
    "23 of 50 prompts": ((50,) * 23, (0.98,) * 23),
    "the sections of RewardBench": ((164, 164, 164, 164, 164, 164, 447), (0.9,) * 7),
}
"""Sizes and rates of subsets that weigh alike."""
Draw = tuple[np.ndarray, np.ndarray]
Trial = Callable[[np.random.Generator, int], dict[str, bool | None]]
"""For each interval, True where it holds the truth; None where there is none."""
PROMPTS = (5, 10, 30, 300)


def shares(rng: np.random.Generator, *, prompts: int, sizes: tuple[int, ...], share: float, rho: float) -> Draw:
    """Return [item] whether it is right and the prompt it belongs to; the true share is ``share``."""
    scale = (1 - rho) / rho
    rates = rng.beta(share * scale, (1 - share) * scale, prompts)
    index = np.repeat(np.arange(prompts), rng.choice(sizes, prompts))
    return (rng.random(len(index)) < rates[index]).astype(float), index


def reals(rng: np.random.Generator, *, prompts: int, sizes: tuple[int, ...], skewed: bool) -> Draw:
    """Return [item] numbers of mean 0 with half of their variance between prompts, and their prompts."""
    shared = rng.exponential(size=prompts) - 1 if skewed else rng.normal(size=prompts)
    index = np.repeat(np.arange(prompts), rng.choice(sizes, prompts))
    return shared[index] + rng.normal(size=len(index)), index


def plain_bootstrap(values: np.ndarray, index: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """Return the 2.5 % and 97.5 % quantiles of the mean over resampled prompts."""
    sums, sizes = np.bincount(index, weights=values), np.bincount(index)
    drawn = rng.integers(len(sums), size=(RESAMPLES, len(sums)))
    low, high = np.quantile(sums[drawn].sum(1) / sizes[drawn].sum(1), [0.025, 0.975])
    return float(low), float(high)


def rate(hits: int, runs: int) -> dict[str, float]:
    found = wilson_interval(hits, runs)
    assert found is not None
    return {"value": round(found.value, 4), "low": round(found.low, 4), "high": round(found.high, 4)}


def count(runs: int, trial: Trial, seed: int) -> dict[str, Any]:
    """Return for each name that ``trial`` answers with the share of runs in which it is true, of those that answer."""
    hits: dict[str, list[bool]] = {}
    rng = np.random.default_rng(seed)
    for run in range(runs):
        for name, is_hit in trial(rng, run).items():
            hits.setdefault(name, []).extend([] if is_hit is None else [is_hit])
    refused = {name: {"refused": round(1 - len(each) / runs, 4)} for name, each in hits.items() if len(each) < runs}
    return {name: rate(sum(each), len(each)) | refused.get(name, {}) for name, each in hits.items() if each}


def covers(interval: Any, truth: float) -> bool:
    return interval is not None and interval.low <= truth <= interval.high


def resampled_mean(values: np.ndarray, index: np.ndarray, run: int) -> Any:
    """Return the mean as a formula of totals over prompts, which are resampled."""
    sums = PromptSums.of_rows({"sum": values, "n": np.ones(len(values))}, index.tolist())
    metric = sums.metric(lambda totals: ratio(totals["sum"], totals["n"]), len(values))
    return interval(metric, IntervalSettings(resamples=RESAMPLES, seed=run))


def share_trial(
    rng: np.random.Generator, run: int, *, prompts: int, sizes: tuple[int, ...], share: float, rho: float
) -> dict[str, bool]:
    values, index = shares(rng, prompts=prompts, sizes=sizes, share=share, rho=rho)
    low, high = plain_bootstrap(values, index, rng)
    found = {
        "share": covers(proportion_interval(values, index), share),
        "mean_share": covers(fraction_interval(values, index), share),
        "cluster_bootstrap": covers(resampled_mean(values, index, run), share),
        "plain_bootstrap": low <= share <= high,
    }
    if sizes == (1,):
        found["wilson"] = covers(wilson_interval(float(values.sum()), len(values)), share)
    return found


def mean_trial(
    rng: np.random.Generator, run: int, *, prompts: int, sizes: tuple[int, ...], skewed: bool
) -> dict[str, bool]:
    values, index = reals(rng, prompts=prompts, sizes=sizes, skewed=skewed)
    low, high = plain_bootstrap(values, index, rng)
    return {
        "mean": covers(mean_interval(values, index), 0.0),
        "cluster_bootstrap": covers(resampled_mean(values, index, run), 0.0),
        "plain_bootstrap": low <= 0.0 <= high,
    }


def paired_trial(
    rng: np.random.Generator, run: int, *, prompts: int, sizes: tuple[int, ...], share: float, gain: float
) -> dict[str, bool]:
    """Two models with one share of right answers (plus ``gain`` for the first), alike on easy and hard prompts."""
    first, index = shares(rng, prompts=prompts, sizes=sizes, share=share, rho=0.3)
    rates = rng.beta(share * 7 / 3, (1 - share) * 7 / 3, prompts)
    second = (rng.random(len(index)) < rates[index]).astype(float)
    # half of the items are answered alike, as by two models that find the same ones hard
    second = np.where(rng.random(len(index)) < 0.5, first, second)
    if gain:
        first = np.maximum(first, rng.random(len(index)) < gain / (1 - share))
    differences = first - second
    drawn = resampled_mean(differences, index, run)
    return {
        "permutation_test": permutation_test(differences, index, seed=run) < 0.05,
        "sign_test": sign_test(differences, index) < 0.05,
        "item_level_sign_test": sign_test(differences, np.arange(len(index))) < 0.05,
        "paired_difference_covers": covers(paired_difference(differences, index), gain),
        "paired_bootstrap_covers": covers(drawn, gain),
    }


def figure_trial(metrics: Sequence[Metric | None], gain: float, run: int) -> dict[str, bool]:
    first, second = metrics
    assert first is not None
    assert second is not None
    settings = PairedSettings(resamples=RESAMPLES, permutations=PERMUTATIONS, seed=run)
    found = compare(first, second, settings)
    assert isinstance(found, PairedMetric)
    return {"test_rejects": found.p_value < 0.05, "interval_covers": covers(found.difference, gain)}


def blend_trial(
    rng: np.random.Generator, run: int, *, subsets: tuple[int, ...], rates: tuple[tuple[float, ...], tuple[float, ...]]
) -> dict[str, bool]:
    """Two models on subsets of these numbers of prompts, with their rates of right answers in each."""
    cells = np.repeat(np.arange(len(subsets)), subsets)
    chances = tuple(np.array(each)[cells] for each in rates)
    hardness = rng.normal(size=len(cells))
    # right where a normal number, shared in part with the other model, lies below the quantile of the rate
    sides = [
        (0.7 * hardness + math.sqrt(0.51) * rng.normal(size=len(cells)) < ndtri(each)).astype(float) for each in chances
    ]
    names, prompts = [f"subset {k}" for k in cells], [f"prompt {k}" for k in range(len(cells))]
    part = mean_of(*(f"subset {k}" for k in range(len(subsets))))
    metrics = [composite(side.tolist(), names, prompts, part) for side in sides]
    gain = float(np.mean(rates[0]) - np.mean(rates[1]))
    return figure_trial(metrics, gain, run)


def cells_trial(
    rng: np.random.Generator, run: int, *, subsets: tuple[int, ...], rates: tuple[float, ...]
) -> dict[str, bool]:
    """A model on subsets of different prompts that weigh alike: our interval, and a plain bootstrap over prompts."""
    cells = np.repeat(np.arange(len(subsets)), subsets)
    right = (rng.random(len(cells)) < np.array(rates)[cells]).astype(float)
    names, prompts = [str(k) for k in cells], [str(k) for k in range(len(cells))]
    part = mean_of(*(str(k) for k in range(len(subsets))))
    metric = composite(right.tolist(), names, prompts, part)
    assert metric is not None
    found = interval(metric, IntervalSettings(resamples=RESAMPLES, seed=run))
    times = rng.multinomial(len(cells), np.full(len(cells), 1 / len(cells)), size=RESAMPLES)
    members = np.eye(len(subsets))[cells]
    with np.errstate(invalid="ignore"):
        drawn = np.nanmean((times * right) @ members / (times @ members), axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    truth = float(np.mean(rates))
    return {
        "blend": covers(found, truth),
        "plain_bootstrap": bool(low <= truth <= high),
    }


def f1_of_totals(totals: Columns) -> np.ndarray:
    return harmonic(ratio(totals["erroneous"], totals["n erroneous"]), ratio(totals["right"], totals["n right"]))


def first_error_trial(
    rng: np.random.Generator, run: int, *, prompts: int, rates: tuple[tuple[float, float], tuple[float, float]]
) -> dict[str, bool]:
    """Two models with these accuracies on solutions with an error and without; solutions of a prompt are alike."""
    index = np.repeat(np.arange(prompts), rng.choice((1, 1, 2, 4), prompts))
    wrong = rng.random(len(index)) < 0.5
    shared = rng.normal(size=prompts)[index]
    metrics = []
    for erroneous, right in rates:
        chance = np.where(wrong, erroneous, right)
        found = 0.7 * shared + math.sqrt(0.51) * rng.normal(size=len(index)) < ndtri(chance)
        columns = {"erroneous": found & wrong, "n erroneous": wrong, "right": found & ~wrong, "n right": ~wrong}
        metrics.append(PromptSums.of_rows(columns, [f"p{k}" for k in index]).metric(f1_of_totals, len(index)))
    ours, theirs = (2 * one * two / (one + two) for one, two in rates)
    return figure_trial(metrics, ours - theirs, run)


def length_trial(rng: np.random.Generator, run: int, *, prompts: int) -> dict[str, bool]:
    """Right with log-odds 0.4 + 1.5 tanh(d ÷ s), for length differences d around 0.6 s."""
    lengths = rng.normal(60, 100, 2 * prompts)
    right = (rng.random(len(lengths)) < 1 / (1 + np.exp(-0.4 - 1.5 * np.tanh(lengths / 100)))).astype(float)
    index = np.repeat(np.arange(prompts), 2)
    grid = 60 + 100 * np.linspace(-8, 8, 20_001)
    weight = np.exp(-0.5 * ((grid - 60) / 100) ** 2)
    chance = 1 / (1 + np.exp(-0.4 - 1.5 * np.tanh(grid / 100)))
    balanced = sum(float((weight * chance)[side].sum() / weight[side].sum()) for side in (grid > 0, grid < 0)) / 2
    controlled = length_controlled_accuracy(right, lengths, index).interval
    return {
        "length_controlled_accuracy": covers(controlled, 1 / (1 + math.exp(-0.4))),
        "length_balanced_accuracy": covers(length_balanced_accuracy(right, lengths, index).interval, balanced),
    }


def correlation_trial(rng: np.random.Generator, run: int, *, items: int, rho: float) -> dict[str, bool]:
    """Normal pairs, for which Spearman is 6 ÷ π asin(rho ÷ 2)."""
    x = rng.normal(size=items)
    y = rho * x + math.sqrt(1 - rho * rho) * rng.normal(size=items)
    metric = RowStatistic(lambda rows: correlation(x[rows], y[rows], "spearman"), range(items), "fisher")
    found = interval(metric, IntervalSettings(seed=run))
    return {"spearman": covers(found, 6 / math.pi * math.asin(rho / 2))}


def held(found: Interval | None, truth: float) -> bool | None:
    return None if found is None else found.low <= truth <= found.high


def shared_normal(rng: np.random.Generator, index: np.ndarray, share: float = 0.4) -> np.ndarray:
    """Return [item] standard normal numbers, of whose variance prompts have ``share``."""
    between, within = rng.normal(size=int(index.max()) + 1)[index], rng.normal(size=len(index))
    return math.sqrt(share) * between + math.sqrt(1 - share) * within


def stated_margins(rng: np.random.Generator, index: np.ndarray, scale: float) -> np.ndarray:
    """Return [pair] margins of a model that states ``scale`` times the true log-odds."""
    true = np.abs(2.0 * shared_normal(rng, index))
    right = ndtr(shared_normal(rng, index)) < expit(true)
    return scale * np.where(right, true, -true)


@cache
def calibration_truths(scale: float) -> tuple[float, float]:
    """Return the Brier score and the calibration error of ``stated_margins`` over very many prompts."""
    margins = stated_margins(np.random.default_rng(0), np.arange(2_000_000), scale)
    error = 0.0 if scale == 1.0 else expected_calibration_error(margins)
    assert error is not None
    return float(brier_scores(margins).mean()), error


def every_kind_trial(rng: np.random.Generator, run: int, *, prompts: int) -> dict[str, bool | None]:
    """Four items, pairs or rows per prompt, which are alike in part: an interval of each kind beside its truth."""
    index = np.repeat(np.arange(prompts), 4)
    settings = IntervalSettings(resamples=RESAMPLES, seed=run)
    found: dict[str, bool | None] = {}
    positive = shared_normal(rng, index, 0.3) < 0.0
    values = shared_normal(rng, index, 0.3)
    for name, gap in (("auc .70", 0.75), ("auc .90", 1.8)):
        area = auc_interval(values + gap * positive, positive, index)
        found[name] = held(area, float(ndtr(gap / math.sqrt(2))))
    pull, strength = 0.5, 1.5 * shared_normal(rng, index)
    first, same = both_orders((pull + strength).tolist(), (pull - strength).tolist())
    grid = np.linspace(-8, 8, 4001)
    weight = np.exp(-(grid**2) / 2) / np.exp(-(grid**2) / 2).sum()
    sided = float((weight * expit(pull + 1.5 * grid)).sum())
    found["position bias"] = held(fraction_interval(first, index), sided)
    found["order decides"] = held(fraction_interval(same, index), float(2 * ndtr(pull / 1.5) - 1))
    right, places = shares(rng, prompts=prompts, sizes=(4,), share=0.8, rho=0.3)
    found["clustered share .8"] = held(proportion_interval(right, places), 0.8)
    numbers, places = reals(rng, prompts=prompts, sizes=(4,), skewed=False)
    found["clustered mean"] = held(mean_interval(numbers, places), 0.0)
    x, noise = shared_normal(rng, index), shared_normal(rng, index)
    for rho in (0.0, 0.6):
        y = rho * x + math.sqrt(1 - rho * rho) * noise
        for kind, truth in (("pearson", rho), ("spearman", 6 / math.pi * math.asin(rho / 2))):
            metric = RowStatistic(lambda rows, y=y, kind=kind: correlation(x[rows], y[rows], kind), index, "fisher")
            found[f"{kind} {rho:g}"] = held(interval(metric, settings), truth)
    for scale in (1.0, 2.0):
        margins = stated_margins(rng, index, scale)
        brier, error = calibration_truths(scale)
        score = interval(RowMean(brier_scores(margins), index, "fraction"), settings)
        found[f"brier, margins × {scale:g}"] = held(score, brier)
        found[f"calibration error, margins × {scale:g}"] = held(calibration_error_interval(margins, index), error)
        found[f"temperature, margins × {scale:g}"] = held(temperature_interval(margins, index), scale)
    return found


def blend_settings(*models: str) -> list[tuple[dict[str, Any], Trial]]:
    return [
        ({"subsets": list(subsets), "models": name}, partial(blend_trial, subsets=subsets, rates=BLENDS[name]))
        for subsets in ((10, 30, 120), (40, 100, 400))
        for name in models
    ]


def f1_settings(*models: str) -> list[tuple[dict[str, Any], Trial]]:
    return [
        ({"prompts": prompts, "models": name}, partial(first_error_trial, prompts=prompts, rates=FIRST_ERRORS[name]))
        for prompts in (30, 100, 400)
        for name in models
    ]


def studies() -> dict[str, list[tuple[dict[str, Any], Trial]]]:
    """Return for each study its settings, with the trial of each."""
    share_settings = itertools.product((5, 10, 20, 50, 200), SIZES.items(), (0.5, 0.8, 0.95))
    mean_settings = itertools.product((5, 10, 20, 50, 200), list(SIZES.items())[1::2], (False, True))
    paired_settings = itertools.product((10, 30, 100), SIZES.items(), (0.6, 0.9))
    return {
        "coverage of a share": [
            (
                {"prompts": prompts, "items": name, "share": share, "rho": 0.3},
                partial(share_trial, prompts=prompts, sizes=sizes, share=share, rho=0.3),
            )
            for prompts, (name, sizes), share in share_settings
        ],
        "coverage of a mean": [
            (
                {"prompts": prompts, "items": name, "skewed": skewed},
                partial(mean_trial, prompts=prompts, sizes=sizes, skewed=skewed),
            )
            for prompts, (name, sizes), skewed in mean_settings
        ],
        "paired tests where there is no difference": [
            (
                {"prompts": prompts, "items": name, "share": share},
                partial(paired_trial, prompts=prompts, sizes=sizes, share=share, gain=0.0),
            )
            for prompts, (name, sizes), share in paired_settings
        ],
        "paired tests of a blend where there is no difference": blend_settings("exchangeable", "another make-up"),
        "paired tests of a blend where one model is better": blend_settings("better"),
        "paired tests of first-error F1 where there is no difference": f1_settings("exchangeable", "another make-up"),
        "paired tests of first-error F1 where one model is better": f1_settings("better"),
        "coverage of a blend of shares": [
            ({"subsets": name}, partial(cells_trial, subsets=subsets, rates=rates))
            for name, (subsets, rates) in CELLS.items()
        ],
        "coverage of length control": [
            ({"prompts": prompts}, partial(length_trial, prompts=prompts)) for prompts in (30, 100)
        ],
        "coverage of every kind of interval": [
            ({"prompts": prompts}, partial(every_kind_trial, prompts=prompts)) for prompts in PROMPTS
        ],
        "coverage of a correlation": [
            ({"items": items, "rho": rho}, partial(correlation_trial, items=items, rho=rho))
            for items in (30, 100)
            for rho in (0.0, 0.6)
        ],
    }


def summary(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return for each method the lowest, mean and highest share of hits over settings with ten prompts or more."""
    found: dict[str, list[float]] = {}
    for row in rows:
        if row["settings"].get("prompts", 10) >= 10:
            for name, each in row["hits"].items():
                found.setdefault(name, []).append(each["value"])
    return {
        name: {"lowest": min(each), "mean": round(sum(each) / len(each), 4), "highest": max(each)}
        for name, each in found.items()
    }


def kept_studies(path: Path) -> dict[str, Any]:
    """Return the studies of the file at ``path``, each with its runs."""
    if not path.exists():
        return {}
    record = json.loads(path.read_text(encoding="utf-8"))
    return {name: {"runs": record["runs"], **study} for name, study in record["studies"].items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--only", default="", metavar="STUDY", help="studies whose names hold these words")
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parent / "results" / "coverage.json")
    arguments = parser.parse_args()
    asked = {study: settings for study, settings in studies().items() if arguments.only in study}
    if not asked:
        parser.error(f"no study is called {arguments.only!r}; studies: {', '.join(studies())}")
    started = time.perf_counter()
    found = kept_studies(arguments.output) if len(asked) < len(studies()) else {}
    for study, settings in asked.items():
        rows = [
            {"settings": named, "hits": count(arguments.runs, trial, seed=number)}
            for number, (named, trial) in enumerate(settings)
        ]
        found[study] = {"runs": arguments.runs, "ten prompts or more": summary(rows), "rows": rows}
        print(study, *(f"  {name}: {each}" for name, each in summary(rows).items()), sep="\n", flush=True)
    seconds = round(time.perf_counter() - started, 1)
    record = {"benchmark": "coverage", "runs": arguments.runs, "resamples": RESAMPLES, "seconds": seconds}
    write_json(arguments.output, record | {"machine": machine.describe(), "studies": found})


if __name__ == "__main__":
    main()
