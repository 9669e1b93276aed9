"""Counterfactual pairs: responses to other prompts lose to a prompt's own responses, and tie with each other.

Source: Liu et al. (2024), RRM: Robust Reward Model Training Mitigates Reward Hacking, arXiv 2409.13156. For a triple
(x_i, w_i, l_i) and partners j of other prompts, under prompt x_i: w_i and l_i win against every w_j and l_j (contextual
pairs), and any two of the borrowed w_j, l_j tie (non-contextual pairs). What a response looks like then says nothing
about its label, only whether it fits the prompt does.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple, assert_never

import numpy as np
import numpy.typing as npt

from plaudit.data.mixing.config import Counterfactual
from plaudit.data.mixing.edits import decided_pairs, made_id, made_source, rng_of
from plaudit.data.mixing.report import AugmentTally
from plaudit.data.schema.columns import hash64
from plaudit.data.schema.group import Group, Preference
from plaudit.data.schema.group_set import BATCH_ROWS, GroupSet
from plaudit.data.schema.hash_rng import uniform

RULE = "counterfactual"
NO_TRIPLE = "no preference that decides between two different responses"
NO_PARTNER = "no partner of another prompt"
NOTHING_BORROWED = "every borrowed response equals one of its own"
NOBODY = -1

Indices = npt.NDArray[np.int64]


class Triples(NamedTuple):
    """The (chosen, rejected) response indices drawn for each group, −1 where it has none; int32 [group]."""

    chosen: npt.NDArray[np.int32]
    rejected: npt.NDArray[np.int32]


def with_counterfactuals(groups: GroupSet, rule: Counterfactual, *, seed: int, tally: AugmentTally) -> Iterator[Group]:
    """Yield every group as it is, each followed by its counterfactual group, where there is one.

    That group has the prompt of group i and, in an order drawn from the seed, the chosen and the rejected response of
    one decided preference of i and those of ``rule.partners`` other groups, white space at the ends taken off all of
    them. No partner has the prompt of i, and each group is a partner equally often. A borrowed response that equals a
    response of i, or one already borrowed, is left out and counted. The draws depend on the seed and on which groups
    there are, not on their order.

    Memory: a few integers per group; texts are read a window at a time.
    """
    hashes = groups.row_hashes()
    triples = draw_triples(groups, hashes, seed)
    partners = draw_partners(groups, triples.chosen != NOBODY, rule, seed)
    for start in range(0, len(groups), BATCH_ROWS):
        stop = min(start + BATCH_ROWS, len(groups))
        window = partners[start:stop]
        borrowed = iter(_borrow(groups, window[window != NOBODY], triples))
        for position, group in enumerate(groups.take(np.arange(start, stop)), start=start):
            tally.groups_in += 1
            yield group
            mine = [next(borrowed) for partner in partners[position] if partner != NOBODY]
            if triples.chosen[position] == NOBODY:
                tally.left_alone[NO_TRIPLE] += 1
                continue
            triple = int(triples.chosen[position]), int(triples.rejected[position])
            made = _counterfactual(group, triple, mine, rule, tally, seed=seed, row_hash=int(hashes[position]))
            if made is not None:
                tally.augmented += 1
                tally.groups_added += 1
                yield made


def draw_triples(groups: GroupSet, row_hashes: npt.NDArray[np.uint64], seed: int) -> Triples:
    """Return one decided preference of each group, drawn from the seed."""
    chosen = np.full(len(groups), NOBODY, dtype=np.int32)
    rejected = np.full(len(groups), NOBODY, dtype=np.int32)
    for position, group in enumerate(groups):
        pairs = decided_pairs(group)
        if not pairs:
            continue
        drawn = 0
        if len(pairs) > 1:
            drawn = rng_of(int(row_hashes[position]), seed, "triple").randrange(len(pairs))
        chosen[position], rejected[position] = pairs[drawn]
    return Triples(chosen, rejected)


def draw_partners(groups: GroupSet, has_triple: npt.NDArray[np.bool_], rule: Counterfactual, seed: int) -> Indices:
    """Return the positions of each group's partners, −1 where there is none; int64 [group, partner].

    For each partner the groups are put in a random order, prompt by prompt, and everyone's partner is the group that
    stands M places further round, M being the number of groups of the most frequent prompt: never one of the same
    prompt while no prompt has more than half of the groups, and everyone is a partner exactly once.
    """
    prompts, rows = groups.prompt_hashes(), groups.row_hashes()
    partners = np.full((len(groups), rule.partners), NOBODY, dtype=np.int64)
    for members in _pools(groups, has_triple, rule):
        for slot in range(rule.partners):
            drawn = uniform(prompts[members], hash64(f"{seed}|partner {slot}".encode()))
            partners[members, slot] = _rotated(members, prompts[members], rows[members], drawn)
    return partners


def _pools(groups: GroupSet, has_triple: npt.NDArray[np.bool_], rule: Counterfactual) -> list[Indices]:
    """Return the positions of the groups that may be each other's partners, pool by pool."""
    everyone = np.flatnonzero(has_triple).astype(np.int64)
    match rule.partners_from:
        case "any_source":
            return [everyone]
        case "same_source":
            column = groups.dataset.data.column("source").combine_chunks().dictionary_encode()
            codes = column.indices.to_numpy()
            sources = (codes if groups.rows is None else codes[groups.rows])[everyone]
            return [everyone[sources == source] for source in np.unique(sources)]
        case _:
            assert_never(rule.partners_from)


def _rotated(
    members: Indices,
    prompts: npt.NDArray[np.uint64],
    rows: npt.NDArray[np.uint64],
    drawn: npt.NDArray[np.float64],
) -> Indices:
    """Return the partner of each member of a pool, or −1; ``drawn`` orders the prompts; int64 [member]."""
    if not len(members):
        return members
    _, counts = np.unique(prompts, return_counts=True)
    order = np.lexsort((rows, prompts, drawn))
    found = np.empty_like(members)
    found[order] = np.roll(order, -int(counts.max()))
    return np.where(prompts[found] == prompts, NOBODY, members[found])


def _borrow(groups: GroupSet, positions: Indices, triples: Triples) -> list[tuple[str, str]]:
    """Return the chosen and the rejected response of each partner's triple."""
    found = groups.take(positions)
    return [
        (partner.responses[triples.chosen[position]], partner.responses[triples.rejected[position]])
        for position, partner in zip(positions.tolist(), found, strict=True)
    ]


def _counterfactual(
    group: Group,
    triple: tuple[int, int],
    borrowed: list[tuple[str, str]],
    rule: Counterfactual,
    tally: AugmentTally,
    *,
    seed: int,
    row_hash: int,
) -> Group | None:
    """Return the counterfactual group of ``group``, or None with the reason counted."""
    if not borrowed:
        tally.left_alone[NO_PARTNER] += 1
        return None
    others = _different(list(itertools.chain.from_iterable(borrowed)), group, tally)
    if not others:
        tally.left_alone[NOTHING_BORROWED] += 1
        return None
    own = [group.responses[index].strip() for index in (triple if rule.own == "both" else triple[:1])]
    texts = [*own, *others]
    order = list(range(len(texts)))
    rng_of(row_hash, seed, RULE).shuffle(order)
    place = {index: position for position, index in enumerate(order)}
    mine, theirs = range(len(own)), range(len(own), len(texts))
    contextual = [Preference(place[i], place[j]) for i in mine for j in theirs]
    ties = [
        Preference(min(place[i], place[j]), max(place[i], place[j]), probability=0.5)
        for i, j in (itertools.combinations(theirs, 2) if rule.ties else ())
    ]
    tally.preferences_made["contextual"] += len(contextual)
    tally.preferences_made["tie"] += len(ties)
    return Group(
        group.prompt,
        tuple(texts[index] for index in order),
        (*contextual, *ties),
        id=made_id(group, RULE),
        source=made_source(group, RULE),
    )


def _different(texts: list[str], group: Group, tally: AugmentTally) -> list[str]:
    """Return the texts without those that are responses of the group, and each once; all without outer white space."""
    own = {response.strip() for response in group.responses}
    kept: dict[str, None] = {}
    for text in (each.strip() for each in texts):
        if text in own:
            tally.responses_left_out["equal to a response of the group"] += 1
        elif text in kept:
            tally.responses_left_out["borrowed already"] += 1
        else:
            kept[text] = None
    return list(kept)
