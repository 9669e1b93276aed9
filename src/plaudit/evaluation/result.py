"""Assembly of a ``Result``, here only: from scored items, their measures, and counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from plaudit.errors import DataError
from plaudit.evaluation.metrics.metric_set import Maker, Status, label_counts, with_slices
from plaudit.evaluation.metrics.order import predicts, ranking_metrics, rated_attributes, rating_metrics
from plaudit.evaluation.metrics.outcome import outcome_metrics
from plaudit.evaluation.metrics.preference import CONFIDENCE, DEFAULT_TIE_RULE, RESAMPLES, TieRule, preference_metrics
from plaudit.evaluation.metrics.reward_scale import is_relative
from plaudit.evaluation.metrics.steps import reads_steps, step_classes, step_metrics
from plaudit.evaluation.official.benchmark import Benchmark
from plaudit.provenance import stamp
from plaudit.records import ItemScore, LabelCounts, Measure, PositionEffect, Result
from plaudit.statistics.intervals import fraction_interval
from plaudit.statistics.metric import IntervalSettings
from plaudit.statistics.position_bias import both_orders

MAX_REASONS = 20
"""Reasons that are named; the items of others are counted together."""
OTHER_REASONS = "other reasons"


def assemble_result(
    items: Sequence[ItemScore],
    *,
    name: str,
    model: str,
    benchmark: Benchmark | None = None,
    tie_rule: TieRule = DEFAULT_TIE_RULE,
    seed: int = 0,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    recipe_hash: str | None = None,
    data_fingerprint: str | None = None,
    relative: bool = False,
    counts: Mapping[str, int] | None = None,
    left_out: Mapping[str, int] | None = None,
) -> Result:
    """Return every metric of every kind of label that ``items`` carry; of a ``benchmark`` its official measure first.

    The items of an ``items.jsonl`` are enough: no metric needs the model or the data. An item counts as scored where
    it is for any kind of label, else as failed where it failed for any, else as unscored; of a benchmark the counts
    are those of its official measure. ``tie_rule`` is for the labels; official metrics have rules of their own.
    ``relative``, or an item that says so, makes a reward a number of its group, as of a model that compares responses:
    metrics over responses to different prompts are then absent.

    ``counts`` are further counts for ``Result.details`` (truncated responses, rewards of no group); ``left_out`` the
    rows of the data that are no items, by reason.

    Raises:
        DataError: when the items lack a field of ``metadata`` that the official metrics need.
    """
    settings = IntervalSettings(confidence=confidence, resamples=resamples, seed=seed)
    measures, overall = measure_labels(
        items, tie_rule=tie_rule, settings=settings, relative=relative or is_relative(items)
    )
    if benchmark is not None:
        official = _official_measure(items, benchmark, settings)
        measures, overall = [official, *measures], official.counts
    return Result(
        name=name,
        model=model,
        recipe_hash=recipe_hash,
        data_fingerprint=data_fingerprint,
        tie_rule=tie_rule,
        n=overall.n,
        scored=overall.scored,
        unscored=overall.unscored,
        failed=overall.failed,
        measures=tuple(measures),
        position=position_effect(items),
        details=completeness(items) | dict(counts or {}),
        reasons=missing_reasons(items),
        left_out=dict(left_out or {}),
        **stamp(),
    )


def _official_measure(items: Sequence[ItemScore], benchmark: Benchmark, settings: IntervalSettings) -> Measure:
    try:
        return benchmark.measure(items, settings)
    except KeyError as error:
        raise DataError(
            f"the items lack the field {error} of metadata that {benchmark.title} needs: they are of another "
            "benchmark, or of an older version; evaluate again"
        ) from error


def measure_labels(
    items: Sequence[ItemScore], *, tie_rule: TieRule, settings: IntervalSettings, relative: bool
) -> tuple[list[Measure], LabelCounts]:
    """Return a measure for each kind of label, and each rated attribute, that some item carries, and overall counts.

    Overall an item counts as scored where it is for any kind of label, else as failed where it failed for any, else as
    unscored; the counts of one kind are in its measure.
    """
    found = [preference_metrics(items, tie_rule=tie_rule, relative=relative)]
    found += [with_slices(make, items) for make in _makers(items, tie_rule, relative=relative)]
    measures = [each.measure(settings) for each in found if each.counts.n]
    return measures, label_counts(_overall(each) for each in zip(*(each.statuses for each in found), strict=True))


def _makers(items: Sequence[ItemScore], tie_rule: TieRule, *, relative: bool) -> list[Maker]:
    """Return the measurer of each kind of label but preferences, and of each rated attribute."""
    ratings = [
        partial(
            rating_metrics,
            attribute=attribute,
            predicted=predicts(items, attribute),
            tie_rule=tie_rule,
            relative=relative,
        )
        for attribute in rated_attributes(items)
    ]
    how = {"classes": step_classes(items), "by_step": reads_steps(items)}
    return [
        partial(ranking_metrics, tie_rule=tie_rule),
        *ratings,
        partial(outcome_metrics, tie_rule=tie_rule, relative=relative),
        partial(step_metrics, relative=relative, **how),
    ]


def _overall(statuses: Sequence[Status]) -> Status:
    order: tuple[Status, ...] = ("scored", "failed")
    return next((status for status in order if status in statuses), "unscored")


def position_effect(items: Sequence[ItemScore]) -> PositionEffect | None:
    """Return the position bias of the comparisons of ``items``; None where no pair was compared in both orders.

    Intervals are over prompts (see ``fraction_interval``).
    """
    rows = [(each, item.prompt_key) for item in items for each in item.comparisons]
    if not rows:
        return None
    first, inconsistent = both_orders([given for (given, _), _ in rows], [turned for (_, turned), _ in rows])
    prompts = np.array([prompt for _, prompt in rows], dtype=object)
    named_first, decides = (fraction_interval(values, prompts) for values in (first, inconsistent))
    assert named_first is not None
    assert decides is not None
    return PositionEffect(pairs=len(rows), first=named_first, inconsistent=decides)


def completeness(items: Sequence[ItemScore]) -> dict[str, int]:
    """Return the counts that a result rests on; none of no items.

    ``repeated_ids`` counts the items whose id an item before them has. ``missing_rewards`` counts responses, of items
    with and without labels; ``items_missing_rewards`` the items that they are of.
    """
    if not items:
        return {}
    sizes = [len(item.rewards) for item in items]
    missing = [item.rewards.count(None) for item in items]
    return {
        "prompts": len({item.prompt_key for item in items}),
        "responses": sum(sizes),
        "fewest_responses": min(sizes),
        "most_responses": max(sizes),
        "repeated_ids": len(items) - len({item.id for item in items}),
        "missing_rewards": sum(missing),
        "items_missing_rewards": sum(count > 0 for count in missing),
    }


def missing_reasons(items: Sequence[ItemScore]) -> dict[str, int]:
    """Return why rewards are missing: reason → items, the most frequent first, those past ``MAX_REASONS`` together."""
    found = Counter(item.reason or "no reason given" for item in items if None in item.rewards)
    named = dict(found.most_common(MAX_REASONS))
    rest = found.total() - sum(named.values())
    return {**named, OTHER_REASONS: rest} if rest else named
