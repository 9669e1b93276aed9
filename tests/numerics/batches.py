"""Labels of small batches, written out by hand."""

from __future__ import annotations

import math

import torch

from plaudit.objectives.objective import BatchLabels, PairLabels

NAN = math.nan


def t(*values, dtype=torch.float64):
    return torch.tensor(values, dtype=dtype)


def pair_labels(chosen, rejected, *, margin=None, probability=None, weight=None):
    count = len(chosen)
    return PairLabels(
        chosen=torch.tensor(chosen, dtype=torch.int64),
        rejected=torch.tensor(rejected, dtype=torch.int64),
        margin=t(*(margin or [0.0] * count), dtype=torch.float32),
        probability=t(*(probability or [1.0] * count), dtype=torch.float32),
        weight=t(*(weight or [1.0] * count), dtype=torch.float32),
    )


def batch_labels(
    count,
    *,
    pairs=None,
    group=None,
    rank=None,
    outcome=None,
    ratings=None,
    length=None,
    steps=(),
    repeats=None,
    tokens=(),
):
    """Labels of ``count`` responses; ``steps`` are (response, label), ``tokens`` the response of each token."""
    return BatchLabels(
        pairs=pairs if pairs is not None else pair_labels([], []),
        group=torch.tensor(group if group is not None else [0] * count, dtype=torch.int64),
        rank=torch.tensor(rank if rank is not None else [0] * count, dtype=torch.int64),
        outcome=t(*(outcome if outcome is not None else [NAN] * count), dtype=torch.float32),
        ratings=torch.tensor(ratings, dtype=torch.float32) if ratings is not None else torch.zeros(count, 0),
        length=torch.tensor(length if length is not None else [1] * count, dtype=torch.int64),
        step_response=torch.tensor([response for response, _ in steps], dtype=torch.int64),
        step_label=t(*(label for _, label in steps), dtype=torch.float32),
        step_repeats=torch.tensor(repeats if repeats is not None else [False] * len(steps), dtype=torch.bool),
        token_response=torch.tensor(list(tokens), dtype=torch.int64),
    )


def finite(*tensors):
    """Whether every value of every tensor is finite."""
    return all(bool(torch.isfinite(each).all()) for each in tensors)
