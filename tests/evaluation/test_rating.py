"""Ratings: correlation, agreement within a prompt and error, by the model's own attribute where it has one."""

from __future__ import annotations

import math

import pytest
from scipy import stats

from plaudit.evaluation.metrics.order import predicts, rated_attributes, rating_metrics


@pytest.fixture
def measure(estimate):
    """Return the measure of one attribute of items."""

    def of(*items, attribute="clarity", tie_rule="loss"):
        found = rating_metrics(items, attribute, predicted=predicts(items, attribute), tie_rule=tie_rule)
        return found.measure(estimate)

    return of


def ratings(*values):
    return {"clarity": values}


def test_the_reward_stands_in_for_an_attribute_that_the_model_lacks(measure, make_item):
    found = measure(
        make_item("a", (1.0, 4.0), ratings=ratings(2.0, 5.0), lengths=(7, 3)),
        make_item("b", (2.0, 0.0), ratings=ratings(1.0, 3.0), lengths=(4, 9)),
        make_item("c", (5.0,), ratings=ratings(4.0), lengths=(2,)),
    )
    rewards, labels, lengths = [1, 4, 2, 0, 5], [2, 5, 1, 3, 4], [7, 3, 4, 9, 2]
    assert found.metrics["spearman"].value == pytest.approx(stats.spearmanr(rewards, labels).statistic)
    assert found.metrics["pearson"].value == pytest.approx(stats.pearsonr(rewards, labels).statistic)
    assert found.baselines["spearman"]["length"].value == pytest.approx(stats.spearmanr(lengths, labels).statistic)
    assert found.baselines["pearson"]["length"].value == pytest.approx(stats.pearsonr(lengths, labels).statistic)
    assert found.metrics["pearson"].n == 5
    # Pairs within a prompt: a is right, b is wrong; c has one response and no pair.
    assert found.metrics["pairwise_agreement"].value == 1 / 2
    assert found.baselines["pairwise_agreement"]["longer_response"].value == 1 / 2
    assert "rmse" not in found.metrics
    assert "no output 'clarity'" in found.absent["rmse"]
    assert "reward" in found.rules["number"]
    assert (found.name, found.primary) == ("rating clarity", "spearman")


def test_the_models_own_attribute_is_what_is_compared(measure, make_item):
    found = measure(
        make_item("a", (9.0, 0.0), ratings=ratings(2.0, 5.0), attributes={"clarity": (1.0, 6.0), "other": (0.0, 0.0)}),
        make_item("b", (9.0, 0.0), ratings=ratings(1.0, 4.0), attributes={"clarity": (1.0, 5.0), "other": (0.0, 0.0)}),
    )
    assert found.metrics["pairwise_agreement"].value == 1.0  # by reward it would be 0
    # errors −1, 1, 0, 1: √(3/4); the mean rating is 3, with deviations −1, 2, −2, 1: √(10/4)
    assert found.metrics["rmse"].value == pytest.approx(math.sqrt(3 / 4))
    assert found.baselines["rmse"]["mean_rating"].value == pytest.approx(math.sqrt(10 / 4))
    assert found.metrics["rmse"].low <= found.metrics["rmse"].value <= found.metrics["rmse"].high
    assert found.absent == {}


def test_a_missing_rating_carries_nothing_and_is_counted(measure, make_item):
    found = measure(
        make_item("a", (1.0, 2.0, None), ratings=ratings(1.0, 2.0, None)),
        make_item("b", (3.0, 9.0), ratings=ratings(4.0, None)),
        make_item("c", (3.0, 9.0), ratings={"depth": (1.0, 2.0)}),
        make_item("d", (3.0, 9.0), ratings=ratings(None, None)),
    )
    assert found.metrics["pearson"].n == 3
    assert (found.details["responses"], found.details["unrated_responses"]) == (3, 2)
    counts = found.counts
    assert (counts.n, counts.scored, counts.unscored, counts.failed) == (2, 2, 0, 0)


def test_a_rated_response_without_the_models_number_fails_its_group(measure, make_item):
    items = (
        make_item("a", (1.0, 2.0), ratings=ratings(1.0, 2.0), attributes={"clarity": (1.0, None)}),
        make_item("b", (1.0, 2.0), ratings=ratings(2.0, 1.0), attributes={"clarity": (1.0, 2.0)}),
        make_item("c", (1.0, 2.0), ratings=ratings(2.0, 1.0)),
    )
    found = measure(*items)
    counts = found.counts
    assert (counts.n, counts.scored, counts.failed) == (3, 1, 2)
    assert found.metrics["pairwise_agreement"].value == 0.0
    none = measure(make_item("a", (None, 2.0), ratings=ratings(1.0, 2.0)))
    assert (none.counts.failed, none.metrics) == (1, {})


def test_a_constant_reward_or_rating_has_a_reason_and_never_nan(measure, make_item):
    same = [make_item(f"i{k}", (1.0, 1.0), ratings=ratings(float(k), 2.0), lengths=(k + 1, 5)) for k in range(4)]
    found = measure(*same)
    assert found.absent["pearson"] == found.absent["spearman"] == "the model's number does not vary"
    assert "length" in found.baselines["pearson"]
    flat = measure(*[make_item(f"i{k}", (float(k), 0.5), ratings=ratings(3.0, 3.0)) for k in range(4)])
    assert flat.absent["spearman"] == "the rating does not vary"
    assert flat.absent["pairwise_agreement"] == "no group has two responses with different labels"
    assert flat.metrics == {}


def test_a_planted_rating_is_found(measure, make_item):
    items = [make_item(f"i{k}", (2.0 * k, 2.0 * k + 1), ratings=ratings(3.0 * k, 3.0 * k + 2)) for k in range(8)]
    found = measure(*items)
    assert found.metrics["spearman"].value == pytest.approx(1.0)
    assert found.metrics["pairwise_agreement"].value == 1.0


def test_length_as_a_model_reaches_what_stands_beside_it(measure, make_item):
    lengths = [(3, 9), (8, 8), (5, 2), (1, 6)]
    items = [
        make_item(f"i{k}", tuple(map(float, each)), ratings=ratings(float(k), 2.0), lengths=each)
        for k, each in enumerate(lengths)
    ]
    found = measure(*items, tie_rule="half")
    for name, rule in (("spearman", "length"), ("pearson", "length"), ("pairwise_agreement", "longer_response")):
        figure, same = found.metrics[name], found.baselines[name][rule]
        assert (figure.value, figure.low, figure.high) == (same.value, same.low, same.high)


def test_attributes_are_those_with_a_rating_in_the_order_of_the_data(make_item):
    items = [
        make_item("a", (1.0,), ratings={"depth": (None,), "clarity": (1.0,)}),
        make_item("b", (1.0,), ratings={"depth": (2.0,), "unused": (None,)}),
    ]
    assert rated_attributes(items) == ["clarity", "depth"]
