"""Two models by the official figures of a benchmark: the headline, its sections, its subsets, and what is beside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from plaudit.evaluation.compare.paired_metrics import PairedFigure, Pairing
from plaudit.evaluation.compare.records import Family, LeftOut, NotTested, TestedFigure
from plaudit.evaluation.metrics.traced import Tracing
from plaudit.evaluation.official.benchmark import Benchmark
from plaudit.records import Interval, ItemScore, Measure
from plaudit.statistics.paired_tests import benjamini_hochberg, holm

_FAMILIES: tuple[Family, ...] = ("headline", "sections", "subsets", "further", "steps")


@dataclass(frozen=True, slots=True)
class Asked:
    """A figure of two models, yet to be compared; None where one has no value, ``absent`` says why."""

    family: Family
    name: str
    first: Interval | None
    second: Interval | None
    absent: str = ""


@dataclass(frozen=True, slots=True)
class Figures:
    """What was found about the figures of one measure."""

    tested: tuple[TestedFigure, ...]
    """Those that were compared."""
    not_tested: tuple[NotTested, ...]
    """Those that were not."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What the figures of a measure have in common."""

    measure: Literal["benchmark", "step"]
    models: tuple[str, str]
    alpha: float
    tie_rule: str
    left_out: LeftOut


def compare_benchmark(
    first: Sequence[ItemScore],
    second: Sequence[ItemScore],
    benchmark: Benchmark,
    pairing: Pairing,
    *,
    models: tuple[str, str],
    alpha: float,
    left_out: LeftOut,
) -> Figures:
    """Return the official figures of two models on the same items, each with its paired difference and test.

    Every figure is that of ``benchmark.measure``, over the items given. Holm's adjustment is made within a family (see
    ``Family``), so that the many subsets take nothing from the headline.
    """
    ours, theirs = (benchmark.measure(items, Tracing.new()) for items in (first, second))
    terms = Terms("benchmark", models, alpha, ours.rules["official_ties"], left_out)
    return compared(list(_asked(ours, theirs)), pairing, terms)


def _asked(first: Measure, second: Measure) -> Iterator[Asked]:
    """Yield the figures that either model has, the headline first and the subsets last."""
    for name in dict.fromkeys([first.headline, *first.figures, *second.figures]):
        family = "headline" if name == first.headline else "further"
        if family == "further" and (first.baselines.get(name) or second.baselines.get(name)):
            family = "sections"  # official figures have beside them what rules reach that read no response
        absent = first.absent.get(name) or second.absent.get(name) or ""
        yield Asked(family, name, first.figures.get(name), second.figures.get(name), absent)
    for name in dict.fromkeys([*first.slices, *second.slices]):
        if name not in first.figures:
            ours, theirs = (each.slices.get(name, {}).get(each.headline) for each in (first, second))
            yield Asked("subsets", name, ours, theirs)


def compared(asked: Sequence[Asked], pairing: Pairing, terms: Terms) -> Figures:
    """Return what ``pairing`` finds about the figures, with p-values adjusted within each family."""
    found: list[tuple[Asked, PairedFigure]] = []
    not_tested = []
    for each in asked:
        outcome = _paired(each, pairing)
        if isinstance(outcome, PairedFigure):
            found.append((each, outcome))
        else:
            sides = [None if side is None else side.value for side in (each.first, each.second)]
            not_tested.append(
                NotTested(measure=terms.measure, name=each.name, first=sides[0], second=sides[1], reason=outcome)
            )
    tested: list[TestedFigure] = []
    for family in _FAMILIES:
        own = [(each, figure) for each, figure in found if each.family == family]
        raw = [figure.p_value for _, figure in own]
        for (each, figure), by_holm, by_rate in zip(own, holm(raw), benjamini_hochberg(raw), strict=True):
            tested.append(_tested(each, figure, by_holm, by_rate, terms))
    return Figures(tuple(tested), tuple(not_tested))


def _paired(asked: Asked, pairing: Pairing) -> PairedFigure | str:
    if asked.first is None or asked.second is None:
        which = " and ".join(
            name for name, side in (("the first", asked.first), ("the second", asked.second)) if side is None
        )
        return f"it has no value for {which}{f': {asked.absent}' if asked.absent else ''}"
    return pairing.compare(asked.first, asked.second)


def _tested(asked: Asked, figure: PairedFigure, p_holm: float, p_rate: float, terms: Terms) -> TestedFigure:
    return TestedFigure(
        measure=terms.measure,
        family=asked.family,
        name=asked.name,
        n=figure.n[0],
        n_second=figure.n[1],
        prompts=figure.prompts,
        first=figure.first,
        second=figure.second,
        difference=figure.difference,
        p_value=figure.p_value,
        test=figure.test,
        p_holm=p_holm,
        p_false_discovery=p_rate,
        tie_rule=terms.tie_rule,
        left_out=terms.left_out,
        verdict=_verdict(figure, p_holm, terms),
    )


def _verdict(figure: PairedFigure, p_holm: float, terms: Terms) -> str:
    size = f"{figure.prompts:,} prompt{'s' * (figure.prompts != 1)}"
    if p_holm >= terms.alpha:
        return f"cannot be told apart over {size}"
    return f"{terms.models[0] if figure.difference.value > 0 else terms.models[1]} is higher over {size}"
