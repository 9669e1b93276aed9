"""MR-MATH: solutions and steps that are valid or not, by the lowest reward, and ReasonEval's published results."""

from __future__ import annotations

import json

import pytest

from plaudit.errors import DataError
from plaudit.evaluation.official.catalog import benchmark_named

MR_MATH = benchmark_named("mr_math")


def solution(number: int, steps: list[list[str]], first_error: int | None = None) -> dict[str, object]:
    return {
        "id": number,
        "question": f"problem {number}",
        "model_output_step_format": steps,
        "model_output_answer_correctness": "correct",
        "model_output_solution_correctness": "correct" if first_error is None else "wrong",
        "model_output_solution_first_error_step": "N/A" if first_error is None else first_error,
    }


DATA = [
    solution(0, [["a", "b"], ["c"]]),
    solution(1, [["a"], ["b"], ["c"]], 2),
    solution(2, [["a"]]),
    solution(3, [["a"], ["b"]], 1),
]


@pytest.fixture
def measured(tmp_path, estimate, write_rows):
    def measure(scores: list[list[object]]):
        data = write_rows(tmp_path / "mr-math_invalid_errors.json", DATA)
        rows = [{"id": number, "scores": each} for number, each in enumerate(scores)]
        items = MR_MATH.read_results(write_rows(tmp_path / "model_eval_results.json", rows), data)
        return items, MR_MATH.measure(items, estimate)

    return measure


def test_the_probabilities_of_redundant_and_useful_lines_make_a_step_valid(measured):
    # Solution 0 has a step of two lines; a line is (invalid, redundant, useful).
    lines = [[0.1, 0.2, 0.7], [0.4, 0.3, 0.3]]
    items, _ = measured([[*lines, [0.2, 0.0, 0.8]], [0.9, 0.3, 0.1], [0.7], [0.2, 0.9]])
    assert items[0].steps == ((pytest.approx(0.6), pytest.approx(0.8)),)
    assert items[0].rewards == (pytest.approx(0.6),)


def test_the_four_figures_are_those_of_the_official_code(measured):
    # Solutions, by their lowest step: valid .6 and .4, invalid .1 and .7. At ½: TP 1, FN 1, TN 1, FP 1.
    # Steps up to the first error: valid .6 .8 | .9 | .4, invalid .3 | .7: TP 3, FN 1, TN 1, FP 1.
    _, measure = measured([[0.9, 0.6, 0.8], [0.9, 0.3, 0.1], [0.4], [0.7, 0.9]])
    value = {name: each.value for name, each in measure.metrics.items()}
    assert value["solution_f1"] == pytest.approx(0.5)
    assert value["solution_auc"] == pytest.approx(2 / 4)
    assert value["step_f1"] == pytest.approx((2 * 3 / (2 * 3 + 1 + 1) + 2 * 1 / (2 * 1 + 1 + 1)) / 2)
    assert value["step_auc"] == pytest.approx((2 + 4 - 1 + 2 - 1) / 8)
    assert measure.baselines["solution_f1"]["all_valid"].value == pytest.approx((2 * 2 / (2 * 2 + 2)) / 2)
    assert measure.baselines["step_f1"]["all_invalid"].value == pytest.approx((2 * 2 / (2 * 2 + 4)) / 2)


def test_the_official_file_has_rows_on_lines_under_a_json_suffix(tmp_path):
    path = tmp_path / "dataset" / "mr-math_invalid_errors.json"
    path.parent.mkdir()
    path.write_text("".join(json.dumps(row) + "\n" for row in DATA), encoding="utf-8")
    assert len(MR_MATH.load(str(path)).groups) == len(MR_MATH.load(str(tmp_path)).groups) == 4


def test_a_solution_that_the_results_lack_is_missing_and_said(tmp_path, estimate, write_rows):
    data = write_rows(tmp_path / "mr-math_invalid_errors.json", DATA)
    part = write_rows(tmp_path / "part.json", [{"id": 1, "scores": [0.9, 0.3, 0.1]}, {"id": 2, "scores": [0.7]}])
    items = MR_MATH.read_results(part, data)
    assert {item.reason for item in items if None in item.rewards} == {"the results do not hold it"}
    measure = MR_MATH.measure(items, estimate)
    assert (measure.counts.scored, measure.counts.failed) == (2, 2)
    assert measure.missing == {"invalid_errors": "4 of 159 rows"}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"id": 0, "scores": [0.9]}, r"scores has 1 entries for the 3 lines of the solution"),
        ({"id": 9, "scores": [0.9]}, r"id is 9; the data has no such solution"),
        ({"id": 2, "scores": [[0.9, 0.1]]}, r"scores\[0\] has 2 numbers; it must be one number or three"),
        ({"id": 2, "scores": [None]}, r"scores\[0\]\[0\] is null"),
        ({"id": 2, "scores": 0.02}, r"scores is 0.02; it must be a list"),
    ],
)
def test_results_of_another_layout_are_an_error_with_their_place(tmp_path, write_rows, row, words):
    data = write_rows(tmp_path / "mr-math_invalid_errors.json", DATA)
    with pytest.raises(DataError, match=rf"results\.jsonl:1: {words}"):
        MR_MATH.read_results(write_rows(tmp_path / "results.jsonl", [row]), data)


def test_results_without_the_data_say_that_it_is_needed(tmp_path, write_rows):
    results = write_rows(tmp_path / "results.jsonl", [{"id": 2, "scores": [0.9]}])
    with pytest.raises(DataError, match="hold no labels; give the official data too: mr_math=PATH"):
        MR_MATH.read_results(results)


@pytest.mark.parametrize("number", [0, 4, "two"])
def test_a_first_error_that_is_no_step_is_an_error(tmp_path, write_rows, number):
    rows = [solution(0, [["a"], ["b"], ["c"]], number)]
    with pytest.raises(DataError, match="model_output_solution_first_error_step is"):
        MR_MATH.load(write_rows(tmp_path / "mr-math_invalid_errors.json", rows))
