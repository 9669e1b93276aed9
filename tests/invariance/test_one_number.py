"""One model, one conversation, one reward: whoever asks."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

from .doors import KINDS, OTHERS, OWN, by_python, by_transformers, differences, odd, pairs, trained

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module", params=KINDS)
def run(request, tmp_path_factory):
    return trained(request.param, tmp_path_factory.mktemp("doors") / request.param)


def test_every_door_gives_the_reward_of_python(run):
    found = differences(run)
    assert len(found) == 1 + len(OWN) + len(OTHERS)
    assert {name: value for name, value in found.items() if not value <= 1e-5} == {}
    # the rewards are far enough apart for that to mean something
    assert np.std(by_python(run, pairs(12, 1))) > 0.05


def test_what_is_cut_empty_or_too_long_is_the_same_by_every_door_of_plaudit(run):
    wanted = by_python(run, odd())
    assert [reward is None for reward in wanted] == [False, False, False, True, True, False]
    for name, door in OWN.items():
        found = door(run, odd())
        assert [reward is None for reward in found] == [reward is None for reward in wanted], name
        kept = [(one, other) for one, other in zip(found, wanted, strict=True) if one is not None]
        np.testing.assert_allclose(*zip(*kept, strict=True), atol=1e-6)


def test_what_other_tools_do_with_them_is_what_the_page_says(run):
    # transformers reads all of them whole: the same where nothing is cut, and a number where plaudit gives none
    own, other = by_python(run, odd()), by_transformers(run, odd())
    assert np.isfinite(other).all()
    assert [own[2], own[5]] == pytest.approx([other[2], other[5]], abs=1e-5)
    assert abs(own[0] - other[0]) > 1e-4


def test_the_page_has_every_door():
    build = runpy.run_path(str(ROOT / "docs" / "build_doors.py"))
    table = build["PAGE"].read_text(encoding="utf-8").split(build["BEGIN"])[1].split(build["END"])[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    assert [row[0] for row in rows[:-1]] == ["the end of training (mean of the chosen)", *OWN, *OTHERS]
    assert rows[-1][0].startswith("vLLM 0.")
    assert all(float(cell) <= 1e-5 for row in rows for cell in row[1:])
