"""Official figures that are blends of shares: mean of sections, each a weighted mean of subsets, and so on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from plaudit.evaluation.metrics.composite import ALL, Part, blended, cells_of, exact
from plaudit.evaluation.metrics.estimates import Estimator
from plaudit.evaluation.metrics.measure import Findings
from plaudit.records import Interval, ItemScore, LabelCounts, Measure


@dataclass(frozen=True, slots=True)
class Decided:
    """What one scoring decides in one official comparison."""

    cell: str
    """The smallest set of comparisons that has a figure of its own."""
    prompt: str
    """The prompt, for clustering."""
    official: float
    """1 won, 0 lost, between where the official rule shares a tie; a missing reward by the benchmark's rule."""
    common: float | None
    """The same with ties shared: the chance that a wanted one is drawn of the best. None: a reward is missing."""
    tied: float
    """1 where equal rewards stand where the comparison is decided, else 0; a share, where it is several."""
    chance: float
    """What rewards drawn at random would get."""


Decide = Callable[[ItemScore], Sequence[Decided]]
"""Returns the official comparisons of one item, by the rewards it carries."""

DecideAll = Callable[[Sequence[ItemScore]], Sequence[Decided]]
"""The same of all items at once, for comparisons that need several of them."""


def subset_of(item: ItemScore) -> str:
    """Return the subset of an item."""
    return str(item.facts["subset"])


def blend_measure(
    items: Sequence[ItemScore],
    decide: Decide,
    blends: Mapping[str, Part],
    estimate: Estimator,
    *,
    in_order: bool = False,
    details: Mapping[str, int] | None = None,
    slice_of: Callable[[ItemScore], str] = subset_of,
) -> Measure:
    """Return the measure of a benchmark whose official figures are ``blends``, the first of them the headline.

    See ``put_blends``. The slices, subsets unless ``slice_of`` says otherwise, come worst first. ``details`` are
    further counts.
    """
    found = Findings()
    counts = put_blends(found, items, one_by_one(decide), blends, estimate, in_order=in_order)
    headline = next(iter(blends))
    return Measure(
        kind="benchmark",
        headline=headline,
        counts=reward_counts(items),
        details=counts | dict(details or {}),
        figures=found.figures,
        baselines=found.baselines,
        absent=found.absent,
        slices=worst_first(items, decide, headline, estimate, slice_of=slice_of),
    )


def published_result(item: ItemScore) -> float | None:
    """Return the share of its comparison that ``item`` is published to have won, of results that hold no rewards."""
    result = item.facts.get("result")
    if any(reward is not None for reward in item.rewards) or not isinstance(result, int | float):
        return None
    return float(result)


def reward_counts(items: Sequence[ItemScore]) -> LabelCounts:
    """Return how many items have all rewards, or a published result (scored), and how many lack one (failed)."""
    failed = sum(None in item.rewards and published_result(item) is None for item in items)
    return LabelCounts(n=len(items), scored=len(items) - failed, unscored=0, failed=failed)


def one_by_one(decide: Decide) -> DecideAll:
    """Return what decides items together where each is decided alone."""

    def decide_all(items: Sequence[ItemScore]) -> list[Decided]:
        return [row for item in items for row in decide(item)]

    return decide_all


def put_blends(
    found: Findings,
    items: Sequence[ItemScore],
    decide: DecideAll,
    blends: Mapping[str, Part],
    estimate: Estimator,
    *,
    in_order: bool,
    ties: bool = True,
) -> dict[str, int]:
    """Put the figures of ``blends``, the first of which is the headline; return counts of what they rest on.

    Beside each figure stands what rules that read no response get by the same official rule: the longest response,
    the first one where ``in_order`` (where the order of the responses is not that of the labels), and rewards at
    random, exactly. With ``ties`` there is for the headline also ``HEADLINE_ties_shared``, the same over items that
    have all rewards with ties shared, and ``tie_rate``, the share of the comparisons there that a tie decides.
    """
    rows = decide(items)
    cells, prompts = [row.cell for row in rows], [row.prompt for row in rows]
    rules = {"longer_response": with_lengths(items), **({"first_response": with_places(items)} if in_order else {})}
    decided = {name: decide(each) for name, each in rules.items() if each is not None}
    for name, part in blends.items():
        own_cells = cells_of(part)
        inside = [row for row in rows if row.cell in own_cells]
        if not any(row.common is not None for row in inside):
            why = "no row of it is here" if not inside else "none of its comparisons has its rewards"
            found.put(name, None, why)
            continue
        values = [row.official for row in rows]
        found.put(name, blended(values, cells, prompts, part, estimate), "a part of it has no row here")
        for rule, own in decided.items():
            interval = blended(
                [row.official for row in own], [row.cell for row in own], [row.prompt for row in own], part, estimate
            )
            found.beside(name, **{rule: interval})
        found.beside(name, random=exact([row.chance for row in rows], cells, part, estimate))
    headline, blend = next(iter(blends.items()))
    if ties:
        put_ties(found, headline, blend, rows, estimate)
    own_cells = cells_of(blend)
    inside = [row for row in rows if row.cell in own_cells]
    return {
        "comparisons": len(inside),
        "tied_comparisons": sum(row.tied > 0 for row in inside),
        "comparisons_without_a_reward": sum(row.common is None for row in inside),
    }


def put_ties(found: Findings, headline: str, blend: Part, rows: Sequence[Decided], estimate: Estimator) -> None:
    """Put the headline with ties shared and the rate of ties, over comparisons that have all rewards.

    Where some lack one there is also ``HEADLINE_scored``, by the official rule over the others.
    """
    own_cells = cells_of(blend)
    whole = [(row.common, row) for row in rows if row.common is not None and row.cell in own_cells]
    cells, prompts = [row.cell for _, row in whole], [row.prompt for _, row in whole]
    why = "no comparison has all of its rewards"
    if len(whole) < sum(row.cell in own_cells for row in rows):
        official = [row.official for _, row in whole]
        found.put(f"{headline}_scored", blended(official, cells, prompts, blend, estimate), why)
    found.put(f"{headline}_ties_shared", blended([each for each, _ in whole], cells, prompts, blend, estimate), why)
    tied = [row.tied for _, row in whole]
    found.put("tie_rate", blended(tied, [ALL] * len(whole), prompts, ALL, estimate), why)


def worst_first(
    items: Sequence[ItemScore],
    decide: Decide,
    headline: str,
    estimate: Estimator,
    *,
    slice_of: Callable[[ItemScore], str],
) -> dict[str, dict[str, Interval]]:
    """Return for each slice the mean over its comparisons and that of the longest response, the worst one first."""
    longer = with_lengths(items)
    slices: dict[str, dict[str, Interval]] = {}
    for name, own in ((headline, items), ("longer_response", longer)):
        rows = [(slice_of(item), row) for item in own or () for row in decide(item)]
        for subset in sorted({subset for subset, _ in rows}):
            part = [row for each, row in rows if each == subset]
            if name == headline and all(row.common is None for row in part):
                continue  # nothing was scored: there is no figure to stand first
            one = [ALL] * len(part)
            interval = blended([row.official for row in part], one, [row.prompt for row in part], ALL, estimate)
            if interval is not None and (name == headline or subset in slices):
                slices.setdefault(subset, {})[name] = interval
    return dict(sorted(slices.items(), key=lambda pair: (pair[1][headline].value, pair[0])))


def with_lengths(items: Sequence[ItemScore]) -> list[ItemScore] | None:
    """Return the items with the length of each response as its reward; None where lengths are not known."""
    if any(len(item.lengths) != len(item.rewards) for item in items):
        return None
    return [_rewarded(item, tuple(map(float, item.lengths))) for item in items]


def with_places(items: Sequence[ItemScore]) -> list[ItemScore]:
    """Return the items with the first response preferred, and each other one to those behind it."""
    return [_rewarded(item, tuple(-float(place) for place in range(len(item.rewards)))) for item in items]


def _rewarded(item: ItemScore, rewards: tuple[float, ...]) -> ItemScore:
    return item.model_copy(update={"rewards": rewards, "attributes": {}, "steps": None})


def pair_decided(
    item: ItemScore, chosen: int, rejected: int, *, cell: str, tie: float = 0.0, missing: float = 0.0
) -> Decided:
    """Return the comparison of two responses; ``tie`` and ``missing`` are what the official rule makes of those.

    Of published results without rewards it is what they say: of a judge, 0.5 is a tie.
    """
    result = published_result(item)
    if result is not None:
        return Decided(cell, item.prompt_key, result, result, float(result == 0.5), 0.5)
    better, worse = item.rewards[chosen], item.rewards[rejected]
    if better is None or worse is None:
        return Decided(cell, item.prompt_key, missing, None, 0.0, 0.5)
    tied = better == worse
    won = float(better > worse)
    return Decided(cell, item.prompt_key, tie if tied else won, 0.5 if tied else won, float(tied), 0.5)
