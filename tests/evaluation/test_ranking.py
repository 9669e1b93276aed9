"""Rankings: agreement over pairs, best response found and Kendall's τ-b, worked out by hand."""

from __future__ import annotations

import math

import pytest

from plaudit.evaluation.metrics.order import ranking_metrics


@pytest.fixture
def measure(estimate):
    """Return the measure of items, ties counting as wrong unless said otherwise."""

    def of(*items, tie_rule="loss"):
        return ranking_metrics(items, tie_rule=tie_rule).measure(estimate)

    return of


def value(found, name):
    return found.metrics[name].value


def beside(found, name, rule):
    return found.baselines[name][rule].value


@pytest.fixture
def two_groups(make_item):
    """Three responses in the right order, and two in the wrong one, with lengths that point the other way."""
    return (
        make_item("right", (3.0, 2.0, 1.0), ranks=(1, 2, 3), lengths=(5, 10, 20)),
        make_item("wrong", (0.0, 4.0), ranks=(1, 2), lengths=(9, 3)),
    )


def test_every_pair_weighs_alike_and_every_group_weighs_alike_by_hand(measure, two_groups):
    found = measure(*two_groups)
    assert value(found, "pairwise_agreement") == 3 / 4  # three pairs right, one wrong
    assert found.metrics["pairwise_agreement"].n == 4
    assert value(found, "pairwise_agreement_by_group") == (1.0 + 0.0) / 2
    assert found.metrics["pairwise_agreement_by_group"].n == 2
    assert value(found, "top_one") == 1 / 2
    assert value(found, "kendall_tau") == (1.0 - 1.0) / 2
    assert (found.counts.n, found.counts.scored, found.primary) == (2, 2, "pairwise_agreement")
    assert found.details["pairs"] == 4


def test_the_longer_response_and_a_random_order_stand_beside_every_figure(measure, two_groups):
    found = measure(*two_groups)
    assert beside(found, "pairwise_agreement", "longer_response") == 1 / 4
    assert beside(found, "pairwise_agreement_by_group", "longer_response") == (0.0 + 1.0) / 2
    assert beside(found, "top_one", "longer_response") == 1 / 2
    assert beside(found, "top_one", "random") == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert beside(found, "kendall_tau", "longer_response") == (-1.0 + 1.0) / 2
    assert beside(found, "pairwise_agreement", "random") == 0.5
    assert beside(found, "kendall_tau", "random") == 0.0
    assert set(found.baselines) == set(found.metrics)


def test_tied_ranks_are_no_pair_and_any_of_the_best_is_a_best_one(measure, make_item):
    # Ranks 1, 1, 3: two pairs. Rewards 2, 5, 3: the pair (0, 2) is wrong, (1, 2) right; the pick is response 1.
    found = measure(make_item("a", (2.0, 5.0, 3.0), ranks=(1, 1, 3)), make_item("b", (1.0, 0.0), ranks=(1, 2)))
    assert value(found, "pairwise_agreement") == 2 / 3
    assert value(found, "top_one") == 1.0
    # (concordant 1 − discordant 1) ÷ √(…) = 0 in the first group, 1 in the second
    assert value(found, "kendall_tau") == pytest.approx(1 / 2)
    assert beside(found, "top_one", "random") == pytest.approx((2 / 3 + 1 / 2) / 2)


@pytest.mark.parametrize(("tie_rule", "agreement"), [("loss", 2 / 4), ("half", 2.5 / 4), ("exclude", 2 / 3)])
def test_equal_rewards_follow_the_tie_rule_and_a_best_one_is_drawn(measure, make_item, tie_rule, agreement):
    # Rewards 1, 1, 0 of ranks 1, 2, 3: one tie, two right pairs; the pick is response 0 or 1.
    found = measure(
        make_item("a", (1.0, 1.0, 0.0), ranks=(1, 2, 3)), make_item("b", (0.0, 1.0), ranks=(1, 2)), tie_rule=tie_rule
    )
    assert value(found, "pairwise_agreement") == pytest.approx(agreement)
    assert value(found, "top_one") == (0.5 + 0.0) / 2
    assert found.details["pairs_of_equal_rewards"] == 1
    assert found.rules["ties"]


def test_a_group_of_equal_rewards_has_no_tau_and_is_counted(measure, make_item):
    found = measure(
        make_item("a", (1.0, 1.0, 1.0), ranks=(1, 2, 3)),
        make_item("b", (2.0, 1.0), ranks=(1, 2)),
        make_item("c", (1.0, 2.0), ranks=(1, 2)),
    )
    assert (value(found, "kendall_tau"), found.metrics["kendall_tau"].n) == (0.0, 2)
    assert found.details["groups_of_equal_rewards"] == 1
    only = measure(make_item("a", (1.0, 1.0), ranks=(1, 2)), make_item("b", (1.0, 1.0), ranks=(1, 2)))
    assert "kendall_tau" not in only.metrics
    assert "fewer than two prompts" in only.absent["kendall_tau"]
    assert value(only, "pairwise_agreement") == 0.0  # a model that decides nothing gets nothing


def test_unranked_responses_are_left_out_and_counted_and_need_no_reward(measure, make_item):
    found = measure(
        make_item("a", (2.0, None, 1.0), ranks=(1, None, 2)), make_item("b", (9.0, 1.0, 2.0), ranks=(None, 2, 1))
    )
    assert (value(found, "pairwise_agreement"), found.details["unranked_responses"]) == (1.0, 2)
    assert found.details["responses"] == 4


def test_every_group_is_in_one_count(measure, make_item):
    found = measure(
        make_item("scored", (2.0, 1.0), ranks=(1, 2)),
        make_item("all tied", (2.0, 1.0), ranks=(1, 1)),
        make_item("one ranked", (2.0, 1.0), ranks=(1, None)),
        make_item("no reward", (2.0, None), ranks=(1, 2)),
        make_item("no ranks", (2.0, 1.0)),
        make_item("none ranked", (2.0, 1.0), ranks=(None, None)),
    )
    counts = found.counts
    assert (counts.n, counts.scored, counts.unscored, counts.failed) == (4, 1, 2, 1)


def test_nothing_scored_gives_reasons_and_no_numbers(measure, make_item):
    found = measure(make_item("a", (None, 1.0), ranks=(1, 2)))
    assert found.metrics == {}
    none = {"pairwise_agreement", "pairwise_agreement_by_group", "top_one", "kendall_tau", "best_of_n"}
    assert set(found.absent) == none
    assert all(found.absent.values())


def test_a_planted_order_is_perfect_and_its_reverse_is_nothing(measure, make_item):
    ranks = (2, 4, 1, 3)
    right = [make_item(f"i{k}", tuple(-float(r) for r in ranks), ranks=ranks) for k in range(5)]
    wrong = [make_item(f"i{k}", tuple(float(r) for r in ranks), ranks=ranks) for k in range(5)]
    for items, agreement, tau in ((right, 1.0, 1.0), (wrong, 0.0, -1.0)):
        found = measure(*items)
        assert (value(found, "pairwise_agreement"), value(found, "top_one")) == (agreement, agreement)
        assert value(found, "kendall_tau") == tau


def test_groups_of_one_prompt_are_resampled_together(measure, make_item):
    apart = [make_item(f"i{k}", (float(k % 2), 0.5), ranks=(1, 2)) for k in range(40)]
    together = [make_item(f"i{k}", (float(k // 20), 0.5), ranks=(1, 2), prompt=f"p{k // 10}") for k in range(40)]
    one, other = (measure(*items).metrics["pairwise_agreement"] for items in (apart, together))
    assert (one.value, other.value) == (0.5, 0.5)
    assert other.high - other.low > 2 * (one.high - one.low)
    assert "4 clusters" in other.method


def test_the_longer_response_as_a_model_reaches_what_stands_beside_it(measure, make_item):
    lengths = [(3, 9, 4), (8, 8, 1), (5, 2, 7)]
    items = [
        make_item(f"i{k}", tuple(map(float, each)), ranks=(1, 2, 3), lengths=each) for k, each in enumerate(lengths)
    ]
    found = measure(*items, tie_rule="half")
    for name, figure in found.metrics.items():
        same = found.baselines[name]["longer_response"]
        assert (figure.value, figure.low, figure.high) == (same.value, same.low, same.high)


def test_groups_that_are_all_half_right_have_wilsons_interval_and_no_empty_one(measure, make_item):
    items = [make_item(f"i{k}", (2.0, 3.0, 1.0), ranks=(1, 2, 2)) for k in range(20)]
    found = measure(*items).metrics["pairwise_agreement_by_group"]
    assert (found.low, found.value, found.high) == pytest.approx((0.2993, 0.5, 0.7007), abs=1e-4)
    assert not math.isnan(found.low)
