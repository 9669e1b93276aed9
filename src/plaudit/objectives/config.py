"""The objectives that a config can name, as a closed union; a section of the config is the objective itself."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from functools import cached_property
from typing import Annotated, Any, Literal

import torch
from jaxtyping import Float
from pydantic import ConfigDict, Field
from torch import Tensor
from typing_extensions import override

from plaudit.config import import_object
from plaudit.errors import ConfigError, ModelError, PlauditError
from plaudit.objectives.disentangle import Odin
from plaudit.objectives.listwise import PlackettLuce, TopOne
from plaudit.objectives.objective import (
    BatchLabels,
    ItemLosses,
    Needs,
    Objective,
    ObjectiveSection,
    OptimizerStepRewards,
    Rewards,
    required,
    weighed,
)
from plaudit.objectives.pairwise import BradleyTerry, pair_metrics, pair_weights
from plaudit.objectives.pointwise import Outcome, Regression
from plaudit.objectives.token import Process, TokenOutcome
from plaudit.records import RewardScale

PairLoss = Callable[..., Tensor]
"""``loss(chosen [pair], rejected [pair], **options) -> [pair]``."""


class CustomObjective(ObjectiveSection):
    """A loss of your own: a function of chosen and rejected rewards, or an ``Objective`` class.

    Every further key is an argument of the function or of the class.
    """

    model_config = ConfigDict(extra="allow")

    type: Literal["custom"] = "custom"
    """Name of the objective."""
    path: Annotated[str, Field(pattern=r"^[^:]+:[^:]+$")]
    """Import path, ``my_package.losses:hinge``."""

    @cached_property
    def _objective(self) -> Objective:
        found, options = import_object(self.path, key="objective.path"), self.__pydantic_extra__ or {}
        if not inspect.isclass(found):
            return PairObjective(found, options, self.path)
        try:
            made: Any = found(**options)
        except PlauditError:
            raise
        except (TypeError, ValueError) as error:
            raise ConfigError(f"objective {self.path} cannot be made of {options}: {error}") from None
        missing = [name for name in ("needs", "weights", "__call__") if not hasattr(made, name)]
        if missing:
            raise ConfigError(f"objective {self.path} has no {', '.join(missing)}, which every objective has")
        return made

    @property
    def needs(self) -> Needs:
        """Return the needs of the class; of a function, preferences."""
        return self._objective.needs

    @property
    @override
    def reward_scale(self) -> RewardScale | None:
        """Return ``reward_scale`` of the class; an order without one, and of a function."""
        found = self._objective
        old = getattr(found, "log_odds", None)
        if old is not None and not hasattr(found, "reward_scale"):
            warnings.warn(
                f"{self.path}.log_odds is called reward_scale now, as 'log_odds_differences' or 'order'; the old name "
                "is dropped in 0.3",
                DeprecationWarning,
                stacklevel=2,
            )
            return "log_odds_differences" if old else "order"
        return getattr(found, "reward_scale", "order")

    def weights(self, labels: BatchLabels) -> Float[Tensor, " item"]:
        """Return the weight of each item."""
        return self._objective.weights(labels)

    def __call__(self, rewards: Rewards, labels: BatchLabels, step: OptimizerStepRewards | None = None) -> ItemLosses:
        """Return one loss per item."""
        return self._objective(rewards, labels, step)


class PairObjective:
    r"""A function of the rewards of both sides as an objective. An item is a preference.

    Of a preference with the probability p that chosen is better the loss is
    :math:`p\, \ell(r_c, r_r) + (1 - p)\, \ell(r_r, r_c)`.
    """

    def __init__(self, loss: PairLoss, options: dict[str, Any], name: str) -> None:
        """Train with ``loss(chosen, rejected, **options)``."""
        self.loss, self.options, self.name = loss, options, name

    @property
    def needs(self) -> Needs:
        """Return preferences."""
        return Needs(labels="preferences")

    def weights(self, labels: BatchLabels) -> Float[Tensor, " pair"]:
        """Return 1 per preference."""
        return pair_weights(labels.pairs, "pair")

    def __call__(self, rewards: Rewards, labels: BatchLabels, step: OptimizerStepRewards | None = None) -> ItemLosses:
        """Return one loss per preference, and the metrics of ``pair_metrics``.

        Raises:
            ModelError: when the function does not give one number per preference.
        """
        pairs = labels.pairs
        values = required(rewards, "response", objective=self.name)
        chosen, rejected = values[pairs.chosen], values[pairs.rejected]
        p = pairs.probability
        # A hard label takes nothing from the swapped loss, which may be infinite there: its share is taken of 0 and 0.
        soft = p < 1
        swapped = self._losses(rejected.where(soft, 0.0), chosen.where(soft, 0.0))
        losses = p * self._losses(chosen, rejected) + (1 - p) * swapped
        return weighed(losses, self.weights(labels), pair_metrics(chosen, rejected, pairs))

    def _losses(self, chosen: Float[Tensor, " pair"], rejected: Float[Tensor, " pair"]) -> Float[Tensor, " pair"]:
        losses = self.loss(chosen, rejected, **self.options)
        if not torch.is_tensor(losses) or losses.shape != chosen.shape:
            found = f"a tensor {list(losses.shape)}" if torch.is_tensor(losses) else type(losses).__name__
            raise ModelError(f"objective {self.name} gave {found}; it must give one loss per pair, [{len(chosen)}]")
        return losses


ObjectiveConfig = Annotated[
    BradleyTerry | PlackettLuce | TopOne | Regression | Outcome | TokenOutcome | Process | Odin | CustomObjective,
    Field(discriminator="type"),
]
