"""Several scorers as one: their mean, their minimum, or their mean less their disagreement."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, assert_never, get_args

import numpy as np
import numpy.typing as npt

from plaudit.data.schema.group import Group
from plaudit.errors import ConfigError, ModelError, UnknownNameError, closest_or_all
from plaudit.scoring.scorer import GivesLogOdds, GroupRewards, Identified, Scorer, compares

Rule = Literal["mean", "minimum", "mean_minus_std"]
Float64Array = npt.NDArray[np.float64]

WINDOW = 256
"""Groups that are handed to each member at a time; the memory of an ensemble does not grow beyond them."""


@dataclass(frozen=True, slots=True)
class Scale:
    """The mean and the standard deviation of a member's rewards, by which they are standardised: (r − mean) ÷ std."""

    mean: float
    std: float

    def __post_init__(self) -> None:
        """Check that both are numbers and the standard deviation is above 0."""
        if not (math.isfinite(self.mean) and math.isfinite(self.std) and self.std > 0):
            raise ConfigError(f"a scale needs a finite mean and a std above 0, not {self.mean} and {self.std}")


class EnsembleScorer:
    r"""A ``Scorer`` that asks several others and puts their rewards together.

    With the rewards :math:`r_1 \dots r_M` of the members for one response, their mean :math:`\bar r` and their standard
    deviation :math:`s = \sqrt{\frac{1}{M} \sum_i (r_i - \bar r)^2}` (over the M members at hand: no M − 1), the reward
    is

    - ``mean``: :math:`\bar r`;
    - ``minimum``: :math:`\min_i r_i`, worst-case optimisation;
    - ``mean_minus_std``: :math:`\bar r - \lambda s` with λ = ``penalty``,

    and :math:`s` is the ``uncertainty``. Members that were trained apart differ in offset and scale, since preferences
    fix no offset: under ``minimum`` the member with the lowest one would decide alone, and :math:`s` would measure
    offsets. ``scales`` standardises the rewards of each member first; ``measure_scales`` finds them on groups of your
    own. Without it the members should have been trained alike, with their rewards centred.

    Members that compare responses (see ``PairwiseScorer``) give win rates, which lie within 0 to 1 and need no scale:
    they stand together with their like only, and take no ``scales``.

    Attributes that every member has are put together by the same rule; so are steps, where every member gives a
    response equally many, and none falls below 0 where all members give probabilities. ``scales`` do not touch them.
    What only some members have is left out. A response that a member could not score has no reward, and the reason
    names the member.

    Source: Coste et al. (2024), arXiv 2310.02743 (mean, worst-case and uncertainty-weighted optimisation; the last
    takes λ · s², the variance); Eisenstein et al. (2023), arXiv 2312.09244 (mean, minimum, mean minus std).
    """

    def __init__(
        self,
        members: Sequence[Scorer],
        rule: Rule = "mean",
        *,
        penalty: float = 1.0,
        scales: Sequence[Scale] | None = None,
        names: Sequence[str] | None = None,
    ) -> None:
        """Ask ``members``, which ``names`` names in reasons, and put their rewards together by ``rule``.

        Raises:
            UnknownNameError: for another rule.
            ConfigError: for fewer than two members, a penalty below 0, scales or names that are not one per member, or
                members that compare responses beside others or with scales.
        """
        if rule not in get_args(Rule):
            raise UnknownNameError(f"unknown rule {rule!r}; {closest_or_all(rule, get_args(Rule))}")
        if len(members) < 2:
            raise ConfigError(f"an ensemble needs at least two members, not {len(members)}")
        if not (math.isfinite(penalty) and penalty >= 0):
            raise ConfigError(f"penalty is {penalty}; it must be a number from 0")
        for what, given in (("scales", scales), ("names", names)):
            if given is not None and len(given) != len(members):
                raise ConfigError(f"{what} has {len(given)} entries for {len(members)} members")
        self.members = tuple(members)
        self.rule: Rule = rule
        self.penalty = penalty
        self.scales = None if scales is None else tuple(scales)
        self.names = tuple(names) if names is not None else tuple(f"member {k + 1}" for k in range(len(members)))
        self._check_units()

    def _check_units(self) -> None:
        comparing = [name for name, member in zip(self.names, self.members, strict=True) if compares(member)]
        others = [name for name in self.names if name not in comparing]
        if comparing and others:
            raise ConfigError(
                f"{_listed(comparing)} compare{'s' * (len(comparing) == 1)} responses and {_listed(others)} "
                f"{'do' if len(others) > 1 else 'does'} not; win rates have no common unit with rewards of responses "
                "by themselves: put together members of one kind"
            )
        if comparing and self.scales is not None:
            raise ConfigError(f"{_listed(comparing)} give win rates, which lie within 0 to 1 and take no scale")

    @property
    def recipe_hash(self) -> str:
        """Return a short hash of the rule, the penalty, the scales and the members' own recipes."""
        own = [member.recipe_hash if isinstance(member, Identified) else None for member in self.members]
        return _digest([self.rule, self.penalty, self.scales, own])

    @property
    def head_hash(self) -> str:
        """Return a short hash of weights of the members, by which ensembles of one recipe can be told apart."""
        return _digest([member.head_hash if isinstance(member, Identified) else None for member in self.members])

    @property
    def compares(self) -> bool:
        """Whether the members compare responses, so that a reward is a number of its group."""
        return compares(self.members[0])

    def in_log_odds(self) -> EnsembleScorer:
        """Return the ensemble of members that give log-odds, where they can; any other is left as it is.

        Under ``mean`` σ of a difference of rewards is then the probability that the members' mean log-odds stand for;
        ``minimum`` and ``mean_minus_std`` are cautious rewards, whose differences only rank.
        """
        members = [each.in_log_odds() if isinstance(each, GivesLogOdds) else each for each in self.members]
        return EnsembleScorer(members, self.rule, penalty=self.penalty, scales=self.scales, names=self.names)

    def score_groups(self, groups: Iterable[Group]) -> Iterator[GroupRewards]:
        """Yield the rewards of each group, in order, reading at most ``WINDOW`` groups ahead.

        Raises:
            ModelError: when a member breaks the protocol: another number of results, of rewards, or another order.
        """
        iterator = iter(groups)
        while window := list(itertools.islice(iterator, WINDOW)):
            columns = [
                _checked(window, list(member.score_groups(window)), name)
                for member, name in zip(self.members, self.names, strict=True)
            ]
            for group, *found in zip(window, *columns, strict=True):
                yield self._together(group, found)

    def _together(self, group: Group, found: Sequence[GroupRewards]) -> GroupRewards:
        table = np.asarray([_numbers(each.rewards) for each in found])
        if self.scales is not None:
            table = np.asarray([(row - by.mean) / by.std for row, by in zip(table, self.scales, strict=True)])
        shared = [name for name in found[0].attributes if all(name in each.attributes for each in found)]
        return GroupRewards(
            id=group.id,
            rewards=_finite(self._by_rule(table)),
            attributes={
                name: _finite(self._by_rule(np.asarray([_numbers(each.attributes[name]) for each in found])))
                for name in shared
            },
            steps=self._steps(found),
            uncertainty=_finite(table.std(axis=0)),
            reason=self._reason(found, table),
        )

    def _by_rule(self, table: Float64Array) -> Float64Array:
        """Return one number per column of ``[member, column]``; NaN where a member has none."""
        match self.rule:
            case "mean":
                return table.mean(axis=0)
            case "minimum":
                return table.min(axis=0)
            case "mean_minus_std":
                return table.mean(axis=0) - self.penalty * table.std(axis=0)
            case _:
                assert_never(self.rule)

    def _steps(self, found: Sequence[GroupRewards]) -> tuple[tuple[float, ...] | None, ...] | None:
        of_members = [each.steps for each in found if each.steps is not None]
        if len(of_members) < len(found):
            return None
        together: list[tuple[float, ...] | None] = []
        for of_response in zip(*of_members, strict=True):
            given = [steps for steps in of_response if steps is not None]
            alike = len(given) == len(found) and len({len(steps) for steps in given}) == 1
            together.append(self._of_steps(np.asarray(given, dtype=float)) if alike else None)
        return tuple(together)

    def _of_steps(self, table: Float64Array) -> tuple[float, ...]:
        """Return one reward per step of ``[member, step]``, from 0 where all members give probabilities.

        A single one below 0 would make an evaluation read all of them as log-odds.
        """
        rewards = self._by_rule(table)
        are_probabilities = bool(((table >= 0.0) & (table <= 1.0)).all())
        return tuple((np.maximum(rewards, 0.0) if are_probabilities else rewards).tolist())

    def _reason(self, found: Sequence[GroupRewards], table: Float64Array) -> str | None:
        """Return why rewards are missing, each reason once with the members that gave it; None where none is."""
        by_reason: dict[str, list[int]] = {}
        for index, (each, row) in enumerate(zip(found, table, strict=True)):
            if not np.isfinite(row).all():
                by_reason.setdefault(each.reason or "no finite reward and no reason", []).append(index)
        said = [
            f"{reason}, by member{'s' * (len(indices) > 1)} {_listed(str(k + 1) for k in indices)} of {len(found)}: "
            f"{_listed(self.names[k] for k in indices)}"
            for reason, indices in by_reason.items()
        ]
        return "; ".join(said) or None


def measure_scales(members: Sequence[Scorer], groups: Iterable[Group]) -> tuple[Scale, ...]:
    """Return the mean and the standard deviation (over the n rewards, no n − 1) of each member's rewards of ``groups``.

    Rewards that are missing are left out; a response counts for a member whether or not the others could score it.

    Raises:
        ConfigError: when a member gives fewer than two different rewards, so that it has no scale.
    """
    iterator = iter(groups)
    pieces: list[list[Float64Array]] = [[] for _ in members]
    while window := list(itertools.islice(iterator, WINDOW)):
        for own, member in zip(pieces, members, strict=True):
            own.extend(_numbers(each.rewards) for each in member.score_groups(window))
    scales = []
    for number, own in enumerate(pieces, start=1):
        rewards = np.concatenate([np.zeros(0), *own])
        rewards = rewards[np.isfinite(rewards)]
        if len(np.unique(rewards)) < 2:
            raise ConfigError(f"member {number} gave {len(rewards)} rewards and no two different ones: it has no scale")
        scales.append(Scale(float(rewards.mean()), float(rewards.std())))
    return tuple(scales)


def _checked(window: Sequence[Group], found: Sequence[GroupRewards], name: str) -> Sequence[GroupRewards]:
    if [each.id for each in found] != [group.id for group in window]:
        raise ModelError(
            f"{name} answered {len(found)} groups for {len(window)}, or in another order; a scorer answers each group "
            "in the order of its input"
        )
    for group, each in zip(window, found, strict=True):
        if len(each.rewards) != len(group.responses):
            count = len(group.responses)
            raise ModelError(f"{name} gave {len(each.rewards)} rewards for the {count} responses of group {group.id!r}")
    return found


def _numbers(values: Sequence[float | None]) -> Float64Array:
    """Return the values, NaN for what is missing or not finite."""
    return np.asarray([value if value is not None and math.isfinite(value) else math.nan for value in values], float)


def _finite(values: Float64Array) -> tuple[float | None, ...]:
    return tuple(value if math.isfinite(value) else None for value in values.tolist())


def _listed(words: Iterable[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def _digest(parts: Sequence[object]) -> str:
    return hashlib.blake2b(repr(parts).encode(), digest_size=8).hexdigest()
