"""Two models by the official metrics of a benchmark and by the metrics of step labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, final

from plaudit.evaluation.compare.correctness import ComparisonSettings, verdict
from plaudit.evaluation.compare.records import Family, NotCompared, NotTested, TestedMetric
from plaudit.evaluation.metrics.metric_set import MetricSet
from plaudit.evaluation.metrics.steps import reads_steps, step_classes, step_is_rewarded, step_metrics
from plaudit.evaluation.official.benchmark import Benchmark
from plaudit.records import ItemScore
from plaudit.statistics.compare import PairedMetric, PairedSettings, compare
from plaudit.statistics.metric import Exact, Metric, RowMean, RowStatistic, TotalsFormula
from plaudit.statistics.paired_tests import benjamini_hochberg, holm

_FAMILIES: tuple[Family, ...] = ("primary", "sections", "subsets", "further", "steps")
_TIES = "a step whose reward is at the threshold is right; equal rewards of a right and a wrong step count ½ in an area"


@final
@dataclass(frozen=True, slots=True)
class MetricPair:
    """A metric of two models, yet to be compared; None where one has no value, ``absent`` says why."""

    family: Family
    name: str
    first: Metric | None
    second: Metric | None
    absent: str = ""


Compared = tuple[list[TestedMetric], list[NotTested]]
"""The metrics of one measure: those with a paired test, and those without."""


def compare_benchmark(
    first: Sequence[ItemScore],
    second: Sequence[ItemScore],
    benchmark: Benchmark,
    settings: ComparisonSettings,
    left_out: NotCompared,
) -> Compared:
    """Return the official metrics of two models on the same items, each with its paired difference and test.

    Every metric is that of ``benchmark.metrics``, over the items given. Holm's adjustment is made within a family (see
    ``Family``), so that the many subsets take nothing from the primary metric.
    """
    ours, theirs = benchmark.metrics(first), benchmark.metrics(second)
    pairs = list(_official_pairs(ours, theirs))
    return _compared("benchmark", pairs, settings, ours.rules["official_ties"], left_out)


def _official_pairs(first: MetricSet, second: MetricSet) -> Iterator[MetricPair]:
    """Yield the metrics that either model has, the primary one first and the subsets last; each hypothesis once.

    A single subset is the whole, and no hypothesis of its own.
    """
    known = [name for side in (first, second) for name in side.metrics if side.known(name) is not None]
    for name in dict.fromkeys([first.primary, *known]):
        family = "primary" if name == first.primary else "further"
        if family == "further" and (first.baselines.get(name) or second.baselines.get(name)):
            family = "sections"  # official metrics stand beside baselines that read no response
        yield _pair(family, name, first, second)
    subsets = dict.fromkeys([*first.slices, *second.slices])
    for name in subsets if len(subsets) > 1 else ():
        if first.known(name) is None:
            ours, theirs = (each.slices.get(name, {}).get(each.primary) for each in (first, second))
            yield MetricPair("subsets", name, ours, theirs)


def _pair(family: Family, name: str, first: MetricSet, second: MetricSet) -> MetricPair:
    ours, theirs = first.known(name), second.known(name)
    absent = next((side.reason(name) for side, metric in ((first, ours), (second, theirs)) if metric is None), "")
    return MetricPair(family, name, ours, theirs, absent)


def compare_steps(
    first: Sequence[ItemScore],
    second: Sequence[ItemScore],
    settings: ComparisonSettings,
    left_out: NotCompared,
) -> Compared:
    """Return the metrics of step labels of two models on the same items, each with its paired difference and test.

    The metrics are those of ``step_metrics``. Responses that only one of the models gave all their rewards are left
    out for both, and counted.
    """
    classes = step_classes(first)
    reads = [reads_steps(items) for items in (first, second)]
    lacking = [_lacking(items, by_step) for items, by_step in zip((first, second), reads, strict=True)]
    one_only = [ours ^ theirs for ours, theirs in zip(*lacking, strict=True)]
    ours, theirs = (
        step_metrics(
            [_without(*each) for each in zip(items, one_only, strict=True)],
            classes=classes,
            by_step=by_step,
        )
        for items, by_step in zip((first, second), reads, strict=True)
    )
    known = [name for side in (ours, theirs) for name in side.metrics if side.known(name) is not None]
    pairs = [_pair("steps", name, ours, theirs) for name in dict.fromkeys(known)]
    lost = left_out.model_copy(update={"unmade": sum(map(len, one_only))})
    return _compared("step", pairs, settings, _TIES, lost)


def _lacking(items: Sequence[ItemScore], by_step: bool) -> list[set[int]]:
    """Return for each item the labelled responses without the reward of each step, or without their own."""
    return [
        {k for k, labels in enumerate(item.step_labels or ()) if labels and not step_is_rewarded(item, k, by_step)}
        for item in items
    ]


def _without(item: ItemScore, responses: set[int]) -> ItemScore:
    """Return the item as if the model had given no reward to ``responses`` or to any of their steps."""
    if not responses:
        return item
    rewards = tuple(None if k in responses else reward for k, reward in enumerate(item.rewards))
    steps = item.steps and tuple(None if k in responses else each for k, each in enumerate(item.steps))
    return item.model_copy(update={"rewards": rewards, "steps": steps})


def _compared(
    measure: Literal["benchmark", "step"],
    pairs: Sequence[MetricPair],
    settings: ComparisonSettings,
    tie_rule: str,
    left_out: NotCompared,
) -> Compared:
    """Return the paired differences and tests, with p-values adjusted within each family."""
    paired = PairedSettings(confidence=settings.confidence, seed=settings.seed)
    found: list[tuple[MetricPair, PairedMetric]] = []
    not_tested = []
    for each in pairs:
        outcome = _paired(each, paired)
        if isinstance(outcome, PairedMetric):
            known = (other for other in found if other[0].family in ("primary", each.family))
            same = next((other for other, metric in known if metric == outcome and _one_hypothesis(other, each)), None)
            if same is not None:
                outcome = f"it is of the same rows as {same.name}: one hypothesis, tested once"
        if isinstance(outcome, PairedMetric):
            found.append((each, outcome))
        else:
            first, second = (None if side is None else side.value for side in (each.first, each.second))
            not_tested.append(NotTested(measure=measure, name=each.name, first=first, second=second, reason=outcome))
    tested: list[TestedMetric] = []
    for family in _FAMILIES:
        own = [(each, metric) for each, metric in found if each.family == family]
        raw = [metric.p_value for _, metric in own]
        for (each, metric), by_holm, by_rate in zip(own, holm(raw), benjamini_hochberg(raw), strict=True):
            over = f"over {metric.prompts:,} prompt{'s' * (metric.prompts != 1)}"
            row = TestedMetric(
                measure=measure,
                family=family,
                name=each.name,
                n=metric.n[0],
                n_second=metric.n[1],
                prompts=metric.prompts,
                first=metric.first,
                second=metric.second,
                difference=metric.difference,
                p_value=metric.p_value,
                test=metric.test,
                p_holm=by_holm,
                p_false_discovery=by_rate,
                tie_rule=tie_rule,
                left_out=left_out,
                verdict=verdict(metric.difference.value, by_holm, settings, better="higher", over=over),
            )
            tested.append(row)
    return tested, not_tested


def _one_hypothesis(first: MetricPair, second: MetricPair) -> bool:
    """Return whether two metrics with the same values, interval and p-value are of the same prompts too."""
    one, other = ([_prompts_of(side) for side in (pair.first, pair.second)] for pair in (first, second))
    return one == other


def _prompts_of(metric: Metric | None) -> set[str]:
    match metric:
        case RowMean(prompts=prompts) | RowStatistic(prompts=prompts):
            return set(map(str, prompts))
        case TotalsFormula(sums=sums):
            return set(map(str, sums.prompts))
        case Exact() | None:
            return set()


def _paired(pair: MetricPair, settings: PairedSettings) -> PairedMetric | str:
    if pair.first is None or pair.second is None:
        sides = {"the first": pair.first, "the second": pair.second}
        which = " and ".join(name for name, side in sides.items() if side is None)
        return f"it has no value for {which}{f': {pair.absent}' if pair.absent else ''}"
    return compare(pair.first, pair.second, settings)
