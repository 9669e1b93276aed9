import numpy as np
import pytest

from plaudit.errors import ConfigError, DataError
from plaudit.statistics.intervals import cluster_index, finished_interval, wilson_interval


def test_wilson_equals_the_textbook_value_for_eight_of_ten():
    # z = 1.959964, z² = 3.841459: centre = (0.8 + 0.192073) / 1.384146 = 0.716740,
    # half = 1.959964 * sqrt(0.016 + 3.841459 / 400) / 1.384146 = 1.959964 * 0.160011 / 1.384146 = 0.226577
    interval = wilson_interval(8, 10)
    assert interval.value == 0.8
    assert interval.low == pytest.approx(0.716740 - 0.226577, abs=2e-5)
    assert interval.high == pytest.approx(0.716740 + 0.226577, abs=2e-5)
    assert (interval.n, interval.method, interval.confidence) == (10, "wilson", 0.95)


def test_wilson_at_none_right_starts_at_zero_and_ends_at_z_squared_over_n_plus_z_squared():
    interval = wilson_interval(0, 20)
    assert interval.low == 0.0
    assert interval.high == pytest.approx(3.841459 / 23.841459, abs=1e-6)


def test_wilson_is_symmetric_in_right_and_wrong():
    few, many = wilson_interval(3, 11), wilson_interval(8, 11)
    assert few.low == pytest.approx(1 - many.high)
    assert few.high == pytest.approx(1 - many.low)


def test_wilson_counts_a_tie_as_half():
    assert wilson_interval(2.5, 5).value == 0.5


def test_wilson_of_nothing_is_none_and_never_a_number():
    assert wilson_interval(0, 0) is None


@pytest.mark.parametrize(("successes", "n"), [(3, 2), (-1, 2), (0, -1), (float("nan"), 4)])
def test_wilson_refuses_impossible_counts(successes, n):
    with pytest.raises(DataError, match="successes"):
        wilson_interval(successes, n)


def test_confidence_outside_zero_to_one_is_refused():
    with pytest.raises(ConfigError, match="95"):
        wilson_interval(1, 2, confidence=95)


def test_wilson_covers_the_truth_as_often_as_it_says():
    # Exact coverage by summing the binomial, averaged over p as Wilson's interval is meant to be read.
    n = 60
    log_choose = np.concatenate([[0.0], np.cumsum(np.log(np.arange(n, 0, -1) / np.arange(1, n + 1)))])
    intervals = [wilson_interval(k, n) for k in range(n + 1)]
    low = np.array([interval.low for interval in intervals])
    high = np.array([interval.high for interval in intervals])
    k = np.arange(n + 1)
    coverage = [
        np.exp(log_choose + k * np.log(p) + (n - k) * np.log1p(-p))[(low <= p) & (p <= high)].sum()
        for p in np.linspace(0.05, 0.95, 91)
    ]
    assert 0.93 < np.mean(coverage) < 0.97


def test_clusters_are_numbered_by_first_appearance():
    assert cluster_index(["b", "a", "b", "c"]).tolist() == [0, 1, 0, 2]


def test_the_ends_of_an_interval_hold_the_value_and_its_range_whatever_rounding_did():
    one = 1.0
    found = finished_interval(one, 0.4, 0.1 + 0.2 + 0.7 - 1e-16, confidence=0.9, method="m", n=3, least=0.0, most=0.9)
    assert (found.low, found.value, found.high) == (0.4, 1.0, 1.0)
    wide = finished_interval(0.5, -0.3, 1.7, confidence=0.9, method="m", n=3, least=0.0, most=1.0)
    assert (wide.low, wide.high, wide.confidence, wide.method, wide.n) == (0.0, 1.0, 0.9, "m", 3)
