"""One result over whatever labels the groups carry: preferences, ranks, ratings, outcomes, steps."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from plaudit.evaluation.metrics.estimates import Estimator
from plaudit.evaluation.metrics.measure import Maker, Status, label_counts, with_slices
from plaudit.evaluation.metrics.outcome import measure_outcome, outcome_status
from plaudit.evaluation.metrics.pairs import has_label
from plaudit.evaluation.metrics.position_bias import position_effect
from plaudit.evaluation.metrics.preference import CONFIDENCE, DEFAULT_TIE_RULE, RESAMPLES, TieRule, evaluate_items
from plaudit.evaluation.metrics.ranking import measure_ranking, ranking_status
from plaudit.evaluation.metrics.rating import measure_rating, predicts, rated_attributes, rating_status
from plaudit.evaluation.metrics.reward_scale import is_relative
from plaudit.evaluation.metrics.step import labels_have_three_classes, measure_steps, reads_steps, step_status
from plaudit.records import ItemScore, Result


def evaluate_labels(
    items: Sequence[ItemScore],
    *,
    name: str,
    model: str,
    tie_rule: TieRule = DEFAULT_TIE_RULE,
    seed: int = 0,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    recipe_hash: str | None = None,
    data_fingerprint: str | None = None,
    relative: bool = False,
) -> Result:
    """Return every figure about every kind of label that ``items`` carry, from the items alone.

    Preferences fill the result's own fields (see ``evaluate_items``); ranks, each rated attribute, outcomes and steps
    are a ``Measure`` each, and are there where some item carries the label. An item counts as scored where it is for
    any of them, else as failed where it failed for any, else as unscored; ``labels`` has the counts of each kind.
    ``relative``, or an item that says so, makes a reward a number of its group, as of a model that compares responses:
    figures over responses to different prompts are then absent.
    """
    relative = relative or is_relative(items)
    estimate = Estimator(confidence=confidence, resamples=resamples, seed=seed)
    result = evaluate_items(
        items,
        name=name,
        model=model,
        tie_rule=tie_rule,
        seed=seed,
        confidence=confidence,
        resamples=resamples,
        recipe_hash=recipe_hash,
        data_fingerprint=data_fingerprint,
        relative=relative,
    )
    every = [_preference_statuses(items)]
    measures = []
    for statuses, make in _makers(items, tie_rule, estimate, relative=relative):
        if any(status != "absent" for status in statuses):
            measures.append(with_slices(make, items, statuses))
            every.append(statuses)
    names = ["preference", *(measure.name for measure in measures)]
    counts = {name: label_counts(statuses) for name, statuses in zip(names, every, strict=True)}
    overall = [_overall(statuses) for statuses in zip(*every, strict=True)]
    return result.model_copy(
        update={
            "scored": overall.count("scored"),
            "unscored": overall.count("unscored"),
            "failed": overall.count("failed"),
            "labels": {name: each for name, each in counts.items() if each.n},
            "measures": tuple(measures),
            "position": position_effect(items),
        }
    )


def _makers(
    items: Sequence[ItemScore], tie_rule: TieRule, estimate: Estimator, *, relative: bool
) -> list[tuple[list[Status], Maker]]:
    """Return for each kind of label, and each rated attribute, what becomes of the items and what measures them."""
    ranking = partial(measure_ranking, tie_rule=tie_rule, estimate=estimate)
    makers: list[tuple[list[Status], Maker]] = [([ranking_status(item) for item in items], ranking)]
    for attribute in rated_attributes(items):
        predicted = predicts(items, attribute)
        statuses = [rating_status(item, attribute, predicted=predicted) for item in items]
        rating = partial(
            measure_rating,
            attribute=attribute,
            predicted=predicted,
            tie_rule=tie_rule,
            estimate=estimate,
            relative=relative,
        )
        makers.append((statuses, rating))
    outcome = partial(measure_outcome, tie_rule=tie_rule, estimate=estimate, relative=relative)
    makers.append(([outcome_status(item) for item in items], outcome))
    how = {"three_classes": labels_have_three_classes(items), "by_step": reads_steps(items)}
    steps = partial(measure_steps, estimate=estimate, relative=relative, **how)
    makers.append(([step_status(item, **how) for item in items], steps))
    return makers


def _preference_statuses(items: Sequence[ItemScore]) -> list[Status]:
    statuses: list[Status] = []
    for item in items:
        if not item.preferences:
            statuses.append("absent")
        elif not has_label(item):
            statuses.append("unscored")
        else:
            statuses.append("failed" if None in item.rewards else "scored")
    return statuses


def _overall(statuses: Sequence[Status]) -> Status:
    order: tuple[Status, ...] = ("scored", "failed")
    return next((status for status in order if status in statuses), "unscored")
