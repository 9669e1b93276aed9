"""The result of a benchmark, from its items alone."""

from __future__ import annotations

from collections.abc import Sequence

from plaudit.errors import DataError
from plaudit.evaluation.metrics.estimates import Estimator
from plaudit.evaluation.metrics.labels import evaluate_labels
from plaudit.evaluation.metrics.preference import CONFIDENCE, DEFAULT_TIE_RULE, RESAMPLES, TieRule
from plaudit.evaluation.official.benchmark import Benchmark
from plaudit.records import ItemScore, Result


def benchmark_result(
    items: Sequence[ItemScore],
    benchmark: Benchmark,
    *,
    model: str,
    tie_rule: TieRule = DEFAULT_TIE_RULE,
    seed: int = 0,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    recipe_hash: str | None = None,
    data_fingerprint: str | None = None,
    relative: bool = False,
) -> Result:
    """Return the result of ``items`` on ``benchmark``: its measure first, then what every kind of label says.

    The items of an ``items.jsonl`` are enough: no figure needs the model or the data. The counts of the result are
    those of the measure. ``tie_rule`` and ``relative`` are for the labels, see ``evaluate_labels``; the official
    figures have rules of their own.

    Raises:
        DataError: when the items lack a fact that the figures need.
    """
    result = evaluate_labels(
        items,
        name=benchmark.name,
        model=model,
        tie_rule=tie_rule,
        seed=seed,
        confidence=confidence,
        resamples=resamples,
        recipe_hash=recipe_hash,
        data_fingerprint=data_fingerprint,
        relative=relative,
    )
    try:
        measure = benchmark.measure(items, Estimator(confidence=confidence, resamples=resamples, seed=seed))
    except KeyError as error:
        raise DataError(
            f"the items lack the fact {error} that {benchmark.title} needs: they are of another benchmark, or of "
            "an older version; evaluate again"
        ) from error
    counts = measure.counts
    return result.model_copy(
        update={
            "n": counts.n,
            "scored": counts.scored,
            "unscored": counts.unscored,
            "failed": counts.failed,
            "labels": {measure.name: counts, **result.labels},
            "measures": (measure, *result.measures),
        }
    )
