"""M-RewardBench and RAG-RewardBench."""

from __future__ import annotations

import pytest

from plaudit.errors import DataError
from plaudit.evaluation.official.benchmarks.m_reward_bench import WEIGHTS
from plaudit.evaluation.official.benchmarks.reward_bench import SECTIONS
from plaudit.evaluation.official.catalog import benchmark_named

LANGUAGES, RETRIEVAL = benchmark_named("m_reward_bench"), benchmark_named("rag_reward_bench")


def row(source, index, **fields):
    return {"id": index, "prompt": f"{source} {index}", "chosen": "a", "rejected": "b", "source": source, **fields}


def test_a_language_is_the_mean_of_its_sections_and_the_gap_is_to_english(tmp_path, estimate, score, write_rows):
    for code in ("deu_Latn", "fra_Latn", "eng_Latn"):
        write_rows(
            tmp_path / code / "test.jsonl",
            [row("alpacaeval-easy", 0), row("donotanswer", 0), row("donotanswer", 1), row("hep-go", 0)],
        )
    loaded = LANGUAGES.load(str(tmp_path))
    assert dict(loaded.found) == {"deu_Latn": 4, "eng_Latn": 4, "fra_Latn": 4}

    def reward(group, k):
        right = group.source == "eng_Latn" or (group.source == "deu_Latn" and group.prompt[0].content != "hep-go 0")
        return float((k == 0) == right)

    measure = LANGUAGES.measure(score(loaded, reward), estimate)
    figures = {name: each.value for name, each in measure.metrics.items()}
    assert figures["deu_Latn"] == pytest.approx((1 + 1 + 0) / 3)
    assert figures["fra_Latn"] == 0.0
    assert figures["score"] == pytest.approx(1 / 3)
    assert figures["safety"] == pytest.approx(1 / 2)
    assert figures["gap_to_english"] == pytest.approx(1 - 1 / 3)
    assert measure.missing["ces_Latn"] == "absent"
    assert "eng_Latn" not in measure.missing
    # The parts are the languages of the score, the worst first, by their official figures and not by means over pairs.
    assert {code: part["score"].value for code, part in measure.slices.items()} == pytest.approx(
        {"fra_Latn": 0.0, "deu_Latn": 2 / 3}
    )
    assert next(iter(measure.slices)) == "fra_Latn"


def test_subsets_weigh_by_their_pairs_in_this_set_and_beside_it_as_in_reward_bench(
    tmp_path, estimate, score, write_rows
):
    rows = [row("alpacaeval-easy", 0), row("mt-bench-easy", 1)]
    loaded = LANGUAGES.load(write_rows(tmp_path / "deu_Latn" / "test.jsonl", rows))
    items = score(loaded, lambda group, k: float((k == 0) == ("mt-bench" in group.id)))
    figures = LANGUAGES.measure(items, estimate).metrics
    assert figures["chat"].value == figures["score"].value == pytest.approx(24 / (79 + 24))
    assert figures["score_reward_bench_weights"].value == pytest.approx(28 / (100 + 28))


def test_the_translations_of_one_pair_count_as_of_one_prompt(tmp_path, estimate, score, write_rows):
    for code in ("deu_Latn", "fra_Latn", "spa_Latn"):
        write_rows(tmp_path / code / "test.jsonl", [row("donotanswer", k, prompt=f"{code} {k}") for k in range(8)])
    loaded = LANGUAGES.load(str(tmp_path))
    items = score(loaded, lambda group, k: float((k == 0) == (group.id[-1] in "0123")))
    found = LANGUAGES.measure(items, estimate).metrics["score"]
    assert found.method == "cluster bootstrap (8 clusters, 30 resamples)"
    assert found.high - found.low > 0.5


def test_the_weights_are_the_numbers_of_pairs_with_math_as_much_as_all_code():
    counts = {subset: count for subsets in WEIGHTS.values() for subset, count in subsets.items()}
    assert {section: set(subsets) for section, subsets in WEIGHTS.items()} == {
        section: set(subsets) for section, subsets in SECTIONS.items()
    }
    assert counts["math-prm"] == sum(count for subset, count in counts.items() if subset.startswith("hep-"))
    assert sum(counts.values()) - counts["math-prm"] + 447 == 2869


def test_a_source_that_is_no_subset_is_an_error(tmp_path, write_rows):
    with pytest.raises(DataError, match=r"test\.jsonl:1: source is 'poems'"):
        LANGUAGES.load(write_rows(tmp_path / "deu_Latn" / "test.jsonl", [row("poems", 0)]))


def test_pairs_of_texts_and_of_conversations_are_read_by_scenario(tmp_path, estimate, score, write_rows):
    write_rows(tmp_path / "Dataset" / "reason.jsonl", [{"prompt": "p", "chosen": "a", "rejected": "b"}] * 3)
    turn = {"role": "user", "content": "q"}
    sides = {name: [turn, {"role": "assistant", "content": name}] for name in ("chosen", "rejected")}
    write_rows(tmp_path / "Dataset" / "citation.jsonl", [sides])
    loaded = RETRIEVAL.load(str(tmp_path / "Dataset"))
    assert [group.prompt[0].content for group in loaded.groups] == ["q", "p", "p", "p"]
    assert loaded.missing == {"all scenarios": "4 of 1485 rows"}
    measure = RETRIEVAL.measure(score(loaded, lambda group, k: float(k == int("citation" in group.id))), estimate)
    assert measure.metrics["reason"].value == 1.0
    assert measure.metrics["citation"].value == 0.0
    assert measure.metrics["score"].value == 3 / 4
    assert measure.metrics["macro"].value == 1 / 2


def test_the_file_is_the_scenario_and_the_subset_of_a_row_only_where_no_file_is(tmp_path, write_rows):
    pair = {"prompt": "p", "chosen": "a", "rejected": "b", "subset": "hotpotqa"}
    in_file = RETRIEVAL.load(write_rows(tmp_path / "reason.jsonl", [pair]))
    assert [facts["scenario"] for facts in in_file.facts.values()] == ["reason"]
    alone = RETRIEVAL.load(write_rows(tmp_path / "train.jsonl", [pair]))
    assert [facts["scenario"] for facts in alone.facts.values()] == ["hotpotqa"]


def test_conversations_that_differ_before_the_response_are_refused(tmp_path, write_rows):
    sides = {
        name: [{"role": "user", "content": name}, {"role": "assistant", "content": "x"}]
        for name in ("chosen", "rejected")
    }
    with pytest.raises(DataError, match=r"reason\.jsonl:1: chosen and rejected are conversations that differ"):
        RETRIEVAL.load(write_rows(tmp_path / "reason.jsonl", [sides]))
