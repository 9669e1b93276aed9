"""Groups as Arrow columns and back, with a hash of each row and of each prompt."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

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
        _prompts(groups),
        pa.ListArray.from_arrays(
            _offsets([len(group.responses) for group in groups]),
            pa.array([response for group in groups for response in group.responses], pa.string()),
        ),
        _preferences(groups),
        pa.array([group.ranks for group in groups], SCHEMA.field("ranks").type),
        pa.array([_rating_rows(group.ratings) for group in groups], SCHEMA.field("ratings").type),
        pa.array([group.outcomes for group in groups], SCHEMA.field("outcomes").type),
        pa.array([_step_rows(group) for group in groups], SCHEMA.field("steps").type),
        pa.array([prompt_hash(group) for group in groups], pa.uint64()),
        pa.array([row_hash(group) for group in groups], pa.uint64()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def _offsets(lengths: Iterable[int]) -> pa.Array:
    offsets, end = [0], 0
    for length in lengths:
        end += length
        offsets.append(end)
    return pa.array(offsets, pa.int32())


def _prompts(groups: Sequence[Group]) -> pa.Array:
    turns = [message for group in groups for message in group.prompt]
    values = pa.StructArray.from_arrays(
        [
            pa.array([turn.role for turn in turns], pa.string()),
            pa.array([turn.content for turn in turns], pa.string()),
        ],
        fields=list(_MESSAGE),
    )
    return pa.ListArray.from_arrays(_offsets([len(group.prompt) for group in groups]), values)


def _preferences(groups: Sequence[Group]) -> pa.Array:
    pairs = [preference for group in groups for preference in group.preferences]
    values = pa.StructArray.from_arrays(
        [
            pa.array([pair.chosen for pair in pairs], pa.int32()),
            pa.array([pair.rejected for pair in pairs], pa.int32()),
            pa.array([_float(pair.margin) for pair in pairs], pa.float64()),
            pa.array([_float(pair.probability) for pair in pairs], pa.float64()),
        ],
        fields=list(_PREFERENCE),
    )
    return pa.ListArray.from_arrays(_offsets([len(group.preferences) for group in groups]), values)


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
        strict=True,
    )
    for identifier, source, num_turns, num_responses, num_pairs, ranks, ratings, outcomes, steps in rows:
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
        )


def _optional(column: pa.Array) -> Iterable[list[Any] | None]:
    return [None] * len(column) if column.null_count == len(column) else column.to_pylist()


def _steps(entries: list[dict[str, float]] | None) -> tuple[Step, ...] | None:
    return None if entries is None else tuple(Step(int(entry["end"]), entry["label"]) for entry in entries)


def trusted_group(
    *,
    prompt: tuple[Message, ...],
    responses: tuple[str, ...],
    preferences: tuple[Preference, ...],
    ranks: tuple[int | None, ...] | None,
    ratings: Mapping[str, tuple[float | None, ...]],
    outcomes: tuple[bool | None, ...] | None,
    steps: tuple[tuple[Step, ...] | None, ...] | None,
    id: str,
    source: str,
) -> Group:
    """Return a group made of parts that were already checked, without checking them again."""
    group = object.__new__(Group)
    put = object.__setattr__
    put(group, "prompt", prompt)
    put(group, "responses", responses)
    put(group, "preferences", preferences)
    put(group, "ranks", ranks)
    put(group, "ratings", ratings)
    put(group, "outcomes", outcomes)
    put(group, "steps", steps)
    put(group, "id", id)
    put(group, "source", source)
    return group


def with_identity(group: Group, id: str, source: str) -> Group:
    """Return ``group`` under another id and source."""
    return trusted_group(
        prompt=group.prompt,
        responses=group.responses,
        preferences=group.preferences,
        ranks=group.ranks,
        ratings=group.ratings,
        outcomes=group.outcomes,
        steps=group.steps,
        id=id,
        source=source,
    )


def relabelled(
    group: Group,
    *,
    preferences: tuple[Preference, ...] | None = None,
    ranks: tuple[int | None, ...] | None = None,
    ratings: Mapping[str, tuple[float | None, ...]] | None = None,
) -> Group:
    """Return ``group`` with other labels, which must follow from its own: they are not checked. None keeps them."""
    return trusted_group(
        prompt=group.prompt,
        responses=group.responses,
        preferences=group.preferences if preferences is None else preferences,
        ranks=group.ranks if ranks is None else ranks,
        ratings=group.ratings if ratings is None else ratings,
        outcomes=group.outcomes,
        steps=group.steps,
        id=group.id,
        source=group.source,
    )
