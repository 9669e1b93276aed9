"""Every format keeps the contract of a reader, and the check of the contract sees a reader that does not."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from plaudit.data.reading.sources.formats import FORMATS
from plaudit.testing.readers import check_reader

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reference" / "data_formats.md"

NEEDED = {
    "shp": ("history", "human_ref_A", "human_ref_B", "labels"),
    "helpsteer": ("prompt", "response"),
    "ultrafeedback": ("instruction", "completions"),
    "distilabel_orca": ("input", "chosen", "rejected", "generations", "status"),
    "safe_rlhf": ("prompt", "response_0", "response_1", "better_response_id", "safer_response_id"),
    "beavertails": ("prompt", "response", "category", "is_safe"),
    "nectar": ("prompt", "answers"),
    "scored_pair": ("chosen", "rejected"),
    "offsetbias": ("instruction", "output_1", "output_2", "label"),
    "alpaca_farm": ("instruction", "output_1", "output_2", "preference"),
    "webgpt": ("question", "answer_0", "answer_1", "score_0", "score_1"),
    "summarize_pair": ("info", "summaries", "choice"),
    "summarize_axes": ("info", "summary"),
    "ultrainteract": ("trajectory", "chosen", "rejected"),
    "feedback_collection": ("orig_instruction", "orig_response", "orig_score"),
    "preference_collection": ("orig_instruction", "orig_response_A", "orig_response_B", "orig_preference"),
    "prm800k": ("question", "label"),
    "math_shepherd": ("input", "label"),
    "math_aps": ("question", "reasoning_steps"),
    "hh": ("chosen", "rejected"),
    "trl": ("chosen", "rejected"),
    "groups": ("prompt", "responses"),
    "stepwise": ("prompt", "labels"),
    "outcome": ("prompt",),
    "responses": ("prompt", "responses"),
    "attributes": ("messages",),
    "armorm": ("messages",),
    "helpsteer_pair": (),
    "ms_swift": ("messages",),
    "llama_factory": ("chosen", "rejected"),
    "openai": ("input", "preferred_output", "non_preferred_output"),
    "several_rejected": ("prompt", "chosen", "rejected"),
    "conversation": (),
    "rlhflow_pair": (),
    "rlhflow_process": (),
}
OPTIONS = {"attributes": {"attributes": ("helpsteer-verbosity", "prometheus-score")}}

READER = """
from plaudit import Group, Message, Preference
from plaudit.errors import DataError

def read(row, options):
    for name in ("ask", "good", "bad"):
        if not isinstance(row.get(name), str):
            raise DataError(f"{name} is {row.get(name)!r}; it must be a string")
    return Group((Message("user", row["ask"]),), (row["good"], row["bad"]), (Preference(0, 1),))
"""
OWN_ROWS = [{"ask": f"Q{number}", "good": "yes", "bad": "no"} for number in range(3)]


def rows_of(format):
    section = re.search(
        rf"^## `{format}`.*?\n(.*?)(?=^## |\Z)", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    blocks = re.findall(r"```jsonl\n(.*?)```", section[1], re.DOTALL)
    rows = [json.loads(line) for block in blocks for line in block.splitlines()]
    return rows if len(rows) > 1 else [*rows, {name: value for name, value in rows[0].items() if name != "id"}]


@pytest.mark.parametrize("format", FORMATS)
def test_a_format_keeps_the_contract(format):
    rows = rows_of(format)
    check_reader(format, rows, needed=NEEDED[format], **OPTIONS.get(format, {}))


@pytest.fixture
def reader(tmp_path, monkeypatch):
    """Return a function that writes a reader of its own and returns its import path."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(text, name):
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
        return f"{name}:read"

    yield write
    for name in [name for name in sys.modules if name.startswith("own_reader")]:
        del sys.modules[name]


def test_a_reader_of_your_own_keeps_it_by_its_import_path(reader):
    check_reader(reader(READER, "own_reader_sound"), OWN_ROWS, needed=("ask", "good", "bad"))


BROKEN = {
    "other_error": (("if not isinstance(row.get(name), str):", "if not row[name].strip():"), "raises AttributeError"),
    "default": (('"bad"):', "):"), "bad of the wrong type is refused without naming|bad missing raises KeyError"),
    "silent": (
        ('raise DataError(f"{name} is {row.get(name)!r}; it must be a string")', 'row = {**row, name: "none"}'),
        "is read in silence",
    ),
    "unnamed": (('f"{name} is {row.get(name)!r}; it must be a string"', '"bad row"'), "without naming the field"),
    "mutates": (("    return Group(", '    row["ask"] += "!"\n    return Group('), "is changed by reading it"),
    "order": (
        ("    return Group(", '    calls.append(1)\n    row = {**row, "good": f"{len(calls)}"}\n    return Group('),
        "another group the second time",
    ),
    "no_group": (("return Group(", "return dict("), "is not read|raises TypeError"),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_reader_is_found_out(reader, broken):
    (old, new), says = BROKEN[broken]
    assert old in READER
    path = reader("calls = []\n" + READER.replace(old, new), f"own_reader_{broken}")
    with pytest.raises(AssertionError, match=says):
        check_reader(path, OWN_ROWS, needed=("ask", "good", "bad"))


def test_the_format_of_the_page_is_declared_and_checked_as_it_says(reader):
    section = PAGE.read_text(encoding="utf-8").split("## A format of your own\n")[1].split("\n## ")[0]
    declared, checked = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    reader(declared, "own_reader_page")
    exec(checked.replace("own_rows", "own_reader_page"), {})
