"""On a CUDA device: weights in four bits are made there, stay there, and give gradients and equal layouts."""

from __future__ import annotations

import importlib.util

import pytest
import torch

from plaudit.batching.batch import build_batch
from plaudit.batching.encode import EncodingReport
from plaudit.models.checkpoint.files import load_reward_model, save_reward_model
from plaudit.models.create import add_lora, new_reward_model
from plaudit.models.parity import prove_layout

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed"),
    pytest.mark.filterwarnings("ignore"),
]
DEVICE = "cuda"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_adapters_on_four_bits_train_on_the_device_and_come_back(make_decoder, make_groups, tmp_path, dtype):
    save_reward_model(make_decoder(hidden_size=64), tmp_path / "base")
    model = new_reward_model(str(tmp_path / "base"), seed=0, dtype=dtype, quantization="4bit")
    model = add_lora(model, rank=2, alpha=4, dropout=0.0, targets="all-linear")
    assert {weight.device.type for weight in model.parameters()} == {DEVICE}
    assert model.core.score.weight.dtype == torch.float32
    assert prove_layout(model, "shared_prefix").exact
    encoded = list(model.recipe.encoder(model.tokenizer).encode(list(enumerate(make_groups(4))), EncodingReport()))
    batch = build_batch(encoded, layout="padded", pad_id=model.recipe.pad_token).to(torch.device(DEVICE))
    for _ in range(2):
        model.train()
        model(batch).response.square().sum().backward()
        with torch.no_grad():
            for weight in model.parameters():
                if weight.requires_grad:
                    assert weight.grad is not None
                    weight -= 0.01 * weight.grad
                    weight.grad = None
    model.eval()
    with torch.no_grad():
        wanted = model(batch).response
    assert torch.isfinite(wanted).all()
    save_reward_model(model, tmp_path / "adapter")
    again, _ = load_reward_model(str(tmp_path / "adapter"), layout="padded", device=DEVICE)
    with torch.no_grad():
        assert torch.equal(again(batch).response, wanted)
