"""Scores groups with a reward model: streaming, each prompt encoded once, batched by length, in order."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from plaudit.batching.batch import TokenBatch, build_batch
from plaudit.batching.encode import Encoder, EncodingReport
from plaudit.batching.truncation import Truncation
from plaudit.batching.turns import TurnsEncoder
from plaudit.data.schema.group import Group, Message, Step, conversation
from plaudit.data.schema.steps import split_steps
from plaudit.errors import ConfigError, DataError, ModelError
from plaudit.models.backbone import head_hash
from plaudit.models.checkpoint.recipe import ScoringRecipe
from plaudit.models.heads.head import DecodedRewards, as_float64
from plaudit.models.heads.kinds import head_of
from plaudit.models.positions import too_long
from plaudit.models.reward_model import RewardModel
from plaudit.objectives.objective import Rewards
from plaudit.scoring.local.chunks import Part, encoded_parts, part_batches, parts_within
from plaudit.scoring.scorer import WINDOW, GroupRewards, ScorerInfo, finite_or_none, score_responses, windows
from plaudit.statistics.steps import Aggregation

DEFAULT_MAX_TOKENS = 16_384

NO_STEP = "a response has no reasoning step"


Prompt = str | Sequence[Message | Mapping[str, str]]
"""A text, which is one user turn, or a conversation."""

_SAMPLE = 256
"""Values of each weight of the backbone that go into the hash."""


@dataclasses.dataclass(frozen=True, slots=True)
class TokenValues:
    """The tokens of a response as texts, and for each the probability that the response ends right."""

    tokens: tuple[str, ...]
    values: tuple[float, ...]


class ModelScorer(ABC):
    """Base of the scorers around models on this machine, which score a window of groups together."""

    def __init__(self, max_tokens: int) -> None:
        """Score at most ``max_tokens`` positions at a time.

        Raises:
            ConfigError: when ``max_tokens`` is below 1.
        """
        if max_tokens < 1:
            raise ConfigError(f"max_tokens is {max_tokens}; it must be at least 1")
        self.max_tokens = max_tokens
        # Counts groups, kept where any response was scored; truncated and dropped ones it counts in responses.
        self.report = EncodingReport()

    @property
    @abstractmethod
    def info(self) -> ScorerInfo:
        """Identity, settings and scale."""

    @abstractmethod
    def score_window(self, groups: Sequence[Group]) -> list[GroupRewards]:
        """Return the rewards of ``groups``, scored together, with their truncation."""

    def score(self, prompt: Prompt, responses: Sequence[str]) -> tuple[float | None, ...]:
        """Return one reward per response to ``prompt``, a text (one user turn) or a conversation.

        It is None for a response that cannot be scored: it is empty or too long, the chat template refuses it, or it
        cannot be compared with the others. A warning says why.

        Raises:
            InvalidGroupError: when the prompt or a response is not valid.
        """
        return score_responses(self, prompt, responses)

    def score_groups(self, groups: Iterable[Group]) -> Iterator[GroupRewards]:
        """Yield the rewards of each group, in order, reading at most ``WINDOW`` groups ahead."""
        for window in self._windows(groups):
            yield from self.score_window(window)

    def _windows(self, groups: Iterable[Group]) -> Iterator[list[Group]]:
        return windows(groups, WINDOW)


class RewardScorer(ModelScorer):
    """A ``Scorer`` around a reward model."""

    def __init__(
        self,
        model: RewardModel,
        *,
        max_tokens: int = DEFAULT_MAX_TOKENS,
        aggregation: Aggregation | None = None,
    ) -> None:
        """Score with ``model``, at most ``max_tokens`` positions at a time.

        ``aggregation`` makes the reward of a response from those of its steps; the default is the recipe's.

        Raises:
            ConfigError: when ``max_tokens`` is below 1, or steps are to be aggregated of a model that reads none.
            ModelError: when the model compares responses, and gives none a reward by itself.
        """
        super().__init__(max_tokens)
        if model.recipe.form == "comparison":
            raise ModelError(f"a model of the form {model.recipe.form} is scored by a PairwiseScorer; use plaudit.load")
        self.model = model.eval()
        self.recipe = _with_aggregation(model.recipe, aggregation)
        self._encoder: Encoder | TurnsEncoder = model.recipe.response_encoder(model.tokenizer)

    def __repr__(self) -> str:
        """Return class, head, longest conversation and layout of the model."""
        recipe = self.recipe
        return (
            f"RewardScorer({recipe.architecture}, {recipe.head} head, {recipe.max_length} tokens, {self.model.layout})"
        )

    @property
    def info(self) -> ScorerInfo:
        """The scoring recipe with the aggregation of this scorer, a hash of the weights, and the scale."""
        head = head_of(self.recipe)
        return ScorerInfo(
            recipe_hash=self.recipe.hash,
            weights_hash=weights_hash(self.model),
            settings=self.recipe.model_dump(mode="json"),
            scale=head.scale,
            step_scale=head.step_scale,
            window=WINDOW,
            max_tokens=self.max_tokens,
        )

    def with_lengths(self, max_length: int | None, truncation: Truncation | None, *, name: str) -> RewardScorer:
        """Return the scorer with another longest conversation and truncation, see ``HasLengths``."""
        change_lengths(self.model, max_length, truncation, name=name)
        aggregation = self.recipe.aggregation if self.recipe.reads_steps else None
        return RewardScorer(self.model, max_tokens=self.max_tokens, aggregation=aggregation)

    @torch.inference_mode()
    def token_values(self, prompt: Prompt, responses: Sequence[str]) -> tuple[TokenValues, ...]:
        """Return, for each response, the probability that it ends right, as seen from each of its tokens.

        Raises:
            ModelError: when the model is no outcome model, which alone is trained to tell that at every token.
            DataError: when the responses cannot be encoded together.
        """
        if not self.recipe.reads_outcomes:
            raise ModelError(f"a model with a head of kind {self.recipe.head} gives no values of tokens")
        group = Group(prompt=conversation(prompt), responses=tuple(responses), id="0")
        (encoded,) = self._encoder.encode_responses([(0, group)], EncodingReport())
        if encoded.tokens is None or encoded.reason is not None:
            raise DataError(f"cannot score: {encoded.reason}")
        model, values = self.model, list[TokenValues]()
        for part, _ in parts_within(encoded.tokens, layout=model.layout, max_tokens=self.max_tokens):
            batch = build_batch([part], layout=model.layout, pad_id=model.recipe.pad_token, tokens=True)
            values.extend(_values_of_tokens(model(batch.to(model.device)), batch, model.tokenizer))
        return tuple(values)

    @torch.inference_mode()
    def score_window(self, groups: Sequence[Group]) -> list[GroupRewards]:
        """Return the rewards of ``groups``, scored together, with their truncation."""
        groups = [self._in_steps(group) for group in groups]
        found = [_Found.of(len(group.responses), self.recipe) for group in groups]
        encoded = encoded_parts(
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
        return dataclasses.replace(group, steps=tuple(steps_of(group, self.recipe.step_separator)))

    def _fill(self, parts: Sequence[Part], found: Sequence[_Found]) -> None:
        model, head = self.model, head_of(self.recipe)
        batches = part_batches(parts, layout=model.layout, max_tokens=self.max_tokens, pad_id=model.recipe.pad_token)
        for batch, chosen in batches:
            moved = batch.to(model.device)
            decoded = head.decode(model(moved), moved.labels)
            first = 0
            for group, members in chosen:
                found[group.index].take(members, decoded, first)
                first += len(members)


@dataclasses.dataclass(slots=True)
class _Found:
    """Rewards so far of the responses of one group: NaN where there is none yet."""

    rewards: np.ndarray
    attributes: np.ndarray
    steps: list[tuple[float, ...] | None] | None
    uncertainty: np.ndarray | None = None

    @classmethod
    def of(cls, responses: int, recipe: ScoringRecipe) -> _Found:
        """Return a group of which nothing is known yet."""
        return cls(
            rewards=np.full(responses, np.nan),
            attributes=np.full((responses, len(recipe.outputs)), np.nan),
            steps=[None] * responses if recipe.reads_steps else None,
        )

    def take(self, members: np.ndarray, decoded: DecodedRewards, first: int) -> None:
        """Copy the decoded rewards from row ``first`` on to the responses ``members``."""
        own = slice(first, first + len(members))
        self.rewards[members] = decoded.rewards[own]
        self.attributes[members] = decoded.attributes[own]
        if decoded.uncertainty is not None:
            if self.uncertainty is None:
                self.uncertainty = np.full(len(self.rewards), np.nan)
            self.uncertainty[members] = decoded.uncertainty[own]
        if self.steps is not None and decoded.steps is not None:
            for member, steps in zip(members.tolist(), decoded.steps[own], strict=True):
                self.steps[member] = steps if all(map(math.isfinite, steps)) else None

    def as_group_rewards(self, group: Group, recipe: ScoringRecipe, reason: str | None) -> GroupRewards:
        """Return the rewards of the group; one that is no finite number is None, with the reason."""
        rewards = finite_or_none(self.rewards)
        if self.steps is not None and () in self.steps:
            reason = "; ".join([*([] if reason is None else [reason]), NO_STEP])
        elif reason is None and None in rewards:
            reason = "the model gave a reward that is not a finite number"
        return GroupRewards(
            id=group.id,
            rewards=rewards,
            attributes={name: finite_or_none(self.attributes[:, k]) for k, name in enumerate(recipe.outputs)},
            steps=None if self.steps is None else tuple(self.steps),
            uncertainty=None if self.uncertainty is None else finite_or_none(self.uncertainty),
            reason=reason,
        )


def _with_aggregation(recipe: ScoringRecipe, aggregation: Aggregation | None) -> ScoringRecipe:
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


def _values_of_tokens(rewards: Rewards, batch: TokenBatch, tokenizer: PreTrainedTokenizerBase) -> list[TokenValues]:
    """Return the values of the tokens of each response of a batch that was built for tokens."""
    assert rewards.tokens is not None
    values = as_float64(torch.sigmoid(rewards.tokens.double()))
    ids = batch.input_ids.flatten()[batch.token_at].cpu().tolist()
    texts = [str(tokenizer.decode([number])) for number in ids]
    of = batch.labels.token_response.cpu().numpy()
    return [
        TokenValues(tuple(texts[place] for place in np.flatnonzero(of == k)), tuple(values[of == k].tolist()))
        for k in range(batch.num_responses)
    ]


def steps_of(group: Group, separator: str) -> list[tuple[Step, ...]]:
    """Return the steps of each response: its own, or else the pieces between separators."""
    own = group.steps or (None,) * len(group.responses)
    return [
        split_steps(response, separator) if given is None else given
        for response, given in zip(group.responses, own, strict=True)
    ]


def weights_hash(model: RewardModel) -> str:
    """Return a short hash that tells models of one scoring recipe apart, so that no run is resumed with another model.

    It is taken over every weight of the head and some values, evenly spread, of every other weight, those of adapters
    too: training changes nearly all of them, and a head alone may be the same on top of another backbone.
    """
    digest = hashlib.blake2b(head_hash(model.core).encode(), digest_size=8)
    for name, weight in model.core.named_parameters():
        values = weight.detach().flatten()
        digest.update(name.encode())
        digest.update(values[:: max(1, values.numel() // _SAMPLE)].double().cpu().numpy().tobytes())
    return digest.hexdigest()


def change_lengths(model: RewardModel, max_length: int | None, truncation: Truncation | None, *, name: str) -> None:
    """Give the recipe of ``model`` another longest conversation and another truncation; None keeps its own.

    Raises:
        ConfigError: naming the model by ``name``, when its backbone has no positions for so long a conversation, or its
            head reads rewards at tokens that the truncation would cut off.
    """
    problem = too_long(model.core, model.tokenizer, max_length, name)
    if problem:
        raise ConfigError(problem)
    if max_length is not None and max_length < 2:
        raise ConfigError(f"max_length is {max_length}; it must be at least 2")
    try:
        model.recipe = model.recipe.with_lengths(max_length, truncation)
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from None
