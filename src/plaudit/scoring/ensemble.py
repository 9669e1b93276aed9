"""Several scorers as one: their mean, their minimum, or their mean less their disagreement.

Their rewards may be standardised first, by scales that are measured or named as MODEL@MEAN/STD.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, assert_never, get_args

import numpy as np
import numpy.typing as npt
from pydantic import JsonValue

from plaudit.batching.truncation import Truncation
from plaudit.data.schema.group import Group
from plaudit.errors import ConfigError, ModelError, UnknownNameError, closest_or_all
from plaudit.records import RewardScale
from plaudit.scoring.scorer import (
    WINDOW,
    GroupRewards,
    ResponseTruncation,
    Scorer,
    ScorerInfo,
    finite_or_none,
    info_of,
    short_hash,
    windows,
    with_lengths,
)

Rule = Literal["mean", "minimum", "mean_minus_std"]
Float64Array = npt.NDArray[np.float64]

_SCALED = re.compile(r"(?P<model>.+)@(?P<mean>[-+.\deE]+)/(?P<std>[-+.\deE]+)")


@dataclass(frozen=True, slots=True)
class Scale:
    """The mean and the standard deviation of a member's rewards, by which they are standardised: (r − mean) ÷ std."""

    mean: float
    std: float

    def __post_init__(self) -> None:
        """Check that both are numbers and the standard deviation is above 0."""
        if not (math.isfinite(self.mean) and math.isfinite(self.std) and self.std > 0):
            raise ConfigError(f"a scale needs a finite mean and a std above 0, not {self.mean} and {self.std}")


def scaled_name(text: str) -> tuple[str, Scale | None]:
    """Return ``MODEL@MEAN/STD`` as the name and the scale; the text and None where it names no scale.

    Raises:
        ConfigError: when the mean or the standard deviation is no number, or out of range.
    """
    found = _SCALED.fullmatch(text)
    if found is None:
        return text, None
    return found["model"], Scale(_number(found["mean"], text), _number(found["std"], text))


def measure_scales(members: Sequence[Scorer], groups: Iterable[Group]) -> tuple[Scale, ...]:
    """Return the mean and the standard deviation (over the n rewards, no n − 1) of each member's rewards of ``groups``.

    Rewards that are missing are left out; a response counts for a member whether or not the others could score it.

    Raises:
        ConfigError: when a member gives fewer than two different rewards, so that it has no scale.
    """
    pieces: list[list[Float64Array]] = [[] for _ in members]
    for window in windows(groups, WINDOW):
        for own, member in zip(pieces, members, strict=True):
            own.extend(finite_or_nan(each.rewards) for each in member.score_groups(window))
    scales = []
    for number, own in enumerate(pieces, start=1):
        rewards = np.concatenate([np.zeros(0), *own])
        rewards = rewards[np.isfinite(rewards)]
        if len(np.unique(rewards)) < 2:
            raise ConfigError(f"member {number} gave {len(rewards)} rewards and no two different ones: it has no scale")
        scales.append(Scale(float(rewards.mean()), float(rewards.std())))
    return tuple(scales)


def finite_or_nan(values: Sequence[float | None]) -> Float64Array:
    """Return the values, NaN for those missing or not finite."""
    return np.asarray([value if value is not None and math.isfinite(value) else math.nan for value in values], float)


def _number(word: str, place: str) -> float:
    try:
        return float(word)
    except ValueError:
        raise ConfigError(f"{place}: {word!r} is not a number") from None


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
    Those that only some members have are left out. A response that a member could not score has no reward, and the
    reason names the member.

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
        comparing = [name for name, member in zip(self.names, self.members, strict=True) if info_of(member).relative]
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
    def info(self) -> ScorerInfo:
        """Hashes of the rule, the penalty, the scales and the members; the scale and the strengths that they share."""
        members = [info_of(member) for member in self.members]
        scales: JsonValue = None
        if self.scales is not None:
            scales = [{"mean": each.mean, "std": each.std} for each in self.scales]
        named: dict[str, JsonValue] = {
            name: dict(each.settings) for name, each in zip(self.names, members, strict=True)
        }
        own, strengths = [each.recipe_hash for each in members], [each.strengths for each in members]
        return ScorerInfo(
            recipe_hash=short_hash([self.rule, self.penalty, self.scales, own]),
            weights_hash=short_hash([each.weights_hash for each in members]),
            settings={"rule": self.rule, "penalty": self.penalty, "scales": scales, "members": named},
            scale=self._shared_scale([each.scale for each in members]),
            step_scale=self._shared_step_scale([each.step_scale for each in members]),
            strengths=None if None in strengths else self._shared_scale(strengths),
            window=WINDOW if any(each.window > 1 for each in members) else 1,
            relative=members[0].relative,
        )

    def _shared_scale(self, of_members: Sequence[RewardScale | None]) -> RewardScale | None:
        """Return the one scale of all members: a cautious rule keeps ratings and probabilities, and unmakes log-odds.

        Under ``mean`` σ of a difference of strengths is the probability that the members' mean log-odds stand for.
        """
        if self.scales is not None:
            return "order"
        found = set(of_members)
        if found == {"log_odds_values", "log_odds_differences"}:
            return "log_odds_differences" if self.rule == "mean" else "order"
        if len(found) > 1:
            return None
        are_log_odds = found & {"log_odds_values", "log_odds_differences", "assumed_log_odds_differences"}
        return "order" if are_log_odds and self.rule != "mean" else of_members[0]

    def _shared_step_scale(self, of_members: Sequence[RewardScale | None]) -> RewardScale | None:
        """Return the one scale of the rewards of steps of all members; they are put together without ``scales``."""
        found = set(of_members)
        if len(found) > 1:
            return "order"
        return of_members[0] if self.rule == "mean" or found == {"probabilities"} else None

    def with_lengths(self, max_length: int | None, truncation: Truncation | None, *, name: str) -> EnsembleScorer:
        """Return the ensemble of members with another longest conversation and truncation, see ``HasLengths``."""
        if truncation == "truncate_response":
            raise ConfigError(
                f"truncation is truncate_response, but {name} puts members together that may be cut differently; it "
                "must be truncate_prompt or drop"
            )
        members = [
            with_lengths(member, max_length, truncation, name=own)
            for member, own in zip(self.members, self.names, strict=True)
        ]
        return EnsembleScorer(members, self.rule, penalty=self.penalty, scales=self.scales, names=self.names)

    def score_groups(self, groups: Iterable[Group]) -> Iterator[GroupRewards]:
        """Yield the rewards of each group, in order, reading at most ``WINDOW`` groups ahead.

        Raises:
            ModelError: when a member breaks the protocol: another number of results, of rewards, or another order.
        """
        for window in windows(groups, WINDOW):
            columns = [
                _checked(window, list(member.score_groups(window)), name)
                for member, name in zip(self.members, self.names, strict=True)
            ]
            for group, *found in zip(window, *columns, strict=True):
                yield self._together(group, found)

    def _together(self, group: Group, found: Sequence[GroupRewards]) -> GroupRewards:
        table = np.asarray([finite_or_nan(each.rewards) for each in found])
        if self.scales is not None:
            table = np.asarray([(row - by.mean) / by.std for row, by in zip(table, self.scales, strict=True)])
        shared = [name for name in found[0].attributes if all(name in each.attributes for each in found)]
        return GroupRewards(
            id=group.id,
            rewards=finite_or_none(self._by_rule(table)),
            attributes={name: self._combined([each.attributes[name] for each in found]) for name in shared},
            steps=self._steps(found),
            uncertainty=finite_or_none(table.std(axis=0)),
            reason=self._reason(found, table),
            strengths=self._strengths(found),
            truncation=_truncation(found),
        )

    def _strengths(self, found: Sequence[GroupRewards]) -> tuple[float | None, ...] | None:
        of_members = [each.strengths for each in found if each.strengths is not None]
        return self._combined(of_members) if len(of_members) == len(found) else None

    def _combined(self, of_members: Sequence[Sequence[float | None]]) -> tuple[float | None, ...]:
        return finite_or_none(self._by_rule(np.asarray([finite_or_nan(values) for values in of_members])))

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
        """Return one reward per step of ``[member, step]``, from 0 where all members give probabilities."""
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


def _truncation(found: Sequence[GroupRewards]) -> ResponseTruncation | None:
    """Return the most that a member lost of each response; None where none lost anything."""
    of_members = [each.truncation for each in found if each.truncation is not None]
    if not of_members:
        return None
    tokens = tuple(max(lost) for lost in zip(*(each.tokens for each in of_members), strict=True))
    return ResponseTruncation(tokens, max(each.identical for each in of_members))


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


def _listed(words: Iterable[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last
