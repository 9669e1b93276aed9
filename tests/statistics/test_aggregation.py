"""Step rewards become one reward by the rule that was asked for."""

from __future__ import annotations

import math

import pytest

from plaudit.statistics.aggregation import aggregate_steps, first_error


@pytest.mark.parametrize(
    ("how", "wanted"),
    [
        ("last", 0.5),
        ("mean", 0.6),
        ("min", 0.4),
        ("max", 0.9),
        ("product", 0.18),
        ("log_odds", math.log(9.0) + math.log(2.0 / 3.0)),
    ],
)
def test_each_rule_by_hand(how, wanted):
    assert aggregate_steps([0.9, 0.4, 0.5], how) == pytest.approx(wanted)


def test_certain_steps_stay_finite():
    assert math.isfinite(aggregate_steps([0.0, 1.0], "log_odds"))
    assert aggregate_steps([0.0, 1.0], "log_odds") == pytest.approx(0.0, abs=1e-3)


def test_no_steps_have_no_reward():
    with pytest.raises(ValueError, match="without steps"):
        aggregate_steps([], "mean")


def test_the_first_error_is_the_first_step_below_the_threshold():
    assert first_error([0.9, 0.49, 0.1]) == 1
    assert first_error([0.9, 0.5]) is None
    assert first_error([0.9, 0.5], threshold=0.6) == 1
    assert first_error([]) is None
