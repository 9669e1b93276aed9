"""JudgeBench and LLMBar: reward models in one order, judges in both."""

from __future__ import annotations

import itertools

import pytest

from plaudit.errors import DataError
from plaudit.evaluation.official.catalog import benchmark_named
from plaudit.evaluation.store.items import item_score
from plaudit.scoring.scorer import GroupRewards

JUDGEBENCH, LLMBAR = benchmark_named("judgebench"), benchmark_named("llmbar")
VERDICTS = {"A>B": (1.0, 0.0), "B>A": (0.0, 1.0), "A=B": (0.5, 0.5), None: (None, None)}


def pair(index, label="A>B", source="livebench-math", **fields):
    return {
        "pair_id": f"{index}",
        "source": source,
        "question": f"question {index}",
        "response_model": "gpt-4o-2024-05-13",
        "response_A": "first",
        "response_B": "the second",
        "label": label,
        **fields,
    }


def official_worth(label, first, second):
    """Two games, the second shown the other way round: +1 for the label, −1 against it, right above 0."""
    flip = {"A>B": "B>A", "B>A": "A>B"}
    total = 0
    for decision in (first, flip.get(second, second)):
        total += (decision == label) - (decision == flip[label])
    return float(total > 0)


@pytest.mark.parametrize("label", ["A>B", "B>A"])
def test_every_combination_of_two_verdicts_counts_as_in_the_official_code(tmp_path, estimate, write_rows, label):
    for number, (first, second) in enumerate(itertools.product(VERDICTS, VERDICTS)):
        judged = [{"decision": first, "judgment": {}}, {"decision": second, "judgment": {}}]
        rows = [pair(0, label, judgments=judged), pair(1, "A>B", judgments=[{"decision": "A>B"}, {"decision": "B>A"}])]
        items = JUDGEBENCH.read_results(write_rows(tmp_path / f"{number}.jsonl", rows))
        measure = JUDGEBENCH.measure(items, estimate)
        assert measure.metrics["score"].value == (official_worth(label, first, second) + 1) / 2
        assert measure.details["games_without_a_verdict"] == [first, second].count(None)
        assert measure.counts.failed == int(None in (first, second))


def test_a_game_that_failed_is_read_as_no_verdict(tmp_path, estimate, write_rows):
    rows = [pair(0, judgments=[None, {"decision": "B>A"}]), pair(1, judgments=[{"decision": "A=B"}])]
    measure = JUDGEBENCH.measure(JUDGEBENCH.read_results(write_rows(tmp_path / "r.jsonl", rows)), estimate)
    assert measure.metrics["score"].value == 0.5  # one game right and one unread is right; a tied single game is not
    assert measure.details["games_without_a_verdict"] == 1


def test_of_equal_rewards_the_second_response_is_taken(tmp_path, estimate, score, write_rows):
    rows = [pair(0, "A>B"), pair(1, "B>A"), pair(2, "B>A"), pair(3, "B>A", source="mmlu-pro-law")]
    loaded = JUDGEBENCH.load(write_rows(tmp_path / "pairs.jsonl", rows))
    items = score(loaded, lambda group, k: None if group.id.endswith("/2") else 1.0)
    measure = JUDGEBENCH.measure(items, estimate)
    assert measure.metrics["score"].value == 2 / 4
    assert measure.metrics["math"].value == pytest.approx(1 / 3)
    assert measure.metrics["knowledge"].value == 1.0
    assert measure.metrics["macro"].value == pytest.approx((1 / 3 + 1) / 2)
    assert measure.metrics["score_ties_shared"].value == 0.5
    assert measure.metrics["tie_rate"].value == 1.0
    assert measure.counts.failed == 1
    assert measure.baselines["score"]["first_response"].value == 1 / 4


def test_a_source_or_label_of_no_category_is_an_error_with_its_place(tmp_path, write_rows):
    with pytest.raises(DataError, match=r"pairs\.jsonl:1: source is 'chess'"):
        JUDGEBENCH.load(write_rows(tmp_path / "pairs.jsonl", [pair(0, source="chess")]))
    with pytest.raises(DataError, match=r"pairs\.jsonl:2: label is 'A'; it must be A>B or B>A"):
        JUDGEBENCH.load(write_rows(tmp_path / "pairs.jsonl", [pair(0), pair(1, "A")]))


def bar(label):
    return {"input": f"do {label}", "output_1": "one", "output_2": "another", "label": label}


def test_llmbar_is_the_mean_of_its_subsets(tmp_path, estimate, score, write_rows):
    write_rows(tmp_path / "Dataset" / "Natural" / "dataset.json", [bar(1), bar(2), bar(1)])
    write_rows(tmp_path / "Dataset" / "Adversarial" / "GPTOut" / "dataset.json", [bar(2)])
    loaded = LLMBAR.load(str(tmp_path / "Dataset"))
    measure = LLMBAR.measure(score(loaded, lambda group, k: -float(k)), estimate)
    assert measure.metrics["Natural"].value == pytest.approx(2 / 3)
    assert measure.metrics["Adversarial/GPTOut"].value == 0.0
    assert measure.metrics["score"].value == pytest.approx(1 / 3)
    assert list(measure.slices) == ["Adversarial/GPTOut", "Natural"]
    alone = LLMBAR.load(str(tmp_path / "Dataset" / "Natural" / "dataset.json"))
    assert dict(alone.found) == {"Natural": 3}


def test_a_judge_of_llmbar_gets_the_mean_of_both_orders_and_its_agreement(tmp_path, estimate, write_rows):
    loaded = LLMBAR.load(write_rows(tmp_path / "Natural" / "dataset.json", [bar(1), bar(1), bar(2)]))
    verdicts = [((1.0, 0.0), (1.0, 0.0)), ((1.0, 0.0), (0.0, 1.0)), ((0.5, 0.5), (0.0, 1.0))]
    items = []
    for group, (first, second) in zip(loaded.groups, verdicts, strict=True):
        rewards = GroupRewards(group.id, (0.0, 0.0), attributes={"first_order": first, "second_order": second})
        items.append(item_score(group, rewards).model_copy(update={"metadata": dict(loaded.facts[group.id])}))
    figures = LLMBAR.measure(items, estimate).metrics
    assert figures["Natural"].value == pytest.approx((1 + 1 / 2 + 1 / 2) / 3)
    assert figures["positional_agreement"].value == pytest.approx(1 / 3)
    assert figures["score_ties_shared"].value == pytest.approx((1 + 1 / 2 + 3 / 4) / 3)
