"""A best-of-n curve in a report: what its words say of a fall, its rows, its picture, and data that hold markup."""

from __future__ import annotations

import re

import numpy as np
import pytest

from plaudit.evaluation.result import assemble_result
from plaudit.records import ItemScore, Measure
from plaudit.reports.best_of_n import (
    COLUMNS,
    best_of_n_svg,
    curve_note,
    curve_rows,
    curve_sections,
    curve_sentences,
    curve_title,
)


def items(proxy, gold, **labels) -> list[ItemScore]:
    """Items with a rating ``<gold>``, of one prompt each."""
    return [
        ItemScore(
            id=f"i{k}",
            source="s",
            prompt_key=f"p{k}",
            rewards=tuple(map(float, own)),
            lengths=(5,) * len(own),
            ratings={"<gold>": tuple(map(float, true))},
            **labels,
        )
        for k, (own, true) in enumerate(zip(proxy, gold, strict=True))
    ]


def measured(proxy, gold, **labels) -> list[Measure]:
    return list(assemble_result(items(proxy, gold, **labels), name="d", model="m", resamples=20).measures)


@pytest.fixture(scope="module")
def hacked() -> Measure:
    """A proxy whose error has such tails that the best of many by it is no better than any."""
    rng = np.random.default_rng(0)
    gold = rng.normal(size=(200, 32))
    (measure,) = measured(gold + rng.standard_t(1.0, size=gold.shape), gold)
    return measure


def test_a_fall_that_is_not_noise_is_called_over_optimisation(hacked: Measure):
    curve = hacked.best_of_n
    assert curve.falls
    said = " ".join(curve_sentences(hacked))
    assert f"highest at n = {curve.peak} and then falls by " in said
    assert "over-optimised" in said
    assert said.startswith("The best of 32 by this model is rated ")


def test_a_fall_that_may_be_noise_is_not():
    rng = np.random.default_rng(1)
    found = None
    while found is None or found.best_of_n.peak in (1, 8):
        (found,) = measured(*rng.normal(size=(2, 12, 8)))
    said = " ".join(curve_sentences(found))
    assert "cannot be told from noise" in said
    assert "over-optimised" not in said


def test_a_proxy_that_is_gold_is_highest_at_the_largest_n_and_one_that_is_its_reverse_is_worse_than_random():
    gold = np.random.default_rng(2).normal(size=(20, 4))
    (best,) = measured(gold, gold)
    assert curve_sentences(best)[-1] == "It is highest at the largest n, 4."
    assert "It gains 100.0% (83.9" in curve_sentences(best)[0]
    (worst,) = measured(-gold, gold)
    assert "a random response is better than the model's choice" in curve_sentences(worst)[-1]


def test_where_all_responses_are_worth_the_same_nothing_can_be_chosen():
    (same,) = measured(np.random.default_rng(3).normal(size=(5, 4)), np.ones((5, 4)))
    assert curve_sentences(same) == [
        "The best of 4 by this model is rated 1.00; the best possible choice 1.00, a random one 1.00. "
        "Fewer than two prompts have responses of different worth, so there is nothing to choose."
    ]
    assert [row[COLUMNS.index("recovered")] for row in curve_rows(same)] == ["–"] * 3


def test_the_rows_are_the_points_of_the_curve():
    # Gold of the best of 1, 2, 3: 2, 7/3, 1; oracle 2, 11/3, 5 (see the tests of the statistics).
    (measure,) = measured([[1, 2, 3]] * 3, [[0, 5, 1]] * 3)
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in curve_rows(measure)]
    assert [row["n"] for row in rows] == ["1", "2", "3"]
    assert [row["KL"] for row in rows] == ["0.00", "0.19", "0.43"]  # log 3 − 2/3
    assert [row["model's choice"] for row in rows] == ["2.00", "2.33", "1.00"]
    assert [row["best"] for row in rows] == ["2.00", "3.67", "5.00"]
    assert [row["random"] for row in rows] == ["2.00"] * 3
    assert [row["regret"] for row in rows] == ["0.000", "1.33", "4.00"]
    assert [row["recovered"] for row in rows] == ["–", "20.0%", "−33.3%"]
    assert [row["own reward"] for row in rows] == ["2.00", "2.67", "3.00"]


def test_the_note_counts_what_is_left_out():
    gold = [[0, 1, 2, 3]] * 19 + [[0, 1, 2, 3, 4, 5]] + [[0, 1]]
    (measure,) = measured(gold, gold)
    note = curve_note(measure.best_of_n)
    assert note.startswith("Every n is over the same 20 groups, of 4 to 6 labelled responses each; 1 with fewer are in")


def test_outcomes_and_ranks_are_shown_as_shares():
    gold = np.tile([0.0, 1.0, 2.0], (6, 1))
    ranks, rating, outcome = measured(gold, gold, ranks=(3, 2, 1), outcomes=(False, False, True))
    assert [curve_title(each) for each in (ranks, rating, outcome)] == [
        "Best of n, ranks",
        "Best of n, rating of <gold>",
        "Best of n, outcome",
    ]
    assert curve_sentences(ranks)[0].startswith(
        "The best of 3 by this model is ranked above another response in 100.0%"
    )
    assert curve_sentences(outcome)[0].startswith("The best of 3 by this model is correct in 100.0%; the best")
    assert curve_rows(outcome)[0][2] == "33.3%"
    assert curve_sentences(ranks.model_copy(update={"best_of_n": None})) == []
    assert curve_rows(ranks.model_copy(update={"best_of_n": None})) == []


def test_every_curve_of_a_result_has_a_section_with_ids_of_its_own():
    gold = np.tile([0.0, 1.0, 2.0], (6, 1))
    result = assemble_result(items(gold, gold, ranks=(3, 2, 1)), name="d", model="m", resamples=20)
    sections = curve_sections(result, "s0")
    assert [section["title"] for section in sections] == ["Best of n, ranks", "Best of n, rating of <gold>"]
    ids = [re.findall(r'id="([^"]+)"', section["plot"].svg) for section in sections]
    assert set(ids[0]).isdisjoint(ids[1])
    assert all(each.startswith("s0-curve") for found in ids for each in found)
    assert all("<gold>" not in section["plot"].svg for section in sections)


def test_the_picture_names_every_n_that_has_room_and_rings_the_peak(hacked: Measure):
    drawn = best_of_n_svg(hacked.best_of_n, name="x", gold="gold", kind="number")
    for n in (1, 2, 4, 8, 16, 32):
        assert f">{n}</tspan>" in drawn or f">{n}</text>" in drawn
    rng = np.random.default_rng(0)
    (close,) = measured(*rng.normal(size=(2, 5, 65)))
    crowded = best_of_n_svg(close.best_of_n, name="x", gold="gold", kind="share")
    assert ">65<" in crowded
    assert ">64<" not in crowded


def test_the_same_curve_is_the_same_picture(hacked: Measure):
    first, second = (best_of_n_svg(hacked.best_of_n, name="x", gold="gold", kind="number") for _ in range(2))
    assert first == second
