"""Calibration as the model gives it and after a temperature of other prompts, worked out by hand."""

from __future__ import annotations

import math

import pytest

from plaudit.evaluation.metrics.metric_set import in_first_half
from plaudit.evaluation.result import assemble_result
from plaudit.records import ItemScore, Result, RewardScale

LOG_3 = math.log(3)  # σ(log 3) = 3/4
NAMES = {half: [f"p{k}" for k in range(200) if in_first_half(f"p{k}") == half] for half in (True, False)}
AFTER = ("brier_after_temperature", "expected_calibration_error_after_temperature")


def half(first: bool, right: int, wrong: int, margin: float, unit: RewardScale | None) -> list[ItemScore]:
    """Return items of one half of the prompts, each of one pair with that absolute margin."""
    signs = [1.0] * right + [-1.0] * wrong
    return [
        ItemScore(
            id=name,
            source="s",
            prompt_key=name,
            rewards=(sign * margin, 0.0),
            lengths=(9, 9),
            preferences=((0, 1),),
            reward_scale=unit,
        )
        for name, sign in zip(NAMES[first], signs, strict=False)
    ]


def result(*, size: float = 1.0, unit: RewardScale | None = None) -> Result:
    """Return the result of 12 right and 4 wrong in one half of the prompts, 12 and 6 in the other, each log 3 apart."""
    items = [*half(True, 12, 4, size * LOG_3, unit), *half(False, 12, 6, size * LOG_3, unit)]
    return assemble_result(items, name="d", model="m", resamples=50)


@pytest.mark.parametrize(
    ("size", "unit"), [(1.0, "log_odds_differences"), (10.0, "ratings"), (1e6, "order"), (1e-4, None)]
)
def test_each_half_is_measured_at_the_temperature_of_the_other_whatever_the_unit(size, unit):
    found = result(size=size, unit=unit)
    # The first half is best at T = size: σ(log 3) is its 3/4. The second at T = size · log 3 ÷ log 2: σ(log 2) = 2/3.
    # So the first is measured at 2/3 and the second at 3/4, each a twelfth away from what is true of it.
    brier = (12 * (1 / 3) ** 2 + 4 * (2 / 3) ** 2 + 12 * (1 / 4) ** 2 + 6 * (3 / 4) ** 2) / 34
    assert [found.preference.metrics[name].value for name in AFTER] == pytest.approx([brier, 1 / 12], abs=1e-5)
    assert {found.preference.metrics[name].n for name in AFTER} == {34}
    # over all: σ(size · log 3 ÷ T) = 24 ÷ 34
    assert found.preference.metrics["temperature"].value == pytest.approx(size * LOG_3 / math.log(24 / 10), rel=1e-4)
    bins = found.preference.curves["reliability_after_temperature"]
    assert [(row["confidence"], row["accuracy"], row["n"]) for row in bins] == [
        (pytest.approx(2 / 3, abs=1e-5), 3 / 4, 16.0),
        (pytest.approx(3 / 4, abs=1e-5), pytest.approx(2 / 3), 18.0),
    ]


@pytest.mark.parametrize("unit", ["ratings", "probabilities", "win_rates", "order"])
def test_rewards_that_are_no_log_odds_have_no_calibration_of_their_own_and_the_reason_is_said(unit):
    found = result(unit=unit)
    assert (
        found.preference.absent["brier"]
        == found.preference.absent["expected_calibration_error"]
        == found.preference.rules["rewards"]
    )
    assert found.preference.rules["rewards"].endswith("is no probability")
    assert "reliability" not in found.preference.curves
    assert {"brier", "expected_calibration_error"}.isdisjoint(found.preference.metrics)


@pytest.mark.parametrize("unit", ["log_odds_differences", "assumed_log_odds_differences", None])
def test_rewards_that_are_or_may_be_log_odds_are_read_so_and_it_is_said_how_sure_that_is(unit):
    found = result(unit=unit)
    # σ of every margin is 3/4 for the predicted winner: right in 24 of 34
    assert found.preference.metrics["brier"].value == pytest.approx((24 * (1 / 4) ** 2 + 10 * (3 / 4) ** 2) / 34)
    assert found.preference.metrics["expected_calibration_error"].value == pytest.approx(3 / 4 - 24 / 34)
    assert sum(row["n"] for row in found.preference.curves["reliability"]) == 34
    assert ("the rewards are log-odds" in found.preference.rules["rewards"]) == (unit == "log_odds_differences")


def test_rewards_within_0_and_1_of_a_file_are_not_taken_for_log_odds():
    items = [item.model_copy(update={"rewards": (0.9, 0.2)}) for item in half(True, 5, 0, 1.0, None)]
    found = assemble_result(items, name="d", model="m", resamples=50)
    assert "every reward lies within 0 to 1" in found.preference.absent["brier"]


def test_a_half_that_is_never_wrong_has_no_temperature_for_the_other():
    items = [*half(True, 8, 0, 1.5, None), *half(False, 6, 3, 1.5, None)]
    found = assemble_result(items, name="d", model="m", resamples=50)
    why = "in a half of the prompts, no pair is ordered wrongly, so no temperature is the best one"
    assert {name: found.preference.absent[name] for name in AFTER} == dict.fromkeys(AFTER, why)
    assert "reliability_after_temperature" not in found.preference.curves
    assert "temperature" in found.preference.metrics


@pytest.mark.parametrize(
    ("right", "wrong", "why"),
    [
        (5, 0, "no pair is ordered wrongly"),
        (0, 5, "no pair is ordered rightly"),
        (2, 5, "the margins are no better than chance"),
    ],
)
def test_the_reason_why_no_temperature_is_best_is_said(right, wrong, why):
    found = assemble_result(half(True, right, wrong, 1.5, None), name="d", model="m", resamples=50)
    assert found.preference.absent["temperature"] == f"{why}, so no temperature is the best one"
    assert set(AFTER) <= set(found.preference.absent)


def test_prompts_of_one_half_only_leave_the_other_without_a_pair():
    found = assemble_result(half(True, 6, 3, 1.5, None), name="d", model="m", resamples=50)
    assert found.preference.absent[AFTER[0]] == "in a half of the prompts, there is no pair"


def test_neither_the_order_of_the_items_nor_the_seed_moves_a_value():
    items = [*half(True, 12, 4, 1.5, None), *half(False, 9, 6, 2.5, None)]
    found = assemble_result(items, name="d", model="m", resamples=50)
    turned = assemble_result(items[::-1], name="d", model="m", resamples=50, seed=5)
    for name in ("temperature", *AFTER):
        assert turned.preference.metrics[name].value == pytest.approx(found.preference.metrics[name].value, rel=1e-9)
