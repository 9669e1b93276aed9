"""A job in any number of shards, or of processes, writes the lines of an unsharded run; what is missing is named."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from plaudit.errors import ConfigError, DataError, ModelError, OutputError, PlauditError
from plaudit.jobs import Job, fill, merge, run_local, shards
from plaudit.journal import Journal

SQUARES = '''
import os, time
from pathlib import Path
from plaudit.errors import DataError
from plaudit.journal import Header

WINDOW = 4


class Squares:
    """Squares of the numbers below ``total``, each with its place in its window: lines depend on whole windows."""

    window = WINDOW

    def __init__(self, total, name="squares", die_at=None, fail_at=None, pause=0.0, short=False):
        self.total, self.die_at, self.fail_at, self.pause, self.short = total, die_at, fail_at, pause, short
        self.header = Header(journal="squares", identity={"name": name}, data=str(total))
        self.found = self.made = 0

    def rows(self, first, last):
        return range(first, last)

    def lines(self, rows):
        for place, row in enumerate(rows):
            if row == self.die_at and not Path("revived").exists():
                os._exit(7)
            if row == self.fail_at:
                raise DataError(f"row {row} is odd in {os.environ.get('PLACE')}")
            time.sleep(self.pause)
            self.made += 1
            if not (self.short and place == 1):
                yield f"{row * row} {place % WINDOW}"

    def resumed(self, row, line, place):
        if not line.startswith(f"{row * row} ".encode()):
            raise DataError(f"{place}: not the line of row {row}")
        self.found += 1

    def summary(self):
        return {"made": self.made, "found": self.found}


def setup(**arguments):
    return Squares(**arguments)
'''


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "squares_job.py").write_text(SQUARES)
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    monkeypatch.delitem(sys.modules, "squares_job", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def job(total=30, **arguments) -> Job:
    return Job("squares_job:setup", {"total": total, **arguments})


def run_sharded(output: Path, count: int, order=None, **arguments) -> None:
    worker = job(**arguments).worker()
    parts = shards(worker.total, count, window=worker.window)
    for part in order or parts:
        with part.journal(output, worker.header, worker.window) as journal:
            fill(journal, worker, part)
    with contextlib.ExitStack() as stack:
        merge(
            [(part, stack.enter_context(part.journal(output, worker.header, worker.window))) for part in parts], output
        )


@pytest.mark.parametrize(("total", "count", "window"), [(30, 1, 4), (30, 3, 4), (30, 9, 4), (0, 2, 4), (7, 3, 1)])
def test_shards_are_whole_windows_that_cover_all_rows_in_order(total, count, window):
    parts = shards(total, count, window=window)
    assert [row for part in parts for row in range(part.first, part.last)] == list(range(total))
    assert [(part.number, part.count) for part in parts] == [(number, count) for number in range(count)]
    assert all(part.first % window == 0 for part in parts if len(part))
    whole = total // window
    assert max(map(len, parts)) <= window * (whole // count + 1)


def test_any_number_of_shards_in_any_order_writes_the_bytes_of_one(tmp_path):
    run_sharded(tmp_path / "whole", 1)
    assert (tmp_path / "whole").read_text().splitlines()[5] == "25 1"
    for count in (2, 3, 8, 11):
        output = tmp_path / f"{count}"
        run_sharded(output, count, order=shards(30, count, window=4)[::-1])
        assert output.read_bytes() == (tmp_path / "whole").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["11", "2", "3", "8", "modules", "whole"]


def test_a_shard_that_is_missing_or_unfinished_is_named_and_nothing_is_written(tmp_path):
    worker, output = job().worker(), tmp_path / "out"
    parts = shards(30, 3, window=4)
    with parts[0].journal(output, worker.header, 4) as journal:
        fill(journal, worker, parts[0])
    with parts[1].journal(output, worker.header, 4) as journal:
        journal.resume()
        journal.append("64 0")
    with contextlib.ExitStack() as stack:
        open_ones = [(part, stack.enter_context(part.journal(output, worker.header, 4))) for part in parts]
        with pytest.raises(DataError, match=r"not finished: 1/3 \(0 of 12 lines\), 2/3 \(0 of 10 lines\)"):
            merge(open_ones, output)
    assert not output.exists()


def test_a_shard_of_another_job_is_not_merged(tmp_path):
    worker, other = job().worker(), job(name="other").worker()
    parts = shards(30, 2, window=4)
    for part, each in zip(parts, (worker, other), strict=True):
        with part.journal(tmp_path / "out", each.header, 4) as journal:
            fill(journal, each, part)
    with contextlib.ExitStack() as stack:
        open_ones = [(part, stack.enter_context(part.journal(tmp_path / "out", worker.header, 4))) for part in parts]
        with pytest.raises(ConfigError, match="name other there and squares here"):
            merge(open_ones, tmp_path / "out")


def test_a_worker_that_gives_too_few_lines_is_an_error(tmp_path):
    with pytest.raises(ModelError, match="gave 29 lines for 30 rows"):
        run_sharded(tmp_path / "out", 1, short=True)


def test_a_job_that_cannot_be_imported_is_named():
    for setup in ("squares_job:nothing", "no_such_module:setup"):
        with pytest.raises(ConfigError, match=f"the job '{setup}' cannot be imported"):
            Job(setup).worker()


def test_workers_write_the_bytes_of_one_and_report_what_they_did(tmp_path):
    run_sharded(tmp_path / "whole", 1)
    seen = []
    found = run_local(job(), tmp_path / "out", workers=3, progress=lambda done, total: seen.append((done, total)))
    assert (tmp_path / "out").read_bytes() == (tmp_path / "whole").read_bytes()
    assert (found.total, found.resumed, [each["made"] for each in found.summaries]) == (30, 0, [8, 12, 10])
    assert seen[-1] == (30, 30)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["modules", "out", "whole"]
    with pytest.raises(ConfigError, match="workers is 0"):
        run_local(job(), tmp_path / "out", workers=0)


def test_a_worker_that_dies_or_fails_ends_the_job_and_the_same_call_goes_on(tmp_path):
    run_sharded(tmp_path / "whole", 1)
    arguments = {"die_at": 17}
    with pytest.raises(PlauditError, match=r"worker 1 of 2 ended with exit code 7; its lines so far are kept"):
        run_local(job(**arguments), tmp_path / "out", workers=2)
    assert not (tmp_path / "out").exists()
    (tmp_path / "revived").touch()
    found = run_local(job(**arguments), tmp_path / "out", workers=2)
    assert found.summaries[1]["found"] == found.resumed - found.summaries[0]["found"]
    assert (tmp_path / "out").read_bytes() == (tmp_path / "whole").read_bytes()
    with pytest.raises(DataError, match="row 20 is odd in here"):
        run_local(job(fail_at=20), tmp_path / "other", workers=2, environments=[{"PLACE": "there"}, {"PLACE": "here"}])


def test_two_jobs_on_one_output_exclude_each_other(tmp_path):
    worker = job().worker()
    part = shards(30, 2, window=4)[1]
    with (
        part.journal(tmp_path / "out", worker.header, 4),
        pytest.raises(OutputError, match=f"process {os.getpid()} on .* is writing it"),
    ):
        run_local(job(), tmp_path / "out", workers=2)


KILLED = """
import sys
from pathlib import Path
from plaudit.jobs import Job
from plaudit.jobs import run_local
if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parent))
    run_local(Job("squares_job:setup", {"total": 30, "pause": 0.1}), Path("out"), workers=2)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_parent_takes_its_workers_along_and_their_lines_stay(tmp_path, how):
    (tmp_path / "modules" / "main.py").write_text(KILLED)
    process = subprocess.Popen([sys.executable, str(tmp_path / "modules" / "main.py")], stderr=subprocess.PIPE)
    partials = [tmp_path / f"out.{number}-of-2.partial" for number in range(2)]
    deadline = time.monotonic() + 60
    while not all(path.exists() and path.read_bytes().count(b"\n") > 5 for path in partials):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(how)
    process.communicate()
    while True:
        # the workers end at the next thing that they tell
        try:
            for path in partials:
                with Journal(path, job(pause=0.1).worker().header):
                    pass
            break
        except OutputError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    found = run_local(job(pause=0.0), tmp_path / "out", workers=2)
    assert found.resumed >= 8
    run_sharded(tmp_path / "whole", 1)
    assert (tmp_path / "out").read_bytes() == (tmp_path / "whole").read_bytes()
