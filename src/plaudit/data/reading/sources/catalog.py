"""The public data sets that plaudit reads, by name and by their place on the hub."""

from __future__ import annotations

from collections.abc import Mapping

from plaudit.data.reading.sources.catalog_mixtures import MIXTURES
from plaudit.data.reading.sources.catalog_preferences import PREFERENCES
from plaudit.data.reading.sources.catalog_processes import PROCESSES
from plaudit.data.reading.sources.catalog_tasks import TASKS
from plaudit.data.reading.sources.source import Source
from plaudit.errors import DataError, UnknownNameError, closest_or_all

# One entry per data set; those of compared, ranked and rated responses by people or a judge come first.
_SOURCES: tuple[Source, ...] = (*PREFERENCES, *TASKS, *MIXTURES, *PROCESSES)

SOURCES: Mapping[str, Source] = {source.name: source for source in _SOURCES}


def source_named(name: str) -> Source:
    """Return the source of that name.

    Raises:
        UnknownNameError: naming the closest one.
    """
    if name not in SOURCES:
        raise UnknownNameError(f"unknown source {name!r}; {closest_or_all(name, tuple(SOURCES))}")
    return SOURCES[name]


def source_at(hub: str, *, subset: str | None = None, data_dir: str | None = None) -> Source | None:
    """Return the source that a place on the hub is, or None for a place that is not in the catalogue.

    Without ``subset`` and ``data_dir`` it is the source that needs neither, else the only one of that repository.

    Raises:
        DataError: where neither is given and the repository holds several sources.
    """
    here = [source for source in SOURCES.values() if source.hub == hub]
    exact = [source for source in here if (source.subset, source.data_dir) == (subset, data_dir)]
    if exact:
        return exact[0]
    if not here or (subset, data_dir) != (None, None):
        return None
    if len(here) > 1:
        raise DataError(f"{hub} holds several data sets; name one of them: {', '.join(source.name for source in here)}")
    return here[0]
