"""The catalogue of public data sets: every entry is whole; its name, or its place on the hub, is enough to read it."""

from __future__ import annotations

import json
import re
import runpy
from collections import Counter
from pathlib import Path

import datasets
import pytest

from plaudit.data.reading.options import DataFile
from plaudit.data.reading.read import load_files
from plaudit.data.reading.sources.formats import FORMATS, SOURCES, source_at
from plaudit.data.reading.sources.source import Source
from plaudit.errors import DataError

from .rows import read_row

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reference" / "data_formats.md"
PAIR = {
    "chosen": "\n\nHuman: How do I boil an egg?\n\nAssistant: Ten minutes in hot water.",
    "rejected": "\n\nHuman: How do I boil an egg?\n\nAssistant: Ask a hen.",
}
COMPARED = {
    "context": [{"role": "user", "content": "How do I boil an egg?"}],
    "response1": "Ten minutes in hot water.",
    "response2": "Ask a hen.",
    "overall_preference": -1,
}


def documented_rows(format):
    section = re.search(
        rf"^## `{format}`.*?\n(.*?)(?=^## |\Z)", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    blocks = re.findall(r"```jsonl\n(.*?)```", section.group(1), re.DOTALL) if section else []
    return [json.loads(line) for block in blocks for line in block.splitlines()]


@pytest.mark.parametrize("source", SOURCES.values(), ids=lambda source: source.name)
def test_an_entry_says_where_its_rows_are_what_they_hold_and_whose_they_are(source):
    assert re.fullmatch(r"[a-z0-9_]+", source.name)
    assert re.fullmatch(r"[\w.-]+/[\w.-]+", source.hub)
    assert source.url.endswith(source.hub)
    assert source.format in FORMATS
    assert source.licence
    assert re.search(r"\(20\d\d\), .+", source.citation)
    assert source.rows or source.note
    assert all(count is None or count > 0 for count in source.rows.values())
    assert source.note or None not in source.rows.values()


@pytest.mark.parametrize("source", SOURCES.values(), ids=lambda source: source.name)
def test_a_documented_row_is_read_by_the_format_of_an_entry(source):
    rows = documented_rows(source.format)
    assert rows, f"docs/reference/data_formats.md shows no row of {source.format}"
    assert all(read_row(row, source.format).responses for row in rows)


@pytest.mark.parametrize("entry", [{"rows": {"train": "many"}}, {"size": 3}, {"hub": None}])
def test_an_entry_that_the_catalogue_cannot_hold_is_refused(entry):
    sound = {"name": "a", "hub": "a/b", "licence": "MIT", "citation": "A (2024), B", "format": "trl"}
    assert Source(**sound).rows == {"train": None}
    assert Source(**sound, rows={"train": 3, "test": "unknown"}).rows == {"train": 3, "test": None}
    with pytest.raises(ValueError, match=next(iter(entry))):
        Source(**(sound | entry))


def test_no_two_entries_are_the_same_place():
    places = Counter((source.hub, source.subset, source.data_dir) for source in SOURCES.values())
    assert [place for place, count in places.items() if count > 1] == []


def test_a_place_on_the_hub_is_found_by_what_tells_it_from_its_neighbours():
    assert source_at("Anthropic/hh-rlhf") is SOURCES["hh_rlhf"]
    assert source_at("Anthropic/hh-rlhf", data_dir="helpful-online") is SOURCES["hh_rlhf_helpful_online"]
    assert source_at("nvidia/HelpSteer3") is SOURCES["helpsteer3_preference"]
    assert source_at("nvidia/HelpSteer2", data_dir="preference") is SOURCES["helpsteer2_preference"]
    assert source_at("stanfordnlp/SHP", data_dir="askculinary") is None
    assert source_at("owner/unheard-of") is None


@pytest.fixture
def hub(monkeypatch):
    """Return the calls of a hub that serves ``hub.rows``."""

    class Hub(list):
        rows = (PAIR, {**PAIR, "rejected": PAIR["chosen"]})

    calls = Hub()

    def load(path, **options):
        calls.append((path, {key: value for key, value in options.items() if key != "streaming"}))
        return iter(calls.rows)

    monkeypatch.setattr(datasets, "load_dataset", load)
    monkeypatch.setattr("plaudit.data.reading.cache.hub_commit", lambda name: "one")
    return calls


def test_a_hub_name_of_the_catalogue_needs_no_format_and_is_reported_with_its_licence_and_rows(hub, read):
    groups = read("Anthropic/hh-rlhf", split="test")
    assert hub == [("Anthropic/hh-rlhf", {"split": "test"})]
    assert [(group.id, group.source) for group in groups] == [("hh_rlhf:1", "hh_rlhf")]
    report = groups.report
    assert (report.format, report.detected) == ("hh", False)
    assert (report.source, report.licence, report.published_rows, report.rows) == ("hh_rlhf", "MIT", 8_552, 2)
    assert "source   hh_rlhf  licence: MIT\n" in report.table()
    assert "rows     2  of 8552 published\n" in report.table()
    assert read("Anthropic/hh-rlhf", split="all").report.published_rows is None


def test_the_name_of_a_source_stands_for_its_hub_name_subset_and_folder(hub, read):
    assert len(read("hh_rlhf_harmless_base")) == 1
    hub.rows = (COMPARED,)
    assert read("helpsteer3_preference", split="validation").report.published_rows == 2_017
    assert read("nvidia/HelpSteer3")[0].preferences[0].margin == 1.0
    assert hub == [
        ("Anthropic/hh-rlhf", {"data_dir": "harmless-base", "split": "train"}),
        ("nvidia/HelpSteer3", {"name": "preference", "split": "validation"}),
        ("nvidia/HelpSteer3", {"name": "preference", "split": "train"}),
    ]


def test_a_folder_or_subset_outside_the_catalogue_is_read_and_its_format_detected(hub, read):
    groups = read("Anthropic/hh-rlhf", data_dir="other", subset="mine")
    assert hub == [("Anthropic/hh-rlhf", {"name": "mine", "data_dir": "other", "split": "train"})]
    report = groups.report
    assert (report.format, report.detected, report.source, report.published_rows) == ("hh", True, "", None)
    assert groups[0].id == "hh-rlhf:1"
    assert "source" not in report.table()


def test_two_folders_of_one_repository_are_two_readings(hub, read):
    both = read(["hh_rlhf_helpful_base", "hh_rlhf_harmless_base"])
    assert [group.id for group in both] == ["hh_rlhf_helpful_base:1", "hh_rlhf_harmless_base:1"]
    assert both.report.published_rows == 43_835 + 42_537
    assert both.report.licence == "MIT"
    read(["hh_rlhf_helpful_base", "hh_rlhf_helpful_online"])
    assert [options["data_dir"] for _, options in hub] == [
        "helpful-base",
        "harmless-base",
        "helpful-base",
        "helpful-online",
    ]


def test_a_number_of_rows_is_published_only_where_every_part_has_one(hub, read):
    report = read(["hh_rlhf", "owner/name"]).report
    assert (report.source, report.licence, report.published_rows, report.rows) == ("hh_rlhf", "MIT", None, 4)


def test_a_named_format_comes_before_that_of_the_catalogue(hub, read):
    assert read("Anthropic/hh-rlhf", format="trl").report.format == "trl"


def test_rows_that_are_not_in_the_layout_of_their_source_are_named_errors(hub, read):
    hub.rows = (COMPARED,)
    with pytest.raises(DataError, match="Anthropic/hh-rlhf:1: chosen is missing; the row has: context, response1"):
        read("Anthropic/hh-rlhf")


def test_a_config_names_a_source_a_subset_and_a_folder(hub, tmp_path):
    files = [
        DataFile(path="hh_rlhf_helpful_online"),
        DataFile(path="owner/name", subset="mine", data_dir="part", split="test"),
    ]
    groups = load_files(files, cache_dir=tmp_path)
    assert hub == [
        ("Anthropic/hh-rlhf", {"data_dir": "helpful-online", "split": "train"}),
        ("owner/name", {"name": "mine", "data_dir": "part", "split": "test"}),
    ]
    assert (groups.report.source, groups.report.licence) == ("hh_rlhf_helpful_online", "MIT")
    assert groups.report.published_rows is None


def test_versions_in_a_hub_name_are_part_of_its_name(hub, read):
    hub.rows = ({"prompt": "Q", "chosen": "yes", "rejected": "no"},)
    assert read("owner/set-v0.2")[0].id == "set-v0.2:1"


def test_a_file_of_the_name_of_a_source_comes_first(tmp_path, monkeypatch, read):
    datasets.Dataset.from_list([PAIR]).save_to_disk(tmp_path / "shp")
    monkeypatch.chdir(tmp_path)
    report = read("shp").report
    assert (report.format, report.source) == ("hh", "")


def test_what_the_hub_does_not_have_is_said_in_its_words(hub, read, monkeypatch):
    def refuse(path, **options):
        raise ValueError("Bad split: train. Available splits: ['train_prefs', 'test_prefs']\nmore")

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    with pytest.raises(DataError) as caught:
        read("HuggingFaceH4/ultrafeedback_binarized")
    assert str(caught.value) == (
        "HuggingFaceH4/ultrafeedback_binarized: cannot be read from the hub: "
        "Bad split: train. Available splits: ['train_prefs', 'test_prefs']"
    )


def test_a_subset_or_folder_of_a_local_file_is_refused(write_rows, read):
    path = write_rows([PAIR])
    with pytest.raises(DataError, match="revision are of data sets on the hub; this is a file here"):
        read(path, data_dir="helpful-base")


def test_a_source_with_another_folder_than_its_own_is_refused(read):
    with pytest.raises(
        DataError, match=r"data_dir 'helpful-base'; for another one give the hub name Anthropic/hh-rlhf"
    ):
        read("hh_rlhf_helpful_base", data_dir="helpful-online")


def test_a_path_that_is_nearly_a_source_says_so(read):
    with pytest.raises(DataError, match=r"ultrafedback: no such file.*; did you mean the source 'ultrafeed"):
        read("ultrafedback")


def test_the_list_of_public_data_sets_is_what_the_catalogue_says():
    with_sources = runpy.run_path(str(ROOT / "docs" / "build_reference.py"))["with_sources"]
    page = PAGE.read_text(encoding="utf-8")
    assert page == with_sources(page, tuple(SOURCES.values())), "run: python docs/build_reference.py"
    shown = with_sources(
        "before\n<!-- made by python docs/build_reference.py -->\nold\n", [SOURCES["pku_saferlhf_30k"]]
    )
    assert shown.startswith("before\n<!-- made by")
    assert "old" not in shown
    assert "| `pku_saferlhf_30k` | [PKU-Alignment/PKU-SafeRLHF-30K](" in shown
    assert "| `safe_rlhf` | train 26,874, test ? | CC BY-NC 4.0 |\n" in shown
    assert "- `pku_saferlhf_30k`: Ji et al. (2023), BeaverTails, arXiv:2307.04657.\n" in shown
