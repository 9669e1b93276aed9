"""How far σ of a margin can be trusted as a probability: as the model gives it, and after a temperature."""

from __future__ import annotations

import numpy as np

from plaudit.evaluation.metrics.estimates import Estimator
from plaudit.evaluation.metrics.measure import Findings
from plaudit.evaluation.metrics.pairs import PairTable
from plaudit.evaluation.metrics.reward_scale import UnitReading
from plaudit.statistics import calibration

BINS = 10
"""Reliability bins, of equal numbers of pairs."""

ONE_PROMPT = "all pairs are of one prompt, which says nothing about others"
"""Why a mean over pairs has no interval, and so no value."""

Curves = dict[str, list[dict[str, float]]]

_FEW = "most resamples of the prompts have none, so it says nothing about other prompts"


def put_calibration(found: Findings, pairs: PairTable, reading: UnitReading, estimate: Estimator) -> Curves:
    """Put every figure of calibration, and return the tables of the reliability diagrams.

    ``brier`` and ``expected_calibration_error`` are of σ(margin) as the model gives it: they are absent where the
    rewards are no log-odds. ``temperature`` is what margins are best divided by. The figures that end in
    ``_after_temperature`` are of margins so divided, each by the temperature that was fitted on the other half of the
    prompts; they compare models whatever the units of their rewards are. The two temperatures are held fixed in their
    intervals.
    """
    curves: Curves = {}
    if reading.log_odds:
        _put(found, "", pairs.margins, pairs.prompts, estimate)
        curves["reliability"] = _bins(pairs.margins, estimate)
    else:
        found.absent |= dict.fromkeys(("brier", "expected_calibration_error"), reading.words)
    _put_temperature(found, pairs, estimate)
    held_out = calibration.held_out_margins(pairs.margins, pairs.first_half)
    if held_out is None:
        names = ("brier_after_temperature", "expected_calibration_error_after_temperature")
        found.absent |= dict.fromkeys(names, f"in a half of the prompts, {why_no_temperature(pairs, by_half=True)}")
        return curves
    _put(found, "_after_temperature", held_out, pairs.prompts, estimate)
    return curves | {"reliability_after_temperature": _bins(held_out, estimate)}


def why_no_temperature(pairs: PairTable, *, by_half: bool = False) -> str:
    """Return why no temperature is best for the margins, or for those of a half of the prompts."""
    halves = (pairs.first_half, ~pairs.first_half) if by_half else (np.ones(len(pairs), dtype=bool),)
    margins = next(
        (part for half in halves if calibration.finite_temperature(part := pairs.margins[half]) is None), pairs.margins
    )
    if not len(margins):
        return "there is no pair"
    if not (margins < 0).any():
        return "no pair is ordered wrongly, so no temperature is the best one"
    if not (margins > 0).any():
        return "no pair is ordered rightly, so no temperature is the best one"
    return "the margins are no better than chance, so no temperature is the best one"


def _put(found: Findings, ending: str, margins: np.ndarray, prompts: np.ndarray, estimate: Estimator) -> None:
    found.put(f"brier{ending}", estimate.mean(calibration.brier_scores(margins), prompts), ONE_PROMPT)
    error = estimate.of_rows_biased(
        lambda rows: calibration.expected_calibration_error(margins[rows], bins=BINS), prompts
    )
    found.put(f"expected_calibration_error{ending}", error, ONE_PROMPT)


def _put_temperature(found: Findings, pairs: PairTable, estimate: Estimator) -> None:
    """Put the best temperature; resamples in which there is none are left out."""
    if calibration.finite_temperature(pairs.margins) is None:
        found.absent["temperature"] = why_no_temperature(pairs)
        return
    best = estimate.of_rows(lambda rows: calibration.finite_temperature(pairs.margins[rows]), pairs.prompts)
    found.put("temperature", best, ONE_PROMPT if len(np.unique(pairs.prompts)) == 1 else _FEW)


def _bins(margins: np.ndarray, estimate: Estimator) -> list[dict[str, float]]:
    return calibration.reliability_bins(margins, bins=BINS, confidence=estimate.confidence)
