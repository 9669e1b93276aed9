"""Files and folders written whole or not at all; nothing but plaudit's own is replaced, and never what is read."""

from __future__ import annotations

import contextlib
import fcntl
import fnmatch
import glob
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import Path
from typing import IO

from plaudit.errors import ConfigError, OutputError

MARKER = ".plaudit"
"""File of a folder that plaudit made as a whole, in which the verb is named that made it."""
_PAGE_BYTES = 4096
_PAGE_MARK = b'<meta name="generator" content="plaudit">'


def check_target(path: Path) -> None:
    """Raise OutputError where ``path`` is there but no regular file: renaming onto a device would replace it."""
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    except (OSError, ValueError) as error:
        raise OutputError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}") from error
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a device or pipe"
        raise OutputError(f"cannot write {path}: it is {kind}; name a file")


@contextlib.contextmanager
def replacing(path: Path) -> Generator[IO[bytes]]:
    """Give a file to write that becomes ``path`` at the end of the block; where the block fails, it goes.

    A reader sees the old file or the new one, never a part.

    Raises:
        OutputError: naming the path, when it is a folder or a device, or its folder is missing, read-only or full.
    """
    check_target(path)
    with temporary_beside(path) as temporary:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)


@contextlib.contextmanager
def temporary_beside(path: Path, *, is_folder: bool = False) -> Generator[Path]:
    """Give a new, empty file or folder beside ``path``, which is gone at the end of the block unless it was renamed.

    Those that killed processes left there go first. A process in the block holds a lock on its own, by which it is
    told from them.

    Raises:
        OutputError: naming the path, when its folder is missing, read-only or full; for every OSError of the block.
    """
    prefix, temporary = f".{path.name}.", Path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for each in path.parent.glob(f"{glob.escape(prefix)}{'[a-z0-9_]' * 8}"):
            _remove_unless_locked(each)
        handle, temporary = _locked_temporary(path.parent, prefix, is_folder=is_folder)
        try:
            yield temporary
        finally:
            os.close(handle)
            _remove(temporary)
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error


def _locked_temporary(folder: Path, prefix: str, *, is_folder: bool) -> tuple[int, Path]:
    """Return the open and locked handle of a new file or folder, and its place."""
    while True:
        if is_folder:
            temporary = Path(tempfile.mkdtemp(dir=folder, prefix=prefix))
            handle = os.open(temporary, os.O_RDONLY)
        else:
            handle, name = tempfile.mkstemp(dir=folder, prefix=prefix)
            temporary = Path(name)
        with contextlib.suppress(OSError):  # of a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if temporary.exists():
            return handle, temporary
        os.close(handle)  # another process took it for a left-over before it was locked


def _remove_unless_locked(path: Path) -> None:
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(path)
        finally:
            os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def check_file(path: Path, *, is_own: Callable[[Path], bool], overwrite: bool) -> None:
    """Refuse to replace a file that is not an earlier output of the same kind.

    Raises:
        ConfigError: when ``path`` is there, ``is_own`` does not know it, and ``overwrite`` is not given.
        OutputError: when it is a folder or a device.
    """
    check_target(path)
    if path.exists() and not overwrite and not is_own(path):
        raise ConfigError(f"{path} exists, and plaudit did not write it; add --overwrite, or choose another file")


def is_page(path: Path) -> bool:
    """Return whether a file is a page that plaudit wrote."""
    try:
        with path.open("rb") as file:
            head = file.read(_PAGE_BYTES)
    except OSError:
        return False
    return _PAGE_MARK in head or b"\xc2\xb7 plaudit</title>" in head


def check_inputs_apart(output: Path, inputs: Iterable[str | Path]) -> None:
    """Raise ConfigError where ``output``, which is to be replaced, is one of ``inputs`` or holds one."""
    place = output.resolve()
    for each in inputs:
        found = Path(each).resolve()
        if Path(each).exists() and (found == place or place in found.parents):
            words = "is an input" if found == place else f"holds the input {each}"
            raise ConfigError(f"{output} {words}, which would be lost; name another output")


def check_folder(folder: Path, *, marker: str | None, names: Sequence[str], kind: str) -> None:
    """Refuse to replace a folder that is there unless all that it holds is plaudit's own.

    Own is a folder that holds ``marker``, where there is one, and nothing but what has a name that matches one of
    ``names``, patterns of ``fnmatch``; an empty one is nobody's. ``kind`` says in words of which kind it is to be.

    Raises:
        OutputError: naming what is foreign, or for a symbolic link or a file.
    """
    if folder.is_symlink():
        raise OutputError(f"cannot write {folder}: it is a symbolic link; name the folder that it leads to")
    if not folder.exists():
        return
    if not folder.is_dir():
        raise OutputError(f"cannot write {folder}: it is a file; name a folder")
    found = sorted(path.name for path in folder.iterdir())
    foreign = [name for name in found if not any(fnmatch.fnmatch(name, pattern) for pattern in names)]
    if foreign:
        raise OutputError(
            f"cannot write {folder}: it holds {', '.join(foreign[:3])}, which is not of {kind}; name another folder"
        )
    if found and marker is not None and marker not in found:
        raise OutputError(
            f"cannot write {folder}: it holds no {marker}, so plaudit did not make it; name another folder, or remove "
            "it yourself"
        )


@contextlib.contextmanager
def replacing_folder(folder: Path) -> Generator[Path]:
    """Give a folder to fill that becomes ``folder`` at the end of the block; where the block fails, it goes.

    An old one stands until then, is moved aside in one rename and removed last. Where a process was killed between the
    two renames, the next call puts it back first.

    Raises:
        OutputError: when ``folder`` cannot be written.
    """
    aside = folder.with_name(f".old.{folder.name}")
    with temporary_beside(folder, is_folder=True) as temporary:
        if aside.exists():
            if folder.exists():
                shutil.rmtree(aside)
            else:
                aside.rename(folder)
        yield temporary
        temporary.chmod(0o755)
        if folder.exists():
            folder.rename(aside)
        temporary.rename(folder)
        shutil.rmtree(aside, ignore_errors=True)


def remove_contents(folder: Path, *, but: Sequence[str] = ()) -> None:
    """Remove all that a folder holds ``but`` some names.

    Raises:
        OutputError: when something cannot be removed.
    """
    try:
        for path in folder.iterdir():
            if path.name in but:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                os.unlink(path)
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror or error}") from error
