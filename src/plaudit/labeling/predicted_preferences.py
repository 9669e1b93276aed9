"""Which response of a pair a scorer holds to be better, and how surely: from its rewards or its own comparisons."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, assert_never, runtime_checkable

import numpy as np
import numpy.typing as npt

from plaudit.data.schema.group import Group
from plaudit.errors import ModelError
from plaudit.evaluation.store.items import scored_groups
from plaudit.scoring.scorer import Scorer
from plaudit.statistics import win_rates

PairChoice = Literal["all", "best_vs_worst"]
Table = npt.NDArray[np.float64]

NOT_COMPARED = "a pair could not be compared"


@runtime_checkable
class PairProbability(Scorer, Protocol):
    """A scorer that also compares two responses directly, as a pairwise preference model does."""

    def probabilities(self, groups: Iterable[Group]) -> Iterator[Table]:
        """Yield, for each group, in order, ``[response, response]`` the probability that i is better than j.

        p(i, j) + p(j, i) = 1; NaN where the two could not be compared.
        """
        ...


@dataclass(frozen=True, slots=True)
class Guess:
    """What a scorer says of two responses of a group: ``chosen`` is better with probability ``confidence`` ≥ ½.

    At exactly ½ it is a tie, and which one is called chosen means nothing; None says that the pair was not scored.
    """

    chosen: int
    rejected: int
    confidence: float | None

    @property
    def prefers(self) -> bool:
        """Whether one response is preferred: neither a tie nor unscored."""
        return self.confidence is not None and self.confidence > 0.5


class Guesses(NamedTuple):
    """The guesses about one group, and why a response or pair of it has none, where one has none."""

    group: Group
    guesses: list[Guess]
    reason: str | None = None


def guess_pairs(scorer: Scorer, groups: Iterable[Group], *, pairs: PairChoice, temperature: float) -> Iterator[Guesses]:
    """Yield the guesses of ``scorer`` about each group, in order, streaming.

    From rewards, P(i better than j) = σ((r_i − r_j) ÷ temperature). A ``PairProbability`` is asked for P itself, and
    its log-odds are divided by the temperature. ``all``: every pair of the group. ``best_vs_worst``: the responses with
    the highest and the lowest reward, or win rate; of equals, the first.

    Raises:
        ModelError: when the scorer gives something else than was asked for.
    """
    if isinstance(scorer, PairProbability):
        for group, table in _tables(scorer, groups):
            chosen = _choose(_win_rates(table, group), pairs)
            guesses = [_from_probability(table, i, j, temperature) for i, j in chosen]
            is_whole = all(guess.confidence is not None for guess in guesses)
            yield Guesses(group, guesses, None if is_whole else NOT_COMPARED)
        return
    for group, item in scored_groups(scorer, groups):
        chosen = _choose(item.rewards, pairs)
        yield Guesses(group, [_from_rewards(item.rewards, i, j, temperature) for i, j in chosen], item.reason)


def _choose(rewards: Sequence[float | None], choice: PairChoice) -> list[tuple[int, int]]:
    """Return the pairs of responses to look at; with fewer than two rewards, best and worst are the first two."""
    match choice:
        case "all":
            return list(itertools.combinations(range(len(rewards)), 2))
        case "best_vs_worst":
            scored = [(reward, k) for k, reward in enumerate(rewards) if reward is not None]
            if len(scored) < 2:
                return [(0, 1)] if len(rewards) > 1 else []
            best = max(scored, key=lambda each: each[0])[1]
            worst = min((each for each in scored if each[1] != best), key=lambda each: each[0])[1]
            return [(best, worst)]
        case _:
            assert_never(choice)


def _from_rewards(rewards: Sequence[float | None], i: int, j: int, temperature: float) -> Guess:
    first, second = rewards[i], rewards[j]
    if first is None or second is None:
        return Guess(i, j, None)
    chosen, rejected = (i, j) if first >= second else (j, i)
    return Guess(chosen, rejected, 1.0 / (1.0 + math.exp(-abs(first - second) / temperature)))


def _tables(scorer: PairProbability, groups: Iterable[Group]) -> Iterator[tuple[Group, Table]]:
    """Yield each group with its probabilities, holding no more groups than the scorer reads ahead."""
    ours, theirs = itertools.tee(groups)
    tables = scorer.probabilities(theirs)
    for group in ours:
        table = next(tables, None)
        if table is None:
            raise ModelError(f"the scorer stopped before group {group.id!r}, which is without probabilities")
        count = len(group.responses)
        if table.shape != (count, count) or np.nanmin(table, initial=0.0) < 0 or np.nanmax(table, initial=1.0) > 1:
            raise ModelError(
                f"the scorer gave {table.tolist()!r:.100} as the probabilities of the {count} responses of group "
                f"{group.id!r}; they must be {count} rows of {count} numbers between 0 and 1"
            )
        yield group, table


def _win_rates(table: Table, group: Group) -> list[float | None]:
    """Return the win rate of each response among those that were all compared with one another, else None."""
    kept = win_rates.comparable(table, [len(response) for response in group.responses])
    rewards: list[float | None] = [None] * len(table)
    if kept.any():
        members = np.flatnonzero(kept)
        values = win_rates.win_rates(table[np.ix_(members, members)])
        for member, value in zip(members.tolist(), values.tolist(), strict=True):
            rewards[member] = value
    return rewards


def _from_probability(table: Table, i: int, j: int, temperature: float) -> Guess:
    p = float(table[i, j])
    if math.isnan(p):
        return Guess(i, j, None)
    chosen, rejected = (i, j) if p >= 0.5 else (j, i)
    confidence = max(p, 1.0 - p)
    if temperature != 1.0:
        confidence = 1.0 / (1.0 + ((1.0 - confidence) / confidence) ** (1.0 / temperature))
    return Guess(chosen, rejected, confidence)
