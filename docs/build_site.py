"""Build the documentation site with Zensical, strictly: a broken link ends the build.

    python docs/build_site.py [build]

The pages are staged in ``build/docs``, with those of the repository that stand outside ``docs`` and with links that
leave them turned into addresses of the repository, and the site is made in ``build/site``. The navigation follows the
folders of ``docs``, and in each the order in which ``docs/README.md`` names the pages: a new page that stands there
needs nothing else.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
REPOSITORY = "https://github.com/plaudit/plaudit/blob/main/"
FOLDERS = {"learn": "Learn", "how_to": "Do", "families": "Families", "reference": "Look up", "explain": "Understand"}
"""Folders of ``docs`` in the order of the navigation, with their titles."""
OUTSIDE = (*sorted(ROOT.glob("recipes/**/*.md")), ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md")
"""Pages of the repository that are on the site, too."""
_FENCE = re.compile(r"^(```|~~~).*?^\1[ \t]*$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"(\]\(|(?:href|src)=\")([^)\"\s#]+)")
_TITLE = re.compile(r"^# (.+)$", re.MULTILINE)


def address(path: Path) -> Path:
    """Return the place of a page of the repository among the staged pages."""
    return path.relative_to(DOCS) if path.is_relative_to(DOCS) else path.relative_to(ROOT)


def stage(build: Path) -> None:
    """Write the pages, the files that they show, and the settings of the site into ``build``."""
    import yaml

    folder = build / "docs"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(DOCS, folder, ignore=shutil.ignore_patterns("*.py", "__pycache__", "*.md"))
    for page in (*DOCS.glob("**/*.md"), *OUTSIDE):
        target = folder / address(page)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(staged(page), encoding="utf-8")
    added = {"docs_dir": "docs", "site_dir": "site", "nav": navigation()}
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    (build / "mkdocs.yml").write_text(settings + yaml.safe_dump(added, allow_unicode=True), encoding="utf-8")


def staged(page: Path) -> str:
    """Return the text of a page with the links that leave the site turned into addresses of the repository."""

    def turned(found: re.Match[str]) -> str:
        if re.match(r"[a-z][a-z+.-]*:", found[2]):
            return found[0]
        path = (page.parent / found[2]).resolve()
        path = path / "README.md" if (path / "README.md").exists() else path
        if path in OUTSIDE or path.is_relative_to(DOCS):
            return found[1] + os.path.relpath(address(path), address(page).parent)
        return f"{found[1]}{REPOSITORY}{path.relative_to(ROOT)}"

    text, parts, last = page.read_text(encoding="utf-8"), list[str](), 0
    for fence in _FENCE.finditer(text):
        parts += [_LINK.sub(turned, text[last : fence.start()]), fence[0]]
        last = fence.end()
    return "".join([*parts, _LINK.sub(turned, text[last:])])


def navigation() -> list[Any]:
    """Return the navigation: every page, under its heading."""
    listed = re.findall(r"\]\(([\w/]+\.md)\)", (DOCS / "README.md").read_text(encoding="utf-8"))
    pages = sorted(DOCS.glob("**/*.md"), key=lambda page: _place(listed, str(address(page))))
    of_folder = {title: [page for page in pages if page.parent == DOCS / name] for name, title in FOLDERS.items()}
    elsewhere = [page for page in pages if page.parent.name not in FOLDERS]
    project = [page for page in OUTSIDE if page.parent == ROOT]
    recipes = [page for page in OUTSIDE if page.parent != ROOT]
    sections = {**of_folder, "Recipes": recipes, "Project": project}
    return [_entry(page) for page in elsewhere] + [{name: list(map(_entry, found))} for name, found in sections.items()]


def _place(listed: list[str], page: str) -> tuple[int, str]:
    return (listed.index(page) if page in listed else -1 if page == "README.md" else len(listed)), page


def _entry(page: Path) -> dict[str, str]:
    title = _TITLE.search(page.read_text(encoding="utf-8"))
    return {title[1].replace("`", "") if title else page.stem: str(address(page))}


def build_site(build: Path) -> int:
    """Return the exit status of the generator, which makes ``site`` of what is staged in ``build``."""
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict", "-f", "mkdocs.yml"]
    return subprocess.run(command, cwd=build, check=False).returncode


if __name__ == "__main__":
    place = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build").resolve()
    stage(place)
    status = build_site(place)
    if not status:
        print(f"the site: {place / 'site' / 'index.html'}; with search: python -m http.server -d {place / 'site'}")
    sys.exit(status)
