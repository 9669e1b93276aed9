"""The split of the teacher study: prompts for the reward model, prompts for the policy, the test as given.

Source: Razin et al. (2025), What Makes a Reward Model a Good Teacher?, arXiv 2503.15477: 80 % of the training set for
the reward model, 20 % for policy gradient.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from plaudit.data.mixing.splits import split_by_prompt
from plaudit.data.schema.group_set import GroupSet
from plaudit.data.schema.hash_rng import seed_of
from plaudit.errors import DataError
from plaudit.records import Record

REWARD_SHARE = 0.8


class TeacherSplitReport(Record):
    """Counts of a split: the groups of the training set = reward_model + policy_gradient + left_out."""

    reward_share: float
    """The share of prompts that was asked for, for the reward model."""
    seed: int
    """The seed the sides were drawn from."""
    train_fingerprint: str
    """Hash of the training set."""
    test_fingerprint: str
    """Hash of the test set."""
    reward_model: int
    """Groups for the reward model."""
    reward_model_prompts: int
    """Distinct prompts of them."""
    policy_gradient: int
    """Groups for policy gradient."""
    policy_gradient_prompts: int
    """Distinct prompts of them."""
    test: int
    """Groups of the test set; all of them are kept."""
    test_prompts: int
    """Distinct prompts of them."""
    left_out: int
    """Training groups left out because the test set has their prompt."""
    left_out_prompts: int
    """Distinct prompts of them."""


class TeacherSplit(NamedTuple):
    """Three sets of groups of which no two share a prompt, and their counts."""

    reward_model: GroupSet
    policy_gradient: GroupSet
    test: GroupSet
    report: TeacherSplitReport


def teacher_split(train: GroupSet, test: GroupSet, *, reward_share: float = REWARD_SHARE, seed: int) -> TeacherSplit:
    """Return the groups of ``train`` for the reward model and for policy gradient, and ``test`` as it is.

    Every prompt of ``train`` goes to the reward model with probability ``reward_share``, by a hash of (seed, prompt),
    see ``split_by_prompt``; so the shares are near what was asked for, not exact. Training groups whose prompt is in
    ``test`` are left out and counted: a test on prompts that were trained on measures something else.

    Raises:
        DataError: for a ``reward_share`` outside (0, 1), so few prompts that a side stays empty, or a training set all
            of whose prompts are in the test set.
    """
    if not 0.0 < reward_share < 1.0:
        raise DataError(f"reward_share is {reward_share}; it must lie between 0 and 1")
    is_tested = np.isin(train.prompt_hashes(), test.prompt_hashes())
    if len(train) and is_tested.all():
        raise DataError("every prompt of the training set is in the test set; nothing is left to train on")
    usable = train.select(np.flatnonzero(~is_tested)) if is_tested.any() else train
    drawn_from = seed_of(seed, "teacher")
    reward_model, policy_gradient = split_by_prompt(usable, held_out=round(1.0 - reward_share, 12), seed=drawn_from)
    return TeacherSplit(
        reward_model,
        policy_gradient,
        test,
        TeacherSplitReport(
            reward_share=reward_share,
            seed=seed,
            train_fingerprint=train.fingerprint,
            test_fingerprint=test.fingerprint,
            reward_model=len(reward_model),
            reward_model_prompts=_prompts(reward_model),
            policy_gradient=len(policy_gradient),
            policy_gradient_prompts=_prompts(policy_gradient),
            test=len(test),
            test_prompts=_prompts(test),
            left_out=int(is_tested.sum()),
            left_out_prompts=len(np.unique(train.prompt_hashes()[is_tested])),
        ),
    )


def _prompts(groups: GroupSet) -> int:
    return len(np.unique(groups.prompt_hashes()))
