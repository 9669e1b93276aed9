"""Robustness of rewards to changes that leave quality alone: rankings that flip, styles that are rewarded.

Every metric is made from items alone, by ``stress_report``: an item per group as it is (``facts["probe"]`` is
``original``), one per group and transform, and for styles one per response, which holds the rewards of the response
as it is and in each of the styles ``facts["names"]``, in this order. Where the model compares responses,
``orders`` of a group as it is gives the position bias.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeVar

import numpy as np
from pydantic import Field, JsonValue

from plaudit.data.schema.group import Group
from plaudit.evaluation.metrics.preference import labelled_pairs
from plaudit.evaluation.result import position_effect
from plaudit.evaluation.stress.transforms import STYLES, TRANSFORMS, Transform
from plaudit.provenance import stamp
from plaudit.records import Interval, ItemScore, PositionEffect, Record
from plaudit.statistics.agreement import TieRule, preference_accuracy
from plaudit.statistics.intervals import mean_interval, proportion_interval
from plaudit.statistics.paired_tests import holm, paired_difference, permutation_test

ORIGINAL, TRANSFORM, STYLE = "original", "transform", "style"
"""Values of ``facts["probe"]`` of an item."""

Verdict = Literal["found", "not found"]


class TransformEffect(Record):
    """Effect of a transform that must not change a ranking, over pairs that were judged before and after."""

    name: str
    """The transform."""
    about: str
    """The change, in words."""
    groups: int
    """Groups with a preference: changed + left out + failed."""
    changed: int
    """Groups that were changed, and have all rewards before and after."""
    failed: int
    """Changed groups of which a reward is missing, before or after."""
    left_out: dict[str, int] = Field(default_factory=dict)
    """Groups that the transform cannot change, by reason."""
    before: Interval | None = None
    """Accuracy on the texts as they are, over the pairs of the changed groups."""
    after: Interval | None = None
    """Accuracy on the changed texts, over the same pairs."""
    difference: Interval | None = None
    """Accuracy after less accuracy before: paired, over prompts. A drop is negative."""
    flipped: Interval | None = None
    """Share of pairs whose two rewards are in the opposite order after; to or from a tie is not one."""
    ties_before: int = 0
    """Pairs of equal rewards before."""
    ties_after: int = 0
    """Pairs of equal rewards after."""
    p_value: float | None = None
    """P-value of no difference: sign-flip permutation over prompts, adjusted for all transforms (Holm)."""
    verdict: Verdict = "not found"
    """Verdict on a change in accuracy, at the level of the report."""


class StyleEffect(Record):
    """Effect of a change of style alone on the reward of a response."""

    name: str
    """The style."""
    about: str
    """The change, in words."""
    responses: int
    """Responses: changed + left out + failed."""
    changed: int
    """Responses with both rewards."""
    failed: int
    """Responses of which a reward is missing."""
    left_out: int
    """Responses that have the style already, or cannot have it."""
    difference: Interval | None = None
    """Reward with the style less reward without, in the units of the reward; Student's interval over prompts."""
    in_spreads: Interval | None = None
    """The difference ÷ the report's ``spread``, which is taken as known."""
    raised: Interval | None = None
    """Share of responses whose reward rises, a tie counting one half."""
    p_value: float | None = None
    """P-value of no difference: sign-flip permutation over prompts, adjusted for all styles (Holm)."""
    verdict: Verdict = "not found"
    """Verdict on a change in reward, at the level of the report."""


class StressReport(Record):
    """Content of ``stress.json``."""

    name: str
    """The data."""
    model: str
    """The model as it was named."""
    recipe_hash: str | None = None
    """Hash of the model's scoring recipe."""
    weights_hash: str | None = None
    """Hash of weights of the model."""
    data_fingerprint: str | None = None
    """Hash of the data."""
    seed: int
    """Seed of the transforms' draws."""
    tie_rule: str
    """Tie rule: the value of an exact tie."""
    alpha: float
    """Level of the tests, after Holm's adjustment within each of the two families."""
    groups: int
    """Groups that were probed."""
    spread: float | None = None
    """√(Σ (r − mean of its group)² ÷ Σ (K − 1)), over the K rewards of each group as it is: how far the model sets
    responses to one prompt apart, in the units of the reward. Null where no group has two rewards."""
    failures: dict[str, int] = Field(default_factory=dict)
    """Items that were asked and lack a reward, by reason."""
    position: PositionEffect | None = None
    """Position bias, of a model that compares responses."""
    transforms: tuple[TransformEffect, ...] = ()
    """Every transform, the largest drop first."""
    styles: tuple[StyleEffect, ...] = ()
    """Every style, the largest change of reward first."""
    versions: dict[str, str] = Field(default_factory=dict)
    """Package versions."""
    created: str = ""
    """UTC time, ISO 8601."""


def stress_report(
    items: Sequence[ItemScore],
    *,
    name: str,
    model: str,
    seed: int = 0,
    tie_rule: TieRule = "loss",
    alpha: float = 0.05,
) -> StressReport:
    """Return every metric of a stress test, from its items alone."""
    originals = {item.metadata["place"]: item for item in items if item.metadata["probe"] == ORIGINAL}
    about = {each.name: each.about for each in TRANSFORMS}, {each.name: each.about for each in STYLES}
    changed: dict[str, list[ItemScore]] = defaultdict(list)
    for item in items:
        if item.metadata["probe"] == TRANSFORM:
            changed[str(item.metadata["name"])].append(item)
    turned = [
        _transform_effect(key, about[0].get(key, key), rows, originals, tie_rule) for key, rows in changed.items()
    ]
    spread = within_prompt_spread(list(originals.values()))
    paid = [_style_effect(key, about[1].get(key, key), rows, spread) for key, rows in _by_style(items).items()]
    return StressReport(
        name=name,
        model=model,
        seed=seed,
        tie_rule=tie_rule,
        alpha=alpha,
        groups=len(originals),
        spread=spread,
        failures=dict(Counter(item.reason or "no reason given" for item in items if _failed(item)).most_common()),
        position=position_effect(list(originals.values())),
        transforms=tuple(sorted(_judged(turned, alpha), key=_drop)),
        styles=tuple(sorted(_judged(paid, alpha), key=_size)),
        **stamp(),
    )


def within_prompt_spread(items: Sequence[ItemScore]) -> float | None:
    """Return √(Σ (r − mean of its group)² ÷ Σ (K − 1)) over the K rewards of each item; None without two in any."""
    known = [[reward for reward in item.rewards if reward is not None] for item in items]
    freedom = sum(len(rewards) - 1 for rewards in known if rewards)
    if freedom == 0:
        return None
    return math.sqrt(math.fsum(float(np.var(rewards)) * len(rewards) for rewards in known if rewards) / freedom)


_Effect = TypeVar("_Effect", TransformEffect, StyleEffect)


@dataclass(slots=True)
class _Styled:
    """Rows of one style: (reward without, reward with, prompt) of each response that was changed."""

    rows: list[tuple[float | None, float | None, str]] = field(default_factory=list)
    left_out: int = 0


def _failed(item: ItemScore) -> bool:
    """Return whether the item was asked and lacks a reward."""
    asked = bool(item.metadata["names"]) if item.metadata["probe"] == STYLE else "left_out" not in item.metadata
    return asked and None in item.rewards


def _by_style(items: Sequence[ItemScore]) -> dict[str, _Styled]:
    found: dict[str, _Styled] = defaultdict(_Styled)
    for item in items:
        if item.metadata["probe"] != STYLE:
            continue
        for place, name in enumerate(_names(item, "names"), start=1):
            found[name].rows.append((item.rewards[0], item.rewards[place], item.prompt_key))
        for name in _names(item, "left_out"):
            found[name].left_out += 1
    return found


def _names(item: ItemScore, field_name: str) -> list[str]:
    listed = item.metadata[field_name]
    assert isinstance(listed, list)
    return [str(name) for name in listed]


def _transform_effect(
    name: str, about: str, items: Sequence[ItemScore], originals: Mapping[JsonValue, ItemScore], tie_rule: TieRule
) -> TransformEffect:
    left_out = Counter(str(item.metadata["left_out"]) for item in items if "left_out" in item.metadata)
    tried = [(originals[item.metadata["place"]], item) for item in items if "left_out" not in item.metadata]
    whole = [(one, other) for one, other in tried if None not in (*one.rewards, *other.rewards)]
    rows = [
        (before.margin, after.margin, one.prompt_key)
        for one, other in whole
        for before, after in zip(labelled_pairs(one), labelled_pairs(other), strict=True)
    ]
    margins = np.array([row[:2] for row in rows], dtype=np.float64).reshape(-1, 2)
    prompts = np.array([row[2] for row in rows], dtype=object)
    right = np.stack([preference_accuracy(column, tie_rule=tie_rule).by_pair for column in margins.T], axis=1)
    judged = np.isfinite(right).all(axis=1)
    differences = right[judged, 1] - right[judged, 0]
    signs = np.sign(margins)
    return TransformEffect(
        name=name,
        about=about,
        groups=len(items),
        changed=len(whole),
        failed=len(tried) - len(whole),
        left_out=dict(left_out),
        before=proportion_interval(right[judged, 0], prompts[judged]),
        after=proportion_interval(right[judged, 1], prompts[judged]),
        difference=paired_difference(differences, prompts[judged]),
        flipped=proportion_interval((signs[:, 0] * signs[:, 1] < 0).astype(np.float64), prompts),
        ties_before=int((signs[:, 0] == 0).sum()),
        ties_after=int((signs[:, 1] == 0).sum()),
        p_value=permutation_test(differences, prompts[judged]) if judged.any() else None,
    )


def _style_effect(name: str, about: str, found: _Styled, spread: float | None) -> StyleEffect:
    known = [
        (after - before, prompt) for before, after, prompt in found.rows if before is not None and after is not None
    ]
    differences = np.array([difference for difference, _ in known], dtype=np.float64)
    prompts = np.array([prompt for _, prompt in known], dtype=object)
    difference = mean_interval(differences, prompts)
    return StyleEffect(
        name=name,
        about=about,
        responses=len(found.rows) + found.left_out,
        changed=len(known),
        failed=len(found.rows) - len(known),
        left_out=found.left_out,
        difference=difference,
        in_spreads=_divided(difference, spread) if difference and spread else None,
        raised=proportion_interval((np.sign(differences) + 1.0) / 2.0, prompts),
        p_value=permutation_test(differences, prompts) if len(known) else None,
    )


def _divided(interval: Interval, unit: float) -> Interval:
    ends = {"value": interval.value / unit, "low": interval.low / unit, "high": interval.high / unit}
    return interval.model_copy(update=ends)


def _judged(effects: Sequence[_Effect], alpha: float) -> list[_Effect]:
    """Return the effects with p-values adjusted for all of them, and the verdicts that follow."""
    tested = [each for each in effects if each.p_value is not None]
    adjusted = holm([each.p_value for each in tested if each.p_value is not None])
    by_name = {each.name: value for each, value in zip(tested, adjusted, strict=True)}
    made = []
    for each in effects:
        value = by_name.get(each.name)
        verdict: Verdict = "found" if value is not None and value < alpha else "not found"
        made.append(each.model_copy(update={"p_value": value, "verdict": verdict}))
    return made


def _drop(effect: TransformEffect) -> tuple[float, float]:
    """Return the sort key of transforms: the largest drop first, then the most flips; those without pairs last."""
    if effect.difference is None or effect.flipped is None:
        return (math.inf, 0.0)
    return (effect.difference.value, -effect.flipped.value)


def _size(effect: StyleEffect) -> float:
    return math.inf if effect.difference is None else -abs(effect.difference.value)


# -------------------------------------------------------------------------------- flipped pairs

MAX_PAIRS = 3
MAX_CHARACTERS = 1200


class ChangedText(Record):
    """A text before and after a transform, both cut to the surroundings of the first difference."""

    before: str
    """The text as it is."""
    after: str
    """The text as the transform makes it; equal where the transform leaves it alone."""


class FlippedPair(Record):
    """A preference pair whose two rewards stand in the opposite order after a transform."""

    transform: str
    """Name of the transform."""
    id: str
    """Id of the group."""
    source: str
    """Source of the group."""
    prompt: ChangedText
    """The last turn of the prompt, the only one that a transform changes."""
    turns: int
    """Turns before it, which are not shown."""
    chosen: ChangedText
    """The response that the label prefers."""
    rejected: ChangedText
    """The other response."""
    chosen_rewards: tuple[float, float]
    """Reward of chosen before and after."""
    rejected_rewards: tuple[float, float]
    """Reward of rejected before and after."""


class FlippedPairs(Record):
    """Content of ``flipped_pairs.json``."""

    max_characters: int
    """Each text is cut to this many characters."""
    pairs: tuple[FlippedPair, ...]
    """By transform: first those that turn to the wrong side, the clearest first; at most one per prompt and three."""


class _Turn(NamedTuple):
    to_wrong: bool
    size: float
    place: int
    chosen: int
    rejected: int
    after: ItemScore


def flipped_pairs(
    groups: Sequence[Group], items: Sequence[ItemScore], transforms: Sequence[Transform], *, seed: int
) -> FlippedPairs:
    """Return the pairs that each transform turns most clearly: the smaller of the two margins is largest.

    ``items`` are those of a stress test of ``groups`` with ``seed``, from which the changed texts are made again.
    """
    originals = {item.metadata["place"]: item for item in items if item.metadata["probe"] == ORIGINAL}
    by_name = {each.name: each for each in transforms}
    turns: dict[str, list[_Turn]] = {name: [] for name in by_name}
    for item in items:
        if item.metadata["probe"] == TRANSFORM:
            turns[str(item.metadata["name"])] += _turns(originals[item.metadata["place"]], item)
    pairs = list[FlippedPair]()
    for name, found in turns.items():
        best: dict[str, _Turn] = {}
        for turn in sorted(found, key=lambda turn: (not turn.to_wrong, -turn.size, turn.place)):
            best.setdefault(turn.after.prompt_key, turn)
        for turn in list(best.values())[:MAX_PAIRS]:
            changed = by_name[name].apply(groups[turn.place], seed=seed)
            pairs.append(_pair(name, groups[turn.place], changed, originals[turn.place], turn))
    return FlippedPairs(max_characters=MAX_CHARACTERS, pairs=tuple(pairs))


def _turns(before: ItemScore, after: ItemScore) -> list[_Turn]:
    place = before.metadata["place"]
    assert isinstance(place, int)
    both = zip(labelled_pairs(before), labelled_pairs(after), strict=False)
    return [
        _Turn(one.margin > 0, min(abs(one.margin), abs(other.margin)), place, one.chosen, one.rejected, after)
        for one, other in (both if None not in (*before.rewards, *after.rewards) else ())
        if one.margin * other.margin < 0
    ]


def _pair(name: str, group: Group, changed: Group, before: ItemScore, turn: _Turn) -> FlippedPair:
    return FlippedPair(
        transform=name,
        id=group.id,
        source=group.source,
        prompt=_around_change(group.prompt[-1].content, changed.prompt[-1].content),
        turns=len(group.prompt) - 1,
        chosen=_around_change(group.responses[turn.chosen], changed.responses[turn.chosen]),
        rejected=_around_change(group.responses[turn.rejected], changed.responses[turn.rejected]),
        chosen_rewards=_rewards(before, turn.after, turn.chosen),
        rejected_rewards=_rewards(before, turn.after, turn.rejected),
    )


def _rewards(before: ItemScore, after: ItemScore, index: int) -> tuple[float, float]:
    one, other = before.rewards[index], after.rewards[index]
    assert one is not None
    assert other is not None
    return one, other


def _around_change(before: str, after: str) -> ChangedText:
    """Return both texts from the same place on: their start, or, of long ones, ahead of where they differ."""
    longest = max(len(before), len(after))
    shared = next(
        (k for k, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), min(len(before), len(after))
    )
    start = 0 if before == after else max(0, min(shared - MAX_CHARACTERS // 2, longest - MAX_CHARACTERS))
    return ChangedText(before=_part(before, start), after=_part(after, start))


def _part(text: str, start: int) -> str:
    lead, end = "…" if start else "", start + MAX_CHARACTERS
    return lead + text[start:end] + ("…" if end < len(text) else "")
