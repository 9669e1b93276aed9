"""What the measures of all kinds of label share: counts of groups, named figures beside their baselines, reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, final

import numpy as np

from plaudit.evaluation.metrics.estimates import Estimator
from plaudit.records import Interval, ItemScore, LabelCounts, Measure
from plaudit.statistics.agreement import TieRule

Status = Literal["absent", "unscored", "failed", "scored"]
"""What becomes of a group for one kind of label; ``absent``: it does not carry it. See ``LabelCounts``."""

Maker = Callable[[Sequence[ItemScore]], Measure]
"""Makes the measure of one kind of label from items."""

ONLY_WITHIN_GROUPS = "the model compares the responses of a group, and its rewards say nothing across groups"
"""Why a figure over responses to different prompts has no value."""

TIES: dict[TieRule, str] = {
    "loss": "two equal rewards count as a pair ordered wrongly",
    "half": "two equal rewards count as half a pair ordered rightly",
    "exclude": "pairs of equal rewards are left out",
}


@final
@dataclass
class Findings:
    """Collects the figures of a measure; each name ends with a value or with a reason why there is none."""

    figures: dict[str, Interval] = field(default_factory=dict)
    baselines: dict[str, dict[str, Interval]] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)

    def put(self, name: str, interval: Interval | None, reason: str) -> None:
        """Take ``interval`` as figure ``name``, or, where there is none, ``reason``."""
        if interval is None:
            self.absent[name] = reason
        else:
            self.figures[name] = interval

    def beside(self, name: str, **rules: Interval | None) -> None:
        """Put what ``rules`` reach on the rows of figure ``name`` beside it; a rule without a value is left out."""
        self.baselines.setdefault(name, {}).update({rule: each for rule, each in rules.items() if each is not None})


def label_counts(statuses: Iterable[Status]) -> LabelCounts:
    """Return how many groups carry a label, and what became of them."""
    found = Counter(statuses)
    return LabelCounts(
        n=found["scored"] + found["unscored"] + found["failed"],
        scored=found["scored"],
        unscored=found["unscored"],
        failed=found["failed"],
    )


def with_slices(make: Maker, items: Sequence[ItemScore], statuses: Sequence[Status]) -> Measure:
    """Return the measure of ``items``, with its headline figure and that figure's baselines by source.

    There are slices only where scored groups come from several sources.
    """
    whole = make(items)
    scored = [item for item, status in zip(items, statuses, strict=True) if status == "scored"]
    sources = sorted({item.source for item in scored})
    if len(sources) < 2:
        return whole
    slices = {}
    for source in sources:
        part = make([item for item in scored if item.source == source])
        if part.headline in part.figures:
            own = {part.headline: part.figures[part.headline]}
            slices[source] = own | part.baselines.get(part.headline, {})
    return whole.model_copy(update={"slices": slices})


def known(value: float, n: int, estimate: Estimator) -> Interval | None:
    """Return what a rule reaches that needs no data to know, such as a coin, over ``n`` rows; None over none."""
    if n == 0:
        return None
    return Interval(value=value, low=value, high=value, confidence=estimate.confidence, method="exact", n=n)


def prompt_numbers(items: Sequence[ItemScore]) -> list[int]:
    """Return [item] the number of its prompt, from 0."""
    numbers: dict[str, int] = {}
    return [numbers.setdefault(item.prompt_key, len(numbers)) for item in items]


@dataclass(frozen=True, slots=True)
class Decision:
    """Where a model's numbers are cut into right (at or above ``threshold``) and wrong (below)."""

    threshold: float
    """The threshold."""
    rule: str
    """How it came to be, in words."""
    reason: str | None
    """Why the cut means nothing for these numbers, or null."""


def decision(values: np.ndarray, *, name: str) -> Decision:
    """Return the threshold for the numbers [row] that a model gives, called ``name`` in the words.

    Numbers that all lie within 0 to 1 are read as probabilities: ½. Others are read as log-odds: 0. Log-odds of one
    sign are most likely no log-odds, as those of a model of preferences, whose zero means nothing: then ``reason``
    says so.
    """
    if not len(values) or (values.min() >= 0.0 and values.max() <= 1.0):
        return Decision(0.5, f"every {name} lies within 0 to 1 and is read as a probability: right from 0.5 on", None)
    rule = f"some {name} lies outside 0 to 1, so it is read as log-odds: right from 0 on"
    if values.min() > 0.0 or values.max() < 0.0:
        sign = "above" if values.min() > 0.0 else "below"
        return Decision(0.0, rule, f"every {name} lies {sign} 0, so 0 does not part right from wrong")
    return Decision(0.0, rule, None)
