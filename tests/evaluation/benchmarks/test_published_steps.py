"""Published per-item results of the benchmarks of steps."""

from __future__ import annotations

import pytest

from plaudit.errors import DataError
from plaudit.evaluation.store.published import benchmark_of, recorded_result


def measured(path, **options):
    return recorded_result(str(path), resamples=20, **options).measures[0]


def figure(measure, name):
    return measure.metrics[name].value


def test_predictions_of_solutions_with_one_id_keep_apart(tmp_path, write_rows):
    def row(label, prediction, **more):
        solution = {
            "id": "gsm8k-0",
            "generator": "m",
            "problem": "p",
            "steps": ["a", "b"],
            "final_answer_correct": True,
        }
        return {**solution, "label": label, "prediction": prediction, **more}

    write_rows(tmp_path / "m" / "gsm8k_error.jsonl", [row(1, 1, match=True), row(1, 0, match=True)])
    write_rows(tmp_path / "m" / "gsm8k_correct.jsonl", [row(-1, -1)])
    measure = measured(tmp_path / "m")
    assert figure(measure, "gsm8k_accuracy_erroneous") == 0.5
    assert figure(measure, "gsm8k_accuracy_correct") == 1.0
    assert measure.details["rows_of_a_repeated_id"] == 2
    assert measure.details["rows_whose_match_contradicts_their_prediction"] == 1


def test_predictions_of_two_problems_with_one_id_keep_apart(tmp_path, write_rows):
    def row(problem, label, prediction):
        solution = {"id": "gsm8k-0", "generator": "m", "problem": problem, "steps": ["a", "b"]}
        return {**solution, "final_answer_correct": True, "label": label, "prediction": prediction}

    rows = [row("", 0, 1), row("p", -1, -1), row("q", 0, 0), row("p", 1, 1)]
    write_rows(tmp_path / "gsm8k.jsonl", rows)
    measure = measured(tmp_path)
    assert figure(measure, "gsm8k_accuracy_erroneous") == pytest.approx(2 / 3)  # the empty problem cannot be asked
    assert figure(measure, "gsm8k_accuracy_correct") == 1.0


VALID, REDUNDANT = "step_level_validity_labels", "step_level_redundancy_labels"


def test_responses_of_prmbench_take_the_error_steps_of_the_data(tmp_path, write_rows):
    def data(idx, kind, errors):
        steps = ["x", "y"]
        row = {"idx": idx, "classification": kind, "original_question": "q", "modified_question": f"q {idx}"}
        return row | {"modified_process": steps, "original_process": steps, "error_steps": errors, "reason": ""}

    def kept(idx, **scores):
        return {"task_name": "t", "model_name": "m", "results": {"idx": idx, "scores": scores}}

    official = [data("1", "circular", [2]), data("2", "deception", [1]), data("3", "deception", [2])]
    path = write_rows(tmp_path / "prm800k_test_p1.jsonl", official)
    responses = [
        kept("correct_1", **{VALID: [True, True]}),
        kept("circular_1", **{VALID: [False, False], REDUNDANT: [False, True]}),
        kept("circular_1", **{VALID: [False, False]}),
        kept("deception_2", **{VALID: [True, True, True]}),
        {"task_name": "t", "model_name": "m", "results": None},
        kept("deception_9", **{VALID: [True, False]}),
        kept("circular_8", **{VALID: [True, False]}),
    ]
    answers = write_rows(tmp_path / "responses.jsonl", responses)
    assert benchmark_of(answers).name == "prmbench"
    measure = measured(answers, data=path)
    assert figure(measure, "circular") == 1.0
    # Deception: step 1 wrongly right, the others rightly: TP 2, FP 1, TN 0.
    assert figure(measure, "f1") == pytest.approx(2 * 3 / (2 * 3 + 1))
    assert measure.details["solutions_without_a_judgement"] == 1
    assert measure.details["solutions_judged_in_another_number_of_steps"] == 1
    assert measure.details["responses_of_no_solution"] == 2
    assert measure.details["rows_of_a_repeated_id"] == 1
    with pytest.raises(DataError, match=r"responses\.jsonl:1: .*give the data too"):
        measured(answers)


def test_a_label_that_is_neither_true_nor_false_is_an_error(tmp_path, write_rows):
    log = {"idx": "deception_p1", "error_steps": [1], "prediction": {"scores": {VALID: [True, "no"]}}}
    with pytest.raises(DataError, match=r"step_level_validity_labels\[1\] is 'no'; it must be true or false"):
        measured(write_rows(tmp_path / "m.jsonl", [{"detailed_logs": [log]}]))


def test_several_runs_in_one_log_are_not_told_apart(tmp_path, write_rows):
    log = {"idx": "deception_p1", "error_steps": [1], "prediction": {"scores": {VALID: [False]}}}
    rows = [{"detailed_logs": [log]}, {"detailed_logs": [log]}]
    with pytest.raises(DataError, match="the file holds 2 runs with a log; keep the row of one"):
        measured(write_rows(tmp_path / "m.jsonl", rows))
