"""Every link in the documentation leads to a file and a heading, and every command in it exists."""

from __future__ import annotations

import json
import re
import runpy
import shlex
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from plaudit.cli.main import EXAMPLES, app
from plaudit.data.reading.read import read_groups
from plaudit.data.reading.sources.formats import FORMATS

ROOT = Path(__file__).resolve().parents[2]
LINKS = runpy.run_path(str(ROOT / ".ci" / "links.py"))
PAGES, broken_links = LINKS["pages"](ROOT), LINKS["broken_links"]


def wrong_words(line: str) -> list[str]:
    """The verbs and options of a ``plaudit`` command that do not exist."""
    command = get_command(app)
    words = shlex.split(line, comments=True)[1:]
    while words and hasattr(command, "commands"):
        verb = words.pop(0)
        if verb not in command.commands:
            return [verb]
        command = command.commands[verb]
    options = [option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)]
    return [word for word in words if word.startswith("-") and word not in (*options, "--help", "-")]


def commands(page: Path) -> list[str]:
    blocks = re.findall(r"```(?:bash|sh|)\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    lines = [re.sub(r"^torchrun .*?-m (?=plaudit )", "", line) for line in lines]
    return [line for line in lines if line.startswith("plaudit ")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_and_every_command_of_a_page_is_real(page):
    assert broken_links(page) == []
    assert [(line, wrong) for line in commands(page) if (wrong := wrong_words(line))] == []


def test_a_broken_link_and_a_wrong_command_would_be_seen(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        '# One `part`, two\n## [Linked](x.md) -- 2.5\n## One part, two\n<a name="own"></a>\n'
        '[a](missing.md) [b](page.md#part) [c](https://example.org) [d](#own "title") [e](page.md#one-part-two)\n'
        '[f](#one-part-two-1) [g](#linked----25) [h](#one-part-two-2) <img src="gone.png"> ![i](page.md)\n'
        "```bash\n# comment\nplaudit train a --fast\n```\n[j](#comment)\n"
    )
    broken = ["missing.md", "page.md#part", "x.md", "#one-part-two-2", "gone.png", "#comment"]
    assert sorted(broken_links(page)) == sorted(broken)
    assert [wrong_words(line) for line in commands(page)] == [["--fast"]]
    assert wrong_words("plaudit data sho x") == ["sho"]


@pytest.mark.parametrize("verb", sorted(EXAMPLES))
def test_the_help_of_every_verb_ends_in_two_examples_that_are_commands(verb):
    shown = " ".join(CliRunner().invoke(app, [*verb.split(), "--help"]).output.split())
    assert len(EXAMPLES[verb]) == 2
    for line in EXAMPLES[verb]:
        assert line in shown
        command = line.split(" | ")[-1].split(" > ")[0]
        assert command == "plaudit --version" or command.startswith(f"plaudit {verb}")
        assert command == "plaudit --version" or wrong_words(command) == []


def test_every_page_is_in_the_list_of_pages():
    listed = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    pages = [str(page.relative_to(ROOT / "docs")) for page in ROOT.glob("docs/*/**/*.md")]
    assert [page for page in pages if f"({page})" not in listed] == []


def example_rows() -> list[tuple[str, str]]:
    page = (ROOT / "docs" / "reference" / "data_formats.md").read_text(encoding="utf-8")
    sections = re.findall(r"^## `(\w+)`.*?\n(.*?)(?=^## |\Z)", page, flags=re.DOTALL | re.MULTILINE)
    blocks = [(name, block) for name, body in sections for block in re.findall(r"```jsonl\n(.*?)```", body, re.DOTALL)]
    return [(name, line) for name, block in blocks for line in block.splitlines()]


@pytest.mark.parametrize(("format", "line"), example_rows())
def test_every_example_row_is_recognised_as_its_format_and_read(format, line, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(line + "\n", encoding="utf-8")
    named = {"format": format, "attributes": [*json.loads(line)][1:]} if format == "attributes" else {}
    groups = read_groups(path, cache_dir=tmp_path / "cache", **named)
    assert groups.report.format == format
    assert (groups.report.rows, groups.report.groups, groups.report.ignored_fields) == (1, 1, ())


def test_every_format_has_an_example():
    assert {name for name, _ in example_rows()} == set(FORMATS)
