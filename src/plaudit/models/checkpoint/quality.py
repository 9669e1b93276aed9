"""What is left of an ODIN model after training: its quality head alone, as a scalar reward model."""

from __future__ import annotations

from torch import Tensor, nn

from plaudit.models.backbone import head_parameters
from plaudit.models.checkpoint.recipe import ScoringRecipe
from plaudit.models.reward_model import RewardModel

QUALITY, LENGTH = 0, 1
"""Outputs of an ODIN head."""


def quality_head_alone(model: RewardModel) -> RewardModel:
    """Return an ODIN model as a scalar reward model that gives its quality reward; any other model unchanged.

    The rows of the length head are cut out of the last layer of the head, so every tool that loads scalar reward models
    loads this one. The network is changed in place.

    Source: Chen et al. (2024, ODIN, arXiv 2402.07319), section 3: the length head is discarded after training.
    """
    if model.recipe.head != "odin":
        return model
    layout = model.layout
    model.use_layout("padded")
    core = model.core
    holders = {name.rpartition(".")[0] for name, weight in head_parameters(core) if weight.shape[0] == 2}
    for name in holders:
        layer = core.get_submodule(name)
        assert isinstance(layer, nn.Linear)
        layer.weight = _row(layer.weight)
        if isinstance(layer.bias, nn.Parameter):
            layer.bias = _row(layer.bias)
        layer.out_features = 1
    core.config.num_labels = 1
    core.__dict__["num_labels"] = 1
    return RewardModel(model.network, model.tokenizer, _scalar(model.recipe), layout=layout)


def _row(weight: Tensor) -> nn.Parameter:
    """Return what belongs to the quality output, in memory of its own."""
    return nn.Parameter(weight.detach()[QUALITY : QUALITY + 1].clone(), requires_grad=weight.requires_grad)


def _scalar(recipe: ScoringRecipe) -> ScoringRecipe:
    return recipe.model_copy(update={"head": "scalar"})
