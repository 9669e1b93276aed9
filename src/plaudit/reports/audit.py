"""One self-contained HTML page about an audit of data: no script, no network, no other file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from plaudit.data.audit.findings import SEVERITIES, AuditReport, Finding
from plaudit.records import write_record, write_text
from plaudit.reports import tables
from plaudit.reports.page import render_page
from plaudit.reports.style import BASELINE, CHOSEN, PAPER, REJECTED, RULE, WIDE, Plot, figure, svg

CHECKS: Mapping[str, tuple[str, str]] = {
    "reading": ("Reading", "What the reading left out, and responses that say nothing."),
    "repeats": ("Repeats and contradictions", "Groups, prompts and labels that come again."),
    "length": ("Length", "Whether the longer response wins."),
    "style": (
        "Style",
        "Surface features that people may like whatever the content, by side.",
    ),
    "leaks": (
        "Leaks",
        "Surface features that should tell nothing of the label, by side.",
    ),
    "noise": ("Wrong labels", "Estimates of the share of labels that are wrong."),
    "truncation": ("Truncation", "Pairs that a length limit makes equal."),
    "leakage": ("Leakage", "Prompts that are in the other split or in a benchmark, too."),
}
"""Title and meaning of each check, in the order of the page."""

RECORD_NAME = "audit.json"
PAGE_NAME = "audit.html"
MAX_FEATURES = 24
"""Surface features that the plot shows: those of the largest difference."""


def write_audit(report: AuditReport, folder: Path) -> tuple[Path, Path]:
    """Return the paths of ``audit.json`` and ``audit.html`` after writing both into ``folder``, each atomically.

    Raises:
        OutputError: when one cannot be written.
    """
    record, page = folder / RECORD_NAME, folder / PAGE_NAME
    write_record(record, report)
    write_text(page, render_audit(report))
    return record, page


def render_audit(report: AuditReport) -> str:
    """Return the page about ``report`` as HTML; equal reports give equal text, whatever their data hold."""
    return render_page(
        "audit.html.j2",
        kind="Audit of preference data",
        title=report.name,
        page_title=f"Audit of {report.name}",
        head_facts=_facts(report),
        report=report,
        sentence=headline(report),
        counts=[(severity, len(report.of(severity))) for severity in SEVERITIES],
        urgent=[(_title(each), each) for severity in SEVERITIES[:2] for each in report.of(severity)],
        checks=_checks(report),
        plots=_plots(report),
        sources=sorted(report.sources.items(), key=_by_count),
    )


def headline(report: AuditReport) -> str:
    """Return the findings in one sentence."""
    alarms, notices = len(report.of("alarm")), len(report.of("notice"))
    looked = f"{len(report.findings)} things were looked for"
    if not alarms and not notices:
        return f"{looked}; nothing of note was found."
    if not alarms:
        return f"{looked}: no alarm, {notices} {_plural('notice', notices)}."
    return f"{looked}: {alarms} {_plural('alarm', alarms)}, {notices} {_plural('notice', notices)}."


def _plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"


def _by_count(item: tuple[str, int]) -> tuple[int, str]:
    return -item[1], item[0]


def _facts(report: AuditReport) -> list[tuple[str, str]]:
    return [
        ("Rows read", f"{report.rows:,}"),
        ("Groups", f"{report.groups:,}"),
        ("Pairs", f"{report.pairs:,}"),
        ("Ties", f"{report.ties:,}"),
        ("Date", tables.date_text(report.created)),
        ("Data fingerprint", report.fingerprint),
    ]


def _checks(report: AuditReport) -> list[dict[str, Any]]:
    """Return every check that has findings, the unknown ones last, each with the rows of its table."""
    names = list(CHECKS) + [f.check for f in report.findings if f.check not in CHECKS]
    checks = []
    for name in dict.fromkeys(names):
        found = [finding for finding in report.findings if finding.check == name]
        if found:
            title, meaning = CHECKS.get(name, (name, ""))
            checks.append({"id": name, "title": title, "meaning": meaning, "findings": found})
    return checks


def _title(finding: Finding) -> str:
    return CHECKS.get(finding.check, (finding.check, ""))[0]


def _plots(report: AuditReport) -> list[Plot]:
    sides = (("chosen", "chosen"), ("rejected", "rejected"))
    plots = []
    drawn = surface_feature_plot([finding for finding in report.findings if finding.check in ("style", "leaks")])
    if drawn is not None:
        caption = "Share of responses with each surface feature, with 95% intervals; those of the largest difference."
        plots.append(Plot(drawn, "Surface features: style and format", caption, sides, wide=True))
    for position, (unit, rows) in enumerate(report.histograms.items()):
        drawn = length_plot(rows, unit, name=f"length{position}")
        if drawn is not None:
            caption = f"Lengths in {unit} up to the 99% point; {int(_beyond(rows)):,} texts are longer."
            plots.append(Plot(drawn, f"Length in {unit}", caption, (("dash", "prompt"), *sides)))
    return plots


def surface_feature_plot(findings: Sequence[Finding]) -> str | None:
    """Return the rates of surface features on chosen and rejected responses, the largest difference on top."""
    shown = [f for f in findings if {"on chosen", "on rejected"} <= f.figures.keys() and f.count]
    shown = sorted(shown, key=lambda f: -abs(f.figures["on chosen"].value - f.figures["on rejected"].value))[
        :MAX_FEATURES
    ]
    if not shown:
        return None
    with figure(60 + 24 * len(shown), width=WIDE) as drawing:
        axes = drawing.subplots()
        places = np.arange(len(shown))[::-1]
        for offset, side, colour in ((0.14, "on chosen", CHOSEN), (-0.14, "on rejected", REJECTED)):
            found = [f.figures[side] for f in shown]
            values = 100 * np.array([each.value for each in found])
            low, high = (100 * np.array([getattr(each, end) for each in found]) for end in ("low", "high"))
            axes.hlines(places + offset, low, high, color=colour, linewidth=2.2, alpha=0.45)
            axes.plot(values, places + offset, "o", color=colour, markersize=6.5, markeredgecolor=PAPER)
        axes.set_yticks(places, [_feature_label(f) for f in shown])
        axes.set_ylim(-0.7, len(shown) - 0.3)
        axes.set_xlim(left=0)
        axes.set_xlabel("% of responses")
        axes.grid(visible=False, axis="y")
        axes.grid(visible=True, axis="x", color=RULE)
        return svg(drawing, name="features", title="rates of surface features on chosen and rejected responses")


def length_plot(rows: Sequence[Mapping[str, float]], unit: str, *, name: str) -> str | None:
    """Return the histogram of the lengths of prompts, chosen and rejected responses; None without any.

    The last bin, of the longest hundredth, is left out where the bins below it have one width.
    """
    kept = _regular(rows)
    if not kept:
        return None
    edges = np.array([row["low"] for row in kept] + [max(kept[-1]["high"], kept[0]["low"] + 1)])
    with figure(270) as drawing:
        axes = drawing.subplots()
        for key, colour in (("prompt", BASELINE), ("rejected", REJECTED), ("chosen", CHOSEN)):
            counts = np.array([row[key] for row in kept])
            if key != "prompt":
                axes.stairs(counts, edges, fill=True, color=colour, alpha=0.18, linewidth=0)
            axes.stairs(counts, edges, color=colour, linewidth=1.8, linestyle="--" if key == "prompt" else "-")
        axes.set_xlim(edges[0], edges[-1])
        axes.set_xlabel(f"length in {unit}")
        axes.set_ylabel("texts")
        return svg(drawing, name=name, title=f"histogram of lengths in {unit}")


def _regular(rows: Sequence[Mapping[str, float]]) -> Sequence[Mapping[str, float]]:
    return rows[:-1] if _is_open(rows) else rows


def _beyond(rows: Sequence[Mapping[str, float]]) -> float:
    return sum(rows[-1][key] for key in ("prompt", "chosen", "rejected")) if _is_open(rows) else 0.0


def _is_open(rows: Sequence[Mapping[str, float]]) -> bool:
    """Return whether the last bin holds the longest texts, and is not of the width of the others."""
    if len(rows) < 3:
        return len(rows) == 2
    return not np.isclose(rows[-1]["high"] - rows[-1]["low"], rows[0]["high"] - rows[0]["low"], rtol=1e-6)


def _feature_label(finding: Finding) -> str:
    # matplotlib reads a pair of dollar signs as mathematics.
    name = finding.name.replace("$", r"\$")
    return name if len(name) <= 40 else f"{name[:39]}…"
