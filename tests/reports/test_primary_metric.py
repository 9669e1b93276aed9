"""The page of a benchmark: the official figure first, what decides it said, baselines as columns, a leaderboard."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from plaudit.evaluation.official.catalog import benchmark_named
from plaudit.evaluation.result import assemble_result
from plaudit.records import Interval, ItemScore, Result, write_json_lines, write_record
from plaudit.reports.inputs import Evaluation, read_evaluation
from plaudit.reports.leaderboards import leaderboard_sections, style_matrix
from plaudit.reports.page import write_report
from plaudit.reports.primary_metric import caveats, overview_rows, primary_metric, scale_rows, verdict
from plaudit.reports.tables import measure_table

VOID = {"meta", "br", "img", "input", "hr", "link"}


class Page(HTMLParser):
    """Collects the text of every element by tag or class, and every table as rows of cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.texts: list[tuple[str, str]] = []
        self.tables: list[list[list[str]]] = []
        self._open: list[tuple[str, list[str]]] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        if tag in VOID:
            return
        self._open.append((f"{tag}.{dict(attrs).get('class') or ''}", []))
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])

    def handle_endtag(self, tag):
        name, words = self._open.pop()
        assert name.split(".")[0] == tag
        text = " ".join(" ".join(words).split())
        self.texts.append((name, text))
        if tag in ("td", "th"):
            self.tables[-1][-1].append(text)
        if self._open:
            self._open[-1][1].append(text)

    def handle_data(self, data):
        if self._open:
            self._open[-1][1].append(data)

    def of(self, name: str) -> list[str]:
        """Return the texts of the elements called ``name`` (tag and class), in the order they end."""
        return [text for each, text in self.texts if each == name]


def rm_bench(rewards, *, failed: int = 0) -> list[ItemScore]:
    """Items of two domains with the six ``rewards`` each, of which the first ``failed`` chat items have none."""
    found = []
    for k in range(8):
        none = k < failed
        found.append(
            ItemScore(
                id=f"i{k}",
                source="chat" if k < 4 else "math",
                prompt_key=f"p{k}",
                rewards=(None,) * 6 if none else rewards(k),
                lengths=(10, 20, 30, 11, 21, 31),
                preferences=tuple((i, 3 + j) for i in range(3) for j in range(3)),
                reason="too <long>" if none else None,
                metadata={"subset": "chat" if k < 4 else "math"},
            )
        )
    return found


def by_style(_: int) -> tuple[float, ...]:
    """Right below the diagonal and on it, wrong above it."""
    return (1.0, 3.0, 5.0, 0.0, 2.0, 4.0)


def evaluated(items: list[ItemScore], model: str = "/srv/models/first") -> Evaluation:
    result = assemble_result(
        items,
        name="rm_bench",
        benchmark=benchmark_named("rm_bench"),
        model=model,
        resamples=50,
        data_fingerprint="one and the same",
    )
    return Evaluation(Path("nowhere") / model, result, tuple(items))


def write(folder: Path, evaluation: Evaluation) -> Path:
    write_record(folder / "result.json", evaluation.result)
    write_json_lines(folder / "items.jsonl", list(evaluation.items))
    return folder


def test_the_official_figure_is_primary_and_not_the_accuracy_of_what_was_scored():
    # Chat: two of four items fail and count as lost, so hard 0, normal and easy ½: 1/3. Math: hard 0, else 1: 2/3.
    evaluation = evaluated(rm_bench(by_style, failed=2))
    first, words = primary_metric(evaluation.result), verdict(evaluation.result)
    assert (first.label, first.value) == ("Official score", "50.0%")
    assert evaluation.result.preference.metrics["accuracy"].value == pytest.approx(2 / 3)
    # By lengths: every pair below the diagonal right, on it wrong (the rejected one is longer), above it wrong.
    assert [(row["label"], row["mark"], row["value"]) for row in first.scale] == [
        ("This model", "model", "50.0%"),
        ("Longer response", "baseline", "33.3%"),
        ("Random", "coin", "50.0%"),
    ]
    assert words[0] == "The official score of RM-Bench is 50.0%, over 72 comparisons."
    assert "does not exclude the best baseline that reads no response: " in words[1]
    assert words[-1] == "Of 2 parts the worst is chat (33.3%), the best math (66.7%)."
    for row in first.scale:
        assert 0 <= row["low"] <= row["at"] <= row["low"] + row["width"] + 0.02 <= 100.04


def test_what_is_known_without_data_stands_behind_the_other_rivals_and_numbers_have_round_ends():
    def around(value: float, method: str = "wilson") -> Interval:
        low, high = (value, value) if method == "exact" else (value - 0.5, value + 0.5)
        return Interval(value=value, low=low, high=high, method=method, n=9)

    rivals = {"random": around(0.0, "exact"), "longer_response": around(1.0), "mean_rating": around(-1.5)}
    rows = scale_rows(around(1.5), rivals, "number")
    # From −2 to 2, in steps of one: 1.5 stands at 3.5 of 4.
    assert [(row["label"], row["at"], row["width"], row["interval"]) for row in rows] == [
        ("This model", 87.5, 25.0, "1.00\N{NO-BREAK SPACE}–\N{NO-BREAK SPACE}2.00"),
        ("Longer response", 75.0, 25.0, "0.500\N{NO-BREAK SPACE}–\N{NO-BREAK SPACE}1.50"),
        ("Always the mean rating", 12.5, 25.0, "−2.00\N{NO-BREAK SPACE}–\N{NO-BREAK SPACE}−1.00"),
        ("Random", 50.0, 0.0, ""),
    ]


def test_what_could_not_be_scored_is_said_loudly_with_the_figure_of_the_rest_and_the_rule():
    lost, part = caveats(evaluated(rm_bench(by_style, failed=2)))
    assert lost.loud
    # All that is scored is alike, so the interval over it is a point beside which 50% lies.
    assert lost.lead.startswith("18 of 72 comparisons have no reward")
    assert "Why: too <long> (2)." in lost.words
    assert "The official rule: a comparison with a missing reward counts as lost." in lost.words
    assert "Over the 54 scored comparisons the same rule gives 66.7%" in lost.words
    assert part.lead == "This is not the whole official set."
    assert "math: 4 of 529 rows" in part.words


def test_where_the_failures_move_the_figure_both_values_stand_in_the_first_words():
    items = rm_bench(lambda k: (1.0, 3.0, 5.0, 0.0, 2.0, 4.0), failed=2)
    evaluation = evaluated(items)
    measure = evaluation.result.measure("benchmark")
    rest = measure.metrics["score_scored"].model_copy(update={"low": 0.6, "high": 0.7})
    changed = measure.model_copy(update={"metrics": {**measure.metrics, "score_scored": rest}})
    result = evaluation.result.model_copy(update={"measures": (changed,)})
    lost = caveats(Evaluation(evaluation.directory, result, evaluation.items))[0]
    assert lost.lead.endswith("have no reward: over the others alone the metric would be 66.7%, not 50.0%.")
    same = {**measure.metrics, "score_scored": rest.model_copy(update={"low": 0.4})}
    result = evaluation.result.model_copy(update={"measures": (measure.model_copy(update={"metrics": same}),)})
    assert caveats(Evaluation(evaluation.directory, result, evaluation.items))[0].lead == (
        "18 of 72 comparisons have no reward."
    )


def test_responses_that_were_read_in_part_are_said_with_what_was_cut():
    evaluation = evaluated(rm_bench(by_style))
    cut = {"truncated_responses": 9, "truncated_tokens": 4000, "identical_after_truncation": 2, "responses": 12}
    result = evaluation.result.model_copy(update={"details": evaluation.result.details | cut})
    said = caveats(Evaluation(evaluation.directory, result, evaluation.items))[-1]
    assert said.lead == "9 of 12 responses were read in part."
    assert "4,000 tokens were cut. 2 of them cannot be told" in said.words
    assert said.loud


def test_nothing_is_said_of_failures_where_there_are_none():
    assert [each.lead for each in caveats(evaluated(rm_bench(by_style)))] == ["This is not the whole official set."]


def test_a_style_matrix_stands_row_by_row_with_the_longer_response_below_each_cell():
    measure = evaluated(rm_bench(by_style)).result.measure("benchmark")
    matrix = style_matrix(measure)
    assert [[cell.text for cell in cells] for _, cells in matrix["rows"]] == [
        ["100.0%", "0.0%", "0.0%"],
        ["100.0%", "100.0%", "0.0%"],
        ["100.0%", "100.0%", "100.0%"],
    ]
    assert [[cell.beside for cell in cells] for _, cells in matrix["rows"]][1] == [
        "longer 100.0%",
        "longer 0.0%",
        "longer 0.0%",
    ]
    assert [cell.colour for _, cells in matrix["rows"] for cell in cells].count("rejected") == 3
    assert "of one style it is right in 100.0%" in matrix["sentence"]
    assert "of the plainer style in 0.0%" in matrix["sentence"]
    without = measure.model_copy(update={"metrics": {"score": measure.metrics["score"]}})
    assert style_matrix(without) is None


def test_the_page_has_the_official_table_with_a_column_for_each_baseline_before_our_own_figures(tmp_path):
    evaluation = evaluated(rm_bench(by_style, failed=2))
    text = write_report([write(tmp_path / "one", evaluation)], tmp_path / "page.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.of("h1.") == ["RM-Bench"]
    assert page.of("p.big")[0].startswith("50.0% 95% interval")
    lost, part = page.of("p.caveat loud")
    assert lost.startswith("18 of 72 comparisons have no reward")
    assert part.startswith("This is not the whole official set. Missing, in part or new: ")
    official = next(table for table in page.tables if table[0][:2] == ["Metric", "Value"])
    assert official[0] == ["Metric", "Value", "95% interval", "n", "longer response", "random"]
    score = "Official score mean of the four domains, each the mean of hard, normal and easy"
    rows = {row[0].replace(score, "Official score"): row for row in official[1:]}
    assert rows["Official score"][1] == "50.0%"
    assert rows["Official score"][3:] == ["72", "33.3%", "50.0%"]
    assert not any("chosen" in name.lower() for name in rows)
    assert len(official) == 1 + len(evaluation.result.measures[0].metrics) - 9
    headings = page.of("h3.")
    assert headings.index("Official metrics") < headings.index("Preferences, by our own count")
    assert text.index("Official metrics</h3>") < text.index("In 66.7% of 54 pairs")
    styles = next(table for table in page.tables if table[1:] and table[1][0] == "concise")
    assert [row[0] for row in styles[1:]] == ["concise", "detailed, plain text", "detailed, with Markdown"]
    assert "too &lt;long&gt;" in text


def test_every_plot_has_a_title_and_the_parts_are_described_worst_first(tmp_path):
    folder = write(tmp_path / "one", evaluated(rm_bench(by_style, failed=2)))
    page = Page(write_report([folder], tmp_path / "page.html").read_text(encoding="utf-8"))
    drawn = page.of("svg.plot")
    assert len(page.of("title.")) == len(drawn) + 1
    assert page.of("title.")[1] == "Official score by part"
    said = page.of("desc.")
    assert said[0] == "The worst first: chat 33.3%, math 66.7%."
    # 54 scored pairs: of each of six items three are wrong, those above the diagonal.
    assert "18 of 54 pairs lie left of zero." in said


def test_the_overview_has_the_official_headline_of_each_benchmark_and_short_names(tmp_path):
    first = evaluated(rm_bench(by_style, failed=2))
    (row,) = overview_rows(first.result)
    assert (row.metric, row.value, row.longer, row.random) == ("Official score", "50.0%", "33.3%", "50.0%")
    assert (row.n, row.failed) == ("72", "18 of 72")
    second = evaluated(rm_bench(lambda _: (9.0,) * 3 + (0.0,) * 3), model="/srv/models/second")
    folders = [write(tmp_path / name, each) for name, each in (("one", first), ("two", second))]
    text = write_report(folders, tmp_path / "page.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.of("h1.") == ["first and second on RM-Bench"]
    overview = page.tables[0]
    assert overview[0][:4] == ["Data", "Model", "Metric", "Value"]
    assert [row[:4] for row in overview[1:]] == [
        ["RM-Bench", "first", "Official score", "50.0%"],
        ["RM-Bench", "second", "Official score", "100.0%"],
    ]
    (contents,) = (text for name, text in page.texts if name.startswith("ul.contents"))
    assert contents.startswith("In short Leaderboard: RM-Bench Evaluation of first: RM-Bench")
    # The whole name stands once for each, where model and data are named exactly.
    assert [row for table in page.tables for row in table if row[0] == "Model" and len(row) == 2] == [
        ["Model", "/srv/models/first"],
        ["Model", "/srv/models/second"],
    ]
    assert len(re.findall("/srv/models", text)) == 2


def test_the_leaderboard_of_a_benchmark_ranks_by_the_official_figure_and_names_what_cannot_be_told_apart():
    good = evaluated(rm_bench(lambda _: (9.0,) * 3 + (0.0,) * 3), model="good")
    # Right in all but one comparison of one item: no test of whole prompts parts it from the first.
    near = evaluated(rm_bench(lambda k: (9.0, 9.0, 9.0, 0.0, 0.0, 9.5 if k == 0 else 0.0)), model="near")
    bad = evaluated(rm_bench(lambda _: (0.0,) * 3 + (9.0,) * 3), model="bad")
    (board,) = leaderboard_sections([bad, near, good])
    official = board["official_board"]
    assert official["title"] == "Official score"
    rows = [(row["number"], row["label"], row["letters"]) for row in official["rows"]]
    assert rows == [("1", "good", "a"), ("2", "near", "a"), ("3", "bad", "b"), ("", "Longer response wins", "")]
    assert official["rows"][0]["value"] == "100.0%"
    assert official["rows"][3]["value"] == "33.3%"
    assert board["official_rule"].endswith("adjusted by Holm over all pairs, is not below 0.05.")
    assert board["official"] == []
    assert board["heat"][0]["title"] == "Official score by part"


def test_a_benchmark_whose_headline_has_no_value_says_why_and_shows_what_there_is():
    result: Result = evaluated(rm_bench(by_style, failed=8)).result
    assert primary_metric(result) is None
    (row,) = overview_rows(result)
    assert row.value == "–"
    table = measure_table(result.measures[0])
    assert table.rows == []
    assert any("none, because none of its comparisons has its rewards" in note for note in table.notes)


def test_a_result_read_from_disk_shows_what_one_in_memory_does(tmp_path):
    evaluation = evaluated(rm_bench(by_style, failed=2))
    again = read_evaluation(write(tmp_path / "one", evaluation))
    assert primary_metric(again.result) == primary_metric(evaluation.result)
    assert caveats(again) == caveats(evaluation)
