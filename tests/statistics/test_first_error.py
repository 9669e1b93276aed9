"""The first error at every threshold at once is what looking at one threshold after the other finds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plaudit.statistics.classification import best_threshold, chain_table, harmonic_mean
from plaudit.statistics.steps import first_error

rewards = st.integers(0, 10).map(lambda tenth: tenth / 10)


def right_at(table, threshold):
    return (table.low < threshold) & (threshold <= table.high)


@st.composite
def chains(draw):
    steps, errors = [], []
    for _ in range(draw(st.integers(1, 8))):
        each = draw(st.lists(rewards, min_size=1, max_size=5))
        steps.append(each)
        errors.append(draw(st.one_of(st.none(), st.integers(0, len(each) - 1))))
    return steps, errors


@settings(deadline=None, derandomize=True)
@given(chains(), st.floats(-0.5, 1.5))
def test_right_at_a_threshold_is_what_the_first_step_below_it_says(drawn, threshold):
    steps, errors = drawn
    found = right_at(chain_table(steps, errors), threshold)
    assert found.tolist() == [
        first_error(each, threshold=threshold) == error for each, error in zip(steps, errors, strict=True)
    ]


def f1_at(steps, errors, threshold):
    table = chain_table(steps, errors)
    right, wrong = right_at(table, threshold), table.has_error
    return harmonic_mean(float(right[wrong].mean()), float(right[~wrong].mean()))


@settings(deadline=None, derandomize=True)
@given(chains())
def test_no_threshold_is_better_than_the_best(drawn):
    steps, errors = drawn
    best = best_threshold(chain_table(steps, errors), default=0.5)
    if best is None:
        assert all(error is None for error in errors) or None not in errors
        return
    tried = np.concatenate([np.linspace(-0.05, 1.05, 23), np.linspace(0, 1, 11)])
    assert f1_at(steps, errors, best) == pytest.approx(max(f1_at(steps, errors, threshold) for threshold in tried))


def test_a_planted_threshold_is_found_and_the_default_is_kept_where_it_is_as_good():
    steps = [[0.9, 0.65, 0.9], [0.95, 0.8], [0.9, 0.6], [0.85, 0.9]]
    errors = [1, None, 1, None]
    # Errors lie at 0.65 and 0.6, right steps from 0.8 on: every threshold in (0.65, 0.8] is perfect.
    assert f1_at(steps, errors, 0.5) == 0.0
    best = best_threshold(chain_table(steps, errors), default=0.5)
    assert best == pytest.approx((0.65 + 0.8) / 2)
    assert f1_at(steps, errors, best) == 1.0
    assert best_threshold(chain_table(steps, errors), default=0.7) == 0.7
