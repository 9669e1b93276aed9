"""Best of n: gold and proxy reward of a model's choice among n responses, in words, rows and a plot."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from plaudit.evaluation.metrics.best_of_n import BestOfN
from plaudit.records import BestOfNCurve, Interval, Measure, Result
from plaudit.reports.names import Kind
from plaudit.reports.style import BASELINE, MODEL, ORACLE, PAPER, REJECTED, WIDE, Plot, figure, nice_ticks, svg
from plaudit.reports.tables import interval_text, number, share, show

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_HEIGHT = 330


@dataclass(frozen=True, slots=True)
class _Gold:
    """Gold of one kind of label, in words."""

    title: str
    """In a title; ``{}`` is the attribute."""
    words: str
    """Predicate of a choice; ``{}`` is its value."""
    axis: str
    """Beside an axis."""
    kind: Kind
    """Format of a value."""


_GOLD = {
    "rating": _Gold("Best of n, rating of {}", "is rated {}", "rating of the choice", "number"),
    "outcome": _Gold("Best of n, outcome", "is correct in {}", "choice is correct", "share"),
    "ranking": _Gold("Best of n, ranks", "is ranked above another response in {}", "ranked above another", "share"),
}
"""The kinds of label that have a curve."""

COLUMNS = ("n", "KL", "model's choice", "95% interval", "best", "random", "regret", "recovered", "own reward")
"""Columns of ``curve_rows``."""


def curve_sections(result: Result, key: str) -> list[dict[str, Any]]:
    """Return a section for each measure of ``result`` with a best-of-n curve; every id in it begins with ``key``."""
    return [
        {
            "title": curve_title(measure),
            "sentences": curve_sentences(measure),
            "note": curve_note(measure.best_of_n),
            "plot": _plot(measure.best_of_n, _GOLD[measure.kind], f"{key}-curve{place}"),
            "columns": COLUMNS,
            "rows": curve_rows(measure),
        }
        for place, measure in enumerate(result.measures)
        if measure.best_of_n is not None
    ]


def curve_title(measure: Measure) -> str:
    """Return the title of the best-of-n curve of ``measure``."""
    return _GOLD[measure.kind].title.format(measure.attribute)


def curve_sentences(measure: Measure) -> list[str]:
    """Return the best-of-n curve of ``measure`` in words; nothing where it has none."""
    curve = measure.best_of_n
    if curve is None:
        return []
    gold, last = _GOLD[measure.kind], curve.points[-1]
    first = (
        f"The best of {last.n} by this model {gold.words.format(show(last.gold.value, gold.kind))}; "
        f"the best possible choice {show(last.oracle.value, gold.kind)}, a random one "
        f"{show(curve.random.value, gold.kind)}"
    )
    if last.recovered is None:
        return [f"{first}. Fewer than two prompts have responses of different worth, so there is nothing to choose."]
    gained = f"{share(last.recovered.value)} ({interval_text(last.recovered, 'share')})".replace("-", "−")
    return [f"{first}. It gains {gained} of the largest possible gain.", _fall_sentence(curve, gold.kind)]


def _fall_sentence(curve: BestOfNCurve, kind: Kind) -> str:
    last = curve.points[-1].n
    if curve.peak == last:
        return f"It is highest at the largest n, {last}."
    fall = f"by {show(curve.fall.value, kind)} ({interval_text(curve.fall, kind)}) to n = {last}"
    if not curve.falls:
        return f"It is highest at n = {curve.peak}; that it falls {fall} cannot be told from noise."
    if curve.peak == 1:
        return f"It is highest at n = 1 and falls {fall}: a random response is better than the model's choice."
    return f"It is highest at n = {curve.peak} and then falls {fall}: beyond the peak the reward is over-optimised."


def curve_note(curve: BestOfNCurve) -> str:
    """Return which groups a curve is over and how it is computed."""
    largest = curve.points[-1].n
    left_out = f"; {curve.left_out:,} with fewer are in none" if curve.left_out else ""
    up_to = f"{largest:,} to {curve.largest_k:,}" if curve.largest_k > largest else f"{largest:,}"
    return (
        f"Every n is over the same {curve.groups:,} groups, of {up_to} labelled responses each{left_out}. Expectations "
        "are exact, over all sets of n of a group, equal rewards drawn between. KL = log n − (n − 1) ÷ n, in nats. "
        "The interval of a fall allows for the choice of the peak."
    )


def curve_rows(measure: Measure) -> list[tuple[str, ...]]:
    """Return a row of ``COLUMNS`` for each n of the best-of-n curve of ``measure``; none where it has none."""
    curve = measure.best_of_n
    if curve is None:
        return []
    kind = _GOLD[measure.kind].kind
    return [
        (
            f"{point.n:,}",
            f"{point.divergence:.2f}",
            show(point.gold.value, kind),
            interval_text(point.gold, kind),
            show(point.oracle.value, kind),
            show(curve.random.value, kind),
            show(point.regret.value, kind),
            "–" if point.recovered is None else share(point.recovered.value).replace("-", "−"),
            number(point.proxy.value),
        )
        for point in curve.points
    ]


def best_of_n_svg(curve: BestOfNCurve, *, name: str, gold: str, kind: Kind) -> str:
    """Return ``curve`` as one ``<svg>``: left gold, between the best possible and random, right the proxy, over √KL.

    Over √KL gold is close to a parabola (Gao et al. 2023), so that a fall is easy to see.
    """
    places = [math.sqrt(point.divergence) for point in curve.points]
    with figure(_HEIGHT, width=WIDE) as drawing:
        left, right = drawing.subplots(1, 2, width_ratios=[3, 2])
        ends = [places[0], places[-1]]
        left.fill_between(ends, curve.random.low, curve.random.high, color=BASELINE, alpha=0.13, linewidth=0)
        left.plot(ends, [curve.random.value] * 2, color=BASELINE, linestyle=(0, (1.5, 2)))
        _line(left, places, [point.oracle for point in curve.points], ORACLE, (0, (5, 2)))
        _line(left, places, [point.gold for point in curve.points], MODEL, marker="o")
        if curve.falls:
            peak = next(point for point in curve.points if point.n == curve.peak)
            at = math.sqrt(peak.divergence)
            left.plot(at, peak.gold.value, "o", markersize=14, markerfacecolor="none", markeredgecolor=MODEL)
        _line(right, places, [point.proxy for point in curve.points], REJECTED, marker="o")
        shown = _apart(places)
        labels = [f"{curve.points[place].n:,}\n{curve.points[place].divergence:.2f}" for place in shown]
        for axes, label, of in ((left, gold, kind), (right, "the model's own reward", "number")):
            axes.set_ylabel(label)
            _value_axis(axes, of)
            axes.set_xticks([places[place] for place in shown], labels)
            axes.set_xlabel("n, and its KL in nats; spaced by √KL")
        return svg(drawing, name=name, title=f"{gold} for the best of n, against √KL")


def _plot(curve: BestOfNCurve, gold: _Gold, name: str) -> Plot:
    words = "Where gold falls while the model's own reward rises, the reward is over-optimised."
    marks = (
        ("oracle-dash", "best possible"),
        ("model", "the model's choice" + (", ringed at its peak" if curve.falls else "")),
        ("dots", "random choice"),
        ("rejected", "its own reward of its choice"),
    )
    drawn = best_of_n_svg(curve, name=name, gold=gold.axis, kind=gold.kind)
    return Plot(drawn, "Gold, and the model's own reward, of its choice", words, marks, wide=True)


def _line(
    axes: Axes,
    places: list[float],
    values: list[Interval],
    colour: str,
    style: str | tuple[int, tuple[float, ...]] = "-",
    *,
    marker: str = "",
) -> None:
    low, high = [each.low for each in values], [each.high for each in values]
    axes.fill_between(places, low, high, color=colour, alpha=0.13, linewidth=0)
    middle = [each.value for each in values]
    axes.plot(places, middle, color=colour, linestyle=style, marker=marker, markersize=6, markeredgecolor=PAPER)


def _value_axis(axes: Axes, kind: Kind) -> None:
    axes.yaxis.set_major_locator(nice_ticks(5))
    if kind == "share":
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f}%")


def _apart(places: list[float]) -> list[int]:
    """Return which places get a label: the last, and of those before it each that leaves room for the next one."""
    room, shown = 0.07 * places[-1], [len(places) - 1]
    for place in range(len(places) - 2, -1, -1):
        if places[shown[-1]] - places[place] >= room:
            shown.append(place)
    return shown[::-1]


def table_plot(table: BestOfN, key: str) -> Plot | None:
    """Return the gold reward of the model's choice among n responses, beside the best and a random one."""
    if not table.rows:
        return None
    counts = [float(row.n) for row in table.rows]
    with figure(320) as drawing:
        axes = drawing.subplots()
        _line(axes, counts, [row.oracle for row in table.rows], ORACLE, (0, (5, 2)))
        _line(axes, counts, [row.chosen for row in table.rows], MODEL, marker="o")
        _line(axes, counts, [row.mean for row in table.rows], BASELINE, (0, (1.5, 2)))
        axes.set_xscale("log", base=2)
        axes.set_xticks(counts, [str(row.n) for row in table.rows])
        axes.set_xlabel("n: responses to choose from")
        axes.set_ylabel("gold reward")
        _value_axis(axes, "number")
        drawn = svg(drawing, name=f"{key}-bestofn", title="best-of-n curve")
    words = "Of the response chosen among n; bands are intervals over prompts."
    marks = (("oracle-dash", "best possible"), ("model", "this model's choice"), ("dots", "random choice"))
    return Plot(drawn, "Gold reward of the choice", words, marks)
