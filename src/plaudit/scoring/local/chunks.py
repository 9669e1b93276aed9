"""Chunks: token groups split and packed into batches that fit into memory, with counts of responses left out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from plaudit.batching.batch import Layout, TokenBatch, build_batch
from plaudit.batching.encode import Encoder, EncodingReport, NotEncoded, tokens_cut
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

    The index of a part is the row of its group. A group that is not encoded whole is encoded response by response, as
    if each stood alone, so that no reward depends on its neighbours. ``report`` counts groups, kept where any
    response was encoded; truncated and dropped ones it counts in responses.
    """
    uncut = dataclasses.replace(encoder, truncation="drop")
    parts: list[Part] = []
    reasons: list[str | None] = [None] * len(groups)
    cuts: list[ResponseTruncation | None] = [None] * len(groups)
    for row, each in enumerate(uncut.encode(list(enumerate(groups)), EncodingReport())):
        members = np.arange(len(groups[row].responses))
        if isinstance(each, NotEncoded):
            each, members, reasons[row], cuts[row] = _one_by_one(row, groups[row], encoder, report)
        report.groups += 1
        if each is not None:
            report.kept += 1
            fitting = parts_within(each, layout=layout, max_tokens=max_tokens)
            parts.extend((part, members[held]) for part, held in fitting)
    return Encoded(parts, reasons, cuts)


def _one_by_one(
    row: int, group: Group, encoder: Encoder | TurnsEncoder, report: EncodingReport
) -> tuple[TokenGroup | None, np.ndarray, str | None, ResponseTruncation | None]:
    """Return the encoded parts of a group that is not whole, their responses, why others are left out, and the cut."""
    steps = group.steps or (None,) * len(group.responses)
    alone = [
        (k, Group(group.prompt, (text,), steps=None if own is None else (own,), id=group.id))
        for k, (text, own) in enumerate(zip(group.responses, steps, strict=True))
    ]
    counts = EncodingReport()
    kept: list[TokenGroup] = []
    reasons: dict[str, None] = {}
    lost = [0] * len(alone)
    for k, each in enumerate(encoder.encode(alone, counts)):
        # The encoder counts while it yields, so the increase since the response before is this one's.
        lost[k] = tokens_cut(counts.changed) - sum(lost)
        if isinstance(each, TokenGroup):
            kept.append(each)
        else:
            reasons[each.reason] = None
    members = np.asarray([each.index for each in kept], dtype=np.int64)
    identical = _made_identical([group.responses[k] for k in members.tolist()], kept) if any(lost) else 0
    if identical:
        counts.changed[IDENTICAL_RESPONSES] += identical
    report.dropped += counts.dropped
    report.changed += counts.changed
    for reason, example in counts.examples.items():
        report.examples.setdefault(reason, example)
    cut = ResponseTruncation(tuple(lost), identical) if any(lost) else None
    return joined(row, kept), members, "; ".join(reasons) or None, cut


def _made_identical(texts: Sequence[str], encoded: Sequence[TokenGroup]) -> int:
    """Return how many responses with a text of their own are, as tokens, an earlier one's."""
    alike: dict[bytes, set[str]] = {}
    for text, each in zip(texts, encoded, strict=True):
        alike.setdefault(each.tree.sequence(0).tobytes(), set()).add(text.strip())
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


def joined(row: int, singles: Sequence[TokenGroup]) -> TokenGroup | None:
    """Return groups of one sequence each as one group in ``row``, or None where there are none."""
    if not singles:
        return None
    return TokenGroup(
        index=row,
        tree=build_prefix_tree([each.tree.sequence(0) for each in singles]),
        response_start=np.concatenate([each.response_start for each in singles]),
        step_response=np.concatenate(
            [np.full(len(each.step_response), k, dtype=np.int32) for k, each in enumerate(singles)]
        ),
        step_position=np.concatenate([each.step_position for each in singles]),
        step_label=np.concatenate([each.step_label for each in singles]),
    )


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
