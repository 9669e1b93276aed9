"""Rows of a data set on the hub, streamed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from plaudit.data.sources.fields import Row
from plaudit.errors import DataError

_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


def is_hub_name(path: str) -> bool:
    """Return whether ``path`` is no file or folder here but looks like ``owner/name``."""
    return bool(_NAME.fullmatch(path)) and not Path(path).exists()


def hub_rows(name: str, split: str) -> Iterator[tuple[int, Row]]:
    """Yield the rows of one split, numbered from 1.

    Raises:
        DataError: where the hub or the data set cannot be reached.
    """
    from datasets import load_dataset

    try:
        yield from enumerate(load_dataset(name, split=split, streaming=True), start=1)
    except _hub_errors() as error:
        raise _unreachable(name, error) from None


def hub_commit(name: str) -> str | None:
    """Return the newest commit of a data set on the hub.

    Raises:
        DataError: where the hub or the data set cannot be reached.
    """
    from huggingface_hub import dataset_info

    try:
        return dataset_info(name).sha
    except _hub_errors() as error:
        raise _unreachable(name, error) from None


def _hub_errors() -> tuple[type[BaseException], ...]:
    """Return what the hub's client raises: its HTTP library differs between versions, so ask for its base."""
    from huggingface_hub.errors import HfHubHTTPError

    return (OSError, ValueError, *HfHubHTTPError.__bases__)


def _unreachable(name: str, error: BaseException) -> DataError:
    reason = (str(error) or type(error).__name__).splitlines()[0]
    return DataError(
        f"{name}: no such file or folder here, and the hub cannot be reached for it ({reason}); "
        "without a network, give a local file or a folder written by datasets.save_to_disk"
    )
