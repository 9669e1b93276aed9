"""Chunks: token groups split and packed into batches that fit into memory, with counts of responses left out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from plaudit.batching.batch import Layout, TokenBatch, build_batch
from plaudit.batching.encode import Encoder, EncodingReport
from plaudit.batching.planner import GroupSizes, micro_batches
from plaudit.batching.prefix_tree import build_prefix_tree
from plaudit.batching.tokens import TokenGroup
from plaudit.batching.turns import TurnsEncoder
from plaudit.data.schema.group import Group
from plaudit.scoring.scorer import ResponseTruncation

IDENTICAL_RESPONSES = "responses that the cut made identical to another one"

Part = tuple[TokenGroup, np.ndarray]
"""Some responses of a group as tokens, and which ones of the group they are."""


@dataclasses.dataclass(frozen=True, slots=True)
class Encoded:
    """Groups as parts, and per group why responses are left out, and their truncation."""

    parts: list[Part]
    reasons: list[str | None]
    cuts: list[ResponseTruncation | None]


def encoded_parts(
    groups: Sequence[Group],
    encoder: Encoder | TurnsEncoder,
    *,
    layout: Layout,
    max_tokens: int,
    report: EncodingReport,
) -> Encoded:
    """Return ``groups`` as parts of at most ``max_tokens`` each, and per group the responses left out and truncated.

    The index of a part is the row of its group. ``report`` counts groups, kept where any response was encoded;
    truncated and dropped ones it counts in responses.
    """
    parts: list[Part] = []
    reasons: list[str | None] = []
    cuts: list[ResponseTruncation | None] = []
    for group, each in zip(groups, encoder.encode_responses(list(enumerate(groups)), report), strict=True):
        identical = 0
        if each.tokens is not None:
            fitting = parts_within(each.tokens, layout=layout, max_tokens=max_tokens)
            members = np.asarray(each.members, dtype=np.int64)
            parts.extend((part, members[held]) for part, held in fitting)
            if any(each.lost):
                identical = _made_identical([group.responses[k] for k in each.members], each.tokens)
        if identical:
            report.changed[IDENTICAL_RESPONSES] += identical
        reasons.append(each.reason)
        cuts.append(ResponseTruncation(each.lost, identical) if any(each.lost) else None)
    return Encoded(parts, reasons, cuts)


def _made_identical(texts: Sequence[str], encoded: TokenGroup) -> int:
    """Return how many responses with a text of their own are, as tokens, an earlier one's."""
    alike: dict[bytes, set[str]] = {}
    for k, text in enumerate(texts):
        alike.setdefault(encoded.tree.sequence(k).tobytes(), set()).add(text.strip())
    return sum(len(each) - 1 for each in alike.values())


def part_batches(
    parts: Sequence[Part], *, layout: Layout, max_tokens: int, pad_id: int, tokens: bool = False
) -> Iterator[tuple[TokenBatch, list[Part]]]:
    """Yield batches of at most ``max_tokens`` positions that hold all parts, each with its parts in their order.

    ``tokens`` also lists the tokens of every response.
    """
    sizes = GroupSizes.of([group for group, _ in parts])
    for micro in micro_batches(range(len(parts)), sizes, layout=layout, max_tokens=max_tokens):
        chosen = [parts[row] for row in micro.rows]
        yield build_batch([group for group, _ in chosen], layout=layout, pad_id=pad_id, tokens=tokens), chosen


def parts_within(group: TokenGroup, *, layout: Layout, max_tokens: int) -> list[Part]:
    """Return the group, or parts of it that each cost at most ``max_tokens``, with the sequences that each holds.

    A single sequence that costs more is a part of its own.
    """
    if _cost(group, layout) <= max_tokens or group.num_responses == 1:
        return [(group, np.arange(group.num_responses))]
    parts: list[Part] = []
    members: list[int] = []
    for k in range(group.num_responses):
        with_next = _with_sequences(group, np.asarray([*members, k]))
        if members and _cost(with_next, layout) > max_tokens:
            parts.append((_with_sequences(group, np.asarray(members)), np.asarray(members)))
            members = []
        members.append(k)
    parts.append((_with_sequences(group, np.asarray(members)), np.asarray(members)))
    return parts


def _cost(group: TokenGroup, layout: Layout) -> int:
    return int(GroupSizes.of([group]).cost(layout)[0])


def _with_sequences(group: TokenGroup, members: np.ndarray) -> TokenGroup:
    """Return the group with some of its sequences and their steps, and no other label."""
    place = np.full(group.num_responses, -1, dtype=np.int32)
    place[members] = np.arange(len(members), dtype=np.int32)
    kept = place[group.step_response] >= 0
    return TokenGroup(
        index=group.index,
        tree=build_prefix_tree([group.tree.sequence(int(k)) for k in members]),
        response_start=group.response_start[members],
        step_response=place[group.step_response][kept],
        step_position=group.step_position[kept],
        step_label=group.step_label[kept],
    )
