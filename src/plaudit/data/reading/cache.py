"""The folder in which groups that were read once are kept as Arrow, each reading whole or not at all."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from plaudit.data.reading.files import hub_commit, is_hub_name
from plaudit.data.reading.sources.formats import FORMATS
from plaudit.data.schema.report import ReadReport
from plaudit.errors import DataError, OutputError
from plaudit.outputs import temporary_beside

ARROW_FILE = "groups.arrow"
REPORT_FILE = "report.json"


def cache_folder(cache_dir: Path | None) -> Path:
    """Return the folder of all cached readings: in ``cache_dir``, else in the cache of ``datasets``."""
    if cache_dir is not None:
        return cache_dir
    import datasets

    return Path(datasets.config.HF_DATASETS_CACHE) / "plaudit"


def cache_key(paths: Sequence[str], options: Mapping[str, object]) -> str:
    """Return the cache key of a reading: a hash of each file's state, the options, and the code that reads.

    The state of a file is its path, size, time of writing, inode, and the time at which the system last changed any of
    these: a copy that keeps the time of writing (``cp -p``, ``rsync -t``) cannot keep that one. A data set on the hub
    is known by its newest commit.

    Raises:
        DataError: where the hub does not answer.
    """
    content = json.dumps([[_identity(path) for path in paths], dict(options), code_hash()])
    return hashlib.blake2b(content.encode(errors="surrogateescape"), digest_size=16).hexdigest()


def cached_report(folder: Path) -> ReadReport | None:
    """Return the report of the reading in ``folder``, or None where there is no whole one."""
    try:
        content = json.loads((folder / REPORT_FILE).read_text(encoding="utf-8"))
        if (folder / ARROW_FILE).stat().st_size != content["bytes"]:
            return None
        return ReadReport.model_validate(content["report"])
    except (OSError, KeyError, TypeError, ValueError, ValidationError):
        return None


def fill_cache(folder: Path, write: Callable[[Path], ReadReport]) -> ReadReport:
    """Return the report of ``write``, which writes the Arrow file whose path it is given; then keep both.

    Raises:
        OutputError: naming the folder, when it cannot be written.
    """
    reports: list[ReadReport] = []

    def fill(temporary: Path) -> None:
        report = write(temporary / ARROW_FILE)
        size = synchronised(temporary / ARROW_FILE)
        content = {"bytes": size, "report": report.model_dump(mode="json")}
        (temporary / REPORT_FILE).write_text(json.dumps(content), encoding="utf-8")
        reports.append(report)

    fill_folder(folder, fill, is_whole=lambda each: cached_report(each) is not None)
    return reports[0]


def synchronised(path: Path) -> int:
    """Return the size of a file after the system has written it to its disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
        return os.fstat(file.fileno()).st_size


def fill_folder(folder: Path, fill: Callable[[Path], None], *, is_whole: Callable[[Path], bool]) -> None:
    """Make ``folder`` with the files that ``fill`` writes, all of them or none.

    Everything is written beside ``folder`` and renamed at the end, so an interruption leaves nothing that could be
    taken for a whole one, and what it leaves is removed by the next filling of the folder. ``is_whole`` tells one that
    another process finished meanwhile.

    Raises:
        OutputError: naming the folder, when it cannot be written.
    """
    with temporary_beside(folder, is_folder=True) as temporary:
        fill(temporary)
        temporary.chmod(0o755)
        _move(temporary, folder, is_whole)


def _move(temporary: Path, folder: Path, is_whole: Callable[[Path], bool]) -> None:
    if folder.exists() and not is_whole(folder):
        shutil.rmtree(folder, ignore_errors=True)
    try:
        temporary.rename(folder)
    except OSError as error:
        # Another process may have finished the same work first; its result is as good as this one.
        if not is_whole(folder):
            raise OutputError(f"cannot write the cache {folder}: {error.strerror or error}") from error


def _identity(path: str) -> list[object]:
    if is_hub_name(path):
        return [path, hub_commit(path)]
    root = Path(path).resolve()
    files = sorted(root.rglob("*")) if root.is_dir() else [root]
    try:
        stats = [(file, file.stat()) for file in files]
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None
    return [str(root), *((str(file), s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino) for file, s in stats)]


@functools.cache
def code_hash() -> str:
    """Return a hash of the code of ``plaudit.data``, so that a new version does not trust an old one's work."""
    return _hash_of_code(Path(__file__).parents[1])


def reader_hash(format: str) -> str:
    """Return a hash of the code of a user's own format: its module, or the whole package that it stands in."""
    if format == "auto" or format in FORMATS:
        return ""
    module = sys.modules[format.partition(":")[0].partition(".")[0]]
    return _hash_of_code(*(Path(path) for path in getattr(module, "__path__", [module.__file__]) if path is not None))


def _hash_of_code(*places: Path) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for place in places:
        for file in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()
