"""Data files in a config."""

from __future__ import annotations

import pydantic
import pytest

from plaudit.data.reading.options import DataFile, expand
from plaudit.data.reading.read import load_files
from plaudit.errors import ConfigError, DataError


def pair(number):
    return {"prompt": f"Q{number}", "chosen": "A", "rejected": "B"}


def test_every_configured_file_is_loaded_with_its_own_options(write_rows, tmp_path, monkeypatch):
    write_rows([pair(0), "{", pair(1)], "a.jsonl")
    write_rows([pair(2), pair(3)], "b.jsonl")
    monkeypatch.setenv("SOME_FOLDER", str(tmp_path))
    files = (
        DataFile(path="${SOME_FOLDER}/a.jsonl", on_error="skip", source="first"),
        DataFile(path="${SOME_FOLDER}/b.jsonl", limit=1),
    )
    groups = load_files(files, tmp_path / "cache")
    assert [(group.id, group.source) for group in groups] == [
        ("first:1", "first"),
        ("first:3", "first"),
        ("b:1", "b"),
    ]
    assert (groups.report.rows, groups.report.groups) == (4, 3)


def test_a_relative_path_starts_at_the_working_directory(write_rows, tmp_path, monkeypatch):
    write_rows([pair(0)], "a.jsonl")
    monkeypatch.chdir(tmp_path)
    assert len(load_files((DataFile(path="a.jsonl"),), tmp_path / "cache")) == 1


def test_the_home_folder_is_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    assert expand("~/x.jsonl") == "/home/somebody/x.jsonl"
    assert expand("a/~x") == "a/~x"


def test_a_variable_that_is_not_set_is_named(monkeypatch):
    monkeypatch.delenv("NO_SUCH_FOLDER", raising=False)
    with pytest.raises(ConfigError, match="needs the environment variable NO_SUCH_FOLDER, which is not set"):
        expand("${NO_SUCH_FOLDER}/a.jsonl")


def test_no_files_are_an_error(tmp_path):
    with pytest.raises(DataError, match="empty"):
        load_files((), tmp_path)


@pytest.mark.parametrize("wrong", [{"format": "csv"}, {"limit": 0}, {"on_error": "warn"}, {"pth": "x"}, {"path": ""}])
def test_a_wrong_field_is_refused(wrong):
    with pytest.raises(pydantic.ValidationError):
        DataFile(**{"path": "x.jsonl", **wrong})
