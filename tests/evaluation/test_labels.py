"""One result over whatever labels there are: every item in one count, every kind in a measure of its own."""

from __future__ import annotations

import pytest

from plaudit.evaluation.metrics.preference import preference_metrics
from plaudit.evaluation.result import assemble_result
from plaudit.records import Result
from plaudit.statistics.metric import IntervalSettings


@pytest.fixture
def evaluate():
    """Return the result of items, of few resamples."""

    def of(*items, **options):
        return assemble_result(items, name="d", model="m", resamples=50, **options)

    return of


@pytest.fixture
def of_every_kind(make_item):
    """Items of which each carries other labels, one nothing, and one a missing reward."""
    return (
        make_item("pair", (2.0, 1.0), preferences=((0, 1),)),
        make_item("ranked", (2.0, 1.0, 0.0), ranks=(1, 2, 3), ratings={"clarity": (3.0, 2.0, None)}),
        make_item("rated", (1.0,), ratings={"depth": (4.0,), "clarity": (None,)}),
        make_item("solved", (0.1, 0.9), outcomes=(False, True), answers=("1", "2")),
        make_item("stepwise", (0.5,), step_labels=((1.0, 0.0),), steps=((0.9, 0.1),)),
        make_item("nothing", (0.5,)),
        make_item("tied", (0.5, 0.1), ranks=(1, 1)),
        make_item("failed", (None, 0.1), ranks=(1, 2)),
        make_item("half failed", (None, 0.1, 0.2), preferences=((0, 1),), ranks=(None, 1, 2)),
    )


def test_each_kind_of_label_that_is_there_is_measured_and_counted(evaluate, of_every_kind):
    found = evaluate(*of_every_kind)
    assert [measure.name for measure in found.measures] == [
        "preference",
        "ranking",
        "rating clarity",
        "rating depth",
        "outcome",
        "step",
    ]
    counts = {name: (each.n, each.scored, each.unscored, each.failed) for name, each in found.labels.items()}
    assert counts == {
        "preference": (2, 1, 0, 1),
        "ranking": (4, 2, 1, 1),
        "rating clarity": (1, 1, 0, 0),
        "rating depth": (1, 1, 0, 0),
        "outcome": (1, 1, 0, 0),
        "step": (1, 1, 0, 0),
    }
    assert found.measure("rating", "depth") == found.measures[3]
    assert found.preference == found.measure("preference") == found.measures[0]
    assert found.measure("benchmark") is None


def test_an_item_is_scored_where_it_is_for_any_label_and_is_in_one_count(evaluate, of_every_kind):
    found = evaluate(*of_every_kind)
    # unscored: nothing, tied; failed: failed; half failed is scored for its ranks
    assert (found.n, found.scored, found.unscored, found.failed) == (9, 6, 2, 1)


def test_preferences_are_a_measure(evaluate, make_item):
    items = [make_item(f"i{k}", (float(k % 3), 1.0), preferences=((0, 1),), lengths=(k + 1, 9)) for k in range(12)]
    items += [make_item("no label", (1.0, 2.0)), make_item("failed", (None, 2.0), preferences=((0, 1),))]
    found = evaluate(*items)
    estimate = IntervalSettings(confidence=0.95, resamples=50, seed=0)
    assert found.measures == (preference_metrics(items, tie_rule="loss").measure(estimate),)
    assert found.labels == {"preference": found.preference.counts}
    assert found.preference.counts.n == 13


def test_no_items_give_an_empty_result(evaluate):
    found = evaluate()
    assert (found.n, found.scored, found.labels, found.measures, found.preference) == (0, 0, {}, (), None)


def test_a_result_is_read_back_as_it_was_written(evaluate, of_every_kind):
    found = evaluate(*of_every_kind)
    assert Result.model_validate_json(found.model_dump_json()) == found


def test_the_headline_of_each_source_stands_in_the_slices(evaluate, make_item):
    items = [
        make_item(f"{source}{k}", (float(k < right), 0.5), ranks=(1, 2), source=source)
        for source, right in (("a", 4), ("b", 1))
        for k in range(4)
    ]
    (measure,) = evaluate(*items).measures
    assert {source: each["pairwise_agreement"].value for source, each in measure.slices.items()} == {
        "a": 1.0,
        "b": 0.25,
    }
    assert measure.slices["a"]["random"].value == 0.5
    assert evaluate(*items[:4]).measures[0].slices == {}


def test_what_zero_means_is_stated_and_never_taken_from_other_rows(evaluate, make_item):
    neutral = make_item("a", (0.5,), step_labels=((0.0, 1.0),), steps=((0.9, 0.9),))
    wrong = make_item("b", (0.5,), step_labels=((-1.0,),), steps=((0.1,),))
    (found,) = evaluate(neutral).measures
    assert found.details["wrong_steps"] == 1
    assert "no label is below 0, so 0 is read as wrong" in found.rules["labels"]
    (unclear,) = evaluate(neutral, wrong).measures
    assert unclear.metrics == {}
    assert "state step_classes" in unclear.absent["step_auc"]
    assert (unclear.counts.n, unclear.counts.unscored) == (2, 2)
    three = [item.model_copy(update={"step_classes": (-1.0, 0.0, 1.0)}) for item in (neutral, wrong)]
    assert [evaluate(*some).measures[0].details["wrong_steps"] for some in (three[:1], three)] == [0, 1]
    two = make_item("c", (0.5,), step_labels=((0.0,),), steps=((0.1,),), step_classes=(0.0, 1.0))
    (mixed,) = evaluate(*three, two).measures
    assert (mixed.details["right_steps"], mixed.details["wrong_steps"]) == (2, 2)
    assert "of the classes -1, 0, 1" in mixed.rules["labels"]
    assert "of the classes 0, 1" in mixed.rules["labels"]
    each_below = make_item("d", (0.5,), step_labels=((-1.0, 0.0),), steps=((0.1, 0.9),))
    assert evaluate(each_below, wrong).measures[0].details["wrong_steps"] == 2


def test_the_tie_rule_reaches_every_measure(evaluate, make_item):
    items = [make_item(f"i{k}", (1.0, 1.0), ranks=(1, 2), outcomes=(True, False)) for k in range(4)]
    for tie_rule, value in (("loss", 0.0), ("half", 0.5)):
        found = evaluate(*items, tie_rule=tie_rule)
        assert [measure.metrics["pairwise_agreement"].value for measure in found.measures] == [value, value]


def test_the_seed_moves_intervals_and_never_values(evaluate, make_item):
    chains = (((0.9, 0.9), (1.0, 1.0)), ((0.9, 0.2), (1.0, 0.0)), ((0.9, 0.4), (1.0, 1.0)), ((0.9, 0.8), (1.0, 0.0)))
    items = [make_item(f"i{k}", (0.5,), steps=(chains[k % 4][0],), step_labels=(chains[k % 4][1],)) for k in range(30)]
    first, again, other = (evaluate(*items, seed=seed).measures[0].metrics["first_error_f1"] for seed in (1, 1, 2))
    assert first == again
    assert first.value == other.value
    assert first.low != other.low


def test_rewards_that_are_numbers_of_a_group_have_no_figures_over_responses_to_different_prompts(evaluate, make_item):
    items = [
        make_item(
            f"i{k}",
            (0.4, -0.4),
            reward_scale="log_odds_values",
            outcomes=(True, False),
            answers=("1", "2"),
            ratings={"clarity": (2.0 + k, 1.0)},
            step_labels=((1.0,), (0.0,)),
            preferences=((0, 1),),
        )
        for k in range(3)
    ]
    found = {measure.name: measure for measure in evaluate(*items, relative=True).measures}
    same = {measure.name: measure for measure in evaluate(*items).measures}
    across = {
        "outcome": {"auc", "accuracy"},
        "rating clarity": {"spearman", "pearson"},
        "step": {"response_auc"},
    }
    for name, figures in across.items():
        assert figures <= set(same[name].metrics)
        assert set(same[name].metrics) - set(found[name].metrics) == figures
        assert all("say nothing across groups" in found[name].absent[figure] for figure in figures)
        assert not figures & set(found[name].baselines)
    assert found["rating clarity"].primary == "pairwise_agreement"
    assert found["outcome"].metrics["best_of_k"] == same["outcome"].metrics["best_of_k"]
    assert "threshold" not in found["outcome"].rules


def test_an_output_named_like_the_rating_is_no_number_of_a_group(evaluate, make_item):
    items = [
        make_item(f"i{k}", (0.4, -0.4), ratings={"help": (2.0 + k, 1.0)}, attributes={"help": (1.0, 0.0)})
        for k in range(3)
    ]
    (found,) = evaluate(*items, relative=True).measures
    assert found.primary == "spearman"
    assert "spearman" in found.metrics
