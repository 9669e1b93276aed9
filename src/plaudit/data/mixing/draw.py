"""Drawing of a mixture's sets from its parts: number of groups of each, their order, and the groups split off."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import assert_never, final

import numpy as np
import pyarrow as pa

from plaudit.data.audit.duplicates import similar_prompts
from plaudit.data.mixing.augment import augmented
from plaudit.data.mixing.config import (
    ByPolicy,
    ByTemperature,
    ByWeight,
    Everything,
    HeldOutClusters,
    HeldOutPrompts,
    MixtureConfig,
    TeacherPrompts,
)
from plaudit.data.mixing.report import AugmentReport, AugmentTally, DrawReport
from plaudit.data.mixing.rules import written, written_tables
from plaudit.data.mixing.splits import held_out_clusters, held_out_prompts, mixed_positions, teacher_split
from plaudit.data.schema.columns import batch_of, groups_of, with_identity
from plaudit.data.schema.group_set import GroupSet
from plaudit.data.schema.hash_rng import seed_of, uniform


def allotted(weights: Sequence[float], total: int) -> list[int]:
    """Return whole shares of ``total`` in proportion to ``weights``, by largest remainders (Hamilton's method).

    The shares sum to ``total``, and each is its exact quota rounded down or up. Of equal remainders the earlier part
    is rounded up.
    """
    # Relative to the largest, so that the sum of huge weights is finite.
    parts = np.asarray(weights, np.float64) / np.max(weights)
    quotas = parts / parts.sum() * total
    shares = np.floor(quotas).astype(np.int64)
    # Rounded, so that the error of the division does not decide between equal remainders.
    remainders = np.round(quotas - shares, 9)
    for index in np.argsort(-remainders, kind="stable")[: total - int(shares.sum())]:
        shares[index] += 1
    return shares.tolist()


def temperature_weights(sizes: Sequence[int], temperature: float) -> list[float]:
    """Return size^(1/T) of each part, relative to the largest: its weight under temperature sampling."""
    largest = max(sizes)
    return [(size / largest) ** (1.0 / temperature) for size in sizes]


def repeated(size: int, share: int, hashes: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (positions, copies) of ``share`` draws of ``size`` groups; int64 [share] each.

    Every group is taken ``share // size`` times, and the rest is drawn by a hash of (seed, group) without repetition.
    ``copies`` numbers the repetitions of a group from 0.
    """
    whole, rest = divmod(share, size)
    drawn = np.sort(np.argsort(uniform(hashes, seed), kind="stable")[:rest])
    positions = np.r_[np.tile(np.arange(size), whole), drawn].astype(np.int64)
    copies = np.r_[np.repeat(np.arange(whole), size), np.full(rest, whole)].astype(np.int64)
    return positions, copies


def interleaved(counts: Sequence[int]) -> np.ndarray:
    """Return an order of parts that stand one after the other in which each is spread evenly; int64 [sum of counts].

    Group k of n of a part comes at (k + ½) / n of the way; where two come together, the earlier part first.
    """
    places = np.concatenate([(np.arange(count) + 0.5) / max(count, 1) for count in counts])
    return np.argsort(places, kind="stable")


TRAIN = "train"
HELD_OUT = "held_out"
POLICY_GRADIENT = "policy_gradient"


@final
@dataclass(frozen=True, slots=True)
class DrawnSet:
    """Groups, and which copy of its group each one is: 0 for the first; int64 [group]."""

    groups: GroupSet
    copies: np.ndarray

    def at(self, positions: np.ndarray) -> DrawnSet:
        """Return the groups at ``positions``, in that order."""
        return DrawnSet(self.groups.select(positions), self.copies[positions])

    def tables(self) -> Iterator[pa.Table]:
        """Yield the rows; the second copy of a group has the id of the first and ``#2``."""
        start = 0
        for table in self.groups.tables():
            numbers = self.copies[start : start + table.num_rows]
            start += table.num_rows
            if not numbers.any():
                yield table
                continue
            named = [
                with_identity(group, f"{group.id}#{number + 1}", group.source) if number else group
                for group, number in zip(groups_of(table), numbers.tolist(), strict=True)
            ]
            yield pa.Table.from_batches([batch_of(named)])


@final
@dataclass(frozen=True, slots=True)
class Sets:
    """The sets of a mixture by name, and for each reason how many of the groups drawn are in none of them."""

    by_name: dict[str, DrawnSet]
    left_out: Mapping[str, int] = field(default_factory=dict)


def drawn(config: MixtureConfig, whole: GroupSet) -> tuple[np.ndarray, np.ndarray, tuple[DrawReport, ...]]:
    """Return the positions of the groups drawn from ``whole``, part after part, which copy each is, and the counts.

    Raises:
        DataError: where an on- and an off-policy side have no prompt in common.
    """
    part_of, pairs, hashes = parts_of(whole, config), whole.num_preferences(), whole.row_hashes()
    members = [np.flatnonzero(part_of == number) for number in range(len(config.parts))]
    copies: list[np.ndarray] = []
    if isinstance(config.draw, ByPolicy):
        chosen = _drawn_by_policy(config, config.draw, whole.prompt_hashes(), members)
        shares = [len(each) for each in chosen]
        copies = [np.zeros(share, np.int64) for share in shares]
    else:
        shares = _shares(config, [len(own) for own in members])
        repeats = not isinstance(config.draw, Everything) and config.draw.repeat
        seed = seed_of(config.seed, "draw")
        chosen = list[np.ndarray]()
        for own, share in zip(members, shares, strict=True):
            count = share if repeats and len(own) else min(share, len(own))
            local, copy = repeated(len(own), count, hashes[own], seed) if count else (np.empty(0, np.int64),) * 2
            chosen.append(own[local])
            copies.append(copy)
    reports = [
        DrawReport(name=part.name, available=len(own), asked=share, drawn=len(found), pairs=int(pairs[found].sum()))
        for part, own, share, found in zip(config.parts, members, shares, chosen, strict=True)
    ]
    return np.concatenate(chosen), np.concatenate(copies), tuple(reports)


def _drawn_by_policy(
    config: MixtureConfig, draw: ByPolicy, prompts: np.ndarray, members: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """Return the positions taken from each part: no prompt is taken from the on-policy part and from another."""
    is_on = [part.name == draw.on_policy for part in config.parts]
    on = np.concatenate([own for own, side in zip(members, is_on, strict=True) if side])
    off = np.concatenate([own for own, side in zip(members, is_on, strict=True) if not side])
    from_on, from_off, _, _ = mixed_positions(
        prompts[on], prompts[off], fraction_on_policy=draw.fraction_on_policy, seed=config.seed
    )
    taken = np.concatenate([on[from_on], off[from_off]])
    return [own[np.isin(own, taken)] for own in members]


def _shares(config: MixtureConfig, sizes: Sequence[int]) -> Sequence[int]:
    match config.draw:
        case Everything() | ByPolicy():
            return sizes
        case ByWeight(groups=total):
            return allotted([part.weight for part in config.parts], total)
        case ByTemperature(temperature=temperature, groups=total):
            return allotted(temperature_weights(sizes, temperature), sum(sizes) if total is None else total)
        case _:
            assert_never(config.draw)


def parts_of(groups: GroupSet, config: MixtureConfig) -> np.ndarray:
    """Return the number of the part that each group's id begins with, or that of parts where it is none; int64."""
    numbers = {part.name: number for number, part in enumerate(config.parts)}
    found = [
        numbers.get(identifier.partition("/")[0], len(numbers))
        for table in groups.tables()
        for identifier in table.column("id").to_pylist()
    ]
    return np.asarray(found, np.int64)


def split(config: MixtureConfig, mixed: GroupSet, copies: np.ndarray, test: GroupSet | None, work: Path) -> Sets:
    """Return the sets of the mixture. Sets that are split off serve evaluation, so none of their groups repeats.

    ``test`` are the groups of the test files of a teacher split, or None where there are none.

    Raises:
        DataError: where a side would stay empty.
    """
    whole, seed = DrawnSet(mixed, copies), seed_of(config.seed, "split")
    match config.split:
        case None:
            return Sets({TRAIN: whole})
        case HeldOutPrompts(share=share):
            apart = held_out_prompts(mixed, held_out=share, seed=seed)
        case HeldOutClusters(share=share, threshold=threshold):
            clusters = similar_prompts(mixed, threshold=threshold).near
            apart = held_out_clusters(mixed, clusters, held_out=share, seed=seed)
        case TeacherPrompts(reward_share=share):
            return _teacher(share, whole, test, seed, work)
        case _:
            assert_never(config.split)
    is_measured = apart & (copies == 0)
    sets = {TRAIN: whole.at(np.flatnonzero(~apart)), HELD_OUT: whole.at(np.flatnonzero(is_measured))}
    return Sets(sets, {"a repetition of a held-out group": int(apart.sum() - is_measured.sum())})


def _teacher(share: float, whole: DrawnSet, test: GroupSet | None, seed: int, work: Path) -> Sets:
    # Ids that differ between copies, so that the two sides can be told apart afterwards.
    numbered = written_tables(whole.tables(), work / "numbered.arrow", whole.groups)
    sides = teacher_split(numbered, numbered.select([]) if test is None else test, reward_share=share, seed=seed)
    sets = {TRAIN: sides.reward_model, POLICY_GRADIENT: sides.policy_gradient}
    if test is not None:
        sets[HELD_OUT] = test
    return Sets(
        {name: DrawnSet(groups, np.zeros(len(groups), np.int64)) for name, groups in sets.items()},
        {"the test has its prompt": sides.report.left_out},
    )


def augmented_set(config: MixtureConfig, train: DrawnSet, folder: Path) -> tuple[DrawnSet, tuple[AugmentReport, ...]]:
    """Return the augmented training set, and the report of each rule of augmentation."""
    groups = written_tables(train.tables(), folder / "given.arrow", train.groups)
    reports = []
    for number, rule in enumerate(config.augment):
        tally = AugmentTally()
        stream = augmented(groups, rule, seed=config.seed, tally=tally)
        groups = written(stream, folder / f"{number}.arrow", groups)
        reports.append(tally.report(rule))
    return DrawnSet(groups, np.zeros(len(groups), np.int64)), tuple(reports)


def order_of(config: MixtureConfig, part: DrawnSet) -> np.ndarray:
    """Return the positions of a set's groups in the order of the mixture; int64 [group]."""
    match config.order:
        case "shuffled":
            hashes = part.groups.row_hashes() + part.copies.astype(np.uint64)
            return np.argsort(uniform(hashes, seed_of(config.seed, "order")), kind="stable")
        case "parts" | "interleaved":
            numbers = parts_of(part.groups, config)
            by_part = np.argsort(numbers, kind="stable")
            if config.order == "parts":
                return by_part
            return by_part[interleaved(np.bincount(numbers, minlength=len(config.parts) + 1).tolist())]
        case _:
            assert_never(config.order)
