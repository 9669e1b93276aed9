"""Scored items with any label, and an estimator, for the measures."""

from __future__ import annotations

import pytest

from plaudit.evaluation.metrics.estimates import Estimator
from plaudit.records import ItemScore


@pytest.fixture(scope="session")
def make_item():
    """Return a function that gives an item with one reward and one length per response."""

    def make(name, rewards, *, lengths=None, prompt=None, source="s", **labels):
        return ItemScore(
            id=name,
            source=source,
            prompt_key=prompt or name,
            rewards=rewards,
            lengths=lengths or (10,) * len(rewards),
            **labels,
        )

    return make


@pytest.fixture(scope="session")
def estimate():
    """Return an estimator of few resamples."""
    return Estimator(confidence=0.95, resamples=50, seed=0)
