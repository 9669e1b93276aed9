"""Figures with intervals, over rows that belong to prompts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from plaudit.records import Interval
from plaudit.statistics.intervals import cluster_bootstrap, wilson_interval


@dataclass(frozen=True, slots=True)
class Estimator:
    """Makes intervals of one confidence, by resampling prompts from one seed."""

    confidence: float
    resamples: int
    seed: int

    def share(self, outcomes: np.ndarray, prompts: np.ndarray) -> Interval:
        """Return the mean of ``outcomes``, each between 0 and 1.

        Wilson's interval when every outcome is 0 or 1 and no prompt comes twice; else a bootstrap over prompts.
        """
        if np.all((outcomes == 0) | (outcomes == 1)) and len(np.unique(prompts)) == len(prompts):
            return wilson_interval(int(outcomes.sum()), len(outcomes), self.confidence)
        found = self.of_rows(lambda rows: float(np.mean(outcomes[rows])), prompts)
        assert found is not None
        return found

    def of_rows(
        self, statistic: Callable[[np.ndarray], float], prompts: np.ndarray, *, resamples: int | None = None
    ) -> Interval | None:
        """Return ``statistic`` of the numbers of all rows, or None where it is not a number.

        The interval resamples prompts with all their rows.
        """
        rows = np.arange(len(prompts))
        if not math.isfinite(statistic(rows)):
            return None
        return cluster_bootstrap(
            rows,
            prompts,
            statistic=statistic,
            confidence=self.confidence,
            resamples=resamples or self.resamples,
            seed=self.seed,
        )
