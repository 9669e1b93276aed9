"""ODIN's head: quality and length in training, quality alone afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor, nn
from typing_extensions import override

from plaudit.batching.batch import TokenBatch
from plaudit.models.backbone import head_parameters
from plaudit.models.heads.head import DecodedRewards, HeadSpec, ScalarHead, without_attributes
from plaudit.objectives.numerics import at_least_float32
from plaudit.objectives.objective import BatchLabels, Rewards

if TYPE_CHECKING:
    from plaudit.models.reward_model import RewardModel

QUALITY, LENGTH = 0, 1
"""Outputs of an ODIN head."""


@dataclass(frozen=True, kw_only=True)
class OdinHead(ScalarHead):
    """A quality and a length output per response; the reward is the quality."""

    kind = "odin"

    @override
    def spec(self) -> HeadSpec:
        """Return the outputs quality and length."""
        return HeadSpec("sequence", 2, ("quality", "length"))

    @override
    def read(self, outputs: Float[Tensor, "row output"], batch: TokenBatch, model: RewardModel) -> Rewards:
        """Return both outputs, and the weights of the last linear layer, which the objective keeps apart."""
        weights = [weight for _, weight in head_parameters(model.core) if weight.ndim == 2]
        return Rewards(attributes=outputs, head_weight=at_least_float32(weights[-1]))

    @override
    def decode(self, rewards: Rewards, labels: BatchLabels) -> DecodedRewards:
        """Return the quality."""
        assert rewards.attributes is not None
        return without_attributes(rewards.attributes[:, QUALITY])

    @override
    def finished(self, model: RewardModel) -> RewardModel:
        """Return the model as a scalar reward model that gives its quality reward; the network is changed in place.

        The rows of the length head are cut out of the last layer of the head, so every tool that loads scalar reward
        models loads this one.

        Source: Chen et al. (2024, ODIN, arXiv 2402.07319), section 3: the length head is discarded after training.
        """
        layout = model.layout
        model.use_layout("padded")
        core = model.core
        holders = {name.rpartition(".")[0] for name, weight in head_parameters(core) if weight.shape[0] == 2}
        for name in holders:
            layer = core.get_submodule(name)
            assert isinstance(layer, nn.Linear)
            layer.weight = _quality_row(layer.weight)
            if isinstance(layer.bias, nn.Parameter):
                layer.bias = _quality_row(layer.bias)
            layer.out_features = 1
        core.config.num_labels = 1
        core.__dict__["num_labels"] = 1
        recipe = model.recipe.model_copy(update={"head": "scalar"})
        return type(model)(model.network, model.tokenizer, recipe, layout=layout)


def _quality_row(weight: Tensor) -> nn.Parameter:
    """Return the row of the quality output, in memory of its own."""
    return nn.Parameter(weight.detach()[QUALITY : QUALITY + 1].clone(), requires_grad=weight.requires_grad)
