"""Files and folders are written whole or not at all, and left-overs of killed processes go."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from plaudit.errors import OutputError
from plaudit.outputs import is_page, replacing, replacing_folder, temporary_beside


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def fail_to_replace(folder):
    with replacing_folder(folder) as new:
        (new / "new").write_text("")
        raise OSError(28, "No space left on device")


def test_left_overs_of_killed_processes_go_and_those_of_living_ones_stay(tmp_path):
    (tmp_path / ".out.12345678").write_text("half")
    (tmp_path / ".out.abcdefgh").mkdir()
    (tmp_path / ".out.mine").write_text("not ours")
    (tmp_path / ".output.12345678").write_text("of another output")
    with temporary_beside(tmp_path / "out") as first:
        assert names_in(tmp_path) == sorted([first.name, ".out.mine", ".output.12345678"])
        with replacing(tmp_path / "out") as second:
            assert first.exists()
            second.write(b"new")
        assert first.exists()
    assert names_in(tmp_path) == [".out.mine", ".output.12345678", "out"]


WRITES = """
import sys, time
from pathlib import Path
from plaudit.outputs import replacing
with replacing(Path(sys.argv[1])) as file:
    file.write(b"half")
    print("begun", flush=True)
    time.sleep(60)
"""


def test_a_killed_writer_leaves_the_old_file_and_its_half_goes_at_the_next_writing(tmp_path):
    path = tmp_path / "out"
    path.write_text("old")
    process = subprocess.Popen([sys.executable, "-c", WRITES, str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"begun\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert path.read_text() == "old"
    assert len(names_in(tmp_path)) == 2
    with replacing(path) as file:
        file.write(b"new")
    assert names_in(tmp_path) == ["out"]


def test_a_folder_is_replaced_whole_and_the_old_one_stands_where_the_new_one_fails(tmp_path):
    folder = tmp_path / "model"
    for content in ("1", "2"):
        with replacing_folder(folder) as new:
            (new / content).write_text(content)
        assert names_in(folder) == [content]
    with pytest.raises(OutputError, match=r"cannot write .*model: No space left"):
        fail_to_replace(folder)
    assert names_in(folder) == ["2"]
    assert names_in(tmp_path) == ["model"]
    assert os.stat(folder).st_mode & 0o777 == 0o755


@pytest.mark.parametrize("killed_after", [1, 2])
def test_a_replacing_that_was_killed_between_its_renames_is_put_right_by_the_next(tmp_path, killed_after):
    folder = tmp_path / "model"
    (tmp_path / ".old.model").mkdir()
    (tmp_path / ".old.model" / "1").write_text("1")
    if killed_after == 2:
        folder.mkdir()
        (folder / "2").write_text("2")
    with pytest.raises(OutputError):
        fail_to_replace(folder)
    assert names_in(tmp_path) == ["model"]
    assert names_in(folder) == [str(killed_after)]


def test_pages_of_plaudit_are_known_those_of_0_1_too(tmp_path):
    for name, head, known in [
        ("new", '<meta name="generator" content="plaudit">', True),
        ("old", "<title>A run · plaudit</title>", True),
        ("mine", "<title>plaudit</title>", False),
    ]:
        (tmp_path / name).write_text(f"<!doctype html>\n{head}")
        assert is_page(tmp_path / name) is known
