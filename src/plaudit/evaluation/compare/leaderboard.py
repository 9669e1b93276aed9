"""Several models on the same items: in order of what they get right, with the groups that cannot be told apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import combinations

import numpy as np

from plaudit.evaluation.compare.models import matched
from plaudit.evaluation.compare.paired_metrics import PairedFigure, Pairing
from plaudit.evaluation.metrics.correctness import judged, kinds_of
from plaudit.evaluation.metrics.estimates import Estimator
from plaudit.evaluation.metrics.preference import CONFIDENCE, RESAMPLES
from plaudit.evaluation.metrics.traced import Tracing
from plaudit.evaluation.official.benchmark import Benchmark
from plaudit.records import Interval, ItemScore
from plaudit.statistics.agreement import TieRule
from plaudit.statistics.clustered import share_interval
from plaudit.statistics.paired_tests import holm, permutation_test

RULE = (
    "Two models that share a letter cannot be told apart: of all pairs of models, each is tested by flipping the signs "
    "of the differences of whole prompts, and the p-value, adjusted by Holm over all pairs and kinds of label, is not "
    "below"
)
"""What the letters mean; the level follows."""

OFFICIAL = "official"
"""Kind of a leaderboard by the official figure of a benchmark."""

OFFICIAL_RULE = (
    "Two models that share a letter cannot be told apart: of all pairs of models, each is tested by swapping the two "
    "of whole prompts, and the p-value, adjusted by Holm over all pairs, is not below"
)
"""What the letters mean there; the level follows."""

_Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Standing:
    """One model of a leaderboard."""

    name: str
    """The model."""
    score: Interval
    """Share of the judgements that it has right, or the official figure, with an interval over prompts."""
    letters: str
    """Groups that it belongs to; two models that share one cannot be told apart."""


@dataclass(frozen=True, slots=True)
class Leaderboard:
    """The models about one kind of label, or by an official figure, the best first."""

    kind: str
    """Kind of label (see ``judged``), or ``OFFICIAL``."""
    standings: tuple[Standing, ...]
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
    and all kinds of label, is below ``alpha``: of two models that says what ``compare`` does. There is none for a kind
    without a judgement that all made, and none for fewer than two models.
    """
    if len(models) < 2:
        return []
    sides = _common(models)
    names, boards = list(models), list[_Judgements]()
    for kind in kinds_of(sides[0]):
        every = [judged(side, kind, tie_rule) for side in sides]
        right = np.stack([each.right for each in every])
        known = np.asarray(~np.isnan(right).any(axis=0))
        if known.any():
            order = sorted(range(len(names)), key=lambda k: (-float(right[k, known].mean()), names[k]))
            boards.append(
                _Judgements(kind, right[order][:, known], every[0].prompts[known], order, int((~known).sum()))
            )
    raw = {
        (number, pair): permutation_test(board.right[pair[0]] - board.right[pair[1]], board.prompts)
        for number, board in enumerate(boards)
        for pair in combinations(range(len(names)), 2)
    }
    adjusted = dict(zip(raw, holm(list(raw.values())), strict=True))
    found = []
    for number, board in enumerate(boards):
        parted = {pair for (place, pair), p_value in adjusted.items() if place == number and p_value < alpha}
        scores = [share_interval(right, board.prompts, confidence=confidence) for right in board.right]
        standings = _standings([names[k] for k in board.order], scores, parted)
        found.append(_board(board.kind, standings, alpha, models, sides, unjudged=board.unjudged))
    return found


@dataclass(frozen=True, slots=True)
class _Judgements:
    """What all models, the best first, have right of one kind of label: [model, judgement]."""

    kind: str
    right: np.ndarray
    prompts: np.ndarray
    order: list[int]
    unjudged: int


def official_leaderboard(
    models: Mapping[str, Sequence[ItemScore]],
    benchmark: Benchmark,
    *,
    alpha: float = 0.05,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
) -> Leaderboard | None:
    """Return the leaderboard of ``models`` by the official figure of ``benchmark``, over the items that all have.

    Two models are parted where the paired test of that figure (see ``Pairing``), adjusted by Holm over all pairs, is
    below ``alpha``. None for fewer than two models, and where one has no such figure.
    """
    if len(models) < 2:
        return None
    sides = _common(models)
    estimate = Estimator(confidence=confidence, resamples=resamples, seed=0)
    scores: list[Interval] = []
    traced: list[Interval] = []
    for side in sides:
        for found, how in ((scores, estimate), (traced, Tracing.new())):
            measure = benchmark.measure(side, how)
            if measure.headline not in measure.figures:
                return None
            found.append(measure.figures[measure.headline])
    names = list(models)
    order = sorted(range(len(names)), key=lambda k: (-scores[k].value, names[k]))
    pairing = Pairing(confidence=confidence)
    raw: dict[_Pair, float] = {}
    for i, j in combinations(range(len(order)), 2):
        paired = pairing.compare(traced[order[i]], traced[order[j]])
        raw[i, j] = paired.p_value if isinstance(paired, PairedFigure) else 1.0
    adjusted = zip(raw, holm(list(raw.values())), strict=True)
    parted = {pair for pair, p_value in adjusted if p_value < alpha}
    standings = _standings([names[k] for k in order], [scores[k] for k in order], parted)
    return _board(OFFICIAL, standings, alpha, models, sides, unjudged=0)


def _common(models: Mapping[str, Sequence[ItemScore]]) -> list[list[ItemScore]]:
    """Return for each model the items that all have, in the order of the first."""
    everything = list(models.values())
    common = reduce(lambda kept, other: [one for one, _ in matched(kept, other)[0]], everything[1:], everything[0])
    return [[other for _, other in matched(common, items)[0]] for items in everything]


def _board(
    kind: str,
    standings: tuple[Standing, ...],
    alpha: float,
    models: Mapping[str, Sequence[ItemScore]],
    sides: Sequence[Sequence[ItemScore]],
    *,
    unjudged: int,
) -> Leaderboard:
    most = max(len(items) for items in models.values())
    return Leaderboard(
        kind=kind,
        standings=standings,
        alpha=alpha,
        items=len(sides[0]),
        left_out=most - len(sides[0]),
        unjudged=unjudged,
    )


def _standings(names: Sequence[str], scores: Sequence[Interval | None], parted: set[_Pair]) -> tuple[Standing, ...]:
    groups = inseparable(len(names), parted)
    found = []
    for place, (name, score) in enumerate(zip(names, scores, strict=True)):
        assert score is not None  # there is a judgement
        letters = " ".join(letter(number) for number, group in enumerate(groups) if place in group)
        found.append(Standing(name, score, letters))
    return tuple(found)


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
