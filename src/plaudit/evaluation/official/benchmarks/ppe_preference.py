"""PPE human preference: battles between language models, voted on by people.

- ``score``: accuracy over the battles without a tie, [model_a won] = [reward of its response is strictly higher], so
  of two equal rewards the second counts as the higher one;
- ``spearman``, ``kendall_tau``: between the Bradley–Terry ratings of the models from the true winners, a tie as half a
  win, and from the predicted ones, over the same battles; ``row_wise_pearson``: see
  ``plaudit.evaluation.official.benchmarks.ppe_preference``;
- ``separability``, ``confidence_agreement``, ``brier``: how surely the predicted ratings tell models apart, from 100
  resamples of the battles; these have no interval of their own.

Source: Frick et al. (2024), arXiv 2410.14872. The official code could not be had: how it fits ratings and resamples
battles is not confirmed, and it may differ in the last six figures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy import special

from plaudit.data.reading.sources.fields import items as list_of
from plaudit.data.reading.sources.fields import required, required_text
from plaudit.errors import DataError
from plaudit.evaluation.metrics.composite import (
    ComparisonOutcome,
    Part,
    one_by_one,
    put_composites,
    reward_counts,
    with_lengths,
    worst_first,
)
from plaudit.evaluation.metrics.metric_set import MetricSet, exact, prompt_numbers
from plaudit.evaluation.official.benchmark import Gathering, declared
from plaudit.evaluation.official.files import PlacedRow, prompt_of
from plaudit.records import ItemScore
from plaudit.statistics.correlation import kendall_tau_b, pearson, spearman
from plaudit.statistics.metric import Exact, RowStatistic

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ROWS = 16_038
_SET = "human preference"
_FLAGS = ("is_code", "is_refusal", "hard_prompt", "easy_prompt", "if_prompt", "math_prompt")
_RESAMPLES = 100
_SEED = 0
"""Of these resamples of battles: they make metrics themselves, which no other seed of intervals may move."""
_WINNERS = ("model_a", "model_b", "tie", "tie (bothbad)")

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


def separation(
    true: Battles, predicted: Battles, *, resamples: int, seed: int, confidence: float = 0.95
) -> dict[str, float | None]:
    """Return how predicted battles separate models, with intervals of ratings from resampled battles; None of no pair.

    - ``separability``: share of the pairs of models whose intervals of predicted ratings do not overlap;
    - ``confidence_agreement``: over the pairs that the true battles separate, +1 where the predicted ones separate them
      alike, −1 where they do the other way round, 0 where they do not separate them; the mean;
    - ``brier``: mean over pairs of (P − [the first has the higher true rating])², P the share of resamples in which it
      has the higher predicted one.

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
    return {
        "separability": float((signs[:, 1] != 0).mean()) if pairs else None,
        "confidence_agreement": float((signs[surely, 0] * signs[surely, 1]).mean()) if surely.any() else None,
        "brier": float(np.mean(squares)) if pairs else None,
    }


def _sign(low: Floats, high: Floats, a: int, b: int) -> int:
    """Return 1 where the interval of a lies above that of b, −1 below, 0 where they overlap."""
    return int(low[a] > high[b]) - int(high[a] < low[b])


Compare = Callable[[Battles, Battles], float | None]

_COMPARISONS: dict[str, Compare] = {
    "spearman": lambda true, predicted: spearman(ratings(true), ratings(predicted)),
    "kendall_tau": lambda true, predicted: kendall_tau_b(ratings(true), ratings(predicted)),
    "row_wise_pearson": row_wise_pearson,
}


def _read(rows: Iterator[PlacedRow], gathering: Gathering) -> None:
    for number, placed in enumerate(rows, start=1):
        row = placed.row
        winner = required_text(row, "winner")
        if winner not in _WINNERS:
            raise DataError(f"winner is {winner!r}; it must be one of {', '.join(_WINNERS)}")
        better = {"model_a": 0, "model_b": 1}.get(winner)
        gathering.add(
            f"{row.get('question_id', number)}",
            subset=_SET,
            prompt=prompt_of(required(row, "prompt")),
            responses=[required_text(row, name) for name in ("response_1", "response_2")],
            preferences=[] if better is None else [(better, 1 - better)],
            facts={
                "winner": better,
                "models": [required_text(row, name) for name in ("model_a", "model_b")],
                "language": str(row.get("language", "")),
                "flags": [name for name in _FLAGS if row.get(name) is True],
            },
        )


def predicted_winner(item: ItemScore) -> int | None:
    """Return the response that the rewards prefer, the second one of equal rewards; None where one is missing."""
    first, second = item.rewards
    return None if first is None or second is None else int(not first > second)


def decide(item: ItemScore) -> list[ComparisonOutcome]:
    """Return the comparison of a battle without a tie; its category is the set."""
    winner = item.metadata["winner"]
    if winner is None:
        return []
    found = predicted_winner(item)
    if found is None:
        return [ComparisonOutcome(_SET, item.prompt_key, 0.0, None, 0.0, 0.5)]
    tied = item.rewards[0] == item.rewards[1]
    right = float(found == winner)
    return [ComparisonOutcome(_SET, item.prompt_key, right, 0.5 if tied else right, float(tied), 0.5)]


def battles_of(items: Sequence[ItemScore]) -> tuple[Battles, Battles]:
    """Return the true and the predicted battles of the items that have both rewards."""
    rows = [(item, found) for item in items if (found := predicted_winner(item)) is not None]
    pairs = [list_of(item.metadata["models"], "models") for item, _ in rows]
    names = {name: number for number, name in enumerate(sorted({str(name) for pair in pairs for name in pair}))}
    first = np.array([names[str(one)] for one, _ in pairs], dtype=np.int64)
    second = np.array([names[str(other)] for _, other in pairs], dtype=np.int64)
    true = np.array([_share(item.metadata["winner"]) for item, _ in rows])
    predicted = np.array([1.0 - found for _, found in rows])
    return Battles(first, second, true, len(names)), Battles(first, second, predicted, len(names))


def _share(winner: object) -> float:
    return 0.5 if winner is None else float(winner == 0)


def _compared(items: Sequence[ItemScore], compare: Compare) -> RowStatistic | None:
    kept = [item for item in items if predicted_winner(item) is not None]
    if not kept:
        return None
    true, predicted = battles_of(kept)
    prompts = np.array(prompt_numbers(kept), dtype=int)
    return RowStatistic(lambda rows: compare(true.at(rows), predicted.at(rows)), prompts)


def _put_ratings(found: MetricSet, items: Sequence[ItemScore]) -> None:
    lengths = with_lengths(items)
    for name, compare in _COMPARISONS.items():
        metric = _compared(items, compare)
        found.put(name, metric, "there are fewer than two models whose ratings vary")
        if metric is not None and metric.value is not None:
            longer = None if lengths is None else _compared(lengths, compare)
            found.beside(name, longer_response=longer, random=exact(0.0, metric.n))
    true, predicted = battles_of(items)
    if true.count < 2:
        return
    method = f"no interval: {_RESAMPLES} resamples make the figure itself"
    for name, value in separation(true, predicted, resamples=_RESAMPLES, seed=_SEED).items():
        metric = None if value is None else Exact(value, len(true.first), method)
        found.put(name, metric, "the true battles separate no two models")


def _language(item: ItemScore) -> str:
    return str(item.metadata["language"])


def metrics(items: Sequence[ItemScore]) -> MetricSet:
    """Return the official metrics of ``items``; slices are languages, the kinds of prompt are metrics."""
    found = MetricSet("benchmark", "score", reward_counts(items))
    parts: dict[str, Part] = {"score": _SET}
    found.details = put_composites(found, items, one_by_one(decide), parts, in_order=True)
    found.details["battles_tied_by_people"] = sum(item.metadata["winner"] is None for item in items)
    for flag in _FLAGS:
        part = [item for item in items if flag in list_of(item.metadata["flags"], "flags")]
        flagged: dict[str, Part] = {f"accuracy_{flag}": _SET}
        put_composites(found, part, one_by_one(decide), flagged, in_order=True, ties=False)
    _put_ratings(found, items)
    found.slices = worst_first(items, decide, "score", slice_of=_language)
    return found


PPE_PREFERENCE = declared("ppe_preference", read=_read, compute=metrics)
