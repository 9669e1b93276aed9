"""Figures of sums have intervals that are as wide as theory says, and say so where nothing can be known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from plaudit.evaluation.metrics.estimates import Estimator
from plaudit.evaluation.metrics.pooled import Pool, harmonic, ratio


@pytest.fixture(scope="module")
def estimate():
    return Estimator(confidence=0.95, resamples=4000, seed=0)


def share(sums):
    return ratio(sums.of("right"), sums.of("n"))


def f1(sums):
    return harmonic(ratio(sums.of("a"), sums.of("n_a")), ratio(sums.of("b"), sums.of("n_b")))


def pool(right, prompts, estimate):
    return Pool({"right": right, "n": np.ones(len(right))}, [f"p{each}" for each in prompts], estimate)


def test_the_interval_of_a_share_is_that_of_theory(estimate):
    right = np.arange(400) % 4 == 0
    found = pool(right, range(400), estimate).figure(share, 400)
    half = 1.96 * math.sqrt(0.25 * 0.75 / 400)
    assert (found.value, found.n) == (0.25, 400)
    assert (found.low, found.high) == pytest.approx((0.25 - half, 0.25 + half), abs=0.005)
    assert found.method == "cluster bootstrap (400 clusters)"


def test_rows_of_one_prompt_that_agree_widen_it_as_far_as_there_are_prompts(estimate):
    right = np.repeat(np.arange(100) % 4 == 0, 4)
    found = pool(right, np.repeat(range(100), 4), estimate).figure(share, 400)
    half = 1.96 * math.sqrt(0.25 * 0.75 / 100)
    assert (found.low, found.high) == pytest.approx((0.25 - half, 0.25 + half), abs=0.01)


def test_the_interval_of_a_harmonic_mean_is_that_of_the_delta_method(estimate):
    wrong = np.arange(600) < 300
    right = np.where(wrong, np.arange(600) % 2 == 0, np.arange(600) % 5 < 4)
    columns = {"a": right & wrong, "n_a": wrong, "b": right & ~wrong, "n_b": ~wrong}
    found = Pool(columns, [str(k) for k in range(600)], estimate).figure(f1, 600)
    a, b = 0.5, 0.8
    # d F1 / da = 2b² ÷ (a + b)², and each accuracy is of 300 rows.
    slopes = 2 * b**2 / (a + b) ** 2, 2 * a**2 / (a + b) ** 2
    half = 1.96 * math.sqrt(slopes[0] ** 2 * a * (1 - a) / 300 + slopes[1] ** 2 * b * (1 - b) / 300)
    assert found.value == pytest.approx(2 * a * b / (a + b))
    assert (found.low, found.high) == pytest.approx((found.value - half, found.value + half), abs=0.005)


def test_over_few_prompts_the_interval_is_students(estimate):
    values = np.array([0.1, 0.2, 0.35, 0.45, 0.55, 0.65, 0.8, 0.9])
    found = pool(values, range(8), estimate).figure(share, 8)
    # t = 2.365 at 7 degrees of freedom; plain quantiles of resamples are 1.96 ÷ 2.365 × √(7/8) = 0.78 times as wide
    half = 2.365 * values.std(ddof=1) / math.sqrt(8)
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.1)


def test_where_all_resamples_agree_the_interval_is_wilsons(estimate):
    found = pool(np.ones(50), range(50), estimate).figure(share, 50)
    assert found.method == "wilson over 50 prompts"
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(1 / (1 + 1.96**2 / 50), abs=1e-4)


def test_what_one_prompt_says_of_others_is_nothing(estimate):
    found = pool([1.0, 0.0], [0, 0], estimate).figure(share, 2)
    assert (found.value, found.low, found.high, found.method) == (0.5, 0.0, 1.0, "none: one prompt")


def test_resamples_without_a_value_are_left_out_and_counted(estimate):
    columns = {"a": [1.0, 0.0, 0.0], "n_a": [1.0, 1.0, 0.0], "b": [0.0, 0.0, 1.0], "n_b": [0.0, 0.0, 1.0]}
    found = Pool(columns, ["p", "q", "r"], estimate).figure(f1, 3)
    # Without the one prompt of the other kind (8 of 27), or with no other (1 of 27), there is no F1.
    left_out = int(found.method.split(", ")[1].split()[0])
    assert left_out / 4000 == pytest.approx(9 / 27, abs=0.03)
    columns["n_a"], columns["a"] = [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]
    found = Pool(columns, ["p", "q", "r"], estimate).figure(f1, 3)
    assert (found.low, found.high) == (0.0, 1.0)
    assert "resamples have no value" in found.method


def test_a_figure_without_a_value_is_none_and_a_known_one_has_no_width(estimate):
    held = pool([1.0, 0.0, 0.0], range(3), estimate)
    assert held.figure(lambda sums: ratio(sums.of("right"), sums.of("absent")), 3) is None
    assert held.exact(lambda sums: ratio(sums.of("right"), sums.of("absent")), 3) is None
    known = held.exact(share, 3)
    assert (known.low, known.high, known.method) == (known.value, known.value, "exact")
    assert known.value == pytest.approx(1 / 3)
    assert Pool({"right": [], "n": []}, [], estimate).figure(share, 0) is None


def test_the_same_seed_gives_the_same_interval_and_blocks_do_not_matter(estimate, monkeypatch):
    right = np.random.default_rng(0).random(300) < 0.3
    first, second = (pool(right, range(300), estimate).figure(share, 300) for _ in range(2))
    monkeypatch.setattr("plaudit.evaluation.metrics.pooled._BLOCK", 3000)
    third = pool(right, range(300), estimate).figure(share, 300)
    assert first == second == third
