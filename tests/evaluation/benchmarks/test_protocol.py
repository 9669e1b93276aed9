"""Loading, cataloguing and measuring, for every benchmark alike."""

from __future__ import annotations

import re

import numpy as np
import pytest

from plaudit.errors import DataError, UnknownNameError
from plaudit.evaluation.official.benchmark import Benchmark, incomplete
from plaudit.evaluation.official.catalog import CATALOG, benchmark_named
from plaudit.evaluation.result import assemble_result
from plaudit.evaluation.run import evaluate_benchmark
from plaudit.records import Result, read_items
from plaudit.scoring.function import FunctionScorer

LLMBAR = benchmark_named("llmbar")


@pytest.mark.parametrize("name", sorted(CATALOG))
def test_every_name_of_the_catalogue_is_a_benchmark_of_that_name(name):
    found = benchmark_named(name)
    assert isinstance(found, Benchmark)
    assert found.name == name
    assert all((found.title, found.citation, found.licence, found.official, found.ties, found.missing_rewards))
    assert found.expected
    for pattern in (found.files,) if isinstance(found.files, str) else found.files:
        re.compile(pattern)


def test_the_catalogue_is_sorted():
    assert list(CATALOG) == sorted(CATALOG)


def test_an_unknown_name_is_answered_with_the_closest():
    with pytest.raises(UnknownNameError, match=r"unknown benchmark 'rm-bench'; did you mean 'rm_bench'\?"):
        benchmark_named("rm-bench")


def test_what_is_missing_is_named_in_words():
    found = incomplete(
        {"a": 3, "b": 2, "new": 1, "extra": 4}, {"a": 3, "b": 5, "c": None, "d": 7}, frozenset({"extra"})
    )
    assert found == {
        "b": "2 of 5 rows",
        "c": "absent",
        "d": "0 of 7 rows",
        "new": "1 rows of a subset that is not official",
    }


def bar(label, text="one"):
    return {"input": f"do {label}", "output_1": text, "output_2": "another", "label": label}


def natural(tmp_path, write_rows, rows):
    return write_rows(tmp_path / "Natural" / "dataset.json", rows)


def test_a_folder_without_official_files_is_an_error_that_says_where_they_are(tmp_path, write_rows):
    write_rows(tmp_path / "other.jsonl", [bar(1)])
    with pytest.raises(
        DataError, match=r"holds no file of LLMBar; it has: other\.jsonl; the official files are at git"
    ):
        LLMBAR.load(str(tmp_path))


def test_a_benchmark_that_is_not_on_the_hub_needs_a_path():
    with pytest.raises(DataError, match=r"LLMBar is not on the hub; give its official files, NAME=PATH"):
        LLMBAR.load()


def test_broken_json_is_an_error_with_its_place(tmp_path):
    path = tmp_path / "Natural" / "dataset.json"
    path.parent.mkdir()
    path.write_text('[{"input": "a"')
    with pytest.raises(DataError, match=r"dataset\.json:1: JSON is broken"):
        LLMBAR.load(str(path))


def test_a_row_that_cannot_be_scored_is_an_item_without_rewards(tmp_path, write_rows):
    loaded = LLMBAR.load(natural(tmp_path, write_rows, [bar(1), bar(2) | {"input": " "}]))
    assert [group.id for group in loaded.groups] == ["llmbar/Natural/1"]
    (refused,) = loaded.refused
    assert (refused.id, refused.rewards) == ("llmbar/Natural/2", (None, None))
    assert refused.reason == "cannot be scored: prompt[0].content is empty"
    assert loaded.found == {"Natural": 2}
    with pytest.raises(DataError, match=r"holds no rows of llmbar that can be scored; cannot be scored: prompt"):
        LLMBAR.load(natural(tmp_path / "all", write_rows, [bar(2) | {"input": " "}]))


def test_the_fingerprint_is_of_groups_and_facts(tmp_path, write_rows):
    first = LLMBAR.load(natural(tmp_path / "a", write_rows, [bar(1), bar(2)]))
    same = LLMBAR.load(natural(tmp_path / "b", write_rows, [bar(1), bar(2)]))
    other = LLMBAR.load(natural(tmp_path / "c", write_rows, [bar(1), bar(2, text="two")]))
    assert first.fingerprint == same.fingerprint
    assert first.fingerprint != other.fingerprint


def test_a_run_writes_items_that_give_the_result_again(tmp_path, write_rows):
    rows = [bar(1), bar(2), bar(1, text="none at all"), bar(2) | {"input": " "}]
    loaded = LLMBAR.load(natural(tmp_path, write_rows, rows))
    scorer = FunctionScorer(lambda prompt, responses: [None if "none" in r else float(len(r)) for r in responses])
    result = evaluate_benchmark(scorer, LLMBAR, loaded, model="length", output_dir=tmp_path / "out")
    items = read_items(tmp_path / "out" / "items.jsonl")
    assert [item.metadata for item in items] == [{"subset": "Natural", "better": better} for better in (0, 1, 0, 1)]
    hashes = {"recipe_hash": scorer.info.recipe_hash, "data_fingerprint": loaded.fingerprint}
    again = assemble_result(items, name=LLMBAR.name, benchmark=LLMBAR, model="length", **hashes)
    assert again.model_copy(update={"created": ""}) == result.model_copy(update={"created": ""})
    assert Result.model_validate_json((tmp_path / "out" / "result.json").read_text()) == result
    assert (result.n, result.scored, result.unscored, result.failed) == (4, 2, 0, 2)
    (measure, *_) = result.measures
    assert measure.kind == "benchmark"
    assert measure.metrics["Natural"].value == 1 / 4
    assert measure.metrics["Natural"].n == 4
    assert measure.metrics["score_ties_shared"].value == 1 / 2
    assert measure.rules["official_ties"] == LLMBAR.ties
    assert measure.missing == {
        "Natural": "4 of 100 rows",
        "Adversarial/Neighbor": "0 of 134 rows",
        "Adversarial/GPTInst": "0 of 92 rows",
        "Adversarial/GPTOut": "0 of 47 rows",
        "Adversarial/Manual": "0 of 46 rows",
    }


def test_a_model_that_scores_nothing_has_no_figure_rather_than_zero(tmp_path, write_rows, estimate, score):
    loaded = LLMBAR.load(natural(tmp_path, write_rows, [bar(1), bar(2)]))
    measure = LLMBAR.measure(score(loaded, lambda group, k: float("nan")), estimate)
    assert measure.metrics == {}
    assert measure.absent["score"] == "none of its comparisons has its rewards"
    assert (measure.counts.n, measure.counts.failed) == (2, 2)
    assert measure.slices == {}


def test_a_killed_run_goes_on_with_the_facts_it_wrote(tmp_path, write_rows):
    loaded = LLMBAR.load(natural(tmp_path, write_rows, [bar(1), bar(2), bar(1, text="three")]))
    asked = []

    def reward(prompt, responses):
        asked.append(responses)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return [float(len(response)) for response in responses]

    with pytest.raises(KeyboardInterrupt):
        evaluate_benchmark(FunctionScorer(reward), LLMBAR, loaded, model="m", output_dir=tmp_path / "out")
    result = evaluate_benchmark(FunctionScorer(reward), LLMBAR, loaded, model="m", output_dir=tmp_path / "out")
    assert len(asked) == 4
    assert result.n == 3
    assert all(item.metadata["subset"] == "Natural" for item in read_items(tmp_path / "out" / "items.jsonl"))


def test_the_first_groups_of_what_was_loaded_are_counted_anew(tmp_path, write_rows):
    loaded = LLMBAR.load(natural(tmp_path, write_rows, [bar(1), bar(2), bar(1, text="")]))
    part = loaded.first(1)
    assert (len(part.groups), part.refused, dict(part.found)) == (1, (), {"Natural": 1})
    assert part.missing["Natural"] == "1 of 100 rows"


def test_rewards_shifted_or_scaled_leave_every_figure_of_ranks_as_it_is(tmp_path, write_rows, estimate, score):
    loaded = LLMBAR.load(
        natural(tmp_path, write_rows, [bar(1 + index % 2, text="x" * (index + 1)) for index in range(9)])
    )
    rng = np.random.default_rng(0)
    table = {(group.id, k): float(rng.normal()) for group in loaded.groups for k in range(2)}
    first = LLMBAR.measure(score(loaded, lambda group, k: table[group.id, k]), estimate)
    second = LLMBAR.measure(score(loaded, lambda group, k: 3 * table[group.id, k] - 7), estimate)
    assert first == second
