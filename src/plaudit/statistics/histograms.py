"""Histograms of several samples over one set of bins, for plots that compare them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from plaudit.errors import ConfigError, DataError


def shared_histogram(samples: Mapping[str, ArrayLike], *, bins: int = 30) -> list[dict[str, float]]:
    """Return one row per bin: low, high, and for each sample the number of its values in the bin.

    The bins have equal width and span all samples, so that no value is left out; the last one holds its upper
    end. With no values there are no rows; where all values are equal there is one bin of width 0.

    Raises:
        DataError: for values that are not finite.
        ConfigError: for fewer than one bin, or a sample named low or high.
    """
    if bins < 1:
        raise ConfigError(f"bins is {bins}; it must be at least 1")
    arrays = {name: np.asarray(values, dtype=np.float64).ravel() for name, values in samples.items()}
    for name, array in arrays.items():
        if name in ("low", "high"):
            raise ConfigError(f"a sample is named {name!r}, which is the name of a bin's end")
        if not np.isfinite(array).all():
            raise DataError(f"sample {name!r} holds {int((~np.isfinite(array)).sum())} values that are not finite")
    filled = [array for array in arrays.values() if len(array)]
    if not filled:
        return []
    low = min(float(array.min()) for array in filled)
    high = max(float(array.max()) for array in filled)
    if low == high:
        return [{"low": low, "high": high, **{name: float(len(array)) for name, array in arrays.items()}}]
    edges = np.linspace(low, high, bins + 1)
    counts = {name: np.histogram(array, edges)[0] for name, array in arrays.items()}
    return [
        {
            "low": float(edges[index]),
            "high": float(edges[index + 1]),
            **{name: float(count[index]) for name, count in counts.items()},
        }
        for index in range(bins)
    ]
