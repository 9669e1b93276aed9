"""The page of an audit: whole HTML, nothing loaded, every finding in it, and texts of the data kept as text."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from plaudit.data.audit.findings import AuditReport, Example, Finding
from plaudit.data.audit.length import Cut
from plaudit.data.audit.run import audit_groups
from plaudit.data.schema.group import Group, Message, Preference
from plaudit.data.schema.group_set import GroupSet
from plaudit.errors import OutputError
from plaudit.reports.audit import headline, length_plot, render_audit, surface_feature_plot, write_audit
from plaudit.statistics.intervals import wilson_interval

EVIL = "<script>alert(1)</script>"
VOID = {"meta", "br", "img", "input", "hr", "link"}


class Outline(HTMLParser):
    """Collects tags, ids and addresses, and checks that tags are closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.ids, self.addresses, self.words = [], [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            if name in ("href", "src", "srcset", "data", "action"):
                self.addresses.append(value)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def make(number):
    chosen = f"{EVIL} yes! {'word ' * (number % 9)}end. "
    return Group(
        (Message("user", f"{EVIL} question {number % 40}"),),
        (chosen, f"no {'w ' * (number % 5)}."),
        (Preference(0, 1),),
        id=f"<b>{number}",
        source=("one", "<i>two")[number % 2],
    )


@pytest.fixture(scope="module")
def report():
    """Return the audit of groups that would break a careless page."""
    groups = GroupSet.from_groups(make(number) for number in range(120))
    return audit_groups(groups, name=EVIL, cut=Cut(30), against=groups.select([3, 4]))


def test_the_page_is_whole_and_loads_nothing(report):
    page = render_audit(report)
    outline = Outline(page)
    assert page.count("<script") == 1  # the page's own
    assert all(address.startswith("#") for address in outline.addresses)
    assert len(set(outline.ids)) == len(outline.ids)
    assert outline.tags.count("svg") == 2
    assert "http://" not in page
    assert "<style>" in page
    assert "--rejected:" in page


def test_every_finding_its_examples_and_what_was_not_judged_are_there(report):
    words = " ".join(Outline(render_audit(report)).words)
    for finding in report.findings:
        assert finding.summary in words
        for example in finding.examples:
            assert example.id in words
    for what, reason in report.not_judged.items():
        assert what in words
        assert reason in words
    assert headline(report) in words


def test_a_report_gives_one_page(report):
    again = AuditReport.model_validate_json(report.model_dump_json())
    assert render_audit(again) == render_audit(report)


def test_both_files_are_written_and_a_folder_that_is_a_file_is_an_error(report, tmp_path):
    record, page = write_audit(report, tmp_path / "new" / "folder")
    assert AuditReport.model_validate_json(record.read_text()) == report
    assert page.read_text() == render_audit(report)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        write_audit(report, tmp_path / "file")


def test_the_headline_counts_in_words(report):
    def of(*severities):
        rate = wilson_interval(1, 2)
        findings = tuple(
            Finding(check="c", name=str(n), severity=each, summary="s", rule="r", count=1, rate=rate)
            for n, each in enumerate(severities)
        )
        return headline(report.model_copy(update={"findings": findings}))

    assert of("ok", "ok") == "2 things were looked for; nothing of note was found."
    assert of("notice", "ok") == "2 things were looked for: no alarm, 1 notice."
    assert of("alarm", "alarm", "notice") == "3 things were looked for: 2 alarms, 1 notice."


def test_an_audit_without_pairs_has_a_page_without_plots_of_sides():
    groups = GroupSet.from_groups([Group((Message("user", "q"),), ("a",), id="0")])
    assert Outline(render_audit(audit_groups(groups))).tags.count("svg") == 1
    assert surface_feature_plot([]) is None
    assert length_plot([], "characters", name="x") is None


def test_a_mark_named_by_a_dollar_sign_can_be_drawn():
    rate = wilson_interval(3, 10)
    finding = Finding(
        check="leaks",
        name="ends in '$x$_{'",
        severity="alarm",
        summary="s",
        rule="r",
        count=3,
        rate=rate,
        figures={"on chosen": rate, "on rejected": rate},
        examples=(Example(note="n"),),
    )
    assert "$x$_{" in surface_feature_plot([finding])
