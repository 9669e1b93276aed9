"""Plots of a training run and of an evaluation, each with a caption; a function returns None where it has no data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from plaudit.evaluation.metrics.preference import labelled_pairs
from plaudit.records import ItemScore, Measure
from plaudit.reports.inputs import Evaluation
from plaudit.reports.names import metric_text
from plaudit.reports.style import (
    BASELINE,
    CHOSEN,
    INK,
    MODEL,
    ORACLE,
    PAPER,
    REJECTED,
    SMALL,
    WIDE,
    Hover,
    Plot,
    figure,
    nice_ticks,
    percent_axis,
    svg,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_VECTOR_POINTS = 1000
"""More points than this are drawn as pixels inside the SVG."""

MAX_SLICES = 30
"""Most slices drawn, the worst ones; the table has all."""

Row = Mapping[str, float]
Series = tuple[Sequence[float], Sequence[float]]

_SIDES = (("chosen", "chosen"), ("rejected", "rejected"))
_TRAINED = (("model", "training"), ("rejected", "held out"))
_RUN_COLOURS = (("model", MODEL), ("rejected", REJECTED), ("oracle", ORACLE), ("baseline", BASELINE), ("ink", INK))
_CLOCK = (("hours", 3600.0), ("minutes", 60.0), ("seconds", 1.0))


@dataclass(frozen=True, slots=True)
class _Axis:
    """The axis of a training curve: a column of the metrics, its label, and how many of it one unit of the axis is."""

    column: str
    label: str
    unit: float


_DASHED = (0, (4, 3))


def training_plots(runs: Mapping[str, Sequence[Row]], key: str) -> list[Plot]:
    """Return small curves of the loss and the accuracy of ``runs``, by name: over steps, and over wall time.

    Those over wall time are there where the rows of metrics hold ``seconds``. An objective without an accuracy has the
    accuracy of steps or the squared error in its place.
    """
    longest = max((row.get("seconds", 0.0) for rows in runs.values() for row in rows), default=0.0)
    clock = _Axis("seconds", *next((unit for unit in _CLOCK if longest >= 3 * unit[1]), _CLOCK[-1]))
    logged = {name.rpartition("/")[2] for rows in runs.values() for row in rows for name in row}
    second = next((name for name in ("accuracy", "step_accuracy", "mse") if name in logged), "accuracy")
    found = [
        training_curve(runs, metric, axis, percent="accuracy" in metric, name=f"{key}-{metric}-{axis.column}")
        for axis in (_Axis("step", "step", 1.0), clock)
        for metric in ("loss", second)
    ]
    return [plot for plot in found if plot is not None]


def training_details(metrics: Sequence[Row], key: str) -> list[Plot]:
    """Return the plots of both sides' rewards and of the learning rate of one run, where it has the numbers."""
    steps, chosen = _series(metrics, "train/rm/chosen_rewards")
    rejected = _series(metrics, "train/rm/rejected_rewards")
    rewards = reward_curve(steps, chosen, rejected[1], name=f"{key}-rewards") if steps == rejected[0] else None
    found = (rewards, learning_rate_curve(*_series(metrics, "train/rm/lr"), name=f"{key}-lr"))
    return [plot for plot in found if plot is not None]


def evaluation_plots(evaluation: Evaluation, key: str) -> list[Plot]:
    """Return the plots of the preferences of an evaluation that it has the numbers for."""
    measure = evaluation.result.preference
    if measure is None:
        return []
    curves = measure.curves
    # Rewards that say nothing across groups have no correlation over prompts, and their dots would mean nothing.
    across = "reward_length_correlation" not in measure.absent
    found = (
        slice_plot(measure, name=f"{key}-slices"),
        reward_histogram(curves.get("rewards", []), name=f"{key}-rewards"),
        margin_histogram(curves.get("margins", []), name=f"{key}-margins"),
        reliability_diagram(curves.get("reliability", []), name=f"{key}-reliability"),
        length_scatter(evaluation.items, name=f"{key}-length") if across else None,
        *confidence_plots(measure, key),
    )
    return [plot for plot in found if plot is not None]


def confidence_plots(measure: Measure, key: str) -> tuple[Plot | None, Plot | None]:
    """Return accuracy where the model is surest, and its calibration after the temperature."""
    words = "Margins divided by the temperature that fits the other half of the prompts, whatever their unit."
    if "reliability" not in measure.curves and "rewards" in measure.rules:
        words += " Undivided they are no log-odds."
    tempered = reliability_diagram(
        measure.curves.get("reliability_after_temperature", []),
        title="Its confidence, after the temperature",
        caption=words,
        name=f"{key}-tempered",
    )
    return selective_curve(measure.curves.get("selective", []), name=f"{key}-selective"), tempered


def training_curve(
    runs: Mapping[str, Sequence[Row]], metric: str, axis: _Axis, *, percent: bool, name: str
) -> Plot | None:
    """Return a metric of training: the running average strong, evaluations as dots; of one run logged values faint."""
    title = "Squared error" if metric == "mse" else metric.replace("_", " ").capitalize()
    found = {
        run: [_series(rows, f"{side}/rm/{metric}", axis.column) for side in ("train", "eval")]
        for run, rows in runs.items()
    }
    shown = [values for sides in found.values() for _, values in sides if values]
    if not shown:
        return None
    colours = dict(zip(found, (_RUN_COLOURS * len(found))[: len(found)], strict=True))
    hover: list[Hover] = []
    with figure(185, width=SMALL) as drawing:
        axes = drawing.subplots()
        for run, (train, evaluation) in found.items():
            colour, said = colours[run][1], f"{run}: " if len(found) > 1 else ""
            places, smooth = [each / axis.unit for each in train[0]], smoothed(train[1])
            if len(found) == 1:
                axes.plot(places, train[1], color=colour, alpha=0.22, linewidth=1.0)
            axes.plot(places, smooth, color=colour)
            dots = [each / axis.unit for each in evaluation[0]]
            edge = {"markersize": 5, "markeredgecolor": PAPER, "markeredgewidth": 1.0, "zorder": 4}
            axes.plot(dots, evaluation[1], "o", color=REJECTED if len(found) == 1 else colour, **edge)
            for side, at, values in (("training", places, smooth), ("held out", dots, evaluation[1])):
                words = [
                    f"{said}{axis.label} {x:,.4g}, {side} {_value(y, percent)}" for x, y in zip(at, values, strict=True)
                ]
                hover.append((axes, at, values, words))
        _step_axis(axes, axis.label)
        _value_limits(axes, [np.asarray(values, float) for values in shown], percent=percent)
        drawn = svg(drawing, name=name, title=f"{title} by {axis.label}", description=_ends(found), hover=hover)
    if len(found) > 1:
        key = tuple((colours[run][0], run) for run, sides in found.items() if any(values for _, values in sides))
    else:
        key = tuple(mark for mark, (_, values) in zip(_TRAINED, next(iter(found.values())), strict=True) if values)
    return Plot(drawn, f"{title} by {axis.label}", key=key)


def _ends(found: Mapping[str, Sequence[Series]]) -> str:
    """Return the first and the last value of the running average of each run's training, in words."""
    said = []
    for run, (train, _) in found.items():
        if train[1]:
            smooth = smoothed(train[1])
            said.append(
                f"{f'{run}: ' * (len(found) > 1)}the running average goes from {smooth[0]:.3g} to {smooth[-1]:.3g}"
            )
    return "; ".join(said).replace("-", "−")


def _value(value: float, percent: bool) -> str:
    return f"{100 * value:.1f}%" if percent else f"{value:.4g}".replace("-", "−")


def smoothed(values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return the running average: exponential, bias-corrected, over about a twentieth of the series."""
    from scipy.signal import lfilter

    series = np.asarray(values, float)
    keep = 1.0 - 1.0 / max(1.0, len(series) / 20)
    total, weight = lfilter([1 - keep], [1, -keep], [series, np.ones_like(series)])
    return total / weight


def reward_curve(
    steps: Sequence[float], chosen: Sequence[float], rejected: Sequence[float], *, name: str
) -> Plot | None:
    """Return the mean reward of chosen and rejected responses over training steps."""
    if not len(steps):
        return None
    with figure(200) as drawing:
        axes = drawing.subplots()
        for values, colour in ((chosen, CHOSEN), (rejected, REJECTED)):
            axes.plot(steps, values, color=colour, alpha=0.18, linewidth=1.0)
            axes.plot(steps, smoothed(values), color=colour)
        _step_axis(axes)
        drawn = svg(drawing, name=name, title="rewards of chosen and rejected responses over steps")
    words = "Mean reward of each side of the training pairs. The gap matters; the level does not."
    return Plot(drawn, "Rewards", words, _SIDES)


def learning_rate_curve(steps: Sequence[float], rates: Sequence[float], *, name: str) -> Plot | None:
    """Return the learning rate over training steps, small."""
    if not len(steps):
        return None
    with figure(200) as drawing:
        axes = drawing.subplots()
        axes.plot(steps, rates, color=INK, linewidth=1.6)
        axes.set_ylim(0, max(rates) * 1.08 or 1.0)
        axes.yaxis.set_major_locator(nice_ticks(4))
        axes.yaxis.set_major_formatter(_rate)
        _step_axis(axes)
        drawn = svg(drawing, name=name, title="learning rate over training steps")
    return Plot(drawn, "Learning rate", f"Its largest value is {max(rates):.3g}.")


def slice_plot(measure: Measure, *, name: str) -> Plot | None:
    """Return the primary metric of each slice with its interval, the worst on top; None for fewer than two slices.

    A diamond marks the slice's length-only baseline. One half is dashed where it is chance. Of more than
    ``MAX_SLICES`` the worst are drawn. A metric that is no share is not drawn.
    """
    text, official = metric_text(measure), measure.kind == "benchmark"
    rows = [
        (label, each[measure.primary], each.get("longer_response"))
        for label, each in measure.slices.items()
        if measure.primary in each
    ]
    if text.kind != "share" or len(measure.slices) < 2 or not rows:
        return None
    rows = sorted(rows, key=lambda row: (row[1].value, row[0]))[:MAX_SLICES][::-1]
    chance = measure.baselines.get(measure.primary, {}).get("random")
    coin = chance is not None and chance.value == 0.5 if official else True
    positions = np.arange(len(rows))
    with figure(64 + 30 * len(rows), width=WIDE) as drawing:
        axes = drawing.subplots()
        axes.grid(visible=True, axis="x")
        axes.grid(visible=False, axis="y")
        if coin:
            axes.axvline(0.5, color=BASELINE, linewidth=1.2, linestyle=_DASHED)
        diamond = {"color": PAPER, "markeredgecolor": REJECTED, "markersize": 6, "markeredgewidth": 1.6, "zorder": 3}
        for position, (_, found, baseline) in zip(positions, rows, strict=True):
            axes.plot([found.low, found.high], [position, position], color=MODEL, linewidth=2.2, alpha=0.55)
            axes.plot(found.value, position, "o", color=MODEL, markersize=8, markeredgecolor=PAPER, zorder=4)
            if baseline is not None:
                axes.plot(baseline.value, position, "D", **diamond)
        axes.set_yticks(positions, [_shortened(label) for label, _, _ in rows], color=INK)
        axes.set_ylim(-0.7, len(rows) - 0.3)
        ends = [end for _, found, _ in rows for end in (found.low, found.high)]
        ends += [baseline.value for *_, baseline in rows if baseline is not None] + ([0.45, 0.55] if coin else [])
        axes.set_xlim(max(-0.01, min(ends) - 0.03), min(1.01, max(ends) + 0.03))
        percent_axis(axes.xaxis)
        axes.spines["left"].set_visible(False)
        counts = axes.secondary_yaxis("right")
        counts.set_yticks(positions, [f"n = {found.n:,}" for _, found, _ in rows])
        counts.spines["right"].set_visible(False)
        said = ", ".join(f"{label or '(no source)'} {100 * found.value:.1f}%" for label, found, _ in reversed(rows))
        title = f"{text.label} by {'part' if official else 'source'}"
        pointed = [
            f"{label or '(no source)'}: {100 * found.value:.1f}% ({100 * found.low:.1f} – {100 * found.high:.1f}%), "
            f"n = {found.n:,}"
            for label, found, _ in rows
        ]
        hover = [(axes, [found.value for _, found, _ in rows], positions, pointed)]
        drawn = svg(drawing, name=name, title=title, description=f"The worst first: {said}.", hover=hover)
    return Plot(drawn, title, _slice_words(measure), _slice_key(measure, coin=coin), wide=True)


def _slice_words(measure: Measure) -> str:
    count = len(measure.slices)
    words = "Each line is an interval; the worst stands on top."
    if measure.kind == "preference":
        words += " A slice whose diamond reaches its dot can be explained by length."
    return words + (f" The {MAX_SLICES} worst of {count:,}; the table has all." if count > MAX_SLICES else "")


def _slice_key(measure: Measure, *, coin: bool) -> tuple[tuple[str, str], ...]:
    official = measure.kind == "benchmark"
    found = [("model", "this model")]
    if any("longer_response" in each for each in measure.slices.values()):
        found.append(("diamond", "longer response, by the official rule" if official else "longer response wins"))
    if coin:
        found.append(("dash", "random" if official else "coin flip"))
    return tuple(found)


def _shortened(label: str, limit: int = 56) -> str:
    text = label or "(no source)"
    return text if len(text) <= limit else text[: math.ceil(limit / 2)] + "…" + text[-(limit // 2 - 1) :]


def reward_histogram(rows: Sequence[Row], *, name: str) -> Plot | None:
    """Return the histograms of both sides' rewards; rows hold ``low``, ``high``, ``chosen``, ``rejected``."""
    if not rows:
        return None
    rows = _with_width(rows)
    edges = np.array([row["low"] for row in rows] + [rows[-1]["high"]])
    with figure(270) as drawing:
        axes = drawing.subplots()
        for key, colour in (("rejected", REJECTED), ("chosen", CHOSEN)):
            counts = np.array([row[key] for row in rows])
            axes.stairs(counts, edges, fill=True, color=colour, alpha=0.22, linewidth=0)
            axes.stairs(counts, edges, color=colour, linewidth=1.8)
        axes.set_xlim(edges[0], edges[-1])
        axes.set_xlabel("reward")
        _count_axis(axes)
        drawn = svg(drawing, name=name, title="histogram of the rewards of chosen and rejected responses")
    return Plot(drawn, "Rewards", "The further apart, the better; but only differences inside a prompt count.", _SIDES)


def margin_histogram(rows: Sequence[Row], *, name: str) -> Plot | None:
    """Return the histogram of reward margins; wrongly ordered pairs, left of zero, in the other colour."""
    if not rows:
        return None
    rows = _with_width(rows)
    with figure(270) as drawing:
        axes = drawing.subplots()
        low, high, counts = (np.array([row[key] for row in rows]) for key in ("low", "high", "count"))
        wrong = low + high < 0
        colours = np.where(wrong, REJECTED, CHOSEN)
        axes.bar(low, counts, high - low, align="edge", color=colours, alpha=0.75, edgecolor=PAPER, linewidth=0.7)
        axes.axvline(0, color=INK, linewidth=1.2)
        axes.set_xlim(low[0], high[-1])
        axes.set_xlabel("margin: reward of chosen − reward of rejected")
        _count_axis(axes)
        said = f"{counts[wrong].sum():,.0f} of {counts.sum():,.0f} pairs lie left of zero."
        hover = [
            (
                axes,
                (low + high) / 2,
                counts,
                [f"{a:.3g} to {b:.3g}: {n:,.0f} pairs" for a, b, n in zip(low, high, counts, strict=True)],
            )
        ]
        drawn = svg(drawing, name=name, title="histogram of reward margins", description=said, hover=hover)
    words = "What lies left of zero is ordered wrongly; the further left, the more confidently."
    return Plot(drawn, "Margins", words, (("chosen", "right"), ("rejected", "wrong")))


def reliability_diagram(
    rows: Sequence[Row],
    *,
    title: str = "Can its confidence be trusted?",
    caption: str = "On the dashed line, 80% sure means right in 80% of the pairs; below it, it is too sure.",
    name: str,
) -> Plot | None:
    """Return how often the preferred response was right against how sure the model was, with counts below.

    Rows hold ``confidence``, ``accuracy``, ``low``, ``high`` and ``n``.
    """
    if not rows:
        return None
    x, y, low, high, counts = _columns(rows, "confidence", "accuracy", "low", "high", "n")
    with figure(330) as drawing:
        axes, strip = drawing.subplots(2, 1, sharex=True, height_ratios=[5, 1])
        start = 0.0 if x.min() < 0.48 else 0.5
        stop = min(1.0, max(0.6, math.ceil(10 * float(x.max()) + 0.5) / 10))
        axes.plot([start, stop], [start, stop], color=BASELINE, linewidth=1.3, linestyle=_DASHED)
        axes.vlines(x, low, high, color=MODEL, linewidth=1.6)
        axes.plot(x, y, color=MODEL, linewidth=1.2, marker="o", markersize=7, markeredgecolor=PAPER)
        axes.set_ylim(max(-0.02, min(start, float(low.min())) - 0.04), 1.02)
        axes.set_ylabel("share that was right")
        percent_axis(axes.yaxis)
        strip.vlines(x, 0, counts, color=BASELINE, linewidth=5)
        space = 0.04 * (stop - start)
        strip.set_xlim(start - space, stop + space)
        strip.set_ylim(0, counts.max() * 1.15)
        strip.set_yticks([0, int(counts.max())])
        strip.set_ylabel("pairs")
        strip.set_xlabel("how sure the model was")
        percent_axis(strip.xaxis)
        drawing.align_ylabels([axes, strip])
        said = [f"{100 * sure:.0f}% sure, {100 * right:.0f}% right" for sure, right in zip(x, y, strict=True)]
        hover = [(axes, x, y, [f"{words} ({n:,.0f} pairs)" for words, n in zip(said, counts, strict=True)])]
        drawn = svg(drawing, name=name, title="reliability diagram", description=f"{'; '.join(said)}.", hover=hover)
        return Plot(drawn, title, caption)


def selective_curve(rows: Sequence[Row], *, name: str) -> Plot | None:
    """Return the accuracy on the surest pairs over the share of pairs that they are, with intervals as a band.

    Rows hold ``coverage``, ``accuracy``, ``low`` and ``high``; the one of the largest coverage is dashed across.
    """
    if not rows:
        return None
    rows = sorted(rows, key=lambda row: row["coverage"])
    x, y, low, high = _columns(rows, "coverage", "accuracy", "low", "high")
    with figure(300) as drawing:
        axes = drawing.subplots()
        axes.axhline(y[-1], color=BASELINE, linewidth=1.3, linestyle=_DASHED)
        axes.fill_between(x, low, high, color=MODEL, alpha=0.13, linewidth=0)
        axes.plot(x, y, color=MODEL, marker="o", markersize=6, markeredgecolor=PAPER)
        axes.set_xlim(0, 1.02)
        axes.set_ylim(max(-0.02, min(0.5, float(low.min())) - 0.03), 1.02)
        axes.set_xlabel("share of pairs, the surest first")
        axes.set_ylabel("accuracy on them")
        percent_axis(axes.xaxis)
        percent_axis(axes.yaxis)
        said = [f"{100 * each:.0f}% of the pairs: {100 * right:.0f}% right" for each, right in zip(x, y, strict=True)]
        title, words = "accuracy on the surest pairs", f"The surest {'; '.join(said)}."
        drawn = svg(drawing, name=name, title=title, description=words, hover=[(axes, x, y, said)])
    words = "Accuracy on the pairs with the largest margins. "
    words += "Where the line falls to the right, the model knows where it errs."
    return Plot(drawn, "Accuracy where it is surest", words, (("model", "this model"), ("dash", "all pairs")))


def length_scatter(items: Sequence[ItemScore], *, name: str) -> Plot | None:
    """Return reward against length in characters, one dot per response, and the median of ten equal parts."""
    points = _length_points(items)
    if not points:
        return None
    x, y, is_chosen = np.random.default_rng(0).permutation(np.array(points)).T
    many = len(x) > MAX_VECTOR_POINTS
    with figure(300) as drawing:
        axes = drawing.subplots()
        colours = np.where(is_chosen == 1.0, CHOSEN, REJECTED)
        axes.scatter(x, y, s=9 if many else 16, c=colours, alpha=0.3 if many else 0.5, linewidths=0, rasterized=many)
        middle_x, middle_y = _running_median(x, y)
        axes.plot(middle_x, middle_y, color=PAPER, linewidth=4.5)
        axes.plot(middle_x, middle_y, color=INK, linewidth=2.0)
        if x.min() > 0 and x.max() / x.min() > 20:
            axes.set_xscale("log")
            axes.xaxis.set_minor_formatter("")
        axes.xaxis.set_major_formatter(_thousands)
        axes.set_xlabel("length of the response in characters")
        axes.set_ylabel("reward")
        said = (
            f"The median reward goes from {middle_y[0]:.3g} at {middle_x[0]:,.0f} characters to {middle_y[-1]:.3g} at "
            f"{middle_x[-1]:,.0f}."
        ).replace("-", "−")
        drawn = svg(drawing, name=name, title="reward against length of the response", description=said)
    words = "One dot per response; the thick line is the median. Where it rises, length pays."
    return Plot(drawn, "Reward against length", words, _SIDES)


def _length_points(items: Sequence[ItemScore]) -> list[tuple[float, float, bool]]:
    """Return length, reward and whether it was preferred of every response that a judged pair is about."""
    points = []
    for item in items:
        sides: dict[int, bool] = {}
        for pair in labelled_pairs(item):
            sides.setdefault(pair.chosen, True)
            sides[pair.rejected] = False
        for index, is_chosen in sides.items():
            reward = item.rewards[index]
            if reward is not None:
                points.append((float(item.lengths[index]), reward, is_chosen))
    return points


def _series(metrics: Sequence[Row], name: str, along: str = "step") -> Series:
    rows = [(row[along], row[name]) for row in metrics if name in row and along in row and math.isfinite(row[name])]
    return [place for place, _ in rows], [value for _, value in rows]


def _columns(rows: Sequence[Row], *names: str) -> list[np.ndarray]:
    return [np.array([row[name] for row in rows]) for name in names]


def _with_width(rows: Sequence[Row]) -> Sequence[Row]:
    """Return the bins; the single bin of equal values, which has no width, gets one."""
    if rows[0]["low"] < rows[-1]["high"]:
        return rows
    return [{**rows[0], "low": rows[0]["low"] - 0.5, "high": rows[0]["high"] + 0.5}]


def _running_median(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    parts = np.array_split(np.argsort(x, kind="stable"), min(10, max(1, len(x) // 5)))
    return np.array([np.median(x[part]) for part in parts]), np.array([np.median(y[part]) for part in parts])


def _value_limits(axes: Axes, series: Sequence[np.ndarray], *, percent: bool) -> None:
    """Limit the axis to where the bulk of the values lies: one bad first step does not flatten the curve."""
    values = np.concatenate(series)
    values = values[np.isfinite(values)]
    if not len(values):
        return
    low, high = np.quantile(values, 0.005), np.quantile(values, 0.995)
    if percent:
        low, high = min(low, 0.5), min(1.0, max(high, 0.6))
        percent_axis(axes.yaxis)
    else:
        axes.yaxis.set_major_locator(nice_ticks(5))
    space = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    axes.set_ylim(low - space, high + space)


def _step_axis(axes: Axes, label: str = "step") -> None:
    axes.set_xlabel(label)
    axes.xaxis.set_major_locator(nice_ticks(5, integer=label == "step"))
    axes.xaxis.set_major_formatter(_thousands)
    axes.margins(x=0.02)


def _count_axis(axes: Axes) -> None:
    axes.yaxis.set_major_locator(nice_ticks(5, integer=True))
    axes.yaxis.set_major_formatter(_thousands)
    axes.spines["left"].set_visible(False)


def _thousands(value: float, _: float) -> str:
    return f"{value:,.0f}".replace("-", "−")


def _rate(value: float, _: float) -> str:
    return "0" if value == 0 else f"{value:.2g}".replace("e-0", "e-").replace("-", "−")
