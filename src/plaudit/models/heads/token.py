"""Heads that judge tokens: process models at the ends of steps, outcome models at every token of a response."""

from __future__ import annotations

from collections.abc import Sequence
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
from plaudit.statistics.steps import Aggregation, StepReward, aggregate_log_odds, probability

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
    step_reward: StepReward = "not_lowest"
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
        """Return the rewards of steps, which are probabilities, and those of responses, aggregated from their log-odds.

        By default that of a step is the probability that it is not of the lowest class: of −1, 0, +1, that it is right
        or neutral, as an evaluation counts them.
        """
        if self.reads_outcomes:
            assert rewards.response is not None
            return without_attributes(rewards.response)
        assert rewards.steps is not None
        log_odds = as_float64(step_log_odds(rewards.steps, self.classes, self.step_reward))
        of = labels.step_response.cpu().numpy()
        by_response = [log_odds[of == k] for k in range(labels.num_responses)]
        steps = tuple(tuple(map(probability, each.tolist())) for each in by_response)
        made = [aggregate_log_odds(each.tolist(), self.aggregation) if len(each) else np.nan for each in by_response]
        return DecodedRewards(np.asarray(made, dtype=np.float64), np.zeros((labels.num_responses, 0)), steps)

    @property
    @override
    def step_scale(self) -> RewardScale | None:
        """Return probabilities where there are classes of steps."""
        return "probabilities" if self.classes else None

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


def step_log_odds(
    logits: Float[Tensor, "step class"], classes: Sequence[float], how: StepReward
) -> Float[Tensor, " step"]:
    r"""Return the log-odds of the reward p of each step, in float64; one column is the logit of the upper class of two.

    With weights w of the classes, 0 of the lowest to 1 of the highest, :math:`p = \sum_k w_k p_k`, and its log-odds
    :math:`\log \sum_k w_k e^{z_k} - \log \sum_k (1 - w_k) e^{z_k}` lose nothing where p itself rounds to 1.
    """
    exact = logits.double()
    if exact.shape[1] == 1:
        return exact[:, 0]
    weights = torch.tensor(class_weights(classes, how), dtype=exact.dtype, device=exact.device)
    return torch.logsumexp(exact + weights.log(), dim=1) - torch.logsumexp(exact + (1 - weights).log(), dim=1)


def class_weights(classes: Sequence[float], how: StepReward) -> list[float]:
    """Return the weight of each class, ascending, in the reward of a step."""
    match how:
        case "not_lowest":
            return [0.0] + [1.0] * (len(classes) - 1)
        case "highest":
            return [0.0] * (len(classes) - 1) + [1.0]
        case "mean":
            return [(value - classes[0]) / (classes[-1] - classes[0]) for value in classes]
        case _:
            assert_never(how)
