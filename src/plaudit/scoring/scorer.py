"""The protocol of everything that gives rewards to the responses of a group."""

from __future__ import annotations

import hashlib
import itertools
import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol, TypeVar, runtime_checkable

from pydantic import JsonValue

from plaudit.data.schema.group import Group, Message, conversation
from plaudit.errors import ConfigError, InvalidGroupError, ModelError
from plaudit.records import RewardScale
from plaudit.statistics.steps import first_error

if TYPE_CHECKING:
    from plaudit.batching.truncation import Truncation


WINDOW = 256
"""Groups that are read and scored together; the memory of scoring does not grow beyond them."""

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class ResponseTruncation:
    """Tokens that the responses of a group were scored without, because they are longer than the model takes."""

    tokens: tuple[int, ...]
    """[response] tokens left out, of the prompt or of the end of the response, as the scoring recipe says."""
    identical: int = 0
    """Responses that are equal to another after truncation, so that both have one reward."""


@dataclass(frozen=True, slots=True)
class GroupRewards:
    """The rewards of one group, in the order of its responses.

    ``rewards[k]`` is None where response k could not be scored; ``reason`` then says why. ``attributes`` holds one
    number per response and attribute; ``steps[k]`` one reward per reasoning step, empty where the response has none; of
    a process model it is the probability that the step is right. ``uncertainty[k]`` is a standard deviation in the
    units of the reward.

    ``strengths`` are given by a scorer whose rewards are relative to the group, as win rates are: one number per
    response whose difference from another's is a log-odds of being better, None where there is no reward.

    ``truncation`` is None where nothing was truncated or the scorer does not know. ``comparisons`` holds, of a model
    that compares two responses, (i first, j first) for each pair i < j that was compared: the log-odds that the one
    named first is better, in both orders. The last three say how the rewards came about and take no part in equality.
    """

    id: str
    rewards: tuple[float | None, ...]
    attributes: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)
    steps: tuple[tuple[float, ...] | None, ...] | None = None
    uncertainty: tuple[float | None, ...] | None = None
    reason: str | None = None
    strengths: tuple[float | None, ...] | None = field(default=None, compare=False)
    truncation: ResponseTruncation | None = field(default=None, compare=False)
    comparisons: tuple[tuple[float, float], ...] = field(default=(), compare=False)

    def in_log_odds(self) -> GroupRewards:
        """Return the rewards with the strengths in their place, where there are some."""
        return self if self.strengths is None else replace(self, rewards=self.strengths, strengths=None)

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
    """Identity of a scorer, and the scale of its rewards."""

    recipe_hash: str | None = None
    """Short hash of everything that fixes its rewards besides the weights; None where that cannot be told."""
    weights_hash: str | None = None
    """Short hash of its weights; None where that cannot be told."""
    settings: Mapping[str, JsonValue] = field(default_factory=dict)
    """Everything that fixes its rewards besides the weights, as JSON: of a model its scoring recipe. {} of a function
    or a server, which cannot be looked into."""
    scale: RewardScale | None = None
    """Scale of its rewards; None where nothing says so."""
    strengths: RewardScale | None = None
    """Scale of the strengths that it gives beside its rewards; None where it gives none."""
    step_scale: RewardScale | None = None
    """Scale of its rewards of steps; None where nothing says so: then they are to be probabilities."""
    window: int = 1
    """Groups that it batches together, from the first on: a scorer that starts again at a multiple of it makes the same
    batches, and with them the same last digits."""
    relative: bool = False
    """True where rewards compare within their group only, as win rates do."""
    max_tokens: int | None = None
    """Positions in one forward pass, on which the last digits of a reward depend; None without such a limit."""


class Scorer(Protocol):
    """Gives rewards to groups: one ``GroupRewards`` per group, in the order of the input, streaming.

    At run time ``info`` may be missing, see ``info_of``: an object with ``score_groups`` alone is scored with, too.
    """

    @property
    def info(self) -> ScorerInfo:
        """Identity, settings and scale; equal as long as the scorer gives the same rewards."""
        ...

    def score_groups(self, groups: Iterable[Group]) -> Iterator[GroupRewards]:
        """Yield the rewards of each group, in order, reading no further ahead than a bounded window."""
        ...


@runtime_checkable
class HasLengths(Protocol):
    """A scorer whose recipe sets the length limit of a conversation, and the truncation of longer ones."""

    def with_lengths(self, max_length: int | None, truncation: Truncation | None, *, name: str) -> Scorer:
        """Return the scorer with another longest conversation and truncation in its recipe; None keeps its own.

        Both change rewards, and with them ``recipe_hash``. The models are shared with the scorer this is called on,
        and their recipes change with it. ``name`` is the scorer's in errors.

        Raises:
            ConfigError: when the backbone has no positions for so long a conversation; when the end of responses is to
                be cut, and the scorer reads rewards there, or cannot report truncation.
        """
        ...


def windows(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    """Yield the items in lists of ``size``, of which the last may be shorter, reading one list ahead."""
    iterator = iter(items)
    while window := list(itertools.islice(iterator, size)):
        yield window


def short_hash(parts: object) -> str:
    """Return 16 hexadecimal digits of a hash of ``repr(parts)``."""
    return hashlib.blake2b(repr(parts).encode(), digest_size=8).hexdigest()


def finite_or_none(values: Iterable[float]) -> tuple[float | None, ...]:
    """Return the values as Python numbers, None for NaN and infinities."""
    return tuple(float(value) if math.isfinite(value) else None for value in values)


def info_of(scorer: Scorer) -> ScorerInfo:
    """Return ``scorer.info``; of a scorer without one, what plaudit 0.1 asked: hashes, and whether it compares.

    Raises:
        ModelError: when ``info`` is no ``ScorerInfo``.
    """
    # Looked up on the class first: an error inside ``info`` must not read as a scorer that has none.
    if hasattr(type(scorer), "info") or "info" in getattr(scorer, "__dict__", {}):
        found = scorer.info
        if not isinstance(found, ScorerInfo):
            raise ModelError(f"info of {type(scorer).__name__} is {type(found).__name__}; it must be a ScorerInfo")
        return found
    recipe, weights = (getattr(scorer, name, None) for name in ("recipe_hash", "head_hash"))
    return ScorerInfo(recipe, weights, relative=bool(getattr(scorer, "compares", False)))


def score_responses(
    scorer: Scorer, prompt: str | Sequence[Message | Mapping[str, str]], responses: Sequence[str]
) -> tuple[float | None, ...]:
    """Return one reward per response to ``prompt``, a text (one user turn) or a conversation.

    It is None for a response that has none (it is empty, say, or too long); a warning says why.

    Raises:
        InvalidGroupError: when the prompt or a response is not valid.
    """
    if isinstance(responses, str):
        raise InvalidGroupError("responses is one string; it must be a list of strings")
    (scored,) = scorer.score_groups([Group(prompt=conversation(prompt), responses=tuple(responses), id="0")])
    missing = [str(k) for k, reward in enumerate(scored.rewards) if reward is None]
    if missing:
        warnings.warn(f"no reward for response {', '.join(missing)}: {scored.reason}", stacklevel=3)
    return scored.rewards


def with_lengths(scorer: Scorer, max_length: int | None, truncation: Truncation | None, *, name: str) -> Scorer:
    """Return the scorer with another longest conversation and truncation (see ``HasLengths``); as it is for two None.

    Raises:
        ConfigError: when ``scorer`` has no recipe to change, or its own refuses the change.
    """
    if max_length is None and truncation is None:
        return scorer
    if not isinstance(scorer, HasLengths):
        raise ConfigError(f"{name} has no scoring recipe here; --max-length and --truncation are of a model")
    return scorer.with_lengths(max_length, truncation, name=name)
