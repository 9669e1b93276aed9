"""Rows of a data set on the hub, streamed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from plaudit.data.reading.sources.fields import Row
from plaudit.errors import DataError

_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


def is_hub_name(path: str) -> bool:
    """Return whether ``path`` is no file or folder here but looks like ``owner/name``."""
    return bool(_NAME.fullmatch(path)) and not Path(path).exists()


def hub_rows(
    name: str,
    split: str,
    *,
    subset: str | None = None,
    data_dir: str | None = None,
    revision: str | None = None,
) -> Iterator[tuple[int, Row]]:
    """Yield the rows of one split, numbered from 1.

    ``subset`` is the configuration of the data set, ``data_dir`` the folder of its repository, ``revision`` a branch or
    commit of it; without them the hub's default is read.

    Raises:
        DataError: where the hub or the data set cannot be reached, or has no such split, subset or folder.
    """
    from datasets import load_dataset

    options = {"name": subset, "data_dir": data_dir, "revision": revision}
    given: dict[str, Any] = {key: value for key, value in options.items() if value is not None}
    try:
        yield from enumerate(load_dataset(name, **given, split=split, streaming=True), start=1)
    except ValueError as error:
        # The hub answered: what was asked for is not there, and the message lists what is.
        raise DataError(f"{name}: cannot be read from the hub: {_first_line(error)}") from None
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
    return DataError(
        f"{name}: no such file or folder here, and the hub cannot be reached for it ({_first_line(error)}); "
        "without a network, give a local file or a folder written by datasets.save_to_disk"
    )


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
