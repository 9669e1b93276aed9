"""Leaderboard of models on the same items, by accuracy, with the groups that cannot be told apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import combinations

import numpy as np

from plaudit.evaluation.compare.correctness import correctness, kinds_of
from plaudit.evaluation.compare.models import matched
from plaudit.evaluation.metrics.preference import CONFIDENCE, RESAMPLES
from plaudit.evaluation.official.benchmark import Benchmark
from plaudit.records import Interval, ItemScore
from plaudit.statistics.agreement import TieRule
from plaudit.statistics.compare import PairedMetric, PairedSettings, compare
from plaudit.statistics.intervals import proportion_interval
from plaudit.statistics.metric import IntervalSettings, interval
from plaudit.statistics.paired_tests import holm, permutation_test

RULE = (
    "Two models that share a letter cannot be told apart: of all pairs of models, each is tested by flipping the signs "
    "of the differences of whole prompts, and the p-value, adjusted by Holm over all pairs and kinds of label, is not "
    "below"
)
"""Meaning of the letters; the level follows."""

OFFICIAL = "official"
"""Kind of a leaderboard by the official metric of a benchmark."""

OFFICIAL_RULE = (
    "Two models that share a letter cannot be told apart: of all pairs of models, each is tested by swapping the two "
    "of whole prompts, and the p-value, adjusted by Holm over all pairs, is not below"
)
"""Meaning of the letters in an official one; the level follows."""

_Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class LeaderboardRow:
    """One model of a leaderboard."""

    name: str
    """The model."""
    score: Interval
    """Proportion of the judgements that it has right, or the official metric, with an interval over prompts."""
    letters: str
    """Groups that it belongs to; two models that share one cannot be told apart."""


@dataclass(frozen=True, slots=True)
class Leaderboard:
    """The models about one kind of label, or by an official metric, the best first."""

    kind: str
    """Kind of label (see ``correctness``), or ``OFFICIAL``."""
    standings: tuple[LeaderboardRow, ...]
    """One for each model."""
    alpha: float
    """Level of the tests, after Holm's adjustment."""
    items: int
    """Items that all models have."""
    left_out: int
    """Items that some model lacks, or has with other content."""
    unjudged: int
    """Judgements on those items that some model did not make: a reward is missing, or a tie is excluded."""


def leaderboards(
    models: Mapping[str, Sequence[ItemScore]], *, tie_rule: TieRule, alpha: float = 0.05, confidence: float = CONFIDENCE
) -> list[Leaderboard]:
    """Return for each kind of label the leaderboard of ``models``, over the judgements that all of them made.

    Two models are parted where the sign-flip permutation test over prompts, adjusted by Holm over all pairs of models
    and all kinds of label, is below ``alpha``: for two models it agrees with ``compare``. There is none for a kind
    without a judgement that all made, and none for fewer than two models.
    """
    if len(models) < 2:
        return []
    sides, names, boards = _common(models), list(models), list[_Ranked]()
    for kind in kinds_of(sides[0]):
        every = [correctness(side, kind, tie_rule) for side in sides]
        right = np.stack([each.right for each in every])
        known = np.asarray(~np.isnan(right).any(axis=0))
        if known.any():
            right, prompts = right[:, known], every[0].prompts[known]
            order = sorted(range(len(names)), key=lambda k: (-float(right[k].mean()), names[k]))
            scores = [proportion_interval(right[k], prompts, confidence=confidence) for k in order]
            pairs = combinations(range(len(names)), 2)
            raw = {(i, j): permutation_test(right[order[i]] - right[order[j]], prompts) for i, j in pairs}
            unjudged = int((~known).sum())
            boards.append(_Ranked(kind, [names[k] for k in order], [each for each in scores if each], raw, unjudged))
    return _finished(boards, alpha, models, sides)


@dataclass(frozen=True, slots=True)
class _Ranked:
    """The models about one kind of label, or by an official metric, the best first, before any are parted."""

    kind: str
    names: list[str]
    scores: list[Interval]
    p_values: dict[_Pair, float]
    """P-values of no difference, by the places of two models."""
    unjudged: int = 0


def official_leaderboard(
    models: Mapping[str, Sequence[ItemScore]],
    benchmark: Benchmark,
    *,
    alpha: float = 0.05,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
) -> Leaderboard | None:
    """Return the leaderboard of ``models`` by the official metric of ``benchmark``, over the items that all have.

    Two models are parted where the paired test of that metric (see ``statistics.compare``), adjusted by Holm over all
    pairs, is below ``alpha``. None for fewer than two models, and where one has no such metric.
    """
    if len(models) < 2:
        return None
    sides, names = _common(models), list(models)
    settings = IntervalSettings(confidence=confidence, resamples=resamples, seed=0)
    measured = [benchmark.metrics(side) for side in sides]
    metrics = [each.metrics.get(each.primary) for each in measured]
    scores = [None if metric is None else interval(metric, settings) for metric in metrics]
    ranked = [(metric, score) for metric, score in zip(metrics, scores, strict=True) if metric and score]
    if len(ranked) < len(names):
        return None
    order = sorted(range(len(names)), key=lambda k: (-ranked[k][1].value, names[k]))
    raw: dict[_Pair, float] = {}
    for i, j in combinations(range(len(order)), 2):
        paired = compare(ranked[order[i]][0], ranked[order[j]][0], PairedSettings(confidence=confidence))
        raw[i, j] = paired.p_value if isinstance(paired, PairedMetric) else 1.0
    official = _Ranked(OFFICIAL, [names[k] for k in order], [ranked[k][1] for k in order], raw)
    return _finished([official], alpha, models, sides)[0]


def _common(models: Mapping[str, Sequence[ItemScore]]) -> list[list[ItemScore]]:
    """Return for each model the items that all have, in the order of the first."""
    everything = list(models.values())
    common = reduce(lambda kept, other: [one for one, _ in matched(kept, other)[0]], everything[1:], everything[0])
    return [[other for _, other in matched(common, items)[0]] for items in everything]


def _finished(
    boards: Sequence[_Ranked],
    alpha: float,
    models: Mapping[str, Sequence[ItemScore]],
    sides: Sequence[Sequence[ItemScore]],
) -> list[Leaderboard]:
    """Return the leaderboards, with p-values adjusted over the pairs of models of all of them."""
    adjusted = iter(holm([p_value for board in boards for p_value in board.p_values.values()]))
    items, most = len(sides[0]), max(len(each) for each in models.values())
    found = []
    for board in boards:
        parted = {pair for pair, p_value in zip(board.p_values, adjusted, strict=False) if p_value < alpha}
        groups = inseparable(len(board.names), parted)
        letters = [
            " ".join(letter(number) for number, group in enumerate(groups) if place in group)
            for place in range(len(board.names))
        ]
        standings = tuple(map(LeaderboardRow, board.names, board.scores, letters))
        found.append(Leaderboard(board.kind, standings, alpha, items, most - items, board.unjudged))
    return found


def inseparable(count: int, parted: set[tuple[int, int]]) -> list[frozenset[int]]:
    """Return the largest sets of 0 … count − 1 that hold no pair of ``parted``, those of the smallest numbers first.

    Every pair that is not parted shares a set, and no parted one does: the letters of a compact display.

    Source: Piepho (2004), An algorithm for a letter-based representation of all-pairwise comparisons, Journal of
    Computational and Graphical Statistics 13.
    """
    groups = {frozenset(range(count))}
    for first, second in sorted(parted):
        split = {group for group in groups if first in group and second in group}
        halves = {group - {one} for group in split for one in (first, second)}
        candidates = (groups - split) | halves
        groups = {group for group in candidates if not any(group < other for other in candidates)}
    return sorted(groups, key=sorted)


def letter(number: int) -> str:
    """Return the name of a group: a to z, then aa, ab and so on."""
    head, last = divmod(number, 26)
    return (letter(head - 1) if head else "") + chr(ord("a") + last)
