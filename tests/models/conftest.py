"""A checkpoint on disk."""

from __future__ import annotations

import pytest


@pytest.fixture
def saved(make_decoder, tmp_path):
    """A checkpoint on disk."""
    from plaudit.models.checkpoint.files import save_reward_model

    save_reward_model(make_decoder(), tmp_path / "model")
    return tmp_path / "model"
