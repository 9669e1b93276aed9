"""What an accuracy hides: the pull of length, and how much better the model is where it is sure."""

from __future__ import annotations

import numpy as np

from plaudit.evaluation.metrics.estimates import Estimator
from plaudit.evaluation.metrics.measure import Findings
from plaudit.evaluation.metrics.pairs import PairTable
from plaudit.statistics.agreement import TieRule, preference_accuracy
from plaudit.statistics.length_control import length_balanced_accuracy, length_controlled_accuracy
from plaudit.statistics.selective import excess_risk_coverage, selective_accuracy

LENGTH_FIGURES = ("length_controlled_accuracy", "length_balanced_accuracy")
"""Accuracy without the pull of length, by regression and by both directions alike."""
SUREST_HALF = "accuracy_surest_half"
"""Accuracy on the half of the pairs that the model is surest of."""

_COVERAGES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_NO_PAIRS = "no pair is left to judge by this rule of ties"
_ONE_PROMPT = "all pairs are of one prompt, which says nothing about others"


def put_length_control(found: Findings, pairs: PairTable, tie_rule: TieRule, estimate: Estimator) -> None:
    """Put ``LENGTH_FIGURES`` over the pairs that count under ``tie_rule``."""
    kept, correct = _judged(pairs, tie_rule)
    for name, control in zip(LENGTH_FIGURES, (length_controlled_accuracy, length_balanced_accuracy), strict=True):
        made = control(correct, kept.length_differences, kept.prompts, confidence=estimate.confidence)
        found.put(name, made.interval, made.reason or "")


def put_verbosity(found: Findings, pairs: PairTable, estimate: Estimator) -> None:
    """Put how often the model, and the label, prefer the longer of two responses of different length.

    ``prefers_longer`` is the share of pairs whose longer response has the higher reward, an exact tie counting as half;
    ``chosen_longer`` that whose longer response is the chosen one; ``verbosity`` the first less the second, above 0
    where the model is drawn to length more than the label is. All three are over the same pairs.
    """
    names = ("prefers_longer", "chosen_longer", "verbosity")
    parted = pairs.where(pairs.length_differences != 0)
    if not len(parted):
        found.absent |= dict.fromkeys(names, "the two responses of every pair are equally long")
        return
    is_longer = (parted.length_differences > 0).astype(float)
    by_model = np.where(parted.margins == 0, 0.5, (np.sign(parted.margins) == np.sign(parted.length_differences)))
    figures = (
        estimate.share(by_model, parted.prompts),
        estimate.share(is_longer, parted.prompts),
        estimate.mean(by_model - is_longer, parted.prompts),
    )
    for name, interval in zip(names, figures, strict=True):
        found.put(name, interval, _ONE_PROMPT)


def put_selective(found: Findings, pairs: PairTable, tie_rule: TieRule, estimate: Estimator) -> list[dict[str, float]]:
    """Put the accuracy on the surest half of the pairs and how well sureness ranks errors; return accuracy by coverage.

    A model is the surer of a pair, the larger its absolute margin: that needs no unit. ``excess_risk_coverage`` is 0
    where every error comes behind every right pair, see ``statistics.selective``. A row of the table holds the
    ``coverage`` (share of pairs), the least absolute margin in it (``threshold``), and the ``accuracy`` from ``low`` to
    ``high`` over ``n`` pairs.
    """
    kept, correct = _judged(pairs, tie_rule)
    sure, prompts = np.abs(kept.margins), kept.prompts
    points = selective_accuracy(sure, correct, prompts, coverages=_COVERAGES, level=estimate.confidence)
    half = points[_COVERAGES.index(0.5)].accuracy if points else None
    found.put(SUREST_HALF, half, _NO_PAIRS)
    excess = estimate.of_rows(lambda rows: excess_risk_coverage(sure[rows], correct[rows]), prompts) if points else None
    found.put("excess_risk_coverage", excess, _ONE_PROMPT if points else _NO_PAIRS)
    return [
        {
            "coverage": point.coverage,
            "threshold": point.threshold,
            "accuracy": point.accuracy.value,
            "low": point.accuracy.low,
            "high": point.accuracy.high,
            "n": float(point.accuracy.n),
        }
        for point in points
    ]


def _judged(pairs: PairTable, tie_rule: TieRule) -> tuple[PairTable, np.ndarray]:
    """Return the pairs that count under ``tie_rule``, and for each 1 right, 0 wrong, ½ for half."""
    agreement = preference_accuracy(pairs.margins, tie_rule=tie_rule)
    return pairs.where(agreement.scored), agreement.correct
