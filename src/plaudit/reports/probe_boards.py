"""Several models' probes of the same data, side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from plaudit.evaluation.stress.robustness import StyleEffect, TransformEffect
from plaudit.records import Interval
from plaudit.reports import tables
from plaudit.reports.axis import p_value_text, signed_interval, signed_text
from plaudit.reports.inputs import Probe
from plaudit.reports.probes import position_rows

_STRONGEST = 55
"""Per cent of colour of the strongest cell."""

Found = tuple[StyleEffect | TransformEffect, Interval]


def probe_boards(probes: Sequence[Probe], keys: Sequence[str]) -> list[dict[str, Any]]:
    """Return a table of models for each data set that several probes are about; ``keys`` are the ids of the probes."""
    together: dict[tuple[str, str | None], list[tuple[Probe, str]]] = {}
    for probe, key in zip(probes, keys, strict=True):
        together.setdefault((probe.report.name, probe.report.data_fingerprint), []).append((probe, key))
    return [_board(group, f"pb{number}") for number, group in enumerate(together.values()) if len(group) > 1]


def _board(group: Sequence[tuple[Probe, str]], key: str) -> dict[str, Any]:
    times = Counter(probe.report.model for probe, _ in group)
    reports = [probe.report for probe, _ in group]
    names = [
        report.model if times[report.model] == 1 else f"{report.model} ({probe.directory})"
        for report, (probe, _) in zip(reports, group, strict=True)
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
        "styles": _rows(shifts, digits=2, scale=1.0, unit="spreads"),
        "transforms": _rows(drops, digits=1, scale=100.0, unit="points"),
        "positions": positions if any(positions) else [],
    }


def _rows(columns: Sequence[Mapping[str, Found]], *, digits: int, scale: float, unit: str) -> list[dict[str, Any]]:
    """Return a row per effect, the one that moves any model most first; what was found is coloured by its size."""
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
            "turned": None if turned is None else f"{tables.share(turned.value)} turned",
        }

    return [
        {"label": name, "about": about[name], "cells": [cell(column.get(name)) for column in columns]}
        for name in sorted(about, key=lambda name: (-sizes[name], name))
    ]
