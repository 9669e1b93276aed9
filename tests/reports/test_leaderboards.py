"""Several results on one page: leaderboards with letters, heat maps worst first, and whole HTML."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from plaudit.evaluation.result import assemble_result
from plaudit.records import Interval, ItemScore, LabelCounts, Measure, write_json_lines, write_record
from plaudit.reports.inputs import read_evaluation
from plaudit.reports.leaderboards import heat_maps, leaderboard_sections
from plaudit.reports.page import write_report

VOID = {"meta", "br", "img", "input", "hr", "link"}


class Outline(HTMLParser):
    """Collects words, ids and styles, and checks that tags are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.styles: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        self.ids += [value for name, value in attrs if name == "id"]
        self.styles += [value for name, value in attrs if name == "style"]

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data.strip())


def make(
    folder: Path, model: str, right, *, data: str | None = "data", tie_rule="loss", with_items: bool = True
) -> Path:
    """Write the result of a model that has pair k right where ``right(k)``, in sources of ten pairs."""
    items = [
        ItemScore(
            id=f"i{k}",
            source=("<easy>", "hard")[k // 10 % 2],
            prompt_key=f"p{k}",
            rewards=(1.0, 0.0) if right(k) else (0.0, 1.0),
            lengths=(5, 3) if k % 5 else (3, 5),
            preferences=((0, 1),),
        )
        for k in range(40)
    ]
    result = assemble_result(items, name="pairs", model=model, tie_rule=tie_rule, data_fingerprint=data, resamples=20)
    write_record(folder / "result.json", result)
    if with_items:
        write_json_lines(folder / "items.jsonl", items)
    return folder


def read(*folders: Path):
    return [read_evaluation(folder) for folder in folders]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("boards")
    return [
        make(root / "poor", "poor & <b>", lambda k: k % 4 == 0),
        make(root / "good", "good", lambda k: k // 10 % 2 == 0 or k % 2 == 0),
        make(root / "like it", "like it", lambda k: k // 10 % 2 == 0 or k % 2 == 1),
    ]


def test_the_leaderboard_names_what_cannot_be_told_apart(folders):
    (board,) = leaderboard_sections(read(*folders))
    (part,) = board["boards"]
    # 30 of 40 twice, differing on twenty pairs ten to ten; 10 of 40.
    assert [(row["label"], row["value"], row["letters"]) for row in part["rows"]] == [
        ("good", "75.0%", "a"),
        ("like it", "75.0%", "a"),
        ("poor & <b>", "25.0%", "b"),
        ("Longer response wins", "80.0%", ""),
    ]
    assert "40 judgements on 40 items that all models have" in part["counts"]
    assert (
        "adjusted by Holm over all pairs and kinds of label, is not below 0.05. Ties: an exact tie counts as wrong."
        in board["rule"]
    )
    for row in part["rows"]:
        assert 0 <= row["low"] <= row["at"] <= row["low"] + row["width"] + 0.02 <= 100.03


def test_the_heat_map_stands_worst_first_with_orange_below_a_coin(folders):
    results = {each.result.model: each.result for each in read(*folders)}
    (heat,) = heat_maps(results)
    # hard: 25%, 50%, 50%; <easy>: 25%, 100%, 100%. By tens k % 4 == 0 holds 3, 2, 3 and 2 times.
    assert [row["label"] for row in heat["rows"]] == ["hard", "<easy>"]
    hard, easy = heat["rows"]
    assert [cell.text for cell in easy["cells"]] == ["30.0%", "100.0%", "100.0%"]
    assert [(cell.text, cell.colour, cell.strength) for cell in hard["cells"]] == [
        ("20.0%", "rejected", 33),
        ("50.0%", "model", 0),
        ("50.0%", "model", 0),
    ]
    assert (hard["n"], hard["baseline"]) == ("20", "80.0%")


def test_what_the_accuracy_hides_stands_beside_it(folders):
    (board,) = leaderboard_sections(read(*folders))
    rows = dict(board["beside"])
    # good: right in 30 of 40, of the 8 pairs whose preferred response is shorter in 6, of the others in 24 of 32.
    assert [value for value, _ in rows["good"]] == ["75.0%", "75.0%", "75.0%", "0.0%"]
    # poor: 2 of 8 and 8 of 32; with margins that are all equal the surest half is everything.
    assert [value for value, _ in rows["poor & <b>"]] == ["25.0%", "25.0%", "25.0%", "0.0%"]
    assert rows["good"][3][1] == "0.0\N{NO-BREAK SPACE}–\N{NO-BREAK SPACE}8.8%"  # Wilson's 3.8415 ÷ 43.8415


def test_the_page_of_several_results_is_whole_and_escapes_names(folders, tmp_path):
    page = write_report(folders, tmp_path / "report.html").read_text(encoding="utf-8")
    outline = Outline(page)
    assert "Leaderboard" in outline.words
    assert "poor & <b>" in outline.words
    assert "<easy>" in outline.words
    assert len(set(outline.ids)) == len(outline.ids)
    assert any(style.startswith("background: color-mix(in srgb, var(--rejected) 33%") for style in outline.styles)
    assert "Accuracy by source, the worst first" in outline.words
    assert "http" not in page.replace("http-equiv", "")


def test_one_result_or_results_of_other_data_make_no_leaderboard(folders, tmp_path):
    page = write_report(folders[:1], tmp_path / "one.html").read_text(encoding="utf-8")
    assert "Leaderboard" not in page
    other = make(tmp_path / "other", "other", bool, data="other data")
    assert leaderboard_sections(read(folders[0], other)) == []


def test_a_result_without_items_or_of_the_same_model_is_named(folders, tmp_path):
    bare = make(tmp_path / "bare", "bare", bool, with_items=False)
    again = make(tmp_path / "again", "good", lambda k: True, tie_rule="half")
    (board,) = leaderboard_sections(read(folders[1], bare, again))
    assert board["notes"] == ["bare has no items.jsonl, so it cannot be compared."]
    assert "as the results do not share a rule" in board["rule"]
    assert [row["label"] for row in board["boards"][0]["rows"][:2]] == ["good (again)", "good (good)"]
    (nothing,) = leaderboard_sections(read(folders[0], bare))
    assert nothing["boards"] == []


def test_official_figures_stand_beside_each_other_the_best_first(folders):
    def with_score(evaluation, value):
        score = Interval(value=value, low=value - 0.1, high=value + 0.1, method="m", n=40)
        measure = Measure(
            kind="benchmark",
            primary="score",
            counts=LabelCounts(n=40, scored=40, unscored=0, failed=0),
            metrics={"score": score},
            slices={"Chat": {"score": score}, "Math": {"score": score.model_copy(update={"value": 0.3})}},
        )
        result = evaluation.result.model_copy(update={"measures": (measure,)})
        return type(evaluation)(evaluation.directory, result, evaluation.items)

    first, second, _ = read(*folders)
    (board,) = leaderboard_sections([with_score(first, 0.5), with_score(second, 0.75)])
    (official,) = board["official"]
    assert official["title"] == "Official metrics: Official score"
    assert [row[:2] for row in official["rows"]] == [("good", "75.0%"), ("poor & <b>", "50.0%")]
    assert [row["label"] for row in board["heat"][0]["rows"]] == ["Math", "Chat"]


def with_preference(evaluation, **changes):
    preference = evaluation.result.preference.model_copy(update=changes)
    return replace(evaluation, result=evaluation.result.model_copy(update={"measures": (preference,)}))


def test_what_stands_beside_the_accuracy_is_read_from_the_result_and_not_made_a_second_time(tmp_path):
    paths = [make(tmp_path / name, name, lambda k: k % 3 > 0) for name in ("one", "two")]
    evaluations = read(*paths)
    figure = evaluations[0].result.preference.metrics["length_controlled_accuracy"]
    planted = figure.model_copy(update={"value": 0.123, "low": 0.1, "high": 0.2})
    metrics = {**evaluations[0].result.preference.metrics, "length_controlled_accuracy": planted}
    changed = with_preference(evaluations[0], metrics=metrics)
    (board,) = leaderboard_sections([changed, evaluations[1]])
    rows = dict(board["beside"])
    assert rows["one"][0] == ("12.3%", "10.0\N{NO-BREAK SPACE}–\N{NO-BREAK SPACE}20.0%")
    assert rows["two"][0][0] == f"{100 * figure.value:.1f}%"


def test_a_result_from_before_it_held_these_figures_has_them_made_from_its_items(tmp_path):
    evaluations = read(*[make(tmp_path / name, name, lambda k: k % 3 > 0) for name in ("one", "two")])
    accuracy = evaluations[0].result.preference.metrics["accuracy"]
    old = with_preference(evaluations[0], metrics={"accuracy": accuracy}, absent={})
    (board,) = leaderboard_sections([old, evaluations[1]])
    rows = dict(board["beside"])
    assert rows["one"] == rows["two"]
    assert "–" not in [value for value, _ in rows["one"]]
