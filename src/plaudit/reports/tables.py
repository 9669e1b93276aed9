"""Numbers, scales and tables of a page: shares and intervals in print, and a table for each measure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from plaudit.records import Interval, Measure, Result
from plaudit.reports.names import Kind, MetricText, baseline_words, measure_title, metric_text, plain_words
from plaudit.reports.style import nice_ticks

MAX_SIZES = 8
"""More sizes of groups than this are not named one by one."""

MAX_COLUMNS = 5
"""More baselines than this share one column, each metric with those it has."""

TIE_RULES: dict[str, str] = {
    "loss": "an exact tie counts as wrong",
    "half": "an exact tie counts as half right",
    "exclude": "exact ties are left out of the accuracy",
}


def share(value: float) -> str:
    """Return a share as a percentage with one decimal and a true minus sign: 0.7134 is ``71.3%``."""
    return f"{100 * value:.1f}%".replace("-", "−")


def number(value: float) -> str:
    """Return a number with three digits (three decimals below one, none from 1,000) and a true minus sign."""
    size = abs(value)
    if size == 0 or 1e-3 <= size < 1:
        text = f"{value:.3f}"
    elif 1 <= size < 1000:
        text = f"{value:.{max(0, 2 - math.floor(math.log10(size)))}f}"
    elif 1000 <= size < 1e6:
        text = f"{value:,.0f}"
    else:
        text = f"{value:.3g}"
    return text.replace("-", "−")


def show(value: float, kind: Kind) -> str:
    """Return ``value`` as its kind is written."""
    return share(value) if kind == "share" else number(value)


def interval_text(interval: Interval, kind: Kind = "share") -> str:
    """Return the ends of an interval: ``68.5 – 74.0%``."""
    low, high = show(interval.low, kind), show(interval.high, kind)
    return f"{low.removesuffix('%')}\N{NO-BREAK SPACE}–\N{NO-BREAK SPACE}{high}"


def signed_text(value: float, digits: int, *, plus: bool = True) -> str:
    """Return a number with its sign; one that rounds to 0 has none."""
    text = f"{value:{'+' if plus else ''}.{digits}f}"
    return (text.lstrip("+-") if float(text) == 0 else text).replace("-", "−")


def signed_number(value: float) -> str:
    """Return a number as tables show it, with a plus where it is above 0."""
    return ("+" if value > 0 else "") + number(value)


def signed_interval(interval: Interval, digits: int, *, scale: float = 1.0) -> str:
    """Return the ends of an interval with their signs: ``−0.25 to +0.12``."""
    return f"{signed_text(scale * interval.low, digits)} to {signed_text(scale * interval.high, digits)}"


def p_value_text(value: float | None) -> str:
    """Return a p-value with three digits behind the point; a dash for None."""
    if value is None:
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}" if value < 0.995 else "1"


def fine_share(value: float) -> str:
    """Return a share as a percentage, with more decimals where it is small."""
    return f"{100 * value:.2f}%" if 0 < value < 0.1 else share(value)


def fine_ends(interval: Interval) -> str:
    """Return the ends of an interval of shares, with more decimals where they are small."""
    low, high = fine_share(interval.low), fine_share(interval.high)
    return f"{low.removesuffix('%')}\N{NO-BREAK SPACE}–\N{NO-BREAK SPACE}{high}"


def date_text(created: str) -> str:
    """Return an ISO 8601 time to the minute."""
    return created[:16].replace("T", " ") + " UTC" if len(created) >= 16 else created


@dataclass(frozen=True, slots=True)
class RowScale:
    """A common scale for rows of a page; places are in per cent of its width."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...] = ()
    """Place and label."""

    def place(self, value: float) -> float:
        """Return where ``value`` stands."""
        return round(100 * (value - self.low) / (self.high - self.low), 2)

    def span(self, interval: Interval) -> dict[str, float]:
        """Return where the interval stands: ``at``, ``low`` and ``width``."""
        low, high = self.place(interval.low), self.place(max(interval.low, interval.high))
        return {"at": self.place(interval.value), "low": low, "width": round(high - low, 2)}

    def row(self, label: str, mark: str, interval: Interval, kind: Kind = "share") -> dict[str, Any]:
        """Return one line of a picture: ``label``, ``mark``, value and interval in print, and where they stand."""
        words = {"label": label, "mark": mark, "value": show(interval.value, kind)}
        ends = "" if interval.method == "exact" else interval_text(interval, kind)
        return words | {"interval": ends} | self.span(interval)


def scale_of(values: Iterable[float], *, percent: bool = False, signed: bool = False, ticks: int = 5) -> RowScale:
    """Return a scale that holds every value, with round ends and about ``ticks`` ticks."""
    found = list(values)
    low, high = min(found), max(found)
    if low == high:
        low, high = low - 0.5, high + 0.5
    places = nice_ticks(ticks).tick_values(low, high)
    shown = [round(float(place) * (100 if percent else 1), 10) for place in places]
    digits = max(len(np.format_float_positional(each, trim="-").partition(".")[2]) for each in shown)
    unit = "%" if percent and not signed else ""
    bare = RowScale(float(places[0]), float(places[-1]))
    labels = [f"{signed_text(each, digits, plus=signed)}{unit}" for each in shown]
    marks = tuple((bare.place(float(place)), label) for place, label in zip(places, labels, strict=True))
    return RowScale(bare.low, bare.high, marks)


@dataclass(frozen=True, slots=True)
class MeasureRow:
    """One line of the table of a measure; ``beside`` has a cell for each baseline of the table."""

    label: str
    value: str
    interval: str
    n: str
    meaning: str = ""
    beside: tuple[tuple[str, str], ...] = ()
    """Value and interval of each baseline; a dash where it has none beside this metric."""


@dataclass(frozen=True, slots=True)
class MeasureTable:
    """One measure in words."""

    kind: str
    title: str
    counts: str
    rows: list[MeasureRow]
    baselines: list[str]
    """Rules beside the rows, in words."""
    slices: list[MeasureRow]
    slice_baselines: list[str]
    slice_title: str
    notes: list[str]
    methods: list[str]
    confidence: str


def measure_table(measure: Measure, *, without: Iterable[str] = ()) -> MeasureTable:
    """Return the table of ``measure``; metrics ``without`` stand elsewhere on the page."""
    left_out, primary = set(without), measure.primary
    shown = {name: each for name, each in measure.metrics.items() if name not in left_out}
    rules = list(dict.fromkeys(rule for name in shown for rule in measure.baselines.get(name, {})))
    # Columns that hold one value each would be all dashes: those baselines follow the rows.
    below = measure.baselines.get(primary, {}) if measure.kind == "preference" else {}
    rules = [rule for rule in rules if rule not in below]
    slices = [(source, each) for source, each in measure.slices.items() if primary in each]
    if measure.kind != "benchmark":
        slices.sort(key=lambda pair: (pair[1][primary].value, pair[0]))
    of_slices = list(dict.fromkeys(rule for _, each in slices for rule in each if rule != primary))
    return MeasureTable(
        kind=measure.kind,
        title=measure_title(measure),
        counts=_counts(measure),
        rows=[
            _row(interval, metric_text(measure, name), measure.baselines.get(name, {}), rules)
            for name, interval in shown.items()
        ]
        + [
            _row(each, metric_text(measure), {}, rules, label=f"Baseline: {baseline_words(rule)}")
            for rule, each in below.items()
        ],
        baselines=[baseline_words(rule) for rule in rules],
        slices=[
            _row(each[primary], metric_text(measure), each, of_slices, label=source or "(no source)")
            for source, each in slices
        ],
        slice_baselines=[baseline_words(rule) for rule in of_slices],
        slice_title=f"{metric_text(measure).label} by {'part' if measure.kind == 'benchmark' else 'source'}",
        notes=[*_absent_notes(measure), *(f"{_capital(name)}: {rule}." for name, rule in measure.rules.items())],
        methods=sorted({interval.method for interval in measure.metrics.values()}),
        confidence=next((f"{100 * each.confidence:g}%" for each in measure.metrics.values()), "95%"),
    )


def _counts(measure: Measure) -> str:
    counts = measure.counts
    details = ", ".join(f"{plain_words(name)} {value:,}" for name, value in measure.details.items() if value)
    if measure.kind == "benchmark":
        items = f"{counts.n:,} items: {counts.scored:,} scored, {counts.failed:,} failed."
        return f"{items} {details[:1].upper()}{details[1:]}." if details else items
    groups = (
        f"{counts.n:,} groups carry this label: {counts.scored:,} scored, {counts.unscored:,} whose label says "
        f"nothing, {counts.failed:,} failed."
    )
    return f"{groups} Of the scored: {details}." if details else groups


def _absent_notes(measure: Measure) -> list[str]:
    """Return why metrics have no value, those of one reason together."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in measure.absent.items():
        by_reason.setdefault(reason, []).append(metric_text(measure, name).label)
    return [f"{', '.join(labels)}: none, because {reason}." for reason, labels in by_reason.items()]


def _row(
    interval: Interval,
    text: MetricText,
    beside: Mapping[str, Interval],
    rules: Iterable[str],
    *,
    label: str | None = None,
) -> MeasureRow:
    found = [beside.get(rule) for rule in rules]
    return MeasureRow(
        label=text.label if label is None else label,
        value=show(interval.value, text.kind),
        interval=_ends(interval, text),
        n=f"{interval.n:,}",
        meaning=text.meaning if label is None else "",
        beside=tuple(("–", "") if each is None else (show(each.value, text.kind), _ends(each, text)) for each in found),
    )


def _ends(interval: Interval, text: MetricText) -> str:
    if interval.method.startswith("no interval"):
        return "none"
    return "known" if interval.method == "exact" else interval_text(interval, text.kind)


def _capital(name: str) -> str:
    words = plain_words(name)
    return words[:1].upper() + words[1:]


def counts_sentence(result: Result) -> str:
    """Return the counts of all items by status, in words: nothing is left out in silence."""
    counts = f"{result.scored:,} scored, {result.unscored:,} unscored, {result.failed:,} failed"
    odd = "".join(f" {sentence}" for sentence in _oddities(result))
    if result.measures and result.preference is None:
        return f"{result.n:,} items: {counts}.{odd}"
    rule = TIE_RULES.get(result.tie_rule, f"tie rule: {result.tie_rule}")
    count = 0 if result.preference is None else result.preference.details["ties"]
    ties = "no exact ties" if count == 0 else f"{count:,} exact tie{'s' * (count > 1)}"
    return f"{result.n:,} items: {counts}; {ties} ({rule}).{odd}"


def _oddities(result: Result) -> list[str]:
    """Return in sentences the oddities of the data: sizes, repeated ids, items missing or left out."""
    counts = result.details
    of_pairs = {} if result.preference is None else result.preference.details
    said = []
    if counts.get("fewest_responses", 0) < counts.get("most_responses", 0):
        sizes = ", ".join(f"{row['groups']:,.0f} with {row['responses']:.0f}" for row in _sizes(result))
        spread = f"{counts['fewest_responses']:,} to {counts['most_responses']:,}"
        said.append(f"Groups have {spread} responses{f' ({sizes})' if sizes else ''}.")
    if repeated := counts.get("repeated_ids", 0):
        said.append(f"{repeated:,} items have an id that an item before them has; each counts.")
    if missing := counts.get("missing_rewards", 0):
        items = counts["items_missing_rewards"]
        said.append(f"{missing:,} of {counts['responses']:,} rewards are missing, in {items:,} items.")
    if both := of_pairs.get("contradictory_pairs", 0):
        said.append(f"{both:,} pairs are preferred both ways: a model gets one of the two wrong.")
    if strangers := counts.get("rewards_of_no_group", 0):
        said.append(f"{strangers:,} rows of rewards belong to no group.")
    if result.left_out:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in result.left_out.items())
        said.append(f"{sum(result.left_out.values()):,} rows of the file are no items: {reasons}.")
    return said


def _sizes(result: Result) -> list[dict[str, float]]:
    """Return how many groups have how many responses, or nothing where there are too many sizes to name."""
    if result.preference is None:
        return []
    rows = result.preference.curves.get("group_sizes", [])
    return rows if len(rows) <= MAX_SIZES else []


_SILENT = ("version", "examples", "published_rows", "detected", "mixture", "ignored_fields")
"""Facts of the reading that a page leaves to the record itself."""


def data_words(facts: Mapping[str, Any]) -> str:
    """Return the facts of one data set of a run record in sentences: size, file, rows left out, tokens, fingerprint."""
    rest = {name: value for name, value in facts.items() if name not in ("read", "encoded", "labels")}
    read, encoded = dict(facts.get("read") or {}), dict(facts.get("encoded") or {})
    size = [f"{rest.pop(name):,} {name}" for name in ("groups", "preferences") if rest.get(name)]
    said = [" with ".join(size)] if size else []
    if path := read.pop("path", ""):
        source = "".join(f", {name} {read[name]}" for name in ("source", "licence") if read.get(name))
        said.append(f"Read from {path} (format {read.get('format', 'unknown')}{source})")
    if read.get("joined"):
        said.append(f"{read['joined']:,} rows joined the group of the row before them")
    left_out = Counter[str]()
    for part in (read, encoded, rest):
        left_out.update(part.pop("dropped", {}))
    if without := rest.pop("without_labels", 0):
        left_out[f"groups without {facts.get('labels', 'labels')}"] += without
    reasons = ", ".join(f"{plain_words(reason)} {count:,}" for reason, count in left_out.most_common())
    said.append(f"Left out: {reasons}" if reasons else "Nothing was left out")
    said += [f"{_capital(reason)}: {count:,}" for reason, count in encoded.pop("changed", {}).items()]
    shared, separate = (rest.pop(f"tokens_{name}", None) for name in ("shared", "separate"))
    if shared:
        said.append(f"{shared:,} tokens with shared prefixes, {separate or shared:,} without")
    fingerprint = rest.pop("fingerprint", None)
    said += [f"{_capital(name)}: {_fact(value)}" for name, value in rest.items() if name not in _SILENT]
    return ". ".join([*said, *([f"Fingerprint {fingerprint}"] if fingerprint else [])]) + "."


def model_words(model: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what a run record says of its model, as label and words."""
    rest = dict(model)
    rows = []
    if (count := rest.pop("parameters", None)) is not None:
        trained = rest.pop("trainable", count)
        share_of = "all trained" if trained == count else f"{trained:,} trained"
        rows.append(
            ("Model", f"{rest.pop('architecture', 'of unknown architecture')}, {count:,} parameters, {share_of}")
        )
    if limit := rest.pop("max_length", None):
        rows.append(("Longest conversation", f"{limit:,} tokens"))
    if layout := rest.pop("layout", None):
        reason = rest.pop("layout_reason", "")
        rows.append(("Layout of batches", f"{plain_words(layout)}{f': {reason}' if reason else ''}"))
    if recipe := rest.pop("recipe_hash", None):
        rows.append(("Scoring recipe", recipe))
    return [*rows, *((_capital(name), _fact(value)) for name, value in rest.items())]


def versions_text(versions: Mapping[str, str]) -> str:
    """Return versions of packages as a list in one line."""
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def duration_text(seconds: float) -> str:
    """Return a duration in seconds, minutes or hours."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _fact(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{plain_words(str(key))} {_fact(inner)}" for key, inner in value.items()) or "none"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
