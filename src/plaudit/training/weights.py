"""Weights of a checkpoint back into the model that is being trained, exactly and completely."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel

from plaudit.errors import CheckpointError
from plaudit.models.checkpoint.files import write_reward_model
from plaudit.models.checkpoint.recipe import read_recipe
from plaudit.models.heads.language import is_tied
from plaudit.models.reward_model import RewardModel

_LANGUAGE_HEAD = "language_head.safetensors"


def save_weights(model: RewardModel, directory: Path, state_dict: dict[str, Tensor] | None) -> None:
    """Write a checkpoint that transformers loads, and beside it the language head that takes part in training only.

    ``state_dict`` replaces the model's own weights, where they are sharded.
    """
    network = None if state_dict is None else _under("network.", state_dict)
    gain_and_bias = None if state_dict is None else state_dict.get("gain_and_bias")
    write_reward_model(model, directory, network, gain_and_bias=gain_and_bias)
    if model.language_head is not None and not is_tied(model):
        own = model.language_head.state_dict() if state_dict is None else _under("language_head.", state_dict)
        save_file({name: each.detach().clone().contiguous() for name, each in own.items()}, directory / _LANGUAGE_HEAD)


def _under(prefix: str, state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): each for name, each in state_dict.items() if name.startswith(prefix)}


def load_weights(model: RewardModel, directory: Path) -> None:
    """Load the weights of a checkpoint into ``model``, exactly and completely.

    Raises:
        CheckpointError: when weights are missing or left over.
    """
    _load_beside(model, directory)
    if isinstance(model.network, PeftModel):
        weights = _read_weights(directory / "adapter_model.safetensors")
        absent = get_peft_model_state_dict(model.network).keys() - weights.keys()
        if absent:
            raise CheckpointError(f"{directory} lacks weights of the adapter: {sorted(absent)[:3]}")
        result = set_peft_model_state_dict(model.network, weights)
        if result.unexpected_keys:
            raise CheckpointError(f"{directory} holds weights of another adapter: {result.unexpected_keys[:3]}")
        return
    model.core.load_state_dict(_read_core(model.core, directory))


def _load_beside(model: RewardModel, directory: Path) -> None:
    """Load what is trained beside the network: the language head, the gain and the bias."""
    if model.language_head is not None and not is_tied(model):
        model.language_head.load_state_dict(_read_weights(directory / _LANGUAGE_HEAD))
    recipe = read_recipe(directory)
    if model.gain_and_bias is not None and recipe is not None:
        with torch.no_grad():
            model.gain_and_bias.copy_(torch.tensor([recipe.gain, recipe.bias]))


def _read_core(core: PreTrainedModel, directory: Path) -> dict[str, Tensor]:
    """Return the weights of a checkpoint under the names and in the layout of ``core``, all in float32.

    transformers reads what it saved: for mixtures of experts the file holds another layout than the model. Float32
    holds every weight of a lower precision exactly, so copying them into ``core`` loses nothing.
    """
    config = copy.deepcopy(core.config)
    config._attn_implementation = None
    try:
        with torch.random.fork_rng(devices=[]):
            loaded: Any = type(core).from_pretrained(
                directory,
                config=config,
                dtype=torch.float32,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                use_safetensors=True,
            )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        words = next(iter(str(error).splitlines()), type(error).__name__)
        raise CheckpointError(f"{directory} cannot be read: {words}") from None
    read, info = loaded
    missing, unexpected, other = (
        sorted(info[kind])[:3] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")
    )
    if missing or unexpected or other:
        raise CheckpointError(
            f"{directory} does not fit the model: missing {missing}, unexpected {unexpected}, of another shape {other}"
        )
    return read.state_dict()


def _read_weights(file: Path) -> dict[str, Tensor]:
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{file} cannot be read: {error}") from None
