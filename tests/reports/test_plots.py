"""The plots of confidence show the tables of the measure, and nothing of their own."""

from __future__ import annotations

import html
import json
import re

import pytest

from plaudit.records import LabelCounts, Measure
from plaudit.reports.plots import confidence_plots, selective_curve, training_plots


def row(coverage: float, accuracy: float) -> dict[str, float]:
    ends = {"low": accuracy - 0.1, "high": min(1.0, accuracy + 0.1)}
    return {"coverage": coverage, "threshold": 1.0, "accuracy": accuracy, "n": 10.0, **ends}


BIN = {"confidence": 0.7, "accuracy": 0.8, "low": 0.6, "high": 0.9, "n": 12.0}


def measure(**changes) -> Measure:
    counts = LabelCounts(n=20, scored=20, unscored=0, failed=0)
    return Measure(kind="preference", primary="accuracy", counts=counts, **changes)


def test_a_result_without_the_tables_has_no_plots():
    assert confidence_plots(measure(), "k") == (None, None)
    assert selective_curve([], name="k") is None


def test_both_tables_are_drawn_under_ids_of_their_own():
    curves = {
        "selective": [row(0.5, 1.0), row(1.0, 0.75)],
        "reliability_after_temperature": [BIN],
        "reliability": [BIN],
    }
    first, second = confidence_plots(measure(curves=curves), "k")
    assert (first.title, second.title) == ("Accuracy where it is surest", "Its confidence, after the temperature")
    assert 'id="k-selective-' in first.svg
    assert 'id="k-tempered-' in second.svg
    assert "no log-odds" not in second.caption


def test_where_margins_are_no_log_odds_the_caption_says_so():
    curves = {"reliability_after_temperature": [BIN]}
    _, plot = confidence_plots(measure(curves=curves, rules={"rewards": "the rewards are ratings"}), "k")
    assert plot.caption.endswith("Undivided they are no log-odds.")


@pytest.mark.parametrize("rows", [[row(1.0, 0.5)], [row(1.0, 0.75), row(0.1, 1.0), row(0.5, 0.9)]])
def test_the_curve_is_drawn_by_rising_coverage_whatever_the_order_of_the_rows(rows):
    drawn = selective_curve(rows, name="k").svg
    assert drawn == selective_curve(rows[::-1], name="k").svg
    assert drawn.count("<svg") == 1


def test_an_objective_without_an_accuracy_has_the_curve_of_its_squared_error():
    rows = [{"step": step, "train/rm/loss": 1 / step, "train/rm/mse": 2 / step} for step in (1.0, 2.0, 4.0)]
    plots = training_plots({"": rows}, "k")
    assert [plot.title for plot in plots] == ["Loss by step", "Squared error by step"]


def test_wall_time_is_in_the_unit_that_fits_it_and_absent_where_it_is_not_logged():
    def titles(longest: float) -> list[str]:
        rows = [{"step": step, "seconds": longest * step / 2, "train/rm/loss": 1.0} for step in (1.0, 2.0)]
        return [plot.title for plot in training_plots({"": rows}, "k")]

    assert titles(100.0) == ["Loss by step", "Loss by seconds"]
    assert titles(600.0) == ["Loss by step", "Loss by minutes"]
    assert titles(10_800.0) == ["Loss by step", "Loss by hours"]
    assert [plot.title for plot in training_plots({"": [{"step": 1.0, "train/rm/loss": 1.0}]}, "k")] == ["Loss by step"]


def test_points_that_answer_to_the_pointer_stand_where_they_are_drawn():
    rows = [{"step": step, "train/rm/loss": loss} for step, loss in ((0.0, 4.0), (50.0, 2.0), (100.0, 0.0))]
    (plot,) = training_plots({"": rows}, "k")
    points = json.loads(html.unescape(re.search(r'data-points="([^"]*)"', plot.svg)[1]))
    assert [words for *_, words in points] == ["step 0, training 4", "step 50, training 2", "step 100, training 0"]
    (left, top), (middle, centre), (right, bottom) = ((x, y) for x, y, _ in points)
    assert middle == pytest.approx((left + right) / 2, abs=1e-3)
    assert centre == pytest.approx((top + bottom) / 2, abs=1e-3)
    assert 0 < left < right < 1
    assert 0 < top < bottom < 1
