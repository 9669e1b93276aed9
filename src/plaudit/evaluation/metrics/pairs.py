"""The preferences of scored items, as pairs that can be judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from plaudit.evaluation.metrics.first_error import in_first_half
from plaudit.records import ItemScore


@dataclass(frozen=True, slots=True)
class LabelledPair:
    """One scored preference, turned so that ``chosen`` is the response that the label holds to be better."""

    chosen: int
    """Index of the preferred response."""
    rejected: int
    """Index of the other response."""
    margin: float
    """Reward of chosen − reward of rejected."""
    probability: float
    """The label's probability that chosen is better: above ½, and 1 for a hard label."""
    length_difference: int
    """Characters of chosen − characters of rejected."""


def labelled_pairs(item: ItemScore) -> list[LabelledPair]:
    """Return the preferences of ``item`` that can be judged: none when a reward is missing.

    A label probability below ½ turns the preference round; one of exactly ½ says nothing: it is left out.
    """
    rewards = [reward for reward in item.rewards if reward is not None]
    if len(rewards) < len(item.rewards):
        return []
    pairs = []
    for (first, second), label in _labels(item):
        if label == 0.5:
            continue
        chosen, rejected = (first, second) if label > 0.5 else (second, first)
        pairs.append(
            LabelledPair(
                chosen=chosen,
                rejected=rejected,
                margin=rewards[chosen] - rewards[rejected],
                probability=max(label, 1 - label),
                length_difference=item.lengths[chosen] - item.lengths[rejected],
            )
        )
    return pairs


def has_label(item: ItemScore) -> bool:
    """Return whether ``item`` has a preference that says which response is better."""
    return any(label != 0.5 for _, label in _labels(item))


def _labels(item: ItemScore) -> list[tuple[tuple[int, int], float]]:
    probabilities = item.probabilities or (None,) * len(item.preferences)
    return [
        (indices, 1.0 if probability is None else probability)
        for indices, probability in zip(item.preferences, probabilities, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class PairTable:
    """Every judged pair of a data set, one array entry per pair; ``prompts`` and ``groups`` are numbered from 0."""

    margins: np.ndarray
    chosen_rewards: np.ndarray
    rejected_rewards: np.ndarray
    probabilities: np.ndarray
    chosen_lengths: np.ndarray
    rejected_lengths: np.ndarray
    chosen_first: np.ndarray
    prompts: np.ndarray
    groups: np.ndarray
    first_half: np.ndarray
    """Whether the prompt belongs to the half of prompts on which what is tuned for the other half is fitted."""
    sources: np.ndarray

    def __len__(self) -> int:
        return len(self.margins)

    @property
    def length_differences(self) -> np.ndarray:
        """Return [pair] characters of chosen − characters of rejected."""
        return self.chosen_lengths - self.rejected_lengths

    def where(self, mask: np.ndarray) -> PairTable:
        """Return the pairs at which ``mask`` is true."""
        return PairTable(
            margins=self.margins[mask],
            chosen_rewards=self.chosen_rewards[mask],
            rejected_rewards=self.rejected_rewards[mask],
            probabilities=self.probabilities[mask],
            chosen_lengths=self.chosen_lengths[mask],
            rejected_lengths=self.rejected_lengths[mask],
            chosen_first=self.chosen_first[mask],
            prompts=self.prompts[mask],
            groups=self.groups[mask],
            first_half=self.first_half[mask],
            sources=self.sources[mask],
        )


def pair_table(items: Sequence[ItemScore]) -> PairTable:
    """Return the judged pairs of ``items``, in order."""
    numbers: dict[str, int] = {}
    rows = []
    for group, item in enumerate(items):
        prompt = numbers.setdefault(item.prompt_key, len(numbers))
        half = in_first_half(item.prompt_key)
        for pair in labelled_pairs(item):
            chosen, rejected = item.rewards[pair.chosen], item.rewards[pair.rejected]
            lengths = item.lengths[pair.chosen], item.lengths[pair.rejected]
            rows.append((pair, chosen, rejected, prompt, item.source, *lengths, group, half))
    return PairTable(
        margins=np.array([pair.margin for pair, *_ in rows], dtype=float),
        chosen_rewards=np.array([row[1] for row in rows], dtype=float),
        rejected_rewards=np.array([row[2] for row in rows], dtype=float),
        probabilities=np.array([pair.probability for pair, *_ in rows], dtype=float),
        chosen_lengths=np.array([row[5] for row in rows], dtype=float),
        rejected_lengths=np.array([row[6] for row in rows], dtype=float),
        chosen_first=np.array([pair.chosen < pair.rejected for pair, *_ in rows], dtype=bool),
        prompts=np.array([row[3] for row in rows], dtype=int),
        groups=np.array([row[7] for row in rows], dtype=int),
        first_half=np.array([row[8] for row in rows], dtype=bool),
        sources=np.array([row[4] for row in rows], dtype=object),
    )
