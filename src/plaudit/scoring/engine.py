"""Scores groups with a reward model: streaming, each prompt encoded once, batched by length, in order."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from plaudit.batching.batch import build_batch
from plaudit.batching.encode import EncodingReport, LeftOut
from plaudit.batching.planner import GroupSizes, micro_batches
from plaudit.batching.prefix_tree import build_prefix_tree
from plaudit.batching.tokens import TokenGroup
from plaudit.data.group import Group, Message, conversation
from plaudit.errors import ConfigError, DataError, InvalidGroupError
from plaudit.models.backbone import head_parameters
from plaudit.models.parity import LayoutProof
from plaudit.models.reward_model import RewardModel
from plaudit.scoring.scorer import GroupRewards

WINDOW = 256
"""Groups that are read, sorted by length and scored together; the memory of scoring does not grow beyond it."""

DEFAULT_MAX_TOKENS = 16_384


class RewardScorer:
    """A ``Scorer`` around a reward model."""

    def __init__(
        self, model: RewardModel, *, max_tokens: int = DEFAULT_MAX_TOKENS, proof: LayoutProof | None = None
    ) -> None:
        """Score with ``model``, at most ``max_tokens`` positions at a time.

        Raises:
            ConfigError: when ``max_tokens`` is below 1.
        """
        if max_tokens < 1:
            raise ConfigError(f"max_tokens is {max_tokens}; it must be at least 1")
        self.model = model.eval()
        self.max_tokens = max_tokens
        self.proof = proof
        # Counts groups, kept where any response was scored; what was cut or left out it counts in responses.
        self.report = EncodingReport()
        self._encoder = model.recipe.encoder(model.tokenizer)
        self._uncut = replace(self._encoder, truncation="drop")

    @property
    def recipe_hash(self) -> str:
        """Return the hash of the model's scoring recipe."""
        return self.model.recipe.hash

    @property
    def head_hash(self) -> str:
        """Return a short hash of the head's weights, by which models of one recipe can be told apart."""
        digest = hashlib.blake2b(digest_size=8)
        for name, weight in head_parameters(self.model.core):
            digest.update(name.encode())
            digest.update(weight.detach().double().cpu().numpy().tobytes())
        return digest.hexdigest()

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
    def score_window(self, groups: Sequence[Group]) -> list[GroupRewards]:
        """Return the rewards of ``groups``, scored together."""
        rewards: list[np.ndarray] = [np.full(len(group.responses), np.nan) for group in groups]
        reasons: list[str | None] = [None] * len(groups)
        parts: list[tuple[TokenGroup, np.ndarray]] = []
        for row, each in enumerate(self._uncut.encode(list(enumerate(groups)), EncodingReport())):
            members = np.arange(len(groups[row].responses))
            if isinstance(each, LeftOut):
                each, members, reasons[row] = self._one_by_one(row, groups[row])
            self.report.groups += 1
            if each is not None:
                self.report.kept += 1
                parts.extend((part, members[held]) for part, held in self._parts(each))
        self._fill(parts, rewards)
        return [
            _group_rewards(group, values, reason)
            for group, values, reason in zip(groups, rewards, reasons, strict=True)
        ]

    def _one_by_one(self, row: int, group: Group) -> tuple[TokenGroup | None, np.ndarray, str | None]:
        """Return what can be scored of a group that is not encoded whole, its responses, and why others are left out.

        Each response is encoded as if it stood alone, so that no reward depends on what stands beside it.
        """
        alone = [(k, Group(group.prompt, (text,), id=group.id)) for k, text in enumerate(group.responses)]
        counts = EncodingReport()
        encoded = list(self._encoder.encode(alone, counts))
        self.report.dropped += counts.dropped
        self.report.changed += counts.changed
        for reason, example in counts.examples.items():
            self.report.examples.setdefault(reason, example)
        kept = [each for each in encoded if isinstance(each, TokenGroup)]
        reasons = dict.fromkeys(each.reason for each in encoded if isinstance(each, LeftOut))
        members = np.asarray([each.index for each in kept], dtype=np.int64)
        return _together(row, kept), members, "; ".join(reasons) or None

    def _parts(self, group: TokenGroup) -> list[tuple[TokenGroup, np.ndarray]]:
        """Return the group, or parts of it that each fit into ``max_tokens``, with the responses they hold."""
        if self._cost(group) <= self.max_tokens or group.num_responses == 1:
            return [(group, np.arange(group.num_responses))]
        parts: list[tuple[TokenGroup, np.ndarray]] = []
        members: list[int] = []
        for k in range(group.num_responses):
            with_next = _with_responses(group, np.asarray([*members, k]))
            if members and self._cost(with_next) > self.max_tokens:
                parts.append((_with_responses(group, np.asarray(members)), np.asarray(members)))
                members = []
            members.append(k)
        parts.append((_with_responses(group, np.asarray(members)), np.asarray(members)))
        return parts

    def _cost(self, group: TokenGroup) -> int:
        return int(GroupSizes.of([group]).cost(self.model.layout)[0])

    def _fill(self, parts: Sequence[tuple[TokenGroup, np.ndarray]], rewards: list[np.ndarray]) -> None:
        model = self.model
        sizes = GroupSizes.of([group for group, _ in parts])
        plan = micro_batches(range(len(parts)), sizes, layout=model.layout, max_tokens=self.max_tokens)
        for micro in plan:
            chosen = [parts[row] for row in micro.rows]
            batch = build_batch([group for group, _ in chosen], layout=model.layout, pad_id=model.recipe.pad_token)
            values = model(batch.to(model.device)).double().cpu().numpy()
            first = 0
            for group, members in chosen:
                rewards[group.index][members] = values[first : first + len(members)]
                first += len(members)


def _together(row: int, singles: Sequence[TokenGroup]) -> TokenGroup | None:
    """Return groups of one response each as one group in ``row``, or None where there are none."""
    if not singles:
        return None
    return TokenGroup(
        index=row,
        tree=build_prefix_tree([each.tree.sequence(0) for each in singles]),
        response_start=np.concatenate([each.response_start for each in singles]),
    )


def _with_responses(group: TokenGroup, members: np.ndarray) -> TokenGroup:
    """Return the group with some of its responses and no labels."""
    sequences = [group.tree.sequence(int(k)) for k in members]
    return TokenGroup(
        index=group.index,
        tree=build_prefix_tree(sequences),
        response_start=group.response_start[members],
    )


def _group_rewards(group: Group, values: np.ndarray, reason: str | None) -> GroupRewards:
    found = tuple(float(value) if math.isfinite(value) else None for value in values)
    scored = GroupRewards(id=group.id, rewards=found, reason=reason)
    if reason is None and None in found:
        return replace(scored, reason="the model gave a reward that is not a finite number")
    return scored
