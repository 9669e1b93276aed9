"""What choosing the best of n responses by a scorer's reward is worth in gold reward."""

from __future__ import annotations

from plaudit.records import Interval, Record


class BestOfNRow(Record):
    """One n of a best-of-n table: gold rewards with intervals over prompts."""

    n: int
    """Responses to choose from."""
    chosen: Interval
    """Expected gold reward of the response that the model rewards most."""
    oracle: Interval
    """Expected gold reward of the best response."""
    mean: Interval
    """Expected gold reward of a response drawn at random."""


class BestOfN(Record):
    """What ``best_of_n.json`` holds."""

    name: str
    """The data."""
    model: str
    """The model as it was named."""
    gold: str
    """What the gold reward is."""
    groups: int
    """Groups that the table is over."""
    left_out: int
    """Groups where a reward or gold reward is missing, or with fewer responses than the largest n."""
    rows: tuple[BestOfNRow, ...]
    """One row per n."""
