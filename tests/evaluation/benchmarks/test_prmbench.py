"""PRMBench gives the official pooled F1 of right and of wrong steps, by class, with every odd row counted."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from plaudit.errors import DataError
from plaudit.evaluation.official.benchmarks.prmbench import AREAS, CLASSES, PRMBENCH
from plaudit.evaluation.store.items import item_score
from plaudit.records import ItemScore
from plaudit.scoring.scorer import GroupRewards
from plaudit.statistics.metric import IntervalSettings

DATA = Path(os.environ.get("PLAUDIT_DATA") or Path(__file__).resolve().parents[4] / "shared" / "data")
OFFICIAL = DATA / "benchmarks" / "prmbench"


def row_of(classification, idx, count, errors, question=None):
    question = question or f"question {idx}"
    return {
        "original_question": question,
        "modified_question": question,
        "original_process": ["As it was."],
        "modified_process": [f"{k}. Step {k} of {idx} in {classification}." for k in range(1, count + 1)],
        "modified_steps": errors,
        "error_steps": errors,
        "reason": "",
        "idx": idx,
        "question": question,
        "classification": classification,
    }


def load(tmp_path, rows):
    path = tmp_path / "prmbench_preview.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return PRMBENCH.load(str(path))


def items_of(loaded, give):
    """Return the items of a model that gives ``give(class, idx, response)``, one reward per step or None."""
    items = list(loaded.refused)
    for group in loaded.groups:
        facts = dict(loaded.facts[group.id])
        steps = tuple(
            give(facts["subset"], idx, response) for idx, response in zip(facts["ids"], group.responses, strict=True)
        )
        whole = tuple(None if each is None or None in each else min(each) for each in steps)
        items.append(
            item_score(group, GroupRewards(group.id, whole, steps=steps)).model_copy(update={"metadata": facts})
        )
    return items


def slow_figures(rows, labels):
    """Read the official code as it stands: ``labels`` are 1 for a step taken for right, by number of the row."""
    counts = {"tp": 0, "fp": 0, "tn": 0, "fn": 0}
    right, wrong, every, first_errors = [], [], [], []
    seen = set()
    for number, row in enumerate(rows):
        key = (row["classification"], row["idx"])
        if key in seen or labels[number] is None:
            seen.add(key)
            continue
        seen.add(key)
        places = [error - 1 for error in row["error_steps"]]
        first = min(places) if places else -1
        for place, label in enumerate(labels[number]):
            if place == first:
                first_errors.append(1 - label)
            if place in places:
                counts["fp" if label else "tn"] += 1
                wrong.append(1 - label)
            else:
                counts["tp" if label else "fn"] += 1
                right.append(label)
            every.append((wrong if place in places else right)[-1])

    def f1(hit, first_miss, second_miss):
        precision = hit / (hit + first_miss) if hit + first_miss else 0.0
        recall = hit / (hit + second_miss) if hit + second_miss else 0.0
        return 2 * precision * recall / (precision + recall) if precision + recall else 0.0

    positive = f1(counts["tp"], counts["fp"], counts["fn"])
    negative = f1(counts["tn"], counts["fn"], counts["fp"])
    return {
        "f1": positive,
        "negative_f1": negative if wrong else None,
        "prm_score": 0.5 * positive + 0.5 * negative if wrong else positive,
        "step_accuracy": sum(every) / len(every) if every else None,
        "right_step_accuracy": sum(right) / len(right) if right else None,
        "wrong_step_accuracy": sum(wrong) / len(wrong) if wrong else None,
        "first_error_accuracy": sum(first_errors) / len(first_errors) if first_errors else None,
    }


@pytest.fixture(scope="module")
def estimate():
    return IntervalSettings(confidence=0.95, resamples=100, seed=0)


def test_a_small_case_worked_by_hand(tmp_path, estimate):
    rows = [
        row_of("circular", "a", 4, [2, 3, 9]),  # 9 is past the end
        row_of("deception", "b", 2, [1]),
        row_of("multi_solutions", "c", 2, []),
    ]
    rewards = {"a": (0.9, 0.5, 0.8, 0.2), "b": (0.6, 0.7), "c": (0.51, 0.4)}
    loaded = load(tmp_path, rows)
    measure = PRMBENCH.measure(items_of(loaded, lambda name, idx, response: rewards[idx]), estimate)
    value = {name: interval.value for name, interval in measure.metrics.items()}
    # a: right TP; wrong at 0.5 TN; wrong at 0.8 FP; right at 0.2 FN. b: FP, TP. c: TP, FN.
    assert value["f1"] == pytest.approx(2 * 3 / (2 * 3 + 2 + 2))
    assert value["negative_f1"] == pytest.approx(2 * 1 / (2 * 1 + 2 + 2))
    assert value["prm_score"] == pytest.approx(0.5 * 0.6 + 0.5 / 3)
    assert value["step_accuracy"] == 0.5
    assert value["right_step_accuracy"] == pytest.approx(3 / 5)
    assert value["wrong_step_accuracy"] == pytest.approx(1 / 3)
    assert value["first_error_accuracy"] == 0.5
    assert measure.metrics["first_error_accuracy"].n == 2
    assert value["precision"] == pytest.approx(3 / 5)
    assert value["negative_precision"] == pytest.approx(1 / 3)
    assert value["circular"] == pytest.approx(0.5 * 2 / 4 + 0.5 * 2 / 4)
    assert value["deception"] == pytest.approx(0.5 * 2 / 3 + 0.5 * 0.0)
    # A class without wrong steps has F1 of the right ones as its score.
    assert value["multi_solutions"] == value["multi_solutions_f1"] == pytest.approx(2 / 3)
    assert "multi_solutions_negative_f1" in measure.absent
    assert value["simplicity"] == value["circular"]
    assert value["sensitivity"] == pytest.approx((value["deception"] + value["multi_solutions"]) / 2)
    assert "soundness" not in value
    assert measure.details["error_steps_out_of_range_ignored"] == 1
    assert (measure.details["steps"], measure.details["wrong_steps"]) == (8, 3)
    assert [*measure.slices] == ["deception", "circular", "multi_solutions"]


def test_what_constant_judgements_reach_stands_beside_each_figure(tmp_path, estimate):
    rows = [row_of("confidence", "a", 4, [1]), row_of("confidence", "b", 4, [4])]
    measure = PRMBENCH.measure(items_of(load(tmp_path, rows), lambda *_: (0.9,) * 4), estimate)
    beside = {rule: interval.value for rule, interval in measure.baselines["prm_score"].items()}
    assert beside["every_step_right"] == measure.metrics["prm_score"].value == pytest.approx(0.5 * 12 / 14)
    assert beside["every_step_wrong"] == pytest.approx(0.5 * 4 / 10)
    # The first step wrong: TP 5, FN 1, TN 1, FP 1.
    assert beside["first_step_wrong"] == pytest.approx(0.5 * 10 / 12 + 0.5 * 2 / 4)
    # A coin: TP 3, FN 3, TN 1, FP 1 are expected.
    assert beside["random"] == pytest.approx(0.5 * 6 / 10 + 0.5 * 2 / 6)
    assert measure.baselines["first_error_accuracy"]["random"].value == 0.5


@pytest.mark.parametrize("seed", range(8))
def test_figures_equal_a_slow_reading_of_the_official_code(tmp_path, estimate, seed):
    rng = np.random.default_rng(seed)
    rows = [
        row_of("redundency", "no-errors", 3, []),
        row_of("redundency", "all-wrong", 2, [1, 2]),
        row_of("circular", "one-step", 1, [1]),
        row_of("circular", "past-the-end", 2, [5]),
        row_of("circular", "partly-past", 2, [2, 3]),
        row_of("circular", "before-the-start", 2, [0, 2]),
        row_of("multi_solutions", "twice", 2, [], "a"),
        row_of("multi_solutions", "twice", 3, [], "a"),
    ]
    names = [*CLASSES][:-1]
    for number in range(40):
        count = int(rng.integers(1, 7))
        errors = sorted(set(rng.integers(1, count + 2, int(rng.integers(0, 4))).tolist()))
        rows.append(row_of(str(rng.choice(names)), f"p{number}", count, errors, f"question {number % 9}"))
    scores = {}
    for number, row in enumerate(rows):
        own = tuple(rng.choice([0.0, 0.4, 0.5, 0.6, 1.0], len(row["modified_process"])).tolist())
        draw = rng.random()
        scores[number] = None if draw < 0.1 else (*own[:-1], None) if draw < 0.2 else own
    loaded = load(tmp_path, rows)
    by_response = {
        (row["classification"], row["idx"], len(row["modified_process"])): scores[number]
        for number, row in enumerate(rows)
    }
    items = items_of(loaded, lambda name, idx, response: by_response[name, idx, len(response.splitlines())])
    measure = PRMBENCH.measure(items, estimate)
    labels = [
        None if scores[number] is None or None in scores[number] else [int(score > 0.5) for score in scores[number]]
        for number in range(len(rows))
    ]
    for name in (None, *CLASSES):
        chosen = [k for k, row in enumerate(rows) if name in (None, row["classification"])]
        wanted = slow_figures([rows[k] for k in chosen], [labels[k] for k in chosen])
        if wanted["step_accuracy"] is None:  # no solution of the class was judged
            assert name not in measure.metrics
            continue
        for figure, value in wanted.items():
            if name is not None and figure in ("right_step_accuracy", "wrong_step_accuracy"):
                continue
            full = figure if name is None else name if figure == "prm_score" else f"{name}_{figure}"
            if value is None:
                assert full in measure.absent
            else:
                assert measure.metrics[full].value == pytest.approx(value, abs=1e-12), full
    present = {
        area: [measure.metrics[name].value for name in own if name in measure.metrics] for area, own in AREAS.items()
    }
    for area, values in present.items():
        assert measure.metrics[area].value == pytest.approx(sum(values) / len(values))
    assert measure.details["rows_of_a_repeated_idx_left_out"] == 1
    judged = [label for row, label in zip(rows, labels, strict=True) if row["idx"] != "twice"]
    judged.append(labels[6])
    assert measure.details["solutions"] == len(rows) - 1
    assert measure.metrics["valid_share"].value == pytest.approx(1 - judged.count(None) / len(judged))


def test_a_question_of_a_class_is_one_group_and_its_steps_have_no_numbers_before_them(tmp_path):
    rows = [
        row_of("multi_solutions", "prm_1", 2, [], "same"),
        row_of("multi_solutions", "multi_solutions_prm_1", 2, [], "same"),
        row_of("deception", "deception_prm_1", 2, [2], "same"),
    ]
    rows[0]["modified_process"] = ["Step 1. Take 2.", "2.5 is more."]
    loaded = load(tmp_path, rows)
    assert [group.id for group in loaded.groups] == ["prmbench/multi_solutions/prm_1", "prmbench/deception/prm_1"]
    first = loaded.groups[0]
    assert first.responses[0] == "Take 2.\n2.5 is more."
    assert [step.end for step in first.steps[0]] == [7, len(first.responses[0])]
    assert loaded.facts[first.id]["repeated"] == [False, True]
    assert [step.label for step in loaded.groups[1].steps[0]] == [1.0, 0.0]
    assert loaded.found == {"multi_solutions": 2, "deception": 1}
    assert loaded.missing["multi_solutions"] == "2 of 165 rows"
    assert sum(CLASSES.values()) == 6216


def test_intervals_are_over_problems_across_classes(tmp_path, estimate):
    rows = [row_of(name, f"p{k}", 3, [2], f"q{k}") for k in range(12) for name in ("deception", "confidence")]
    rng = np.random.default_rng(0)
    rewards = {f"p{k}": tuple(rng.random(3).tolist()) for k in range(12)}
    both = PRMBENCH.measure(items_of(load(tmp_path, rows), lambda name, idx, response: rewards[idx]), estimate)
    one = PRMBENCH.measure(items_of(load(tmp_path, rows[::2]), lambda name, idx, response: rewards[idx]), estimate)
    for figure in ("prm_score", "first_error_accuracy"):
        pair = both.metrics[figure], one.metrics[figure]
        assert (pair[0].value, pair[0].low, pair[0].high) == pytest.approx((pair[1].value, pair[1].low, pair[1].high))
        assert "12 clusters" in pair[0].method


def test_log_odds_are_right_above_zero(tmp_path, estimate):
    rows = [row_of("deception", "a", 3, [3])]
    items = items_of(load(tmp_path, rows), lambda *_: (1.5, 0.2, 0.0))
    stated = [item.model_copy(update={"step_scale": "log_odds_values"}) for item in items]
    measure = PRMBENCH.measure(stated, estimate)
    assert measure.metrics["prm_score"].value == 1.0
    assert measure.rules["threshold"].startswith("right above 0: the rewards of steps are log-odds")
    assert "some lie outside 0 to 1" in PRMBENCH.measure(items, estimate).absent["prm_score"]


def test_a_model_without_step_rewards_has_no_figure_and_a_reason(tmp_path, estimate):
    rows = [row_of("deception", "a", 3, [3]), row_of("deception", "b", 1, [1])]
    measure = PRMBENCH.measure(items_of(load(tmp_path, rows), lambda *_: (0.4,)), estimate)
    assert [*measure.metrics] == ["valid_share"]
    assert measure.absent["prm_score"] == "the model gives no rewards to steps"
    assert (measure.counts.scored, measure.counts.failed) == (1, 1)


def test_the_figures_can_be_computed_again_from_the_lines_of_the_items(tmp_path, estimate):
    rows = [row_of("deception", "a", 3, [3]), row_of("circular", "a", 2, [1])]
    items = items_of(load(tmp_path, rows), lambda name, idx, response: (0.6, 0.4, 0.7)[: len(response.splitlines())])
    again = [ItemScore.model_validate_json(item.model_dump_json()) for item in items]
    assert PRMBENCH.measure(again, estimate) == PRMBENCH.measure(items, estimate)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("classification", "redundancy", "classification is 'redundancy'; it must be one of redundency, circular"),
        ("error_steps", [None], r"error_steps\[0\] is null"),
        ("error_steps", ["two"], r"error_steps\[0\] is 'two'"),
        ("error_steps", None, "error_steps is missing"),
        ("modified_process", "text", "modified_process is 'text'; it must be a list"),
    ],
)
def test_a_row_of_another_layout_is_refused_with_its_place(tmp_path, field, value, words):
    rows = [row_of("deception", "a", 3, [3]), row_of("deception", "b", 3, [3]) | {field: value}]
    with pytest.raises(DataError, match=rf"prmbench_preview\.jsonl:2: {words}"):
        load(tmp_path, rows)


def test_the_log_that_the_official_code_writes_is_read_with_its_labels_of_redundancy(tmp_path, estimate):
    def entry(idx, errors, **scores):
        return {"idx": idx, "error_steps": errors, "classifcation": "", "prediction": {"idx": idx, "scores": scores}}

    valid, redundant = "step_level_validity_labels", "step_level_redundancy_labels"
    logs = [
        entry("correct_p1", [], **{valid: [True, False]}),
        entry("redundency_p1", [2], **{valid: [True, True], redundant: [False, True]}),
        entry("deception_p1", [2], **{valid: [True, True], redundant: [True, True]}),
        entry("circular_p1", [1], **{valid: [False, True]}),
        {"idx": "deception_p2", "hallucination_steps": None, "prediction": None, "validitiy": False},
    ]
    path = tmp_path / "model.jsonl"
    path.write_text(json.dumps({"detailed_logs": []}) + "\n" + json.dumps({"detailed_logs": logs}), encoding="utf-8")
    items = PRMBENCH.read_results(str(path))
    measure = PRMBENCH.measure(items, estimate)
    # Redundency and circular are all right: TP 1, TN 1 each. Deception: TP 1, FP 1.
    assert measure.metrics["redundency"].value == measure.metrics["circular"].value == 1.0
    assert measure.metrics["f1"].value == pytest.approx(6 / 7)
    assert measure.metrics["negative_f1"].value == pytest.approx(4 / 5)
    assert measure.metrics["valid_share"].value == 0.75
    assert measure.details["solutions_without_a_judgement"] == 1
    assert measure.rules["threshold"].startswith("the model's own labels")


def test_a_file_without_a_log_is_refused(tmp_path):
    path = tmp_path / "model.jsonl"
    path.write_text('{"validitiy_rate": 1.0}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"model\.jsonl:1: detailed_logs is missing"):
        PRMBENCH.read_results(str(path))


@pytest.fixture(scope="module")
def official():
    if not OFFICIAL.exists():
        pytest.skip("benchmarks/prmbench is not here; set PLAUDIT_DATA to the folder that holds it")
    lines = [
        line for path in sorted(OFFICIAL.glob("*.jsonl")) for line in path.read_text(encoding="utf-8").splitlines()
    ]
    return [json.loads(line) for line in lines]


def test_the_official_files_are_read_whole_and_measured_as_the_code_says(official, estimate):
    loaded = PRMBENCH.load(str(OFFICIAL))
    assert loaded.refused == ()
    assert sum(loaded.found.values()) == len(official) == 883
    assert "multi_solutions" not in loaded.missing
    rng = np.random.default_rng(0)
    labels, queues = [], {}
    for row in official:
        own = rng.choice([0.2, 0.5, 0.7, 0.9], len(row["modified_process"])).tolist()
        labels.append([int(score > 0.5) for score in own])
        queues.setdefault((row["classification"], row["idx"]), []).append(tuple(own))
    items = items_of(loaded, lambda name, idx, response: queues[name, idx].pop(0))
    measure = PRMBENCH.measure(items, estimate)
    for figure, value in slow_figures(official, labels).items():
        assert measure.metrics[figure].value == pytest.approx(value, abs=1e-12)
    assert measure.details["rows_of_a_repeated_idx_left_out"] == 5
    assert measure.details["error_steps_out_of_range_ignored"] == 26
    assert measure.metrics["first_error_accuracy"].n == 716
