"""From what a head says of a batch to the rewards of its responses, with attributes and steps where there are any."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

import numpy as np
import numpy.typing as npt
import torch
from transformers import PreTrainedTokenizerBase

from plaudit.batching.batch import TokenBatch
from plaudit.errors import ConfigError
from plaudit.models.checkpoint.recipe import ScoringRecipe
from plaudit.objectives.labels import BatchLabels
from plaudit.objectives.rewards import Rewards
from plaudit.statistics.aggregation import Aggregation, aggregate_steps

Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Readings:
    """Per response of a batch: its reward, one number per name of ``recipe.outputs``, and the reward of each step.

    Step rewards are probabilities that a step belongs to the best class: is right, or, of the classes −1, 0, +1, that
    it is +1; neutral steps do not count as right. The reward of a process model is made from them by the recipe's
    aggregation, that of an outcome model is the logit of "right" at the last token of the response.
    """

    rewards: Float64Array
    attributes: Float64Array
    steps: tuple[tuple[float, ...], ...] | None


@dataclass(frozen=True, slots=True)
class TokenValues:
    """The tokens of a response as texts, and for each the probability that the response ends right."""

    tokens: tuple[str, ...]
    values: tuple[float, ...]


def with_aggregation(recipe: ScoringRecipe, aggregation: Aggregation | None) -> ScoringRecipe:
    """Return the recipe with another aggregation of step rewards; None keeps its own.

    Raises:
        ConfigError: when the model reads no steps.
    """
    if aggregation is None:
        return recipe
    if not recipe.reads_steps:
        raise ConfigError(
            f"aggregation is {aggregation}, but this model (head {recipe.head}) gives no rewards to steps; leave it out"
        )
    return recipe.model_copy(update={"aggregation": aggregation})


def values_of_tokens(rewards: Rewards, batch: TokenBatch, tokenizer: PreTrainedTokenizerBase) -> list[TokenValues]:
    """Return the values of the tokens of each response of a batch that was built for tokens."""
    assert rewards.tokens is not None
    values = _numbers(torch.sigmoid(rewards.tokens.double()))
    ids = batch.input_ids.flatten()[batch.token_at].cpu().tolist()
    texts = [str(tokenizer.decode([number])) for number in ids]
    of = batch.labels.token_response.cpu().numpy()
    return [
        TokenValues(tuple(texts[place] for place in np.flatnonzero(of == k)), tuple(values[of == k].tolist()))
        for k in range(batch.num_responses)
    ]


def read(rewards: Rewards, labels: BatchLabels, recipe: ScoringRecipe) -> Readings:
    """Return what the rewards of a batch mean under ``recipe``."""
    nothing = np.zeros((labels.num_responses, 0))
    match recipe.head:
        case "scalar":
            assert rewards.response is not None
            return Readings(_numbers(rewards.response), nothing, None)
        case "attributes":
            assert rewards.attributes is not None
            table = _numbers(rewards.attributes)
            weights = recipe.attribute_weights or (1.0 / len(recipe.attributes),) * len(recipe.attributes)
            return Readings(table @ np.asarray(weights), table, None)
        case "gated":
            assert rewards.response is not None
            assert rewards.attributes is not None
            assert rewards.gate is not None
            outputs = torch.cat([rewards.attributes, rewards.gate], dim=1)
            return Readings(_numbers(rewards.response), _numbers(outputs), None)
        case "odin":
            assert rewards.attributes is not None
            return Readings(_numbers(rewards.attributes[:, 0]), nothing, None)
        case "token" | "language_model" if recipe.reads_outcomes:
            assert rewards.response is not None
            return Readings(_numbers(rewards.response), nothing, None)
        case "token" | "language_model":
            assert rewards.steps is not None
            right = _numbers(probability_of_right(rewards.steps))
            of = labels.step_response.cpu().numpy()
            steps = tuple(tuple(right[of == k].tolist()) for k in range(labels.num_responses))
            made = [aggregate_steps(each, recipe.aggregation) if each else np.nan for each in steps]
            return Readings(np.asarray(made, dtype=np.float64), nothing, steps)
        case _:
            assert_never(recipe.head)


def probability_of_right(logits: torch.Tensor) -> torch.Tensor:
    """Return the probability of the best class ``[step]`` from the logits ``[step, class]`` of the steps."""
    exact = logits.double()
    return torch.sigmoid(exact[:, 0]) if exact.shape[1] == 1 else torch.softmax(exact, dim=-1)[:, -1]


def _numbers(values: torch.Tensor) -> Float64Array:
    return values.double().cpu().numpy()
