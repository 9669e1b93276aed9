"""Ratings of models from battles between them, and how well predicted battles rate them as the true ones do.

A battle is (a, b, w): models by number, and w the share that a won, 1, ½ for a tie or 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy import special

from plaudit.statistics.correlation import kendall_tau_b, pearson, spearman

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SCALE, MEAN = 400.0, 1000.0
_RIDGE = 1e-4
"""Keeps ratings finite where a model wins all of its battles; in the units of ln 10 ÷ 400, 10⁻⁴ of one battle."""
_STEPS = 100
_TOLERANCE = 1e-10


@dataclass(frozen=True, slots=True)
class Battles:
    """Battles between ``count`` models; [battle] each."""

    first: Ints
    second: Ints
    won: Floats
    count: int

    def at(self, rows: Ints) -> Battles:
        """Return the battles at ``rows``."""
        return Battles(self.first[rows], self.second[rows], self.won[rows], self.count)

    def wins(self) -> Floats:
        """Return [model, other] the battles that the model won against the other, a tie as half."""
        table = np.zeros((self.count, self.count))
        np.add.at(table, (self.first, self.second), self.won)
        np.add.at(table, (self.second, self.first), 1.0 - self.won)
        return table


def ratings(battles: Battles) -> Floats:
    """Return [model] the Bradley–Terry ratings on the scale of Elo: 400·log₁₀ of the strength, with mean 1000.

    Maximum likelihood by Newton's method, with a tie as half a win for each side. A model without a battle has 1000.
    """
    wins = battles.wins()
    games = wins + wins.T
    strength = np.zeros(battles.count)
    for _ in range(_STEPS):
        expected = special.expit(strength[:, None] - strength[None, :])
        gradient = (wins - games * expected).sum(axis=1) - _RIDGE * strength
        weights = games * expected * (1.0 - expected)
        hessian = np.diag(weights.sum(axis=1) + _RIDGE) - weights
        step = np.linalg.solve(hessian, gradient)
        # A full step can overshoot where a model wins nearly all of its battles.
        strength = strength + step * min(1.0, 2.0 / max(float(np.abs(step).max(initial=0.0)), 1e-300))
        if float(np.abs(step).max(initial=0.0)) < _TOLERANCE:
            break
    return MEAN + SCALE / np.log(10.0) * (strength - strength.mean())


def win_rates(battles: Battles) -> Floats:
    """Return [model, other] the share that the model won against the other; NaN where they did not meet."""
    wins = battles.wins()
    games = wins + wins.T
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(games > 0, wins / games, np.nan)


def row_wise_pearson(true: Battles, predicted: Battles) -> float | None:
    """Return the mean over models of Pearson's r between its true and its predicted win rates against the others.

    None where no model has rates that vary; a model without such is left out.
    """
    correlations = []
    for own, other in zip(win_rates(true), win_rates(predicted), strict=True):
        met = ~np.isnan(own) & ~np.isnan(other)
        found = pearson(own[met], other[met]) if met.sum() > 1 else None
        if found is not None:
            correlations.append(found)
    return float(np.mean(correlations)) if correlations else None


def rating_spearman(true: Battles, predicted: Battles) -> float | None:
    """Return Spearman's ρ between true and predicted ratings of the models."""
    return spearman(ratings(true), ratings(predicted))


def rating_kendall(true: Battles, predicted: Battles) -> float | None:
    """Return Kendall's τ-b between true and predicted ratings of the models."""
    return kendall_tau_b(ratings(true), ratings(predicted))


@dataclass(frozen=True, slots=True)
class Separation:
    """How surely predicted battles tell models apart, and whether they are right about it; None of no pair."""

    separability: float | None
    """Share of the pairs of models whose intervals of predicted ratings do not overlap."""
    agreement: float | None
    """Over the pairs that the true battles separate: +1 where the predicted ones separate them alike, −1 where they do
    the other way round, 0 where they do not separate them; the mean."""
    brier: float | None
    """Mean over pairs of (P − [the first has the higher true rating])², P the share of resamples in which it has the
    higher predicted one."""


def separation(true: Battles, predicted: Battles, *, resamples: int, seed: int, confidence: float = 0.95) -> Separation:
    """Return how predicted battles separate models, with intervals of ratings from resampled battles.

    Source: Frick et al. (2024), arXiv 2410.14872, after Li et al. (2024), arXiv 2406.11939.
    """
    generator = np.random.default_rng(seed)
    count = len(true.first)
    drawn = [generator.integers(count, size=count) for _ in range(resamples)]
    own = np.stack([ratings(true.at(rows)) for rows in drawn])
    other = np.stack([ratings(predicted.at(rows)) for rows in drawn])
    tail = (1.0 - confidence) / 2
    ends = [np.quantile(each, [tail, 1.0 - tail], axis=0) for each in (own, other)]
    rated = ratings(true)
    pairs = list(combinations(range(true.count), 2))
    signs = np.array([[_sign(low, high, a, b) for low, high in ends] for a, b in pairs]).reshape(len(pairs), 2)
    surely = signs[:, 0] != 0
    squares = [(float((other[:, a] > other[:, b]).mean()) - float(rated[a] > rated[b])) ** 2 for a, b in pairs]
    return Separation(
        separability=float((signs[:, 1] != 0).mean()) if pairs else None,
        agreement=float((signs[surely, 0] * signs[surely, 1]).mean()) if surely.any() else None,
        brier=float(np.mean(squares)) if pairs else None,
    )


def _sign(low: Floats, high: Floats, a: int, b: int) -> int:
    """Return 1 where the interval of a lies above that of b, −1 below, 0 where they overlap."""
    return int(low[a] > high[b]) - int(high[a] < low[b])
