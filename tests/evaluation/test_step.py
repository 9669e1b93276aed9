"""Steps: single steps and the first error of a chain, by hand; unlabelled steps carry nothing."""

from __future__ import annotations

import pytest

from plaudit.evaluation.metrics.metric_set import in_first_half
from plaudit.evaluation.metrics.steps import reads_steps, step_classes, step_metrics


@pytest.fixture
def measure(estimate):
    """Return the measure of items."""

    def of(*items):
        found = step_metrics(items, classes=step_classes(items), by_step=reads_steps(items))
        return found.measure(estimate)

    return of


def value(found, name):
    return found.metrics[name].value


def beside(found, name):
    return {rule: interval.value for rule, interval in found.baselines[name].items()}


@pytest.fixture
def chain(make_item):
    """Return a function that gives an item of one chain: labels, step rewards, and a reward of its own."""

    def make(name, labels, steps, *, reward=0.0, **fields):
        return make_item(name, (reward,), step_labels=(labels,), steps=None if steps is None else (steps,), **fields)

    return make


@pytest.fixture
def four(chain):
    """Two chains with an error, one of them located; two without, one of them cleared."""
    return (
        chain("located", (1.0, 0.0, None), (0.9, 0.2, 0.1)),
        chain("late", (0.0, None), (0.7, 0.3)),
        chain("cleared", (1.0, 1.0), (0.8, 0.6)),
        chain("accused", (1.0, 1.0, 1.0), (0.9, 0.4, 0.9)),
    )


def test_the_first_error_is_located_by_hand(measure, four):
    found = measure(*four)
    assert value(found, "first_error_accuracy") == 2 / 4
    assert value(found, "first_error_accuracy_erroneous") == 1 / 2
    assert value(found, "first_error_accuracy_correct") == 1 / 2
    assert value(found, "first_error_f1") == pytest.approx(0.5)
    assert (found.metrics["first_error_accuracy"].n, found.metrics["first_error_accuracy_correct"].n) == (4, 2)


def test_f1_is_the_harmonic_mean_and_not_the_mean(measure, four, chain):
    found = measure(*four, chain("located too", (0.0,), (0.1,)), chain("located again", (0.0,), (0.2,)))
    assert value(found, "first_error_accuracy_erroneous") == 3 / 4
    assert value(found, "first_error_f1") == pytest.approx(2 * 0.75 * 0.5 / 1.25)


def test_constant_predictions_stand_beside_it_and_have_no_f1(measure, four):
    found = measure(*four)
    # errors at 1 and at 0: of equally common places the earlier
    assert beside(found, "first_error_accuracy") == {"no_error": 2 / 4, "first_step": 1 / 4, "commonest_place": 1 / 4}
    assert beside(found, "first_error_accuracy_erroneous") == {
        "no_error": 0.0,
        "first_step": 1 / 2,
        "commonest_place": 1 / 2,
    }
    assert beside(found, "first_error_accuracy_correct")["no_error"] == 1.0
    assert set(beside(found, "first_error_f1").values()) == {0.0}
    # An F1 of 0 on two chains of each kind is not known to be 0.
    assert found.baselines["first_error_f1"]["first_step"].high > 0.5


def test_single_steps_by_hand(measure, four):
    found = measure(*four)
    # right: .9 .8 .6 .9 .4 .9; wrong: .2 .7. Against .2 all win; against .7 four of six.
    assert value(found, "step_auc") == pytest.approx(10 / 12)
    assert found.metrics["step_auc"].n == 8  # the two unlabelled steps are not there
    # by place: right at 0 0 1 0 1 2, wrong at 1, 0. Earlier than 1: 3, same: 2; earlier than 0: none, same: 3.
    assert beside(found, "step_auc")["earlier_step"] == pytest.approx((3 + 1 + 0 + 1.5) / 12)
    # passed: .9 .7 .8 .6 .9 .9; agree: .9, .2 (wrong, below), .8 .6 .9 .9 → 6 of 8
    assert value(found, "step_accuracy") == 6 / 8
    assert beside(found, "step_accuracy") == {"always_right": 6 / 8, "always_wrong": 2 / 8}
    # taken for wrong: .2 (is), .4 (is not); missed: .7. F1 = 2 ÷ (2 + 2)
    assert value(found, "step_error_f1") == pytest.approx(0.5)
    assert beside(found, "step_error_f1")["always_wrong"] == pytest.approx(2 * 2 / (2 * 2 + 6))
    assert found.details["unlabelled_steps"] == 2


def test_an_unlabelled_step_carries_nothing_whatever_its_reward(measure, chain):
    def figures(hidden):
        found = measure(
            chain("a", (1.0, 0.0, None), (0.9, 0.2, hidden)),
            chain("b", (1.0, 1.0), (0.9, 0.8)),
            chain("c", (0.0, 1.0), (0.3, 0.8)),
        )
        return {name: (each.value, each.n) for name, each in found.metrics.items()}

    assert figures(0.01) == figures(0.99)


def test_a_chain_whose_first_error_cannot_be_told_is_counted_and_left_out(measure, chain):
    found = measure(
        chain("a", (None, 0.0), (0.9, 0.2)),
        chain("b", (1.0, None), (0.9, 0.8)),
        chain("c", (1.0, 0.0, None), (0.9, 0.2, 0.5)),
        chain("d", (1.0,), (0.9,)),
    )
    assert found.details["chains_of_uncertain_first_error"] == 2
    assert found.metrics["first_error_accuracy"].n == 2
    assert found.metrics["step_accuracy"].n == 5


def test_three_classes_count_neutral_as_right_and_soft_labels_are_cut_in_the_middle(measure, chain):
    classes = {"step_classes": (-1.0, 0.0, 1.0)}
    three = measure(
        chain("a", (1.0, 0.0, -1.0), (0.9, 0.8, 0.1), **classes), chain("b", (0.0, 1.0), (0.9, 0.8), **classes)
    )
    assert (three.details["right_steps"], three.details["wrong_steps"]) == (4, 1)
    assert value(three, "first_error_f1") == 1.0
    assert "a label above -0.5 is a right step" in three.rules["labels"]
    # -0.25 is one quarter -1 and three quarters 0, as in training
    between = measure(chain("a", (-0.25, -0.75, -0.5), (0.9, 0.1, 0.1), **classes))
    counts = [between.details[f"{kind}_steps"] for kind in ("right", "wrong", "unlabelled")]
    assert counts == [1, 1, 1]
    soft = measure(chain("a", (0.75, 0.25, 0.5), (0.9, 0.1, 0.2)), chain("b", (0.0, 1.0), (0.1, 0.8)))
    assert (soft.details["right_steps"], soft.details["wrong_steps"], soft.details["unlabelled_steps"]) == (2, 2, 1)


def test_log_odds_of_steps_are_cut_at_zero(measure, chain):
    def chains(scale):
        rows = (("a", (1.0, 0.0), (2.0, -1.0)), ("b", (1.0, 1.0), (0.3, 5.0)))
        return [chain(*row, step_scale=scale) for row in rows]

    found = measure(*chains("log_odds_values"))
    assert value(found, "first_error_f1") == 1.0
    assert "log-odds" in found.rules["threshold"]
    for scale, words in (("order", "only the order of the rewards of steps counts"), (None, "some lie outside 0 to 1")):
        other = measure(*chains(scale))
        assert all(words in other.absent[name] for name in ("step_accuracy", "step_error_f1", "first_error_f1"))
        assert value(other, "step_auc") == 1.0


def halves(count):
    """Names of ``count`` prompts of each half."""
    names = [f"prompt {k}" for k in range(20 * count)]
    first = [name for name in names if in_first_half(name)][:count]
    return first, [name for name in names if not in_first_half(name)][:count]


def test_the_threshold_is_tuned_on_one_half_and_measured_on_the_other(measure, chain):
    first, second = halves(6)
    # Right steps have 0.8 and wrong ones 0.6, on both halves: any threshold above 0.6 is perfect, 0.5 finds nothing.
    items = [chain(name, (1.0, 0.0), (0.8, 0.6)) for name in first[:3] + second[:3]]
    items += [chain(name, (1.0, 1.0), (0.8, 0.8)) for name in first[3:] + second[3:]]
    found = measure(*items)
    assert value(found, "first_error_f1") == 0.0
    assert value(found, "first_error_f1_tuned") == 1.0
    assert found.metrics["first_error_f1_tuned"].n == 6
    assert value(found, "first_error_accuracy_tuned") == 1.0
    assert beside(found, "first_error_f1_tuned")["fixed_threshold"] == 0.0
    assert beside(found, "first_error_accuracy_tuned")["no_error"] == 0.5
    assert found.rules["tuned_threshold"].startswith("0.7,")


def test_a_threshold_that_fits_one_half_only_is_not_good_on_the_other(measure, chain):
    first, second = halves(4)
    items = [chain(name, (1.0, 0.0), (0.9, 0.8)) for name in first[:2]]
    items += [chain(name, (1.0, 1.0), (0.9, 0.9)) for name in first[2:]]
    items += [chain(name, (1.0, 0.0), (0.7, 0.1)) for name in second[:2]]
    items += [chain(name, (1.0, 1.0), (0.7, 0.7)) for name in second[2:]]
    found = measure(*items)
    # 0.85 suits the first half; on the second it accuses the first step of every chain.
    assert value(found, "first_error_f1_tuned") == 0.0
    assert beside(found, "first_error_f1_tuned")["fixed_threshold"] == 1.0


def test_no_threshold_is_tuned_where_a_half_has_chains_of_one_kind_only(measure, chain):
    first, second = halves(2)
    found = measure(*[chain(name, (1.0, 0.0), (0.8, 0.1)) for name in first + second])
    assert "first_error_f1_tuned" not in found.metrics
    assert "no threshold can be chosen" in found.absent["first_error_f1_tuned"]
    assert found.absent["first_error_f1"] == "F1 needs chains with an error and chains without"


def test_a_model_without_step_rewards_is_measured_by_its_responses(measure, chain):
    found = measure(
        chain("a", (1.0, 0.0), None, reward=1.0, lengths=(5,)),
        chain("b", (1.0, 1.0), None, reward=3.0, lengths=(5,)),
        chain("c", (1.0, 1.0), None, reward=0.5, lengths=(9,)),
    )
    assert value(found, "response_auc") == 1 / 2
    assert beside(found, "response_auc")["longer_response"] == pytest.approx((0.5 + 1) / 2)
    assert found.primary == "response_auc"
    assert found.absent["step_auc"] == found.absent["first_error_f1"] == "the model gives no rewards to steps"


def test_a_model_that_judges_the_whole_response_reads_no_steps(measure, chain):
    whole = (
        chain("a", (1.0, 0.0), (0.2,), reward=0.2),
        chain("b", (1.0, 1.0, 1.0), (0.9,), reward=0.9),
        chain("c", (0.0,), (0.1,), reward=0.1),
    )
    found = measure(*whole)
    assert (value(found, "response_auc"), found.counts.scored) == (1.0, 3)
    assert found.absent["step_auc"] == "the model gives no rewards to steps"
    # among those of a model that reads steps, a response with a reward of the whole alone is failed
    mixed = measure(*whole[:1], chain("d", (1.0, 0.0), (0.9, 0.2)))
    assert (mixed.counts.scored, mixed.counts.failed) == (1, 1)
    assert reads_steps(whole[2:])


def test_every_group_is_in_one_count(measure, chain, make_item):
    found = measure(
        chain("scored", (1.0, 0.0), (0.9, 0.1)),
        chain("no step rewards", (1.0, 0.0), None),
        chain("one step without", (1.0, None), (0.9, None)),
        chain("says nothing", (0.5, None), (0.9, 0.1)),
        chain("unlabelled", (None, None), (0.9, 0.1)),
        make_item("no steps", (1.0,)),
    )
    counts = found.counts
    assert (counts.n, counts.scored, counts.unscored, counts.failed) == (4, 1, 1, 2)


def test_nothing_scored_gives_reasons_and_no_numbers(measure, chain):
    found = measure(chain("a", (1.0, 0.0), (None, 0.5)))
    assert found.metrics == {}
    assert found.absent["step_auc"] == "no step was scored"
    assert found.absent["first_error_accuracy"] == "there is no chain whose first error is certain"


def test_several_responses_of_a_group_are_several_chains_of_one_prompt(measure, make_item):
    group = make_item(
        "a",
        (0.2, 0.8, 0.0),
        step_labels=((1.0, 0.0), (1.0, 1.0), None),
        steps=((0.9, 0.2), (0.9, 0.8), (0.1,)),
    )
    found = measure(group)
    assert (found.details["chains"], found.details["steps"]) == (2, 4)
    assert value(found, "first_error_accuracy") == 1.0
    assert found.metrics["first_error_accuracy"].method == "none: one prompt"


def test_a_chain_without_rewards_is_counted_and_takes_no_other_chain_of_its_group_with_it(measure, make_item):
    labels = ((1.0, 0.0), (1.0, 1.0), (0.0, None))
    group = make_item("a", (0.2, None, 0.1), step_labels=labels, steps=((0.9, 0.2), None, (0.1, 0.7)))
    whole = make_item("b", (0.8,), step_labels=((1.0, 1.0),), steps=((0.9, 0.8),))
    nothing = make_item("c", (None,), step_labels=((1.0, 1.0),), steps=(None,))
    found = measure(group, whole, nothing)
    assert (found.counts.scored, found.counts.failed) == (2, 1)
    assert (found.details["chains"], found.details["chains_not_scored"]) == (3, 2)
    # right: .9, .9, .8; wrong: .2, .1; the step of a null label carries nothing
    assert (value(found, "step_auc"), found.metrics["step_auc"].n) == (1.0, 5)
    assert value(found, "first_error_accuracy") == 1.0
    # and of a model that gives no rewards to steps
    responses = make_item("a", (0.2, None, 0.9), step_labels=labels)
    found = measure(responses, make_item("b", (0.8,), step_labels=((1.0, 1.0),)))
    assert (value(found, "response_auc"), found.metrics["response_auc"].n) == (0.5, 3)
    assert found.details["chains_not_scored"] == 1


def test_an_f1_that_all_resamples_agree_on_is_not_said_to_be_known(measure, chain):
    items = [chain(f"c{k}", (1.0, 0.0), (0.9, 0.8)) for k in range(4)]  # no wrong step is found
    found = measure(*items).metrics["step_error_f1"]
    # Wilson's interval of 0 of 4 prompts ends at z² / (4 + z²) = 0.489891; F1 = 2J / (1 + J)
    assert (found.value, found.low) == (0.0, 0.0)
    assert found.high == pytest.approx(2 * 0.489891 / 1.489891, abs=1e-5)
    perfect = measure(*[chain(f"c{k}", (1.0, 0.0), (0.9, 0.1)) for k in range(4)]).metrics["step_error_f1"]
    assert (perfect.value, perfect.high) == (1.0, 1.0)
    assert perfect.low == pytest.approx(2 * (1 - 0.489891) / (2 - 0.489891), abs=1e-5)
