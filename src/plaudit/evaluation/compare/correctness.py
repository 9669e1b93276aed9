"""Per-item correctness of two models: accuracies, their difference, and its test.

Judgements stand in an order that depends on the data alone, so those of two models about the same items stand beside
each other, and a paired test can be made.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from plaudit.evaluation.compare.records import NotCompared, Tested
from plaudit.evaluation.metrics.best_of_n import Labels, labelled
from plaudit.evaluation.metrics.order import chance_of_picks, pairs_by_worth, rated_attributes, worth_by_rank
from plaudit.evaluation.metrics.preference import judged_pairs
from plaudit.records import ItemScore
from plaudit.statistics.agreement import TieRule, preference_accuracy
from plaudit.statistics.intervals import cluster_index, effective_clusters, student_quantile
from plaudit.statistics.paired_tests import benjamini_hochberg, holm, paired_difference, permutation_test, sign_test

_RATING = "rating "

POWER = 0.8
"""Chance of finding a difference as large as the detectable one."""


@dataclass(frozen=True, slots=True)
class Correctness:
    """Correctness of the judgements about one kind of label; all arrays are [judgement]."""

    right: np.ndarray
    """1 right, 0 wrong, between for a tie; NaN where a reward is missing or a tie is excluded."""
    prompts: np.ndarray
    """Key of the prompt."""
    sources: np.ndarray
    """Source of the item."""


def kinds_of(items: Iterable[ItemScore]) -> list[str]:
    """Return the kinds of label of ``items`` that come in judgements.

    They are ``preference``, ``ranking``, ``rating NAME`` and ``outcome``, each where ``correctness`` has one.
    """
    every = list(items)
    candidates = ["preference", "ranking", *(_RATING + name for name in rated_attributes(every)), "outcome"]
    return [kind for kind in candidates if any(_count(item, kind) for item in every)]


def correctness(items: Sequence[ItemScore], kind: str, tie_rule: TieRule) -> Correctness:
    """Return the correctness of the model that gave the rewards of ``items``.

    - ``preference``: each pair whose label has a winner;
    - ``ranking``, ``rating NAME``: each two responses of different rank or rating; a rating is compared with the
      model's output of that name, where the item has one;
    - ``outcome``: each group of several responses of known outcome: the chance that the response with the highest
      reward, one drawn where several are highest, is correct.

    ``tie_rule`` is for two equal rewards. A group with a missing reward among those that are compared (of preferences,
    any) is missing whole, as in the metrics of a result.
    """
    right: list[np.ndarray] = [np.zeros(0)]
    prompts: list[str] = []
    sources: list[str] = []
    for item in items:
        found = (
            _outcome(item)
            if kind == "outcome"
            else preference_accuracy(pair_margins(item, kind), tie_rule=tie_rule).by_pair
        )
        right.append(found)
        prompts += [item.prompt_key] * len(found)
        sources += [item.source] * len(found)
    return Correctness(np.concatenate(right), np.array(prompts, dtype=object), np.array(sources, dtype=object))


def _count(item: ItemScore, kind: str) -> int:
    return len(_outcome(item)) if kind == "outcome" else len(pair_margins(item, kind))


def pair_margins(item: ItemScore, kind: str) -> np.ndarray:
    """Return [judgement] the reward of the better response less that of the other; NaN where a reward is missing.

    ``kind`` is that of ``correctness``, but ``outcome``.
    """
    if kind == "preference":
        rewards, pairs = np.array(item.rewards, dtype=float), judged_pairs(item)
        margins = np.array([rewards[chosen] - rewards[rejected] for chosen, rejected in pairs], dtype=float)
    else:
        name = kind.removeprefix(_RATING)
        worth: Labels = worth_by_rank(item) if kind == "ranking" else item.ratings.get(name, ())
        numbers = item.attributes.get(name, item.rewards) if kind != "ranking" else item.rewards
        kept = labelled(worth)
        rewards = np.array([numbers[k] for k in kept], dtype=float)
        first, second, sign = pairs_by_worth(np.array([worth[k] for k in kept], dtype=float))
        margins = sign * (rewards[first] - rewards[second])
    return np.full(len(margins), np.nan) if np.isnan(rewards).any() else margins


def _outcome(item: ItemScore) -> np.ndarray:
    known = labelled(item.outcomes or ())
    if len(known) < 2:
        return np.zeros(0)
    rewards = np.array([item.rewards[k] for k in known], dtype=float)
    correct = np.array([(item.outcomes or ())[k] for k in known], dtype=float)
    return np.array([np.nan if np.isnan(rewards).any() else chance_of_picks(rewards, correct)])


@dataclass(frozen=True, slots=True)
class ComparisonSettings:
    """Settings of a comparison of two models."""

    alpha: float
    confidence: float
    seed: int
    models: tuple[str, str]
    tie_rule: TieRule


@dataclass(frozen=True, slots=True)
class JudgementRows:
    """The judgements of both models about one kind of label; all arrays are [judgement]."""

    kind: str
    """Kind of label (see ``correctness``)."""
    slice: str | None
    """The source, or None for all items."""
    first: np.ndarray
    """Per-item correctness of the first model; NaN where it made no judgement."""
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

    def by_source(self) -> list[JudgementRows]:
        """Return for each source the judgements that both models made; none where there is one source."""
        sources = sorted(set(self.sources[self.known]))
        return [self._of_source(source) for source in sources] if len(sources) > 1 else []

    def _of_source(self, source: str) -> JudgementRows:
        kept = self.sources == source
        sides = self.first[kept], self.second[kept], self.prompts[kept], self.sources[kept]
        first, second = (Counter({source: each[source]}) for each in self.outside)
        return JudgementRows(self.kind, source, *sides, (first, second))

    @property
    def left_out(self) -> NotCompared:
        """Return how many judgements were not compared."""
        first, second = (each.total() for each in self.outside)
        return NotCompared(first_only=first, second_only=second, unmade=int((~self.known).sum()))


def judgement_rows(
    pairs: Sequence[tuple[ItemScore, ItemScore]],
    everything: tuple[Sequence[ItemScore], Sequence[ItemScore]],
    tie_rule: TieRule,
) -> list[JudgementRows]:
    """Return for each kind of label the judgements of two models on ``pairs``, which are part of ``everything``."""
    sides = [[pair[side] for pair in pairs] for side in (0, 1)]
    found = []
    for kind in kinds_of(sides[0]):
        first, second = (correctness(items, kind, tie_rule) for items in sides)
        outside = [
            Counter(correctness(items, kind, tie_rule).sources.tolist()) - Counter(first.sources.tolist())
            if len(items) > len(pairs)
            else Counter[str]()
            for items in everything
        ]
        sources = first.prompts, first.sources
        found.append(JudgementRows(kind, None, first.right, second.right, *sources, (outside[0], outside[1])))
    return found


def by_certainty(rows: Sequence[Tested]) -> list[Tested]:
    """Return the tests in order, those that differ most surely first."""
    return sorted(rows, key=lambda row: (row.p_value, -abs(row.difference.value)))


def compared_judgements(rows: Sequence[JudgementRows], settings: ComparisonSettings) -> list[Tested]:
    """Return the tests of a family, with p-values adjusted over all of them."""
    raw = [
        permutation_test((each.first - each.second)[each.known], each.prompts[each.known], seed=settings.seed)
        for each in rows
    ]
    adjusted = zip(rows, raw, holm(raw), benjamini_hochberg(raw), strict=True)
    return [_tested(each, p_value, by_holm, by_rate, settings) for each, p_value, by_holm, by_rate in adjusted]


def _tested(rows: JudgementRows, p_value: float, p_holm: float, p_rate: float, settings: ComparisonSettings) -> Tested:
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
    over = f"at n = {len(differences):,}"
    if count != len(differences):
        over += f" ({count:,} prompt{'s' * (count != 1)})"
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
        verdict=verdict(difference.value, p_holm, settings, better="better", over=over),
    )


def verdict(difference: float, p_holm: float, settings: ComparisonSettings, *, better: str, over: str) -> str:
    """Return in words which model is ``better`` than the other ``over`` the data compared, if any is."""
    if p_holm >= settings.alpha:
        return f"cannot be told apart {over}"
    return f"{settings.models[0] if difference > 0 else settings.models[1]} is {better} {over}"
