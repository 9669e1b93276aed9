"""A report shows every figure of every kind of label with its baselines, and why others have no value."""

from __future__ import annotations

from pathlib import Path

import pytest

from plaudit.evaluation.result import assemble_result
from plaudit.records import Interval, ItemScore, LabelCounts, Measure, Result, write_json_lines, write_record
from plaudit.reports.names import BASELINES, LABEL_METRICS
from plaudit.reports.page import write_report
from plaudit.reports.primary_metric import measure_sentences, overview_rows
from plaudit.reports.tables import MeasureTable, counts_sentence, measure_table


def items() -> list[ItemScore]:
    """Items with every label but preferences, of two sources, with <marks> that a page must not take for its own."""
    found = []
    for k in range(24):
        good = float(k % 3 > 0)
        found.append(
            ItemScore(
                id=f"i{k}",
                source=("a", "<b>")[k % 2],
                prompt_key=f"p{k}",
                rewards=(good, 0.5, 0.2 + k / 100),
                lengths=(k + 1, 7, 3 * k % 5),
                ranks=(1, 2, 3),
                ratings={"<i>clarity</i>": (4.0, 3.0, float(k % 2))},
                attributes={"<i>clarity</i>": (3.5 + good, 3.0, 1.0)},
                reward_scale="probabilities",
                outcomes=(True, k % 4 == 0, False),
                answers=("1", "1", "2"),
                step_labels=((1.0, 1.0, 1.0), (1.0, 0.0), (0.0, None)),
                steps=((0.9, 0.8, 0.7), (0.8, 0.4 * good), (0.3, 0.5)),
            )
        )
    return found


def measure_tables(result: Result) -> list[MeasureTable]:
    return [measure_table(each) for each in result.measures]


@pytest.fixture(scope="module")
def result() -> Result:
    return assemble_result(items(), name="every <label>", model="m", resamples=50)


def test_each_kind_has_a_table_with_a_row_for_every_figure_and_a_column_for_every_baseline(result: Result):
    tables = measure_tables(result)
    assert [table.title for table in tables] == ["Ranks", "Rating of <i>clarity</i>", "Outcomes", "Steps"]
    for table, measure in zip(tables, result.measures, strict=True):
        assert [row.label for row in table.rows] == [LABEL_METRICS[name].label for name in measure.metrics]
        columns = {rule: BASELINES[rule] for beside in measure.baselines.values() for rule in beside}
        assert set(table.baselines) == set(columns.values())
        assert len(set(table.baselines)) == len(table.baselines)
        for name, row in zip(measure.metrics, table.rows, strict=True):
            has = {columns[rule] for rule in measure.baselines.get(name, {})}
            cells = dict(zip(table.baselines, row.beside, strict=True))
            assert {label for label, (value, _) in cells.items() if value != "–"} == has
        assert len(table.slices) == 2


def test_every_figure_and_baseline_that_can_be_has_words(result: Result):
    # these items make every figure that there is, so that one without words would be seen here
    assert {name for measure in result.measures for name in measure.metrics} == set(LABEL_METRICS)
    rules = {rule for measure in result.measures for beside in measure.baselines.values() for rule in beside}
    assert rules == set(BASELINES)


def test_what_is_known_without_data_has_no_interval(result: Result):
    ranks = measure_tables(result)[0]
    agreement = next(row for row in ranks.rows if row.label == LABEL_METRICS["pairwise_agreement"].label)
    assert agreement.beside[ranks.baselines.index(BASELINES["random"])] == ("50.0%", "known")


def test_counts_rules_and_reasons_are_said():
    one = assemble_result(items()[:1], name="d", model="m", resamples=50)
    table = measure_tables(one)[0]
    assert "1 groups carry this label: 1 scored" in table.counts
    assert "pairs 3" in table.counts
    reasons = [note for note in table.notes if "none, because" in note]
    assert any(note.startswith("Kendall's τ-b: none, because fewer than two prompts") for note in reasons)
    assert any(note.startswith("Ties: two equal rewards") for note in table.notes)


def test_the_headlines_name_figure_value_and_baselines(result: Result):
    ranks = result.measures[0].metrics["pairwise_agreement"].value
    first = overview_rows(result)[0]
    assert (first.metric, first.value) == ("Ranks: Agreement over pairs", f"{100 * ranks:.1f}%")
    assert [row.metric.split(":")[0] for row in overview_rows(result)] == [
        "Ranks",
        "Rating of <i>clarity</i>",
        "Outcomes",
        "Steps",
    ]
    assert measure_sentences(result)[0].startswith(f"Ranks: Agreement over pairs {100 * ranks:.1f}% (longer response ")
    none = assemble_result(
        [ItemScore(id="a", source="", prompt_key="p", rewards=(None, 1.0), lengths=(1, 2), ranks=(1, 2))],
        name="d",
        model="m",
    )
    (sentence,) = measure_sentences(none)
    assert sentence.startswith("Ranks: Agreement over pairs has no value: ")
    (row,) = overview_rows(none)
    assert (row.value, row.interval, row.n, row.failed) == ("–", "–", "0", "1 of 1")


def test_a_page_holds_the_tables_and_escapes_what_data_say(result: Result, tmp_path: Path):
    for name in ("one", "two"):
        write_record(tmp_path / name / "result.json", result)
        write_json_lines(tmp_path / name / "items.jsonl", items())
    page = write_report([tmp_path / "one"], tmp_path / "page.html").read_text(encoding="utf-8")
    assert ">Ranks</h3>" in page
    assert ">Rating of &lt;i&gt;clarity&lt;/i&gt;</h3>" in page
    assert "<i>clarity" not in page
    assert "First error, F1" in page
    # Outcomes have as many baselines as fit columns or more, steps more than fit.
    assert "majority of the final answers" in page
    assert ">always right " in page
    assert ">always right</th>" not in page
    assert ">longer response</th>" in page
    assert "No preference pair" not in page
    assert "exact tie" not in page.split("<h3")[0]
    both = write_report([tmp_path / "one", tmp_path / "two"], tmp_path / "both.html").read_text(encoding="utf-8")
    assert both.count("<td>Rating of &lt;i&gt;clarity&lt;/i&gt;: ") == 2


def test_ties_of_preferences_are_left_out_where_there_are_none(result: Result):
    assert counts_sentence(result) == "24 items: 24 scored, 0 unscored, 0 failed."


def test_a_figure_without_an_interval_is_shown_without_one():
    brier = Interval(value=0.2, low=0.2, high=0.2, method="no interval: one value for all battles", n=9)
    counts = LabelCounts(n=9, scored=9, unscored=0, failed=0)
    measure = Measure(kind="benchmark", primary="brier", counts=counts, metrics={"brier": brier})
    assert [row.interval for row in measure_table(measure).rows] == ["none"]
