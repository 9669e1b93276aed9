"""Check that every link between the pages of the repository leads to a file that exists, and to a heading of it."""

from __future__ import annotations

import re
import sys
from collections import Counter
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_FENCE = re.compile(r"^(```|~~~).*?^\1", re.DOTALL | re.MULTILINE)
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


def broken_links(page: Path) -> list[str]:
    """Return the links of a page that lead to no file, or to no heading of a page."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    broken = []
    for target in (link or source for link, source in _LINK.findall(text)):
        if re.match(r"[a-z][a-z+.-]*:", target):
            continue
        name, _, anchor = target.partition("#")
        place = page.parent / name if name else page
        if not place.exists() or (anchor and place.suffix == ".md" and anchor not in anchors(place.resolve())):
            broken.append(target)
    return broken


if __name__ == "__main__":
    found = [f"{page.relative_to(ROOT)}: {target}" for page in pages(ROOT) for target in broken_links(page)]
    print("\n".join(found) if found else f"links: {len(pages(ROOT))} pages, every link leads somewhere")
    sys.exit(bool(found))
