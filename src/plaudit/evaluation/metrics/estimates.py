"""Figures with intervals, over rows that belong to prompts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from plaudit.records import Interval
from plaudit.statistics.clustered import mean_interval, mean_share_interval, share_interval
from plaudit.statistics.correlation import Correlation, CorrelationKind, clustered_interval
from plaudit.statistics.intervals import cluster_bootstrap

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

        Wilson's interval when each prompt comes once, else Student's on the logit scale over prompts (see
        ``mean_share_interval``). Where nothing varies between prompts, as when all rows are
        right, it is Wilson's for as many rows as there are prompts. Several rows of one single prompt say nothing
        about other prompts: their interval is 0 to 1.
        """
        return share_interval(outcomes, prompts, confidence=self.confidence)

    def mean_share(self, shares: np.ndarray, prompts: np.ndarray) -> Interval | None:
        """Return the mean of ``shares``, each of several things and so mostly between 0 and 1; None of none.

        Student's interval on the logit scale over prompts: Wilson's is for things that are right or wrong, and too
        wide for shares. Where every one is 0 or 1, or all are of one prompt, it is ``share``. Shares that are all
        equal have an interval of no width.
        """
        if np.isin(shares, (0.0, 1.0)).all() or len(np.unique(prompts)) == 1:
            return self.share(shares, prompts)
        if (shares == shares[0]).all():
            return self.mean(shares, prompts)
        return mean_share_interval(shares, prompts, confidence=self.confidence)

    def mean(self, values: np.ndarray, prompts: np.ndarray) -> Interval | None:
        """Return the mean of ``values``, with Student's interval over prompts; None for fewer than two prompts."""
        return mean_interval(values, prompts, confidence=self.confidence)

    def of_rows(
        self,
        statistic: Callable[[np.ndarray], float | None],
        prompts: np.ndarray,
    ) -> Interval | None:
        """Return ``statistic`` of the numbers of all rows, with an interval over prompts.

        Resamples in which the statistic has no value are left out, and counted in the method's name. None for
        fewer than two prompts, and where the statistic has no value for all rows or for most resamples.
        """

        def number(rows: np.ndarray) -> float:
            found = statistic(rows.astype(int))
            return math.nan if found is None or not math.isfinite(found) else found

        return cluster_bootstrap(
            np.arange(len(prompts)),
            prompts,
            statistic=number,
            confidence=self.confidence,
            resamples=min(self.resamples, SLOW_RESAMPLES),
            seed=self.seed,
        )

    def correlation(
        self, x: np.ndarray, y: np.ndarray, *, prompts: np.ndarray, kind: CorrelationKind, names: tuple[str, str]
    ) -> Correlation:
        """Return the correlation of x and y, both [row], with an interval over prompts, or why there is none."""
        return clustered_interval(
            x,
            y,
            prompts,
            kind,
            confidence=self.confidence,
            resamples=min(self.resamples, SLOW_RESAMPLES),
            seed=self.seed,
            names=names,
        )

    def of_rows_biased(
        self,
        statistic: Callable[[np.ndarray], float | None],
        prompts: np.ndarray,
    ) -> Interval | None:
        """Return ``of_rows`` of a statistic that is at least 0 and that resampling raises, as of an absolute error.

        Such a statistic v is larger in resamples than in the rows, and their quantiles may both lie above it.
        The basic interval takes that off: from 2v − upper quantile to 2v − lower quantile, cut at 0 and
        widened to hold v where it does not.
        """
        found = self.of_rows(statistic, prompts)
        if found is None:
            return None
        low, high = 2 * found.value - found.high, 2 * found.value - found.low
        return found.model_copy(
            update={
                "low": max(0.0, min(low, found.value)),
                "high": max(high, found.value),
                "method": f"basic {found.method}",
            }
        )
