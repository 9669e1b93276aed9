"""A journal is locked, resumed at a whole window whatever was torn, and commits its files together."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from plaudit import journal as journals
from plaudit.errors import ConfigError, DataError, OutputError
from plaudit.journal import Header, Journal, check_output, partial_path

HEADER = Header(
    journal="numbers",
    identity={"model": "m", "recipe_hash": "r", "part": 0},
    settings={"length": {"max": 256}},
    data="d",
)


def texts(journal: Journal) -> list[str]:
    """Return the lines on file, matched with the numbers from 0."""
    found = list(journal.matched(iter(range(10**6)), bytes))
    assert [number for number, _, _ in found] == list(range(len(found)))
    return [line.decode().rstrip("\n") for _, line, _ in found]


def begun(path: Path, lines: int, **options) -> bytes:
    """Leave so many lines at ``path``, as a killed run does, and return the file."""
    with Journal(path, HEADER, **options) as journal:
        journal.resume()
        for number in range(lines):
            journal.append(f'{{"line": {number}}}')
    return path.read_bytes()


# ------------------------------------------------------------------------------------------------------ resuming


def test_lines_are_found_again_in_order_with_their_places_and_more_follow(tmp_path):
    path = tmp_path / "deep" / "out.partial"
    begun(path, 3)
    with Journal(path, HEADER) as journal:
        assert journal.resume() == 3
        subjects = iter("abcde")
        found = list(journal.matched(subjects, bytes))
        assert [(subject, place) for subject, _, place in found] == [
            (letter, f"{path}:{number}") for number, letter in enumerate("abc", start=2)
        ]
        assert list(subjects) == ["d", "e"]
        journal.append('{"line": 3}')
    with Journal(path, HEADER) as journal:
        journal.resume()
        assert texts(journal) == [f'{{"line": {number}}}' for number in range(4)]


def test_nothing_is_on_file_before_the_first_line(tmp_path):
    with Journal(tmp_path / "out", HEADER) as journal:
        assert journal.resume() == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("lines", "total", "kept"), [(2, None, 0), (3, None, 3), (5, 7, 3), (7, 7, 7), (7, 8, 6)])
def test_work_goes_on_at_the_end_of_a_whole_window(tmp_path, lines, total, kept):
    path = tmp_path / "out"
    begun(path, lines)
    with Journal(path, HEADER, window=3) as journal:
        assert journal.resume(total=total) == kept
        assert len(texts(journal)) == kept
    assert path.read_bytes().count(b"\n") == kept + 1


def test_a_file_torn_at_any_byte_of_its_last_window_keeps_the_windows_before_it(tmp_path):
    path = tmp_path / "out"
    whole = begun(path, 6)
    ends = [end + 1 for end, byte in enumerate(whole) if byte == ord("\n")]
    for size in range(ends[3], len(whole)):
        for tail in (b"", b"\0" * 9, b"\0\0\n"):
            path.write_bytes(whole[:size] + tail)
            with Journal(path, HEADER, window=3) as journal:
                assert journal.resume() == 3
            assert path.read_bytes() == whole[: ends[3]]


def test_a_file_torn_in_its_header_begins_anew(tmp_path):
    path = tmp_path / "out"
    whole = begun(path, 2)
    header = whole.index(b"\n") + 1
    for size in range(0, header, 7):
        path.write_bytes(whole[:size])
        with Journal(path, HEADER) as journal:
            assert journal.resume() == 0
            journal.append('{"line": 0}')
        assert path.read_bytes().startswith(whole[:header])


def test_more_lines_than_items_are_of_other_data(tmp_path):
    path = tmp_path / "out"
    begun(path, 4)
    with Journal(path, HEADER) as journal:
        with pytest.raises(DataError, match="holds 4 lines, but the data has only 3 items; it is of other data"):
            journal.resume(total=3)
        journal.resume()
        with pytest.raises(DataError, match="holds 4 lines, but the data has only 2 items"):
            list(journal.matched(iter("ab"), bytes))


def test_a_line_that_cannot_be_parsed_is_named(tmp_path):
    path = tmp_path / "out"
    begun(path, 2)

    def parse(line: bytes) -> bytes:
        if b"1" in line:
            raise DataError("no such thing")
        return line

    with Journal(path, HEADER) as journal:
        journal.resume()
        with pytest.raises(DataError, match=r"out:3: no such thing; remove the file to start again"):
            list(journal.matched(iter("ab"), parse))


# ------------------------------------------------------------------------------------------------------- identity


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"identity": {**HEADER.identity, "model": "n"}}, "model m there and n here;"),
        ({"identity": {**HEADER.identity, "part": 1}}, "part 0 there and 1 here;"),
        ({"identity": {"model": "m", "part": 0}}, "recipe_hash r there and nothing here;"),
        ({"data": None}, "data d there and nothing here;"),
        ({"journal": "others"}, "journal numbers there and others here;"),
        (
            {"identity": {**HEADER.identity, "recipe_hash": "s"}, "settings": {"length": {"max": 512}}},
            "another run: length.max 256 there and 512 here;",
        ),
        ({"identity": {**HEADER.identity, "recipe_hash": "s"}, "settings": {}}, "recipe_hash r there and s here;"),
    ],
)
def test_work_of_another_identity_is_refused_naming_what_differs_and_kept(tmp_path, change, words):
    path = tmp_path / "out"
    before = begun(path, 2)
    with Journal(path, HEADER.model_copy(update=change)) as journal:
        with pytest.raises(ConfigError, match=words):
            journal.resume()
        assert path.read_bytes() == before
        assert journal.resume(discard=lambda found: found == HEADER) == 0
    assert not path.exists()


def test_settings_alone_do_not_make_another_run(tmp_path):
    begun(tmp_path / "out", 2)
    with Journal(tmp_path / "out", HEADER.model_copy(update={"settings": {"length": 1}})) as journal:
        assert journal.resume() == 2


def test_a_header_without_a_whole_line_stands_in_nobodys_way(tmp_path):
    path = tmp_path / "out"
    whole = begun(path, 1)
    path.write_bytes(whole[:-4])
    with Journal(path, HEADER.model_copy(update={"data": "other"})) as journal:
        assert journal.resume() == 0


@pytest.mark.parametrize("first", ['{"id": "a", "rewards": [1.0]}', '{"mine": 1}', "hello", '{"journal": "numbers"}'])
def test_a_file_without_a_header_is_refused_and_kept(tmp_path, first):
    path = tmp_path / "out"
    path.write_text(f"{first}\n")
    with (
        Journal(path, HEADER) as journal,
        pytest.raises(DataError, match=r"out:1: not the start of unfinished work of this version of plaudit"),
    ):
        journal.resume()
    assert path.read_text() == f"{first}\n"
    with Journal(path, HEADER) as journal:
        assert journal.resume(discard=lambda found: found is None) == 0
    assert not path.exists()


def test_an_output_that_cannot_be_written_is_refused_before_the_work(tmp_path):
    (tmp_path / "in").write_text("x")
    with pytest.raises(ConfigError, match="is the input; what it holds would be lost"):
        check_output(tmp_path / "in", source=tmp_path / "in", overwrite=True)
    with pytest.raises(ConfigError, match="exists; add --overwrite"):
        check_output(tmp_path / "in", source="other", overwrite=False)
    with pytest.raises(OutputError, match="it is a folder"):
        check_output(tmp_path, source="other", overwrite=True)
    check_output(tmp_path / "in", source="other", overwrite=True)


# ----------------------------------------------------------------------------------------------------------- lock

HOLD = """
import sys, time
from pathlib import Path
from plaudit.journal import Header, Journal
with Journal(Path(sys.argv[1]), Header(journal="numbers", identity={})) as journal:
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_naming_the_first_and_a_dead_one_is_taken_over(tmp_path):
    path = tmp_path / "out"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(OutputError, match=rf"cannot write {path}: process {holder.pid} on .*, since .*, is writing"),
            Journal(path, HEADER),
        ):
            pass
        assert holder.poll() is None
    finally:
        holder.kill()
        holder.communicate()
    assert (tmp_path / "out.lock").exists()
    with Journal(path, HEADER) as journal:
        journal.append("{}")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["out"]


def test_two_journals_of_one_process_exclude_each_other_too(tmp_path):
    with Journal(tmp_path / "out", HEADER), pytest.raises(OutputError, match=f"process {os.getpid()} "):
        Journal(tmp_path / "out", HEADER).__enter__()
    with Journal(tmp_path / "out", HEADER):
        pass


def test_a_file_system_without_locks_is_told_of(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(journals.fcntl, "flock", refuse)
    with pytest.warns(RuntimeWarning, match="without locks"), Journal(tmp_path / "out", HEADER) as journal:
        journal.append("{}")


# --------------------------------------------------------------------------------------------------------- commit


def committed(folder: Path, new: str, *, names=("items", "result"), gone=("old",)) -> None:
    with Journal(folder / "out.partial", HEADER) as journal, journal.commit() as files:
        for name in names:
            files.stage(folder / name).write_text(new)
        for name in gone:
            files.remove(folder / name)


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_files_are_replaced_together_and_the_unfinished_one_goes(tmp_path):
    begun(tmp_path / "out.partial", 2)
    for name in ("items", "result", "old"):
        (tmp_path / name).write_text("1")
    committed(tmp_path, "2")
    assert contents(tmp_path) == {"items": "2", "result": "2"}


def test_lines_without_the_header_are_the_output(tmp_path):
    path = partial_path(tmp_path / "out")
    begun(path, 2)
    with Journal(path, HEADER) as journal:
        journal.resume()
        journal.append('{"line": 2}')
        with journal.commit() as files:
            journal.copy_to(files.stage(tmp_path / "out"))
    assert contents(tmp_path) == {"out": '{"line": 0}\n{"line": 1}\n{"line": 2}\n'}


def test_the_unfinished_work_of_another_identity_outlives_a_commit(tmp_path):
    before = begun(tmp_path / "out.partial", 2)
    with Journal(tmp_path / "out.partial", HEADER.model_copy(update={"data": "e"})) as journal, journal.commit():
        pass
    assert (tmp_path / "out.partial").read_bytes() == before


def test_a_failure_while_files_are_written_leaves_all_as_they_were(tmp_path):
    before = begun(tmp_path / "out.partial", 2)
    (tmp_path / "result").write_text("1")

    def fail() -> None:
        with Journal(tmp_path / "out.partial", HEADER) as journal, journal.commit() as files:
            files.stage(tmp_path / "result").write_text("half")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        fail()
    assert (tmp_path / "out.partial").read_bytes() == before
    assert sorted(contents(tmp_path)) == ["out.partial", "result"]
    assert (tmp_path / "result").read_text() == "1"


COMMIT = """
import os, sys
from pathlib import Path
from plaudit import journal as journals
from plaudit.journal import Header, Journal
folder, left = Path(sys.argv[1]), int(sys.argv[2])
def dying(original):
    def change(*arguments, **options):
        global left
        if left == 0:
            os._exit(9)
        left -= 1
        return original(*arguments, **options)
    return change
with Journal(folder / "out.partial", Header.model_validate_json(sys.argv[3])) as journal, journal.commit() as files:
    for name in ("items", "result"):
        files.stage(folder / name).write_text("2")
    files.remove(folder / "old")
    journals.os.replace, Path.unlink = dying(os.replace), dying(Path.unlink)
"""


@pytest.mark.parametrize("stop", range(8))
def test_no_older_result_ever_stands_beside_newer_items(tmp_path, stop):
    """A process dies before each change in turn: one aside, two renames, two removals, the journal, the lock."""
    begun(tmp_path / "out.partial", 2)
    for name in ("items", "result", "old"):
        (tmp_path / name).write_text("1")
    command = [sys.executable, "-c", COMMIT, str(tmp_path), str(stop), HEADER.model_dump_json()]
    assert subprocess.run(command, check=False).returncode == (9 if stop < 7 else 0)
    found = contents(tmp_path)
    assert "result" not in found or found["result"] == found["items"]
    assert ("result" in found) == (stop == 0 or stop >= 3)
    assert ("out.partial" in found) == (stop < 6)
    committed(tmp_path, "3")
    assert contents(tmp_path) == {"items": "3", "result": "3"}


def test_what_a_killed_commit_left_is_cleaned(tmp_path):
    for name in (".new.items", "..new.items.abc123"):
        (tmp_path / name).write_text("half")
    committed(tmp_path, "2")
    assert sorted(contents(tmp_path)) == ["items", "result"]


# ------------------------------------------------------------------------------------------------------ disk, kills


def test_a_full_disk_is_an_error_that_names_the_file_and_leaves_whole_lines(tmp_path, monkeypatch):
    path = tmp_path / "out"
    begun(path, 2)
    original = journals.io.FileIO

    class Full(original):
        """Writes a few bytes, then none."""

        def write(self, data):
            if len(data) < 9:
                raise OSError(28, "No space left on device")
            return super().write(bytes(data)[:5])

    with Journal(path, HEADER) as journal:
        journal.resume()
        monkeypatch.setattr(journals.io, "FileIO", Full)
        with pytest.raises(OutputError, match=f"cannot write {path}: No space left on device"):
            journal.append('{"line": 2}')
        monkeypatch.setattr(journals.io, "FileIO", original)
    with Journal(path, HEADER) as journal:
        assert journal.resume() == 2
        assert len(texts(journal)) == 2


def test_lines_are_put_on_the_disk_every_few_seconds_and_at_the_end(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(journals.os, "fsync", lambda handle: synced.append(handle))
    now = [0.0]
    monkeypatch.setattr(journals.time, "monotonic", lambda: now[0])
    with Journal(tmp_path / "out", HEADER, sync_seconds=5.0) as journal:
        for second in (0.0, 4.0, 5.0, 6.0, 9.0, 10.0):
            now[0] = second
            journal.append("{}")
        assert len(synced) == 2
    assert len(synced) == 3


WORK = """
import sys, time
from pathlib import Path
from plaudit.journal import Header, Journal
folder, lines, pause = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
with Journal(folder / "out.partial", Header(journal="numbers", identity={"a": 1}), window=4) as journal:
    done = journal.resume(total=lines)
    remaining = iter(range(lines))
    for number, line, _ in journal.matched(remaining, bytes):
        assert int(line) == number * number
    print("ready", flush=True)
    for number in remaining:
        journal.append(str(number * number))
        time.sleep(pause)
    with journal.commit() as files:
        journal.copy_to(files.stage(folder / "out"))
        last = files.stage(folder / "last")
        last.write_text("whole")
"""


def killed_again_and_again(folder: Path, seed: int, kills: int) -> None:
    draws = random.Random(seed)
    command = [sys.executable, "-c", WORK, str(folder), "300", "0.0005"]
    for _ in range(kills):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(draws.uniform(0.0, 0.25))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if (folder / "last").exists():
            assert (folder / "out").exists()
            break
    last = subprocess.run(command, capture_output=True, text=True, check=False)
    assert last.returncode == 0, last.stderr
    assert (folder / "out").read_text() == "".join(f"{number * number}\n" for number in range(300))
    assert sorted(each.name for each in folder.iterdir()) == ["last", "out"]


def test_a_process_killed_at_random_writes_what_an_unbroken_one_does(tmp_path):
    killed_again_and_again(tmp_path, 0, 3)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 25))
def test_processes_killed_at_random_write_what_an_unbroken_one_does(tmp_path, seed):
    killed_again_and_again(tmp_path, seed, 12)


@pytest.mark.parametrize(
    ("failing_at", "items", "result"),
    [([".old.result", "items"], "1", "1"), ([".old.result", "items", "result"], "2", None)],
)
def test_a_result_that_cannot_be_replaced_is_still_there_unless_items_are_new(
    tmp_path, monkeypatch, failing_at, items, result
):
    begun(tmp_path / "out.partial", 2)
    for name in ("items", "result"):
        (tmp_path / name).write_text("1")
    (tmp_path / "old").mkdir()  # what cannot be removed is no reason to lose a result
    rename, asked = os.replace, []

    def failing(source, target):
        asked.append(Path(target).name)
        if asked == failing_at:
            raise PermissionError(13, "Permission denied")
        rename(source, target)

    monkeypatch.setattr(journals.os, "replace", failing)
    with pytest.raises(OutputError):
        committed(tmp_path, "2")
    found = tmp_path / "result"
    assert (tmp_path / "items").read_text() == items
    assert (found.read_text() if found.exists() else None) == result
    monkeypatch.undo()
    committed(tmp_path, "3")
    assert ((tmp_path / "items").read_text(), (tmp_path / "result").read_text()) == ("3", "3")
