"""A hash of a model's weights, by which what was begun with one model is not gone on with by another."""

from __future__ import annotations

import hashlib

from plaudit.models.checkpoint.head_weights import head_hash
from plaudit.models.reward_model import RewardModel

_SAMPLE = 256
"""Values of each weight of the backbone that go into the hash."""


def weights_hash(model: RewardModel) -> str:
    """Return a short hash by which models of one scoring recipe can be told apart.

    It is taken over every weight of the head and some values, evenly spread, of every other weight, those of adapters
    too: training changes nearly all of them, and a head alone may be the same on top of another backbone.
    """
    digest = hashlib.blake2b(head_hash(model.core).encode(), digest_size=8)
    for name, weight in model.core.named_parameters():
        values = weight.detach().flatten()
        digest.update(name.encode())
        digest.update(values[:: max(1, values.numel() // _SAMPLE)].double().cpu().numpy().tobytes())
    return digest.hexdigest()
