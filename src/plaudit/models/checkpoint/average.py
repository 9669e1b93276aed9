"""One reward model whose weights are the average of several: no more memory or time in use than one of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from plaudit.errors import ConfigError, ModelError
from plaudit.models.backbone import tokenizer_difference
from plaudit.models.checkpoint.files import load_reward_model
from plaudit.models.create import merge_lora
from plaudit.models.reward_model import RewardModel

_AVERAGED = ("gain", "bias")
"""Fields of a recipe that training changes: numbers of the head, averaged like its weights."""
_SHOWN = ("tokenizer_hash", "config_hash")
"""Fields of a recipe that say by a hash what is compared below, where the difference itself is told."""

_INCIDENTAL = ("_name_or_path", "architectures", "transformers_version")
"""Fields of a transformers config that do not affect the model's outputs."""


def average_models(
    sources: Sequence[str],
    *,
    weights: Sequence[float] | None = None,
    device: str = "cpu",
    trust_remote_code: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> RewardModel:
    r"""Return the reward model whose every weight is :math:`\sum_m w_m \theta_m / \sum_m w_m` over the checkpoints.

    ``sources`` are directories or hub ids of models of one architecture, recipe and tokenizer; adapters are merged
    first. ``weights`` are from 0, one per model; without them all count the same. The sum is held in float64 (float32
    for weights in half precision); beside it the first checkpoint and one more are in memory. ``trust_remote_code`` is
    as in ``load_reward_model``.

    The average is a good model where the members are linearly connected: fine-tuned from one pre-trained model, with
    one head to begin from. Of models that were trained apart from random weights it is none, and nothing but an
    evaluation tells.

    Source: Ramé et al. (2024), WARM, arXiv 2401.12187.

    Raises:
        ConfigError: for fewer than two models, or weights that are not one number from 0 per model, some above 0.
        ModelError: when two models differ in more than the values of their weights, with the first difference.
        CheckpointError: when a checkpoint cannot be loaded.
    """
    shares = _shares(sources, weights)
    first: RewardModel | None = None
    total: dict[str, Tensor] = {}
    for done, (source, share) in enumerate(zip(sources, shares, strict=True), start=1):
        model = _loaded(source, device, trust_remote_code=trust_remote_code)
        if first is not None:
            difference = model_difference(first, model)
            if difference:
                raise ModelError(f"{source} cannot be averaged with {sources[0]}: {difference}")
        for name, weight in model.state_dict().items():
            _add(total, name, weight, share)
        first = model if first is None else first
        del model
        if progress is not None:
            progress(done, len(sources))
    assert first is not None
    with torch.no_grad():
        for name, weight in first.state_dict().items():
            weight.copy_(total[name])
    first.recipe = first.saved_recipe()
    return first


def model_difference(first: RewardModel, second: RewardModel) -> str | None:
    """Return the first difference between two models beside their weights' values, in words; None without one.

    Looked at are the scoring recipes, the tokenizers, the transformers configs, and the names and shapes of weights.
    """
    recipes = [model.recipe.model_dump(mode="json", exclude={*_AVERAGED, *_SHOWN}) for model in (first, second)]
    found = _first_field(*recipes)
    if found:
        return f"the recipes differ in {found}"
    words = tokenizer_difference(first.tokenizer, second.tokenizer)
    if words:
        return f"the tokenizers differ: {words}"
    configs = [_without(model.core.config.to_dict(), _INCIDENTAL) for model in (first, second)]
    found = _first_field(*configs)
    if found:
        return f"the configs differ in {found}"
    return _weight_difference(_named_weights(first), _named_weights(second))


def _shares(sources: Sequence[str], weights: Sequence[float] | None) -> list[float]:
    if len(sources) < 2:
        raise ConfigError(f"an average needs at least two models, not {len(sources)}")
    if weights is None:
        return [1.0 / len(sources)] * len(sources)
    if len(weights) != len(sources):
        raise ConfigError(f"there are {len(weights)} weights for {len(sources)} models")
    if not all(math.isfinite(weight) and weight >= 0 for weight in weights) or not sum(weights) > 0:
        raise ConfigError(f"weights are {list(weights)}; they must be numbers from 0, and one at least above 0")
    return [weight / sum(weights) for weight in weights]


def _loaded(source: str, device: str, *, trust_remote_code: bool) -> RewardModel:
    model, _ = load_reward_model(source, layout="padded", device=device, trust_remote_code=trust_remote_code)
    return merge_lora(model).eval()


def _add(total: dict[str, Tensor], name: str, weight: Tensor, share: float) -> None:
    """Add a share of a weight to the sum; weights of other than floating-point type must be equal in all models."""
    if not weight.is_floating_point():
        if not torch.equal(total.setdefault(name, weight), weight):
            raise ModelError(
                f"{name} holds {weight.dtype} numbers that differ between the models; they have no average"
            )
        return
    wide = torch.float32 if weight.dtype in (torch.bfloat16, torch.float16) else torch.float64
    added = weight.detach().to(wide) * share
    total[name] = total[name] + added if name in total else added


def _without(fields: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in names}


def _first_field(first: dict[str, Any], second: dict[str, Any]) -> str | None:
    for name in first | second:
        if first.get(name) != second.get(name):
            return f"{name}: {second.get(name)!r:.60} where the first has {first.get(name)!r:.60}"
    return None


def _named_weights(model: RewardModel) -> dict[str, Tensor]:
    return {name.removeprefix("network."): weight for name, weight in model.state_dict().items()}


def _weight_difference(first: dict[str, Tensor], second: dict[str, Tensor]) -> str | None:
    for name in first | second:
        if name not in second:
            return f"it lacks the weight {name}"
        if name not in first:
            return f"it has a weight {name} that the first lacks"
        if first[name].shape != second[name].shape:
            return f"{name} has shape {list(second[name].shape)} where the first has {list(first[name].shape)}"
    return None
