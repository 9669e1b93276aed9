"""Step rewards become one reward by the rule that was asked for."""

from __future__ import annotations

import math

import pytest

from plaudit.statistics.steps import aggregate_steps, first_error


@pytest.mark.parametrize(
    ("how", "wanted"),
    [
        ("last", 0.5),
        ("mean", 0.6),
        ("min", 0.4),
        ("max", 0.9),
        ("product", 0.18),
        ("log_odds", math.log(9.0) + math.log(2.0 / 3.0)),
        ("geometric_mean", 0.18 ** (1 / 3)),
        # The odds are 9, 2/3 and 1: their geometric mean is the cube root of 6.
        ("mean_logit", 6 ** (1 / 3) / (1 + 6 ** (1 / 3))),
        ("mean_odds", (9 + 2 / 3 + 1) / 3),
    ],
)
def test_each_rule_by_hand(how, wanted):
    assert aggregate_steps([0.9, 0.4, 0.5], how) == pytest.approx(wanted)


def test_certain_steps_stay_finite():
    assert math.isfinite(aggregate_steps([0.0, 1.0], "log_odds"))
    assert aggregate_steps([0.0, 1.0], "log_odds") == pytest.approx(0.0, abs=1e-3)


def test_certain_steps_have_finite_odds():
    assert aggregate_steps([1.0], "mean_odds") == pytest.approx(1e12, rel=1e-3)
    assert aggregate_steps([0.0, 1.0], "mean_logit") == pytest.approx(0.5, abs=1e-4)


def test_a_geometric_mean_of_many_small_numbers_is_not_lost():
    assert math.prod([1e-5] * 100) == 0.0
    assert aggregate_steps([1e-5] * 100, "geometric_mean") == pytest.approx(1e-5)
    assert aggregate_steps([0.0, 0.5], "geometric_mean") == 0.0


def test_a_geometric_mean_of_log_odds_is_refused():
    with pytest.raises(ValueError, match=r"a step has -0\.5"):
        aggregate_steps([0.5, -0.5], "geometric_mean")


def test_no_steps_have_no_reward():
    with pytest.raises(ValueError, match="without steps"):
        aggregate_steps([], "mean")


def test_the_first_error_is_the_first_step_below_the_threshold():
    assert first_error([0.9, 0.49, 0.1]) == 1
    assert first_error([0.9, 0.5]) is None
    assert first_error([0.9, 0.5], threshold=0.6) == 1
    assert first_error([]) is None
