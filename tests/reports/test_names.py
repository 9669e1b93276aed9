"""Models are called by short names that still tell them apart; benchmarks by their titles."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plaudit.evaluation.official.catalog import CATALOG, benchmark_named
from plaudit.records import Interval, LabelCounts, Measure, MetricText
from plaudit.reports.names import data_title, metric_text, official_text, plain_words, short_names
from plaudit.reports.primary_metric import official_sentences


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("/data/runs/helpful_base", "helpful_base"),
        ("../runs/helpful_base/model", "helpful_base"),
        ("runs/first/model/", "first"),
        ("acme/wise-8b", "acme/wise-8b"),
        ("http://host:8000/v1/score", "http://host:8000/v1/score"),
        ("my_module:score", "my_module:score"),
        ("/home/me/mine.py:score", "mine.py:score"),
        ("dpo:/runs/a/policy,/runs/b/reference", "dpo:policy,reference"),
        ("ensemble:mean:/runs/a,acme/b", "ensemble:mean:a,acme/b"),
        ("tiny & small", "tiny & small"),
        ("/", "/"),
        ("", ""),
    ],
)
def test_a_path_is_called_by_its_last_part_and_any_other_name_stays(name: str, short: str):
    assert short_names([name]) == {name: short}


def test_paths_that_end_alike_keep_as_many_parts_as_it_takes():
    assert short_names(["/runs/a/model", "/runs/b/last", "/other/b/last"]) == {
        "/runs/a/model": "a",
        "/runs/b/last": "runs/b/last",
        "/other/b/last": "other/b/last",
    }
    # no part tells these two apart
    assert short_names(["/a/x", "/a/x/model"]) == {"/a/x": "/a/x", "/a/x/model": "/a/x/model"}


JUDGE = "dataset=judgebench,response_model=gpt-4o-2024-05-13,judge_name=reward_model,judge_model={}.jsonl"


def test_a_published_file_goes_by_the_ends_of_its_name_where_they_tell_it_apart():
    skywork, internlm = (f"/srv/results/{JUDGE.format(name)}" for name in ("Skywork_27B", "internlm2-20b"))
    short = short_names([skywork, internlm, "results/own.json"])
    assert short[skywork] == "dataset=judg…eward_model,judge_model=Skywork_27B"
    assert short[internlm].endswith("judge_model=internlm2-20b")
    assert {len(name) for name in short.values()} == {48, 3}
    # the middle is all that tells these two apart: they stay whole
    alike = [f"{'a' * 40}{middle}{'b' * 60}" for middle in "12"]
    assert short_names(alike) == {name: name for name in alike}


@given(st.lists(st.text(alphabet="ab/.:,~", max_size=12), unique=True, max_size=6))
def test_no_two_models_get_one_name(names: list[str]):
    short = short_names(names)
    assert list(short) == names
    assert len(set(short.values())) == len(names)


def test_a_benchmark_is_called_by_its_title_and_other_data_by_their_name():
    assert data_title("rm_bench") == "RM-Bench"
    assert data_title("held_out") == "held_out"


@pytest.mark.parametrize(
    ("name", "label", "kind"),
    [
        ("score", "Official score", "share"),
        ("score_ties_shared", "Official score, ties shared", "share"),
        ("f1_scored", "Official F1, scored only", "share"),
        ("gsm8k_f1_tuned", "gsm8k: F1, tuned threshold", "share"),
        ("gsm8k_accuracy_erroneous", "gsm8k: first error located", "share"),
        ("gap_to_english", "Gap to English", "number"),
        ("helpful_best_of_n", "Helpful best of n", "share"),
        ("Adversarial/Neighbor", "Adversarial/Neighbor", "share"),
        ("gpt-4o-2024-05-13", "gpt-4o-2024-05-13", "share"),
    ],
)
def test_official_figures_are_called_what_they_are(name: str, label: str, kind: str):
    text = official_text(name, {})
    assert (text.label, text.kind) == (label, kind)


def test_a_name_that_data_gave_is_not_changed():
    assert plain_words("comparisons_without_a_reward") == "comparisons without a reward"
    assert plain_words("BoN_set/Helpfulness") == "BoN_set/Helpfulness"


COUNTS = LabelCounts(n=2, scored=2, unscored=0, failed=0)


def measured(words: dict[str, MetricText], primary: str = "score", **details: int) -> Measure:
    found = Interval(value=0.5, low=0.4, high=0.6, method="wilson", n=23_157)
    return Measure(
        kind="benchmark", primary=primary, counts=COUNTS, metrics={primary: found}, details=details, words=words
    )


@pytest.mark.parametrize(
    ("benchmark", "name", "said"),
    [
        ("rewardmath", "accuracy", "problem"),
        ("big_bench_mistake", "accuracy", "mistake"),
        ("prmbench", "f1", "right steps"),
        ("processbench", "f1", "subsets"),
        ("big_bench_mistake", "f1", "traces"),
        ("reward_bench", "score", "sections"),
        ("rm_bench", "score", "domains"),
    ],
)
def test_a_metric_has_the_words_of_its_benchmark(benchmark: str, name: str, said: str):
    measure = measured(dict(benchmark_named(benchmark).words), name)
    assert said in metric_text(measure, name).meaning
    ending = metric_text(measure, f"{name}_scored")
    assert ending.label == f"{metric_text(measure, name).label}, scored only"


@pytest.mark.parametrize("name", sorted(CATALOG))
def test_every_primary_metric_says_what_it_is_and_what_it_counts(name: str):
    benchmark = benchmark_named(name)
    primary = benchmark.metrics([]).primary
    assert benchmark.words[primary].meaning
    assert benchmark.words[primary].unit


def test_what_a_metric_counts_is_called_what_it_is():
    measure = measured(dict(benchmark_named("prmbench").words), "prm_score", solutions=6_069)
    (said, *_) = official_sentences("prmbench", measure)
    assert said == "The PRMScore of PRMBench is 50.0%, over 23,157 steps."


def test_a_benchmark_of_ones_own_is_described_in_its_own_words():
    words = {"score": MetricText(label="Mine", kind="number", meaning="what I count", unit="battles")}
    assert metric_text(measured(words)) == words["score"]
    assert official_sentences("mine", measured(words))[0] == "The Mine of mine is 0.500, over 23,157 battles."


def test_a_result_from_before_words_is_described_by_what_the_catalogue_agrees_on():
    assert metric_text(measured({}), "gap_to_english").kind == "number"
    assert metric_text(measured({}), "accuracy").label == "Official accuracy"
    assert "mistake" not in metric_text(measured({}), "accuracy").meaning
