"""Best of n by a scorer's reward: its expected gold reward, for a scorer and for a label of scored items."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from plaudit.data.schema.group import Group
from plaudit.errors import DataError
from plaudit.evaluation.metrics.metric_set import MetricSet, Status
from plaudit.evaluation.store.items import prompt_hash, scored_groups
from plaudit.records import BestOfNCurve, Interval, ItemScore, Record
from plaudit.scoring.scorer import Scorer
from plaudit.statistics.best_of_n import over_optimisation_curve
from plaudit.statistics.metric import IntervalSettings, RowMean, interval

REACHED_BY = 0.9
"""Proportion of the groups with several responses that have as many as the largest n of a curve."""
_DIGITS = 12
"""Decimals of an expected proportion that are no rounding."""

GoldReward = Callable[[Group], Sequence[float | None]]
"""Gives the gold reward of each response of a group; None where there is none."""


class BestOfNRow(Record):
    """One n of a best-of-n table: gold rewards with intervals over prompts."""

    n: int
    """Responses to choose from."""
    chosen: Interval
    """Expected gold reward of the response that the model rewards most."""
    oracle: Interval
    """Expected gold reward of the best response."""
    mean: Interval
    """Expected gold reward of a response drawn at random."""


class BestOfN(Record):
    """Expected gold reward of the best of n, as ``best_of_n.json`` holds it."""

    name: str
    """The data."""
    model: str
    """The model as it was named."""
    gold: str
    """Name of the gold reward."""
    groups: int
    """Groups that the table is over."""
    left_out: int
    """Groups with fewer responses than the largest n, or where a reward or a gold reward is missing."""
    rows: tuple[BestOfNRow, ...]
    """One row per n; none from fewer than two prompts."""


def best_of_n(
    scorer: Scorer,
    groups: Iterable[Group],
    gold: GoldReward,
    *,
    name: str,
    model: str,
    gold_name: str,
    counts: Sequence[int] = (1, 2, 4, 8, 16),
    confidence: float = 0.95,
    progress: Callable[[int], None] | None = None,
) -> BestOfN:
    """Return the expected gold reward of the best of n responses by ``scorer``, for each n of ``counts``.

    For each group the expectation is exact, over all sets of n of its K responses; equal rewards are drawn
    between. Beside it stand the best possible choice and a random one, over the same groups. A group with
    fewer responses than the largest n, a missing reward or a missing gold reward is left out of every row,
    and counted: so the rows differ in n and in nothing else. Fewer than two prompts give no rows, since they
    give no interval.

    Raises:
        DataError: when a count is below 1, or the gold rewards are not one per response.
        ModelError: when the scorer breaks its protocol.
    """
    if not counts or min(counts) < 1:
        raise DataError(f"best of n needs counts of at least 1, not {list(counts)}")
    ordered = sorted(set(counts))
    rewards: list[list[float]] = []
    golds: list[list[float]] = []
    prompts: list[str] = []
    left_out = 0
    for done, (group, item) in enumerate(scored_groups(scorer, groups), start=1):
        own, true = _numbers(item.rewards), _numbers(_checked(group, gold(group)))
        if own is None or true is None or len(own) < ordered[-1]:
            left_out += 1
        else:
            rewards.append(own)
            golds.append(true)
            prompts.append(prompt_hash(group))
        if progress is not None:
            progress(done)
    rows: tuple[BestOfNRow, ...] = ()
    if len(set(prompts)) > 1:
        curve = over_optimisation_curve(rewards, golds, ordered, prompts=prompts, confidence=confidence)
        rows = tuple(
            BestOfNRow(n=point.n, chosen=point.gold, oracle=point.oracle, mean=curve.random) for point in curve.points
        )
    return BestOfN(name=name, model=model, gold=gold_name, groups=len(rewards), left_out=left_out, rows=rows)


@dataclass(frozen=True, slots=True)
class LabelledGroup:
    """The labelled responses of one group: ``worth`` (higher is better by the label), rewards, lengths; [response]."""

    worth: np.ndarray
    rewards: np.ndarray
    lengths: np.ndarray
    prompt: int
    answers: tuple[str | None, ...] = ()
    """Final answers, where there are outcomes."""

    @property
    def has_order(self) -> bool:
        """Return whether the label holds some response to be better than another."""
        return bool((self.worth != self.worth[0]).any())


Labels = Sequence[float | None]
"""[response] value by its label, higher being better; None, or no entry, where it has none."""


def labelled(worth: Labels) -> list[int]:
    """Return the responses that have a label."""
    return [k for k, each in enumerate(worth) if each is not None]


def label_status(worth: Labels, numbers: Sequence[float | None]) -> Status:
    """Return the status of an item: failed where a labelled response lacks its reward, or the number in its place."""
    kept = labelled(worth)
    if not kept:
        return "absent"
    return "failed" if any(numbers[k] is None for k in kept) else "scored"


def labelled_group(
    item: ItemScore, worth: Labels, numbers: Sequence[float | None], prompt: int, answers: Sequence[str | None] = ()
) -> LabelledGroup:
    """Return the labelled responses of ``item``, ``numbers`` being their rewards or those in their place."""
    kept = labelled(worth)
    own, rewards, lengths = (np.array([each[k] for k in kept], dtype=float) for each in (worth, numbers, item.lengths))
    return LabelledGroup(own, rewards, lengths, prompt, tuple(answers[k] for k in kept) if answers else ())


def response_rows(groups: Sequence[LabelledGroup]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return [response] worth, reward, length and prompt of the responses of all groups."""
    rows = [(np.zeros(0),) * 3, *((group.worth, group.rewards, group.lengths) for group in groups)]
    worth, rewards, lengths = (np.concatenate(side) for side in zip(*rows, strict=True))
    return worth, rewards, lengths, np.array([group.prompt for group in groups for _ in group.worth], dtype=int)


def put_curve(found: MetricSet, groups: Sequence[LabelledGroup], *, is_proportion: bool) -> None:
    """Put the best-of-n curve of a label, or the reason why there is none.

    Gold is the ``worth`` of a response, proxy its reward. The n are ``counts_up_to`` the number of responses that nine
    in ten of the groups of several have. Every n is over the same groups, those with that many responses or more: the
    points differ in n and in nothing else. The others are counted in ``left_out``, as are groups of one response.

    Args:
        found: receives the curve.
        groups: the labelled responses of each group.
        is_proportion: whether the worth of a response lies between 0 and 1, and so do the intervals of its mean.
    """
    sizes = [len(group.worth) for group in groups]
    largest = reached_by_most(sizes)
    if largest is None:
        found.absent["best_of_n"] = "no group has two labelled responses to choose from"
        return
    kept = [group for group, size in zip(groups, sizes, strict=True) if size >= largest]
    prompts = [group.prompt for group in kept]
    if len(set(prompts)) < 2:
        found.absent["best_of_n"] = f"fewer than two prompts have {largest} labelled responses to choose from"
        return

    def curve(settings: IntervalSettings) -> BestOfNCurve:
        made = over_optimisation_curve(
            [group.rewards for group in kept],
            [group.worth for group in kept],
            counts_up_to(largest),
            prompts=prompts,
            confidence=settings.confidence,
            seed=settings.seed,
            gold_interval=partial(_mean_fraction, settings) if is_proportion else None,
        )
        return made.model_copy(update={"left_out": len(groups) - len(kept)})

    found.best_of_n = curve


def reached_by_most(sizes: Sequence[int]) -> int | None:
    """Return the largest K such that nine in ten of the groups of at least two responses have K; None without any.

    One large group among many then does not leave the others out, and one small one does not cut the curve short.
    """
    several = sorted((size for size in sizes if size > 1), reverse=True)
    return several[math.ceil(REACHED_BY * len(several)) - 1] if several else None


def counts_up_to(largest: int) -> tuple[int, ...]:
    """Return 1, 2, 4 … below ``largest``, and ``largest``."""
    return (*(2**power for power in range((largest - 1).bit_length())), largest)


def _mean_fraction(settings: IntervalSettings, values: np.ndarray, prompts: Sequence[object]) -> Interval:
    """Return the mean of fractions that are sums: rounded, so that those that are 1, or all equal, are seen to be."""
    found = interval(RowMean(np.array(np.round(values, _DIGITS), dtype=float), prompts, "fraction"), settings)
    assert found is not None  # there are groups
    return found


def _checked(group: Group, golds: Sequence[float | None]) -> Sequence[float | None]:
    if len(golds) != len(group.responses):
        raise DataError(
            f"the gold reward gave {len(golds)} numbers for the {len(group.responses)} responses of group {group.id!r}"
        )
    return golds


def _numbers(values: Sequence[float | None]) -> list[float] | None:
    """Return ``values`` when every one is a finite number, else None."""
    found = [float(value) for value in values if value is not None and math.isfinite(value)]
    return found if len(found) == len(values) else None
