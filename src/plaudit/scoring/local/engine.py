"""Scores groups with a reward model: streaming, each prompt encoded once, batched by length, in order."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch

from plaudit.batching.batch import build_batch
from plaudit.batching.encode import Encoder, EncodingReport, LeftOut
from plaudit.batching.turns import TurnsEncoder
from plaudit.data.schema.group import Group, Message, conversation
from plaudit.data.schema.steps import split_steps
from plaudit.errors import ConfigError, DataError, InvalidGroupError, ModelError
from plaudit.models.checkpoint.recipe import ScoringRecipe
from plaudit.models.parity import LayoutProof
from plaudit.models.reward_model import RewardModel
from plaudit.scoring.local.chunks import Part, encoded_with_cuts, part_batches, parts_within
from plaudit.scoring.local.decode import Readings, TokenValues, read, values_of_tokens, with_aggregation
from plaudit.scoring.local.weights import weights_hash
from plaudit.scoring.scorer import GroupRewards
from plaudit.statistics.aggregation import Aggregation

WINDOW = 256
"""Groups that are read, sorted by length and scored together; the memory of scoring does not grow beyond it."""

DEFAULT_MAX_TOKENS = 16_384

NO_STEP = "a response has no reasoning step"


class RewardScorer:
    """A ``Scorer`` around a reward model."""

    def __init__(
        self,
        model: RewardModel,
        *,
        max_tokens: int = DEFAULT_MAX_TOKENS,
        proof: LayoutProof | None = None,
        aggregation: Aggregation | None = None,
    ) -> None:
        """Score with ``model``, at most ``max_tokens`` positions at a time.

        ``aggregation`` makes the reward of a response from those of its steps; absent means what the recipe says.

        Raises:
            ConfigError: when ``max_tokens`` is below 1, or steps are to be aggregated of a model that reads none.
            ModelError: when the model compares responses, and gives none a reward by itself.
        """
        if max_tokens < 1:
            raise ConfigError(f"max_tokens is {max_tokens}; it must be at least 1")
        if model.recipe.form == "comparison":
            raise ModelError(f"a model of the form {model.recipe.form} is scored by a PairwiseScorer; use plaudit.load")
        self.model = model.eval()
        self.recipe = with_aggregation(model.recipe, aggregation)
        self.max_tokens = max_tokens
        self.proof = proof
        # Counts groups, kept where any response was scored; what was cut or left out it counts in responses.
        self.report = EncodingReport()
        self._encoder: Encoder | TurnsEncoder = model.recipe.response_encoder(model.tokenizer)

    @property
    def recipe_hash(self) -> str:
        """Return the hash of the scoring recipe, with the aggregation of this scorer."""
        return self.recipe.hash

    @property
    def head_hash(self) -> str:
        """Return a short hash of weights, by which models of one recipe can be told apart."""
        return weights_hash(self.model)

    def score(self, prompt: str | Sequence[Message | Mapping[str, str]], responses: Sequence[str]) -> tuple[float, ...]:
        """Return one reward per response to ``prompt``, a text (one user turn) or a conversation.

        Raises:
            InvalidGroupError: when the prompt or a response is not valid.
            DataError: when the conversation is too long, or the chat template refuses it.
        """
        if isinstance(responses, str):
            raise InvalidGroupError("responses is one string; it must be a list of strings")
        group = Group(prompt=conversation(prompt), responses=tuple(responses), id="0")
        (scored,) = self.score_groups([group])
        rewards = [reward for reward in scored.rewards if reward is not None]
        if len(rewards) < len(group.responses):
            raise DataError(f"cannot score: {scored.reason}")
        return tuple(rewards)

    def score_groups(self, groups: Iterable[Group]) -> Iterator[GroupRewards]:
        """Yield the rewards of each group, in order, reading at most ``WINDOW`` groups ahead."""
        iterator = iter(groups)
        while window := list(itertools.islice(iterator, WINDOW)):
            yield from self.score_window(window)

    @torch.inference_mode()
    def token_values(
        self, prompt: str | Sequence[Message | Mapping[str, str]], responses: Sequence[str]
    ) -> tuple[TokenValues, ...]:
        """Return, for each response, the probability that it ends right, as seen from each of its tokens.

        Raises:
            ModelError: when the model is no outcome model, which alone is trained to tell that at every token.
            DataError: when the responses cannot be encoded together.
        """
        if not self.recipe.reads_outcomes:
            raise ModelError(f"a model with a head of kind {self.recipe.head} gives no values of tokens")
        group = Group(prompt=conversation(prompt), responses=tuple(responses), id="0")
        (encoded,) = self._encoder.encode([(0, group)], EncodingReport())
        if isinstance(encoded, LeftOut):
            raise DataError(f"cannot score: {encoded.reason}")
        model, values = self.model, list[TokenValues]()
        for part, _ in parts_within(encoded, layout=model.layout, max_tokens=self.max_tokens):
            batch = build_batch([part], layout=model.layout, pad_id=model.recipe.pad_token, tokens=True)
            values.extend(values_of_tokens(model(batch.to(model.device)), batch, model.tokenizer))
        return tuple(values)

    @torch.inference_mode()
    def score_window(self, groups: Sequence[Group]) -> list[GroupRewards]:
        """Return the rewards of ``groups``, scored together; with what was truncated."""
        groups = [self._in_steps(group) for group in groups]
        found = [_Found.of(len(group.responses), self.recipe) for group in groups]
        encoded = encoded_with_cuts(
            groups, self._encoder, layout=self.model.layout, max_tokens=self.max_tokens, report=self.report
        )
        self._fill(encoded.parts, found)
        return [
            dataclasses.replace(each.as_group_rewards(group, self.recipe, reason), truncation=cut)
            for group, each, reason, cut in zip(groups, found, encoded.reasons, encoded.cuts, strict=True)
        ]

    def _in_steps(self, group: Group) -> Group:
        """Return the group with each response in steps, where the model reads steps: its own, or else split ones."""
        if not self.recipe.reads_steps or self.recipe.form == "one_turn":
            return group
        own = group.steps or (None,) * len(group.responses)
        steps = (
            split_steps(response, self.recipe.step_separator) if given is None else given
            for response, given in zip(group.responses, own, strict=True)
        )
        return dataclasses.replace(group, steps=tuple(steps))

    def _fill(self, parts: Sequence[Part], found: Sequence[_Found]) -> None:
        model = self.model
        batches = part_batches(parts, layout=model.layout, max_tokens=self.max_tokens, pad_id=model.recipe.pad_token)
        for batch, chosen in batches:
            moved = batch.to(model.device)
            readings = read(model(moved), moved.labels, self.recipe)
            first = 0
            for group, members in chosen:
                found[group.index].take(members, readings, first)
                first += len(members)


@dataclasses.dataclass(slots=True)
class _Found:
    """What has been found out about the responses of one group: NaN where nothing has."""

    rewards: np.ndarray
    attributes: np.ndarray
    steps: list[tuple[float, ...] | None] | None

    @classmethod
    def of(cls, responses: int, recipe: ScoringRecipe) -> _Found:
        """Return a group of which nothing is known yet."""
        return cls(
            rewards=np.full(responses, np.nan),
            attributes=np.full((responses, len(recipe.outputs)), np.nan),
            steps=[None] * responses if recipe.reads_steps else None,
        )

    def take(self, members: np.ndarray, readings: Readings, first: int) -> None:
        """Take over the readings from ``first`` on, for the responses ``members``."""
        own = slice(first, first + len(members))
        self.rewards[members] = readings.rewards[own]
        self.attributes[members] = readings.attributes[own]
        if self.steps is not None and readings.steps is not None:
            for member, steps in zip(members.tolist(), readings.steps[own], strict=True):
                self.steps[member] = steps if all(map(math.isfinite, steps)) else None

    def as_group_rewards(self, group: Group, recipe: ScoringRecipe, reason: str | None) -> GroupRewards:
        """Return the rewards of the group; one that is no finite number is None, with the reason."""
        rewards = _finite(self.rewards)
        if self.steps is not None and () in self.steps:
            reason = "; ".join([*([] if reason is None else [reason]), NO_STEP])
        elif reason is None and None in rewards:
            reason = "the model gave a reward that is not a finite number"
        return GroupRewards(
            id=group.id,
            rewards=rewards,
            attributes={name: _finite(self.attributes[:, k]) for k, name in enumerate(recipe.outputs)},
            steps=None if self.steps is None else tuple(self.steps),
            reason=reason,
        )


def _finite(values: np.ndarray) -> tuple[float | None, ...]:
    return tuple(float(value) if math.isfinite(value) else None for value in values)
