"""The weights of a checkpoint are loaded exactly and completely, or not at all."""

from __future__ import annotations

import pytest

from plaudit.errors import CheckpointError
from plaudit.models.checkpoint.files import save_reward_model
from plaudit.models.create import add_lora
from plaudit.training.trainer import load_weights

pytestmark = pytest.mark.filterwarnings("ignore")


def test_a_checkpoint_that_does_not_fit_the_model_is_refused(make_decoder, tmp_path):
    save_reward_model(make_decoder(num_layers=1), tmp_path / "one")
    save_reward_model(make_decoder(num_layers=2), tmp_path / "two")
    with pytest.raises(CheckpointError, match=r"does not fit the model: missing \['model\.layers\.1"):
        load_weights(make_decoder(num_layers=2), tmp_path / "one")
    with pytest.raises(CheckpointError, match=r"unexpected \['model\.layers\.1"):
        load_weights(make_decoder(num_layers=1), tmp_path / "two")


def test_checkpoints_of_other_adapters_are_refused(make_decoder, tmp_path):
    def adapted(rank=2, targets="all-linear"):
        return add_lora(make_decoder(), rank=rank, alpha=4, dropout=0.0, targets=targets)

    save_reward_model(adapted(targets=("q_proj",)), tmp_path / "few")
    save_reward_model(adapted(), tmp_path / "all")
    with pytest.raises(CheckpointError, match="lacks weights of the adapter"):
        load_weights(adapted(), tmp_path / "few")
    with pytest.raises(CheckpointError, match="holds weights of another adapter"):
        load_weights(adapted(targets=("q_proj",)), tmp_path / "all")
