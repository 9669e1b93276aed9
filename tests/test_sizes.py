"""The size check of ``make check`` sees what it should."""

from __future__ import annotations

import runpy
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
complaints = runpy.run_path(str(ROOT / ".ci" / "sizes.py"))["complaints"]


def test_every_file_and_function_of_plaudit_is_small_enough():
    assert complaints(ROOT / "src") == []


def test_a_long_file_a_long_function_and_an_empty_name_are_seen(tmp_path):
    (tmp_path / "long.py").write_text("x = 1\n" * 601)
    (tmp_path / "body.py").write_text("def f():\n" + "    x = 1\n" * 60)
    (tmp_path / "helpers").mkdir()
    (tmp_path / "helpers" / "fine.py").write_text("x = 1\n" * 400)
    found = complaints(tmp_path)
    assert [line.split(":")[0] for line in found] == ["body.py", "helpers/fine.py", "long.py"]
    assert "f has 61 lines; at most 60" in found[0]
    assert "601 lines; at most 600" in found[2]
