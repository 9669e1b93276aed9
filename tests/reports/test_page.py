import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from plaudit.data.reading.write import write_groups
from plaudit.data.schema.group import Group, Preference, conversation
from plaudit.errors import DataError
from plaudit.evaluation.metrics.best_of_n import BestOfN, BestOfNRow
from plaudit.evaluation.run import evaluate
from plaudit.records import Interval, LabelCounts, Measure, RunRecord, write_record
from plaudit.reports.inputs import read_evaluation
from plaudit.reports.page import write_report
from plaudit.reports.plots import MAX_SLICES, evaluation_plots, slice_plot
from plaudit.scoring.scorer import GroupRewards

VOID = {"meta", "br", "img", "input", "hr", "link"}


class Outline(HTMLParser):
    """Collects ids and attributes, and checks that tags are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.references: list[str] = []
        self.loaded: list[str] = []
        self.tags: set[str] = set()
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "src", "xlink:href", "srcset", "data", "action"):
                self.references.append(value or "")
                if tag != "a":
                    self.loaded.append(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


class Noisy:
    """Right more often than not, by a seeded draw."""

    def score_groups(self, groups: Iterable[Group]) -> Iterator[GroupRewards]:
        draws = np.random.default_rng(0)
        for group in groups:
            yield GroupRewards(id=group.id, rewards=(draws.normal(1.0), draws.normal(0.0)))


def groups(count: int) -> Iterator[Group]:
    for index in range(count):
        yield Group(
            prompt=conversation(f"What is {index} & <b>why</b>?"),
            responses=(
                f"<script>alert({index})</script>" + "x" * (index % 7),
                "no <img src=http://evil.example/p>",
            ),
            preferences=(Preference(0, 1),),
            id=f"g{index}",
            source=("alpha", "beta", "<gamma>")[index % 3],
        )


def make_evaluation(folder: Path, count: int = 60) -> Path:
    evaluate(Noisy(), groups(count), name="held-out <pairs>", model="tiny & small", output_dir=folder)
    return folder


def interval(value: float) -> Interval:
    return Interval(value=value, low=value - 0.1, high=value + 0.1, method="bootstrap", n=10)


def make_run(folder: Path) -> Path:
    make_evaluation(folder / "eval" / "held-out")
    rows = [
        {
            "step": step,
            "train/rm/loss": 0.7 - step / 1000,
            "train/rm/accuracy": 0.5 + step / 1000,
            "train/rm/lr": 1e-4,
            "train/rm/chosen_rewards": step / 100,
            "train/rm/rejected_rewards": -step / 100,
            "note": "words are passed over",
        }
        for step in range(10, 110, 10)
    ]
    rows.append({"step": 100, "eval/rm/loss": 0.61, "eval/rm/accuracy": 0.6})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "config.yaml").write_text("name: first_run # <script>\n")
    (folder / "story.md").write_text("It *learned*.\n\n<script>bad()</script>\n\n![x](http://evil.example/x.png)\n")
    record = RunRecord(
        name="first_run",
        status="finished",
        created="2026-01-02T03:04:05+00:00",
        versions={"python": "3.11"},
        device="cpu",
        seed=7,
        data={"pairs": {"groups": 1200, "dropped": {"over_long": 3}}},
        model={"layout": "padded", "parameters": 1234567},
        seconds=61.0,
    )
    write_record(folder / "run.json", record)
    curve = tuple(
        BestOfNRow(n=n, chosen=interval(0.3 * n), oracle=interval(0.4 * n), mean=interval(0.1)) for n in (1, 2, 4)
    )
    table = BestOfN(name="plans", model="tiny", gold="right steps", groups=10, left_out=1, rows=curve)
    write_record(folder / "best_of_n.json", table)
    return folder


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def run_page(run_folder: Path) -> str:
    return write_report([run_folder], run_folder / "report.html").read_text(encoding="utf-8")


def test_a_page_holds_the_figures_of_its_result(run_folder: Path, run_page: str):
    result = json.loads((run_folder / "eval" / "held-out" / "result.json").read_text())
    (measure,) = result["measures"]
    accuracy = measure["metrics"]["accuracy"]
    assert f"{100 * accuracy['value']:.1f}%" in run_page
    assert f"{100 * accuracy['low']:.1f}\N{NO-BREAK SPACE}–\N{NO-BREAK SPACE}{100 * accuracy['high']:.1f}%" in run_page
    assert f"{100 * measure['baselines']['accuracy']['longer_response']['value']:.1f}%" in run_page
    assert "60 items: 60 scored, 0 unscored, 0 failed; no exact ties (an exact tie counts as wrong)." in run_page
    for words in (
        "first_run",
        "2026-01-02 03:04 UTC",
        "finished in 61 s",
        "1,234,567",
        "over long 3",
        "right steps",
    ):
        assert words in run_page


def test_a_page_has_every_plot_and_all_ids_differ(run_page: str):
    outline = Outline(run_page)
    assert run_page.count("<svg") == 12  # 7 of the evaluation, 4 of the training, best of n
    assert len(outline.ids) == len(set(outline.ids))
    used = set(re.findall(r"url\(#([^)]+)\)", run_page)) | {
        ref[1:] for ref in outline.references if ref.startswith("#")
    }
    assert used <= set(outline.ids)


def test_a_page_loads_nothing_from_outside(run_page: str):
    outline = Outline(run_page)
    assert not re.search(r"<script[^>]* src", run_page)
    assert outline.tags.isdisjoint({"link", "iframe", "object", "embed", "img"})
    assert outline.loaded
    for reference in outline.loaded:
        assert reference.startswith(("#", "data:image/png;base64,")), reference
    assert not re.search(r"@import|url\((?!#)", run_page)
    shown = run_page.replace("http://evil.example", "")
    assert "http:" not in shown
    assert "https:" not in shown


def test_texts_of_the_data_are_escaped(run_page: str):
    assert "&lt;script&gt;alert(" in run_page
    assert re.findall(r"<script[^>]*>", run_page) == ['<script type="application/json" class="items">', "<script>"]
    assert "<script>alert" not in run_page
    assert "\\u003cscript\\u003e" not in run_page  # the browser has no texts here
    assert "What is" in run_page
    assert "<b>why</b>" not in run_page
    assert "tiny &amp; small" in run_page
    assert "&lt;gamma&gt;" in run_page


def test_a_story_is_markdown_without_raw_html_or_images(run_page: str):
    assert "<em>learned</em>" in run_page
    assert "&lt;script&gt;bad()&lt;/script&gt;" in run_page


def test_equal_inputs_give_an_equal_page(run_folder: Path, run_page: str, tmp_path: Path):
    assert write_report([run_folder], tmp_path / "again.html").read_text(encoding="utf-8") == run_page


def test_an_evaluation_alone_is_a_page_and_names_what_is_not_there(tmp_path: Path):
    folder = make_evaluation(tmp_path / "e", count=12)
    page = write_report([folder / "result.json"], tmp_path / "page.html").read_text()
    assert "The pairs it gets most confidently wrong" in page
    assert "Not shown" not in page
    (folder / "items.jsonl").unlink()
    (folder / "confident_errors.json").unlink()
    page = write_report([folder], tmp_path / "page.html").read_text()
    assert (
        "Not shown, because the file is not there: items.jsonl (reward against length), confident_errors.json" in page
    )
    assert "Reward against length" not in page
    Outline(page)


def test_several_inputs_make_one_page_with_a_summary(run_folder: Path, tmp_path: Path):
    other = make_evaluation(tmp_path / "other", count=9)
    page = write_report([run_folder, other], tmp_path / "page.html").read_text()
    outline = Outline(page)
    assert len(outline.ids) == len(set(outline.ids))
    assert {ref for ref in outline.references if ref.startswith("#s")} >= {"#s0e0", "#s1e0"}
    assert "9 items: 9 scored" in page
    assert page.index("In short</h2>") < page.index(">first_run</h2>")
    assert page.index('<a href="#s0">') < page.index("In short</h2>")


def test_the_reasons_of_failed_items_are_counted_on_the_page(tmp_path: Path):
    class Partly:
        def score_groups(self, groups: Iterable[Group]) -> Iterator[GroupRewards]:
            for index, group in enumerate(groups):
                yield GroupRewards(id=group.id, rewards=(1.0, float("nan") if index < 2 else 0.5))

    evaluate(Partly(), groups(5), name="d", model="m", output_dir=tmp_path)
    page = write_report([tmp_path], tmp_path / "page.html").read_text()
    assert "5 items: 3 scored, 0 unscored, 2 failed" in page
    assert "Why rewards are missing: the reward of response 1 is nan (2)." in page


def test_an_unfinished_run_is_shown_with_what_it_has(tmp_path: Path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "train/rm/loss": 0.7}\n{"step": 2, "train/rm/lo')
    page = write_report([tmp_path], tmp_path / "page.html").read_text()
    assert page.count("<svg") == 1
    assert "run.json (the record of the run), config.yaml (the settings), eval/" in page


def test_an_evaluation_of_nothing_is_still_a_page(tmp_path: Path):
    evaluate(Noisy(), [], name="empty", model="m", output_dir=tmp_path)
    page = write_report([tmp_path], tmp_path / "page.html").read_text()
    assert "No preference pair could be scored" in page
    assert "<svg" not in page


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("result.json", "{}", r"result\.json: not a Result"),
        ("result.json", "\udcff", r"result\.json: cannot be read as text"),
        ("items.jsonl", '{"id": 3}\n', r"items\.jsonl:1: not an item"),
        ("confident_errors.json", "[]", r"confident_errors\.json: not a ConfidentErrors"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, name: str, text: str, message: str):
    folder = make_evaluation(tmp_path, count=6)
    (folder / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError, match=message):
        write_report([folder], tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize(
    ("curve", "column"),
    [
        ("selective", "coverage"),
        ("reliability_after_temperature", "confidence"),
        ("group_sizes", "groups"),
    ],
)
def test_every_curve_that_is_shown_is_checked(tmp_path: Path, curve: str, column: str):
    folder = make_evaluation(tmp_path, count=40)
    result = json.loads((folder / "result.json").read_text())
    del result["measures"][0]["curves"][curve][0][column]
    (folder / "result.json").write_text(json.dumps(result))
    with pytest.raises(DataError, match=rf"curves\.{curve}\[0\] has no {column}"):
        write_report([folder], tmp_path / "page.html")


def test_rewards_that_say_nothing_across_prompts_are_not_drawn_against_length(tmp_path: Path):
    evaluation = read_evaluation(make_evaluation(tmp_path, count=12))
    assert "Reward against length" in [plot.title for plot in evaluation_plots(evaluation, "k")]
    absent = {"reward_length_correlation": "the model compares the responses of a group"}
    preference = evaluation.result.preference.model_copy(update={"absent": absent})
    relative = replace(evaluation, result=evaluation.result.model_copy(update={"measures": (preference,)}))
    assert "Reward against length" not in [plot.title for plot in evaluation_plots(relative, "k")]


def test_of_more_slices_than_fit_the_worst_are_drawn_and_the_words_say_so():
    slices = {f"s{k:02}": {"accuracy": interval(0.2 + k / 100)} for k in range(MAX_SLICES + 5)}
    counts = LabelCounts(n=9, scored=9, unscored=0, failed=0)
    plot = slice_plot(Measure(kind="preference", primary="accuracy", counts=counts, slices=slices), name="k")
    assert f"The {MAX_SLICES} worst of {MAX_SLICES + 5}" in plot.caption
    drawn = plot.svg
    assert ">s00<" in drawn
    assert f">s{MAX_SLICES - 1:02}<" in drawn
    assert f">s{MAX_SLICES:02}<" not in drawn


def test_a_curve_without_a_column_is_named(tmp_path: Path):
    folder = make_evaluation(tmp_path, count=6)
    result = json.loads((folder / "result.json").read_text())
    del result["measures"][0]["curves"]["margins"][3]["count"]
    (folder / "result.json").write_text(json.dumps(result))
    with pytest.raises(DataError, match=r"result\.json: curves\.margins\[3\] has no count; its rows need low, high"):
        write_report([folder], tmp_path / "page.html")


@pytest.mark.parametrize(
    ("line", "message"),
    [("nonsense\n", r"metrics\.jsonl:2: not JSON"), ('{"loss": 1}\n', r"metrics\.jsonl:2: .* number 'step'")],
)
def test_a_wrong_line_of_metrics_is_named(tmp_path: Path, line: str, message: str):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n' + line)
    with pytest.raises(DataError, match=message):
        write_report([tmp_path], tmp_path / "page.html")


def test_a_folder_that_is_no_run_and_no_evaluation_is_an_error(tmp_path: Path):
    with pytest.raises(DataError, match="neither a run"):
        write_report([tmp_path], tmp_path / "page.html")
    with pytest.raises(DataError, match="does not exist"):
        write_report([tmp_path / "nowhere"], tmp_path / "page.html")
    with pytest.raises(DataError, match="at least one"):
        write_report([], tmp_path / "page.html")


@pytest.mark.slow
@pytest.mark.parametrize("known", [True, False])
def test_data_of_one_name_that_are_not_the_same_are_said(tmp_path: Path, known: bool):
    for name, count in (("one", 12), ("two", 9), ("three", 12)):
        folder = make_evaluation(tmp_path / name, count=count)
        result = json.loads((folder / "result.json").read_text())
        result |= {"model": name, "data_fingerprint": f"{count:08d}{0:024d}" if known or name == "one" else None}
        (folder / "result.json").write_text(json.dumps(result))
    same = write_report([tmp_path / "one", tmp_path / "three"], tmp_path / "same.html").read_text()
    assert "is not the same data" not in same
    page = write_report([tmp_path], tmp_path / "page.html").read_text()
    assert page.count("is not the same data everywhere") == 1
    first, second = (f" (fingerprint {count:08d})" * known for count in (12, 9))
    assert f"one on 12 items{first}; two on 9 items{second}. Compare no numbers across them." in page


def test_runs_of_other_training_data_are_told_apart_softly(run_folder: Path, tmp_path: Path):
    other = tmp_path / "other"
    record = json.loads((run_folder / "run.json").read_text())
    for folder, fingerprint in ((tmp_path / "one", "aaaaaaaabb"), (other, "ccccccccdd")):
        folder.mkdir()
        record["data"] = {"train": {"groups": 1200, "fingerprint": fingerprint}}
        (folder / "run.json").write_text(json.dumps(record | {"name": folder.name}))
        (folder / "metrics.jsonl").write_text((run_folder / "metrics.jsonl").read_text())
    page = write_report([tmp_path / "one", other], tmp_path / "page.html").read_text()
    words = "one on 1,200 items (fingerprint aaaaaaaa); other on 1,200 items (fingerprint cccccccc)."
    assert f'<p class="caveat"><b>The training data differ.</b> {words}</p>' in page
    # both runs in one plot for each metric, named
    assert page.index("Training, side by side") < page.index("Loss by step")
    assert '<li><i class="model"></i>one</li><li><i class="rejected"></i>other</li>' in page


def test_the_texts_of_an_evaluation_come_from_the_data_that_are_named(tmp_path: Path):
    folder = make_evaluation(tmp_path / "e", count=5)
    write_groups(tmp_path / "pairs.jsonl", groups(4))
    bare = write_report([folder], tmp_path / "bare.html").read_text()
    assert "No texts for 5 of them: give their data with" in bare
    page = write_report([folder], tmp_path / "page.html", data=[tmp_path / "pairs.jsonl"]).read_text()
    assert "No texts for 1 of them" in page
    (rows,) = re.findall(r'<script type="application/json" class="items">(.*?)</script>', page)
    assert [row[5] for row in json.loads(rows)] == [*(f"What is {k} & <b>why</b>?" for k in range(4)), None]
    with pytest.raises(DataError, match=r"other\.jsonl"):
        write_report([folder], tmp_path / "page.html", data=[tmp_path / "other.jsonl"])
