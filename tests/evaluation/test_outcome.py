"""Outcomes: area under the ROC curve, best of K beside chance, majority and oracle, all worked out by hand."""

from __future__ import annotations

import pytest

from plaudit.evaluation.metrics.outcome import outcome_metrics


@pytest.fixture
def measure(estimate):
    """Return the measure of items, ties counting as wrong unless said otherwise."""

    def of(*items, tie_rule="loss"):
        return outcome_metrics(items, tie_rule=tie_rule).measure(estimate)

    return of


def value(found, name):
    return found.metrics[name].value


def beside(found, name):
    return {rule: interval.value for rule, interval in found.baselines[name].items()}


@pytest.fixture
def problems(make_item):
    """One problem that the rewards solve, one that they miss, one that no response solves."""
    return (
        make_item(
            "solved",
            (0.9, 0.1, 0.2, 0.3),
            outcomes=(True, False, False, True),
            answers=("4", "5", "5", "4"),
            lengths=(5, 9, 6, 7),
        ),
        make_item(
            "missed",
            (0.1, 0.2, 0.8, 0.4),
            outcomes=(True, True, False, False),
            answers=("7", "7", "8", None),
            lengths=(9, 5, 6, 7),
        ),
        make_item("hopeless", (0.6, 0.7), outcomes=(False, False), answers=("1", "2"), lengths=(1, 2)),
    )


def test_best_of_k_beside_random_longest_majority_and_oracle_by_hand(measure, problems):
    found = measure(*problems)
    assert value(found, "best_of_k") == pytest.approx((1 + 0 + 0) / 3)
    assert beside(found, "best_of_k") == {
        "random": pytest.approx((2 / 4 + 2 / 4 + 0) / 3),
        "longest_response": pytest.approx((0 + 1 + 0) / 3),
        # solved: 4 and 5 have two votes each, one is right: ½; missed: 7 wins; hopeless: either is wrong
        "majority_vote": pytest.approx((0.5 + 1 + 0) / 3),
        "oracle": pytest.approx(2 / 3),
    }
    assert found.primary == "best_of_k"
    assert found.metrics["best_of_k"].n == 3


def test_only_where_the_choice_matters_by_hand(measure, problems):
    found = measure(*problems)
    assert value(found, "best_of_k_decidable") == 1 / 2
    assert found.metrics["best_of_k_decidable"].n == 2
    assert beside(found, "best_of_k_decidable")["oracle"] == 1.0
    assert beside(found, "best_of_k_decidable")["random"] == 0.5
    assert value(found, "decidable_groups") == pytest.approx(2 / 3)
    assert found.details["decidable_groups"] == 2
    assert (found.details["smallest_k"], found.details["largest_k"]) == (2, 4)


def test_responses_are_told_apart_over_all_groups_and_within_them_by_hand(measure, problems):
    found = measure(*problems)
    # right: .9 .3 .1 .2; wrong: .1 .2 .8 .4 .6 .7. Wins of .9: 6, of .3: 2, of .1: ½, of .2: 1½ → 10 of 24
    assert value(found, "auc") == pytest.approx(10 / 24)
    # within: solved all four pairs right; missed none of four
    assert value(found, "pairwise_agreement") == 4 / 8
    assert beside(found, "pairwise_agreement")["longer_response"] == pytest.approx((0 + 1 + 2 + 0) / 8)
    assert beside(found, "auc")["random"] == 0.5
    assert found.details["correct_responses"] == 4


def test_probabilities_are_cut_at_a_half_and_log_odds_at_zero(measure, make_item, problems):
    found = measure(*[problem.model_copy(update={"reward_scale": "probabilities"}) for problem in problems])
    # from 0.5 on: .9 right, .8 .6 .7 wrong; below: .1 .2 .3 .4 → wrong are .3 .1 .2 (right), .8 .6 .7: 4 of 10 agree
    assert value(found, "accuracy") == pytest.approx(4 / 10)
    assert beside(found, "accuracy") == {"always_correct": pytest.approx(0.4), "always_wrong": pytest.approx(0.6)}
    assert "probabilities" in found.rules["threshold"]
    odds = measure(make_item("a", (0.2, -3.0, 0.0), outcomes=(True, True, False), reward_scale="log_odds_values"))
    assert value(odds, "accuracy") == pytest.approx(1 / 3)
    assert "log-odds" in odds.rules["threshold"]


def test_log_odds_are_cut_at_zero_though_all_of_them_lie_within_0_to_1(measure, make_item):
    item = make_item("a", (0.2, 0.4, 0.9), outcomes=(True, True, True), reward_scale="log_odds_values")
    assert value(measure(item), "accuracy") == 1.0


@pytest.mark.parametrize(
    ("scale", "words"),
    [
        ("log_odds_differences", "only differences of the rewards mean something"),
        ("assumed_log_odds_differences", "only differences of the rewards mean something"),
        ("order", "only the order of the rewards counts"),
        ("ratings", "the rewards are ratings"),
        (None, "nothing says what the rewards are"),
    ],
)
@pytest.mark.parametrize("offset", [0.0, -1.5])
def test_an_offset_without_a_meaning_is_no_accuracy_but_a_reason(measure, make_item, scale, words, offset):
    rewards = (2.0 + offset, 0.25 + offset)
    found = measure(make_item("a", rewards, outcomes=(True, False), reward_scale=scale))
    assert found.absent["accuracy"].startswith(words)
    assert value(found, "auc") == 1.0


def test_equal_rewards_are_drawn_between(measure, make_item):
    found = measure(
        make_item("a", (1.0, 1.0, 0.0), outcomes=(True, False, True)),
        make_item("b", (1.0, 1.0), outcomes=(False, False)),
    )
    assert value(found, "best_of_k") == (0.5 + 0.0) / 2
    assert found.details["pairs_of_equal_rewards"] == 1


def test_an_answer_that_is_not_there_does_not_vote_and_none_at_all_is_a_random_choice(measure, make_item):
    found = measure(
        make_item("a", (0.1, 0.2, 0.3), outcomes=(True, False, False), answers=("4", None, None)),
        make_item("b", (0.1, 0.2), outcomes=(True, False), answers=(None, None)),
        make_item("c", (0.1, 0.2), outcomes=(True, False)),
    )
    assert beside(found, "best_of_k")["majority_vote"] == pytest.approx((1 + 0.5 + 0.5) / 3)
    assert found.details["responses_without_an_answer"] == 6
    assert found.details["groups_without_an_answer"] == 2


def test_an_answer_whose_responses_disagree_is_as_right_as_they_are(measure, make_item):
    found = measure(make_item("a", (0.1, 0.2, 0.3), outcomes=(True, False, False), answers=("4", "4", "5")))
    assert beside(found, "best_of_k")["majority_vote"] == 0.5


def test_groups_of_one_have_an_area_and_no_best_of_k(measure, make_item):
    found = measure(*[make_item(f"i{k}", (float(k),), outcomes=(k > 3,), prompt=f"p{k // 2}") for k in range(6)])
    assert found.primary == "auc"
    assert value(found, "auc") == 1.0
    assert found.absent["best_of_k"] == "no group has two responses of known outcome"
    assert found.details["groups_of_one"] == 6
    assert (found.details["smallest_k"], found.details["largest_k"]) == (0, 0)


def test_one_outcome_alone_has_no_area(measure, make_item):
    found = measure(
        make_item("a", (1.0, 2.0), outcomes=(True, True)), make_item("b", (1.0, 2.0), outcomes=(True, True))
    )
    assert found.absent["auc"] == "all responses are correct"
    assert "auc" not in found.baselines or found.baselines["auc"] == {}
    assert found.absent["best_of_k_decidable"] == "no group holds correct and wrong responses"
    assert value(found, "decidable_groups") == 0.0
    assert value(found, "best_of_k") == 1.0


def test_unknown_outcomes_carry_nothing_and_every_group_is_in_one_count(measure, make_item):
    found = measure(
        make_item("a", (3.0, None, -1.0), outcomes=(True, None, False)),
        make_item("b", (None, -1.0), outcomes=(True, False)),
        make_item("c", (1.0, 2.0), outcomes=(None, None)),
        make_item("d", (1.0, 2.0)),
    )
    counts = found.counts
    assert (counts.n, counts.scored, counts.unscored, counts.failed) == (2, 1, 0, 1)
    assert found.details["responses_of_unknown_outcome"] == 1
    assert (value(found, "best_of_k"), found.metrics["auc"].n) == (1.0, 2)


def test_nothing_scored_gives_reasons_and_no_numbers(measure, make_item):
    found = measure(make_item("a", (None, None), outcomes=(True, False)))
    assert found.metrics == {}
    assert {"auc", "accuracy", "best_of_k", "best_of_k_decidable", "decidable_groups"} <= set(found.absent)
    assert found.absent["auc"] == found.absent["accuracy"] == "no response was scored"


def test_problems_are_resampled_together(measure, make_item):
    rows = [(f"i{k}", (k < 20, k >= 20)) for k in range(40)]
    fields = {"rewards": (1.0, 0.0), "reward_scale": "probabilities"}
    apart = measure(*[make_item(name, outcomes=each, **fields) for name, each in rows])
    together = measure(
        *[make_item(name, outcomes=each, prompt=f"p{k // 10}", **fields) for k, (name, each) in enumerate(rows)]
    )
    for name in ("best_of_k", "auc", "accuracy"):
        narrow, wide = apart.metrics[name], together.metrics[name]
        assert narrow.value == wide.value
        assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)
