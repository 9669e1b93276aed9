"""What the order of two responses does stands in the result, and follows from the items alone."""

from __future__ import annotations

import math

import numpy as np
import pytest

from plaudit.data.schema.group import Group, Preference, conversation
from plaudit.evaluation.result import assemble_result
from plaudit.evaluation.run import evaluate
from plaudit.evaluation.store.precomputed import StoredItems, StoredRewards
from plaudit.records import ItemScore, Result, read_items
from plaudit.scoring.function import FunctionScorer
from plaudit.scoring.scorer import GroupRewards, ScorerInfo
from plaudit.statistics.position_bias import pairs_in_both_orders


class Comparing:
    """Compares by length in both orders, with 0.4 of log-odds for the one named first; ends after ``stop`` groups."""

    info = ScorerInfo(scale="log_odds_differences", relative=True)

    def __init__(self, stop=math.inf):
        self.stop = stop

    def score_groups(self, groups):
        for number, group in enumerate(groups):
            if number == self.stop:
                raise KeyboardInterrupt
            values = np.array([len(response) for response in group.responses], dtype=float)
            table = values[:, None] - values[None, :] + 0.4
            np.fill_diagonal(table, math.nan)
            strengths = tuple((values - values.mean()).tolist())
            yield GroupRewards(group.id, strengths, comparisons=pairs_in_both_orders(table))


def three_groups():
    return [
        Group(conversation("far"), ("aaa", "b"), (Preference(0, 1),), id="far"),
        Group(conversation("alone"), ("one",), id="alone"),
        Group(conversation("even"), ("aa", "bb"), (Preference(1, 0),), id="even"),
    ]


def sigma(value):
    return 1 / (1 + math.exp(-value))


def test_the_result_of_a_model_that_compares_says_what_the_order_does(tmp_path):
    """Log-odds of 2 with 0.4 for the place: 2.4 and −1.6; of 0: 0.4 and 0.4, where the order decides."""
    result = evaluate(Comparing(), three_groups(), name="n", model="m", output_dir=tmp_path)
    assert result.position.pairs == 2
    assert result.position.first.value == pytest.approx((sigma(2.4) + sigma(-1.6) + 2 * sigma(0.4)) / 4)
    assert result.position.inconsistent.value == 0.5
    assert "the order decides 50.0%" in result.position.in_words()
    items = read_items(tmp_path / "items.jsonl")
    assert [each.comparisons for each in items] == [((2.4, -1.6),), (), ((0.4, 0.4),)]
    assert assemble_result(items, name="n", model="m").position == result.position
    on_file = Result.model_validate_json((tmp_path / "result.json").read_text())
    assert on_file.position == result.position


def test_a_run_that_was_stopped_keeps_the_orders_of_what_it_had_compared(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        evaluate(Comparing(stop=1), three_groups(), name="n", model="m", output_dir=tmp_path)
    result = evaluate(Comparing(), three_groups(), name="n", model="m", output_dir=tmp_path)
    assert result.position.pairs == 2


def test_a_model_that_judges_each_response_alone_has_no_position(tmp_path):
    model = FunctionScorer(lambda _, responses: [float(len(each)) for each in responses])
    assert evaluate(model, three_groups(), name="n", model="m", output_dir=tmp_path).position is None


def test_items_from_before_the_field_are_read():
    item = ItemScore(id="a", source="s", prompt_key="p", rewards=(1.0, 0.0), lengths=(1, 1), preferences=((0, 1),))
    old = ItemScore.model_validate_json(item.model_dump_json(exclude={"comparisons", "version"}))
    assert old.comparisons == ()
    assert assemble_result([old], name="n", model="m").position is None


def test_rewards_kept_of_a_model_that_compares_keep_what_the_order_did(tmp_path):
    first = evaluate(Comparing(), three_groups(), name="n", model="m", output_dir=tmp_path / "first")
    kept = StoredRewards([StoredItems(str(tmp_path / "first/items.jsonl"))])
    again = evaluate(kept, three_groups(), name="n", model="m", output_dir=tmp_path / "again")
    assert again.position == first.position
