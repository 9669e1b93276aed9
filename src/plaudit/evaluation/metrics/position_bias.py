"""What the order in which two responses are named does to a model that compares them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from plaudit.records import ItemScore, PositionEffect
from plaudit.scoring.scorer import Scorer
from plaudit.statistics.clustered import mean_share_interval
from plaudit.statistics.position_bias import BothOrders, ComparesBothOrders, both_orders


@contextmanager
def orders_kept(scorer: Scorer) -> Iterator[deque[list[BothOrders]] | None]:
    """Give a queue that receives, for each group scored, what either order says; None of other scorers."""
    if not isinstance(scorer, ComparesBothOrders):
        yield None
        return
    bias = scorer.position_bias
    before, bias.kept = bias.kept, deque()
    try:
        yield bias.kept
    finally:
        bias.kept = before


def position_effect(items: Sequence[ItemScore]) -> PositionEffect | None:
    """Return what the order does, from ``orders`` of the items alone; None where no pair was compared in both orders.

    Intervals are over prompts (see ``mean_share_interval``).
    """
    rows = [(each, item.prompt_key) for item in items for each in item.orders]
    if not rows:
        return None
    first, inconsistent = both_orders([given for (given, _), _ in rows], [turned for (_, turned), _ in rows])
    prompts = np.array([prompt for _, prompt in rows], dtype=object)
    named_first, decides = (mean_share_interval(values, prompts) for values in (first, inconsistent))
    assert named_first is not None
    assert decides is not None
    return PositionEffect(pairs=len(rows), first=named_first, inconsistent=decides)
