"""Metrics as values have intervals that are as wide as theory says, and say so where nothing can be known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from plaudit.errors import ConfigError
from plaudit.statistics.intervals import fraction_interval, mean_interval, wilson_interval
from plaudit.statistics.metric import (
    Exact,
    IntervalSettings,
    PromptSums,
    RowMean,
    RowStatistic,
    exact_value,
    harmonic,
    interval,
    ratio,
    resampled_totals,
)

SETTINGS = IntervalSettings(resamples=4000)


def bootstrap(values, clusters, *, statistic=np.mean, **settings):
    array = np.asarray(values, dtype=float)
    metric = RowStatistic(lambda rows: float(statistic(array[rows])), clusters)
    return interval(metric, IntervalSettings(**settings))


def made(sums, formula, n):
    return interval(sums.metric(formula, n), SETTINGS)


def test_a_mean_of_rows_has_the_interval_of_its_kind():
    settings, prompts = IntervalSettings(), ["a", "a", "b", "c"]
    right, numbers = np.array([1.0, 0.0, 1.0, 0.5]), np.array([0.25, 4.0, 1.0, 9.0])
    assert interval(RowMean(right, list("abcd")), settings) == wilson_interval(2.5, 4)
    assert interval(RowMean(right, prompts), settings) == fraction_interval(right, prompts)
    assert interval(RowMean(right, list("abcd"), "fraction"), settings) == fraction_interval(right, list("abcd"))
    mean = interval(RowMean(numbers, prompts, "number"), settings)
    assert mean == mean_interval(numbers, prompts)
    root = interval(RowMean(numbers, prompts, "root_mean_square"), settings)
    assert (root.value, root.low, root.high) == tuple(math.sqrt(each) for each in (mean.value, mean.low, mean.high))
    assert RowMean(numbers, prompts, "root_mean_square").value == pytest.approx(root.value)


def test_a_number_known_without_data_has_no_width_and_nothing_has_no_value():
    found = interval(Exact(0.5, 7), IntervalSettings(confidence=0.8))
    assert (found.low, found.value, found.high, found.n, found.method, found.confidence) == (
        0.5, 0.5, 0.5, 7, "exact", 0.8,
    )  # fmt: skip
    assert RowMean(np.zeros(0), []).value is None
    assert interval(RowMean(np.zeros(0), []), IntervalSettings()) is None
    with pytest.raises(ConfigError, match="confidence is 95"):
        interval(Exact(0.5, 7), IntervalSettings(confidence=95))


@pytest.mark.parametrize("drawn", ["times", "times by name", "one by one"])
def test_every_way_to_draw_prompts_has_the_mean_and_spread_of_a_multinomial(drawn):
    sums = PromptSums.of_rows({"x": np.arange(10.0), "n": np.ones(10)}, [f"p{9 - k}" for k in range(10)])
    totals = resampled_totals(sums, drawn, 200, 0)
    assert (totals[:, 1] == 10).all()
    assert totals.shape == (200, 2)
    # the sum of ten drawn of 0 … 9 has the mean 45 and the variance 10 · 8.25
    assert totals[:, 0].mean() == pytest.approx(45, abs=4 * (82.5 / 200) ** 0.5)
    assert totals[:, 0].std() == pytest.approx(82.5**0.5, rel=0.2)


def test_a_statistic_of_rows_from_0_to_1_has_students_interval_with_the_jackknife_on_the_logit_scale():
    right = np.array([1.0, 1.0, 0.0, 1.0, 0.0, 1.0, 1.0, 1.0])
    metric = RowStatistic(lambda rows: float(right[rows].mean()), range(8), "logit")
    found = interval(metric, SETTINGS)
    # the jackknife variance of a mean is s² ÷ n: ¾ · ¼ · 8/7 ÷ 8; t = 2.3646 at 7 degrees of freedom
    half = 2.3646 * math.sqrt(0.1875 / 7) / 0.1875
    ends = [1 / (1 + math.exp(-math.log(3) - side * half)) for side in (-1, 1)]
    assert (found.low, found.high) == pytest.approx(ends, abs=1e-4)
    same = RowStatistic(lambda rows: 1.0, range(8), "logit")
    assert interval(same, SETTINGS).low == pytest.approx(1 / (1 + 1.96**2 / 8), abs=1e-4)
    told = RowStatistic(lambda rows: 1.0, range(8), "logit", agreed=lambda confidence: (0.5, 1.0, "told"))
    assert (interval(told, SETTINGS).low, interval(told, SETTINGS).method) == (0.5, "told")


def test_of_many_prompts_the_jackknife_leaves_out_parts():
    values = np.random.default_rng(0).random(1000)
    found = interval(RowStatistic(lambda rows: float(values[rows].mean()), range(1000), "logit"), SETTINGS)
    half = 1.96 * values.std(ddof=1) / math.sqrt(1000)
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.15)


@pytest.mark.parametrize(("values", "low", "high"), [((1.0, 1.0, 1.0, 1.0), 0.02, 1.0), ((0.5,) * 4, -0.455, 0.923)])
def test_means_of_numbers_from_minus_1_to_1_stay_there_and_have_a_width(values, low, high):
    found = interval(RowMean(np.array(values), range(4), "signed"), SETTINGS)
    # Wilson's of four that are all right: 1 ÷ (1 + 1.96² ÷ 4) = 0.5101; of three quarters 0.3006 to 0.9544
    assert found.value == values[0]
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.06)
    assert interval(RowMean(np.array([0.5, 1.0]), [0, 0], "signed"), SETTINGS) is None


def test_two_prompts_of_one_half_say_little():
    found = interval(RowMean(np.array([0.5, 0.5]), range(2), "fraction"), SETTINGS)
    assert (found.low, found.high) == pytest.approx((0.0945, 0.9055), abs=1e-4)
    assert found.method == "wilson over 2 prompts"


def test_one_cluster_or_none_gives_no_interval():
    assert bootstrap([1.0, 0.0], ["a", "a"], seed=0) is None
    assert bootstrap([], [], seed=0) is None


def test_bootstrap_of_equal_values_has_width_zero():
    interval = bootstrap([2.0, 2.0, 2.0], ["a", "b", "b"], seed=0)
    assert (interval.low, interval.value, interval.high) == (2.0, 2.0, 2.0)


def test_bootstrap_of_two_clusters_is_what_can_be_listed():
    # Draws of two from {a: 0, b: 1}: means 0, 1/2, 1 with probabilities 1/4, 1/2, 1/4.
    wide = bootstrap([0.0, 1.0], ["a", "b"], seed=1)
    # t = tan(0.05 π ÷ 2) = 0.0787 for one degree of freedom; Φ(± 0.0787 √2) are 0.456 and 0.544.
    narrow = bootstrap([0.0, 1.0], ["a", "b"], confidence=0.05, seed=1)
    assert (wide.low, wide.value, wide.high) == (0.0, 0.5, 1.0)
    assert (narrow.low, narrow.high) == (0.5, 0.5)


def test_resamples_without_a_value_are_left_out_and_counted():
    # Draws of two from {a: 0, b: 1}: a draw of b alone, one in four, has no value; else the mean is 0 or 1/2.
    def unless_all_one(values):
        return float("nan") if values.min() == 1.0 else float(values.mean())

    found = bootstrap([0.0, 1.0], ["a", "b"], statistic=unless_all_one, seed=0)
    assert (found.low, found.value, found.high) == (0.0, 0.5, 0.5)
    left_out = int(found.method.split(", ")[2].split(" of 200 ")[0])
    assert left_out == pytest.approx(50, abs=31)  # five standard deviations: √(200 · ¼ · ¾) = 6.1


def test_there_is_no_interval_where_most_resamples_or_all_items_have_no_value():
    # Four clusters are all drawn at once in 4! ÷ 4⁴ = 9 % of the draws.
    def if_all_there(values):
        return 1.0 if len(np.unique(values)) == 4 else float("nan")

    assert bootstrap(np.arange(4.0), range(4), statistic=if_all_there, resamples=100, seed=0) is None
    nothing = bootstrap([0.0, 1.0], ["a", "b"], statistic=lambda _: float("nan"), resamples=10, seed=0)
    assert nothing is None


def test_bootstrap_depends_on_the_seed_and_nothing_else():
    values, clusters = np.arange(12.0), np.repeat(np.arange(6), 2)
    assert bootstrap(values, clusters, seed=5) == bootstrap(values, clusters, seed=5)
    renamed = bootstrap(values, [f"prompt {c}" for c in clusters], seed=5)
    assert renamed == bootstrap(values, clusters, seed=5)


@pytest.mark.slow
def test_clustered_bootstrap_covers_where_one_over_items_is_too_narrow():
    generator = np.random.default_rng(11)
    clusters = np.repeat(np.arange(60), 5)
    covered = naive = 0
    runs = 300
    for run in range(runs):
        # Every item shares its prompt's effect: items of one prompt correlate at 1/2. The true mean is 0.
        values = np.repeat(generator.normal(size=60), 5) + generator.normal(size=300)
        by_prompt = bootstrap(values, clusters, seed=run)
        by_item = bootstrap(values, np.arange(300), seed=run)
        covered += by_prompt.low <= 0.0 <= by_prompt.high
        naive += by_item.low <= 0.0 <= by_item.high
    assert 0.91 < covered / runs < 0.98  # 0.94 expected at 60 clusters; the simulation's own error is 0.013
    assert naive / runs < 0.85


def test_an_interval_holds_its_statistic_where_resampling_moves_it_to_one_side():
    found = bootstrap(
        np.arange(20), np.arange(20), statistic=lambda rows: float(len(np.unique(rows))), resamples=50, seed=0
    )
    # a resample of 20 clusters never has all of them
    assert (found.value, found.high) == (20.0, 20.0)
    assert found.low < 16


def proportion(totals):
    return ratio(totals["right"], totals["n"])


def f1(totals):
    return harmonic(ratio(totals["a"], totals["n_a"]), ratio(totals["b"], totals["n_b"]))


def pool(right, prompts):
    return PromptSums.of_rows({"right": right, "n": np.ones(len(right))}, [f"p{each}" for each in prompts])


def test_the_interval_of_a_share_is_that_of_theory():
    right = np.arange(400) % 4 == 0
    found = made(pool(right, range(400)), proportion, 400)
    half = 1.96 * math.sqrt(0.25 * 0.75 / 400)
    assert (found.value, found.n) == (0.25, 400)
    assert (found.low, found.high) == pytest.approx((0.25 - half, 0.25 + half), abs=0.005)
    assert found.method == f"cluster bootstrap (400 clusters, {SETTINGS.resamples} resamples)"


def test_rows_of_one_prompt_that_agree_widen_it_as_far_as_there_are_prompts():
    right = np.repeat(np.arange(100) % 4 == 0, 4)
    found = made(pool(right, np.repeat(range(100), 4)), proportion, 400)
    half = 1.96 * math.sqrt(0.25 * 0.75 / 100)
    assert (found.low, found.high) == pytest.approx((0.25 - half, 0.25 + half), abs=0.01)


def test_the_interval_of_a_harmonic_mean_is_that_of_the_delta_method():
    wrong = np.arange(600) < 300
    right = np.where(wrong, np.arange(600) % 2 == 0, np.arange(600) % 5 < 4)
    columns = {"a": right & wrong, "n_a": wrong, "b": right & ~wrong, "n_b": ~wrong}
    found = made(PromptSums.of_rows(columns, [str(k) for k in range(600)]), f1, 600)
    a, b = 0.5, 0.8
    # d F1 / da = 2b² ÷ (a + b)², and each accuracy is of 300 rows.
    slopes = 2 * b**2 / (a + b) ** 2, 2 * a**2 / (a + b) ** 2
    half = 1.96 * math.sqrt(slopes[0] ** 2 * a * (1 - a) / 300 + slopes[1] ** 2 * b * (1 - b) / 300)
    assert found.value == pytest.approx(2 * a * b / (a + b))
    assert (found.low, found.high) == pytest.approx((found.value - half, found.value + half), abs=0.005)


def test_over_few_prompts_the_interval_is_students():
    values = np.array([0.1, 0.2, 0.35, 0.45, 0.55, 0.65, 0.8, 0.9])
    found = made(pool(values, range(8)), proportion, 8)
    # t = 2.365 at 7 degrees of freedom; plain quantiles of resamples are 1.96 ÷ 2.365 × √(7/8) = 0.78 times as wide
    half = 2.365 * values.std(ddof=1) / math.sqrt(8)
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.1)


def test_where_all_resamples_agree_the_interval_is_wilsons():
    found = made(pool(np.ones(50), range(50)), proportion, 50)
    assert found.method == "wilson over 50 prompts"
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(1 / (1 + 1.96**2 / 50), abs=1e-4)


def test_what_one_prompt_says_of_others_is_nothing():
    found = made(pool([1.0, 0.0], [0, 0]), proportion, 2)
    assert (found.value, found.low, found.high, found.method) == (0.5, 0.0, 1.0, "none: one prompt")


def test_resamples_in_which_a_formula_has_no_value_are_left_out_and_counted():
    columns = {"a": [1.0, 0.0, 0.0], "n_a": [1.0, 1.0, 0.0], "b": [0.0, 0.0, 1.0], "n_b": [0.0, 0.0, 1.0]}
    found = made(PromptSums.of_rows(columns, ["p", "q", "r"]), f1, 3)
    # Without the one prompt of the other kind (8 of 27), or with no other (1 of 27), there is no F1.
    left_out = int(found.method.split(", ")[2].split()[0])
    assert left_out / 4000 == pytest.approx(9 / 27, abs=0.03)
    columns["n_a"], columns["a"] = [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]
    found = made(PromptSums.of_rows(columns, ["p", "q", "r"]), f1, 3)
    assert (found.low, found.high) == (0.0, 1.0)
    assert "resamples of the prompts have no value" in found.method


def test_a_figure_without_a_value_is_none_and_a_known_one_has_no_width():
    held = pool([1.0, 0.0, 0.0], range(3))
    assert made(held, lambda totals: ratio(totals["right"], totals["absent"]), 3) is None
    assert exact_value(held.metric(lambda totals: ratio(totals["right"], totals["absent"]), 3)) is None
    known = interval(exact_value(held.metric(proportion, 3)), SETTINGS)
    assert (known.low, known.high, known.method) == (known.value, known.value, "exact")
    assert known.value == pytest.approx(1 / 3)
    assert made(PromptSums.of_rows({"right": [], "n": []}, []), proportion, 0) is None


def test_the_same_seed_gives_the_same_interval_and_blocks_do_not_matter(monkeypatch):
    right = np.random.default_rng(0).random(300) < 0.3
    first, second = (made(pool(right, range(300)), proportion, 300) for _ in range(2))
    monkeypatch.setattr("plaudit.statistics.metric._BLOCK", 3000)
    third = made(pool(right, range(300)), proportion, 300)
    assert first == second == third
