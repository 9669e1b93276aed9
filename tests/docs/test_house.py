"""The walks of docs/explain/house.md name functions that stand where the page says."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "explain" / "house.md"


def named() -> list[tuple[str, str]]:
    return re.findall(r"`([a-z_/]+\.py)`\s+`([A-Za-z_.]+)`", PAGE.read_text(encoding="utf-8"))


def definitions(path: Path) -> set[str]:
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{each.name}" for each in node.body if isinstance(each, ast.FunctionDef)}
    return found


@pytest.mark.parametrize(("file", "name"), named())
def test_a_function_of_a_walk_stands_where_the_page_says(file, name):
    assert name in definitions(ROOT / "src" / "plaudit" / file)


def test_the_walks_are_read_and_a_wrong_name_would_be_seen():
    assert len(named()) > 25
    assert "no_such_function" not in definitions(ROOT / "src" / "plaudit" / "evaluation" / "run.py")


def test_every_room_is_on_the_page():
    inside = [path for path in (ROOT / "src" / "plaudit").iterdir() if path.suffix in ("", ".py")]
    rooms = {path.stem for path in inside if not path.name.startswith("__")}
    text = PAGE.read_text(encoding="utf-8")
    assert sorted(room for room in rooms if f"`{room}`" not in text) == []
