"""The interface of objectives: rewards and labels of a batch as tensors in, one loss per item out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal, NamedTuple, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor

from plaudit.config import Config
from plaudit.errors import ModelError
from plaudit.records import RewardScale

LabelKind = Literal["preferences", "strengths", "ranks", "outcomes", "steps", "ratings"]
Partial = Literal["ranked_only", "top"]
"""Unranked responses: left out, or behind every ranked one."""
SpanOf = Callable[[Literal["step_label", "pair_margin"]], tuple[float, float]]
"""The lowest and the highest known value of a label in a data set; NaN where none is known."""
Coefficient = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Rewards(NamedTuple):
    """The outputs of a model for a batch; its head decides which fields are there.

    A tuple of tensors, so that the wrappers of sharded training find the outputs in it. Everything is in at least
    float32.
    """

    response: Float[Tensor, " response"] | None = None
    """One reward per response."""
    attributes: Float[Tensor, "response attribute"] | None = None
    """One reward per response and attribute, in the units of its ratings; of an ODIN model: quality, length."""
    attribute_scale: Float[Tensor, " attribute"] | None = None
    """Factors by which the outputs of the head were brought into these units; absent where they were not."""
    gate: Float[Tensor, "response attribute"] | None = None
    """Weight that the prompt gives to each attribute, of a gated model; from 0, and 1 in sum."""
    steps: Float[Tensor, "step class"] | None = None
    """Logits of the classes at the end of each reasoning step; one column is the logit of "right"."""
    tokens: Float[Tensor, " token"] | None = None
    """Logit of "right" at each token of the responses."""
    log_likelihood: Float[Tensor, " token"] | None = None
    """Log-probability of each token of the responses, given the text before it, under the language-model head."""
    head_weight: Float[Tensor, "attribute feature"] | None = None
    """The head's weights, for objectives that keep its rows apart."""
    outputs: Float[Tensor, "response output"] | None = None
    """Outputs of a custom head, for an objective that was written with it."""


class OptimizerStepRewards(NamedTuple):
    """The rewards of a whole optimiser step, over all its micro-batches and processes, detached.

    For objectives with a term over the step (a correlation, say), which no micro-batch can know by itself. Every
    response of the step stands here once, in any order; fillers do not.
    """

    attributes: Float[Tensor, "response attribute"]
    """One reward per response and attribute, as ``Rewards.attributes`` holds them."""
    length: Float[Tensor, " response"]
    """Number of tokens of each response."""
    weight: Float[Tensor, ""]
    """Sum of the item weights of the step, by which the trainer divides the step's loss."""


_Moved = TypeVar("_Moved", bound="OnDevice")


class OnDevice:
    """Base of dataclasses that hold tensors, and others of their kind."""

    __slots__ = ()

    def to(self: _Moved, device: torch.device) -> _Moved:
        """Return the same record with its tensors on ``device``."""
        moved: dict[str, Any] = {}
        for each in fields(self):  # pyrefly: ignore
            value = getattr(self, each.name)
            if isinstance(value, Tensor):
                moved[each.name] = value.to(device, non_blocking=True)
            else:
                moved[each.name] = value.to(device) if hasattr(value, "to") else value
        return type(self)(**moved)


@dataclass(frozen=True, slots=True)
class PairLabels(OnDevice):
    """Preferences of a batch: indices into its rewards.

    ``margin[pair]`` is 0 and ``probability[pair]`` 1 where the data say nothing. ``weight[pair]`` is the share of a
    pair in its group: 1 ÷ the number of the group's preferences.
    """

    chosen: Int[Tensor, " pair"]
    rejected: Int[Tensor, " pair"]
    margin: Float[Tensor, " pair"]
    probability: Float[Tensor, " pair"]
    weight: Float[Tensor, " pair"]

    def __len__(self) -> int:
        """Return the number of pairs."""
        return self.chosen.shape[0]


@dataclass(frozen=True, slots=True)
class BatchLabels(OnDevice):
    """The labels of a batch.

    ``group[response]`` is the group of a response in the batch; ``rank[response]`` is 1 for the best of its group,
    equal for ties, 0 where unranked; ``outcome[response]`` is 1 for correct, 0 for wrong, NaN where unknown;
    ``ratings[response, attribute]`` is NaN where missing, its columns in the order of the attributes that the batch
    was built for; ``length[response]`` is the number of tokens of the response. ``step_label[step]`` belongs to
    response ``step_response[step]`` and is NaN where unlabelled; the steps of a response stand in their order.
    ``step_repeats[step]`` is whether an earlier response of the group shares the step with its label: one judgement,
    which must not weigh as often as there are responses below it.
    ``token_response[token]`` is the response of each response token, in order; empty unless the batch was built for
    tokens.
    """

    pairs: PairLabels
    group: Int[Tensor, " response"]
    rank: Int[Tensor, " response"]
    outcome: Float[Tensor, " response"]
    ratings: Float[Tensor, "response attribute"]
    length: Int[Tensor, " response"]
    step_response: Int[Tensor, " step"]
    step_label: Float[Tensor, " step"]
    step_repeats: Bool[Tensor, " step"]
    token_response: Int[Tensor, " token"]

    @property
    def num_responses(self) -> int:
        """Return the number of responses."""
        return self.group.shape[0]


@dataclass(frozen=True, slots=True)
class ItemLosses:
    """One loss and one weight per item, and per-item values to log, detached.

    The trainer divides Σ weight · loss by the Σ weight of the global step, so the weights of a step decide shares
    and never its scale. An item of weight 0 has loss 0 with zero gradient.
    """

    losses: Float[Tensor, " item"]
    weights: Float[Tensor, " item"]
    logged: dict[str, Float[Tensor, " item"]]


@dataclass(frozen=True, slots=True)
class Needs:
    """The labels, batches and model that an objective learns from."""

    labels: LabelKind
    """Kind of label; a group without one takes no part in training."""
    heads: tuple[str, ...] = ("scalar",)
    """Kinds of head that it can train, the default first; a custom head goes with every objective."""
    tokens: bool = False
    """Batches list the tokens of their responses (``BatchLabels.token_response``)."""
    log_likelihood: bool = False
    """The model gives ``Rewards.log_likelihood``."""
    whole_step: bool = False
    """The objective gets the ``OptimizerStepRewards`` of the whole optimiser step, or of the whole evaluation."""
    attributes: tuple[str, ...] = ()
    """The columns of ``BatchLabels.ratings`` and ``Rewards.attributes``, in this order."""
    classes: tuple[float, ...] = ()
    """The label of each class of a step, ascending: the columns of ``Rewards.steps``."""
    partial: Partial = "ranked_only"
    """Unranked responses of ranked groups: left out, or behind every ranked one (``top``)."""
    margins: bool = False
    """Some preference of the training data has a margin."""


@runtime_checkable
class Objective(Protocol):
    """A training loss over the items of a batch: pairs, groups, responses or steps, as the objective has it."""

    @property
    def needs(self) -> Needs:
        """Return the labels, batches and model that the objective learns from."""
        ...

    def weights(self, labels: BatchLabels) -> Float[Tensor, " item"]:
        """Return the weight of each item, without looking at a reward; 0 where the labels say nothing of it."""
        ...

    def __call__(self, rewards: Rewards, labels: BatchLabels, step: OptimizerStepRewards | None = None) -> ItemLosses:
        """Return one loss per item of the batch. Without ``step`` the batch is the whole step."""
        ...


class ObjectiveSection(Config):
    """Base of the objectives that a config can name: the section of the config is the objective itself."""

    @property
    def reward_scale(self) -> RewardScale | None:
        """Return the scale of the rewards at the optimum; None where the head alone decides it."""
        return None

    def check_labels(self, span_of: SpanOf) -> None:
        """Raise DataError where the objective cannot learn from a label that is there.

        ``span_of`` gives the lowest and the highest known value of a label in the data. Called before training begins.
        """


def weighed(
    losses: Float[Tensor, " item"], weights: Float[Tensor, " item"], logged: dict[str, Float[Tensor, " item"]]
) -> ItemLosses:
    """Return the items, with losses and logged values of 0 where the weight is 0."""
    is_out = weights == 0
    detached = {name: values.detach().masked_fill(is_out, 0.0) for name, values in logged.items()}
    return ItemLosses(losses.masked_fill(is_out, 0.0), weights, detached)


def required(rewards: Rewards, name: str, *, objective: str) -> Tensor:
    """Return the field ``name`` of ``rewards``.

    Raises:
        ModelError: when the model's head does not give it.
    """
    value = getattr(rewards, name)
    if value is None:
        given = [field for field in Rewards._fields if getattr(rewards, field) is not None]
        raise ModelError(
            f"objective {objective} reads Rewards.{name}, which the head of this model does not give; it gives "
            f"{', '.join(given) or 'nothing'}"
        )
    return value


def right_side(lead: Float[Tensor, " item"], probability: Float[Tensor, " item"]) -> Float[Tensor, " item"]:
    """Return 1 where the sign of ``lead`` is that of probability − ½, ½ where the latter is 0, else 0.

    The accuracy of an evaluation with its usual tie rule: an exact tie of the rewards is wrong. A label of probability
    ½ holds neither side to be better and makes no mistake possible: such an item, which an evaluation leaves out,
    counts as ½, the value of either order of it under its label.
    """
    side = torch.sign(probability - 0.5)
    return torch.where(side == 0, 0.5, (lead * side > 0).float())


def num_groups(labels: BatchLabels) -> int:
    """Return the number of groups of the batch."""
    return int(labels.group.max()) + 1 if labels.num_responses else 0
