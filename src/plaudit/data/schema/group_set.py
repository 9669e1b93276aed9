"""A large, ordered, immutable collection of groups that lives in an Arrow file, not in Python objects."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from plaudit.data.schema.columns import SCHEMA, batch_of, groups_of
from plaudit.data.schema.group import Group
from plaudit.data.schema.report import ReadReport, merge_reports
from plaudit.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset, Features

BATCH_ROWS = 1000


def features() -> Features:
    """Return the ``datasets`` features of the columns of a group set."""
    from datasets import Features

    return Features.from_arrow_schema(SCHEMA)


@final
@dataclass(frozen=True, eq=False, repr=False)
class GroupSet:
    """Groups in a fixed order, over a memory-mapped ``datasets.Dataset``; selecting and joining copy no text.

    ``rows`` are the positions in ``dataset`` that belong to the set, in order; None is all of them.
    ``report`` says how the data was read, and stays that of the whole reading in a selection.
    """

    dataset: Dataset
    report: ReadReport
    rows: np.ndarray | None = None

    @classmethod
    def from_groups(cls, groups: Iterable[Group], *, name: str = "memory") -> GroupSet:
        """Return a set of groups made in Python; it is kept in memory, as Arrow."""
        from datasets import Dataset

        iterator = iter(groups)
        batches = []
        while chunk := list(islice(iterator, BATCH_ROWS)):
            batches.append(batch_of(chunk))
        table = pa.Table.from_batches(batches, schema=SCHEMA.with_metadata(features().arrow_schema.metadata))
        report = ReadReport(path=name, format="groups", rows=table.num_rows, groups=table.num_rows)
        return cls(Dataset(table), report)

    @classmethod
    def from_arrow_file(cls, path: Path, report: ReadReport) -> GroupSet:
        """Return the set in an Arrow stream file that ``read_groups`` wrote, memory-mapped."""
        from datasets import Dataset

        return cls(Dataset.from_file(str(path)), report)

    def __len__(self) -> int:
        return self.dataset.num_rows if self.rows is None else len(self.rows)

    def __repr__(self) -> str:
        return f"GroupSet({len(self)} groups of {self.report.path})"

    def __getitem__(self, index: int) -> Group:
        """Return one group; negative positions count from the end."""
        count = len(self)
        if not -count <= index < count:
            raise IndexError(f"group {index} of {count}")
        return self.take([index % count])[0]

    def __iter__(self) -> Iterator[Group]:
        """Yield every group, reading a batch at a time."""
        for table in self.tables():
            yield from groups_of(table)

    def tables(self) -> Iterator[pa.Table]:
        """Yield all rows in order, as Arrow tables of a batch each."""
        for start in range(0, len(self), BATCH_ROWS):
            stop = min(start + BATCH_ROWS, len(self))
            yield self._arrow[start:stop] if self.rows is None else self._arrow[self.rows[start:stop]]

    def take(self, indices: Sequence[int] | np.ndarray) -> list[Group]:
        """Return the groups at ``indices``, in that order; faster than one at a time."""
        positions = np.asarray(indices, dtype=np.int64)
        if self.rows is not None:
            positions = self.rows[positions]
        return list(groups_of(self._arrow[positions]))

    def select(self, indices: Sequence[int] | np.ndarray) -> GroupSet:
        """Return the set of the groups at ``indices``, in that order; a position may come twice.

        Raises:
            IndexError: for a position outside the set.
        """
        positions = np.asarray(indices, dtype=np.int64)
        if positions.size and (positions.min() < 0 or positions.max() >= len(self)):
            raise IndexError(f"positions from {positions.min()} to {positions.max()}; the set has {len(self)} groups")
        return GroupSet(self.dataset, self.report, positions if self.rows is None else self.rows[positions])

    def prompt_hashes(self) -> np.ndarray:
        """Return a uint64 per group that is equal for equal prompts (see ``Group.prompt_key``); [group]."""
        return self._hashes("prompt_hash")

    def row_hashes(self) -> np.ndarray:
        """Return a uint64 per group over all of its fields; [group]."""
        return self._hashes("row_hash")

    def num_preferences(self) -> np.ndarray:
        """Return the number of preferences of each group; int64 [group]."""
        counts = pc.call_function("list_value_length", [self.dataset.data.column("preferences")])
        values = counts.to_numpy().astype(np.int64)
        return values if self.rows is None else values[self.rows]

    @cached_property
    def fingerprint(self) -> str:
        """Return a hex hash of all rows and their order: equal for equal content, however it was read."""
        hashes = self.row_hashes().astype("<u8")
        return hashlib.blake2b(hashes.tobytes(), digest_size=16).hexdigest()

    @cached_property
    def _arrow(self) -> Dataset:
        return self.dataset.with_format("arrow")

    def _hashes(self, column: str) -> np.ndarray:
        values = self.dataset.data.column(column).to_numpy()
        return values if self.rows is None else values[self.rows]


def repeated_id(sets: Sequence[GroupSet]) -> str | None:
    """Return an id that two groups of ``sets`` share, or None where every group has its own."""
    chunks = [chunk for part in sets for table in part.tables() for chunk in table.column("id").chunks]
    ids = pa.chunked_array(chunks, pa.string())
    if len(pc.call_function("unique", [ids])) == len(ids):
        return None
    return next(identifier for identifier, count in Counter(ids.to_pylist()).items() if count > 1)


def concatenate(sets: Sequence[GroupSet]) -> GroupSet:
    """Return the groups of several sets, one set after the other.

    Raises:
        DataError: where there is no set.
    """
    from datasets import concatenate_datasets

    if not sets:
        raise DataError("there is nothing to join: the list of group sets is empty")
    if len(sets) == 1:
        return sets[0]
    report = merge_reports([part.report for part in sets])
    dataset = concatenate_datasets([part.dataset for part in sets])
    if all(part.rows is None for part in sets):
        return GroupSet(dataset, report)
    start = 0
    rows: list[np.ndarray] = []
    for part in sets:
        positions = np.arange(part.dataset.num_rows) if part.rows is None else part.rows
        rows.append(positions + start)
        start += part.dataset.num_rows
    return GroupSet(dataset, report, np.concatenate(rows))
