"""Items of benchmarks: loaded files scored by a function, and the shared data where it is there."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from plaudit.evaluation.store.items import item_score
from plaudit.scoring.scorer import GroupRewards
from plaudit.statistics.metric import IntervalSettings

DATA = Path(os.environ.get("PLAUDIT_DATA") or Path(__file__).resolve().parents[4] / "shared" / "data") / "benchmarks"


@pytest.fixture(scope="session")
def shared():
    """Return a function that gives the path of an official file or folder, or skips where it is not there."""

    def find(name):
        if not (DATA / name).exists():
            pytest.skip(f"{name} is not here; set PLAUDIT_DATA to the folder that holds benchmarks/{name}")
        return str(DATA / name)

    return find


@pytest.fixture(scope="session")
def estimate():
    """Return settings of few resamples."""
    return IntervalSettings(confidence=0.95, resamples=30, seed=0)


@pytest.fixture(scope="session")
def score():
    """Return a function that scores every group of what was loaded; ``reward(group, index)`` may give None."""

    def scored(loaded, reward):
        items = []
        for group in loaded.groups:
            rewards = tuple(reward(group, index) for index in range(len(group.responses)))
            item = item_score(group, GroupRewards(group.id, rewards))
            items.append(item.model_copy(update={"metadata": dict(loaded.facts[group.id])}))
        return [*items, *loaded.refused]

    return scored


@pytest.fixture(scope="session")
def draws():
    """Return a function that makes rewards on a coarse grid, so that ties are frequent, some of them missing."""

    def make(rng, *, missing=0.05):
        def reward(group, index):
            return None if rng.random() < missing else round(float(rng.normal()), 0)

        return reward

    return make


@pytest.fixture(scope="session")
def write_rows():
    """Return a function that writes rows as JSON Lines, or as one array where the name ends in .json."""

    def write(path, rows):
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(rows) if path.suffix == ".json" else "".join(json.dumps(row) + "\n" for row in rows)
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write
