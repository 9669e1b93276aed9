"""What a model's rewards say about preferences: accuracy with its baselines, calibration, length, by source.

A tie counts as ``loss`` by default, as in RewardBench, RM-Bench and RMB: a model that gives everything one reward
decides nothing and gets nothing for it. Ties are always counted in the result, and ``half`` is there for those who
want chance level for such a model. The baselines always count a tie as half: they stand for a rule that tosses a coin
where it sees no difference.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from typing import Literal, assert_never

import numpy as np
from scipy.special import expit

from plaudit.evaluation.estimates import Estimator
from plaudit.evaluation.pairs import PairTable, has_label, labelled_pairs, pair_table
from plaudit.records import Interval, ItemScore, Result, package_versions
from plaudit.statistics import calibration, correlation

TieRule = Literal["loss", "half"]
DEFAULT_TIE_RULE: TieRule = "loss"
CONFIDENCE = 0.95
RESAMPLES = 1000
BINS = 10
"""Reliability bins, of equal numbers of pairs."""

HISTOGRAM_BINS = 36
TEMPERATURE_RESAMPLES = 200
"""Each resample of the temperature is a fit, so it gets fewer."""


def evaluate_items(
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
) -> Result:
    """Return every figure of a preference evaluation, from the items alone.

    An item without a preference, or whose every label has probability ½, is unscored; else one with a missing reward
    is failed; else it is scored: n = scored + unscored + failed. Figures are over the preference pairs of the scored
    items, so ``Interval.n`` counts pairs. With σ the logistic function and m the margin, the reward of the preferred
    response less that of the other:

    - ``accuracy``: mean of [m > 0], ties by ``tie_rule``; also where the preferred response is the longer or shorter;
    - ``chosen_reward``, ``rejected_reward``, ``margin``: means, in the units of the reward;
    - ``brier``, ``expected_calibration_error``, ``temperature``: of the probability σ(m), against the label;
    - ``reward_length_correlation``: Spearman's, over responses; ``margin_length_correlation``: over pairs, which sees
      differences within a prompt only.

    Intervals resample prompts, not pairs (Wilson's for a share of pairs that are all of different prompts).
    """
    pairs = pair_table(items)
    unscored = sum(not has_label(item) for item in items)
    failed = sum(has_label(item) and None in item.rewards for item in items)
    estimate = Estimator(confidence=confidence, resamples=resamples, seed=seed)
    return Result(
        name=name,
        model=model,
        recipe_hash=recipe_hash,
        data_fingerprint=data_fingerprint,
        tie_rule=tie_rule,
        n=len(items),
        scored=len(items) - unscored - failed,
        unscored=unscored,
        failed=failed,
        ties=int(np.sum(pairs.margins == 0)),
        figures=_figures(pairs, items, tie_rule, estimate) if len(pairs) else {},
        baselines=_baselines(pairs, estimate) if len(pairs) else {},
        slices=_slices(pairs, tie_rule, estimate) if len(pairs) else {},
        curves=_curves(pairs, estimate) if len(pairs) else {},
        versions=package_versions(),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )


def _figures(
    pairs: PairTable, items: Sequence[ItemScore], tie_rule: TieRule, estimate: Estimator
) -> dict[str, Interval]:
    outcomes = _outcomes(pairs.margins, tie_rule)
    longer, shorter = pairs.length_differences > 0, pairs.length_differences < 0
    found: dict[str, Interval | None] = {"accuracy": estimate.share(outcomes, pairs.prompts)}
    for name, mask in (("accuracy_chosen_longer", longer), ("accuracy_chosen_shorter", shorter)):
        found[name] = estimate.share(outcomes[mask], pairs.prompts[mask]) if mask.any() else None
    for name, values in (
        ("chosen_reward", pairs.chosen_rewards),
        ("rejected_reward", pairs.rejected_rewards),
        ("margin", pairs.margins),
    ):
        found[name] = estimate.of_rows(_mean_of(values), pairs.prompts)
    found |= _calibration(pairs, estimate)
    lengths, rewards, prompts = _responses(items)
    found["reward_length_correlation"] = estimate.of_rows(_correlation_of(lengths, rewards), prompts)
    found["margin_length_correlation"] = estimate.of_rows(
        _correlation_of(pairs.length_differences, pairs.margins), pairs.prompts
    )
    return {name: interval for name, interval in found.items() if interval is not None}


def _calibration(pairs: PairTable, estimate: Estimator) -> dict[str, Interval | None]:
    margins, labels = pairs.margins, pairs.probabilities
    sure, right = _confidence(pairs)
    predicted = expit(margins)
    found = {
        "brier": estimate.of_rows(
            lambda rows: calibration.brier(predicted[rows], labels[rows]), pairs.prompts
        ),
        "expected_calibration_error": estimate.of_rows(
            lambda rows: calibration.expected_calibration_error(sure[rows], right[rows], bins=BINS),
            pairs.prompts,
        ),
    }
    if (margins > 0).any() and (margins < 0).any():
        found["temperature"] = estimate.of_rows(
            lambda rows: calibration.temperature(margins[rows], labels[rows]),
            pairs.prompts,
            resamples=min(estimate.resamples, TEMPERATURE_RESAMPLES),
        )
    return found


def _baselines(pairs: PairTable, estimate: Estimator) -> dict[str, Interval]:
    """Return the accuracy of rules that see no content; a rule that sees no difference tosses a coin.

    ``first_response`` is there when the preferred response is not always on one side: else it says how the file was
    written, and nothing about the pairs.
    """
    found = {"longer_response": estimate.share(_outcomes(pairs.length_differences, "half"), pairs.prompts)}
    if pairs.chosen_first.any() and not pairs.chosen_first.all():
        found["first_response"] = estimate.share(pairs.chosen_first.astype(float), pairs.prompts)
    return found


def _slices(pairs: PairTable, tie_rule: TieRule, estimate: Estimator) -> dict[str, dict[str, Interval]]:
    slices = {}
    for source in sorted(set(pairs.sources)):
        part = pairs.where(pairs.sources == source)
        slices[source] = {
            "accuracy": estimate.share(_outcomes(part.margins, tie_rule), part.prompts),
            "longer_response": estimate.share(_outcomes(part.length_differences, "half"), part.prompts),
        }
    return slices


def _outcomes(margins: np.ndarray, tie_rule: TieRule) -> np.ndarray:
    """Return 1 for a pair ordered rightly, 0 for one ordered wrongly, and what the rule says for a tie."""
    match tie_rule:
        case "loss":
            tie = 0.0
        case "half":
            tie = 0.5
        case _:
            assert_never(tie_rule)
    return np.where(margins > 0, 1.0, np.where(margins < 0, 0.0, tie))


def _confidence(pairs: PairTable) -> tuple[np.ndarray, np.ndarray]:
    """Return how sure the model is of the side it takes, σ(|margin|), and the label's probability of that side."""
    labels = pairs.probabilities
    right = np.where(pairs.margins > 0, labels, np.where(pairs.margins < 0, 1 - labels, 0.5))
    return expit(np.abs(pairs.margins)), right


def _responses(items: Sequence[ItemScore]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return length, reward and prompt of every response of the items that have judged pairs."""
    numbers: dict[str, int] = {}
    lengths, rewards, prompts = [], [], []
    for item in items:
        if not labelled_pairs(item):
            continue
        lengths += item.lengths
        rewards += item.rewards
        prompts += [numbers.setdefault(item.prompt_key, len(numbers))] * len(item.rewards)
    return np.array(lengths, dtype=float), np.array(rewards, dtype=float), np.array(prompts, dtype=int)


def _mean_of(values: np.ndarray) -> Callable[[np.ndarray], float]:
    return lambda rows: float(np.mean(values[rows]))


def _correlation_of(x: np.ndarray, y: np.ndarray) -> Callable[[np.ndarray], float]:
    return lambda rows: correlation.spearman(x[rows], y[rows])


def _curves(pairs: PairTable, estimate: Estimator) -> dict[str, list[dict[str, float]]]:
    """Return the tables behind the plots: ``reliability``, ``rewards`` and ``margins``."""
    return {
        "reliability": _reliability(pairs, estimate),
        "rewards": _reward_histogram(pairs),
        "margins": _margin_histogram(pairs),
    }


def _reliability(pairs: PairTable, estimate: Estimator) -> list[dict[str, float]]:
    """Return, for bins of equally many pairs, how sure the model was and how often it was right."""
    sure, right = _confidence(pairs)
    rows = []
    for part in np.array_split(np.argsort(sure, kind="stable"), min(BINS, len(sure))):
        found = estimate.share(right[part], pairs.prompts[part])
        rows.append(
            {
                "probability": float(np.mean(sure[part])),
                "accuracy": found.value,
                "low": found.low,
                "high": found.high,
                "count": float(len(part)),
            }
        )
    return rows


def _reward_histogram(pairs: PairTable) -> list[dict[str, float]]:
    every = np.concatenate([pairs.chosen_rewards, pairs.rejected_rewards])
    edges = np.linspace(every.min(), every.max(), HISTOGRAM_BINS + 1)
    if edges[0] == edges[-1]:
        edges = np.array([edges[0] - 0.5, edges[0] + 0.5])
    chosen, _ = np.histogram(pairs.chosen_rewards, edges)
    rejected, _ = np.histogram(pairs.rejected_rewards, edges)
    return [
        {"low": float(low), "high": float(high), "chosen": float(left), "rejected": float(right)}
        for low, high, left, right in zip(edges[:-1], edges[1:], chosen, rejected, strict=True)
    ]


def _margin_histogram(pairs: PairTable) -> list[dict[str, float]]:
    """Return bins with an edge at zero, so that no bin holds rightly and wrongly ordered pairs."""
    size = float(np.abs(pairs.margins).max()) or 1.0
    edges = np.linspace(-size, size, HISTOGRAM_BINS + 1)
    counts, _ = np.histogram(pairs.margins, edges)
    return [
        {"low": float(low), "high": float(high), "count": float(count)}
        for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
    ]
