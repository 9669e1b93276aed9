"""Weights in four bits: linear layers of the backbone are quantised on loading, heads never.

The linear layers of the backbone become NF4 with double quantisation (Dettmers et al., 2023, QLoRA, arXiv 2305.14314),
multiplied in the precision that the model is loaded in. The head, a pooler and the vocabulary head stay as they are:
a reward is the difference of numbers that four bits cannot tell apart. Embeddings and norms are no linear layers.

Nothing is done to the network for training beyond what training does to any model with adapters: adapters freeze the
weights below them, and ``RewardModel.gradient_checkpointing_enable`` lets gradients into the first layer. Casting
the other weights to float32, as peft's ``prepare_model_for_kbit_training`` does, is left out: scoring would have to
do it too, or give other rewards than training did, and norms compute in float32 by themselves.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Iterable
from typing import Any

import torch
from accelerate.hooks import remove_hook_from_module
from torch import nn
from transformers import BitsAndBytesConfig, PreTrainedConfig, PreTrainedModel

from plaudit.errors import ModelError, require
from plaudit.models.classes import NetworkClass


def four_bit_arguments(
    source: str,
    wanted: NetworkClass,
    *,
    dtype: torch.dtype,
    device: str,
    trust_remote_code: bool = False,
) -> dict[str, Any]:
    """Return the arguments of ``from_pretrained`` that quantise a backbone on ``device``, and leave its head whole.

    Which modules are the head is asked of the class itself, made without memory.

    Raises:
        MissingExtraError: when bitsandbytes is not installed.
        ModelError: when the checkpoint is quantised already, or float64 is asked for.
    """
    require("bitsandbytes", extra="quantized")
    own = wanted.config.to_dict().get("quantization_config")
    if own is not None:
        raise ModelError(
            f"{source}: its weights are quantised already ({own.get('quant_method', 'by an unknown method')}); load it "
            "without quantization, or give the model that it was made from"
        )
    if dtype == torch.float64:
        raise ModelError(f"{source}: 4-bit weights cannot be multiplied in float64; use float32, bfloat16 or float16")
    with torch.device("meta"):
        skeleton = wanted.empty(copy.deepcopy(wanted.config), trust_remote_code=trust_remote_code)
    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=[f"^{re.escape(name)}" for name in kept_whole(skeleton)],
    )
    return {"quantization_config": quantization, "device_map": {"": device}}


def kept_whole(network: PreTrainedModel) -> list[str]:
    """Return the names of the modules that are never quantised: those outside the backbone, and its pooler."""
    outside = [name for name, _ in network.named_children() if name != network.base_model_prefix]
    return outside + [name for name, _ in network.named_modules() if name.endswith(".pooler")]


def settle(network: PreTrainedModel) -> None:
    """Make a network that was just quantised one whose rewards do not depend on how often it was used.

    On a CPU with AVX-512 BF16, bitsandbytes repacks the weights of a layer in its first forward in evaluation mode.
    From then on the layer computes in bfloat16, whatever was asked for, no gradient passes it, and a layer whose
    outputs are no multiple of 32 fails. That is switched off. The hooks that move tensors between devices have nothing
    to move.

    Raises:
        ModelError: when it has no linear layer that could be quantised.
    """
    layers: list[Any] = [module for module in network.modules() if is_four_bit(getattr(module, "weight", None))]
    if not layers:
        raise ModelError(f"{type(network).__name__} has no linear layer that can be quantised")
    for layer in layers:
        layer.support_avx512bf16_for_cpu = False
    remove_hook_from_module(network, recurse=True)


def is_four_bit(weight: object) -> bool:
    """Return whether ``weight`` holds two quantised numbers in a byte."""
    return isinstance(weight, nn.Parameter) and type(weight).__name__ == "Params4bit"


def num_weights(weight: nn.Parameter) -> int:
    """Return the number of weights in a parameter, also of one that holds two in a byte."""
    if not is_four_bit(weight):
        return weight.numel()
    state: Any = weight.__dict__["quant_state"]
    return math.prod(state.shape)


def share_in_words(weights: Iterable[nn.Parameter]) -> str:
    """Return how many of the weights are in four bits, in words."""
    listed = list(weights)
    packed = [weight for weight in listed if is_four_bit(weight)]
    share = sum(map(num_weights, packed)) / sum(map(num_weights, listed))
    return f"{len(packed)} linear layers, {share:.0%} of the weights, in 4 bit (NF4, double quantisation)"


def without_quantization(config: PreTrainedConfig) -> PreTrainedConfig:
    """Return the config of a model that was quantised on loading as that of its checkpoint, which is not."""
    plain = copy.deepcopy(config)
    for name in ("quantization_config", "_pre_quantization_dtype"):
        plain.__dict__.pop(name, None)
    return plain
