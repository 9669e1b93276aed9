"""The interface of heads, from the hidden states of a batch to rewards and their scale; one or several outputs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from typing_extensions import override

from plaudit.batching.batch import TokenBatch
from plaudit.objectives.numerics import at_least_float32
from plaudit.objectives.objective import BatchLabels, Needs, Rewards
from plaudit.records import RewardScale

if TYPE_CHECKING:
    from plaudit.models.checkpoint.recipe import Form, HeadKind, ScoringRecipe
    from plaudit.models.reward_model import RewardModel

Float64Array = npt.NDArray[np.float64]

_CLASS_ENDINGS = {
    "sequence": "ForSequenceClassification",
    "token": "ForTokenClassification",
    "language_model": "ForCausalLM",
}


@dataclass(frozen=True, slots=True)
class HeadSpec:
    """The class of transformers that holds the head, its number of outputs, and their names."""

    task: Literal["sequence", "token", "language_model"] = "sequence"
    outputs: int = 1
    names: tuple[str, ...] = ()

    @property
    def class_ending(self) -> str:
        """Return how the names of such classes end: ``LlamaForSequenceClassification``."""
        return _CLASS_ENDINGS[self.task]


@dataclass(frozen=True, slots=True)
class DecodedRewards:
    """The outputs of a head for a batch, decoded: numbers per response, as a scorer gives them.

    ``rewards[response]``; ``attributes[response, output]``, one column per name of ``recipe.outputs``; ``steps``, the
    reward of each step of each response; ``uncertainty[response]``, a standard deviation in the units of the reward.
    """

    rewards: Float64Array
    attributes: Float64Array
    steps: tuple[tuple[float, ...], ...] | None = None
    uncertainty: Float64Array | None = None


class Head(ABC):
    """A head: its outputs, how they are read out of hidden states and decoded to rewards, and their scale.

    Subclasses are frozen dataclasses whose fields are named after those of ``ScoringRecipe`` that they set; so a head
    is made from a recipe (``heads.kinds.head_of``) and written into one (``described_in``). The weights are those of
    the ``score`` layer of a transformers class, saved and loaded with it.
    """

    kind: ClassVar[HeadKind]

    @classmethod
    def for_objective(cls, needs: Needs, **options: Any) -> Head:
        """Return the head that an objective with these needs trains; ``options`` are further fields.

        Raises:
            ConfigError: where the objective cannot train such a head.
        """
        return cls(**options)

    @abstractmethod
    def spec(self) -> HeadSpec:
        """Return the transformers class and the outputs of the head."""

    @abstractmethod
    def read(self, outputs: Float[Tensor, "row output"], batch: TokenBatch, model: RewardModel) -> Rewards:
        """Return the outputs at ``rows`` as the fields that objectives read."""

    @abstractmethod
    def decode(self, rewards: Rewards, labels: BatchLabels) -> DecodedRewards:
        """Return the numbers of each response of a batch that a scorer gives."""

    @property
    @abstractmethod
    def scale(self) -> RewardScale:
        """Return the scale of the rewards: log-odds, ratings, probabilities, or an order only."""

    @property
    def step_scale(self) -> RewardScale | None:
        """Return the scale of the rewards of steps; None where there are none."""
        return None

    @property
    def form(self) -> Form:
        """Return how a group becomes text: a conversation per response."""
        return "conversation"

    def rows(self, batch: TokenBatch) -> Int[Tensor, " row"]:
        """Return the positions of the flattened batch that the head reads: the ends of the responses."""
        return batch.response_end

    def outputs(self, model: RewardModel, hidden: Float[Tensor, "row feature"]) -> Float[Tensor, "row output"]:
        """Return the outputs for read-out hidden states, in at least float32."""
        return at_least_float32(linear_head(head_layer(model.core), hidden))

    def rewards(self, model: RewardModel, batch: TokenBatch) -> Rewards:
        """Return the rewards of a batch, in at least float32."""
        rows = self.rows(batch)
        if model.is_classifier:
            return self.read(model.classified(batch, rows), batch, model)
        return self.read(self.outputs(model, model.features_at(batch, rows)), batch, model)

    def outputs_in(self, logits: Float[Tensor, "row logit"], model: RewardModel) -> Float[Tensor, "row output"]:
        """Return the outputs of the head among the logits that transformers gives: all of them."""
        return logits

    def recipe_fields(self) -> dict[str, Any]:
        """Return the fields of a scoring recipe that describe the head."""
        return {"head": self.kind} | {each.name: getattr(self, each.name) for each in fields(self)}  # pyrefly: ignore

    def described_in(self, recipe: ScoringRecipe, tokenizer: PreTrainedTokenizerBase) -> ScoringRecipe:
        """Return the recipe with everything that it says of the head."""
        return recipe.model_copy(update=self.recipe_fields())

    def restore(self, core: PreTrainedModel, source: str) -> None:  # noqa: B027 - most heads have no such weights
        """Load weights of the head that ``from_pretrained`` has no place for, from the checkpoint ``source``."""

    def finished(self, model: RewardModel) -> RewardModel:
        """Return the model that is saved when training ends: the whole one."""
        return model


@dataclass(frozen=True, kw_only=True)
class ScalarHead(Head):
    """One reward per response."""

    kind = "scalar"
    reward_scale: RewardScale | None = None

    def spec(self) -> HeadSpec:
        """Return one output."""
        return HeadSpec()

    def read(self, outputs: Float[Tensor, "row output"], batch: TokenBatch, model: RewardModel) -> Rewards:
        """Return the output as ``Rewards.response``."""
        return Rewards(response=outputs[:, 0])

    def decode(self, rewards: Rewards, labels: BatchLabels) -> DecodedRewards:
        """Return the rewards as they are."""
        assert rewards.response is not None
        return without_attributes(rewards.response)

    @property
    def scale(self) -> RewardScale:
        """Return the scale that training gave them; where nothing says so, differences are assumed to be log-odds."""
        return self.reward_scale or "assumed_log_odds_differences"


@dataclass(frozen=True, kw_only=True)
class AttributesHead(Head):
    """One reward per response and attribute; that of the response is their weighted sum, by default their mean."""

    kind = "attributes"
    attributes: tuple[str, ...]
    attribute_weights: tuple[float, ...] = ()
    attribute_scales: tuple[float, ...] = ()
    attribute_locations: tuple[float, ...] = ()

    @classmethod
    @override
    def for_objective(cls, needs: Needs, **options: Any) -> Head:
        """Return the head for the attributes of the objective."""
        return cls(attributes=needs.attributes, **options)

    def spec(self) -> HeadSpec:
        """Return one output per attribute."""
        return HeadSpec("sequence", len(self.attributes), self.attributes)

    def read(self, outputs: Float[Tensor, "row output"], batch: TokenBatch, model: RewardModel) -> Rewards:
        """Return the attributes in the units of their ratings: output of a standardised head · scale + location."""
        if not self.attribute_scales:
            return Rewards(attributes=outputs)
        scale, location = map(outputs.new_tensor, (self.attribute_scales, self.attribute_locations))
        return Rewards(attributes=outputs * scale + location, attribute_scale=scale)

    def decode(self, rewards: Rewards, labels: BatchLabels) -> DecodedRewards:
        """Return the attributes and their weighted sum."""
        assert rewards.attributes is not None
        table = as_float64(rewards.attributes)
        weights = self.attribute_weights or (1.0 / len(self.attributes),) * len(self.attributes)
        return DecodedRewards(table @ np.asarray(weights), table)

    @property
    def scale(self) -> RewardScale:
        """Return ratings."""
        return "ratings"


def head_layer(core: PreTrainedModel) -> nn.Module:
    """Return the linear layer that makes a decoder's outputs of its last hidden state."""
    return core.get_submodule("score" if hasattr(core, "score") else "classifier")


def linear_head(head: nn.Module, features: Float[Tensor, "row feature"]) -> Float[Tensor, "row output"]:
    """Return the outputs of a head, computed in the precision of its weights, outside autocast."""
    with torch.autocast(features.device.type, enabled=False):
        return head(features.to(next(head.parameters()).dtype))


def without_attributes(rewards: Float[Tensor, " response"]) -> DecodedRewards:
    """Return rewards that come without anything else."""
    return DecodedRewards(as_float64(rewards), np.zeros((len(rewards), 0)))


def as_float64(values: Tensor) -> Float64Array:
    """Return the numbers of a tensor on the CPU."""
    return values.double().cpu().numpy()
