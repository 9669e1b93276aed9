"""Several models side by side: leaderboards, heat maps of slices, and stress tests of the same data."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from plaudit.evaluation.compare.leaderboard import (
    OFFICIAL,
    OFFICIAL_RULE,
    RULE,
    Leaderboard,
    leaderboards,
    official_leaderboard,
)
from plaudit.evaluation.metrics.preference import (
    DEFAULT_TIE_RULE,
    LENGTH_METRICS,
    SUREST_HALF,
    control_metrics,
    pair_table,
)
from plaudit.evaluation.official.catalog import CATALOG, benchmark_named
from plaudit.evaluation.stress.robustness import StyleEffect, TransformEffect
from plaudit.records import Interval, ItemScore, Measure, Result
from plaudit.reports.inputs import Evaluation, StressTest
from plaudit.reports.names import Kind, data_title, measure_title, metric_text, short_names
from plaudit.reports.primary_metric import official_measure
from plaudit.reports.stress import position_rows
from plaudit.reports.tables import (
    TIE_RULES,
    RowScale,
    interval_text,
    p_value_text,
    share,
    show,
    signed_interval,
    signed_text,
)
from plaudit.statistics.agreement import TieRule, tie_rate
from plaudit.statistics.metric import IntervalSettings

_STRONGEST = 55
"""Per cent of colour in the strongest cell: text on it stays readable."""
_KINDS = {
    "preference": "Preferences: pairs in the right order",
    "ranking": "Ranks: pairs in the right order",
    "outcome": "Outcomes: the highest reward is correct",
}


def leaderboard_sections(evaluations: Sequence[Evaluation], key: str = "b") -> list[dict[str, Any]]:
    """Return for the template each data set that several evaluations are about; ids begin with ``key``."""
    together: dict[tuple[str, str | None], list[Evaluation]] = {}
    for evaluation in evaluations:
        result = evaluation.result
        together.setdefault((result.name, result.data_fingerprint), []).append(evaluation)
    several = [group for group in together.values() if len(group) > 1]
    return [_board(group, f"{key}{number}") for number, group in enumerate(several)]


def _board(group: Sequence[Evaluation], key: str) -> dict[str, Any]:
    names = _names(group)
    rule, rule_words = _tie_rule(group)
    items: dict[str, Sequence[ItemScore]] = {
        name: each.items for name, each in zip(names, group, strict=True) if each.items
    }
    results = {name: each.result for name, each in zip(names, group, strict=True)}
    official = _official_board(results, items)
    found = leaderboards(items, tie_rule=rule)
    ranked = [board for board in (official, *found) if board is not None]
    best_first = [standing.name for standing in ranked[0].standings] if ranked else []
    ordered = {name: results[name] for name in dict.fromkeys([*best_first, *names])}
    notes = [f"{name} has no items.jsonl, so it cannot be compared." for name in names if name not in items]
    if len(items) > 1 and not ranked:
        notes.append("The models have no judgement in common, so they cannot be compared.")
    return {
        "id": key,
        "title": data_title(group[0].result.name),
        "official_board": None if official is None else _leaderboard(official, results),
        "official_rule": "" if official is None else f"{OFFICIAL_RULE} {official.alpha:g}.",
        "boards": [_leaderboard(each, results) for each in found],
        "rule": f"{RULE} {found[0].alpha:g}. Ties: {rule_words}." if found else "",
        "notes": notes,
        "beside": [
            _beside(name, ordered[name], items[name], rule)
            for name in ordered
            if any(each.preferences for each in items.get(name, ()))
        ],
        "official": _official(ordered, without_benchmark=official is not None),
        "heat": heat_maps(ordered),
    }


def _official_board(results: Mapping[str, Result], items: Mapping[str, Sequence[ItemScore]]) -> Leaderboard | None:
    """Return the leaderboard by the official metric of a benchmark of the catalogue; None of other data."""
    one = next(iter(results.values()))
    if one.name not in CATALOG or not all(official_measure(each) is not None for each in results.values()):
        return None
    return official_leaderboard(items, benchmark_named(one.name))


def _names(group: Sequence[Evaluation]) -> list[str]:
    """Return the models as they are named; of several results of one model, with the folder."""
    found = [each.result.model for each in group]
    times = Counter(found)
    folders = short_names(str(each.directory) for each in group)
    unique = [
        name if times[name] == 1 else f"{name} ({folders[str(each.directory)]})"
        for name, each in zip(found, group, strict=True)
    ]
    repeated = Counter(unique)
    return [
        name if repeated[name] == 1 else f"{name} #{unique[: place + 1].count(name)}"
        for place, name in enumerate(unique)
    ]


def _tie_rule(group: Sequence[Evaluation]) -> tuple[TieRule, str]:
    """Return the rule that all results share, else the default, with its words."""
    named = {each.result.tie_rule for each in group}
    rules: tuple[TieRule, ...] = ("loss", "half", "exclude")
    shared: list[TieRule] = [rule for rule in rules if named == {rule}]
    if shared:
        return shared[0], TIE_RULES[shared[0]]
    return DEFAULT_TIE_RULE, f"{TIE_RULES[DEFAULT_TIE_RULE]}, as the results do not share a rule"


def _leaderboard(board: Leaderboard, results: Mapping[str, Result]) -> dict[str, Any]:
    kind, title, baseline = _about(board, next(iter(results.values())))
    shown = [standing.score for standing in board.standings] + ([baseline] if baseline is not None else [])
    start = math.floor(10 * min(0.5, *(each.low for each in shown)) - 1e-9) / 10
    scale = RowScale(start, min(1.0, math.ceil(10 * max(each.high for each in shown) + 1e-9) / 10))

    rows = [
        {"number": str(number), "letters": each.letters, **scale.row(each.name, "model", each.score, kind)}
        for number, each in enumerate(board.standings, start=1)
    ]
    if baseline is not None:
        rows.append({"number": "", "letters": "", **scale.row("Longer response wins", "baseline", baseline, kind)})
    n = board.standings[0].score.n
    what = "" if board.kind == OFFICIAL else f"{n:,} judgements on "
    counts = f"{what}{board.items:,} items that all models have"
    if board.left_out:
        counts += f"; {board.left_out:,} items that some model lacks, or has with other content, are left out"
    if board.unjudged:
        counts += f"; {board.unjudged:,} judgements are left out, for a missing reward or an excluded tie"
    return {
        "title": title,
        "counts": f"{counts}. The scale runs from {100 * scale.low:.0f}% to {100 * scale.high:.0f}%.",
        "rows": rows,
    }


def _about(board: Leaderboard, one: Result) -> tuple[Kind, str, Interval | None]:
    """Return how the values of ``board`` are written, its title, and the longer response's where it is over the same.

    ``one`` is the result of one of the models.
    """
    official = board.kind == OFFICIAL
    measure = one.measure("benchmark" if official else board.kind)
    title = metric_text(measure).label if official and measure is not None else _KINDS.get(board.kind)
    whole = not board.left_out and not board.unjudged and board.kind in (OFFICIAL, "preference")
    longer = None
    if whole and measure is not None:
        longer = measure.baselines.get(measure.primary, {}).get("longer_response")
    kind: Kind = metric_text(measure).kind if official and measure is not None else "share"
    return kind, title or f"R{board.kind[1:]}: pairs in the right order", longer


def _beside(name: str, result: Result, items: Sequence[ItemScore], rule: TieRule) -> tuple[str, list[tuple[str, str]]]:
    """Return a model with its control metrics, each as value and interval, or as the reason why it has none.

    In order: accuracy without the pull of length by regression, and by both directions alike; accuracy on the half of
    the pairs it is most sure of; share of exact ties. The first three are those of the result; one from before it had
    them, or by another rule of ties, has them made again from its items.
    """
    pairs, measure = pair_table(items), result.preference
    names = (*LENGTH_METRICS, SUREST_HALF)
    if (
        measure is None
        or result.tie_rule != rule
        or any(each not in measure.metrics and each not in measure.absent for each in names)
    ):
        measure = control_metrics(pairs, rule).measure(IntervalSettings())
    ties = tie_rate(pairs.margins, pairs.prompts)
    shown = [(measure.metrics.get(each), measure.absent.get(each, "")) for each in names]
    return name, [
        ("–", reason) if each is None else (share(each.value), interval_text(each, "share"))
        for each, reason in (*shown, (ties, "there are no pairs"))
    ]


def _official(results: Mapping[str, Result], *, without_benchmark: bool) -> list[dict[str, Any]]:
    """Return the headline of each measure that is no mean of judgements, for every model, the best first.

    That of a benchmark is left out where it has a leaderboard.
    """
    kinds = ("step", "rating") if without_benchmark else ("benchmark", "step", "rating")
    found: dict[str, list[tuple[str, Kind, Interval]]] = {}
    for name, result in results.items():
        for measure in result.measures:
            interval = measure.metrics.get(measure.primary)
            if measure.kind in kinds and interval is not None:
                text = metric_text(measure)
                title = f"{measure_title(measure)}: {text.label}"
                found.setdefault(title, []).append((name, text.kind, interval))
    return [
        {
            "title": title,
            "rows": [
                (name, show(each.value, kind), interval_text(each, kind), f"{each.n:,}")
                for name, kind, each in sorted(rows, key=lambda row: (-row[2].value, row[0]))
            ],
        }
        for title, rows in found.items()
    ]


_STYLES = ("concise", "detailed, plain text", "detailed, with Markdown")
_OF_STYLES = re.compile(r"chosen_(\d)_rejected_(\d)")


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell: its text, its colour, and the words behind it."""

    text: str
    colour: str
    strength: int
    title: str
    beside: str = ""
    """Text below it, small."""


def heat_maps(results: Mapping[str, Result]) -> list[dict[str, Any]]:
    """Return a table of slices against models for each measure, the worst slice first.

    The order is by the mean over the models that have the slice. Only shares are shown, as a colour needs a common
    scale: below one half it is the colour of the rejected, above it that of models.
    """
    every: dict[str, dict[str, dict[str, Interval]]] = {}
    beside: dict[str, dict[str, Interval]] = {}
    shares = [
        (name, each)
        for name, result in results.items()
        for each in result.measures
        if metric_text(each).kind == "share"
    ]
    for name, measure in shares:
        title = _slice_title(measure)
        for label, metrics in measure.slices.items():
            if measure.primary in metrics:
                every.setdefault(title, {}).setdefault(label, {})[name] = metrics[measure.primary]
            if "longer_response" in metrics:
                beside.setdefault(title, {}).setdefault(label, metrics["longer_response"])
    return [
        {"title": title, "rows": _heat_rows(slices, list(results), beside.get(title, {})), "models": list(results)}
        for title, slices in every.items()
        if len(slices) > 1
    ]


def _slice_title(measure: Measure) -> str:
    label = metric_text(measure).label
    match measure.kind:
        case "benchmark":
            return f"{label} by part"
        case "preference":
            return f"{label} by source"
        case _:
            return f"{measure_title(measure)}: {label} by source"


def _heat_rows(
    slices: Mapping[str, Mapping[str, Interval]], names: Sequence[str], beside: Mapping[str, Interval]
) -> list[dict[str, Any]]:
    def mean(cells: Mapping[str, Interval]) -> float:
        return math.fsum(each.value for each in cells.values()) / len(cells)

    rows = []
    for label, cells in sorted(slices.items(), key=lambda pair: (mean(pair[1]), pair[0])):
        sizes = sorted({each.n for each in cells.values()})
        baseline = beside.get(label)
        rows.append(
            {
                "label": label or "(no source)",
                "n": f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} – {sizes[-1]:,}",
                "cells": [_cell(cells[name], name) if name in cells else None for name in names],
                "baseline": None if baseline is None else share(baseline.value),
            }
        )
    return rows


def style_matrix(measure: Measure) -> dict[str, Any] | None:
    """Return the metrics of ``measure`` by the styles of both responses; None where it has none for every two styles.

    A cell has the longer response's metric below it: right of the diagonal, where the plainer response is the better
    one, length points the wrong way.
    """
    found = {pair: name for name in measure.metrics if (pair := styles_of(name)) is not None}
    count = len(_STYLES)
    if set(found) != {(i, j) for i in range(count) for j in range(count)}:
        return None
    rows = []
    for i, style in enumerate(_STYLES):
        cells = []
        for j in range(count):
            name = found[i, j]
            longer = measure.baselines.get(name, {}).get("longer_response")
            words = "" if longer is None else f"longer {share(longer.value)}"
            cells.append(_cell(measure.metrics[name], f"{style} over {_STYLES[j]}", words))
        rows.append((style, cells))
    plainer, same, richer = (share(measure.metrics[name].value) for name in ("hard", "normal", "easy"))
    sentence = (
        f"Where both responses are of one style it is right in {same}; where the better one is of the richer style in "
        f"{richer}, where it is of the plainer style in {plainer}. A judge of style alone is right below the diagonal "
        "and wrong above it."
    )
    return {"styles": _STYLES, "rows": rows, "sentence": sentence}


def styles_of(name: str) -> tuple[int, int] | None:
    """Return the styles that metric ``name`` is about, of the preferred response and of the other; None of others."""
    found = _OF_STYLES.fullmatch(name)
    return None if found is None else (int(found[1]), int(found[2]))


def _cell(found: Interval, name: str, beside: str = "") -> Cell:
    return Cell(
        text=share(found.value),
        colour="rejected" if found.value < 0.5 else "model",
        strength=round(_STRONGEST * min(1.0, 2 * abs(found.value - 0.5))),
        title=f"{name}: {interval_text(found, 'share')}, n = {found.n:,}",
        beside=beside,
    )


Found = tuple[StyleEffect | TransformEffect, Interval]


def stress_leaderboards(tests: Sequence[StressTest], keys: Sequence[str]) -> list[dict[str, Any]]:
    """Return a table of models for each data set that several tests are about; ``keys`` are the ids of the tests."""
    together: dict[tuple[str, str | None], list[tuple[StressTest, str]]] = {}
    for test, key in zip(tests, keys, strict=True):
        together.setdefault((test.report.name, test.report.data_fingerprint), []).append((test, key))
    return [_stress_board(group, f"pb{number}") for number, group in enumerate(together.values()) if len(group) > 1]


def _stress_board(group: Sequence[tuple[StressTest, str]], key: str) -> dict[str, Any]:
    times = Counter(test.report.model for test, _ in group)
    reports = [test.report for test, _ in group]
    names = [
        report.model if times[report.model] == 1 else f"{report.model} ({test.directory})"
        for report, (test, _) in zip(reports, group, strict=True)
    ]
    shifts = [
        {each.name: (each, each.in_spreads) for each in report.styles if each.in_spreads is not None}
        for report in reports
    ]
    drops = [
        {each.name: (each, each.difference) for each in report.transforms if each.difference is not None}
        for report in reports
    ]
    positions = [None if each.position is None else position_rows(each.position) for each in reports]
    return {
        "id": key,
        "title": reports[0].name,
        "alphas": ", ".join(sorted({f"{report.alpha:g}" for report in reports})),
        "models": list(zip(names, (each for _, each in group), strict=True)),
        "styles": _stress_rows(shifts, digits=2, scale=1.0, unit="spreads"),
        "transforms": _stress_rows(drops, digits=1, scale=100.0, unit="points"),
        "positions": positions if any(positions) else [],
    }


def _stress_rows(
    columns: Sequence[Mapping[str, Found]], *, digits: int, scale: float, unit: str
) -> list[dict[str, Any]]:
    """Return a row per effect, the one that moves any model most first; effects found are coloured by size."""
    about = {name: effect.about for column in columns for name, (effect, _) in column.items()}
    sizes = {name: max(abs(column[name][1].value) for column in columns if name in column) for name in about}
    largest = max(sizes.values(), default=0.0) or 1.0

    def cell(found: Found | None) -> dict[str, Any] | None:
        if found is None:
            return None
        effect, interval = found
        is_found = effect.verdict == "found"
        turned = effect.flipped if isinstance(effect, TransformEffect) else None
        ends = signed_interval(interval, digits, scale=scale)
        return {
            "text": signed_text(scale * interval.value, digits),
            "title": f"{ends} {unit}, p = {p_value_text(effect.p_value)}, n = {interval.n:,}",
            "strength": round(_STRONGEST * abs(interval.value) / largest) if is_found else 0,
            "found": is_found,
            "turned": None if turned is None else f"{share(turned.value)} turned",
        }

    return [
        {"label": name, "about": about[name], "cells": [cell(column.get(name)) for column in columns]}
        for name in sorted(about, key=lambda name: (-sizes[name], name))
    ]
