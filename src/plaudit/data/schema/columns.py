"""Groups as Arrow columns and back, with a hash of each row and of each prompt."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from plaudit.data.schema.group import Group, Message, Preference, Step

_MESSAGE = pa.struct([("role", pa.string()), ("content", pa.string())])
_PREFERENCE = pa.struct(
    [
        ("chosen", pa.int32()),
        ("rejected", pa.int32()),
        ("margin", pa.float64()),
        ("probability", pa.float64()),
    ]
)
_RATING = pa.struct([("attribute", pa.string()), ("values", pa.list_(pa.float64()))])
_STEP = pa.struct([("end", pa.int32()), ("label", pa.float64())])

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("source", pa.string()),
        ("prompt", pa.list_(_MESSAGE)),
        ("responses", pa.list_(pa.string())),
        ("preferences", pa.list_(_PREFERENCE)),
        ("ranks", pa.list_(pa.int32())),
        ("ratings", pa.list_(_RATING)),
        ("outcomes", pa.list_(pa.bool_())),
        ("steps", pa.list_(pa.list_(_STEP))),
        ("step_classes", pa.list_(pa.float64())),
        ("prompt_hash", pa.uint64()),
        ("row_hash", pa.uint64()),
    ]
)


def hash64(content: bytes) -> int:
    """Return a 64-bit hash of ``content`` (BLAKE2b), the same on every machine."""
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")


def prompt_hash(group: Group) -> int:
    """Return the 64-bit hash of the group's ``prompt_key``."""
    return hash64(group.prompt_key.encode())


def row_hash(group: Group) -> int:
    """Return a 64-bit hash of every field of the group; the order of the rating attributes does not count."""
    content = (
        group.id,
        group.source,
        [(message.role, message.content) for message in group.prompt],
        group.responses,
        [(p.chosen, p.rejected, _float(p.margin), _float(p.probability)) for p in group.preferences],
        group.ranks,
        [(attribute, _floats(group.ratings[attribute])) for attribute in sorted(group.ratings)],
        group.outcomes,
        None
        if group.steps is None
        else [None if steps is None else [(s.end, _float(s.label)) for s in steps] for steps in group.steps],
        *(() if group.step_classes is None else (_floats(group.step_classes),)),
    )
    return hash64(_ENCODER.encode(content).encode())


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False)


def _float(value: float | None) -> float | None:
    return None if value is None else float(value)


def _floats(values: Sequence[float | None]) -> list[float | None]:
    return [None if value is None else float(value) for value in values]


def batch_of(groups: Sequence[Group]) -> pa.RecordBatch:
    """Return the groups as one record batch of ``SCHEMA``."""
    columns = [
        pa.array([group.id for group in groups], pa.string()),
        pa.array([group.source for group in groups], pa.string()),
        _lists([group.prompt for group in groups], _MESSAGE),
        _lists([group.responses for group in groups], pa.string()),
        _lists([group.preferences for group in groups], _PREFERENCE),
        pa.array([group.ranks for group in groups], SCHEMA.field("ranks").type),
        pa.array([_rating_rows(group.ratings) for group in groups], SCHEMA.field("ratings").type),
        pa.array([group.outcomes for group in groups], SCHEMA.field("outcomes").type),
        pa.array([_step_rows(group) for group in groups], SCHEMA.field("steps").type),
        pa.array([group.step_classes for group in groups], SCHEMA.field("step_classes").type),
        pa.array([prompt_hash(group) for group in groups], pa.uint64()),
        pa.array([row_hash(group) for group in groups], pa.uint64()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def _lists(rows: Sequence[Sequence[object]], type: pa.DataType) -> pa.ListArray:
    """Return a list of each row: of values, or of objects whose attributes are the fields of a struct."""
    entries = list(itertools.chain.from_iterable(rows))
    if isinstance(type, pa.StructType):
        values = pa.StructArray.from_arrays([_attributes(entries, field) for field in type], fields=list(type))
    else:
        values = pa.array(entries, type)
    return pa.ListArray.from_arrays(pa.array(np.cumsum([0, *map(len, rows)]), pa.int32()), values)


def _attributes(entries: Sequence[object], field: pa.Field) -> pa.Array:
    """Return an attribute of every entry; large integers, too, become the floats that a column of floats holds."""
    values = list(map(operator.attrgetter(field.name), entries))
    return pa.array(_floats(values) if pa.types.is_floating(field.type) else values, field.type)


def _rating_rows(ratings: Mapping[str, Sequence[float | None]]) -> list[dict[str, object]]:
    return [{"attribute": attribute, "values": _floats(values)} for attribute, values in ratings.items()]


def _step_rows(group: Group) -> list[list[dict[str, object]] | None] | None:
    if group.steps is None:
        return None
    return [
        None if steps is None else [{"end": step.end, "label": _float(step.label)} for step in steps]
        for steps in group.steps
    ]


def groups_of(table: pa.Table) -> Iterator[Group]:
    """Yield the groups of an Arrow table of ``SCHEMA``; they were checked before they were written."""
    for batch in table.combine_chunks().to_batches():
        yield from _groups_of_batch(batch)


def _groups_of_batch(batch: pa.RecordBatch) -> Iterator[Group]:
    turns = batch.column("prompt").flatten()
    messages = map(Message, turns.field("role").to_pylist(), turns.field("content").to_pylist())
    responses = iter(batch.column("responses").flatten().to_pylist())
    pairs = batch.column("preferences").flatten()
    preferences = map(Preference, *(pairs.field(index).to_pylist() for index in range(4)))
    rows = zip(
        batch.column("id").to_pylist(),
        batch.column("source").to_pylist(),
        batch.column("prompt").value_lengths().to_pylist(),
        batch.column("responses").value_lengths().to_pylist(),
        batch.column("preferences").value_lengths().to_pylist(),
        _optional(batch.column("ranks")),
        batch.column("ratings").to_pylist(),
        _optional(batch.column("outcomes")),
        _optional(batch.column("steps")),
        _optional(batch.column("step_classes")),
        strict=True,
    )
    for identifier, source, num_turns, num_responses, num_pairs, ranks, ratings, outcomes, steps, classes in rows:
        yield trusted_group(
            prompt=tuple([next(messages) for _ in range(num_turns)]),
            responses=tuple([next(responses) for _ in range(num_responses)]),
            preferences=tuple([next(preferences) for _ in range(num_pairs)]),
            ranks=None if ranks is None else tuple(ranks),
            ratings={entry["attribute"]: tuple(entry["values"]) for entry in ratings},
            outcomes=None if outcomes is None else tuple(outcomes),
            steps=None if steps is None else tuple(_steps(entries) for entries in steps),
            id=identifier,
            source=source,
            step_classes=None if classes is None else tuple(classes),
        )


def _optional(column: pa.Array) -> Iterable[list[Any] | None]:
    return [None] * len(column) if column.null_count == len(column) else column.to_pylist()


def _steps(entries: list[dict[str, float]] | None) -> tuple[Step, ...] | None:
    return None if entries is None else tuple(Step(int(entry["end"]), entry["label"]) for entry in entries)


def trusted_group(**fields: Any) -> Group:
    """Return a group made of all its fields, which were already checked, without checking them again."""
    group = object.__new__(Group)
    for name, value in fields.items():
        object.__setattr__(group, name, value)
    return group


def relabelled(group: Group, **fields: Any) -> Group:
    """Return ``group`` with other fields, which must follow from its own: they are not checked."""
    return trusted_group(**{name: getattr(group, name) for name in _FIELDS} | fields)


def with_identity(group: Group, id: str, source: str) -> Group:
    """Return ``group`` under another id and source."""
    return relabelled(group, id=id, source=source)


_FIELDS = tuple(field.name for field in dataclasses.fields(Group))
