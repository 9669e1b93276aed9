"""The reward that a language model implies: how much likelier a response is to it than to the model it began from."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from pydantic import JsonValue

from plaudit.batching.batch import TokenBatch
from plaudit.batching.truncation import Truncation
from plaudit.data.schema.group import Group, Step
from plaudit.errors import ConfigError, ModelError, UnknownNameError, closest_or_all
from plaudit.models.backbone import tokenizer_difference
from plaudit.models.heads.language_model import log_likelihoods
from plaudit.models.reward_model import RewardModel
from plaudit.scoring.local.chunks import encoded_parts, part_batches
from plaudit.scoring.local.engine import DEFAULT_MAX_TOKENS, ModelScorer, change_lengths, steps_of, weights_hash
from plaudit.scoring.scorer import WINDOW, GroupRewards, ScorerInfo, short_hash

PerToken = Literal["sum", "mean"]
DEFAULT_BETA = 0.1

_NOT_FINITE = "a log-probability is not a finite number"


class ImplicitRewardScorer(ModelScorer):
    r"""A ``Scorer`` around a policy π and the reference π₀ that it was trained from.

    The reward of response y with tokens :math:`y_1 \dots y_T` to prompt x is

    .. math:: r(x, y) = \beta \sum_t \log \pi(y_t | x, y_{<t}) - \log \pi_0(y_t | x, y_{<t}),

    up to a number of x alone the reward that a policy trained by DPO is optimal for. The tokens are those from the
    first of the response to the end of the conversation, so the token that ends the turn counts. ``per_token="mean"``
    divides by T: long responses then weigh no more than short ones, and the sum's reading as a log-ratio of whole
    responses is lost. Without a reference the reward is :math:`\beta \log \pi` alone, which rewards brevity.

    The reward of a reasoning step is the part of the sum over its tokens, so the steps of a response add up to its
    reward. They are those of the group, else the pieces between ``step_separator``; a separator counts to the step
    behind it. The tokens that close the turn belong to the last step where it ends the response; text behind the last
    step belongs to none.

    Both models read each prompt once for all K responses. They need one tokenizer; the chat template is the policy's.

    Source: Rafailov et al. (2023), arXiv 2305.18290, equation 5; for steps Yuan et al. (2024), "Free process rewards
    without process labels", arXiv 2412.01981, proposition 3.1.
    """

    def __init__(
        self,
        policy: RewardModel,
        reference: RewardModel | None,
        *,
        beta: float = DEFAULT_BETA,
        per_token: PerToken = "sum",
        step_separator: str = "\n",
        max_tokens: int = DEFAULT_MAX_TOKENS,
    ) -> None:
        """Score with models of ``load_language_model``, at most ``max_tokens`` positions at a time.

        ``reference=None`` leaves the reference out. ``beta`` scales the rewards, and changes no order of them.

        Raises:
            ConfigError: when ``beta`` or ``max_tokens`` is out of range.
            UnknownNameError: for another ``per_token``.
            ModelError: when a model is no plain language model, or the tokenizers differ.
        """
        super().__init__(max_tokens)
        if not (math.isfinite(beta) and beta > 0):
            raise ConfigError(f"beta is {beta}; it must be a number above 0")
        if per_token not in get_args(PerToken):
            raise UnknownNameError(f"unknown per_token {per_token!r}; {closest_or_all(per_token, get_args(PerToken))}")
        self.policy = policy.eval()
        self.reference = None if reference is None else reference.eval()
        self.beta = beta
        self.per_token: PerToken = per_token
        self.step_separator = step_separator
        for model in self._models:
            if model.recipe.head != "language_model":
                raise ModelError(f"an implicit reward needs language models, not a head of kind {model.recipe.head}")
        if reference is not None:
            difference = tokenizer_difference(policy.tokenizer, reference.tokenizer)
            if difference:
                raise ModelError(f"the policy and its reference have different tokenizers: {difference}")
            if policy.layout != reference.layout:
                policy.use_layout("padded")
                reference.use_layout("padded")
        encoder = policy.recipe.conversation_encoder(policy.tokenizer)
        limit = min(model.recipe.max_length for model in self._models)
        self._encoder = dataclasses.replace(encoder, max_length=limit)

    @property
    def _models(self) -> tuple[RewardModel, ...]:
        return (self.policy,) if self.reference is None else (self.policy, self.reference)

    @property
    def info(self) -> ScorerInfo:
        """Hashes of both recipes and of the weights of both models, and every setting that changes a reward.

        A sum against a reference is assumed to be in log-odds: it is for the β that the policy was trained with.
        """
        settings: dict[str, JsonValue] = {
            "policy": self.policy.recipe.model_dump(mode="json"),
            "reference": None if self.reference is None else self.reference.recipe.model_dump(mode="json"),
            "beta": self.beta,
            "per_token": self.per_token,
            "step_separator": self.step_separator,
        }
        recipes = [model.recipe.hash for model in self._models]
        is_log_ratio = self.reference is not None and self.per_token == "sum"
        return ScorerInfo(
            recipe_hash=short_hash([*recipes, self.beta, self.per_token, self.step_separator]),
            weights_hash=short_hash([weights_hash(model) for model in self._models]),
            settings=settings,
            scale="assumed_log_odds_differences" if is_log_ratio else "order",
            step_scale="order",
            window=WINDOW,
            max_tokens=self.max_tokens,
        )

    def with_lengths(self, max_length: int | None, truncation: Truncation | None, *, name: str) -> ImplicitRewardScorer:
        """Return the scorer with another longest conversation and truncation, see ``HasLengths``."""
        if truncation == "truncate_response":
            raise ConfigError(
                f"truncation is truncate_response, but {name} reads every token of a response; it must be "
                "truncate_prompt or drop"
            )
        for model in self._models:
            change_lengths(model, max_length, truncation, name=name)
        return ImplicitRewardScorer(
            self.policy,
            self.reference,
            beta=self.beta,
            per_token=self.per_token,
            step_separator=self.step_separator,
            max_tokens=self.max_tokens,
        )

    @torch.inference_mode()
    def score_window(self, groups: Sequence[Group]) -> list[GroupRewards]:
        """Return the rewards of ``groups``, scored together."""
        steps = [steps_of(group, self.step_separator) for group in groups]
        wholes = [_reaching_the_end(group, each) for group, each in zip(groups, steps, strict=True)]
        layout, pad = self.policy.layout, self.policy.recipe.pad_token
        encoded = encoded_parts(wholes, self._encoder, layout=layout, max_tokens=self.max_tokens, report=self.report)
        found: list[list[npt.NDArray[np.float64] | None]] = [[None] * len(group.responses) for group in groups]
        for batch, chosen in part_batches(
            encoded.parts, layout=layout, max_tokens=self.max_tokens, pad_id=pad, tokens=True
        ):
            sums = iter(self._step_sums(batch))
            for part, members in chosen:
                for member in members.tolist():
                    found[part.index][member] = next(sums)
        return [
            dataclasses.replace(_rewards(group, [len(each) for each in own], sums, reason), truncation=truncation)
            for group, own, sums, reason, truncation in zip(
                groups, steps, found, encoded.reasons, encoded.cuts, strict=True
            )
        ]

    def _step_sums(self, batch: TokenBatch) -> Iterator[npt.NDArray[np.float64]]:
        """Yield, for each response of the batch, the reward of each of its steps; together they are all its tokens."""
        values = self._log_likelihoods(self.policy, batch)
        if self.reference is not None:
            values = values - self._log_likelihoods(self.reference, batch)
        response, at = batch.labels.token_response.numpy(), batch.token_at.numpy()
        step_response, step_end = batch.labels.step_response.numpy(), batch.step_end.numpy()
        for k in range(batch.num_responses):
            own = response == k
            # Positions rise along a response in every layout; a step ends just past its last token.
            stops = np.searchsorted(at[own], step_end[step_response == k], side="right")
            stops = np.append(stops[:-1], own.sum())
            totals = np.concatenate([[0.0], np.cumsum(values[own])])
            sums = self.beta * np.diff(totals[np.concatenate([[0], stops])])
            yield sums if self.per_token == "sum" else sums / own.sum()

    def _log_likelihoods(self, model: RewardModel, batch: TokenBatch) -> npt.NDArray[np.float64]:
        return log_likelihoods(model, batch.to(model.device)).double().cpu().numpy()


def _reaching_the_end(group: Group, steps: Sequence[tuple[Step, ...]]) -> Group:
    """Return the group with these steps, and one more for text behind the last, so that every token is of a step."""
    ends = [len(response.rstrip()) for response in group.responses]
    whole = [
        own if end == 0 or (own and own[-1].end >= end) else (*own, Step(end, None))
        for own, end in zip(steps, ends, strict=True)
    ]
    return dataclasses.replace(group, steps=tuple(whole))


def _rewards(
    group: Group, counts: Sequence[int], found: Sequence[npt.NDArray[np.float64] | None], reason: str | None
) -> GroupRewards:
    """Return the rewards of a group from those of its steps, of which the first ``counts`` are steps of the data.

    A response that the chat template rewrites has one sum alone, since its steps have no place.
    """
    finite = [None if sums is None or not np.isfinite(sums).all() else sums for sums in found]
    if reason is None and any(sums is None for sums in finite):
        reason = _NOT_FINITE
    return GroupRewards(
        id=group.id,
        rewards=tuple(None if sums is None else float(sums.sum()) for sums in finite),
        steps=tuple(
            None if s is None or len(s) < k else tuple(s[:k].tolist()) for s, k in zip(finite, counts, strict=True)
        ),
        reason=reason,
    )
