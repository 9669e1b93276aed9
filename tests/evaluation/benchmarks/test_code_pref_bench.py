"""CodePrefBench: the mean of four aspects, in which an undecided pair counts half."""

from __future__ import annotations

import pytest

from plaudit.errors import DataError
from plaudit.evaluation.official.catalog import benchmark_named
from plaudit.evaluation.store.published import recorded_result

CODE_PREF_BENCH = benchmark_named("code_pref_bench")


def task(number: int, better: int = 0, **fields) -> dict[str, object]:
    code = [f"def f(): return {number}", f"def f():\n    return {number} + 0"]
    return {"task_id": f"HumanEval/{number}", "instruction": f"Return {number}.", "choices": code} | {
        "gt_choice": better, **fields,
    }  # fmt: skip


def test_the_score_is_the_mean_of_four_aspects_and_a_tie_counts_half(tmp_path, estimate, score, write_rows):
    # Rewards 1 and 0: the first choice is preferred. Correctness: 1 of 2; efficiency: a tie; security: 1 of 1.
    write_rows(tmp_path / "eval" / "correctness-alignment.jsonl", [task(0), task(1, 1)])
    write_rows(tmp_path / "eval" / "efficiency-alignment.jsonl", [task(2)])
    write_rows(tmp_path / "eval" / "security-alignment.jsonl", [task(3)])
    write_rows(tmp_path / "eval" / "human-preference-alignment.jsonl", [task(4, 1, annotations=["x"])])
    loaded = CODE_PREF_BENCH.load(str(tmp_path / "eval"))
    assert dict(loaded.found) == {"correctness": 2, "efficiency": 1, "human-preference": 1, "security": 1}
    measure = CODE_PREF_BENCH.measure(
        score(loaded, lambda group, k: 1.0 if "efficiency" in group.id else float(k == 0)), estimate
    )
    values = {name: measure.metrics[name].value for name in measure.metrics}
    assert values["correctness"] == values["efficiency"] == 0.5
    assert (values["security"], values["human-preference"]) == (1.0, 0.0)
    assert values["score"] == pytest.approx((0.5 + 0.5 + 1.0 + 0.0) / 4)
    assert values["verifiable"] == pytest.approx((0.5 + 0.5 + 1.0) / 3)


def test_rows_of_one_task_are_different_pairs_of_one_prompt(tmp_path, write_rows):
    again = task(0) | {"choices": ["a = 1", "b = 1"]}
    loaded = CODE_PREF_BENCH.load(write_rows(tmp_path / "correctness-alignment.jsonl", [task(0), again]))
    assert (len(loaded.groups), loaded.repeated) == (2, 0)
    assert len({group.prompt_key for group in loaded.groups}) == 1


def test_a_pair_that_lacks_a_reward_counts_half_as_an_undecided_one(tmp_path, estimate, score, write_rows):
    loaded = CODE_PREF_BENCH.load(write_rows(tmp_path / "security-alignment.jsonl", [task(0), task(1), task(2)]))
    items = score(loaded, lambda group, k: None if group.id.endswith("/1") else float(k == 0))
    measure = CODE_PREF_BENCH.measure(items, estimate)
    assert measure.metrics["security"].value == pytest.approx((0.5 + 1 + 1) / 3)
    assert measure.metrics["score_scored"].value == 1.0
    assert measure.counts.failed == 1


def test_published_decisions_give_the_accuracy_that_the_official_code_prints(tmp_path, write_rows):
    def row(number, better, decision):
        return {
            "task_md5": f"{number:032x}", "model_id": "m", "model_type": "openai", "gt_choice": better,
            "conversations": [], "task_id": f"HumanEval/{number}", "decision": decision,
            "classification": decision == better,
        }  # fmt: skip

    folder = tmp_path / "evalroot"
    decided = [row(0, 0, 0), row(1, 1, 0), row(2, 1, None)]
    write_rows(folder / "correctness-alignment" / "m.remove_comment.jsonl", decided)
    write_rows(folder / "human-preference-alignment" / "m.jsonl", [row(3, 1, 1)])
    measure = recorded_result(str(folder), resamples=20).measures[0]
    assert measure.metrics["correctness"].value == pytest.approx((1 + 0.5) / 3)
    assert measure.metrics["human-preference"].value == 1.0
    assert measure.counts.failed == 0
    assert measure.missing["correctness"] == "3 of 660 rows"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"gt_choice": 2}, r"jsonl:1: gt_choice is 2; allowed: 0, 1"),
        ({"choices": ["a"]}, r"jsonl:1: choices has 1 entries for 2 sides of a comparison"),
        ({"choices": None}, r"jsonl:1: choices is missing"),
    ],
)
def test_a_row_of_another_layout_is_an_error_with_its_place(tmp_path, write_rows, fields, words):
    with pytest.raises(DataError, match=words):
        CODE_PREF_BENCH.load(write_rows(tmp_path / "correctness-alignment.jsonl", [task(0) | fields]))


def test_a_file_of_no_aspect_is_an_error(tmp_path, write_rows):
    with pytest.raises(DataError, match="names none of the aspects correctness, efficiency, security"):
        CODE_PREF_BENCH.load(write_rows(tmp_path / "pairs.jsonl", [task(0)]))
