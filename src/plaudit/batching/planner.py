"""The plan of optimiser steps: the groups of each, their ranks and micro-batches.

The optimiser step is defined by the science (``groups_per_step`` over all ranks); memory by the hardware
(``max_tokens`` per forward and backward). Everything here is a pure function of lengths and a seed, so every rank
works out the same plan without talking to the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from plaudit.batching.batch import Layout
from plaudit.batching.tokens import TokenGroup

Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class GroupSizes:
    """The sizes of each group: responses, tokens as a tree, tokens apart, longest conversation."""

    responses: Int64Array
    tree_tokens: Int64Array
    flat_tokens: Int64Array
    longest: Int64Array

    @classmethod
    def of(cls, groups: Sequence[TokenGroup]) -> GroupSizes:
        """Return the sizes of groups that are at hand."""
        lengths = [group.lengths() for group in groups]
        return cls(
            responses=np.asarray([len(each) for each in lengths], dtype=np.int64),
            tree_tokens=np.asarray([group.tree.num_tokens for group in groups], dtype=np.int64),
            flat_tokens=np.asarray([each.sum() for each in lengths], dtype=np.int64),
            longest=np.asarray([each.max() for each in lengths], dtype=np.int64),
        )

    def cost(self, layout: Layout) -> Int64Array:
        """Return the tokens that each group costs in ``layout``; padded: were it alone in its batch."""
        if layout == "shared_prefix":
            return self.tree_tokens
        return self.flat_tokens if layout == "packed" else self.responses * self.longest


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Rows of one forward and backward. ``is_filler``: computed only so that every rank runs equally many."""

    rows: tuple[int, ...]
    is_filler: bool = False


def epoch_order(num_groups: int, *, seed: int, epoch: int) -> Int64Array:
    """Return the order of the groups in an epoch: a permutation drawn from (seed, epoch)."""
    return np.random.default_rng([seed, epoch]).permutation(num_groups)


def num_steps(num_groups: int, groups_per_step: int) -> int:
    """Return the optimiser steps of one epoch; the last may hold fewer groups, none is dropped."""
    return -(-num_groups // groups_per_step)


def step_rows(order: Int64Array, step: int, groups_per_step: int) -> Int64Array:
    """Return the rows of one optimiser step of an epoch."""
    return order[step * groups_per_step : (step + 1) * groups_per_step]


def plan_step(
    rows: Int64Array, sizes: GroupSizes, *, layout: Layout, max_tokens: int, num_ranks: int = 1
) -> list[list[MicroBatch]]:
    """Return the micro-batches of every rank for one optimiser step.

    Groups go to ranks longest first, each to the least loaded. Every rank gets equally many micro-batches, since FSDP
    and ZeRO-3 would wait for ever otherwise. A rank that has too few groups for that gets fillers.
    """
    cost = sizes.cost(layout)
    shares: list[list[int]] = [[] for _ in range(num_ranks)]
    loads = [0] * num_ranks
    for row in sorted(rows.tolist(), key=lambda row: (-int(cost[row]), row)):
        rank = loads.index(min(loads))
        shares[rank].append(row)
        loads[rank] += int(cost[row])
    plans = [micro_batches(share, sizes, layout=layout, max_tokens=max_tokens) for share in shares]
    most = max(len(plan) for plan in plans)
    filler = min(rows.tolist(), key=lambda row: (int(cost[row]), row))
    return [_with_exactly(plan, most, filler) for plan in plans]


def _with_exactly(plan: list[MicroBatch], count: int, filler: int) -> list[MicroBatch]:
    """Return the plan with ``count`` micro-batches: the largest are halved first, fillers come last."""
    plan = list(plan)
    while len(plan) < count:
        largest = max(range(len(plan)), key=lambda i: len(plan[i].rows), default=-1)
        if largest < 0 or len(plan[largest].rows) < 2:
            plan.append(MicroBatch((filler,), is_filler=True))
            continue
        rows = plan[largest].rows
        plan[largest : largest + 1] = [MicroBatch(rows[: len(rows) // 2]), MicroBatch(rows[len(rows) // 2 :])]
    return plan


def micro_batches(rows: Sequence[int], sizes: GroupSizes, *, layout: Layout, max_tokens: int) -> list[MicroBatch]:
    """Return ``rows`` in batches of at most ``max_tokens`` positions; a group that is larger stands alone.

    Without padding: first-fit decreasing. Padded: sorted by length and cut, since a row costs the longest one.
    """
    if layout == "padded":
        return _cut_by_width(rows, sizes, max_tokens)
    cost = sizes.cost(layout)
    bins: list[list[int]] = []
    room: list[int] = []
    for row in sorted(rows, key=lambda row: (-int(cost[row]), row)):
        size = int(cost[row])
        for index, left in enumerate(room):
            if size <= left:
                bins[index].append(row)
                room[index] -= size
                break
        else:
            bins.append([row])
            room.append(max_tokens - size)
    return [MicroBatch(tuple(sorted(members))) for members in bins]


def _cut_by_width(rows: Sequence[int], sizes: GroupSizes, max_tokens: int) -> list[MicroBatch]:
    batches: list[list[int]] = []
    width = responses = 0
    for row in sorted(rows, key=lambda row: (-int(sizes.longest[row]), row)):
        count = int(sizes.responses[row])
        if not batches or (responses + count) * width > max_tokens:
            batches.append([])
            width, responses = int(sizes.longest[row]), 0
        batches[-1].append(row)
        responses += count
    return [MicroBatch(tuple(sorted(members))) for members in batches]
