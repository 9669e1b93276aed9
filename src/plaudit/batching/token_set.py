"""Token groups on disk: one Arrow file, memory-mapped, so that a million groups cost little memory."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, assert_never

import numpy as np
import pyarrow as pa
import torch

from plaudit.batching.encode import EncodingReport, GroupEncoder
from plaudit.batching.planner import GroupSizes
from plaudit.batching.prefix_tree import PrefixTree
from plaudit.batching.tokens import TokenGroup
from plaudit.data.schema.group import Group
from plaudit.objectives.listwise import orders_something
from plaudit.objectives.objective import LabelKind, Partial
from plaudit.outputs import temporary_beside

_ROWS_PER_BATCH = 256
_CHECKSUM = "arrow_file"
"""Field of the report of a token set with the hash of its Arrow file."""
_TREE = tuple(each.name for each in fields(PrefixTree))
_PLAIN = tuple(each.name for each in fields(TokenGroup) if each.name not in ("index", "tree", "ratings"))
_FLOATS = ("pair_margin", "pair_probability", "outcomes", "rating_values", "step_label")
_SIZES = ("tree_tokens", "flat_tokens", "longest")
_SCHEMA = pa.schema(
    [
        ("index", pa.int64()),
        *((name, pa.list_(pa.float32() if name in _FLOATS else pa.int32())) for name in (*_TREE, *_PLAIN)),
        ("rating_names", pa.list_(pa.string())),
        ("rating_values", pa.list_(pa.float32())),
        *((name, pa.int32()) for name in _SIZES),
    ]
)


class TokenSet:
    """Token groups in an Arrow file, read on demand by row."""

    def __init__(self, path: Path, report: EncodingReport) -> None:
        """Open the file at ``path``.

        Raises:
            ValueError: when its columns are others, as another version of plaudit wrote them.
        """
        self._path = path
        self._reader = pa.ipc.open_file(pa.memory_map(str(path)))
        if self._reader.schema != _SCHEMA:
            raise ValueError(f"{path} has the columns {', '.join(self._reader.schema.names)}")
        self.report = report
        self.sizes = GroupSizes(responses=self._lengths("end"), **{name: self._column(name) for name in _SIZES})
        self.num_pairs = self._lengths("pair_chosen")
        self.index = self._column("index")

    def _batches(self) -> Iterator[pa.RecordBatch]:
        return map(self._reader.get_batch, range(self._reader.num_record_batches))

    def _column(self, name: str) -> np.ndarray:
        return _concatenated([batch.column(name).to_numpy() for batch in self._batches()])

    def _lengths(self, name: str) -> np.ndarray:
        """Return, for each group, the number of values of a list column."""
        return _concatenated([np.diff(batch.column(name).offsets.to_numpy()) for batch in self._batches()])

    def count_labels(
        self, kind: LabelKind, *, attributes: Sequence[str] = (), partial: Partial = "ranked_only"
    ) -> np.ndarray:
        """Return, for each group, how many labels of that kind it carries.

        Ratings count for ``attributes`` alone, strengths (margins) where they are not 0. The ranks of a group are one
        label where they place a response strictly before another; ``partial`` is the rule for unranked ones.
        """
        batches = self._batches()
        match kind:
            case "preferences":
                return self.num_pairs
            case "strengths":
                return _concatenated([_count(batch, "pair_margin", _is_strength) for batch in batches])
            case "ranks":
                return _concatenated([_are_ordered(batch, partial) for batch in batches])
            case "outcomes":
                return _concatenated([_count(batch, "outcomes", _is_known) for batch in batches])
            case "steps":
                return _concatenated([_count(batch, "step_label", _is_known) for batch in batches])
            case "ratings":
                return np.asarray([_count_ratings(group, attributes) for group in self], dtype=np.int64)
            case _:
                assert_never(kind)

    def num_margins(self) -> int:
        """Return the number of preferences with a margin."""
        return int(_concatenated([_count(batch, "pair_margin", _is_known) for batch in self._batches()]).sum())

    def span_of(self, name: Literal["step_label", "pair_margin"]) -> tuple[float, float]:
        """Return the lowest and the highest known value of a label in all groups; NaN where none is known."""
        values = np.concatenate([np.zeros(0), *(batch.column(name).values.to_numpy() for batch in self._batches())])
        known = values[_is_known(values)]
        return (float(known.min()), float(known.max())) if len(known) else (np.nan, np.nan)

    def __len__(self) -> int:
        """Return the number of groups."""
        return len(self.num_pairs)

    def __getitem__(self, row: int) -> TokenGroup:
        """Return the token group in a row."""
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} of {len(self)}")
        batch = self._reader.get_batch(row // _ROWS_PER_BATCH)
        return _read_row(batch, row % _ROWS_PER_BATCH)

    def __iter__(self) -> Iterator[TokenGroup]:
        """Yield the token groups in order."""
        for batch in self._batches():
            for row in range(batch.num_rows):
                yield _read_row(batch, row)


def _is_known(values: np.ndarray) -> np.ndarray:
    return ~np.isnan(values)


def _is_strength(margins: np.ndarray) -> np.ndarray:
    return _is_known(margins) & (margins != 0)


def _are_ordered(batch: pa.RecordBatch, partial: Partial) -> np.ndarray:
    ranks = batch.column("ranks")
    group = torch.from_numpy(np.repeat(np.arange(len(ranks)), np.diff(ranks.offsets.to_numpy())))
    rank = torch.from_numpy(ranks.values.to_numpy().astype(np.int64))
    return orders_something(rank, group, num_groups=len(ranks), partial=partial).numpy()


def _count(batch: pa.RecordBatch, name: str, counts: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return, for each row of a list column, how many of its values count."""
    column = batch.column(name)
    offsets = column.offsets.to_numpy()
    total = np.concatenate([[0], np.cumsum(counts(column.values.to_numpy()))])
    return total[offsets[1:]] - total[offsets[:-1]]


def _count_ratings(group: TokenGroup, attributes: Sequence[str]) -> int:
    return sum(int(_is_known(values).sum()) for name, values in group.ratings.items() if name in attributes)


def encode_to_file(
    groups: Iterable[Group],
    encoder: GroupEncoder,
    path: Path,
    *,
    progress: Callable[[int], None] | None = None,
) -> TokenSet:
    """Return ``groups`` as a token set in the Arrow file ``path``; one that is there already is used as it is.

    The name of the file must tell everything that its content depends on. It is written atomically: an interrupted
    run leaves no file that would be used, and the next one removes what it left. A damaged file is made again.

    Raises:
        OutputError: when the file cannot be written.
    """
    kept = _kept_set(path)
    if kept is not None:
        return kept
    report = EncodingReport()
    with temporary_beside(path) as temporary:
        with pa.OSFile(str(temporary), "wb") as sink, pa.ipc.new_file(sink, _SCHEMA) as writer:
            for batch in _record_batches(groups, encoder, report, progress):
                writer.write_batch(batch)
        stored = report.as_dict() | {_CHECKSUM: _checksum(temporary)}
        _report_path(path).write_text(json.dumps(stored), encoding="utf-8")
        temporary.replace(path)
    return TokenSet(path, report)


def _kept_set(path: Path) -> TokenSet | None:
    """Return the token set in ``path``, or None where there is none or it is damaged."""
    try:
        if not path.exists():
            return None
        record = json.loads(_report_path(path).read_text(encoding="utf-8"))
        # plaudit 0.1 wrote no checksum
        if record.pop(_CHECKSUM, None) not in (None, _checksum(path)):
            return None
        counters = {name: Counter(record[name]) for name in ("dropped", "changed")}
        return TokenSet(path, EncodingReport(**record | counters))
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError, RecursionError):
        return None


def encode_stream(groups: Iterable[Group], encoder: GroupEncoder, report: EncodingReport) -> Iterator[TokenGroup]:
    """Yield the token groups of ``groups`` in order, a few hundred at a time."""
    numbered = enumerate(groups)
    while window := list(itertools.islice(numbered, _ROWS_PER_BATCH)):
        yield from (each for each in encoder.encode(window, report) if isinstance(each, TokenGroup))


def _record_batches(
    groups: Iterable[Group],
    encoder: GroupEncoder,
    report: EncodingReport,
    progress: Callable[[int], None] | None,
) -> Iterator[pa.RecordBatch]:
    rows = (_row(each) for each in encode_stream(groups, encoder, report))
    is_last = False
    while not is_last:
        window = list(itertools.islice(rows, _ROWS_PER_BATCH))
        is_last = len(window) < _ROWS_PER_BATCH
        if window:
            yield _to_batch(window)
        if progress is not None:
            progress(report.groups)


def _to_batch(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    arrays = []
    for column in _SCHEMA:
        values = [row[column.name] for row in rows]
        if isinstance(column.type, pa.ListType) and column.type.value_type != pa.string():
            offsets = np.concatenate([[0], np.cumsum([len(value) for value in values])]).astype(np.int32)
            flat = pa.array(np.concatenate(values), type=column.type.value_type)
            arrays.append(pa.ListArray.from_arrays(pa.array(offsets), flat))
        else:
            arrays.append(pa.array(values, type=column.type))
    return pa.RecordBatch.from_arrays(arrays, schema=_SCHEMA)


def _row(group: TokenGroup) -> dict[str, Any]:
    lengths = group.lengths()
    row: dict[str, Any] = {name: getattr(group.tree, name) for name in _TREE}
    row |= {name: getattr(group, name) for name in _PLAIN}
    ratings = list(group.ratings.values())
    return row | {
        "index": group.index,
        "rating_names": list(group.ratings),
        "rating_values": np.concatenate(ratings) if ratings else np.zeros(0, dtype=np.float32),
        "tree_tokens": group.tree.num_tokens,
        "flat_tokens": int(lengths.sum()),
        "longest": int(lengths.max()),
    }


def _read_row(batch: pa.RecordBatch, row: int) -> TokenGroup:
    tree = PrefixTree(**{name: _values(batch, name, row) for name in _TREE})
    names = batch.column("rating_names")[row].as_py()
    values = _values(batch, "rating_values", row).reshape(len(names), -1) if names else ()
    return TokenGroup(
        index=batch.column("index")[row].as_py(),
        tree=tree,
        ratings=dict(zip(names, values, strict=True)),
        **{name: _values(batch, name, row) for name in _PLAIN},
    )


def _values(batch: pa.RecordBatch, name: str, row: int) -> np.ndarray:
    column = batch.column(name)
    begin, stop = column.offsets[row].as_py(), column.offsets[row + 1].as_py()
    return column.values.slice(begin, stop - begin).to_numpy()


def _concatenated(pieces: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(pieces).astype(np.int64) if pieces else np.zeros(0, dtype=np.int64)


def _report_path(path: Path) -> Path:
    return path.with_suffix(".report.json")


def _checksum(path: Path) -> str:
    """Return the BLAKE2b-128 hash of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
