"""Work that may be killed: its lines so far in a file of their own, locked, resumed at a whole window, then committed.

::

    header = Header(journal="rewards", identity={"model": model}, data=groups.fingerprint)
    with Journal(partial_path(output), header, window=256) as journal:
        journal.resume(total=len(groups))
        remaining = iter(groups)
        for group, rewards, _ in journal.matched(remaining, parse_rewards):
            count(rewards)
        for group in remaining:
            journal.append(score(group))
        with journal.commit() as files:
            journal.copy_to(files.stage(output))

The first line of the file is the header; one line of work follows for each item, in the order of the data. A file that
was begun with another header is refused, naming what differs. The files of an output replace their namesakes together
in ``commit``, and the unfinished file goes then.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import io
import itertools
import json
import os
import socket
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from plaudit.errors import ConfigError, DataError, OutputError
from plaudit.outputs import check_target
from plaudit.records import first_problem

SYNC_SECONDS = 5.0
"""Longest time for which appended lines are left to the operating system, which loses them when the power fails."""

Subject = TypeVar("Subject")
Value = TypeVar("Value")


class Header(BaseModel):
    """First line of an unfinished file: which work the lines below it belong to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    journal: str
    """Kind of work, in a word: rewards, evaluation."""
    version: Literal[1] = 1
    """Version of the layout of such a file."""
    identity: dict[str, JsonValue]
    """Everything that fixes the lines: names and hashes of the model, the part of the data, options."""
    settings: dict[str, JsonValue] = Field(default_factory=dict)
    """The settings behind a hash in ``identity``, to name differences; they take no part in the comparison."""
    data: str | None = None
    """Fingerprint of the data."""

    def is_of(self, other: Header) -> bool:
        """Return whether the lines below one are those of the other."""
        return not self.differences(other)

    def differences(self, other: Header) -> dict[str, tuple[JsonValue, JsonValue]]:
        """Return the fields in which this header and ``other`` differ: name → (value in this one, in the other)."""
        own = {"journal": self.journal, **self.identity, "data": self.data}
        return differing(own, {"journal": other.journal, **other.identity, "data": other.data})


def differing(
    first: Mapping[str, JsonValue], second: Mapping[str, JsonValue]
) -> dict[str, tuple[JsonValue, JsonValue]]:
    """Return name → (value in ``first``, value in ``second``) where these differ; nested names have dots."""
    one, other = dict(_flat(first)), dict(_flat(second))
    names = [name for name in {**one, **other} if one.get(name) != other.get(name)]
    return {name: (one.get(name), other.get(name)) for name in names}


def in_words(differences: Mapping[str, tuple[JsonValue, JsonValue]]) -> str:
    """Return the differences between stored and requested settings, as ``max_length 256 there and 512 here``."""
    return ", ".join(
        f"{name} {_short(there)} there and {_short(here)} here" for name, (there, here) in differences.items()
    )


def check_output(output: Path, *, source: str | Path, overwrite: bool) -> None:
    """Refuse, before hours of work, an output that could not be written after them.

    Raises:
        ConfigError: when ``output`` is ``source``, or is there and ``overwrite`` is not given.
        OutputError: when it is a folder or a device.
    """
    check_target(output)
    if output.exists() and Path(source).exists() and output.samefile(source):
        raise ConfigError(f"{output} is the input; what it holds would be lost: choose another file")
    check_new(output, overwrite=overwrite)


def check_new(output: Path, *, overwrite: bool) -> None:
    """Raise ConfigError where ``output`` is there and ``overwrite`` is not given.

    It is checked once more when the output is locked: another process may have written it meanwhile.
    """
    if output.exists() and not overwrite:
        raise ConfigError(f"{output} exists; add --overwrite, or choose another file")


def partial_path(output: Path) -> Path:
    """Return where the unfinished lines of ``output`` stand."""
    return output.with_name(f"{output.name}.partial")


class Journal:
    """The lines of one piece of unfinished work; a context manager, inside which no other process can open it."""

    def __init__(self, path: Path, header: Header, *, window: int = 1, sync_seconds: float = SYNC_SECONDS) -> None:
        """Stand for the unfinished file at ``path``; nothing is read or written before the block is entered.

        Work is resumed after a multiple of ``window`` lines, so that a scorer that batches so many items together makes
        the same batches as in an unbroken run.
        """
        self.path = path
        self.header = header
        self.window = window
        self.kept = 0
        self._sync_seconds = sync_seconds
        self._synced = 0.0
        self._lock = contextlib.ExitStack()
        self._file: io.FileIO | None = None

    def __enter__(self) -> Self:
        """Lock the file.

        Raises:
            OutputError: naming the holder, when another process has locked it; when the folder cannot be written.
        """
        self._lock.enter_context(locked(self.path))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Unlock the file; appended rows stay."""
        try:
            self._close()
        finally:
            self._lock.close()

    def resume(
        self, *, total: int | None = None, discard: Callable[[Header | None], bool] = lambda found: False
    ) -> int:
        """Return the number of lines on file, after cutting off those behind the last whole window.

        All lines stay where they are ``total``, the number of items. A file of another header, or of none, is refused;
        it is removed where it holds no whole line, or ``discard`` says of the header, or of None, that it may be.

        Raises:
            ConfigError: naming the differences, when the file was begun with another header.
            DataError: when it has no header of plaudit, or holds more lines than ``total``.
            OutputError: when it cannot be read or cut.
        """
        check_target(self.path)
        with _writing(self.path):
            try:
                found, start, lines = self._scan(total)
            except DataError:
                if not discard(None):
                    raise
                found, start, lines = None, 0, _Lines()
            if found is None or not found.is_of(self.header):
                if found is not None and lines.whole and not discard(found):
                    raise ConfigError(self._refusal(found))
                self.path.unlink(missing_ok=True)
                self.kept = 0
                return 0
            if total is not None and lines.whole > total:
                raise DataError(self._too_many(lines.whole, total))
            os.truncate(self.path, start + lines.size)
        self.kept = lines.kept
        return self.kept

    def matched(
        self, subjects: Iterator[Subject], parse: Callable[[bytes], Value]
    ) -> Iterator[tuple[Subject, Value, str]]:
        """Yield the next of ``subjects`` with each line on file, parsed, and the line's place; the others are left.

        Raises:
            DataError: naming file and line, when a line cannot be parsed or there is no subject for it.
        """
        for number, line in enumerate(self._kept_lines(), start=2):
            place = f"{self.path}:{number}"
            try:
                value = parse(line)
            except DataError as error:
                raise DataError(f"{place}: {error}; remove the file to start again") from None
            try:
                subject = next(subjects)
            except StopIteration:
                raise DataError(self._too_many(self.kept, number - 2)) from None
            yield subject, value, place

    def _kept_lines(self) -> Iterator[bytes]:
        if self.kept:
            with _writing(self.path), self.path.open("rb") as file:
                file.readline()
                yield from itertools.islice(file, self.kept)

    def _too_many(self, lines: int, items: int) -> str:
        return (
            f"{self.path}: holds {lines} lines, but the data has only {items} items; it is of other data: remove it to "
            "start again"
        )

    def append(self, line: str) -> None:
        """Write one line, after the header where it is the first.

        Raises:
            OutputError: when it cannot be written.
        """
        text = f"{line}\n"
        with _writing(self.path):
            if self._file is None:
                is_new = not self.path.exists()
                self._file = io.FileIO(self.path, "a")
                if is_new:
                    text = f"{self.header.model_dump_json()}\n{text}"
                self._synced = time.monotonic()
            self._write(self._file, text.encode())
            if time.monotonic() - self._synced >= self._sync_seconds:
                os.fsync(self._file.fileno())
                self._synced = time.monotonic()

    @staticmethod
    def _write(file: io.FileIO, data: bytes) -> None:
        """Write all of ``data``, or nothing of it where the disk is full."""
        before, left = os.fstat(file.fileno()).st_size, memoryview(data)
        try:
            while left:
                left = left[file.write(left) :]
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(file.fileno(), before)
            raise

    def copy_to(self, path: Path) -> None:
        """Append all lines but the header to ``path``.

        Raises:
            OutputError: when it cannot be written.
        """
        self._close()
        with _writing(path), path.open("ab") as target:
            if self.path.exists():
                with self.path.open("rb") as source:
                    source.readline()
                    while block := source.read(1 << 20):
                        target.write(block)
            target.flush()
            os.fsync(target.fileno())

    def remove(self) -> None:
        """Remove the file, where it is of this header.

        Raises:
            OutputError: when it cannot be removed.
        """
        self._close()
        with _writing(self.path):
            header = self._header_on_file()
            if header is not None and header.is_of(self.header):
                self.path.unlink()

    @contextlib.contextmanager
    def commit(self) -> Generator[Commit]:
        """Let the files that are staged in the block replace their namesakes at its end, then remove this file.

        Where the block or the first rename fails, all files are as they were; after a later one the last is missing.

        Raises:
            OutputError: when a file cannot be written.
        """
        self._close()
        with committed() as files:
            yield files
        self.remove()

    def _close(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            with _writing(self.path), contextlib.closing(file):
                os.fsync(file.fileno())

    def _header_on_file(self) -> Header | None:
        try:
            with self.path.open("rb") as file:
                return Header.model_validate_json(file.readline())
        except (OSError, ValueError):
            return None

    def _scan(self, total: int | None) -> tuple[Header | None, int, _Lines]:
        """Return the header on file, its length and the bytes behind it; None for a file whose header was cut off."""
        if not self.path.exists():
            return None, 0, _Lines()
        with self.path.open("rb") as file:
            first = file.readline()
            if not first.endswith(b"\n"):
                return None, 0, _Lines()
            try:
                found = Header.model_validate_json(first)
            except ValueError as error:
                raise DataError(
                    f"{self.path}:1: not the start of unfinished work of this version of plaudit "
                    f"({first_problem(error)}); remove it to start again"
                ) from None
            return found, len(first), _Lines.of(file, self.window, total)

    def _refusal(self, found: Header) -> str:
        differences = found.differences(self.header)
        settings = differing(found.settings, self.header.settings) if found.settings and self.header.settings else {}
        if settings and "recipe_hash" in differences:
            del differences["recipe_hash"]
        return (
            f"{self.path} was begun by another run: {in_words({**differences, **settings})}; remove it to start again, "
            "or choose another output"
        )


@dataclass(frozen=True, slots=True)
class _Lines:
    """Lines below a header: how many are whole, and how many of these, of how many bytes, are kept on resuming."""

    whole: int = 0
    kept: int = 0
    size: int = 0

    @classmethod
    def of(cls, lines: Iterable[bytes], window: int, total: int | None) -> _Lines:
        whole = kept = size = end = 0
        for line in lines:
            # After a loss of power a file may end in zeros, where its last blocks were never written.
            if not line.endswith(b"\n") or b"\0" in line:
                break
            whole, end = whole + 1, end + len(line)
            if whole % window == 0 or whole == total:
                kept, size = whole, end
        return cls(whole, kept, size)


class Commit:
    """Files that replace their namesakes together: until ``apply`` all old ones stand, then all new ones.

    Between the two the last staged file is missing, so that it never stands beside others that are not its own.
    """

    def __init__(self) -> None:
        self._staged: dict[Path, Path] = {}
        self._removed: list[Path] = []

    def stage(self, path: Path) -> Path:
        """Return the place, in the same folder and with the same suffix, where the new ``path`` is to be written.

        Files that a killed process left there are removed.

        Raises:
            OutputError: when ``path`` is a folder or a device.
        """
        check_target(path)
        temporary = path.with_name(f".new.{path.name}")
        for leftover in [
            temporary,
            path.with_name(f".old.{path.name}"),
            *path.parent.glob(f"{glob.escape(f'.{temporary.name}')}.*"),
        ]:
            with _writing(path):
                leftover.unlink(missing_ok=True)
        self._staged[path] = temporary
        return temporary

    def remove(self, path: Path) -> None:
        """Remove ``path``, where it is there, together with the replacing."""
        self._removed.append(path)

    def apply(self) -> None:
        """Replace the files, the last staged one last.

        Raises:
            OutputError: when one cannot be replaced.
        """
        if not self._staged:
            return
        last = list(self._staged)[-1]
        aside = last.with_name(f".old.{last.name}")
        # A single file is replaced in one rename; of several an older last one stands aside meanwhile.
        with _writing(last):
            if len(self._staged) + len(self._removed) > 1 and last.exists():
                os.replace(last, aside)
            replaced = 0
            try:
                for path, temporary in self._staged.items():
                    os.replace(temporary, path)
                    replaced += 1
            except BaseException:
                # Beside files that are new already the old last one would be a result of other items.
                if not replaced and aside.exists():
                    os.replace(aside, last)
                raise
            for path in [*self._removed, aside]:
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
            for folder in {path.parent for path in self._staged}:
                _sync_folder(folder)
        self._staged.clear()

    def clear(self) -> None:
        """Remove the files that were staged and not applied."""
        for temporary in self._staged.values():
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def committed() -> Generator[Commit]:
    """Let the files that are staged in the block replace their namesakes at its end; where it fails, none is.

    Raises:
        OutputError: when a file cannot be written.
    """
    files = Commit()
    try:
        yield files
        files.apply()
    finally:
        files.clear()


@contextlib.contextmanager
def locked(path: Path, *, what: Path | None = None) -> Generator[None]:
    """Keep other processes from writing ``path`` inside the block; the lock of a process that dies goes with it.

    ``what`` is the output in words of errors, where ``path`` stands for a whole folder.

    Raises:
        OutputError: naming the holder, when another process has locked it; when its folder cannot be written.
    """
    lock, output = path.with_name(f"{path.name}.lock"), what or path
    with _writing(output):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = _locked_file(lock, output)
    with contextlib.closing(file):
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                lock.unlink(missing_ok=True)


def _locked_file(lock: Path, path: Path) -> io.FileIO:
    """Return the open, locked file at ``lock``, which names this process."""
    while True:
        file = io.FileIO(lock, "a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().decode(errors="replace").strip() or "another process"
            file.close()
            raise OutputError(f"cannot write {path}: {holder} is writing it") from None
        except OSError as error:
            warnings.warn(
                f"{path.parent} is on a file system without locks ({error.strerror}): start one process at a time",
                RuntimeWarning,
                stacklevel=5,
            )
        # The holder before may have removed the file between opening and locking it here.
        if os.path.exists(lock) and os.path.samestat(os.fstat(file.fileno()), os.stat(lock)):
            file.truncate(0)
            since = datetime.now(UTC).isoformat(timespec="seconds")
            file.write(f"process {os.getpid()} on {socket.gethostname()}, since {since},".encode())
            return file
        file.close()


@contextlib.contextmanager
def _writing(path: Path) -> Generator[None]:
    """Turn an OSError inside the block into an OutputError about ``path``."""
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error


def _sync_folder(folder: Path) -> None:
    """Put renames inside ``folder`` on the disk, where its file system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _flat(values: Mapping[str, JsonValue], prefix: str = "") -> Iterator[tuple[str, JsonValue]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _short(value: JsonValue) -> str:
    text = "nothing" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:19]}…{text[-40:]}"
