"""The protocol in the middle of plaudit: whatever can give rewards to the responses of a group."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from pydantic import JsonValue

from plaudit.data.schema.group import Group
from plaudit.records import RewardUnit
from plaudit.statistics.aggregation import first_error


@dataclass(frozen=True, slots=True)
class ResponseTruncation:
    """Tokens that the responses of a group were scored without, because they are longer than the model takes."""

    tokens: tuple[int, ...]
    """[response] tokens left out, of the prompt or of the end of the response, as the scoring recipe says."""
    identical: int = 0
    """Responses whose text differs from another's only in what was left out, so that both have one reward."""


@dataclass(frozen=True, slots=True)
class GroupRewards:
    """The rewards of one group, in the order of its responses.

    ``rewards[k]`` is None where response k could not be scored; ``reason`` then says why. ``attributes`` holds one
    number per response and attribute; ``steps[k]`` one reward per reasoning step, empty where the response has none; of
    a process model it is the probability that the step is right. ``uncertainty[k]`` is a standard deviation in the
    units of the reward.

    ``truncation`` is None where nothing was truncated or the scorer does not know. ``comparisons`` holds, of a model
    that compares two responses, (i first, j first) for each pair i < j that was compared: the log-odds that the one
    named first is better, in both orders. Both are how the rewards came about and take no part in equality.
    """

    id: str
    rewards: tuple[float | None, ...]
    attributes: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)
    steps: tuple[tuple[float, ...] | None, ...] | None = None
    uncertainty: tuple[float | None, ...] | None = None
    reason: str | None = None
    truncation: ResponseTruncation | None = field(default=None, compare=False)
    comparisons: tuple[tuple[float, float], ...] = field(default=(), compare=False)

    def first_error(self, response: int, *, threshold: float = 0.5) -> int | None:
        """Return the first step of a response whose reward is below ``threshold``, or None where none is.

        Raises:
            ValueError: when the rewards of its steps are not known: the model reads none, or could not score it.
        """
        steps = None if self.steps is None else self.steps[response]
        if not steps:
            raise ValueError(f"no step of response {response} of group {self.id!r} has a reward")
        return first_error(steps, threshold=threshold)


@dataclass(frozen=True, slots=True)
class ScorerInfo:
    """What a scorer says of itself."""

    recipe_hash: str | None = None
    """Short hash of everything that fixes its rewards besides the weights; None where that cannot be told."""
    weights_hash: str | None = None
    """Short hash of its weights; None where that cannot be told."""
    settings: Mapping[str, JsonValue] = field(default_factory=dict)
    """What fixes its rewards besides the weights, spelt out as JSON: of a model its scoring recipe."""
    scale: RewardUnit | None = None
    """What its rewards are; None where nothing says so."""
    window: int = 1
    """Groups that it batches together, from the first on: a scorer that starts again at a multiple of it makes the same
    batches, and with them the same last digits."""
    relative: bool = False
    """Whether a reward is a number of its group, as a win rate, which says nothing across groups."""


class Scorer(Protocol):
    """Gives rewards to groups: one ``GroupRewards`` per group, in the order of the input, streaming."""

    def score_groups(self, groups: Iterable[Group]) -> Iterator[GroupRewards]:
        """Yield the rewards of each group, in order, reading no further ahead than a bounded window."""
        ...


@runtime_checkable
class Identified(Protocol):
    """A scorer whose rewards can be told from another's: what was begun with one is not gone on with by another."""

    @property
    def recipe_hash(self) -> str:
        """Return a short hash of everything that fixes its rewards besides the weights."""
        ...

    @property
    def head_hash(self) -> str:
        """Return a short hash of weights, by which scorers of one recipe can be told apart."""
        ...


@runtime_checkable
class GivesLogOdds(Protocol):
    """A scorer whose rewards may be numbers of a group: win rates, which say nothing across groups."""

    @property
    def compares(self) -> bool:
        """Whether a reward says how a response does against the others of its group, and nothing beside that."""
        ...

    def in_log_odds(self) -> Scorer:
        """Return the scorer with rewards of which σ of a difference is the probability of being better."""
        ...


def compares(scorer: Scorer) -> bool:
    """Return whether the rewards of ``scorer`` are numbers of a group, which say nothing across groups."""
    return isinstance(scorer, GivesLogOdds) and scorer.compares
