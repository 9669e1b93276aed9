import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from plaudit.evaluation.metrics.composite import (
    ComparisonOutcome,
    Difference,
    Total,
    WeightedMean,
    composite,
    mean_of,
    pair_outcome,
    weighted,
)
from plaudit.records import ItemScore
from plaudit.statistics.intervals import weighted_proportions_interval
from plaudit.statistics.metric import IntervalSettings, exact_value, interval

FEW = IntervalSettings(resamples=30)


def made(values, categories, prompts, part, settings=FEW):
    """Return the interval of a composite, or None where it has no value."""
    metric = composite(values, categories, prompts, part)
    return None if metric is None else interval(metric, settings)


VALUES, CELLS = [1, 0, 1, 1, 0], ["a", "a", "b", "b", "c"]
PROMPTS = ["p", "q", "r", "s", "t"]


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("a", 1 / 2),
        (("a", "b"), 3 / 4),
        (mean_of("a", "b", "c"), (0.5 + 1 + 0) / 3),
        (weighted({"a": 3.0, "b": 1.0}), (3 * 0.5 + 1) / 4),
        (mean_of("b", mean_of("a", "c")), (1 + 0.25) / 2),
        (mean_of("b", "absent"), 1.0),
        (Total(((0.3, "a"), (0.5, "b"))), 0.15 + 0.5),
        (Difference("b", mean_of("a", "c")), 0.75),
    ],
)
def test_a_blend_is_the_weighted_mean_of_the_parts_that_are_there(part, value):
    found = made(VALUES, CELLS, PROMPTS, part)
    assert found.value == pytest.approx(value)
    assert found.low <= found.value <= found.high
    assert exact_value(composite(VALUES, CELLS, PROMPTS, part)).value == pytest.approx(value)


def test_a_sum_or_difference_with_an_absent_part_has_no_value():
    assert made(VALUES, CELLS, PROMPTS, Total(((1.0, "a"), (1.0, "absent")))) is None
    assert made(VALUES, CELLS, PROMPTS, Difference("a", "absent")) is None
    assert made(VALUES, CELLS, PROMPTS, mean_of("absent", "gone")) is None


def test_rows_of_other_cells_do_not_count():
    assert made(VALUES, CELLS, PROMPTS, mean_of("a", "b")).n == 4


def test_one_cell_of_different_prompts_has_wilsons_interval():
    assert made(VALUES, CELLS, PROMPTS, "a").method == "wilson"
    assert made(VALUES, CELLS, PROMPTS, ("a", "b", "c")).method == "wilson"


def test_a_blend_over_different_prompts_is_a_weighted_sum_of_shares():
    cells, weights = ["a"] * 4 + ["b"] * 10 + ["c"], {"a": 1.0, "b": 3.0}
    values = [1, 1, 1, 0, *[1] * 7, 0, 0, 0, 1]
    found = made(values, cells, [str(k) for k in range(15)], weighted(weights))
    assert found == weighted_proportions_interval([0.25, 0.75], [3, 7], [4, 10])
    nested = mean_of("a", mean_of("b", ("a", "c")))  # a cell in two pools: no sum of different shares
    assert "bootstrap" in made(values, cells, [str(k) for k in range(15)], nested).method
    pooled = made(values, cells, [str(k) for k in range(15)], Difference(("a", "c"), "b"))
    assert pooled.value == pytest.approx(4 / 5 - 7 / 10)
    expected = weighted_proportions_interval([1.0, -1.0], [4, 7], [5, 10])
    assert (pooled.low, pooled.high) == pytest.approx((expected.low, expected.high))


def test_a_blend_of_which_one_pool_is_here_has_the_interval_of_that_share():
    values, cells, prompts = [1, 0, 1, 1], ["a"] * 4, list("pqrs")
    assert made(values, cells, prompts, mean_of("a", "b")) == made(values, cells, prompts, "a")
    # A sum or difference of one pool is no share of it.
    assert made(values, cells, prompts, Total(((0.5, "a"),))).value == 0.375
    assert made(values, cells, prompts, Difference("a", "a")).value == 0.0


def test_what_is_all_right_over_different_prompts_still_has_an_interval():
    found = made([1, 1, 1, 1], ["a", "a", "b", "b"], ["p", "q", "r", "s"], mean_of("a", "b"))
    assert found.value == found.high == 1.0
    # Price and Bonett, k = 2: p̃ = 3/4 of 4 in both.
    assert found.low == pytest.approx(3 / 4 - 1.959964 * (2 * 0.25 * 3 / 16 / 4) ** 0.5, abs=1e-6)


def test_what_all_resamples_agree_on_still_has_an_interval():
    """Every prompt has a row in each cell, so the cells are no different items."""
    cells, prompts = ["a", "b"] * 8, [name for name in "pqrstuvw" for _ in range(2)]
    least = 1 / (1 + 1.959964**2 / 8)  # Wilson's lower end for 8 of 8
    for part in (mean_of("a", "b"), Total(((0.5, "a"), (0.5, "b")))):
        whole = made([1] * 16, cells, prompts, part)
        assert (whole.low, whole.high) == (pytest.approx(least, abs=1e-6), 1.0)
    gap = made([1] * 16, cells, prompts, Difference("a", "b"))
    assert (gap.value, gap.low, gap.high) == (0, pytest.approx(least - 1, abs=1e-6), pytest.approx(1 - least, abs=1e-6))


def test_rows_of_one_prompt_say_nothing_of_others():
    found = made([1, 0], ["a", "b"], ["p", "p"], mean_of("a", "b"))
    assert (found.low, found.high, found.method) == (0.0, 1.0, "none: one prompt")


def test_rows_that_come_in_clusters_have_wider_intervals():
    settings = IntervalSettings(confidence=0.95, resamples=400, seed=0)
    rng = np.random.default_rng(0)
    by_prompt = (rng.random(60) < 0.6).astype(float)
    values, cells = np.repeat(by_prompt, 5), ["a", "b", "b", "a", "b"] * 60
    clustered = made(values, cells, [f"p{k // 5}" for k in range(300)], mean_of("a", "b"), settings)
    single = made(values, cells, [f"p{k}" for k in range(300)], mean_of("a", "b"), settings)
    ratio = (clustered.high - clustered.low) / (single.high - single.low)
    assert ratio == pytest.approx(5**0.5, rel=0.2)


@hypothesis_settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from([0.0, 0.5, 1.0]), st.integers(0, 5)), min_size=1, max_size=30
    ),
    weights=st.tuples(*[st.floats(0.1, 5.0)] * 3),
)
def test_a_weighted_blend_equals_its_definition(rows, weights):
    part = WeightedMean(tuple(zip(weights, "abc", strict=True)))
    cells, values = [cell for cell, _, _ in rows], [value for _, value, _ in rows]
    means = {cell: np.mean([v for c, v in zip(cells, values, strict=True) if c == cell]) for cell in set(cells)}
    total = sum(weight for weight, cell in part.parts if cell in means)
    expected = sum(weight * means[cell] for weight, cell in part.parts if cell in means) / total
    found = made(values, cells, [str(prompt) for _, _, prompt in rows], part)
    assert found.value == pytest.approx(expected)
    assert 0.0 <= found.low <= found.value <= found.high <= max(1.0, found.value)


@pytest.mark.parametrize(
    ("rewards", "found"),
    [
        ((2.0, 1.0), (1.0, 1.0, 0.0)),
        ((1.0, 2.0), (0.0, 0.0, 0.0)),
        ((1.0, 1.0), (0.0, 0.5, 1.0)),
        ((None, 1.0), (0.0, None, 0.0)),
    ],
)
def test_a_pair_is_won_strictly(rewards, found):
    item = ItemScore(id="i", source="s", prompt_key="p", rewards=rewards, lengths=(1, 1))
    assert pair_outcome(item, 0, 1, category="a") == ComparisonOutcome("a", "p", *found, 0.5)


def test_over_few_prompts_the_interval_of_a_blend_is_students():
    values = np.array([0.1, 0.2, 0.35, 0.45, 0.55, 0.65, 0.8, 0.9])
    # each prompt has the same value in both cells, so their mean is that of eight numbers
    found = made(
        np.repeat(values, 2),
        ["a", "b"] * 8,
        np.repeat([f"p{n}" for n in range(8)], 2).tolist(),
        mean_of("a", "b"),
        IntervalSettings(confidence=0.95, resamples=4000, seed=0),
    )
    # t = 2.365 at 7 degrees of freedom; plain quantiles of resamples are 0.78 times as wide
    half = 2.365 * values.std(ddof=1) / np.sqrt(8)
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.1)
