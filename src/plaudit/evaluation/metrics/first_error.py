"""Figures of locating the first error in chains of steps, as ProcessBench defines them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np

from plaudit.evaluation.metrics.estimates import Estimator
from plaudit.evaluation.metrics.measure import Findings
from plaudit.records import Interval
from plaudit.statistics.aggregation import first_error
from plaudit.statistics.classification import harmonic_mean
from plaudit.statistics.first_error import best_threshold, chain_table, first_error_f1

_NO_CHAINS = "there is no chain whose first error is certain"
_NOT_BOTH = "F1 needs chains with an error and chains without"


def put_first_error(
    found: Findings,
    *,
    steps: Sequence[Sequence[float]],
    errors: Sequence[int | None],
    prompts: np.ndarray,
    keys: Sequence[str],
    threshold: float,
    estimate: Estimator,
) -> dict[str, str]:
    """Put how exactly the first error is located, and return the rule of the tuned threshold.

    The prediction is the first step whose reward is below the threshold, or "no error".

    - ``first_error_accuracy``: share of all chains whose first error, or that there is none, is predicted exactly;
    - ``first_error_accuracy_erroneous``, ``first_error_accuracy_correct``: over chains with an error, and without;
    - ``first_error_f1``: the harmonic mean of these two;
    - ``first_error_f1_tuned``, ``first_error_accuracy_tuned``: at the threshold with the highest F1 on the chains of
      half of the prompts (see ``in_first_half``), measured on the others. Beside it the fixed threshold there.

    Baselines are constant predictions: "no error", the first step, and the commonest place of the first error.

    Args:
        found: receives the figures.
        steps: [chain] rewards of the steps.
        errors: [chain] first wrong step, None where there is none.
        prompts: [chain] number of its prompt.
        keys: [chain] key of its prompt, for the halves.
        threshold: of the untuned figures.
        estimate: makes the intervals.

    Source: Zheng et al. (2024), ProcessBench, arXiv 2412.06559.
    """
    table = chain_table(steps, errors)
    predicted = [first_error(rewards, threshold=threshold) for rewards in steps]
    chains = _Chains(errors, prompts, estimate)
    chains.put(found, "", predicted, _constants(errors))
    chosen_on = np.array([in_first_half(key) for key in keys], dtype=bool)
    tuned = best_threshold(table.where(chosen_on), default=threshold)
    if tuned is None:
        why = f"no threshold can be chosen: {_NOT_BOTH}, in the half it is chosen on"
        found.absent |= dict.fromkeys(("first_error_f1_tuned", "first_error_accuracy_tuned"), why)
        return {}
    rest = np.flatnonzero(~chosen_on).tolist()
    held = _Chains([errors[k] for k in rest], prompts[rest], estimate)
    rules = {"fixed_threshold": [predicted[k] for k in rest]} | _constants([errors[k] for k in rest])
    held.put(found, "_tuned", [first_error(steps[k], threshold=tuned) for k in rest], rules, short=True)
    return {
        "tuned_threshold": f"{tuned:.6g}, chosen for the highest F1 on the {int(chosen_on.sum())} chains of half of "
        f"the prompts, picked by a hash; figures that end in _tuned are of the {len(rest)} other chains"
    }


def in_first_half(key: str) -> bool:
    """Return whether a prompt belongs to the half that a threshold is chosen on: its key's SHA-256 begins evenly."""
    return hashlib.sha256(key.encode()).digest()[0] % 2 == 0


def _constants(errors: Sequence[int | None]) -> dict[str, list[int | None]]:
    places = Counter(error for error in errors if error is not None)
    rules: dict[str, int | None] = {"no_error": None, "first_step": 0}
    if places:
        rules["commonest_place"] = max(places, key=lambda place: (places[place], -place))
    return {rule: [place] * len(errors) for rule, place in rules.items()}


class _Chains:
    """Chains of a known first error, over which predictions are measured."""

    def __init__(self, errors: Sequence[int | None], prompts: np.ndarray, estimate: Estimator) -> None:
        self._errors = errors
        self._prompts = prompts
        self._estimate = estimate
        self._has_error = np.array([error is not None for error in errors], dtype=bool)

    def put(
        self,
        found: Findings,
        ending: str,
        predicted: Sequence[int | None],
        rules: dict[str, list[int | None]],
        *,
        short: bool = False,
    ) -> None:
        """Put the figures of ``predicted`` beside those of ``rules``; ``short``: all chains and F1 only."""
        right = self._right(predicted)
        beside = {rule: self._right(places) for rule, places in rules.items()}
        every = np.ones(len(right), dtype=bool)
        parts = {"first_error_accuracy": (every, _NO_CHAINS)}
        if not short:
            parts["first_error_accuracy_erroneous"] = (self._has_error, "no chain has an error")
            parts["first_error_accuracy_correct"] = (~self._has_error, "every chain has an error")
        for name, (rows, why) in parts.items():
            found.put(name + ending, self._share(right, rows), why)
            found.beside(name + ending, **{rule: self._share(each, rows) for rule, each in beside.items()})
        found.put("first_error_f1" + ending, self._f1(right), _NOT_BOTH)
        found.beside("first_error_f1" + ending, **{rule: self._f1(each) for rule, each in beside.items()})

    def _right(self, predicted: Sequence[int | None]) -> np.ndarray:
        return np.array([place == error for place, error in zip(predicted, self._errors, strict=True)], dtype=bool)

    def _share(self, right: np.ndarray, rows: np.ndarray) -> Interval | None:
        return self._estimate.share(right[rows].astype(float), self._prompts[rows])

    def _f1(self, right: np.ndarray) -> Interval | None:
        """Return F1 with an interval over prompts; None unless there are chains of both kinds.

        Where all resamples agree, or most lack a kind, its ends are made of those of the two accuracies.
        """
        value = first_error_f1(right, self._has_error)
        if value is None:
            return None
        found = self._estimate.of_rows(
            lambda chosen: first_error_f1(right[chosen], self._has_error[chosen]), self._prompts
        )
        if found is not None and found.low < found.high:
            return found
        parts = [self._share(right, rows) for rows in (self._has_error, ~self._has_error)]
        low, high = (harmonic_mean(*(getattr(part, end) for part in parts)) for end in ("low", "high"))
        return Interval(
            value=value,
            low=low,
            high=high,
            confidence=self._estimate.confidence,
            method="ends of the two accuracies",
            n=len(right),
        )
