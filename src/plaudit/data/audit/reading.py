"""What the reading left out, and responses that say nothing."""

from __future__ import annotations

import numpy as np

from plaudit.data.audit.findings import Example, Finding, by_share, share_rule
from plaudit.data.audit.table import AuditTable, nothing_seen
from plaudit.data.schema.report import ReadReport
from plaudit.statistics.intervals import wilson_interval

MANY = 0.01
"""Share from which rows that cannot be used are an alarm."""


def dropped_rows(report: ReadReport) -> list[Finding]:
    """Return one finding for each reason that rows were left out for, the most frequent first; one where none was."""
    ordered = sorted(report.dropped.items(), key=lambda item: (-item[1], item[0]))
    if not ordered:
        rate = wilson_interval(0, report.rows) or nothing_seen()
        rule = share_rule("rows left out of the rows read", MANY)
        summary = f"every one of {report.rows:,} rows was used"
        return [
            Finding(
                check="reading", name="rows left out", severity="ok", summary=summary, rule=rule, count=0, rate=rate
            )
        ]
    findings = []
    for reason, count in ordered:
        rate = wilson_interval(count, report.rows) or nothing_seen()
        findings.append(
            Finding(
                check="reading",
                name=reason,
                severity=by_share(count, rate, alarm=MANY),
                summary=f"{count:,} of {report.rows:,} rows were left out: {reason}",
                rule=share_rule("rows left out of the rows read", MANY),
                count=count,
                rate=rate,
                examples=tuple(_example(text) for text in report.examples.get(reason, ())),
            )
        )
    return findings


def responses_without_content(table: AuditTable) -> Finding:
    """Return the finding of responses that hold no letter and no digit."""
    is_empty = table.responses.is_empty
    rate, by_source = table.response_rate(is_empty)
    count = int(is_empty.sum())
    return Finding(
        check="reading",
        name="responses without content",
        severity=by_share(count, rate, alarm=MANY),
        summary=f"{count:,} of {len(is_empty):,} responses hold no letter and no digit",
        rule=share_rule("responses without a letter or digit", MANY),
        count=count,
        rate=rate,
        by_source=by_source,
        examples=table.examples(np.unique(table.responses.group[is_empty])),
    )


def _example(text: str) -> Example:
    place, separator, note = text.partition(": ")
    return Example(place=place, note=note) if separator else Example(note=text)
