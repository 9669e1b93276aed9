"""What the tests of the documentation share."""

from __future__ import annotations

import pytest

from .tiny_models import save_tiny_models


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory):
    """Return {template: folder} of one tiny language model, saved with each chat template."""
    return save_tiny_models(tmp_path_factory.mktemp("tiny_models"))
