"""The check that keeps files, functions, shelves and class names in bounds sees what it should."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[1] / ".ci" / "sizes.py"


def sizes():
    spec = importlib.util.spec_from_file_location("sizes", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["sizes"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_a_long_file_a_long_function_and_an_empty_name_are_seen(tmp_path):
    (tmp_path / "long.py").write_text("x = 1\n" * 601)
    (tmp_path / "body.py").write_text("def f():\n" + "    x = 1\n" * 60)
    (tmp_path / "helpers").mkdir()
    (tmp_path / "helpers" / "fine.py").write_text("x = 1\n" * 400)
    found = sizes().complaints(tmp_path)
    assert [line.split(":")[0] for line in found] == ["body.py", "helpers/fine.py", "long.py"]
    assert "f has 61 lines; at most 60" in found[0]
    assert "601 lines; at most 600" in found[2]


def test_a_full_shelf_and_a_class_that_stands_twice_are_seen(tmp_path):
    for folder in ("shelf", "benchmarks"):
        (tmp_path / folder).mkdir()
        for number in range(13):
            (tmp_path / folder / f"file_{number}.py").touch()
        (tmp_path / folder / "__init__.py").touch()
    (tmp_path / "one.py").write_text("class Part:\n    pass\n\nclass _Own:\n    pass\n")
    (tmp_path / "two.py").write_text("class Part:\n    pass\n\nclass _Own:\n    pass\n")
    assert sizes().complaints(tmp_path) == [
        "shelf: 13 files on one shelf; at most 12",
        "Part is a public class of one.py and two.py",
    ]


def test_the_ceilings_count_files_and_lines_that_hold_code(tmp_path):
    (tmp_path / "one.py").write_text(
        '"""Text.\n\nMore."""\n\n# a comment\nx = (\n    1,\n)\n\n\nclass A:\n    """A."""\n\n    y = 2  # b\n'
    )
    (tmp_path / "two.py").write_text("x = '''\nthree\nlines'''\n")
    check = sizes().complaints
    assert check(tmp_path, max_files=2, max_code_lines=8) == []
    assert check(tmp_path, max_files=1, max_code_lines=7) == ["2 files; at most 1", "8 lines of code; at most 7"]
