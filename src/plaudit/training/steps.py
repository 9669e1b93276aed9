"""From token groups to optimiser steps: a sampler of rows and a collator that makes this rank's micro-batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Dataset, Sampler
from typing_extensions import override

from plaudit.batching.batch import Layout, TokenBatch, build_batch
from plaudit.batching.planner import MicroBatch, epoch_order, num_steps, plan_step, step_rows
from plaudit.batching.token_set import TokenSet


@dataclass(frozen=True, slots=True)
class StepBatches:
    """One optimiser step on one rank: its micro-batches, and which are fillers."""

    batches: tuple[TokenBatch, ...]
    fillers: tuple[bool, ...]
    num_groups: int


@dataclass(frozen=True, slots=True)
class Rows(Dataset[int]):
    """Rows of a token set that take part in training, by number."""

    rows: np.ndarray

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.rows)

    @override
    def __getitem__(self, index: int) -> int:
        """Return the row of the token set."""
        return int(self.rows[index])


class StepSampler(Sampler[list[int]]):
    """Yields the rows of each optimiser step of an epoch; every rank yields the same."""

    def __init__(self, num_groups: int, *, groups_per_step: int, seed: int) -> None:
        """Prepare the order of epoch 0."""
        self._num_groups = num_groups
        self._groups_per_step = groups_per_step
        self._seed = seed
        self._epoch = 0

    @property
    def batch_sampler(self) -> StepSampler:
        """Return itself: where the training loop looks for ``set_epoch``."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of ``epoch``."""
        self._epoch = epoch

    def __len__(self) -> int:
        """Return the steps of an epoch."""
        return num_steps(self._num_groups, self._groups_per_step)

    @override
    def __iter__(self) -> Iterator[list[int]]:
        """Yield the rows of each step."""
        order = epoch_order(self._num_groups, seed=self._seed, epoch=self._epoch)
        for step in range(len(self)):
            yield step_rows(order, step, self._groups_per_step).tolist()


@dataclass(frozen=True, slots=True)
class StepCollator:
    """Turns the rows of a step into the micro-batches of one rank."""

    tokens: TokenSet
    layout: Layout
    max_tokens: int
    pad_id: int
    rank: int
    num_ranks: int
    attributes: tuple[str, ...] = ()
    with_tokens: bool = False

    def __call__(self, rows: Sequence[int]) -> StepBatches:
        """Return this rank's share of the step."""
        plan = plan_step(
            np.asarray(rows, dtype=np.int64),
            self.tokens.sizes,
            layout=self.layout,
            max_tokens=self.max_tokens,
            num_ranks=self.num_ranks,
        )[self.rank]
        return StepBatches(
            batches=tuple(self.build(micro) for micro in plan),
            fillers=tuple(micro.is_filler for micro in plan),
            num_groups=len(rows),
        )

    def build(self, micro: MicroBatch) -> TokenBatch:
        """Return one micro-batch as tensors."""
        groups = [self.tokens[row] for row in micro.rows]
        return build_batch(
            groups, layout=self.layout, pad_id=self.pad_id, attributes=self.attributes, tokens=self.with_tokens
        )


def step_loader(
    rows: np.ndarray, collator: StepCollator, *, groups_per_step: int, seed: int, num_workers: int = 0
) -> DataLoader[Any]:
    """Return a loader whose every item is one optimiser step."""
    sampler = StepSampler(len(rows), groups_per_step=groups_per_step, seed=seed)
    return DataLoader(Rows(rows), batch_sampler=sampler, collate_fn=collator, num_workers=num_workers)
