"""The contract of a benchmark, as a check that a user can run on a benchmark of their own."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Mapping, Sequence

from plaudit.data.schema.group import Group
from plaudit.evaluation.metrics.metric_set import MetricSet
from plaudit.evaluation.official.benchmark import Benchmark, Loaded
from plaudit.evaluation.store.items import item_score
from plaudit.records import Interval, ItemScore, Measure
from plaudit.scoring.scorer import GroupRewards
from plaudit.statistics.metric import Exact, IntervalSettings, Metric, RowMean, RowStatistic, TotalsFormula

Rewarding = Callable[[Group], GroupRewards]
"""Scores one group."""

_SETTINGS = IntervalSettings(resamples=30)
_ROUNDING = 1e-9


def check_benchmark(
    benchmark: Benchmark, path: str, *, ceiling: float = 1.0, floor: float | None = None, has_missing: bool = True
) -> None:
    """Check that a benchmark keeps its contract on official files.

    - The files are read: ids are unique and begin with the benchmark's name, official fields are JSON and name the
      subset, the same files have the same fingerprint.
    - Metrics are a pure function of the items: the order of the items does not matter, nor does a way through JSON.
    - The primary metric has a value or a reason. Every metric lies in its stated range and in its interval, and is over
      at least one thing.
    - Rewards that follow the labels give the primary metric ``ceiling``; rewards that are all equal give it ``floor``.
    - Of items without a reward none is lost: they are counted, and where all lack one there is no primary metric.

    Args:
        benchmark: benchmark to check.
        path: official files, with at least four items.
        ceiling: primary metric of rewards that follow the labels.
        floor: primary metric of equal rewards, and of equal step rewards of ½, as ``benchmark.ties`` says; None: it is
            not checked.
        has_missing: whether an item that lacks a reward has failed, as in every benchmark that needs one.

    Raises:
        AssertionError: saying which part of the contract does not hold.
    """
    loaded = benchmark.load(path)
    _check_loaded(benchmark, loaded, benchmark.load(path))
    ideal, equal = (_scored(loaded, reward) for reward in (_ideal, _equal))
    _check_measured(benchmark, ideal, "rewards that follow the labels")
    _check_measured(benchmark, equal, "equal rewards")
    _check_value(benchmark, ideal, ceiling, "rewards that follow the labels")
    if floor is not None:
        _check_value(benchmark, equal, floor, "equal rewards")
    rng = random.Random(0)
    drawn = _scored(loaded, lambda group: _drawn(group, rng))
    _check_measured(benchmark, drawn, "drawn rewards")
    if has_missing:
        _check_missing(benchmark, loaded, drawn)


def _scored(loaded: Loaded, reward: Rewarding) -> list[ItemScore]:
    """Return the items of all groups that were loaded, and of the rows that cannot be scored."""
    items = [
        item_score(group, reward(group)).model_copy(update={"metadata": dict(loaded.facts[group.id])})
        for group in loaded.groups
    ]
    return [*items, *loaded.refused]


def _ideal(group: Group) -> GroupRewards:
    """Return rewards that follow the labels: outcomes, or how many responses deep each one is preferred."""
    if group.outcomes is not None:
        rewards = [float(bool(outcome)) for outcome in group.outcomes]
    else:
        rewards = [0.0] * len(group.responses)
        for _ in group.responses:
            for pair in group.preferences:
                rewards[pair.chosen] = max(rewards[pair.chosen], rewards[pair.rejected] + 1.0)
    steps = None
    if group.steps is not None:
        steps = tuple(
            None if own is None else tuple(1.0 if step.label is None else step.label for step in own)
            for own in group.steps
        )
    return GroupRewards(group.id, tuple(rewards), steps=steps)


def _equal(group: Group) -> GroupRewards:
    return GroupRewards(group.id, (0.5,) * len(group.responses), steps=_steps(group, lambda: 0.5))


def _drawn(group: Group, rng: random.Random) -> GroupRewards:
    rewards = tuple(float(rng.randint(-3, 3)) for _ in group.responses)
    return GroupRewards(group.id, rewards, steps=_steps(group, rng.random))


def _missing(group: Group) -> GroupRewards:
    return GroupRewards(group.id, (None,) * len(group.responses), reason="the contract leaves it out")


def _steps(group: Group, reward: Callable[[], float]) -> tuple[tuple[float, ...] | None, ...] | None:
    if group.steps is None:
        return None
    return tuple(None if own is None else tuple(reward() for _ in own) for own in group.steps)


def _check_loaded(benchmark: Benchmark, loaded: Loaded, again: Loaded) -> None:
    ids = [group.id for group in loaded.groups] + [item.id for item in loaded.refused]
    assert len(ids) >= 4, f"{len(ids)} items are too few to check a benchmark on; give four at least"
    assert len(set(ids)) == len(ids), "two items have one id"
    stray = [each for each in ids if not each.startswith(f"{benchmark.name}/")]
    assert not stray, f"the id {stray[:1]} does not begin with {benchmark.name}/"
    for group in loaded.groups:
        facts = loaded.facts.get(group.id)
        assert facts is not None, f"{group.id} has no official fields"
        assert isinstance(facts.get("subset"), str), f"{group.id} names no subset"
        assert json.loads(json.dumps(facts)) == dict(facts), f"the official fields of {group.id} are no JSON"
    assert loaded.fingerprint == again.fingerprint, "the fingerprint differs between two readings"


def _check_measured(benchmark: Benchmark, items: Sequence[ItemScore], of: str) -> None:
    before = [item.model_dump_json() for item in items]
    metrics = benchmark.metrics(items)
    measure = metrics.measure(_SETTINGS)
    assert [item.model_dump_json() for item in items] == before, f"of {of}, measuring changes the items"
    assert measure.kind == "benchmark", f"the kind of measure is {measure.kind}, not benchmark"
    has_primary = metrics.primary in measure.metrics or bool(measure.absent.get(metrics.primary))
    assert has_primary, f"of {of}, {metrics.primary} has neither a value nor a reason"
    counts = measure.counts
    assert counts.n == counts.scored + counts.unscored + counts.failed, f"of {of}, the counts do not add up to n"
    _check_ranges(metrics, of)
    _check_intervals(measure, of)
    read = [ItemScore.model_validate_json(line) for line in before]
    assert benchmark.measure(read, _SETTINGS) == measure, f"of {of}, items that were written give another measure"
    assert Measure.model_validate_json(measure.model_dump_json()) == measure, f"of {of}, the measure is no JSON"
    shuffled = random.Random(1).sample(list(items), len(items))
    _check_same(metrics, benchmark.metrics(shuffled), of)


def _check_ranges(metrics: MetricSet, of: str) -> None:
    rules = {f"{name} of {rule}": each for name, beside in metrics.baselines.items() for rule, each in beside.items()}
    for name, metric in (metrics.metrics | rules).items():
        least, most = _stated_range(metric)
        value = metric.value
        assert value is None or least - _ROUNDING <= value <= most + _ROUNDING, (
            f"of {of}, {name} is {value}; its range is {least} to {most}"
        )


def _stated_range(metric: Metric) -> tuple[float, float]:
    match metric:
        case RowMean(kind="proportion" | "fraction"):
            return 0.0, 1.0
        case TotalsFormula(least=least, most=most):
            return least, most
        case RowMean() | RowStatistic() | Exact():
            return -math.inf, math.inf


def _check_intervals(measure: Measure, of: str) -> None:
    places: dict[str, Mapping[str, Interval]] = {"": measure.metrics}
    places |= {f" beside {name}": rules for name, rules in measure.baselines.items()}
    places |= {f" of {name}": rules for name, rules in measure.slices.items()}
    for place, found in places.items():
        for name, each in found.items():
            where = f"of {of}, {name}{place}"
            assert each.low <= each.value <= each.high, f"{where} is {each.value}, outside {each.low} to {each.high}"
            assert math.isfinite(each.low + each.high), f"{where} has an end that is no number"
            assert each.n > 0, f"{where} has a value over nothing"


def _check_same(first: MetricSet, second: MetricSet, of: str) -> None:
    names, others = ({name for name in each.metrics if each.known(name) is not None} for each in (first, second))
    assert names == others, f"of {of}, other metrics have a value where the items are in another order"
    for name in names:
        if isinstance(metric := first.metrics[name], Exact) and metric.method != "exact":
            continue  # resamples make it, and which rows they draw depends on the order
        values = first.metrics[name].value, second.metrics[name].value
        assert math.isclose(values[0] or 0.0, values[1] or 0.0, rel_tol=_ROUNDING, abs_tol=_ROUNDING), (
            f"of {of}, {name} depends on the order of the items: {values[0]} and {values[1]}"
        )
    assert first.counts == second.counts, f"of {of}, the counts depend on the order of the items"


def _check_value(benchmark: Benchmark, items: Sequence[ItemScore], expected: float, of: str) -> None:
    metrics = benchmark.metrics(items)
    primary = metrics.known(metrics.primary)
    assert primary is not None, f"{of} give no {metrics.primary}: {metrics.reason(metrics.primary)}"
    value = primary.value
    assert value is not None
    assert math.isclose(value, expected, abs_tol=1e-9), f"{of} give a {metrics.primary} of {value}, not {expected}"


def _check_missing(benchmark: Benchmark, loaded: Loaded, whole: Sequence[ItemScore]) -> None:
    """Check that items without a reward are counted, and are no zero where nothing was scored."""
    part = [*_scored(loaded, _missing)[:2], *whole[2:]]
    counts, before = benchmark.metrics(part).counts, benchmark.metrics(whole).counts
    assert counts.n == before.n, "items without a reward are no part of n"
    assert counts.failed == before.failed + 2, f"of 2 items without a reward, {counts.failed - before.failed} failed"
    nothing = benchmark.measure(_scored(loaded, _missing), _SETTINGS)
    assert nothing.primary not in nothing.metrics, f"{nothing.primary} has a value where no item has a reward"
    assert nothing.absent.get(nothing.primary), f"nothing says why {nothing.primary} has no value"
    assert nothing.counts.failed == nothing.counts.n, "where no item has a reward, not all have failed"
