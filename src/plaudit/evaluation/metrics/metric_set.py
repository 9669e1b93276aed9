"""The metrics of one kind of label or of a benchmark, as values, and the measure that intervals make of them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, final

import numpy as np
from numpy.typing import ArrayLike

from plaudit.records import BestOfNCurve, Interval, ItemScore, LabelCounts, Measure, MetricText
from plaudit.statistics.agreement import TieRule
from plaudit.statistics.classification import auc_metric
from plaudit.statistics.intervals import Clusters, Floats
from plaudit.statistics.metric import Exact, IntervalSettings, MeanKind, Metric, RowMean, interval

Status = Literal["absent", "unscored", "failed", "scored"]
"""Status of a group for one kind of label; ``absent``: it does not carry it. See ``LabelCounts``."""

ONLY_WITHIN_GROUPS = "the model compares the responses of a group, and its rewards say nothing across groups"
"""Reason why a metric over responses to different prompts has no value."""

ONE_PROMPT = "all pairs are of one prompt, which says nothing about others"
"""Reason why a mean over pairs has no interval, and so no value."""

TIES: dict[TieRule, str] = {
    "loss": "two equal rewards count as a pair ordered wrongly",
    "half": "two equal rewards count as half a pair ordered rightly",
    "exclude": "pairs of equal rewards are left out",
}

CurveRows = list[dict[str, float]]


@final
@dataclass
class MetricSet:
    """Metrics of one kind of label, or of a benchmark; each name has a metric or a reason why there is none."""

    kind: Literal["preference", "ranking", "rating", "outcome", "step", "benchmark"]
    primary: str
    """Name of the primary metric."""
    counts: LabelCounts
    attribute: str | None = None
    """The rated attribute; None for other kinds."""
    details: dict[str, int] = field(default_factory=dict)
    """Counts that the metrics rest on."""
    rules: dict[str, str] = field(default_factory=dict)
    """Rules that the metrics depend on, in words, as of ties."""
    metrics: dict[str, Metric] = field(default_factory=dict)
    baselines: dict[str, dict[str, Metric]] = field(default_factory=dict)
    """Baselines that read no response, on the same rows: metric → rule → metric."""
    absent: dict[str, str] = field(default_factory=dict)
    """For each metric that is not there, the reason."""
    slices: dict[str, dict[str, Metric]] = field(default_factory=dict)
    """The primary metric and its baselines by slice; a slice whose primary metric has no value is left out."""
    curves: dict[str, Callable[[float], CurveRows]] = field(default_factory=dict)
    """Tables behind the plots, made for a confidence; one without rows is left out."""
    best_of_n: Callable[[IntervalSettings], BestOfNCurve] | None = None
    missing: dict[str, str] = field(default_factory=dict)
    """Subsets of a benchmark that are not whole or not official."""
    words: Mapping[str, MetricText] = field(default_factory=dict)
    """Metrics of a benchmark in print."""
    statuses: Sequence[Status] = ()
    """Status of each item for one kind of label."""
    _reasons: dict[str, str] = field(default_factory=dict)

    def put(self, name: str, metric: Metric | None, reason: str) -> None:
        """Take ``metric`` under ``name``; ``reason`` says why there is none, or, later, why it has no value."""
        if metric is None:
            self.absent[name] = reason
        else:
            self.metrics[name] = metric
            self._reasons[name] = reason

    def beside(self, name: str, **rules: Metric | None) -> None:
        """Put the baselines ``rules``, on the rows of metric ``name``, beside it; one without a value is left out."""
        self.baselines.setdefault(name, {}).update({rule: each for rule, each in rules.items() if each is not None})

    def put_mean(
        self,
        name: str,
        rows: ArrayLike,
        prompts: Clusters,
        reason: str,
        rules: Mapping[str, ArrayLike] | None = None,
        *,
        kind: MeanKind = "proportion",
    ) -> None:
        """Put the mean of ``rows`` [row], and beside it those of the baselines ``rules`` on the same rows."""
        self.put(name, RowMean(np.array(rows, dtype=float), prompts, kind), reason)
        for rule, reached in (rules or {}).items():
            self.beside(name, **{rule: RowMean(np.array(reached, dtype=float), prompts, kind)})

    def put_auc(
        self, name: str, rows: Floats, positive: np.ndarray, prompts: Clusters, reason: str, **rules: Floats
    ) -> None:
        """Put the area under the ROC curve of ``rows`` [row], and beside it those of ``rules`` and of a coin."""
        self.put(name, auc_metric(rows, positive, prompts), reason)
        coin = exact(0.5, len(positive)) if positive.any() and not positive.all() else None
        self.beside(name, **{rule: auc_metric(each, positive, prompts) for rule, each in rules.items()}, random=coin)

    def known(self, name: str) -> Metric | None:
        """Return the metric of that name, or None where it is not there or has no value."""
        metric = self.metrics.get(name)
        return None if metric is None or metric.value is None else metric

    def reason(self, name: str) -> str:
        """Return why the metric of that name has no value."""
        return self.absent.get(name) or self._reasons.get(name, "")

    def measure(self, settings: IntervalSettings) -> Measure:
        """Return the measure, with an interval for every metric, baseline and slice."""

        def made(metrics: dict[str, Metric]) -> dict[str, Interval]:
            found = {name: interval(metric, settings) for name, metric in metrics.items()}
            return {name: each for name, each in found.items() if each is not None}

        metrics = made(self.metrics)
        absent = self.absent | {name: self._reasons[name] for name in self.metrics if name not in metrics}
        slices = {name: made(rules) for name, rules in self.slices.items()}
        curves = {name: rows for name, make in self.curves.items() if (rows := make(settings.confidence))}
        return Measure(
            kind=self.kind,
            attribute=self.attribute,
            primary=self.primary,
            counts=self.counts,
            details=self.details,
            rules=self.rules,
            metrics=metrics,
            baselines={name: made(rules) for name, rules in self.baselines.items()},
            absent=absent,
            slices={name: rules for name, rules in slices.items() if self.primary in rules},
            curves=curves,
            best_of_n=None if self.best_of_n is None else self.best_of_n(settings),
            missing=self.missing,
            words=dict(self.words),
        )


Maker = Callable[[Sequence[ItemScore]], MetricSet]
"""Makes the metrics of one kind of label from items."""


def label_counts(statuses: Iterable[Status]) -> LabelCounts:
    """Return the counts of groups that carry a label, by status."""
    found = Counter(statuses)
    return LabelCounts(
        n=found["scored"] + found["unscored"] + found["failed"],
        scored=found["scored"],
        unscored=found["unscored"],
        failed=found["failed"],
    )


def with_slices(make: Maker, items: Sequence[ItemScore]) -> MetricSet:
    """Return the metrics of ``items``, with the primary metric and its baselines by source.

    There are slices only where scored groups come from several sources.
    """
    whole = make(items)
    scored = [item for item, _ in scored_with_prompts(items, whole.statuses)]
    sources = sorted({item.source for item in scored})
    if len(sources) < 2:
        return whole
    for source in sources:
        part = make([item for item in scored if item.source == source])
        if part.primary in part.metrics:
            own = {part.primary: part.metrics[part.primary]}
            whole.slices[source] = own | part.baselines.get(part.primary, {})
    return whole


def scored_with_prompts(items: Sequence[ItemScore], statuses: Sequence[Status]) -> list[tuple[ItemScore, int]]:
    """Return the items that are scored, each with the number of its prompt."""
    rows = zip(items, prompt_numbers(items), statuses, strict=True)
    return [(item, prompt) for item, prompt, status in rows if status == "scored"]


def exact(value: float, n: int) -> Exact | None:
    """Return the exact value of a baseline known without data, such as a coin, over ``n`` rows; None over none."""
    return Exact(value, n) if n else None


def mean_by_group(rows: np.ndarray, groups: np.ndarray, prompts: np.ndarray) -> RowMean | None:
    """Return the mean over groups of the mean of their rows, all [row]; None of no rows."""
    numbers, first, place = np.unique(groups, return_index=True, return_inverse=True)
    if not len(numbers):
        return None
    return RowMean(np.bincount(place, weights=rows) / np.bincount(place), prompts[first], "fraction")


def prompt_numbers(items: Sequence[ItemScore]) -> list[int]:
    """Return [item] the number of its prompt, from 0."""
    numbers: dict[str, int] = {}
    return [numbers.setdefault(item.prompt_key, len(numbers)) for item in items]


def in_first_half(key: str) -> bool:
    """Return whether a prompt belongs to the half that something is tuned on: its key's SHA-256 begins evenly."""
    return hashlib.sha256(key.encode()).digest()[0] % 2 == 0
