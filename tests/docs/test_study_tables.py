"""The studies of the families: their statistics by hand, known answers of their loops, and their tables."""

from __future__ import annotations

import json
import math
import runpy
from pathlib import Path

import numpy as np
import pytest

from plaudit.data.schema.group import Group, Message, Preference

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def script(monkeypatch):
    """Return what a script of ``benchmarks`` defines."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return lambda name: runpy.run_path(str(ROOT / "benchmarks" / f"{name}.py"))


@pytest.fixture
def tables():
    return runpy.run_path(str(ROOT / "docs" / "study_tables.py"))


def pairs() -> list[Group]:
    rows = (("Name a sea.", "red dead sea", "sea", 0, 1), ("Name a cat.", "a cat", "a big old cat", 0, 1))
    return [
        Group((Message("user", prompt),), (first, second), (Preference(chosen, rejected),), id=str(index))
        for index, (prompt, first, second, chosen, rejected) in enumerate(rows * 8)
    ]


def test_an_interval_over_seeds_is_students(script):
    found = script("world_runs")["over_seeds"]([1.0, 2.0, 3.0])
    # s = 1, and 97.5 % of Student's distribution with two degrees of freedom lies below 4.302653
    assert (found["value"], found["n"], found["each"]) == (2.0, 3, [1.0, 2.0, 3.0])
    assert found["high"] - 2 == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)
    assert 2 - found["low"] == pytest.approx(found["high"] - 2)


@pytest.mark.parametrize("values", [[0.5], [0.5, math.nan]])
def test_one_seed_and_a_missing_figure_have_no_interval(script, values):
    with pytest.raises(ValueError, match="two finite figures"):
        script("world_runs")["over_seeds"](values)


def test_a_tie_agrees_by_half_and_batches_take_every_item_before_any_again(script):
    shared = script("world_runs")
    assert shared["agreement"](np.array([1.0, 0.0, -1.0, 2.0])) == (1 + 0.5 + 0 + 1) / 4
    drawn = [item for batch in shared["batches"](list("abcdef"), 2, steps=6, seed=0) for item in batch]
    assert sorted(drawn[:6]) == sorted(drawn[6:]) == list("abcdef")


def test_the_length_difference_is_that_of_chosen_and_rejected(script):
    lengths = np.array([3, 1, 2, 5])
    assert script("odin_world")["length_differences"](pairs()[:2], lengths).tolist() == [2, -3]


def test_a_policy_that_is_its_reference_has_the_dpo_loss_of_a_coin_and_learns_the_pairs(script):
    study, shared = script("implicit_rewards"), script("world_runs")
    made = [shared["language_model"](pairs(), hidden=32, vocabulary=300, seed=0) for _ in range(2)]
    settings = {"beta": 0.1, "lr": 5e-3, "seed": 0}
    first = study["direct_preference"](*made, pairs(), steps=1, **settings)
    assert first == {"loss": pytest.approx(math.log(2), abs=1e-6), "accuracy": 0.5}
    last = study["direct_preference"](*made, pairs(), steps=20, **settings)
    assert last["accuracy"] == 1.0
    assert last["loss"] < 0.3


def test_a_family_without_a_study_and_one_without_a_result_have_no_table(tables):
    assert tables["study_table"]("kwise", lambda name: [{}]) is None
    assert tables["study_table"]("odin", lambda name: []) is None


def test_a_row_of_speed_shows_seconds_ratios_and_tokens(tables):
    own = {
        "seconds": {"plaudit": [1.0, 1.0, 1.0]},
        "median_seconds": {"plaudit": 1.0, "one_forward_per_step": 8.0, "padded_sorted": 5.0},
        "ratio_to_one_forward_per_step": 8.0,
        "ratio_to_padded_sorted": 5.0,
        "tokens_one_pass": 1000,
        "tokens_one_forward_per_step": 9000,
    }
    result = {
        "date": "2000-01-01",
        "device": "a machine",
        "threads": 1,
        "shape": "256x6",
        "groups": 3,
        "responses_per_group": 4,
        "steps_per_response": 8,
        "forms": {"token": own, "turns": own},
    }
    text = tables["study_table"]("process", lambda name: [result])
    assert "width 256 and 6 layers; 3 problems" in text.replace("\n", " ")
    assert text.splitlines()[-2] == "| `token` head | 1.00 | 8.00 | **8.0×** | 5.00 | 5.0× | 1,000 of 9,000 |"


def test_a_share_is_cut_at_one_and_a_difference_is_not(tables):
    found = {"value": 0.9, "low": 0.7, "high": 1.1}
    assert tables["_interval"](found) == "0.900 (0.700–1.000)"
    assert tables["_signed"](found) == "+0.900 (+0.700 to +1.100)"


@pytest.mark.parametrize("name", ["odin_world", "pairwise_world", "over_optimisation", "implicit_rewards"])
def test_a_result_over_seeds_holds_three_or_more_of_them_and_its_own_means(name, script):
    path = ROOT / "benchmarks" / "results" / f"{name}.json"
    result = json.loads(path.read_text(encoding="utf-8"))
    seeds = [each["seed"] for each in result["seeds"]]
    assert len(seeds) == len(set(seeds)) >= 3
    if name != "over_optimisation":
        again = json.loads(json.dumps(script(name)["summary"](result["seeds"])))
        assert {key: result[key] for key in again} == again
