"""Splits, subsets and mixes by hash: the same groups whatever their order, and one prompt on one side only.

The split of the teacher study gives prompts to the reward model, others to the policy, and keeps the test as given; its
mix takes prompts from on- or off-policy responses. Source: Razin et al. (2025), What Makes a Reward Model a Good
Teacher?, arXiv 2503.15477: 80 % of the training set for the reward model, 20 % for policy gradient; reward models are
trained on responses of the initial policy for 0, 25, 50, 75 or 100 % of the prompts, and on those of the data for the
rest (section 4.1).
"""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np
from pydantic import model_validator

from plaudit.data.schema.group_set import GroupSet, concatenate
from plaudit.data.schema.hash_rng import seed_of, uniform
from plaudit.errors import DataError
from plaudit.records import Record

FEW = 200
"""Prompts or clusters below which a share is the nearest whole number of them."""


def split_by_prompt(groups: GroupSet, *, held_out: float, seed: int) -> tuple[GroupSet, GroupSet]:
    """Return (kept, held out): each prompt goes to the held-out side with probability ``held_out``.

    The side is a hash of (seed, prompt), so equal prompts stay together, the order of the rows does not
    matter, and a prompt keeps its side when the data grows. Of fewer than ``FEW`` prompts the nearest whole number is
    held out.

    Raises:
        DataError: for a ``held_out`` outside (0, 1), or fewer than two prompts.
    """
    return _sides(groups, held_out_prompts(groups, held_out=held_out, seed=seed))


def held_out_prompts(groups: GroupSet, *, held_out: float, seed: int) -> np.ndarray:
    """Return for each group whether ``split_by_prompt`` puts it on the held-out side; bool [group]."""
    _check_share(held_out)
    return _held_out(groups.prompt_hashes(), "prompts", held_out=held_out, seed=seed)


def split_by_cluster(
    groups: GroupSet, clusters: np.ndarray, *, held_out: float, seed: int
) -> tuple[GroupSet, GroupSet]:
    """Return (kept, held out): each cluster of groups goes to the held-out side with probability ``held_out``.

    ``clusters[group]`` are numbers as ``similar_prompts`` gives them, so that near duplicates stay together. The side
    is a hash of (seed, the smallest prompt hash of the cluster): the order of the rows does not matter.

    Raises:
        DataError: for a ``held_out`` outside (0, 1), a number of clusters other than that of groups, clusters that
            tear a prompt apart, or fewer than two clusters.
    """
    return _sides(groups, held_out_clusters(groups, clusters, held_out=held_out, seed=seed))


def held_out_clusters(groups: GroupSet, clusters: np.ndarray, *, held_out: float, seed: int) -> np.ndarray:
    """Return for each group whether ``split_by_cluster`` puts it on the held-out side; bool [group]."""
    _check_share(held_out)
    numbers = np.asarray(clusters, dtype=np.int64)
    if numbers.shape != (len(groups),):
        raise DataError(f"clusters has {numbers.size} entries for {len(groups)} groups")
    _, numbers = np.unique(numbers, return_inverse=True)
    prompts = groups.prompt_hashes()
    order = np.lexsort((numbers, prompts))
    is_torn = (np.diff(prompts[order]) == 0) & (np.diff(numbers[order]) != 0)
    if is_torn.any():
        torn = len(np.unique(prompts[order][1:][is_torn]))
        raise DataError(f"{torn} prompts are in more than one cluster; groups of one prompt must share theirs")
    smallest = np.full(int(numbers.max(initial=-1)) + 1, np.iinfo(np.uint64).max, dtype=np.uint64)
    np.minimum.at(smallest, numbers, prompts)
    return _held_out(smallest[numbers], "clusters", held_out=held_out, seed=seed)


def drawn_positions(groups: GroupSet, limit: int, seed: int) -> np.ndarray:
    """Return the positions of ``limit`` groups drawn by a hash of (seed, group), in increasing order; int64."""
    drawn = np.argsort(uniform(groups.row_hashes(), seed), kind="stable")[:limit]
    return np.sort(drawn)


def _check_share(held_out: float) -> None:
    if not 0.0 < held_out < 1.0:
        raise DataError(f"held_out is {held_out}; it must lie between 0 and 1")


def _sides(groups: GroupSet, is_held_out: np.ndarray) -> tuple[GroupSet, GroupSet]:
    return groups.select(np.flatnonzero(~is_held_out)), groups.select(np.flatnonzero(is_held_out))


def _held_out(keys: np.ndarray, what: str, *, held_out: float, seed: int) -> np.ndarray:
    """Return for each group whether its key (equal for those that stay together) is held out; bool [group].

    A key is held out where its draw lies below ``held_out``. Of few keys those draws may be far from the share, so of
    fewer than ``FEW`` the nearest whole number is held out, at least one and not all: those of the smallest draws.
    """
    distinct, inverse = np.unique(keys, return_inverse=True)
    draws = uniform(distinct, seed)
    is_held_out = draws < held_out
    if len(distinct) < FEW:
        count = min(max(round(held_out * len(distinct)), 1), len(distinct) - 1)
        is_held_out = np.argsort(np.argsort(draws, kind="stable"), kind="stable") < count
    if is_held_out.all() or not is_held_out.any():
        raise DataError(f"{len(distinct)} {what} cannot be split into two sides; use more data, or another share")
    return is_held_out[inverse]


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
    see ``split_by_prompt``; so the shares are approximate. Training groups whose prompt is in
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


class PolicyMixReport(Record):
    """Counts of a mix: prompts_shared = prompts_on_policy + prompts_off_policy."""

    fraction_on_policy: float
    """The share of prompts that was asked for."""
    seed: int
    """The seed the prompts were drawn from."""
    prompts_shared: int
    """Prompts that both sides have: those that are drawn from."""
    prompts_on_policy: int
    """Prompts whose on-policy groups were taken."""
    prompts_off_policy: int
    """Prompts whose off-policy groups were taken."""
    groups_on_policy: int
    """On-policy groups taken."""
    groups_off_policy: int
    """Off-policy groups taken."""
    only_on_policy: int
    """Prompts left out because they have no off-policy group."""
    only_off_policy: int
    """Prompts left out because they have no on-policy group."""
    groups_left_out: int
    """Groups of both sides that were not taken."""

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if self.prompts_on_policy + self.prompts_off_policy != self.prompts_shared:
            raise ValueError("the prompts of the two sides do not add up to the shared ones")
        return self


def mix_policies(
    on_policy: GroupSet, off_policy: GroupSet, *, fraction_on_policy: float, seed: int
) -> tuple[GroupSet, PolicyMixReport]:
    """Return the groups of ``fraction_on_policy`` of the shared prompts from one side, of the others from the other.

    Of the N prompts that both sides have, ``round(fraction_on_policy × N)`` are on-policy: those of the smallest hash
    of (seed, prompt). So the number is exact, the order of the rows does not matter, and the on-policy prompts of a
    smaller fraction are among those of a larger one. Prompts that only one side has are left out and counted: they
    would change the meaning of the fraction. On-policy groups come first; within a side the order stays.

    Raises:
        DataError: for a fraction outside 0 to 1, or sides without a common prompt.
    """
    on, off = on_policy.prompt_hashes(), off_policy.prompt_hashes()
    from_on, from_off, shared, count = mixed_positions(on, off, fraction_on_policy=fraction_on_policy, seed=seed)
    report = PolicyMixReport(
        fraction_on_policy=fraction_on_policy,
        seed=seed,
        prompts_shared=len(shared),
        prompts_on_policy=count,
        prompts_off_policy=len(shared) - count,
        groups_on_policy=len(from_on),
        groups_off_policy=len(from_off),
        only_on_policy=len(np.setdiff1d(on, shared)),
        only_off_policy=len(np.setdiff1d(off, shared)),
        groups_left_out=len(on) + len(off) - len(from_on) - len(from_off),
    )
    sides = [side for side in (on_policy.select(from_on), off_policy.select(from_off)) if len(side)]
    return concatenate(sides), report


def mixed_positions(
    on: np.ndarray, off: np.ndarray, *, fraction_on_policy: float, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Return (positions on-policy, positions off-policy, the shared prompts, how many of them are on-policy).

    ``on`` and ``off`` are the prompt hashes of the groups of both sides; for the selection see ``mix_policies``.

    Raises:
        DataError: for a fraction outside 0 to 1, or sides without a common prompt.
    """
    if not 0.0 <= fraction_on_policy <= 1.0:
        raise DataError(f"fraction_on_policy is {fraction_on_policy}; it must lie between 0 and 1")
    shared = np.intersect1d(on, off)
    if not len(shared):
        raise DataError("the on-policy and the off-policy groups have no prompt in common; nothing can be mixed")
    ordered = shared[np.argsort(uniform(shared, seed_of(seed, "policy")), kind="stable")]
    count = round(fraction_on_policy * len(shared))
    from_on = np.flatnonzero(np.isin(on, ordered[:count]))
    from_off = np.flatnonzero(np.isin(off, ordered[count:]))
    return from_on, from_off, shared, count
