"""What an accuracy hides, worked out by hand: length control, verbosity, accuracy where the model is sure."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plaudit.evaluation.metrics.metric_set import MetricSet
from plaudit.evaluation.metrics.preference import (
    control_metrics,
    pair_table,
    put_length_control,
    put_selective,
    put_verbosity,
)
from plaudit.evaluation.result import assemble_result
from plaudit.records import ItemScore, LabelCounts, Measure
from plaudit.statistics.metric import IntervalSettings

SETTINGS = IntervalSettings(confidence=0.95, resamples=50, seed=0)


def pairs_of(*rows: tuple[float, int], prompt: str | None = None):
    """Return a table of one pair per row (margin, characters of chosen − characters of rejected)."""
    return pair_table(
        [
            ItemScore(
                id=f"i{k}",
                source="s",
                prompt_key=prompt or f"p{k}",
                rewards=(margin, 0.0),
                lengths=(100 + difference, 100),
                preferences=((0, 1),),
            )
            for k, (margin, difference) in enumerate(rows)
        ]
    )


def values(found: Measure) -> dict[str, float]:
    return {name: interval.value for name, interval in found.metrics.items()}


def measured(put, *args) -> Measure:
    """Return the measure of what ``put`` puts."""
    found = MetricSet("preference", "accuracy", LabelCounts(n=0, scored=0, unscored=0, failed=0))
    put(found, *args)
    return found.measure(SETTINGS)


def length_control(pairs, tie_rule="loss") -> Measure:
    return measured(put_length_control, pairs, tie_rule)


def test_length_is_taken_out_by_regression_and_by_weighing_both_directions_alike():
    # Chosen longer: 3 of 4 right; chosen shorter: 2 of 4. Two lengths are fitted exactly:
    # logit(3/4) = α + β t and logit(1/2) = α − β t give α = (log 3 + 0) ÷ 2.
    longer = [(1.5, 40), (1.5, 40), (1.5, 40), (-1.5, 40)]
    shorter = [(1.5, -40), (1.5, -40), (-1.5, -40), (-1.5, -40)]
    found = length_control(pairs_of(*longer, *shorter))
    root = math.sqrt(3)
    assert values(found) == {
        "length_controlled_accuracy": pytest.approx(root / (1 + root), abs=1e-6),
        "length_balanced_accuracy": pytest.approx((3 / 4 + 2 / 4) / 2),
    }
    assert {interval.n for interval in found.metrics.values()} == {8}


def test_a_judge_of_length_alone_has_no_more_than_a_coin_once_length_is_taken_out():
    rows = [(1.5, 40)] * 8 + [(-1.5, -40)] * 2
    found = length_control(pairs_of(*rows))
    assert values(found) == {"length_balanced_accuracy": 0.5}
    assert "length alone parts the right pairs from the wrong ones" in found.absent["length_controlled_accuracy"]


def test_ties_follow_the_rule_of_the_accuracy():
    rows = [(1.5, 40), (-1.5, 40), (0.0, 40), (1.5, -40), (-1.5, -40), (0.0, -40)]
    for tie_rule, value, n in (("loss", 1 / 3, 6), ("half", 1 / 2, 6), ("exclude", 1 / 2, 4)):
        balanced = length_control(pairs_of(*rows), tie_rule).metrics["length_balanced_accuracy"]
        assert (balanced.value, balanced.n) == (pytest.approx(value), n)


def test_where_the_chosen_response_is_never_the_shorter_one_there_is_nothing_to_balance():
    found = length_control(pairs_of((1.5, 40), (-1.5, 30)))
    assert "never the shorter one" in found.absent["length_balanced_accuracy"]


def test_who_prefers_the_longer_response_is_worked_out_over_pairs_of_different_length():
    # model: longer, longer, shorter, tie; label: longer, shorter, shorter, longer; the last pair is left out
    found = measured(put_verbosity, pairs_of((1.5, 20), (-1.5, -20), (2.0, -45), (0.0, 7), (1.0, 0)))
    assert values(found) == {
        "prefers_longer": (1 + 1 + 0 + 0.5) / 4,
        "chosen_longer": 2 / 4,
        "verbosity": pytest.approx((0 + 1 + 0 - 0.5) / 4),
    }
    assert {interval.n for interval in found.metrics.values()} == {4}


def test_without_pairs_of_different_length_there_is_no_verbosity():
    found = measured(put_verbosity, pairs_of((1.5, 0), (-1.0, 0)))
    assert found.metrics == {}
    assert set(found.absent) == {"prefers_longer", "chosen_longer", "verbosity"}
    assert set(found.absent.values()) == {"the two responses of every pair are equally long"}


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-5, 5)), min_size=2, max_size=12))
def test_verbosity_is_the_difference_of_the_two_shares(rows):
    found = measured(put_verbosity, pairs_of(*((float(margin), length) for margin, length in rows)))
    if "verbosity" in found.metrics:
        by = values(found)
        assert by["verbosity"] == pytest.approx(by["prefers_longer"] - by["chosen_longer"])
        assert -1.0 <= found.metrics["verbosity"].value <= 1.0


def test_accuracy_where_the_model_is_surest_and_the_rank_of_its_errors_are_worked_out():
    found = measured(put_selective, pairs_of((4.5, 1), (3.5, 1), (-2.5, 1), (1.5, 1)), "loss")
    rows = found.curves["selective"]
    # the surest two are right; errors among the k surest: 0, 0, 1, 1; with the error last: 0, 0, 0, 1
    assert values(found) == {
        "accuracy_surest_half": 1.0,
        "excess_risk_coverage": pytest.approx((1 / 3 + 1 / 4) / 4 - (1 / 4) / 4),
    }
    assert found.metrics["accuracy_surest_half"].n == 2
    last = rows[-1]
    assert (last["coverage"], last["threshold"], last["accuracy"], last["n"]) == (1.0, 1.5, 3 / 4, 4.0)
    assert [row["coverage"] for row in rows[:3]] == [0.25, 0.25, 0.5]
    assert all(row["low"] <= row["accuracy"] <= row["high"] for row in rows)


def test_where_only_ties_are_left_out_nothing_is_sure():
    found = measured(put_selective, pairs_of((0.0, 1), (0.0, 2)), "exclude")
    assert found.curves == {}
    assert set(found.absent) == {"accuracy_surest_half", "excess_risk_coverage"}


def test_a_result_holds_these_figures_and_the_table_of_its_plot(make_item):
    items = [
        make_item(
            f"i{k}", (1.25 * (k % 5) - 1.1, 0.0), preferences=((0, 1),), lengths=(9 + k % 3, 10), prompt=f"p{k // 2}"
        )
        for k in range(30)
    ]
    found = assemble_result(items, name="d", model="m", resamples=50)
    pairs = pair_table(items)
    own = measured(put_verbosity, pairs), control_metrics(pairs, "loss").measure(SETTINGS)
    assert all(each.metrics and each.metrics.items() <= found.preference.metrics.items() for each in own)
    rows = own[1].curves["selective"]
    assert found.preference.curves["selective"] == rows
    assert rows[-1]["accuracy"] == pytest.approx(found.preference.metrics["accuracy"].value)


def test_several_pairs_of_one_prompt_alone_say_nothing_about_others():
    pairs = pairs_of((1.5, 3), (-2.5, -4), (1.0, 5), prompt="p")
    verbosity, control = measured(put_verbosity, pairs), control_metrics(pairs, "loss").measure(SETTINGS)
    for found, name in ((verbosity, "verbosity"), (control, "excess_risk_coverage")):
        assert found.absent[name] == "all pairs are of one prompt, which says nothing about others"
    longer = verbosity.metrics["prefers_longer"]
    assert (longer.low, longer.high) == (0.0, 1.0)
