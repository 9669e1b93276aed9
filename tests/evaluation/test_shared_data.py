"""On public data a model that gives the length of a response as its reward reaches just what length reaches."""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from plaudit.data.reading.read import read_groups
from plaudit.evaluation.result import assemble_result
from plaudit.evaluation.store.items import scored_groups
from plaudit.scoring.function import FunctionScorer

DATA = Path(os.environ.get("PLAUDIT_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
LENGTH = {"longer_response", "longest_response", "length"}


def measures(name, tmp_path, **options):
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{name} is not here; set PLAUDIT_DATA to the folder that holds it")
    groups = read_groups(path, cache_dir=tmp_path / "cache", **options)
    scorer = FunctionScorer(lambda prompt, responses: [float(len(response)) for response in responses])
    items = [item for _, item in scored_groups(scorer, groups)]
    result = assemble_result(items, name=name, model="length", tie_rule="half", resamples=20)
    return {measure.name: measure for measure in result.measures}


@pytest.mark.parametrize(
    ("name", "options", "kinds"),
    [
        ("finegrained_rlhf/ranked.jsonl", {}, {"ranking"}),
        ("unieval/ranked.jsonl", {}, {"ranking", "rating score"}),
        ("arena_bench/rated.jsonl", {"ranks_from": "gpt4", "limit": 60}, {"ranking", "rating gpt4"}),
        ("alce/rated.jsonl", {}, {"rating utility"}),
        ("gsm8k_solutions/outcome.jsonl", {"group_by_prompt": True, "limit": 200}, {"outcome"}),
        ("big_bench_mistake/steps.jsonl", {"limit": 300}, {"step"}),
    ],
)
def test_length_as_a_model_reaches_what_stands_beside_it(name, options, kinds, tmp_path):
    found = measures(name, tmp_path, **options)
    assert set(found) == kinds
    compared = 0
    for measure in found.values():
        assert measure.counts.failed == 0
        for figure, interval in measure.metrics.items():
            for rule in LENGTH & measure.baselines.get(figure, {}).keys():
                same = measure.baselines[figure][rule]
                assert (interval.value, interval.low, interval.high) == (same.value, same.low, same.high)
                compared += 1
    assert compared >= len(kinds)


def test_several_attributes_are_measured_one_by_one_with_their_own_counts(tmp_path):
    found = measures("just_eval/rated.jsonl", tmp_path)
    counts = {name: (measure.counts.scored, measure.details["responses"]) for name, measure in found.items()}
    assert counts["rating safety"] == (174, 2655)
    assert counts["rating helpfulness"] == (658, 658)
    assert len(counts) == 6


def test_four_solutions_of_a_problem_are_one_group_and_their_best_is_what_counting_says(tmp_path):
    (measure,) = measures("gsm8k_solutions/outcome.jsonl", tmp_path, group_by_prompt=True).values()
    solutions = defaultdict(list)
    for line in (DATA / "gsm8k_solutions/outcome.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        solutions[row["prompt"][0]["content"]].append(row)
    picked = voted = mean = solved = 0.0
    for rows in solutions.values():
        longest = max(len(row["response"]) for row in rows)
        labels = [row["label"] for row in rows if len(row["response"]) == longest]
        picked += sum(labels) / len(labels)
        mean += sum(row["label"] for row in rows) / len(rows)
        solved += any(row["label"] for row in rows)
        # nearly every solution of this file ends in a line "A: answer"
        answers = [row["response"].rpartition("A: ")[2].replace(",", "").strip() for row in rows]
        votes = Counter(answers)
        most = [answer for answer, count in votes.items() if count == max(votes.values())]
        for answer in most:
            right = [row["label"] for row, given in zip(rows, answers, strict=True) if given == answer]
            voted += sum(right) / len(right) / len(most)
    assert measure.counts.scored == len(solutions) == 1130
    assert measure.metrics["best_of_k"].value == pytest.approx(picked / 1130)
    beside = measure.baselines["best_of_k"]
    assert beside["random"].value == pytest.approx(mean / 1130)
    assert beside["oracle"].value == pytest.approx(solved / 1130)
    assert beside["majority_vote"].value == pytest.approx(voted / 1130, abs=0.002)  # a few answers are no plain number
