"""Relabelling: a gold scorer says which response of a pair is better, in place of the labels that the data came with.

Source: Razin et al. (2025), What Makes a Reward Model a Good Teacher?, arXiv 2503.15477, where a strong reward model is
the ground truth. There a pair of equal rewards stays a preference; here it becomes none, or one of probability ½.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Literal, assert_never

import numpy as np

from plaudit.data.schema.columns import hash64
from plaudit.data.schema.group import Group, Preference
from plaudit.data.schema.pairing import ranks_of
from plaudit.errors import ConfigError, DataError
from plaudit.evaluation.metrics.estimates import Estimator
from plaudit.evaluation.store.items import scored_groups
from plaudit.records import Interval, Record
from plaudit.scoring.scorer import GivesLogOdds, Scorer

GOLD = "gold"
ORIGINAL_WINS = "original_wins"
ORIGINAL_RANK = "original_rank"
CONFIDENCE = 0.95
RESAMPLES = 1000

Labels = Literal["hard", "soft"]
PairsOf = Literal["given", "all"]
_Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class RelabelRule:
    """How rewards become labels.

    Raises:
        ConfigError: for a temperature that is not positive, or one where nothing is divided by it, and for an attribute
            without a name or with that of the original labels.
    """

    labels: Labels = "hard"
    """``hard``: the response of the higher reward is chosen; equal rewards make no preference. ``soft``: it is chosen
    with probability σ((its reward − the other) ÷ temperature); equal rewards make one of ½."""
    temperature: float = 1.0
    """What reward differences are divided by, for soft labels."""
    pairs: PairsOf = "given"
    """``given``: the pairs that the preferences of the data name. ``all``: every two responses of a group."""
    attribute: str = GOLD
    """Rating that the rewards are written as."""
    keep_original: bool = False
    """Write what the data said as ratings: ``original_wins``, the share of a response's preferences that it won, and
    ``original_rank``."""

    def __post_init__(self) -> None:
        """Check every field."""
        if not (self.temperature > 0.0 and math.isfinite(self.temperature)):
            raise ConfigError(f"temperature is {self.temperature}; it must be a number above 0")
        if self.labels == "hard" and self.temperature != 1.0:
            raise ConfigError(f"temperature is {self.temperature}, but hard labels have none; ask for soft labels")
        if not self.attribute or self.attribute in (ORIGINAL_WINS, ORIGINAL_RANK):
            raise ConfigError(f"attribute is {self.attribute!r}; give the rewards another name")


class RelabelCounts(Record):
    """What a relabelling found: groups = scored + the sum of unscored; pairs = the six kinds below it."""

    groups: int
    """Groups read; every one is written."""
    scored: int
    """Groups whose every response has a reward."""
    unscored: dict[str, int]
    """For each reason, the groups with a response that has none."""
    pairs: int
    """Pairs of responses that were to be labelled, each once."""
    agreed: int
    """Pairs of which the data prefer the same response as the gold reward."""
    swapped: int
    """Pairs of which the data prefer the other response."""
    newly_decided: int
    """Pairs of which the data prefer none, or each once, and the gold reward prefers one."""
    ties: int
    """Pairs of equal rewards: no preference where labels are hard, one of probability ½ where they are soft."""
    unscored_pairs: int
    """Pairs with a response that has no reward: they have no preference any more."""
    repeated: int
    """Preferences of the data beyond the first of their pair."""
    margins_dropped: int
    """Preferences whose margin was not kept: it was of the other labels."""
    ranked: int
    """Groups whose ranks were made anew."""
    ranks_changed: int
    """Those of them whose order or ties are others now."""
    agreement: Interval | None
    """Share of the pairs decided by both, of which both prefer the same response; null where there are none."""


@dataclass(slots=True)
class RelabelTally:
    """The counts of a relabelling while it runs; named as in ``RelabelCounts``."""

    groups: int = 0
    scored: int = 0
    unscored: Counter[str] = field(default_factory=Counter)
    pairs: int = 0
    agreed: int = 0
    swapped: int = 0
    newly_decided: int = 0
    ties: int = 0
    unscored_pairs: int = 0
    repeated: int = 0
    margins_dropped: int = 0
    ranked: int = 0
    ranks_changed: int = 0
    # One entry per pair decided by both; arrays, so that a million of them are 9 MB.
    _agreed: array[int] = field(default_factory=lambda: array("b"))
    _prompts: array[int] = field(default_factory=lambda: array("Q"))

    def compare(self, *, agreed: bool, prompt: str) -> None:
        """Count a pair that both the data and the gold reward decide."""
        self.agreed += agreed
        self.swapped += not agreed
        self._agreed.append(agreed)
        self._prompts.append(hash64(prompt.encode()))

    def counts(self) -> RelabelCounts:
        """Return the counts as a record; the interval of the agreement resamples prompts."""
        estimate = Estimator(confidence=CONFIDENCE, resamples=RESAMPLES, seed=0)
        return RelabelCounts(
            groups=self.groups,
            scored=self.scored,
            unscored=dict(self.unscored),
            pairs=self.pairs,
            agreed=self.agreed,
            swapped=self.swapped,
            newly_decided=self.newly_decided,
            ties=self.ties,
            unscored_pairs=self.unscored_pairs,
            repeated=self.repeated,
            margins_dropped=self.margins_dropped,
            ranked=self.ranked,
            ranks_changed=self.ranks_changed,
            agreement=estimate.share(
                np.asarray(self._agreed, dtype=np.float64), np.asarray(self._prompts, dtype=np.uint64)
            ),
        )


def relabelled(scorer: Scorer, groups: Iterable[Group], *, rule: RelabelRule, tally: RelabelTally) -> Iterator[Group]:
    """Yield every group with the labels that ``scorer`` gives it, in order, streaming.

    A scorer of win rates is asked for log-odds where labels are soft (see ``rewards_for``).

    Raises:
        DataError: when a group has a rating of a name that is to be written.
        ModelError: when the scorer gives something else than was asked for.
    """
    for group, item in scored_groups(rewards_for(scorer, rule.labels), groups):
        yield relabelled_group(group, item.rewards, rule=rule, tally=tally, reason=item.reason)


def rewards_for(scorer: Scorer, labels: Labels) -> Scorer:
    """Return the scorer whose rewards make the labels: of a scorer of win rates its log-odds, where they are soft."""
    match labels:
        case "hard":
            return scorer
        case "soft":
            return scorer.in_log_odds() if isinstance(scorer, GivesLogOdds) else scorer
        case _:
            assert_never(labels)


def relabelled_group(
    group: Group,
    rewards: Sequence[float | None],
    *,
    rule: RelabelRule,
    tally: RelabelTally,
    reason: str | None = None,
) -> Group:
    """Return the group under the labels that ``rewards``, one per response, give it.

    Its preferences are of the pairs that ``rule.pairs`` asks for, in the order of the data and then by index; its
    ranks, where it has some, follow the rewards; the rewards become the rating ``rule.attribute``. Responses, other
    ratings, outcomes, steps, id and source stay. A pair with a response without a reward gets no preference.

    Raises:
        DataError: when the group has a rating of a name that is to be written.
    """
    tally.groups += 1
    if None in rewards:
        tally.unscored[(reason or "no reward").split(":")[0]] += 1
    else:
        tally.scored += 1
    said = _said(group, tally)
    match rule.pairs:
        case "given":
            pairs = list(said)
        case "all":
            pairs = [*said, *(each for each in combinations(range(len(rewards)), 2) if each not in said)]
        case _:
            assert_never(rule.pairs)
    made = [_preference(pair, said.get(pair), rewards, rule, tally, group.prompt_key) for pair in pairs]
    return replace(
        group,
        preferences=tuple(each for each in made if each is not None),
        ranks=None if group.ranks is None else _ranks(group.ranks, rewards, tally),
        ratings=_ratings(group, rewards, rule),
    )


def _said(group: Group, tally: RelabelTally) -> dict[_Pair, int | None]:
    """Return {pair, the smaller index first: the response that the data prefer}, None where they decide nothing."""
    said: dict[_Pair, int | None] = {}
    for preference in group.preferences:
        tally.margins_dropped += preference.margin is not None
        probability = 1.0 if preference.probability is None else preference.probability
        better = preference.chosen if probability > 0.5 else preference.rejected if probability < 0.5 else None
        pair = (min(preference.chosen, preference.rejected), max(preference.chosen, preference.rejected))
        if pair not in said:
            said[pair] = better
            continue
        tally.repeated += 1
        if said[pair] != better:
            said[pair] = None
    return said


def _preference(
    pair: _Pair,
    said: int | None,
    rewards: Sequence[float | None],
    rule: RelabelRule,
    tally: RelabelTally,
    prompt: str,
) -> Preference | None:
    """Return the gold preference of a pair, counted; None where there is none."""
    tally.pairs += 1
    first, second = rewards[pair[0]], rewards[pair[1]]
    if first is None or second is None:
        tally.unscored_pairs += 1
        return None
    if first == second:
        tally.ties += 1
        return Preference(*pair, probability=0.5) if rule.labels == "soft" else None
    chosen, rejected = pair if first > second else pair[::-1]
    if said is None:
        tally.newly_decided += 1
    else:
        tally.compare(agreed=said == chosen, prompt=prompt)
    match rule.labels:
        case "hard":
            return Preference(chosen, rejected)
        case "soft":
            lead = abs(first - second) / rule.temperature
            return Preference(chosen, rejected, probability=1.0 / (1.0 + math.exp(-lead)))
        case _:
            assert_never(rule.labels)


def _ranks(given: Sequence[int | None], rewards: Sequence[float | None], tally: RelabelTally) -> tuple[int | None, ...]:
    made = ranks_of(rewards)
    tally.ranked += 1
    tally.ranks_changed += made != ranks_of([None if rank is None else -rank for rank in given])
    return made


def check_names(group: Group, rule: RelabelRule) -> None:
    """Raise DataError when the group has a rating of a name that is to be written."""
    written = (rule.attribute, ORIGINAL_WINS, ORIGINAL_RANK) if rule.keep_original else (rule.attribute,)
    for name in written:
        if name in group.ratings:
            raise DataError(f"group {group.id!r} has a rating {name!r} already, which would be written over")


def _ratings(group: Group, rewards: Sequence[float | None], rule: RelabelRule) -> dict[str, tuple[float | None, ...]]:
    check_names(group, rule)
    added: dict[str, tuple[float | None, ...]] = {}
    if rule.keep_original and group.preferences:
        added[ORIGINAL_WINS] = _wins(group)
    if rule.keep_original and group.ranks is not None:
        added[ORIGINAL_RANK] = tuple(None if rank is None else float(rank) for rank in group.ranks)
    added[rule.attribute] = tuple(rewards)
    return {**group.ratings, **added}


def _wins(group: Group) -> tuple[float | None, ...]:
    """Return the mean over a response's preferences of the probability that it is the better one; None without any."""
    won = [0.0] * len(group.responses)
    named = [0] * len(group.responses)
    for preference in group.preferences:
        probability = 1.0 if preference.probability is None else preference.probability
        for index, share in ((preference.chosen, probability), (preference.rejected, 1.0 - probability)):
            won[index] += share
            named[index] += 1
    return tuple(wins / count if count else None for wins, count in zip(won, named, strict=True))
