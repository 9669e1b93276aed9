"""Nothing silent: what is missing, repeated or uneven is in the result and on the page."""

from __future__ import annotations

import math

import pytest

from plaudit.data.schema.group import Group, Preference, conversation
from plaudit.evaluation.result import MAX_REASONS, OTHER_REASONS, assemble_result, missing_reasons
from plaudit.evaluation.run import evaluate
from plaudit.records import Result
from plaudit.reports.primary_metric import failure_reasons
from plaudit.reports.tables import counts_sentence
from plaudit.scoring.scorer import GroupRewards


@pytest.fixture
def result(make_item):
    """Return the result of items of which each has something odd about it."""
    items = [
        make_item("a", (1.5, 0.25), preferences=((0, 1),), lengths=(7, 9)),
        make_item("a", (0.5, 0.75), preferences=((0, 1),), prompt="q"),
        make_item("b", (0.5, 1.75, -0.5, 0.1), preferences=((0, 1), (0, 2), (0, 3))),
        make_item("c", (None, 0.25), preferences=((0, 1),), reason="the reward of response 0 is nan"),
        make_item("d", (None, None, None), reason="too long"),
        make_item("e", (1.5, None), preferences=((0, 1),), reason="the reward of response 0 is nan"),
    ]
    return assemble_result(items, name="d", model="m", resamples=50)


def test_every_count_is_in_the_result(result: Result):
    assert result.details == {
        "prompts": 6,
        "responses": 2 + 2 + 4 + 2 + 3 + 2,
        "fewest_responses": 2,
        "most_responses": 4,
        "repeated_ids": 1,
        "missing_rewards": 5,
        "items_missing_rewards": 3,
    }
    assert result.preference.details == {"pairs": 5, "pairs_of_equal_length": 4, "ties": 0}
    assert result.reasons == {"the reward of response 0 is nan": 2, "too long": 1}
    assert (result.n, result.scored, result.unscored, result.failed) == (6, 3, 1, 2)
    assert result.preference.curves["group_sizes"] == [
        {"responses": 2.0, "groups": 4.0},
        {"responses": 3.0, "groups": 1.0},
        {"responses": 4.0, "groups": 1.0},
    ]


def test_every_count_is_said_in_the_report(result: Result):
    words = counts_sentence(result)
    assert "6 items: 3 scored, 1 unscored, 2 failed" in words
    assert "Groups have 2 to 4 responses (4 with 2, 1 with 3, 1 with 4)." in words
    assert "1 items have an id that an item before them has; each counts." in words
    assert "5 of 15 rewards are missing, in 3 items." in words


def test_nothing_is_said_where_nothing_is_odd(make_item):
    items = [make_item(f"i{k}", (1.5, 0.25), preferences=((0, 1),)) for k in range(3)]
    words = counts_sentence(assemble_result(items, name="d", model="m", resamples=50))
    assert words == "3 items: 3 scored, 0 unscored, 0 failed; no exact ties (an exact tie counts as wrong)."


def test_groups_of_several_pairs_have_an_accuracy_in_which_every_group_weighs_alike(result: Result, make_item):
    # pairs: a 1 of 1, the second a 0 of 1, b 2 of 3
    assert result.preference.metrics["accuracy"].value == pytest.approx(3 / 5)
    assert result.preference.metrics["accuracy_by_group"].value == pytest.approx((1 + 0 + 2 / 3) / 3)
    assert result.preference.metrics["accuracy_by_group"].n == 3
    one_each = [make_item(f"i{k}", (1.5, 0.25), preferences=((0, 1),)) for k in range(3)]
    found = assemble_result(one_each, name="d", model="m", resamples=50)
    assert "accuracy_by_group" not in {**found.preference.metrics, **found.preference.absent}


def test_where_every_item_failed_the_reason_stands_where_the_accuracy_would(make_item):
    items = [make_item("a", (None, 1.5), preferences=((0, 1),), reason="too long")]
    found = assemble_result(items, name="d", model="m", resamples=50)
    assert found.preference.metrics == {}
    assert found.preference.absent == {"accuracy": "every item with a preference lacks a reward"}
    assert found.reasons == {"too long": 1}


def test_every_figure_has_a_value_or_a_reason(make_item):
    whole = [
        make_item(
            f"i{k}", (1.3 * (k % 4) - 1.5, 0.2), preferences=((0, 1),), lengths=(8 + k % 5, 10), prompt=f"p{k // 2}"
        )
        for k in range(40)
    ]
    poor = [make_item("a", (1.5, 0.25), preferences=((0, 1),))]
    full = assemble_result(whole, name="d", model="m", resamples=50)
    little = assemble_result(poor, name="d", model="m", resamples=50)
    assert full.preference.absent == {}
    assert {*little.preference.metrics, *little.preference.absent} == set(full.preference.metrics)
    assert not set(little.preference.metrics) & set(little.preference.absent)
    assert all(little.preference.absent.values())


def test_reasons_beyond_the_first_twenty_are_counted_together(make_item):
    items = [make_item(f"i{k}", (None,), reason=f"reason {k}") for k in range(MAX_REASONS + 3)]
    items += [make_item("again", (None,), reason="reason 22"), make_item("none", (None,)), make_item("fine", (1.5,))]
    found = missing_reasons(items)
    assert len(found) == MAX_REASONS + 1
    assert (next(iter(found.items())), found[OTHER_REASONS]) == (("reason 22", 2), 4)
    assert sum(found.values()) == MAX_REASONS + 5


class Partly:
    """Gives NaN, infinity and nothing to some responses, by turns."""

    def score_groups(self, groups):
        odd = (math.nan, math.inf, None)
        for number, group in enumerate(groups):
            rewards = [1.25 + 0.5 * k for k in range(len(group.responses))]
            if number % 2:
                rewards[-1] = odd[number // 2 % 3]
            yield GroupRewards(id=group.id, rewards=tuple(rewards))


def test_a_run_with_missing_rewards_repeated_ids_and_uneven_groups_hides_none_of_it(tmp_path):
    groups = [
        Group(
            prompt=conversation(f"What is {number}?"),
            responses=tuple(f"It is {each}." for each in range(2 + number % 3)),
            preferences=(Preference(0, 1),),
            id=f"g{number // 2}",
        )
        for number in range(6)
    ]
    result = evaluate(Partly(), groups, name="d", model="m", output_dir=tmp_path)
    read = Result.model_validate_json((tmp_path / "result.json").read_text())
    assert read == result
    assert (read.n, read.scored, read.failed) == (6, 3, 3)
    assert (read.details["repeated_ids"], read.details["missing_rewards"]) == (3, 3)
    assert (read.details["fewest_responses"], read.details["most_responses"]) == (2, 4)
    assert read.reasons == {
        "the reward of response 2 is nan": 1,
        "the reward of response 1 is inf": 1,
        "the scorer gave no reward and no reason": 1,
    }


def test_the_report_names_four_reasons_and_counts_the_rest(result: Result):
    class Read:
        items = ()

        def __init__(self, reasons):
            self.result = result.model_copy(update={"reasons": reasons})

    many = {f"reason {k}": 9 - k for k in range(6)} | {OTHER_REASONS: 40}
    assert failure_reasons(Read(many)) == [*(f"reason {k} ({9 - k})" for k in range(4)), "other reasons (49)"]


def test_a_result_from_before_it_held_reasons_has_them_in_its_items(result: Result, make_item):
    class Read:
        items = (make_item("x", (None,), reason="too long"),)

    Read.result = result.model_copy(update={"reasons": {}})
    assert failure_reasons(Read()) == ["too long (1)"]
