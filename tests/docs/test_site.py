"""The documentation site: every page in the navigation, links that leave it, and a strict build."""

from __future__ import annotations

import importlib.util
import json
import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).resolve().parents[2]
SITE = runpy.run_path(str(ROOT / "docs" / "build_site.py"))
LINKS = runpy.run_path(str(ROOT / ".ci" / "links.py"))
PAGES = sorted(str(page.relative_to(ROOT / "docs")) for page in ROOT.glob("docs/**/*.md"))

needs_generator = pytest.mark.skipif(
    importlib.util.find_spec("zensical") is None, reason="the extra 'docs' (zensical) is not installed"
)


def entries(part: list) -> Iterator[str]:
    for entry in part:
        ((_, found),) = entry.items()
        if isinstance(found, str):
            yield found
        else:
            yield from entries(found)


def test_every_page_of_docs_stands_once_in_the_navigation():
    found = list(entries(SITE["navigation"]()))
    assert found[0] == "README.md"
    assert sorted(page for page in found if page in PAGES) == PAGES
    assert {"recipes/README.md", "CONTRIBUTING.md", "CHANGELOG.md"} <= set(found)
    assert found.index("how_to/train.md") < found.index("how_to/score.md") < found.index("how_to/audit.md")


def test_links_that_leave_the_site_become_addresses_of_the_repository(tmp_path, monkeypatch):
    page = ROOT / "docs" / "how_to" / "page.md"
    text = (
        "[a](../../recipes/odin) [b](../../recipes/README.md#x) [c](train.md#y) [d](../../examples/your_own_head.py)\n"
        "[e](https://example.org/z) [f](#here)\n```python\nx[0](../../examples)\n```\n[g](../README.md)\n"
    )
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: text)
    assert SITE["staged"](page) == (
        "[a](../recipes/odin/README.md) [b](../recipes/README.md#x) [c](train.md#y) "
        f"[d]({SITE['REPOSITORY']}examples/your_own_head.py)\n"
        "[e](https://example.org/z) [f](#here)\n```python\nx[0](../../examples)\n```\n[g](../README.md)\n"
    )


def test_a_page_that_no_link_leads_to_is_named(tmp_path):
    folder = tmp_path / "docs"
    folder.mkdir()
    (tmp_path / "README.md").write_text("[docs](docs)")
    (folder / "README.md").write_text("[one](one.md#x)")
    (folder / "one.md").write_text("[two](two.md)")
    (folder / "two.md").write_text("# Two")
    (folder / "lost.md").write_text("[one](one.md)")
    assert LINKS["unreachable"](tmp_path) == [folder / "lost.md"]
    assert LINKS["unreachable"](ROOT) == []


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    build = tmp_path_factory.mktemp("build")
    SITE["stage"](build)
    assert SITE["build_site"](build) == 0
    return build


@needs_generator
def test_every_page_is_built_in_the_index_of_search_and_linked_from_the_first(built: Path):
    site = built / "site"
    names = [re.sub(r"(README|(\w+))\.md$", lambda found: f"{found[2] or 'index'}.html", page) for page in PAGES]
    assert [name for name in names if not (site / name).exists()] == []
    first = (site / "index.html").read_text(encoding="utf-8")
    linked = {target.removeprefix("./") for target in re.findall(r'href="([^"#]+)', first)}
    assert [name for name in names if name not in linked | {"index.html"}] == []
    searched = (site / "search.json").read_text(encoding="utf-8")
    assert json.loads(searched)["items"]
    assert "Plackett–Luce" in searched


@needs_generator
def test_no_link_of_the_site_is_broken_and_no_page_loads_from_elsewhere(built: Path):
    site = built / "site"
    pages = {page: page.read_text(encoding="utf-8") for page in site.rglob("*.html") if page.name != "404.html"}
    anchors = {page: set(re.findall(r'\bid="([^"]+)"', text)) for page, text in pages.items()}
    broken = []
    for page, text in pages.items():
        assert re.findall(r'<(?:script|img|link|iframe)[^>]* (?:src|href)="https?:[^"]*"', text) == []
        for target in re.findall(r'<a\b[^>]*\bhref="([^"]+)"', text):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = unquote(target).partition("#")
            place = (page.parent / name).resolve() if name else page
            place = place / "index.html" if place.is_dir() else place
            if not place.exists() or (anchor and place in anchors and anchor not in anchors[place]):
                broken.append(f"{page.relative_to(site)}: {target}")
    assert broken == []


@needs_generator
def test_a_broken_link_ends_the_build(built: Path, tmp_path: Path):
    SITE["stage"](tmp_path)
    page = tmp_path / "docs" / "how_to" / "train.md"
    page.write_text(page.read_text(encoding="utf-8") + "\n[nowhere](missing.md)\n", encoding="utf-8")
    assert SITE["build_site"](tmp_path) != 0
