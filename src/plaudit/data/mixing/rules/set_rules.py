"""The rules that see all groups: they work on hashes and counts of the rows, and read no text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import assert_never

import numpy as np

from plaudit.data.mixing.rules.config import Distinct, PerPrompt, Sample, SetRule, Slice
from plaudit.data.mixing.rules.counts import RuleCounts
from plaudit.data.mixing.rules.group_rules import NO_PAIR_LEFT
from plaudit.data.mixing.splits import drawn_positions
from plaudit.data.schema.columns import row_hash, with_identity
from plaudit.data.schema.group_set import GroupSet
from plaudit.data.schema.hash_rng import uniform


@dataclass(frozen=True, slots=True)
class Selection:
    """The groups that a rule lets pass, and those of them that keep only some of their pairs.

    ``positions`` are increasing; ``pairs`` maps a position to the indices of the preferences that stay.
    """

    positions: np.ndarray
    pairs: Mapping[int, np.ndarray] = field(default_factory=dict)


def selection(groups: GroupSet, rule: SetRule, seed: int, counts: RuleCounts) -> Selection:
    """Return what ``rule`` lets pass of ``groups``; ``counts`` gets what happened."""
    num_pairs = groups.num_preferences()
    counts.groups_in, counts.pairs_in = len(groups), int(num_pairs.sum())
    match rule:
        case PerPrompt(max_pairs=most):
            found = _per_prompt(groups.prompt_hashes(), num_pairs, groups.row_hashes(), most, seed)
            reason, left_out = NO_PAIR_LEFT, f"more than {most} of the prompt"
        case Distinct(of=of):
            hashes = groups.prompt_hashes() if of == "prompt" else content_hashes(groups)
            found = Selection(np.sort(np.unique(hashes, return_index=True)[1]))
            reason = left_out = f"the {of} came before"
        case Sample():
            found = Selection(_sampled(groups, rule, seed))
            reason = left_out = "not drawn"
        case Slice(start=start, stop=stop):
            found = Selection(np.arange(len(groups))[start:stop])
            reason = left_out = "outside the slice"
        case _:
            assert_never(rule)
    kept_pairs = num_pairs[found.positions].copy()
    for position, pairs in found.pairs.items():
        kept_pairs[np.searchsorted(found.positions, position)] = len(pairs)
    counts.groups_out, counts.pairs_out = len(found.positions), int(kept_pairs.sum())
    counts.groups_left_out[reason] = counts.groups_in - counts.groups_out
    counts.pairs_left_out[left_out] = counts.pairs_in - counts.pairs_out
    return found


def _sampled(groups: GroupSet, rule: Sample, seed: int) -> np.ndarray:
    count = rule.groups if rule.groups is not None else int((rule.fraction or 0.0) * len(groups))
    if count == 0:
        return np.empty(0, np.int64)
    return drawn_positions(groups, count, seed)


def content_hashes(groups: GroupSet) -> np.ndarray:
    """Return a uint64 per group over its prompt, responses and labels, whatever its id and source; [group]."""
    rows = (row_hash(with_identity(group, "", "")) for group in groups)
    return np.fromiter(rows, np.uint64, len(groups))


def _per_prompt(prompts: np.ndarray, num_pairs: np.ndarray, rows: np.ndarray, most: int, seed: int) -> Selection:
    """Return a draw of at most ``most`` pairs of each prompt, every pair of a prompt as likely as another."""
    group = np.repeat(np.arange(len(prompts)), num_pairs)
    index = np.arange(len(group)) - np.repeat(np.cumsum(num_pairs) - num_pairs, num_pairs)
    place = uniform(rows[group] + index.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15), seed)
    order = np.lexsort((place, prompts[group]))
    ordered = prompts[group][order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(ordered) else np.empty(0, np.int64)
    within = np.arange(len(ordered)) - np.repeat(starts, np.diff(np.r_[starts, len(ordered)]))
    kept = np.sort(order[within < most])
    positions, first, count = np.unique(group[kept], return_index=True, return_counts=True)
    partial = count < num_pairs[positions]
    pairs = {
        int(position): index[kept[start : start + size]]
        for position, start, size in zip(positions[partial], first[partial], count[partial], strict=True)
    }
    return Selection(positions, pairs)
