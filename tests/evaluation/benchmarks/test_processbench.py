"""ProcessBench gives the official F1 of the first wrong step, also where rewards tie, lack or are no probabilities."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest

from plaudit.errors import DataError
from plaudit.evaluation.official.benchmarks.processbench import PROCESSBENCH
from plaudit.evaluation.store.items import item_score
from plaudit.records import ItemScore
from plaudit.scoring.scorer import GroupRewards
from plaudit.statistics.metric import IntervalSettings

DATA = Path(os.environ.get("PLAUDIT_DATA") or Path(__file__).resolve().parents[4] / "shared" / "data")
GSM8K = DATA / "benchmarks" / "processbench" / "gsm8k.json"


def write_split(folder, split, solutions):
    """Write official rows of (problem, number of steps, label)."""
    rows = [
        {
            "id": f"{split}-{number}",
            "generator": "some-model",
            "problem": problem,
            "steps": [f"Step {k} of {number}." for k in range(count)],
            "final_answer_correct": label == -1,
            "label": label,
        }
        for number, (problem, count, label) in enumerate(solutions)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{split}.json").write_text(json.dumps(rows), encoding="utf-8")
    return rows


def items_of(loaded, rewards):
    """Return the items of a model that gives the solution with an official id ``rewards[id]``, one per step."""
    items = list(loaded.refused)
    for group in loaded.groups:
        facts = dict(loaded.facts[group.id])
        steps = tuple(rewards[id] for id in facts["ids"])
        whole = tuple(None if each is None or None in each else min(each) for each in steps)
        given = GroupRewards(group.id, whole, steps=steps)
        items.append(item_score(group, given).model_copy(update={"metadata": facts}))
    return items


def slow_f1(rows, rewards, threshold=0.5):
    """Read the official formula as it stands: rows of one split in two halves, each a share of exact matches."""
    matches = {True: [], False: []}
    for row in rows:
        own = rewards[row["id"]]
        prediction = None
        if own is not None and None not in own and len(own) == len(row["steps"]):
            prediction = -1
            for place, probability in enumerate(own):
                if probability < threshold:
                    prediction = place
                    break
        matches[row["label"] == -1].append(prediction == row["label"])
    first, second = (sum(each) / len(each) for each in matches.values())
    return 0.0 if first + second == 0 else 2 * first * second / (first + second)


@pytest.fixture(scope="module")
def estimate():
    return IntervalSettings(confidence=0.95, resamples=100, seed=0)


def test_a_small_case_worked_by_hand(tmp_path, estimate):
    write_split(tmp_path, "gsm8k", [("a", 3, 1), ("b", 2, 0), ("b", 2, -1), ("c", 1, -1)])
    write_split(tmp_path, "math", [("d", 2, 1), ("e", 2, -1)])
    rewards = {
        "gsm8k-0": (0.5, 0.4, 0.1),  # 0.5 is not below the threshold, so the second step is the first error: right
        "gsm8k-1": (0.9, 0.2),  # step 1, but it is 0: wrong
        "gsm8k-2": (0.7, 0.6),  # none: right
        "gsm8k-3": (0.3,),  # step 0, but there is none: wrong
        "math-0": (0.9, 0.2),  # right
        "math-1": (0.5, 0.5),  # right
    }
    measure = PROCESSBENCH.measure(items_of(PROCESSBENCH.load(str(tmp_path)), rewards), estimate)
    value = {name: interval.value for name, interval in measure.metrics.items()}
    assert (value["gsm8k_accuracy_erroneous"], value["gsm8k_accuracy_correct"], value["gsm8k_f1"]) == (0.5, 0.5, 0.5)
    assert value["math_f1"] == 1.0
    assert value["f1"] == value["f1_scored"] == 0.75
    assert measure.primary == "f1"
    beside = {rule: interval.value for rule, interval in measure.baselines["gsm8k_accuracy_erroneous"].items()}
    # At random: 1 of 4 predictions for three steps, 1 of 3 for two.
    assert beside == {
        "no_error": 0.0,
        "first_step": 0.5,
        "longest_step": 0.5,
        "random": pytest.approx((1 / 4 + 1 / 3) / 2),
    }
    assert measure.baselines["gsm8k_accuracy_correct"]["random"].value == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert measure.baselines["f1"]["no_error"].value == 0.0
    assert measure.details["solutions"] == 6
    assert measure.details["solutions_with_an_error"] == 3
    assert [*measure.slices] == ["gsm8k", "math"]


@pytest.mark.parametrize("seed", range(8))
def test_figures_equal_a_slow_reading_of_the_official_formula(tmp_path, estimate, seed):
    rng = np.random.default_rng(seed)
    rows, rewards = {}, {}
    for split in ("gsm8k", "omnimath"):
        solutions = [("always right", 2, -1), ("one wrong step", 1, 0), ("one right step", 1, -1), ("last", 3, 2)]
        for number in range(20):
            count = int(rng.integers(1, 6))
            solutions.append((f"problem {number % 7}", count, int(rng.integers(-1, count))))
        rows[split] = write_split(tmp_path, split, solutions)
        for row in rows[split]:
            own = rng.choice([0.0, 0.25, 0.5, 0.5, 0.75, 1.0], len(row["steps"])).tolist()
            draw = rng.random()
            rewards[row["id"]] = None if draw < 0.1 else (None, *own[1:]) if draw < 0.2 else tuple(own)
    loaded = PROCESSBENCH.load(str(tmp_path))
    measure = PROCESSBENCH.measure(items_of(loaded, rewards), estimate)
    wanted = {split: slow_f1(rows[split], rewards) for split in rows}
    for split, value in wanted.items():
        assert measure.metrics[f"{split}_f1"].value == pytest.approx(value, abs=1e-12)
    assert measure.metrics["f1"].value == pytest.approx(sum(wanted.values()) / 2, abs=1e-12)
    kept = {
        split: [row for row in rows[split] if rewards[row["id"]] is not None and None not in rewards[row["id"]]]
        for split in rows
    }
    scored = [slow_f1(own, rewards) for own in kept.values()]
    assert measure.metrics["f1_scored"].value == pytest.approx(sum(scored) / 2, abs=1e-12)
    missing = sum(len(rows[split]) - len(kept[split]) for split in rows)
    assert measure.details["solutions_without_a_prediction"] == missing
    assert measure.counts.failed + measure.counts.scored == measure.counts.n == len(loaded.groups)


def test_the_tuned_threshold_is_the_best_on_gsm8k_and_is_written_down(tmp_path, estimate):
    rng = np.random.default_rng(1)
    rows, rewards = {}, {}
    for split in ("gsm8k", "math"):
        solutions = [(f"{split} {k}", 3, int(rng.integers(-1, 3))) for k in range(40)]
        rows[split] = write_split(tmp_path, split, solutions)
        for row in rows[split]:
            own = rng.uniform(0.0, 0.4, 3)
            if row["label"] >= 0:
                own[row["label"]] -= 0.1
            rewards[row["id"]] = tuple(np.clip(own, 0, 1).tolist())
    measure = PROCESSBENCH.measure(items_of(PROCESSBENCH.load(str(tmp_path)), rewards), estimate)
    candidates = sorted({value for row in rows["gsm8k"] for value in rewards[row["id"]]})
    best = max(slow_f1(rows["gsm8k"], rewards, threshold=each) for each in [*candidates, 0.5])
    assert measure.metrics["gsm8k_f1_tuned"].value == pytest.approx(best)
    assert best > measure.metrics["gsm8k_f1"].value == measure.baselines["gsm8k_f1_tuned"]["fixed_threshold"].value
    threshold = float(measure.rules["tuned_threshold"].split(",")[0])
    elsewhere = slow_f1(rows["math"], rewards, threshold=threshold)
    assert measure.metrics["f1_tuned_elsewhere"].value == measure.metrics["math_f1_tuned"].value
    assert measure.metrics["math_f1_tuned"].value == pytest.approx(elsewhere)
    assert measure.metrics["f1_tuned"].value == pytest.approx((best + elsewhere) / 2)
    assert "gsm8k" in measure.rules["tuned_threshold"]


def test_log_odds_are_cut_at_zero_and_say_so(tmp_path, estimate):
    write_split(tmp_path, "math", [("a", 2, 1), ("b", 2, -1)])
    rewards = {"math-0": (0.3, -0.1), "math-1": (2.0, 0.0)}
    items = items_of(PROCESSBENCH.load(str(tmp_path)), rewards)
    stated = [item.model_copy(update={"step_scale": "log_odds_values"}) for item in items]
    measure = PROCESSBENCH.measure(stated, estimate)
    assert measure.metrics["f1"].value == 1.0
    assert "log-odds of being right: right from 0 on" in measure.rules["threshold"]
    assert "some lie outside 0 to 1" in PROCESSBENCH.measure(items, estimate).absent["f1"]
    assert "gsm8k" in measure.absent["f1_tuned"]


def test_a_model_without_step_rewards_has_no_figure_and_a_reason(tmp_path, estimate):
    write_split(tmp_path, "math", [("a", 2, 1), ("b", 2, -1), ("c", 1, -1)])
    loaded = PROCESSBENCH.load(str(tmp_path))
    items = items_of(loaded, {"math-0": (0.9,), "math-1": (0.1,), "math-2": (0.8,)})
    measure = PROCESSBENCH.measure(items, estimate)
    assert measure.metrics == {}
    assert measure.absent["f1"] == "the model gives no rewards to steps"
    assert measure.details["solutions_without_a_prediction"] == 2


def test_a_split_of_one_kind_has_accuracy_but_no_f1(tmp_path, estimate):
    write_split(tmp_path, "math", [("a", 2, -1), ("b", 2, -1)])
    items = items_of(PROCESSBENCH.load(str(tmp_path)), {"math-0": (0.9, 0.9), "math-1": (0.1, 0.9)})
    measure = PROCESSBENCH.measure(items, estimate)
    assert measure.metrics["math_accuracy_correct"].value == 0.5
    assert "f1" in measure.absent
    assert "no solution with an error" in measure.absent["math_accuracy_erroneous"]


def test_a_problem_is_one_group_whatever_the_order_of_its_rows_and_missing_splits_are_named(tmp_path):
    rows = write_split(tmp_path, "gsm8k", [("same", 2, 0), ("other", 1, -1), ("same", 3, -1)])
    loaded = PROCESSBENCH.load(str(tmp_path))
    assert [group.id for group in loaded.groups] == ["processbench/gsm8k-0", "processbench/gsm8k-1"]
    first = loaded.groups[0]
    assert first.responses == ("Step 0 of 0.\nStep 1 of 0.", "Step 0 of 2.\nStep 1 of 2.\nStep 2 of 2.")
    assert [[step.label for step in steps] for steps in first.steps] == [[0.0, None], [1.0, 1.0, 1.0]]
    ends = [first.responses[1][: step.end] for step in first.steps[1]]
    assert [text.splitlines()[-1] for text in ends] == rows[2]["steps"]
    assert loaded.found == {"gsm8k": 3}
    assert loaded.missing["gsm8k"] == "3 of 400 rows"
    assert loaded.missing["math"] == "0 of 1000 rows"
    (tmp_path / "gsm8k.json").write_text(json.dumps(rows[::-1]), encoding="utf-8")
    assert PROCESSBENCH.load(str(tmp_path)).groups[0] == first


def test_the_figures_can_be_computed_again_from_the_lines_of_the_items(tmp_path, estimate):
    write_split(tmp_path, "gsm8k", [("a", 2, 1), ("a", 2, -1), ("b", 2, -1), ("c", 3, 0)])
    rewards = {"gsm8k-0": (0.9, 0.2), "gsm8k-1": (0.9, 0.9), "gsm8k-2": (0.2, 0.2), "gsm8k-3": (0.1, None, 0.5)}
    items = items_of(PROCESSBENCH.load(str(tmp_path)), rewards)
    again = [ItemScore.model_validate_json(item.model_dump_json()) for item in items]
    assert PROCESSBENCH.measure(again, estimate) == PROCESSBENCH.measure(items, estimate)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("label", 2, "label is 2; it must be the position of one of the 2 steps"),
        ("label", -2, "label is -2"),
        ("label", None, "label is None"),
        ("label", "one", "label is 'one'"),
        ("steps", "one", "steps is 'one'; it must be a list"),
        ("problem", None, "problem is missing"),
    ],
)
def test_a_row_of_another_layout_is_refused_with_its_place(tmp_path, field, value, words):
    rows = write_split(tmp_path, "math", [("a", 2, 1), ("b", 2, -1)])
    rows[1][field] = value
    (tmp_path / "math.json").write_text(json.dumps(rows), encoding="utf-8")
    with pytest.raises(DataError, match=r"math\.json:2: ") as raised:
        PROCESSBENCH.load(str(tmp_path))
    assert words in str(raised.value)


def test_a_solution_that_begins_with_an_empty_step_is_an_item_that_failed(tmp_path, estimate):
    rows = write_split(tmp_path, "math", [("a", 2, 1), ("b", 2, -1), ("c", 2, 0)])
    rows[2]["steps"][0] = ""
    (tmp_path / "math.json").write_text(json.dumps(rows), encoding="utf-8")
    loaded = PROCESSBENCH.load(str(tmp_path))
    assert [item.id for item in loaded.refused] == ["processbench/math-2"]
    items = items_of(loaded, {"math-0": (0.9, 0.1), "math-1": (0.9, 0.9)})
    measure = PROCESSBENCH.measure(items, estimate)
    assert (measure.counts.scored, measure.counts.failed) == (2, 1)
    assert measure.metrics["math_accuracy_erroneous"].value == 0.5


def test_the_predictions_that_the_official_code_writes_are_read(tmp_path, estimate):
    rows = write_split(tmp_path / "data", "gsm8k", [("a", 3, 1), ("a", 2, -1), ("b", 2, 0), ("c", 2, -1)])
    predictions = [1, -1, None, 0]
    path = tmp_path / "gsm8k_error.jsonl"
    lines = [
        json.dumps({**row, "prediction": prediction, "match": prediction == row["label"]})
        for row, prediction in zip(rows, predictions, strict=True)
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    items = PROCESSBENCH.read_results(str(path))
    assert [item.id for item in items] == ["processbench/gsm8k-0", "processbench/gsm8k-2", "processbench/gsm8k-3"]
    measure = PROCESSBENCH.measure(items, estimate)
    assert measure.metrics["f1"].value == 0.5
    assert measure.metrics["f1_scored"].value == pytest.approx(2 / 3)
    assert measure.details["solutions_without_a_prediction"] == 1
    assert measure.rules["threshold"].startswith("none")
    assert "f1_tuned" in measure.absent


def test_results_without_predictions_are_refused(tmp_path):
    rows = write_split(tmp_path, "gsm8k", [("a", 3, 1)])
    path = tmp_path / "gsm8k_error.jsonl"
    path.write_text(json.dumps(rows[0]), encoding="utf-8")
    with pytest.raises(DataError, match=r"gsm8k_error\.jsonl:1: prediction is missing"):
        PROCESSBENCH.read_results(str(path))


@pytest.fixture(scope="module")
def gsm8k():
    if not GSM8K.exists():
        pytest.skip("processbench/gsm8k.json is not here; set PLAUDIT_DATA to the folder that holds it")
    return json.loads(GSM8K.read_text(encoding="utf-8"))


def test_the_official_gsm8k_split_is_read_whole_and_measured_as_the_formula_says(gsm8k, estimate):
    loaded = PROCESSBENCH.load(str(GSM8K))
    assert "gsm8k" not in loaded.missing
    assert (len(loaded.groups), sum(len(group.responses) for group in loaded.groups)) == (375, 400)
    rng = np.random.default_rng(0)
    rewards = {row["id"]: tuple(rng.choice([0.3, 0.5, 0.8, 0.9], len(row["steps"])).tolist()) for row in gsm8k}
    measure = PROCESSBENCH.measure(items_of(loaded, rewards), estimate)
    assert measure.metrics["f1"].value == pytest.approx(slow_f1(gsm8k, rewards), abs=1e-12)
    assert (measure.details["solutions_with_an_error"], measure.details["solutions_without_an_error"]) == (207, 193)
    assert measure.baselines["gsm8k_accuracy_correct"]["no_error"].value == 1.0
    assert measure.baselines["gsm8k_accuracy_erroneous"]["first_step"].value == pytest.approx(37 / 207)
    assert measure.baselines["f1"]["no_error"].value == 0.0


def test_the_interval_is_over_problems(tmp_path):
    estimate = IntervalSettings(confidence=0.95, resamples=400, seed=0)
    solutions = [(f"p{k}", 2, -1 if k % 2 else 0) for k in range(30)]
    single = write_split(tmp_path / "one", "math", solutions)
    many = write_split(tmp_path / "many", "math", [each for each in solutions for _ in range(5)])
    right = np.random.default_rng(0).random(30) < 0.7
    found = []
    for folder, rows, times in (("one", single, 1), ("many", many, 5)):
        rewards = {}
        for number, row in enumerate(rows):
            said = row["label"] if right[number // times] else 1
            rewards[row["id"]] = tuple(0.1 if place == said else 0.9 for place in range(2))
        items = items_of(PROCESSBENCH.load(str(tmp_path / folder)), rewards)
        found.append(PROCESSBENCH.measure(items, estimate).metrics["f1"])
    # Copies of a solution to its own problem say nothing new.
    assert (found[0].value, found[0].low, found[0].high) == pytest.approx((found[1].value, found[1].low, found[1].high))
    assert found[0].low < found[0].value < found[0].high
    assert math.isclose(found[0].value, found[1].value)
