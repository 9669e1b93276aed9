"""Whether margins are read as log-odds: by what the items say, else by how the rewards look."""

from __future__ import annotations

import numpy as np
import pytest

from plaudit.data.schema.group import Group, Preference, conversation
from plaudit.evaluation.metrics.reward_scale import unit_reading
from plaudit.evaluation.result import assemble_result
from plaudit.evaluation.run import evaluate
from plaudit.evaluation.store.items import scored_groups
from plaudit.records import ItemScore, read_items, write_json_lines
from plaudit.scoring.scorer import GroupRewards, ScorerInfo

LOG_ODDS = np.array([1.5, -0.25, 3.0])


def reading(make_item, unit, rewards=LOG_ODDS):
    return unit_reading([make_item("a", (1.0, 0.0), reward_scale=unit)], np.asarray(rewards))


@pytest.mark.parametrize(
    ("unit", "log_odds", "words"),
    [
        ("log_odds_values", True, "the rewards are log-odds"),
        ("log_odds_differences", True, "the rewards are log-odds"),
        ("assumed_log_odds_differences", True, "the model does not say which one it was trained with"),
        (None, True, "nothing says what the rewards are"),
        ("ratings", False, "the rewards are ratings, and σ of a difference of ratings is no probability"),
        ("probabilities", False, "the rewards are probabilities"),
        ("win_rates", False, "the rewards are win rates"),
        ("order", False, "only the order of the rewards counts"),
    ],
)
def test_what_the_items_say_decides(make_item, unit, log_odds, words):
    found = reading(make_item, unit)
    assert (found.log_odds, words in found.words) == (log_odds, True)


@pytest.mark.parametrize("unit", [None, "assumed_log_odds_differences"])
@pytest.mark.parametrize(
    ("rewards", "words"),
    [((0.0, 0.4, 1.0), "lies within 0 to 1"), ((3.0, -1.0, 10.0), "is a whole number")],
)
def test_rewards_that_look_like_something_else_are_no_log_odds_unless_they_are_known_to_be(
    make_item, unit, rewards, words
):
    found = reading(make_item, unit, rewards)
    assert (found.log_odds, words in found.words) == (False, True)
    assert reading(make_item, "log_odds_differences", rewards).log_odds


@pytest.mark.parametrize("rewards", [(1.0, 1.0), (0.0, 1.001), (2.0, 3.5), ()])
def test_other_rewards_do_not_look_like_anything(make_item, rewards):
    assert reading(make_item, None, rewards).log_odds


def test_items_of_two_units_have_none(make_item):
    items = [
        make_item("a", (1.0,), reward_scale="log_odds_differences"),
        make_item("b", (1.0,), reward_scale="ratings"),
    ]
    found = unit_reading(items, LOG_ODDS)
    assert (found.log_odds, "several units (log_odds_differences, ratings)" in found.words) == (False, True)


def test_values_and_differences_that_are_log_odds_are_read_alike(make_item):
    names = ("log_odds_values", "log_odds_differences")
    items = [make_item(name, (1.0,), reward_scale=name) for name in names]
    assert unit_reading(items, np.array([0.0, 1.0])).log_odds
    assert not unit_reading([*items, make_item("r", (1.0,), reward_scale="ratings")], LOG_ODDS).log_odds


@pytest.mark.parametrize(
    ("old", "new"),
    [("log_odds", "log_odds_differences"), ("assumed_log_odds", "assumed_log_odds_differences"), ("order", "order")],
)
def test_the_names_of_scales_before_02_are_read(make_item, old, new):
    text = make_item("a", (1.0,), reward_scale="ratings").model_dump_json()
    old_text = text.replace('"reward_scale":"ratings"', f'"reward_scale":"{old}"')
    assert old_text != text
    assert ItemScore.model_validate_json(old_text).reward_scale == new


def test_items_from_before_the_unit_was_written_take_that_of_the_others(make_item):
    items = [make_item("a", (1.0,)), make_item("b", (1.0,), reward_scale="ratings")]
    assert not unit_reading(items, LOG_ODDS).log_odds


class Comparing:
    """Compares responses: gives strengths, which say nothing across groups."""

    info = ScorerInfo(relative=True)

    def score_groups(self, groups):
        for number, group in enumerate(groups):
            yield GroupRewards(id=group.id, rewards=(1.25 + number % 3, -0.5))


def groups(count: int):
    for number in range(count):
        yield Group(
            prompt=conversation(f"What is {number}?"),
            responses=("It is so." + "!" * (number % 4), "no"),
            preferences=(Preference(0, 1),),
            outcomes=(True, False),
            id=f"g{number}",
        )


def test_a_scorer_that_compares_is_told_from_its_items_alone(tmp_path):
    result = evaluate(Comparing(), groups(6), name="d", model="m", output_dir=tmp_path)
    items = read_items(tmp_path / "items.jsonl")
    again = assemble_result(items, name="d", model="m")
    assert again.model_copy(update={"created": result.created}) == result
    assert "say nothing across groups" in result.preference.absent["reward_length_correlation"]
    assert {"auc", "accuracy"} <= set(again.measure("outcome").absent)
    assert "margin_length_correlation" not in result.preference.absent


def test_items_of_a_scorer_that_does_not_compare_are_not_relative():
    class Plain:
        def score_groups(self, groups):
            return (GroupRewards(id=group.id, rewards=(1.25, -0.5)) for group in groups)

    ((_, item),) = scored_groups(Plain(), groups(1))
    assert (item.relative, item.reward_scale) == (False, None)


def test_items_from_before_the_fields_were_there_are_read(tmp_path, make_item):
    item = make_item("a", (1.5, 0.25), preferences=((0, 1),))
    text = item.model_dump_json(exclude={"relative", "reward_scale"})
    (tmp_path / "items.jsonl").write_text(text + "\n")
    assert read_items(tmp_path / "items.jsonl") == [item]


def test_what_the_rewards_are_is_written_and_read_back(tmp_path, make_item):
    item: ItemScore = make_item("a", (1.5, 0.25), relative=True, reward_scale="win_rates")
    write_json_lines(tmp_path / "items.jsonl", [item])
    assert read_items(tmp_path / "items.jsonl") == [item]
    assert '"relative":true,"reward_scale":"win_rates"' in (tmp_path / "items.jsonl").read_text()
