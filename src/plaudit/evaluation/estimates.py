"""Figures with intervals, over rows that belong to prompts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from plaudit.records import Interval
from plaudit.statistics.intervals import cluster_bootstrap, wilson_interval

SLOW_RESAMPLES = 200
"""A figure that is more than a mean is computed anew for each resample: it gets fewer."""


@dataclass(frozen=True, slots=True)
class Estimator:
    """Makes intervals of one confidence, by resampling prompts from one seed."""

    confidence: float
    resamples: int
    seed: int

    def share(self, outcomes: np.ndarray, prompts: np.ndarray) -> Interval | None:
        """Return the mean of ``outcomes``, each between 0 and 1; None where there are none.

        Wilson's interval when each prompt comes once, else a bootstrap over prompts. Several rows of one
        single prompt say nothing about other prompts: their interval is 0 to 1.
        """
        if not len(outcomes):
            return None
        distinct = len(np.unique(prompts))
        if distinct == len(prompts):
            return wilson_interval(float(outcomes.sum()), len(outcomes), confidence=self.confidence)
        if distinct == 1:
            return Interval(
                value=float(outcomes.mean()),
                low=0.0,
                high=1.0,
                confidence=self.confidence,
                method="none: one prompt",
                n=len(outcomes),
            )
        return self.mean(outcomes, prompts)

    def mean(self, values: np.ndarray, prompts: np.ndarray) -> Interval | None:
        """Return the mean of ``values``, with an interval over prompts; None for fewer than two prompts."""
        return cluster_bootstrap(
            values, prompts, confidence=self.confidence, resamples=self.resamples, seed=self.seed
        )

    def of_rows(
        self,
        statistic: Callable[[np.ndarray], float | None],
        prompts: np.ndarray,
    ) -> Interval | None:
        """Return ``statistic`` of the numbers of all rows, with an interval over prompts.

        None for fewer than two prompts, or where the statistic has no value for all rows or for a resample.
        """
        is_defined = True

        def number(rows: np.ndarray) -> float:
            nonlocal is_defined
            found = statistic(rows.astype(int))
            if found is None or not math.isfinite(found):
                is_defined = False
                return 0.0
            return found

        interval = cluster_bootstrap(
            np.arange(len(prompts)),
            prompts,
            statistic=number,
            confidence=self.confidence,
            resamples=min(self.resamples, SLOW_RESAMPLES),
            seed=self.seed,
        )
        return interval if is_defined else None
