"""Several models side by side: a leaderboard for each data set, and a heat map of its slices, the worst ones first."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from plaudit.evaluation.compare.leaderboard import (
    OFFICIAL,
    OFFICIAL_RULE,
    RULE,
    Leaderboard,
    leaderboards,
    official_leaderboard,
)
from plaudit.evaluation.metrics.estimates import Estimator
from plaudit.evaluation.metrics.length_control import LENGTH_FIGURES, SUREST_HALF, put_length_control, put_selective
from plaudit.evaluation.metrics.measure import Findings
from plaudit.evaluation.metrics.pairs import pair_table
from plaudit.evaluation.metrics.preference import CONFIDENCE, DEFAULT_TIE_RULE, RESAMPLES
from plaudit.evaluation.official.catalog import CATALOG, benchmark_named
from plaudit.records import Interval, ItemScore, Result
from plaudit.reports import tables
from plaudit.reports.heat import heat_maps
from plaudit.reports.hero import official_measure
from plaudit.reports.inputs import Evaluation
from plaudit.reports.measures import figure_of, measure_title
from plaudit.reports.names import data_title, short_names
from plaudit.statistics.agreement import TieRule, tie_rate

_KINDS = {
    "preference": "Preferences: pairs in the right order",
    "ranking": "Ranks: pairs in the right order",
    "outcome": "Outcomes: the highest reward is correct",
}


def boards(evaluations: Sequence[Evaluation], key: str = "b") -> list[dict[str, Any]]:
    """Return what the template needs about each data set that several evaluations are about; ids begin with ``key``."""
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
    """Return the leaderboard by the official figure of a benchmark of the catalogue; None of other data."""
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
        return shared[0], tables.TIE_RULES[shared[0]]
    return DEFAULT_TIE_RULE, f"{tables.TIE_RULES[DEFAULT_TIE_RULE]}, as the results do not share a rule"


def _leaderboard(board: Leaderboard, results: Mapping[str, Result]) -> dict[str, Any]:
    kind, title, baseline = _about(board, next(iter(results.values())))
    shown = [standing.score for standing in board.standings] + ([baseline] if baseline is not None else [])
    start = math.floor(10 * min(0.5, *(each.low for each in shown)) - 1e-9) / 10
    stop = min(1.0, math.ceil(10 * max(each.high for each in shown) + 1e-9) / 10)

    def place(value: float) -> float:
        return round(100 * (value - start) / (stop - start), 2)

    def row(label: str, mark: str, score: Interval, *, number: str = "", letters: str = "") -> dict[str, Any]:
        return {
            "number": number,
            "label": label,
            "mark": mark,
            "value": tables.show(score.value, kind),
            "interval": tables.interval_text(score, kind),
            "at": place(score.value),
            "low": place(score.low),
            "width": round(place(score.high) - place(score.low), 2),
            "letters": letters,
        }

    rows = [
        row(standing.name, "model", standing.score, number=str(number), letters=standing.letters)
        for number, standing in enumerate(board.standings, start=1)
    ]
    if baseline is not None:
        rows.append(row("Longer response wins", "baseline", baseline))
    n = board.standings[0].score.n
    what = "" if board.kind == OFFICIAL else f"{n:,} judgements on "
    counts = f"{what}{board.items:,} items that all models have"
    if board.left_out:
        counts += f"; {board.left_out:,} items that some model lacks, or has with other content, are left out"
    if board.unjudged:
        counts += f"; {board.unjudged:,} judgements are left out, for a missing reward or an excluded tie"
    return {
        "title": title,
        "counts": f"{counts}. The scale runs from {100 * start:.0f}% to {100 * stop:.0f}%.",
        "rows": rows,
    }


def _about(board: Leaderboard, one: Result) -> tuple[tables.Kind, str, Interval | None]:
    """Return how the values of ``board`` are written, its title, and the longer response's where it is over the same.

    ``one`` is the result of one of the models.
    """
    whole = not board.left_out and not board.unjudged
    measure = official_measure(one) if board.kind == OFFICIAL else None
    if measure is not None:
        text = figure_of(measure)
        longer = measure.baselines.get(measure.headline, {}).get("longer_response")
        return text.kind, text.label, longer if whole else None
    title = _KINDS.get(board.kind) or f"R{board.kind[1:]}: pairs in the right order"
    return "share", title, one.baselines.get("longer_response") if whole and board.kind == "preference" else None


def _beside(name: str, result: Result, items: Sequence[ItemScore], rule: TieRule) -> tuple[str, list[tuple[str, str]]]:
    """Return a model with what its accuracy on preferences hides, each as value and interval, or as the reason.

    In order: accuracy without the pull of length by regression, and by both directions alike; accuracy on the half of
    the pairs it is most sure of; share of exact ties. The first three are those of the result; one from before it had
    them, or by another rule of ties, has them made again from its items.
    """
    pairs = pair_table(items)
    names = (*LENGTH_FIGURES, SUREST_HALF)
    found = Findings(figures=result.figures, absent=result.absent)
    if result.tie_rule != rule or any(each not in found.figures and each not in found.absent for each in names):
        found, estimate = Findings(), Estimator(confidence=CONFIDENCE, resamples=RESAMPLES, seed=0)
        put_length_control(found, pairs, rule, estimate)
        put_selective(found, pairs, rule, estimate)
    ties = tie_rate(pairs.margins, pairs.prompts)
    shown = [(found.figures.get(each), found.absent.get(each, "")) for each in names]
    return name, [
        ("–", reason) if each is None else (tables.share(each.value), tables.interval_text(each, "share"))
        for each, reason in (*shown, (ties, "there are no pairs"))
    ]


def _official(results: Mapping[str, Result], *, without_benchmark: bool) -> list[dict[str, Any]]:
    """Return the headline of each measure that is no mean of judgements, for every model, the best first.

    That of a benchmark is left out where it has a leaderboard.
    """
    kinds = ("step", "rating") if without_benchmark else ("benchmark", "step", "rating")
    found: dict[str, list[tuple[str, tables.Kind, Interval]]] = {}
    for name, result in results.items():
        for measure in result.measures:
            interval = measure.figures.get(measure.headline)
            if measure.kind in kinds and interval is not None:
                text = figure_of(measure)
                title = f"{measure_title(measure)}: {text.label}"
                found.setdefault(title, []).append((name, text.kind, interval))
    return [
        {
            "title": title,
            "rows": [
                (name, tables.show(each.value, kind), tables.interval_text(each, kind), f"{each.n:,}")
                for name, kind, each in sorted(rows, key=lambda row: (-row[2].value, row[0]))
            ],
        }
        for title, rows in found.items()
    ]
