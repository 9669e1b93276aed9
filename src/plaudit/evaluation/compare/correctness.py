"""Two models judgement by judgement: what each has right, the difference, and whether it can be told from chance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from plaudit.evaluation.compare.records import LeftOut, Tested
from plaudit.evaluation.metrics.correctness import judged, kinds_of
from plaudit.records import ItemScore
from plaudit.statistics.agreement import TieRule
from plaudit.statistics.intervals import cluster_index, effective_clusters, student_quantile
from plaudit.statistics.paired_tests import benjamini_hochberg, holm, paired_difference, permutation_test, sign_test

POWER = 0.8
"""Chance of finding a difference as large as the detectable one."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How judgements are tested."""

    alpha: float
    confidence: float
    seed: int
    models: tuple[str, str]
    tie_rule: TieRule


@dataclass(frozen=True, slots=True)
class Rows:
    """The judgements of both models about one kind of label; all arrays are [judgement]."""

    kind: str
    """Kind of label (see ``judged``)."""
    slice: str | None
    """The source, or None for all items."""
    first: np.ndarray
    """What the first model has right; NaN where it made no judgement."""
    second: np.ndarray
    """The same of the second."""
    prompts: np.ndarray
    """Key of the prompt."""
    sources: np.ndarray
    """Source of the item."""
    outside: tuple[Counter[str], Counter[str]]
    """Judgements of items that only the first, or only the second, has: source → number."""

    @property
    def known(self) -> np.ndarray:
        """Return [judgement] whether both models made it."""
        return ~(np.isnan(self.first) | np.isnan(self.second))

    def by_source(self) -> list[Rows]:
        """Return for each source the judgements that both models made; none where there is one source."""
        sources = sorted(set(self.sources[self.known]))
        return [self._of_source(source) for source in sources] if len(sources) > 1 else []

    def _of_source(self, source: str) -> Rows:
        kept = self.sources == source
        sides = self.first[kept], self.second[kept], self.prompts[kept], self.sources[kept]
        first, second = (Counter({source: each[source]}) for each in self.outside)
        return Rows(self.kind, source, *sides, (first, second))

    @property
    def left_out(self) -> LeftOut:
        """Return how many judgements were not compared."""
        first, second = (each.total() for each in self.outside)
        return LeftOut(first_only=first, second_only=second, unmade=int((~self.known).sum()))


def judgement_rows(
    pairs: Sequence[tuple[ItemScore, ItemScore]],
    everything: tuple[Sequence[ItemScore], Sequence[ItemScore]],
    tie_rule: TieRule,
) -> list[Rows]:
    """Return for each kind of label the judgements of two models on ``pairs``, which are part of ``everything``."""
    sides = [[pair[side] for pair in pairs] for side in (0, 1)]
    found = []
    for kind in kinds_of(sides[0]):
        first, second = (judged(items, kind, tie_rule) for items in sides)
        outside = [
            Counter(judged(items, kind, tie_rule).sources.tolist()) - Counter(first.sources.tolist())
            if len(items) > len(pairs)
            else Counter[str]()
            for items in everything
        ]
        sources = first.prompts, first.sources
        found.append(Rows(kind, None, first.right, second.right, *sources, (outside[0], outside[1])))
    return found


def by_certainty(rows: Sequence[Tested]) -> list[Tested]:
    """Return the tests in order, those that differ most surely first."""
    return sorted(rows, key=lambda row: (row.p_value, -abs(row.difference.value)))


def compared_judgements(rows: Sequence[Rows], settings: Settings) -> list[Tested]:
    """Return the tests of a family, with p-values adjusted over all of them."""
    raw = [
        permutation_test((each.first - each.second)[each.known], each.prompts[each.known], seed=settings.seed)
        for each in rows
    ]
    adjusted = zip(rows, raw, holm(raw), benjamini_hochberg(raw), strict=True)
    return [_tested(each, p_value, by_holm, by_rate, settings) for each, p_value, by_holm, by_rate in adjusted]


def _tested(rows: Rows, p_value: float, p_holm: float, p_rate: float, settings: Settings) -> Tested:
    first, second, prompts = rows.first[rows.known], rows.second[rows.known], rows.prompts[rows.known]
    differences, index = first - second, cluster_index(prompts)
    difference = paired_difference(differences, prompts, confidence=settings.confidence)
    assert difference is not None  # there is a judgement
    count = int(index.max()) + 1
    detectable = None
    if count > 1 and differences.any():
        quantile = student_quantile(settings.confidence, effective_clusters(np.bincount(index)))
        spread = (difference.high - difference.low) / 2 / quantile
        detectable = float(special.ndtri(1 - settings.alpha / 2) + special.ndtri(POWER)) * spread
    return Tested(
        kind=rows.kind,
        slice=rows.slice,
        n=len(differences),
        prompts=count,
        first=float(first.mean()),
        second=float(second.mean()),
        difference=difference,
        wins=int((differences > 0).sum()),
        losses=int((differences < 0).sum()),
        draws=int((differences == 0).sum()),
        p_value=p_value,
        sign_p_value=sign_test(differences, index),
        p_holm=p_holm,
        p_false_discovery=p_rate,
        detectable=detectable,
        tie_rule=settings.tie_rule,
        left_out=rows.left_out,
        verdict=_verdict(difference.value, p_holm, len(differences), count, settings),
    )


def _verdict(difference: float, p_holm: float, n: int, prompts: int, settings: Settings) -> str:
    size = f"n = {n:,}" if n == prompts else f"n = {n:,} ({prompts:,} prompt{'s' * (prompts != 1)})"
    if p_holm >= settings.alpha:
        return f"cannot be told apart at {size}"
    return f"{settings.models[0] if difference > 0 else settings.models[1]} is better at {size}"
