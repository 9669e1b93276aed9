"""Composite metrics of categories: a mean of sections, each a weighted mean of subsets, and so on.

A benchmark decides official comparisons, each in one category; ``composite`` makes a metric of the comparisons of
several categories, and ``category_metrics`` all metrics of a benchmark whose official ones are composites.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Union, assert_never, final

import numpy as np

from plaudit.evaluation.metrics.metric_set import MetricSet
from plaudit.records import ItemScore, LabelCounts
from plaudit.statistics.metric import (
    Floats,
    Metric,
    PromptSums,
    RowMean,
    TotalsFormula,
    WeightedProportions,
    exact_value,
    ratio,
)

Part = Union[str, tuple[str, ...], "WeightedMean", "Total", "Difference"]
"""A category, several categories whose comparisons are pooled, or a composite of such."""


@final
@dataclass(frozen=True, slots=True)
class WeightedMean:
    """A weighted mean of parts, given as (weight, part); a part without any comparison does not count."""

    parts: tuple[tuple[float, Part], ...]

    def of(self, totals: Totals) -> Floats:
        """Return [resample] its value; NaN where no part has one."""
        values = np.stack([totals.value(part) for _, part in self.parts])
        weights = np.array([weight for weight, _ in self.parts])[:, None] * ~np.isnan(values)
        total = weights.sum(axis=0)
        return ratio((np.where(np.isnan(values), 0.0, values) * weights).sum(axis=0), total)


@final
@dataclass(frozen=True, slots=True)
class Total:
    """A weighted sum of parts, given as (weight, part); without a value where a part has none."""

    parts: tuple[tuple[float, Part], ...]

    def of(self, totals: Totals) -> Floats:
        """Return [resample] its value; NaN where it has none."""
        return np.stack([weight * totals.value(part) for weight, part in self.parts]).sum(axis=0)


@final
@dataclass(frozen=True, slots=True)
class Difference:
    """One part less another; without a value where one of them has none."""

    first: Part
    second: Part

    def of(self, totals: Totals) -> Floats:
        """Return [resample] its value; NaN where it has none."""
        return totals.value(self.first) - totals.value(self.second)


@final
@dataclass(frozen=True, slots=True)
class Totals:
    """Sums and numbers of comparisons, both [resample, category], with the column of each category."""

    sums: Floats
    sizes: Floats
    column: Mapping[str, int]

    def value(self, part: Part) -> Floats:
        """Return [resample] the value of ``part``; NaN where it has none."""
        if isinstance(part, str):
            return self.mean((part,))
        return self.mean(part) if isinstance(part, tuple) else part.of(self)

    def mean(self, pool: tuple[str, ...]) -> Floats:
        """Return [resample] the mean over the comparisons of all categories of ``pool``; NaN where there are none."""
        columns = [self.column[category] for category in pool]
        return ratio(self.sums[:, columns].sum(axis=1), self.sizes[:, columns].sum(axis=1))


def mean_of(*parts: Part) -> WeightedMean:
    """Return the mean of parts that weigh the same."""
    return WeightedMean(tuple((1.0, part) for part in parts))


def weighted(weights: Mapping[str, float]) -> WeightedMean:
    """Return the mean of categories with these weights."""
    return WeightedMean(tuple((weight, category) for category, weight in weights.items()))


def categories_of(part: Part) -> set[str]:
    """Return the categories that ``part`` is made of."""
    return {category for pool in _pools(part) for category in pool}


def _pools(part: Part) -> set[tuple[str, ...]]:
    if isinstance(part, str):
        return {(part,)}
    if isinstance(part, tuple):
        return {part}
    inside = (part.first, part.second) if isinstance(part, Difference) else [each for _, each in part.parts]
    return set().union(*map(_pools, inside))


def _is_proportion(part: Part, here: Collection[str]) -> bool:
    """Return whether ``part`` over rows of the categories ``here`` is the mean of one pool, no composite."""
    if not isinstance(part, WeightedMean):
        return not isinstance(part, Total | Difference)
    inside = [each for _, each in part.parts if not categories_of(each).isdisjoint(here)]
    return len(set(inside)) == 1 and _is_proportion(inside[0], here)


def composite(
    values: Sequence[float], categories: Sequence[str], prompts: Sequence[str], part: Part
) -> RowMean | TotalsFormula | None:
    """Return the metric ``part`` over the rows of ``values`` [row]; None where no row is of its categories.

    Rows of other categories do not count. Of one pool it is a mean over rows. Where all rows are of different prompts a
    composite is a weighted sum of independent proportions, which have an interval of their own.
    """
    column = {category: number for number, category in enumerate(sorted(categories_of(part)))}
    rows = [index for index, category in enumerate(categories) if category in column]
    if not rows:
        return None
    kept = np.array([values[index] for index in rows], dtype=float)
    labels = [prompts[index] for index in rows]
    if _is_proportion(part, {categories[index] for index in rows}):
        return RowMean(kept, labels, "fraction")
    place = np.array([column[categories[index]] for index in rows])
    width = len(column)

    def formula(totals: Floats) -> Floats:
        return Totals(totals[:, :width], totals[:, width:], column).value(part)

    names = (*column, *(f"{category}: rows" for category in column))
    entries = np.concatenate([kept, np.ones(len(kept))]), np.concatenate([place, place + width])
    sums = PromptSums.of_entries(*entries, names, [*labels, *labels])
    independent = len(sums.prompts) == len(rows) and kept.min() >= 0.0 and kept.max() <= 1.0
    least, most = _range(part, min(float(kept.min()), 0.0), max(float(kept.max()), 1.0))
    return TotalsFormula(
        sums,
        formula,
        len(rows),
        least=least,
        most=most,
        drawn="times by name",
        proportions=_proportions(sums.total[0], part, column) if independent else None,
    )


def _range(part: Part, low: float, high: float) -> tuple[float, float]:
    """Return the bounds of ``part`` where the values of every comparison lie between ``low`` and ``high``."""
    match part:
        case str() | tuple():
            return low, high
        case WeightedMean(parts):
            ends = [_range(each, low, high) for _, each in parts]
            return min(end for end, _ in ends), max(end for _, end in ends)
        case Total(parts):
            weighted_ends = [(weight, _range(each, low, high)) for weight, each in parts]
            return sum(w * ends[0] for w, ends in weighted_ends), sum(w * ends[1] for w, ends in weighted_ends)
        case Difference(first, second):
            ours, theirs = _range(first, low, high), _range(second, low, high)
            return ours[0] - theirs[1], ours[1] - theirs[0]
        case _:
            assert_never(part)


def _proportions(totals: Floats, part: Part, column: Mapping[str, int]) -> WeightedProportions | None:
    """Return ``part`` as a weighted sum of proportions; None where a category is in two of its pools.

    The weight of a pool is the value of ``part`` where all of the pool is won and nothing else is.
    """
    sums, sizes = totals[: len(column)], totals[len(column) :]
    pools = [[column[category] for category in pool] for pool in sorted(_pools(part))]
    pools = [pool for pool in pools if sizes[pool].any()]
    places = [place for pool in pools for place in pool]
    if len(set(places)) < len(places):
        return None
    won = np.zeros((len(pools), len(sizes)))
    for number, pool in enumerate(pools):
        won[number, pool] = sizes[pool]
    weights = Totals(won, np.broadcast_to(sizes, won.shape), column).value(part)
    if not weights.any() or np.isnan(weights).any():
        return None
    right, counts = (np.array([each[pool].sum() for pool in pools]) for each in (sums, sizes))
    return WeightedProportions(weights, right, counts)


@final
@dataclass(frozen=True, slots=True)
class ComparisonOutcome:
    """One official comparison, as the rewards of one item decide it."""

    category: str
    """The smallest set of comparisons that has a metric of its own."""
    prompt: str
    """The prompt, for clustering."""
    official: float
    """1 won, 0 lost, between where the official rule shares a tie; a missing reward by the benchmark's rule."""
    common: float | None
    """The same with ties shared: the chance that a wanted one is drawn of the best. None: a reward is missing."""
    tied: float
    """1 where equal rewards stand where the comparison is decided, else 0; a proportion, where it is several."""
    chance: float
    """Expected value with rewards drawn at random."""


Decide = Callable[[ItemScore], Sequence[ComparisonOutcome]]
"""Returns the official comparisons of one item, by the rewards it carries."""

DecideAll = Callable[[Sequence[ItemScore]], Sequence[ComparisonOutcome]]
"""The same of all items at once, for comparisons that need several of them."""


def subset_of(item: ItemScore) -> str:
    """Return the subset of an item."""
    return str(item.metadata["subset"])


def category_metrics(
    items: Sequence[ItemScore],
    decide: Decide,
    parts: Mapping[str, Part],
    *,
    in_order: bool = False,
    details: Mapping[str, int] | None = None,
    slice_of: Callable[[ItemScore], str] = subset_of,
) -> MetricSet:
    """Return the metrics of a benchmark whose official ones are ``parts``, the first of them the primary one.

    See ``put_composites``. The slices, subsets unless ``slice_of`` says otherwise, come worst first. ``details`` are
    further counts.
    """
    primary = next(iter(parts))
    found = MetricSet("benchmark", primary, reward_counts(items))
    counts = put_composites(found, items, one_by_one(decide), parts, in_order=in_order)
    found.details = counts | dict(details or {})
    found.slices = worst_first(items, decide, primary, slice_of=slice_of)
    return found


def published_result(item: ItemScore) -> float | None:
    """Return the proportion of its comparison that ``item`` is published to have won, of results without rewards."""
    result = item.metadata.get("result")
    if any(reward is not None for reward in item.rewards) or not isinstance(result, int | float):
        return None
    return float(result)


def reward_counts(items: Sequence[ItemScore]) -> LabelCounts:
    """Return how many items have all rewards, or a published result (scored), and how many lack one (failed)."""
    failed = sum(None in item.rewards and published_result(item) is None for item in items)
    return LabelCounts(n=len(items), scored=len(items) - failed, unscored=0, failed=failed)


def one_by_one(decide: Decide) -> DecideAll:
    """Return a ``DecideAll`` that decides each item alone."""

    def decide_all(items: Sequence[ItemScore]) -> list[ComparisonOutcome]:
        return [row for item in items for row in decide(item)]

    return decide_all


def composite_of(rows: Sequence[ComparisonOutcome], part: Part) -> RowMean | TotalsFormula | None:
    """Return the metric ``part`` over comparisons, by the official rule."""
    return composite([row.official for row in rows], [row.category for row in rows], [row.prompt for row in rows], part)


def put_composites(
    found: MetricSet,
    items: Sequence[ItemScore],
    decide: DecideAll,
    parts: Mapping[str, Part],
    *,
    in_order: bool,
    ties: bool = True,
) -> dict[str, int]:
    """Put the metrics ``parts``, the first of which is the primary one; return the counts behind them.

    Beside each metric stand baselines that read no response, by the same official rule: the longest response,
    the first one where ``in_order`` (where the order of the responses is not that of the labels), and rewards at
    random, exactly. With ``ties`` there is for the primary metric also ``PRIMARY_ties_shared``, the same over items
    that have all rewards with ties shared, and ``tie_rate``, the proportion of the comparisons there that a tie
    decides.
    """
    rows = decide(items)
    rules = {"longer_response": with_lengths(items), **({"first_response": with_places(items)} if in_order else {})}
    decided = {name: decide(each) for name, each in rules.items() if each is not None}
    for name, part in parts.items():
        own = categories_of(part)
        inside = [row for row in rows if row.category in own]
        if not any(row.common is not None for row in inside):
            why = "no row of it is here" if not inside else "none of its comparisons has its rewards"
            found.put(name, None, why)
            continue
        found.put(name, composite_of(inside, part), "a part of it has no row here")
        found.beside(name, **{rule: composite_of(each, part) for rule, each in decided.items()})
        chance = [row.chance for row in inside], [row.category for row in inside], [row.prompt for row in inside]
        found.beside(name, random=exact_value(composite(*chance, part)))
    primary, part = next(iter(parts.items()))
    if ties:
        _put_ties(found, primary, part, rows)
    own = categories_of(part)
    inside = [row for row in rows if row.category in own]
    return {
        "comparisons": len(inside),
        "tied_comparisons": sum(row.tied > 0 for row in inside),
        "comparisons_without_a_reward": sum(row.common is None for row in inside),
    }


def _put_ties(found: MetricSet, primary: str, part: Part, rows: Sequence[ComparisonOutcome]) -> None:
    """Put the primary metric with ties shared and the rate of ties, over comparisons that have all rewards.

    Where some lack one there is also ``PRIMARY_scored``, by the official rule over the others.
    """
    own = categories_of(part)
    whole = [row for row in rows if row.common is not None and row.category in own]
    categories, prompts = [row.category for row in whole], [row.prompt for row in whole]
    why = "no comparison has all of its rewards"
    if len(whole) < sum(row.category in own for row in rows):
        found.put(f"{primary}_scored", composite_of(whole, part), why)
    shared = [row.common or 0.0 for row in whole]
    found.put(f"{primary}_ties_shared", composite(shared, categories, prompts, part), why)
    found.put("tie_rate", mean_of_rows([row.tied for row in whole], prompts), why)


def mean_of_rows(values: Sequence[float], prompts: Sequence[str]) -> RowMean | None:
    """Return the mean of ``values`` [row], each from 0 to 1; None of none."""
    return RowMean(np.array(values, dtype=float), prompts, "fraction") if len(values) else None


def worst_first(
    items: Sequence[ItemScore], decide: Decide, primary: str, *, slice_of: Callable[[ItemScore], str]
) -> dict[str, dict[str, Metric]]:
    """Return for each slice the mean over its comparisons and that of the longest response, the worst one first."""
    slices: dict[str, dict[str, Metric]] = {}
    for name, own in ((primary, items), ("longer_response", with_lengths(items))):
        by_slice: dict[str, list[ComparisonOutcome]] = {}
        for item in own or ():
            by_slice.setdefault(slice_of(item), []).extend(decide(item))
        for subset, rows in sorted(by_slice.items()):
            if name == primary and all(row.common is None for row in rows):
                continue  # nothing was scored: there is no metric to stand first
            metric = mean_of_rows([row.official for row in rows], [row.prompt for row in rows])
            if metric is not None and (name == primary or subset in slices):
                slices.setdefault(subset, {})[name] = metric
    return lowest_first(slices, primary)


def lowest_first(slices: Mapping[str, dict[str, Metric]], primary: str) -> dict[str, dict[str, Metric]]:
    """Return the slices by rising value of their primary metric, those of one value by name."""
    return dict(sorted(slices.items(), key=lambda pair: (pair[1][primary].value or 0.0, pair[0])))


def with_lengths(items: Sequence[ItemScore]) -> list[ItemScore] | None:
    """Return the items with the length of each response as its reward; None where lengths are not known."""
    if any(len(item.lengths) != len(item.rewards) for item in items):
        return None
    return [_rewarded(item, tuple(map(float, item.lengths))) for item in items]


def with_places(items: Sequence[ItemScore]) -> list[ItemScore]:
    """Return the items with the first response preferred, and each other one to those behind it."""
    return [_rewarded(item, tuple(-float(place) for place in range(len(item.rewards)))) for item in items]


def _rewarded(item: ItemScore, rewards: tuple[float, ...]) -> ItemScore:
    return item.model_copy(update={"rewards": rewards, "attributes": {}, "steps": None})


def pair_outcome(
    item: ItemScore, chosen: int, rejected: int, *, category: str, tie: float = 0.0, missing: float = 0.0
) -> ComparisonOutcome:
    """Return the comparison of two responses; ``tie`` and ``missing`` are the official values of those.

    Published results without rewards are taken as they are: of a judge, 0.5 is a tie.
    """
    result = published_result(item)
    if result is not None:
        return ComparisonOutcome(category, item.prompt_key, result, result, float(result == 0.5), 0.5)
    better, worse = item.rewards[chosen], item.rewards[rejected]
    if better is None or worse is None:
        return ComparisonOutcome(category, item.prompt_key, missing, None, 0.0, 0.5)
    tied = better == worse
    won = float(better > worse)
    return ComparisonOutcome(category, item.prompt_key, tie if tied else won, 0.5 if tied else won, float(tied), 0.5)
