"""Heads that judge tokens: process models at the ends of steps, outcome models at every token of a response."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, assert_never

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from typing_extensions import override

from plaudit.batching.batch import TokenBatch
from plaudit.models.heads.head import DecodedRewards, Head, HeadSpec, as_float64, without_attributes
from plaudit.objectives.objective import BatchLabels, Needs, Rewards
from plaudit.records import RewardScale
from plaudit.statistics.steps import Aggregation, aggregate_steps

if TYPE_CHECKING:
    from plaudit.models.reward_model import RewardModel


@dataclass(frozen=True, kw_only=True)
class TokenHead(Head):
    """A classifier of tokens, with one output per class of a step; one output alone is the logit of "right".

    With classes it is a process model, and the reward of a response is made from those of its steps. Without, it is an
    outcome model, and the reward is the logit of "right" at the last token of the response.
    """

    kind = "token"
    classes: tuple[float, ...] = ()
    step_separator: str = "\n"
    aggregation: Aggregation = "last"

    @classmethod
    @override
    def for_objective(cls, needs: Needs, **options: Any) -> Head:
        """Return the head for the classes of the objective."""
        return cls(classes=needs.classes, **options)

    def spec(self) -> HeadSpec:
        """Return one output per class."""
        return HeadSpec("token", max(1, len(self.classes)), tuple(f"{value:g}" for value in self.classes))

    @property
    def reads_outcomes(self) -> bool:
        """Return whether the reward is read at the last token of a response, and could be at any."""
        return not self.classes

    @override
    def rows(self, batch: TokenBatch) -> Int[Tensor, " row"]:
        """Return the ends of steps, the tokens of a batch that was built for them, and the ends of responses."""
        ends = [batch.response_end] if self.reads_outcomes else []
        return torch.cat([batch.step_end, batch.token_at, *ends])

    def read(self, outputs: Float[Tensor, "row output"], batch: TokenBatch, model: RewardModel) -> Rewards:
        """Return the logits of the steps, and that of "right" at tokens and ends of responses."""
        num_steps, num_tokens = len(batch.step_end), len(batch.token_at)
        right = outputs[:, 0] if outputs.shape[1] == 1 else outputs[:, -1] - outputs[:, 0]
        tokens, ends = right[num_steps : num_steps + num_tokens], right[num_steps + num_tokens :]
        response = ends if self.reads_outcomes else None
        return Rewards(response=response, steps=outputs[:num_steps], tokens=tokens)

    def decode(self, rewards: Rewards, labels: BatchLabels) -> DecodedRewards:
        """Return the rewards of steps and responses.

        That of a step is the probability that it belongs to the best class: is right, or, of the classes −1, 0, +1,
        that it is +1; neutral steps do not count as right.
        """
        if self.reads_outcomes:
            assert rewards.response is not None
            return without_attributes(rewards.response)
        assert rewards.steps is not None
        right = as_float64(probability_of_right(rewards.steps))
        of = labels.step_response.cpu().numpy()
        steps = tuple(tuple(right[of == k].tolist()) for k in range(labels.num_responses))
        made = [aggregate_steps(each, self.aggregation) if each else np.nan for each in steps]
        return DecodedRewards(np.asarray(made, dtype=np.float64), np.zeros((labels.num_responses, 0)), steps)

    @property
    def scale(self) -> RewardScale:
        """Return log-odds for an outcome model; for a process model, the scale of its aggregated probabilities."""
        if self.reads_outcomes:
            return "log_odds_values"
        match self.aggregation:
            case "last" | "mean" | "min" | "product" | "max" | "geometric_mean" | "mean_logit":
                return "probabilities"
            case "log_odds":
                return "assumed_log_odds_differences"
            case "mean_odds":
                return "order"
            case _:
                assert_never(self.aggregation)


def probability_of_right(logits: Float[Tensor, "step class"]) -> Float[Tensor, " step"]:
    """Return the probability of the best class of each step, in float64."""
    exact = logits.double()
    return torch.sigmoid(exact[:, 0]) if exact.shape[1] == 1 else torch.softmax(exact, dim=-1)[:, -1]
