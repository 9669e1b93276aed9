"""The record of an audit: findings with a rate, an interval, a severity and examples."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from plaudit.records import Interval, Record

Severity = Literal["alarm", "notice", "ok"]
SEVERITIES: tuple[Severity, ...] = ("alarm", "notice", "ok")

ALPHA = 0.01
"""A difference counts where the p-value, adjusted within its family of tests, is below this."""
NUM_EXAMPLES = 5
"""Examples of a finding that are kept."""


class Example(Record):
    """One place where a finding shows."""

    row: int | None = None
    """Position of the group in the audited set; null for a row that never became a group."""
    id: str = ""
    """Id of the group."""
    place: str = ""
    """The other place: the second group, the benchmark's prompt, or the ``file:line`` of a row left out."""
    note: str = ""
    """Remark on the place."""


class Finding(Record):
    """One fault that was looked for, and how often it was found."""

    check: str
    """The check it belongs to: ``reading``, ``repeats``, ``length`` …"""
    name: str
    """Name of the fault, unique within the check."""
    severity: Severity
    """``alarm``: do not train on this before you have looked. ``notice``: know it. ``ok``: nothing of note."""
    summary: str
    """The finding in a sentence."""
    rule: str
    """Conditions for a notice and an alarm, and the way of counting."""
    count: int
    """Items that show it."""
    rate: Interval
    """Their share, with its interval and the number of items."""
    figures: dict[str, Interval] = Field(default_factory=dict)
    """Further metrics."""
    p_value: float | None = None
    """P-value, adjusted for the number of tests in the family; null where there is no test."""
    by_source: dict[str, Interval] = Field(default_factory=dict)
    """The rate by source, where there are several."""
    examples: tuple[Example, ...] = ()
    """The first places."""


class AuditReport(Record):
    """Everything an audit found in one set of groups."""

    name: str
    """Name or path of the audited data."""
    fingerprint: str
    """Hash of the audited groups."""
    rows: int
    """Rows read."""
    groups: int
    """Groups audited."""
    pairs: int
    """Preferences with a winner in them."""
    ties: int
    """Preferences whose probability is exactly ½; they are in no pair."""
    sources: dict[str, int] = Field(default_factory=dict)
    """Groups of each of the largest sources; those of all others are one entry."""
    findings: tuple[Finding, ...] = ()
    """Every check, whatever it found."""
    not_judged: dict[str, str] = Field(default_factory=dict)
    """For each check that could not be made, the reason."""
    histograms: dict[str, list[dict[str, float]]] = Field(default_factory=dict)
    """For each unit (characters, tokens of a tokenizer), one row per bin: low, high, prompt, chosen, rejected."""
    settings: dict[str, str] = Field(default_factory=dict)
    """Thresholds and choices that the findings rest on."""
    versions: dict[str, str] = Field(default_factory=dict)
    """Package versions."""
    created: str = ""
    """UTC time, ISO 8601."""

    def of(self, severity: Severity) -> tuple[Finding, ...]:
        """Return the findings of one severity, in order."""
        return tuple(finding for finding in self.findings if finding.severity == severity)

    def find(self, check: str, name: str) -> Finding:
        """Return one finding.

        Raises:
            KeyError: where there is none of that name.
        """
        for finding in self.findings:
            if (finding.check, finding.name) == (check, name):
                return finding
        raise KeyError(f"no finding {name!r} of the check {check!r}")


def by_share(count: int, rate: Interval, *, alarm: float) -> Severity:
    """Return the severity of something that should not be there at all.

    ``alarm`` is the share from which it is an alarm: the whole interval must lie at or above it. Below that a single
    case is a notice.
    """
    if count and rate.low >= alarm:
        return "alarm"
    return "notice" if count else "ok"


def share_rule(what: str, alarm: float) -> str:
    """Return the rule of ``by_share`` in words."""
    if alarm == 0.0:
        return f"{what}; any is an alarm"
    return f"{what}; one is a notice, an interval above {alarm:.1%} an alarm"


def fault(
    check: str, name: str, *, count: int, rate: Interval, alarm: float, summary: str, counted: str, **more: Any
) -> Finding:
    """Return the finding of something that should not be there at all: see ``by_share``.

    ``summary`` is the finding in a sentence, ``counted`` are the items that were counted; ``more`` are further fields.
    """
    return Finding(
        check=check,
        name=name,
        severity=by_share(count, rate, alarm=alarm),
        summary=summary,
        rule=share_rule(counted, alarm),
        count=count,
        rate=rate,
        **more,
    )


def share_of(found: npt.NDArray[np.bool_]) -> str:
    """Return how many of the items were found, in words: ``3 of 1,000``."""
    return f"{int(found.sum()):,} of {len(found):,}"


def by_gap(p_value: float, gap: float, *, alarm: float) -> Severity:
    """Return the severity of a difference between chosen and rejected: it must be sure, and for an alarm large."""
    if p_value >= ALPHA:
        return "ok"
    return "alarm" if abs(gap) >= alarm else "notice"


def gap_rule(what: str, alarm: float) -> str:
    """Return the rule of ``by_gap`` in words."""
    return (
        f"{what}; sign test over prompts, Holm-adjusted: a notice below p = {ALPHA}, an alarm if chosen and rejected "
        f"also differ by {100 * alarm:g} points"
    )
