"""Agreement of rewards with preferences under a stated tie rule, raw and controlled for length.

Where the preferred response is mostly the longer one, a judge of length alone looks good. Two accuracies take that out:

- ``length_controlled_accuracy`` is the accuracy that a logistic regression on the length difference gives a pair of
  equally long responses. It is the length control of AlpacaEval 2 (Dubois et al., 2024, arXiv 2404.04475, with its
  tanh of the standardised difference), for right and wrong in place of wins.
- ``length_balanced_accuracy`` weighs the pairs whose preferred response is longer, and those where it is shorter,
  alike. It assumes no curve; a judge of length alone has exactly ½.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, assert_never

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from plaudit.errors import DataError
from plaudit.records import Interval
from plaudit.statistics.intervals import (
    Clusters,
    check_confidence,
    check_proportions,
    cluster_index,
    effective_clusters,
    finished_interval,
    finite_values,
    jackknife_variance,
    logit_ends,
    proportion_interval,
    student_quantile,
    weighted_proportions_interval,
    without_each,
)

TieRule = Literal["half", "loss", "exclude"]

_STEPS = 100
"""Newton steps; a fit that exists takes fewer than twenty."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Agreement of rewards with preferences, per pair; every pair is in one count."""

    correct: NDArray[np.float64]
    """[scored pair] 1 right, 0 wrong, ½ a tie under the rule ``half``."""
    scored: NDArray[np.bool_]
    """[pair] whether the pair is in ``correct``, which keeps the order."""
    ties: int
    """Pairs whose two rewards are exactly equal (scored unless the rule is ``exclude``)."""
    unscored: int
    """Pairs whose label has no winner: its probability is exactly ½."""
    failed: int
    """Pairs with a margin that is NaN: a response could not be scored."""

    @property
    def accuracy(self) -> float | None:
        """Return the mean of ``correct``, or None when nothing was scored."""
        return float(self.correct.mean()) if len(self.correct) else None

    @property
    def by_pair(self) -> NDArray[np.float64]:
        """Return [pair] ``correct``, NaN where the pair is not scored."""
        found = np.full(len(self.scored), np.nan)
        found[self.scored] = self.correct
        return found


def preference_accuracy(
    margins: ArrayLike, *, tie_rule: TieRule, probabilities: Sequence[float | None] | None = None
) -> Agreement:
    """Return whether each pair's reward margin agrees with its label.

    Args:
        margins: [pair] reward of chosen minus reward of rejected; NaN where a reward is missing.
        tie_rule: value of an exact tie: half a right pair, a loss, or left out.
        probabilities: [pair] the label's probability that chosen is better; None is the hard label 1. Below ½
            the winner is the other response; at exactly ½ there is none and the pair is unscored.

    Raises:
        DataError: when the lengths differ, a margin is infinite or a probability lies outside 0 to 1.
    """
    array = np.asarray(margins, dtype=np.float64)
    if np.isinf(array).any():
        raise DataError("margins holds an infinite value; a reward must be finite or missing")
    labels = _label_probabilities(probabilities, len(array))
    signed = np.where(labels < 0.5, -array, array)
    has_winner = labels != 0.5
    failed = has_winner & np.isnan(array)
    tied = has_winner & (array == 0.0)
    scored = has_winner & ~failed
    correct = (signed > 0.0).astype(np.float64)
    match tie_rule:
        case "half":
            correct[tied] = 0.5
        case "loss":
            correct[tied] = 0.0
        case "exclude":
            scored = scored & ~tied
        case _:
            assert_never(tie_rule)
    return Agreement(
        correct=correct[scored],
        scored=scored,
        ties=int(tied.sum()),
        unscored=int((~has_winner).sum()),
        failed=int(failed.sum()),
    )


def length_only_accuracy(
    chosen_lengths: ArrayLike,
    rejected_lengths: ArrayLike,
    *,
    tie_rule: TieRule,
    probabilities: Sequence[float | None] | None = None,
) -> Agreement:
    """Return the agreement of a judge that prefers the longer response, under the same tie rule and labels.

    Raises:
        DataError: when the lengths of the arguments differ.
    """
    chosen = np.asarray(chosen_lengths, dtype=np.float64)
    rejected = np.asarray(rejected_lengths, dtype=np.float64)
    if chosen.shape != rejected.shape:
        raise DataError(f"{len(chosen)} chosen lengths for {len(rejected)} rejected ones")
    return preference_accuracy(chosen - rejected, tie_rule=tie_rule, probabilities=probabilities)


def tie_rate(margins: ArrayLike, clusters: Clusters) -> Interval | None:
    """Return the share of pairs whose margin is exactly 0, with an interval over clusters; NaN margins do not count.

    None where no margin is a number.

    Args:
        margins: [pair] reward of chosen minus reward of rejected; NaN where a reward is missing.
        clusters: [pair], a label per pair; equal labels belong together.

    Raises:
        DataError: when the lengths differ.
    """
    array = np.asarray(margins, dtype=np.float64)
    if len(clusters) != len(array):
        raise DataError(f"clusters has {len(clusters)} entries for {len(array)} margins")
    known = np.flatnonzero(~np.isnan(array))
    return proportion_interval((array[known] == 0.0).astype(np.float64), [clusters[place] for place in known.tolist()])


@dataclass(frozen=True, slots=True)
class LengthControlled:
    """A metric with its interval, or the reason why there is none: exactly one of the two is there."""

    interval: Interval | None
    reason: str | None
    slope: float | None = None
    """Length coefficient of the regression: log-odds of being right per unit of tanh(difference ÷ spread)."""


def length_controlled_accuracy(
    correct: ArrayLike,
    length_differences: ArrayLike,
    clusters: Clusters,
    *,
    confidence: float = 0.95,
) -> LengthControlled:
    """Return σ(α), the accuracy at a length difference of 0 by the fit P(right) = σ(α + β tanh(d ÷ s)).

    d is the length of the preferred response less that of the other, s its standard deviation. The interval is
    σ(α ± t SE) with the cluster-robust (sandwich) error of α and Student's t over clusters. Where all pairs are right,
    all wrong, or all equally long on both sides, there is nothing to control: it is ``proportion_interval``.

    Args:
        correct: [pair] 1 right, 0 wrong, ½ for a tie.
        length_differences: [pair] d, in any unit.
        clusters: [pair], a label per pair; equal labels belong together.
        confidence: stated coverage.

    Raises:
        DataError: when the lengths differ, a value is not finite, or ``correct`` lies outside 0 to 1.
        ConfigError: for a confidence outside 0 to 1.
    """
    right, lengths, index = _checked_pairs(correct, length_differences, clusters, confidence)
    if not len(right):
        return LengthControlled(None, "there are no pairs")
    if not lengths.any() or np.isin(right, 0.0).all() or np.isin(right, 1.0).all():
        return LengthControlled(proportion_interval(right, index, confidence=confidence), None)
    spread = float(lengths.std())
    if spread == 0.0:
        return LengthControlled(None, "every pair has the same difference in length")
    pull = np.tanh(lengths / spread)
    won, lost = pull[right > 0.0], pull[right < 1.0]
    if lost.max() <= won.min() or won.max() <= lost.min():
        return LengthControlled(None, "length alone parts the right pairs from the wrong ones, so the fit has no end")
    design = np.stack([np.ones(len(pull)), pull], axis=1)
    fitted = _logistic_fit(design, right)
    count = int(index.max()) + 1
    if fitted is None or count < 2:
        why = "all pairs are of one prompt" if count < 2 else "the fit did not settle"
        return LengthControlled(None, why)
    error = _robust_error(design, right, fitted, index)
    half = student_quantile(confidence, effective_clusters(np.bincount(index))) * error
    value, low, high = (float(special.expit(fitted[0] + side * half)) for side in (0, -1, 1))
    method = f"logistic regression on length ({count} clusters)"
    found = finished_interval(value, low, high, confidence=confidence, method=method, n=len(right))
    return LengthControlled(found, None, float(fitted[1]))


def length_balanced_accuracy(
    correct: ArrayLike,
    length_differences: ArrayLike,
    clusters: Clusters,
    *,
    confidence: float = 0.95,
) -> LengthControlled:
    """Return ½ (accuracy where the preferred response is longer + accuracy where it is shorter).

    Pairs of equal length are left out. Where every pair is a cluster of its own, the interval is that of two weighted
    proportions (see ``weighted_proportions_interval``). Else it is Student's on the logit scale, with the jackknife
    over clusters; where clusters do not differ it is Wilson's for as many items as there are clusters.

    Args:
        correct: [pair] 1 right, 0 wrong, ½ for a tie.
        length_differences: [pair] length of the preferred response less that of the other, in any unit.
        clusters: [pair], a label per pair; equal labels belong together.
        confidence: stated coverage.

    Raises:
        DataError: when the lengths differ, a value is not finite, or ``correct`` lies outside 0 to 1.
        ConfigError: for a confidence outside 0 to 1.
    """
    right, lengths, index = _checked_pairs(correct, length_differences, clusters, confidence)
    sides = np.stack([lengths > 0.0, lengths < 0.0]).astype(np.float64)
    if not sides.any(axis=1).all():
        return LengthControlled(None, "the preferred response is never the longer one, or never the shorter one")
    count = int(index.max()) + 1
    sums = np.stack([np.bincount(index, weights=side * right, minlength=count) for side in sides])
    sizes = np.stack([np.bincount(index, weights=side, minlength=count) for side in sides])
    totals, counts = sums.sum(axis=1), sizes.sum(axis=1)
    if sizes.sum(axis=0).max() == 1.0:
        found = weighted_proportions_interval([0.5, 0.5], totals, counts, confidence=confidence)
        return LengthControlled(found, None)
    if (sizes == counts[:, None]).any():
        return LengthControlled(None, "one prompt holds every pair of one direction of length")
    value = float((totals / counts).mean())
    without = np.mean([without_each(*each) for each in zip(sums, sizes, strict=True)], axis=0)
    variance = jackknife_variance(without, value)
    low, high, method = logit_ends(value, variance, count, effective_clusters(np.bincount(index)), confidence)
    method = method if method.startswith("wilson") else f"both directions of length alike, {method}"
    found = finished_interval(value, low, high, confidence=confidence, method=method, n=int(sides.sum()))
    return LengthControlled(found, None)


def _logistic_fit(design: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Return the coefficients of highest likelihood by Newton's method with halved steps; None where none settle."""
    weights = np.zeros(design.shape[1])

    def loss(at: NDArray[np.float64]) -> float:
        logits = design @ at
        return float((np.logaddexp(0.0, logits) - right * logits).sum())

    for _ in range(_STEPS):
        chance = special.expit(design @ weights)
        slope = design.T @ (right - chance)
        step = np.linalg.lstsq((design * (chance * (1 - chance))[:, None]).T @ design, slope, rcond=None)[0]
        size = 1.0
        while loss(weights + size * step) > loss(weights) + 1e-12 and size > 1e-8:
            size /= 2
        weights = weights + size * step
        if np.abs(slope).max() < 1e-8 * max(1.0, len(right)):
            return weights
    return None


def _robust_error(
    design: NDArray[np.float64], right: NDArray[np.float64], weights: NDArray[np.float64], index: NDArray[np.int64]
) -> float:
    """Return the cluster-robust standard error of the first coefficient."""
    chance = special.expit(design @ weights)
    bread = np.linalg.pinv((design * (chance * (1 - chance))[:, None]).T @ design)
    scores = design * (right - chance)[:, None]
    count = int(index.max()) + 1
    summed = np.stack([np.bincount(index, weights=column, minlength=count) for column in scores.T])
    spread = bread @ (summed @ summed.T) @ bread * count / (count - 1)
    return math.sqrt(max(float(spread[0, 0]), 0.0))


def _checked_pairs(
    correct: ArrayLike,
    length_differences: ArrayLike,
    clusters: Clusters,
    confidence: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    check_confidence(confidence)
    right, lengths = finite_values(correct, "correct"), finite_values(length_differences, "length_differences")
    if not len(right) == len(lengths) == len(clusters):
        raise DataError(f"{len(right)} outcomes, {len(lengths)} length differences and {len(clusters)} clusters")
    check_proportions(right, "correct")
    return right, lengths, cluster_index(clusters)


def _label_probabilities(probabilities: Sequence[float | None] | None, n: int) -> NDArray[np.float64]:
    if probabilities is None:
        return np.ones(n)
    if len(probabilities) != n:
        raise DataError(f"probabilities has {len(probabilities)} entries for {n} margins")
    labels = np.array([1.0 if label is None else label for label in probabilities], dtype=np.float64)
    if not ((labels >= 0.0) & (labels <= 1.0)).all():
        raise DataError("probabilities holds a value outside 0 to 1")
    return labels
