"""How well rewards order the responses of a group, where a label says how they should stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from plaudit.evaluation.metrics.estimates import Estimator
from plaudit.evaluation.metrics.measure import Findings, known
from plaudit.records import Interval
from plaudit.statistics.agreement import TieRule, preference_accuracy
from plaudit.statistics.correlation import kendall_tau_b

_NO_ORDER = "no group has two responses with different labels"


@dataclass(frozen=True, slots=True)
class LabelledGroup:
    """The labelled responses of one group: ``worth`` (higher is better by the label), rewards, lengths; [response]."""

    worth: np.ndarray
    rewards: np.ndarray
    lengths: np.ndarray
    prompt: int

    @property
    def has_order(self) -> bool:
        """Return whether the label holds some response to be better than another."""
        return bool((self.worth != self.worth[0]).any())


@dataclass(frozen=True, slots=True)
class OrderedPairs:
    """Every two responses of a group of different worth: better − worse, with their group and prompt; [pair]."""

    margins: np.ndarray
    length_differences: np.ndarray
    groups: np.ndarray
    prompts: np.ndarray

    def __len__(self) -> int:
        return len(self.margins)


def ordered_pairs(groups: Sequence[LabelledGroup]) -> OrderedPairs:
    """Return every pair of responses within a group that the label holds to be of different worth."""
    margins, lengths, owners = [np.zeros(0)], [np.zeros(0)], [np.zeros(0, dtype=int)]
    for number, group in enumerate(groups):
        first, second = np.triu_indices(len(group.worth), 1)
        sign = np.sign(group.worth[first] - group.worth[second])
        kept = sign != 0
        first, second, sign = first[kept], second[kept], sign[kept]
        margins.append(sign * (group.rewards[first] - group.rewards[second]))
        lengths.append(sign * (group.lengths[first] - group.lengths[second]))
        owners.append(np.full(len(sign), number, dtype=int))
    owner = np.concatenate(owners)
    prompts = np.array([group.prompt for group in groups], dtype=int)
    return OrderedPairs(np.concatenate(margins), np.concatenate(lengths), owner, prompts[owner])


def share_of_picks(scores: np.ndarray, wanted: np.ndarray) -> float:
    """Return the probability that a response drawn from those with the highest score is a wanted one; [response]."""
    return float(wanted[scores == scores.max()].mean())


def put_pairwise(found: Findings, groups: Sequence[LabelledGroup], tie_rule: TieRule, estimate: Estimator) -> int:
    """Put the agreement over pairs within groups, and return how many pairs have equal rewards.

    ``pairwise_agreement`` weighs every pair the same, so groups with many responses count more;
    ``pairwise_agreement_by_group`` weighs every group the same. Beside them: the longer response (a coin where both
    are of one length) and a coin.
    """
    pairs = ordered_pairs(groups)
    agreement = preference_accuracy(pairs.margins, tie_rule=tie_rule)
    longer = preference_accuracy(pairs.length_differences, tie_rule="half").correct
    owners = pairs.groups[agreement.scored]
    why = "both responses of every pair have equal rewards" if len(pairs) else _NO_ORDER
    name = "pairwise_agreement"
    found.put(name, estimate.share(agreement.correct, pairs.prompts[agreement.scored]), why)
    found.beside(name, longer_response=estimate.share(longer, pairs.prompts), random=known(0.5, len(pairs), estimate))
    name = "pairwise_agreement_by_group"
    found.put(name, _share_by_group(agreement.correct, owners, groups, estimate), why)
    found.beside(
        name,
        longer_response=_share_by_group(longer, pairs.groups, groups, estimate),
        random=known(0.5, len(np.unique(pairs.groups)), estimate),
    )
    return agreement.ties


def put_top_one(found: Findings, groups: Sequence[LabelledGroup], estimate: Estimator) -> None:
    """Put ``top_one``: how often the response with the highest reward is a best one, over groups with an order.

    A response is drawn where several share the highest reward. Beside it: the longest response and a random one.
    """
    ordered = [group for group in groups if group.has_order]
    prompts = np.array([group.prompt for group in ordered], dtype=int)
    best = [(group.worth == group.worth.max()).astype(float) for group in ordered]

    picked = [share_of_picks(group.rewards, wanted) for group, wanted in zip(ordered, best, strict=True)]
    longest = [share_of_picks(group.lengths, wanted) for group, wanted in zip(ordered, best, strict=True)]
    drawn = [float(wanted.mean()) for wanted in best]
    found.put("top_one", estimate.mean_share(np.array(picked), prompts), _NO_ORDER)
    found.beside(
        "top_one",
        longer_response=estimate.mean_share(np.array(longest), prompts),
        random=estimate.mean_share(np.array(drawn), prompts),
    )


def put_kendall(found: Findings, groups: Sequence[LabelledGroup], estimate: Estimator) -> int:
    """Put ``kendall_tau``, the mean over groups of τ-b between reward and worth; return the groups without one.

    A group whose rewards are all equal has no τ and is left out. Beside it: the same of the length, and 0 for a
    random order.
    """
    ordered = [group for group in groups if group.has_order]
    taus = [(kendall_tau_b(group.rewards, group.worth), group.prompt) for group in ordered]
    by_length = [(kendall_tau_b(group.lengths, group.worth), group.prompt) for group in ordered]
    defined = [(tau, prompt) for tau, prompt in taus if tau is not None]
    own = [(tau, prompt) for tau, prompt in by_length if tau is not None]
    why = "fewer than two prompts have a group in which both ranks and rewards differ"
    found.put("kendall_tau", _mean(defined, estimate), why)
    found.beside("kendall_tau", longer_response=_mean(own, estimate), random=known(0.0, len(defined), estimate))
    return len(ordered) - len(defined)


def _mean(rows: Sequence[tuple[float, int]], estimate: Estimator) -> Interval | None:
    values = np.array([value for value, _ in rows], dtype=float)
    return estimate.mean(values, np.array([prompt for _, prompt in rows], dtype=int))


def _share_by_group(
    correct: np.ndarray, owners: np.ndarray, groups: Sequence[LabelledGroup], estimate: Estimator
) -> Interval | None:
    numbers, place = np.unique(owners, return_inverse=True)
    if not len(numbers):
        return None
    sizes = np.bincount(place)
    prompts = np.array([groups[number].prompt for number in numbers], dtype=int)
    return estimate.mean_share(np.bincount(place, weights=correct) / sizes, prompts)
