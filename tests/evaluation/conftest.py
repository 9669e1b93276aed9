"""Scored items with any label, and settings, for the measures."""

from __future__ import annotations

import pytest

from plaudit.records import ItemScore
from plaudit.statistics.metric import IntervalSettings


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
    """Return settings of few resamples."""
    return IntervalSettings(confidence=0.95, resamples=50, seed=0)
