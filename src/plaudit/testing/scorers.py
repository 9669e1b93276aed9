"""The contract of every ``Scorer``, as checks to run on one's own: ``check_scorer(make, groups)`` in a test."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import cycle, islice
from typing import get_args

from plaudit.data.schema.group import Group, Step
from plaudit.records import RewardScale
from plaudit.scoring.scorer import GroupRewards, Scorer, ScorerInfo, info_of

MakeScorer = Callable[[], Scorer]


def check_scorer(
    make_scorer: MakeScorer,
    groups: Sequence[Group],
    *,
    unscorable: Sequence[Group] = (),
    others: Sequence[MakeScorer] = (),
    read_ahead: int | None = None,
    looks_up: bool = False,
    tolerance: float = 1e-5,
) -> None:
    """Check that a scorer keeps the contract that evaluation, resuming and training rely on.

    ``make_scorer`` makes the same scorer each time; ``groups`` are at least two that it can score, one with three
    responses or more. ``unscorable`` are groups of which some response can have no reward. ``others`` make scorers that
    differ in one setting each. ``read_ahead`` is how many groups beyond those answered may be read, by default
    ``info.window``. ``looks_up`` is for a scorer that finds rewards by the id of a group and scores no changed one.
    ``tolerance`` is the largest difference, relative or absolute, of two rewards that are to be the same.

    Raises:
        AssertionError: naming the promise that is broken, and the group.
    """
    _check_info(make_scorer, others)
    found = _scored(make_scorer(), groups)
    for group, rewards in zip(groups, found, strict=True):
        _check_rewards(group, rewards, info_of(make_scorer()))
    _check_empty(make_scorer())
    _check_reading(make_scorer(), groups, read_ahead)
    _check_batches(make_scorer(), groups, found, tolerance)
    if not looks_up:
        _check_labels(make_scorer(), groups, found, tolerance)
        _check_responses(make_scorer(), groups, found, tolerance)
    if unscorable:
        _check_failures(make_scorer(), groups, unscorable, found, tolerance)


def _require(holds: bool, promise: str) -> None:
    if not holds:
        raise AssertionError(promise)


def _scored(scorer: Scorer, groups: Sequence[Group]) -> list[GroupRewards]:
    """Return the rewards of ``groups``, after a check that there is one of each, in order."""
    found = list(scorer.score_groups(iter(groups)))
    ids = [group.id for group in groups]
    _require(
        [rewards.id for rewards in found] == ids,
        f"a scorer answers each group once, in order: {ids} were asked and {[each.id for each in found]} answered",
    )
    return found


def _check_info(make_scorer: MakeScorer, others: Sequence[MakeScorer]) -> None:
    scorer = make_scorer()
    info = info_of(scorer)
    _require(info == info_of(scorer) == info_of(make_scorer()), "info is the same each time it is asked for")
    try:
        json.dumps(dict(info.settings), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise AssertionError(f"the settings of info are JSON, but {error}") from None
    _require(info.scale is None or info.scale in get_args(RewardScale), f"info.scale is {info.scale!r}, no RewardScale")
    _require(info.window >= 1, f"info.window is {info.window}; a scorer batches at least one group")
    _require(info.relative or info.strengths is None, "strengths stand beside relative rewards only")
    seen = {(info.recipe_hash, info.weights_hash)}
    for number, make_other in enumerate(others):
        other = info_of(make_other())
        hashes = (other.recipe_hash, other.weights_hash)
        _require(hashes not in seen, f"other {number} has another setting, but the hashes {hashes} of one before it")
        seen.add(hashes)


def _check_rewards(group: Group, rewards: GroupRewards, info: ScorerInfo) -> None:
    count, of = len(group.responses), f"of group {group.id!r}"
    columns = {"rewards": rewards.rewards, "uncertainty": rewards.uncertainty, "strengths": rewards.strengths}
    columns |= {f"attribute {name}": values for name, values in rewards.attributes.items()}
    for name, column in (*columns.items(), ("steps", rewards.steps)):
        _require(column is None or len(column) == count, f"{name} {of} are not one for each of {count} responses")
    numbers = [each for column in columns.values() for each in column or ()]
    numbers += [each for steps in rewards.steps or () for each in steps or ()]
    numbers += [each for pair in rewards.comparisons for each in pair]
    odd = [each for each in numbers if each is not None and not math.isfinite(each)]
    _require(not odd, f"a number {of} is {odd[:1]}; what is not finite is None, with the reason")
    has_missing = None in rewards.rewards
    _require(not has_missing or bool(rewards.reason), f"a reward {of} is missing without a reason")
    _require((rewards.strengths is None) == (info.strengths is None), f"strengths {of} are not as info says")
    if rewards.strengths is not None:
        missing = [each is None for each in rewards.strengths]
        _require(missing == [each is None for each in rewards.rewards], f"strengths {of} miss where rewards do not")


def _check_empty(scorer: Scorer) -> None:
    _require(list(scorer.score_groups(())) == [], "no groups have no rewards")


def _check_reading(scorer: Scorer, groups: Sequence[Group], read_ahead: int | None) -> None:
    """Give groups without an end, and count how many are read before each answer."""
    limit = info_of(scorer).window if read_ahead is None else read_ahead
    answered, read = 0, 0

    def endless() -> Iterator[Group]:
        nonlocal read
        for group in cycle(groups):
            read += 1
            _require(
                read <= answered + limit,
                f"the scorer has read {read} groups and answered {answered}; it may read {limit} ahead",
            )
            yield group

    stream = scorer.score_groups(endless())
    for _ in islice(stream, 2 * limit + len(groups)):
        answered += 1
    close = getattr(stream, "close", None)
    if close is not None:
        close()


def _check_batches(scorer: Scorer, groups: Sequence[Group], found: Sequence[GroupRewards], tolerance: float) -> None:
    _same(groups, _scored(scorer, groups), found, tolerance, "from a scorer that is made anew")
    _same(groups, _scored(scorer, groups), found, tolerance, "when it is asked a second time")
    turned = _scored(scorer, groups[::-1])[::-1]
    _same(groups, turned, found, tolerance, "in another order of the groups")
    alone = [_scored(scorer, [group])[0] for group in groups]
    _same(groups, alone, found, tolerance, "for a group by itself")


def _check_labels(scorer: Scorer, groups: Sequence[Group], found: Sequence[GroupRewards], tolerance: float) -> None:
    bare = [_chosen(group, range(len(group.responses))) for group in groups]
    _same(groups, _scored(scorer, bare), found, tolerance, "without its labels, which a scorer does not look at")


def _check_responses(scorer: Scorer, groups: Sequence[Group], found: Sequence[GroupRewards], tolerance: float) -> None:
    """Check responses in another order, twice, and, where rewards are not relative, each by itself."""
    for group, rewards in zip(groups, found, strict=True):
        count, of = len(group.responses), f"group {group.id!r}"
        (turned,) = _scored(scorer, [_chosen(group, range(count - 1, -1, -1))])
        _close(turned.rewards[::-1], rewards.rewards, tolerance, f"rewards follow the responses in another order, {of}")
        (twice,) = _scored(scorer, [_chosen(group, [*range(count), 0])])
        _close(twice.rewards[:1], twice.rewards[-1:], tolerance, f"a response that stands twice has one reward, {of}")
        if not info_of(scorer).relative:
            own = [_scored(scorer, [_chosen(group, [k])])[0].rewards[0] for k in range(count)]
            _close(own, rewards.rewards, tolerance, f"a reward does not depend on the other responses, {of}")


def _check_failures(
    scorer: Scorer,
    groups: Sequence[Group],
    unscorable: Sequence[Group],
    found: Sequence[GroupRewards],
    tolerance: float,
) -> None:
    """Check that a group that cannot be scored says why, and takes neither its neighbours nor its siblings along."""
    info = info_of(scorer)
    for group in unscorable:
        mixed = _scored(scorer, [groups[0], group, *groups[1:]])
        broken = mixed.pop(1)
        _require(None in broken.rewards, f"group {group.id!r} cannot be scored, but no reward of it is missing")
        _check_rewards(group, broken, info)
        _same(groups, mixed, found, tolerance, f"beside group {group.id!r}, which cannot be scored")
        if info.relative:
            continue
        own = [_scored(scorer, [_chosen(group, [k])])[0].rewards[0] for k in range(len(group.responses))]
        _close(
            broken.rewards, own, tolerance, f"a response that has no reward takes no other along, group {group.id!r}"
        )


def _chosen(group: Group, indices: Iterable[int]) -> Group:
    """Return the group with some of its responses, in this order, and no label."""
    chosen = list(indices)
    steps = None
    if group.steps is not None:
        of_each = [group.steps[k] for k in chosen]
        steps = tuple(None if own is None else tuple(Step(step.end, None) for step in own) for own in of_each)
    return Group(group.prompt, tuple(group.responses[k] for k in chosen), steps=steps, id=group.id, source=group.source)


def _same(
    groups: Sequence[Group],
    found: Sequence[GroupRewards],
    wanted: Sequence[GroupRewards],
    tolerance: float,
    when: str,
) -> None:
    for group, one, other in zip(groups, found, wanted, strict=True):
        promise = f"group {group.id!r} has the same rewards {when}"
        _close(one.rewards, other.rewards, tolerance, promise)
        _require(one.attributes.keys() == other.attributes.keys(), f"{promise}, and the same attributes")
        for name, values in one.attributes.items():
            _close(values, other.attributes[name], tolerance, f"{promise}, and attribute {name}")
        for own, others in zip(one.steps or (), other.steps or (), strict=True):
            _close(own or (), others or (), tolerance, f"{promise}, and steps")


def _close(found: Sequence[float | None], wanted: Sequence[float | None], tolerance: float, promise: str) -> None:
    """Check that the numbers are equal up to ``tolerance``, and missing at the same places."""
    equal = len(found) == len(wanted) and all(
        one is other if one is None or other is None else math.isclose(one, other, rel_tol=tolerance, abs_tol=tolerance)
        for one, other in zip(found, wanted, strict=True)
    )
    _require(equal, f"{promise}: {list(found)} for {list(wanted)}")
