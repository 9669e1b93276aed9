"""Check the links between the pages of the repository.

Every link leads to a file that exists, and to a heading of it; and links lead from README.md to every page of docs.
"""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_FENCE = re.compile(r"^(```|~~~).*?^\1", re.DOTALL | re.MULTILINE)
_REPOSITORY = (
    "https://github.com/plaudit/plaudit/blob/main/",
    "https://raw.githubusercontent.com/plaudit/plaudit/main/",
)
_LINK = re.compile(r"\]\(([^)\s]+)(?:\s[^)]*)?\)|<(?:a|img)\b[^>]*\b(?:href|src)=\"([^\"]+)\"")


def pages(root: Path) -> list[Path]:
    """Return every page below ``root``: its own, and those of docs, recipes and examples."""
    folders = ("docs", "recipes", "examples", "benchmarks")
    return sorted([*root.glob("*.md"), *(page for folder in folders for page in root.glob(f"{folder}/**/*.md"))])


@cache
def anchors(page: Path) -> frozenset[str]:
    """Return the anchors that GitHub gives to the headings of a page, and those that it sets itself."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    seen, found = Counter[str](), set(re.findall(r"<a (?:id|name)=\"([^\"]+)\"", text))
    for heading in re.findall(r"^#{1,6}\s+(.+?)\s*#*$", text, re.MULTILINE):
        shown = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        anchor = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        found.add(f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor)
        seen[anchor] += 1
    return frozenset(found)


def links(page: Path) -> list[str]:
    """Return the links of a page that stay in the repository."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    found = (_local(link or source, page) for link, source in _LINK.findall(text))
    return [target for target in found if not re.match(r"[a-z][a-z+.-]*:", target)]


def _local(target: str, page: Path) -> str:
    """Return a link into this repository as one from ``page``: the README is also shown by package indexes."""
    of_ours = next((target.removeprefix(each) for each in _REPOSITORY if target.startswith(each)), None)
    return target if of_ours is None else os.path.relpath(ROOT / of_ours, page.parent)


def broken_links(page: Path) -> list[str]:
    """Return the links of a page that lead to no file, or to no heading of a page."""
    broken = []
    for target in links(page):
        name, _, anchor = target.partition("#")
        place = page.parent / name if name else page
        if not place.exists() or (anchor and place.suffix == ".md" and anchor not in anchors(place.resolve())):
            broken.append(target)
    return broken


def unreachable(root: Path) -> list[Path]:
    """Return the pages of docs that no chain of links from README.md leads to."""
    reached, waiting = set[Path](), [root / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md" or not page.exists():
            continue
        reached.add(page)
        places = (page.parent / target.partition("#")[0] for target in links(page))
        waiting += [(place / "README.md" if place.is_dir() else place).resolve() for place in places]
    return [page for page in pages(root) if page.is_relative_to(root / "docs") and page not in reached]


if __name__ == "__main__":
    found = [f"{page.relative_to(ROOT)}: {target}" for page in pages(ROOT) for target in broken_links(page)]
    found += [f"{page.relative_to(ROOT)}: no link leads there from README.md" for page in unreachable(ROOT)]
    print("\n".join(found) if found else f"links: {len(pages(ROOT))} pages, every link leads somewhere")
    sys.exit(bool(found))
