"""The report of a reading: how many rows became groups, and why the others did not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pydantic import Field

from plaudit.records import Record

EXAMPLES_PER_REASON = 5


class ReadReport(Record):
    """Counts of one reading: ``rows`` = ``groups`` + ``joined`` + the sum of ``dropped``."""

    path: str
    """Path that was read; several files are separated by commas."""
    source: str = ""
    """The sources of the catalogue that were read, separated by commas."""
    licence: str = ""
    """Their licences, separated by semicolons."""
    published_rows: int | None = None
    """Rows of the sources as published; None where the number of one is not known."""
    format: str
    """The format of the rows."""
    detected: bool = False
    """True where the format was detected from the first row."""
    rows: int
    """Rows read."""
    groups: int
    """Rows that became groups."""
    joined: int = 0
    """Rows whose response joined the group of the row before, which has the same prompt."""
    dropped: dict[str, int] = Field(default_factory=dict)
    """For each reason, the rows left out."""
    examples: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """First rows for each reason: ``file:line: fault``."""
    noted: dict[str, int] = Field(default_factory=dict)
    """For each remark, the turns or responses that were read with it, as a response that is empty."""
    ignored_fields: tuple[str, ...] = ()
    """Fields of the rows that the format does not know, and of their messages, as ``chosen[].name``."""

    mixture: str | None = None
    """Fingerprint of the mixture that was built from the rows, over sources, rules and seeds; else None."""

    def table(self) -> str:
        """Return the report as lines of text."""
        how = " (detected)" if self.detected else ""
        published = "" if self.published_rows is None else f"  of {self.published_rows} published"
        lines = [f"{self.path}"]
        if self.source:
            lines.append(f"  source   {self.source}  licence: {self.licence}")
        lines += [f"  format   {self.format}{how}", f"  rows     {self.rows}{published}", f"  groups   {self.groups}"]
        if self.joined:
            lines.append(f"  joined   {self.joined}  rows of the same prompt as the row before")
        for reason, count in sorted(self.dropped.items(), key=lambda item: (-item[1], item[0])):
            lines.append(f"  dropped  {count}  {reason}")
            lines.extend(f"           - {example}" for example in self.examples.get(reason, ()))
        lines += [f"  noted    {count}  {remark}" for remark, count in sorted(self.noted.items())]
        if self.ignored_fields:
            lines.append(f"  ignored  {', '.join(self.ignored_fields)}")
        return "\n".join(lines).encode(errors="backslashreplace").decode()


def merge_reports(reports: Sequence[ReadReport]) -> ReadReport:
    """Return one report over several: counts added, the first examples of each reason kept."""
    dropped: dict[str, int] = {}
    examples: dict[str, tuple[str, ...]] = {}
    for report in reports:
        for reason, count in report.dropped.items():
            dropped[reason] = dropped.get(reason, 0) + count
            kept = examples.get(reason, ()) + report.examples.get(reason, ())
            examples[reason] = kept[:EXAMPLES_PER_REASON]
    published = [report.published_rows for report in reports if report.published_rows is not None]
    return ReadReport(
        path=", ".join(dict.fromkeys(report.path for report in reports)),
        source=", ".join(dict.fromkeys(report.source for report in reports if report.source)),
        licence="; ".join(dict.fromkeys(report.licence for report in reports if report.licence)),
        published_rows=sum(published) if published and len(published) == len(reports) else None,
        format=", ".join(dict.fromkeys(report.format for report in reports)),
        detected=any(report.detected for report in reports),
        rows=sum(report.rows for report in reports),
        groups=sum(report.groups for report in reports),
        joined=sum(report.joined for report in reports),
        dropped=dropped,
        examples=examples,
        noted=dict(sum((Counter(report.noted) for report in reports), Counter[str]())),
        ignored_fields=tuple(sorted({name for report in reports for name in report.ignored_fields})),
    )
