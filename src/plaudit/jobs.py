"""One job over shards: an importable setup makes a worker, which maps the rows of a shard to lines, in order.

A shard is a run of whole windows, so that a scorer that batches a window of rows together makes the same batches in any
number of shards: the merged output equals that of an unsharded run, digit for digit. ``run_local`` runs the shards in
processes on this machine, one each, and merges their lines.
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Protocol, TypeVar

from plaudit.errors import ConfigError, DataError, ModelError, PlauditError
from plaudit.journal import Header, Journal, in_words, partial_path

_TELL_SECONDS = 0.2

Progress = Callable[[int, int], None]
"""Is told the rows done and all rows."""

Row = TypeVar("Row")


class Worker(Protocol[Row]):
    """Maps rows to lines of output: one line per row, in order."""

    @property
    def header(self) -> Header:
        """Identity of the whole job, without its shards."""
        ...

    @property
    def window(self) -> int:
        """Rows that are worked on together, from the first on."""
        ...

    @property
    def total(self) -> int:
        """Number of rows."""
        ...

    def rows(self, first: int, last: int) -> Iterable[Row]:
        """Return the rows from ``first`` to before ``last``."""
        ...

    def lines(self, rows: Iterable[Row]) -> Iterator[str]:
        """Yield one line for each row, reading ahead by no more than a bounded number of rows."""
        ...

    def resumed(self, row: Row, line: bytes, place: str) -> None:
        """Take note of a line that an earlier run wrote.

        Raises:
            DataError: naming ``place``, when it is not the line of ``row``.
        """
        ...

    def summary(self) -> dict[str, Any]:
        """Return, as JSON, the counts of this worker."""
        ...


@dataclass(frozen=True, slots=True)
class Job:
    """A job as other processes make it: ``setup`` is ``module:function`` and returns the worker."""

    setup: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of the function."""

    def worker(self) -> Worker[Any]:
        """Return a new worker.

        Raises:
            ConfigError: when ``setup`` cannot be imported.
        """
        module, _, name = self.setup.partition(":")
        try:
            setup = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise ConfigError(f"the job {self.setup!r} cannot be imported: {error}") from error
        return setup(**self.arguments)


@dataclass(frozen=True, slots=True)
class Shard:
    """Part ``number``, from 0, of ``count``: the rows from ``first`` to before ``last``."""

    number: int
    count: int
    first: int
    last: int

    def __len__(self) -> int:
        """Return the number of its rows."""
        return self.last - self.first

    def header(self, of: Header) -> Header:
        """Return the header of the lines of this shard, in a job of the header ``of``."""
        return of.model_copy(update={"identity": {**of.identity, "shard": f"{self.number}/{self.count}"}})

    def path(self, output: Path) -> Path:
        """Return where the unfinished lines of this shard stand, beside ``output``."""
        if self.count == 1:
            return partial_path(output)
        return partial_path(output.with_name(f"{output.name}.{self.number}-of-{self.count}"))

    def journal(self, output: Path, worker_header: Header, window: int) -> Journal:
        """Return the unfinished lines of this shard of ``output``."""
        return Journal(self.path(output), self.header(worker_header), window=window)


def shards(total: int, count: int, *, window: int = 1) -> list[Shard]:
    """Return ``count`` shards of nearly equal numbers of whole windows, in order; the last window may be short.

    Where there are fewer windows than shards, some shards are empty.

    Raises:
        ConfigError: when ``count`` is below 1.
    """
    if count < 1:
        raise ConfigError(f"the number of shards is {count}; it must be at least 1")
    windows = -(-total // window)
    ends = [min(total, windows * number // count * window) for number in range(count + 1)]
    return [Shard(number, count, ends[number], ends[number + 1]) for number in range(count)]


def check_shard(number: int, count: int) -> None:
    """Raise ConfigError where shard ``number`` of ``count`` does not exist."""
    if not 0 <= number < count:
        raise ConfigError(f"shard {number}/{count} does not exist; shards are numbered from 0")


def shard_of(worker: Worker[Any], number: int, count: int) -> Shard:
    """Return shard ``number``, from 0, of the ``count`` shards of the rows of ``worker``.

    Raises:
        ConfigError: when there is no such shard.
    """
    check_shard(number, count)
    return shards(worker.total, count, window=worker.window)[number]


def fill(
    journal: Journal, worker: Worker[Row], shard: Shard, progress: Progress | None = None, *, overwrite: bool = False
) -> int:
    """Append the lines of ``shard`` that are missing in ``journal``; return the number of lines an earlier run wrote.

    ``overwrite`` lets unfinished lines of another job go.

    Raises:
        ConfigError, DataError: when the journal is of another job or shard, see ``Journal.resume``.
        ModelError: when the worker gives fewer or more lines than there are rows.
        OutputError: when a line cannot be written.
    """
    done = kept = journal.resume(total=len(shard), discard=lambda found: overwrite)
    remaining = iter(worker.rows(shard.first, shard.last))
    for row, line, place in journal.matched(remaining, bytes):
        worker.resumed(row, line, place)
    if progress is not None:
        progress(done, len(shard))
    for line in worker.lines(remaining):
        journal.append(line)
        done += 1
        if progress is not None:
            progress(done, len(shard))
    if done != len(shard):
        raise ModelError(f"the worker gave {done} lines for {len(shard)} rows")
    return kept


def merge(journals: Sequence[tuple[Shard, Journal]], output: Path) -> None:
    """Write the lines of all shards to ``output`` in the order of the input, in one rename, and remove the journals.

    The journals are open, see ``Shard.journal``.

    Raises:
        ConfigError: when one of them is of another job or shard.
        DataError: naming the shards of which lines are missing.
        OutputError: when the output cannot be written.
    """
    missing = [
        f"{shard.number}/{shard.count} ({found} of {len(shard)} lines)"
        for shard, journal in journals
        if (found := journal.resume(total=len(shard))) < len(shard)
    ]
    if missing:
        raise DataError(f"{output}: these shards are not finished: {', '.join(missing)}; run them first")
    with journals[0][1].commit() as files:
        target = files.stage(output)
        for _, journal in journals:
            journal.copy_to(target)
    for _, journal in journals[1:]:
        journal.remove()


# ------------------------------------------------------------------------------------------ processes on this machine


@dataclass(frozen=True, slots=True)
class _Begun:
    """A worker is ready."""

    header: Header
    total: int
    window: int


@dataclass(frozen=True, slots=True)
class _Finished:
    """A shard is whole."""

    resumed: int
    summary: dict[str, Any]


_Message = _Begun | int | _Finished | Exception
"""Message of a worker: ready, number of rows done, shard complete, or the error that stopped it."""


@dataclass(frozen=True, slots=True)
class LocalRun:
    """Row counts of a finished job, and the summaries of its workers."""

    total: int
    """Rows."""
    resumed: int
    """Rows whose lines an earlier run wrote."""
    summaries: Sequence[dict[str, Any]]
    """The summary of each worker."""


def run_local(
    job: Job,
    output: Path,
    *,
    workers: int,
    progress: Progress | None = None,
    environments: Sequence[Mapping[str, str]] = (),
    overwrite: bool = False,
) -> LocalRun:
    """Write the lines of ``job`` to ``output``, made by ``workers`` processes; they equal those of one process.

    Each process has a journal of its own beside the output; the same call, with as many workers, goes on where a killed
    one stopped. ``environments`` are taken in turn: variables that a worker sets before its job is imported.
    ``overwrite`` lets unfinished lines of another job go.

    Raises:
        ConfigError: when ``workers`` is below 1, or a journal is of another job.
        PlauditError: the error that stopped a worker; when one was killed.
    """
    if workers < 1:
        raise ConfigError(f"workers is {workers}; it must be at least 1")
    context = multiprocessing.get_context("spawn")
    running: dict[Connection, tuple[int, BaseProcess]] = {}
    begun: dict[int, _Begun] = {}
    finished: dict[int, _Finished] = {}
    done = [0] * workers
    try:
        for number in range(workers):
            ours, theirs = context.Pipe(duplex=False)
            environment = dict(environments[number % len(environments)]) if environments else {}
            process = context.Process(target=_work, args=(job, output, number, workers, environment, theirs, overwrite))
            process.start()
            theirs.close()
            running[ours] = (number, process)
        while running:
            for pipe in wait(list(running)):
                assert isinstance(pipe, Connection)
                number, process = running[pipe]
                match _received(pipe):
                    case _Begun() as found:
                        begun[number] = found
                    case _Finished() as found:
                        finished[number] = found
                    case int(rows):
                        done[number] = rows
                        if progress is not None:
                            progress(sum(done), begun[number].total)
                    case Exception() as error:
                        raise error
                    case None:
                        process.join()
                        if number not in finished:
                            raise PlauditError(
                                f"worker {number} of {workers} ended with exit code {process.exitcode}; its lines so "
                                "far are kept, and the same command goes on from there"
                            )
                        del running[pipe]
    finally:
        _stop([process for _, process in running.values()])
    return _merged(output, begun, finished)


def _stop(processes: Sequence[BaseProcess]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        process.join()


def _received(pipe: Connection) -> _Message | None:
    """Return the next message of a worker, None where it has ended."""
    try:
        return pipe.recv()
    except EOFError:
        return None


def _work(
    job: Job, output: Path, number: int, count: int, environment: Mapping[str, str], pipe: Connection, overwrite: bool
) -> None:
    """Make the lines of one shard, in a process of its own."""
    os.environ.update(environment)
    told = time.monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal told
        if done == total or time.monotonic() - told >= _TELL_SECONDS:
            pipe.send(done)
            told = time.monotonic()

    # the parent ends its workers by it, and their journals are closed on the way
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        worker = job.worker()
        pipe.send(_Begun(worker.header, worker.total, worker.window))
        shard = shards(worker.total, count, window=worker.window)[number]
        with shard.journal(output, worker.header, worker.window) as journal:
            resumed = fill(journal, worker, shard, tell, overwrite=overwrite)
        pipe.send(_Finished(resumed, worker.summary()))
    except KeyboardInterrupt:
        return  # the parent was interrupted as well, and says so
    except Exception as error:
        error.add_note(traceback.format_exc())
        pipe.send(error)


def _merged(output: Path, begun: Mapping[int, _Begun], finished: Mapping[int, _Finished]) -> LocalRun:
    first = begun[0]
    for number, other in begun.items():
        if other != first:
            words = in_words(first.header.differences(other.header)) or "another number of rows"
            raise ConfigError(f"workers 0 and {number} do not do the same job: {words}")
    parts = shards(first.total, len(begun), window=first.window)
    with contextlib.ExitStack() as stack:
        merge([(each, stack.enter_context(each.journal(output, first.header, first.window))) for each in parts], output)
    return LocalRun(
        total=first.total,
        resumed=sum(each.resumed for each in finished.values()),
        summaries=[finished[number].summary for number in sorted(finished)],
    )
