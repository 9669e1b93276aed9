"""What is known of one public data set: where it is, how its rows become groups, licence and citation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from plaudit.data.reading.sources.formats import Format


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One public data set in its official layout.

    ``rows`` are the published numbers of rows per split, None where the publisher gives none. ``columns`` are the
    columns that a row must have to be read. ``subset`` is the configuration name of the hub, ``data_dir`` the folder
    of the repository, ``revision`` its branch or commit, where the data set needs one.
    """

    name: str
    hub: str
    format: Format
    licence: str
    citation: str
    columns: tuple[str, ...]
    rows: Mapping[str, int | None] = field(default_factory=dict)
    subset: str | None = None
    data_dir: str | None = None
    revision: str | None = None
    note: str = ""

    @property
    def url(self) -> str:
        """Return the page of the data set."""
        return f"https://huggingface.co/datasets/{self.hub}"
