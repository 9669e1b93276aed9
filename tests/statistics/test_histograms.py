import numpy as np
import pytest

from plaudit.errors import ConfigError, DataError
from plaudit.statistics.calibration import shared_histogram


def test_samples_share_their_bins_and_the_last_bin_holds_the_end():
    rows = shared_histogram({"chosen": [0.0, 1.0, 4.0], "rejected": [2.0]}, bins=2)
    assert rows == [
        {"low": 0.0, "high": 2.0, "chosen": 2.0, "rejected": 0.0},
        {"low": 2.0, "high": 4.0, "chosen": 1.0, "rejected": 1.0},
    ]


def test_every_value_is_in_one_bin():
    generator = np.random.default_rng(0)
    rows = shared_histogram({"a": generator.normal(size=500), "b": generator.normal(3.0, 1.0, size=300)})
    assert len(rows) == 30
    assert sum(row["a"] for row in rows) == 500
    assert sum(row["b"] for row in rows) == 300


def test_equal_values_make_one_bin_and_no_values_none():
    assert shared_histogram({"a": [2.0, 2.0], "b": []}) == [{"low": 2.0, "high": 2.0, "a": 2.0, "b": 0.0}]
    assert shared_histogram({"a": []}) == []


def test_bad_input_is_refused():
    with pytest.raises(DataError, match="'a' holds 1"):
        shared_histogram({"a": [float("inf")]})
    with pytest.raises(ConfigError, match="bins"):
        shared_histogram({"a": [1.0]}, bins=0)
    with pytest.raises(ConfigError, match="'low'"):
        shared_histogram({"low": [1.0]})
