"""Models are called by short names that still tell them apart; benchmarks by their titles."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plaudit.reports.names import data_title, official_text, plain_words, short_names


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
    text = official_text(name)
    assert (text.label, text.kind) == (label, kind)


def test_a_name_that_data_gave_is_not_changed():
    assert plain_words("comparisons_without_a_reward") == "comparisons without a reward"
    assert plain_words("BoN_set/Helpfulness") == "BoN_set/Helpfulness"
