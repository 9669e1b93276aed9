"""On- and off-policy responses in one training set: no prompt comes from both.

Source: Razin et al. (2025), What Makes a Reward Model a Good Teacher?, arXiv 2503.15477, section 4.1: reward models are
trained on responses of the initial policy for 0, 25, 50, 75 or 100 % of the prompts, and on those of the data for the
rest.
"""

from __future__ import annotations

from typing import Self

import numpy as np
from pydantic import model_validator

from plaudit.data.schema.group_set import GroupSet, concatenate
from plaudit.data.schema.hash_rng import seed_of, uniform
from plaudit.errors import DataError
from plaudit.records import Record


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
    would change what the fraction means. On-policy groups come first; within a side the order stays.

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

    ``on`` and ``off`` are the prompt hashes of the groups of both sides; see ``mix_policies`` for what is taken.

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
