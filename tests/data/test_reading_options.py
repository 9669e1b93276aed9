"""Reading options: one set, given as a value, as keywords or by a config; and formats of a user's own."""

from __future__ import annotations

import sys

import pytest

from plaudit.config import load_config
from plaudit.data.reading.options import DataFile, ReadingOptions, reading_options
from plaudit.data.reading.read import load_files, read_groups
from plaudit.data.reading.sources.formats import FORMATS, detect_format, format_named
from plaudit.errors import ConfigError, DataError, UnknownNameError

ROWS = [{"ask": f"Q{number}", "good": "yes", "bad": "no"} for number in range(3)]
MODULE = """
from plaudit import Group, Message, Preference
from plaudit.data.reading.sources.declared import PairFormat

def read(row, options):
    return Group((Message("user", row["ask"]),), (row["good"], row["bad"]), (Preference(0, 1),))

PAIRS = PairFormat(name="pairs", prompt="ask", responses=("good", "bad"))
NOTHING = 3
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Return the file of a module that can be imported as ``own_rows``."""
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "own_rows.py"
    path.write_text(MODULE, encoding="utf-8")
    format_named.cache_clear()
    yield path
    sys.modules.pop("own_rows", None)
    format_named.cache_clear()


def test_options_as_a_value_and_as_keywords_read_the_same(write_rows, tmp_path):
    path = write_rows([{"prompt": "Q", "chosen": "a", "rejected": "b"}, {"prompt": "R", "chosen": "a"}], "pairs.jsonl")
    options = ReadingOptions(format="trl", on_error="skip", source="mine")
    as_value = read_groups(path, options, cache_dir=tmp_path)
    as_keywords = read_groups(path, format="trl", on_error="skip", source="mine", cache_dir=tmp_path)
    assert list(as_value) == list(as_keywords)
    assert as_value[0].source == "mine"
    other = read_groups(path, options, source="theirs", cache_dir=tmp_path)
    assert (other[0].source, other.report.dropped) == ("theirs", {"malformed rejected": 1})


def test_a_configured_file_holds_every_option_and_its_path_first():
    assert set(DataFile.model_fields) == {"path", *ReadingOptions.model_fields}
    assert next(iter(DataFile(path="x.jsonl").model_dump())) == "path"


def test_a_keyword_that_is_no_option_is_answered_with_the_closest(write_rows):
    with pytest.raises(TypeError, match="no reading option 'formt'; did you mean 'format'"):
        read_groups(write_rows([]), formt="trl")


@pytest.mark.parametrize(
    ("wrong", "error", "says"),
    [
        ({"split": 3}, DataError, "split is 3; it must be a valid string"),
        ({"limit": "many"}, DataError, "limit is 'many'; it must be a valid integer"),
        ({"attributes": "helpfulness"}, DataError, "attributes is 'helpfulness'; it must be a valid tuple"),
        ({"format": "own rows:read"}, UnknownNameError, "unknown format 'own rows:read'; allowed: alpaca_farm"),
    ],
)
def test_a_wrong_option_names_itself(wrong, error, says):
    with pytest.raises(error, match=says):
        reading_options(**wrong)


def test_a_reader_of_your_own_is_read_by_its_import_path(module, write_rows, tmp_path):
    path = write_rows(ROWS, "own.jsonl")
    groups = read_groups(path, format="own_rows:read", cache_dir=tmp_path)
    assert [group.prompt[0].content for group in groups] == ["Q0", "Q1", "Q2"]
    assert (groups.report.format, groups.report.ignored_fields) == ("own_rows:read", ())


def test_a_declared_format_of_your_own_keeps_the_messages_of_a_reader(module, write_rows, tmp_path):
    path = write_rows([ROWS[0], {**ROWS[1], "note": 1}, {"ask": "Q"}], "own.jsonl")
    groups = read_groups(path, format="own_rows:PAIRS", on_error="skip", cache_dir=tmp_path)
    assert (len(groups), groups.report.dropped, groups.report.ignored_fields) == (2, {"malformed good": 1}, ("note",))
    with pytest.raises(DataError, match=r"own\.jsonl:3: good is missing; the row has: ask"):
        read_groups(path, format="own_rows:PAIRS", cache_dir=tmp_path)


def test_a_config_names_a_format_of_your_own(module, write_rows, tmp_path):
    path = write_rows(ROWS, "own.jsonl")
    config = tmp_path / "file.yaml"
    config.write_text(f"path: {path}\nformat: {{type: custom, path: 'own_rows:read'}}\n", encoding="utf-8")
    file = load_config(DataFile, config)
    assert file.format == "own_rows:read"
    assert len(load_files([file], tmp_path / "cache")) == 3


def test_rows_are_read_again_when_the_module_of_a_reader_changes(module, write_rows, tmp_path):
    path = write_rows(ROWS, "own.jsonl")
    before = read_groups(path, format="own_rows:read", cache_dir=tmp_path)
    module.write_text(MODULE.replace('row["ask"]', 'row["ask"] + "?"'), encoding="utf-8")
    sys.modules.pop("own_rows")
    format_named.cache_clear()
    after = read_groups(path, format="own_rows:read", cache_dir=tmp_path)
    assert [group.prompt[0].content for group in (before[0], after[0])] == ["Q0", "Q0?"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("own_rows:missing", "format is 'own_rows:missing', which cannot be imported"),
        ("no_such_module:read", "format is 'no_such_module:read', which cannot be imported"),
        ("own_rows:NOTHING", "'own_rows:NOTHING' is int; it must be a reader of"),
    ],
)
def test_what_cannot_be_imported_as_a_format_is_said_before_reading(module, name, says):
    with pytest.raises((ConfigError, DataError), match=says):
        read_groups("no such file.jsonl", format=name)


def test_a_reader_must_return_a_group(module, write_rows, tmp_path):
    module.write_text("def read(row, options):\n    return row\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"own\.jsonl:1: own_rows:read returned dict; a reader returns a plaudit.Group"):
        read_groups(write_rows(ROWS, "own.jsonl"), format="own_rows:read", cache_dir=tmp_path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("format: tlr", "format: found 'tlr'; did you mean 'trl'?"),
        ("format: {type: custom}", "a format of your own is {type: custom, path: module:function}"),
        ("format: {type: custom, path: own}", "path must be an import path, module:function"),
        ("format: attributes", "format attributes needs the names of its label columns"),
    ],
)
def test_a_wrong_format_in_a_config_is_named(tmp_path, text, says):
    config = tmp_path / "file.yaml"
    config.write_text(f"path: x.jsonl\n{text}\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config(DataFile, config)
    assert says in str(caught.value)


def test_a_format_that_a_row_shows_is_one_of_the_list():
    assert detect_format({"prompt": "Q", "chosen": "a", "rejected": "b"}) == "trl"
    assert FORMATS["trl"] is format_named("trl")
