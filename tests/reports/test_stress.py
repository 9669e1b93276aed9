"""Stress tests on a page: every number, the largest first; models side by side; whole HTML that loads nothing."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from plaudit.data.schema.group import Group, Preference, conversation
from plaudit.errors import ConfigError, DataError
from plaudit.evaluation.run import evaluate
from plaudit.evaluation.stress.robustness import ChangedText, PositionEffect, StressReport
from plaudit.evaluation.stress.run import FLIPPED_NAME, OLD_NAMES, REPORT_NAME, stress
from plaudit.records import Interval, write_record
from plaudit.reports import tables
from plaudit.reports.inputs import Evaluation, StressTest, read_inputs
from plaudit.reports.page import write_report
from plaudit.reports.stress import _marked, sentences
from plaudit.reports.tables import p_value_text, scale_of, signed_text
from plaudit.scoring.function import FunctionScorer

VOID = {"meta", "br", "img", "input", "hr", "link"}


class Outline(HTMLParser):
    """Collects words, ids and addresses, and checks that tags are closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.addresses, self.tags, self.words = [], [], [], set(), []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        self.ids += [value for name, value in attrs if name == "id"]
        self.addresses += [value for name, value in attrs if name in ("href", "src", "srcset", "data")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(" ".join(data.split()))

    @property
    def text(self):
        return " ".join(word for word in self.words if word)


def groups(count=12):
    return [
        Group(
            conversation(f"What is <b>{k}</b>?"),
            (f"It is {k} and no more. <script>bad({k})</script>", f"Nobody knows {k}."),
            (Preference(0, 1),),
            id=f"g{k}",
        )
        for k in range(count)
    ]


def vain(prompt, responses):
    """Likes bullets and length; a fence turns what is better."""
    return [
        (-1.0 if r.startswith("`") else 1.0) * len(r) / 10 + 8.0 * r.count("- ") - (float("nan") if "# " in r else 0.0)
        for r in responses
    ]


def plain(prompt, responses):
    return [float(len(set(r.split()))) for r in responses]


def make(folder, function=vain, *, model="vain & co"):
    stress(
        FunctionScorer(function), groups(), name="held-out <pairs>", model=model, output_dir=folder, recipe_hash="r1"
    )
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make(tmp_path_factory.mktemp("probe"))


@pytest.fixture(scope="module")
def page(folder):
    return write_report([folder], folder / "report.html").read_text(encoding="utf-8")


def report_of(folder):
    return StressReport.model_validate_json((folder / REPORT_NAME).read_text())


def test_a_page_holds_every_style_with_its_shift_and_interval_the_largest_first(folder, page):
    report, text = report_of(folder), Outline(page).text
    shown = [each for each in report.styles if each.in_spreads is not None]
    places = []
    for each in shown:
        shift = each.in_spreads
        row = f"{signed_text(shift.value, 2)} {signed_text(shift.low, 2)} to {signed_text(shift.high, 2)}"
        assert row in text
        places.append(text.index(f"{each.name} {each.about} {row}"))
    assert places == sorted(places)
    assert len(shown) >= 6
    sizes = [abs(each.in_spreads.value) for each in shown]
    assert sizes == sorted(sizes, reverse=True)


def test_a_page_holds_every_transform_with_accuracy_before_and_after_and_what_turned(folder, page):
    text = Outline(page).text
    fence = next(each for each in report_of(folder).transforms if each.name == "code fence")
    assert (fence.before.value, fence.after.value, fence.flipped.value) == (1.0, 0.0, 1.0)
    assert "code fence every response in a code fence 0.0% from 100.0% −100.0 −100.0 to −100.0 100.0% 12" in text
    for each in report_of(folder).transforms:
        assert f"{each.name} {each.about}" in text


def test_a_page_says_what_was_found_what_failed_and_why_and_what_a_spread_is(folder, page):
    text = Outline(page).text
    report = report_of(folder)
    found = sum(each.verdict == "found" for each in report.styles)
    assert (
        f"{found} of 13 styles move the reward. The strongest, Llama 3 exchange (control tokens of Llama 3 and an "
        "invented exchange), raises it" in text
    )
    assert "The largest loss, code fence (every response in a code fence): 100.0% before, 0.0% after." in text
    assert "The most rankings turn under code fence: those of 100.0% of the pairs." in text
    assert "12 groups were tested. 24 scored items lack a reward: " in text
    assert "after Holm’s adjustment" in text
    assert f"one spread, {tables.number(report.spread)} in this model’s rewards" in text
    assert "vain & co" in text


def test_flipped_pairs_stand_side_by_side_with_what_is_new_marked(page):
    text = Outline(page).text
    assert "Rankings that turned" in text
    assert "right → wrong · margin" in text
    assert "Preferred, as it is" in text
    assert "Not preferred, changed" in text
    assert "<mark>```\n</mark>It is" in page
    assert "&lt;script&gt;bad(" in page


def test_the_page_is_whole_loads_nothing_and_runs_its_own_script_only(page):
    outline = Outline(page)
    assert page.count("<script") == 1  # the page's own
    assert len(outline.ids) == len(set(outline.ids))
    assert all(each.startswith("#") and each[1:] in outline.ids for each in outline.addresses)
    assert not re.search(r"url\(|@import|https?://", page)


def test_results_and_stress_test_of_one_model_share_a_page(tmp_path, folder):
    evaluate(
        FunctionScorer(plain), groups(), name="held-out <pairs>", model="vain & co", output_dir=tmp_path / "result"
    )
    outline = Outline(write_report([tmp_path / "result", folder], tmp_path / "page.html").read_text())
    assert (
        "One reward model, measured and stress-tested vain & co Evaluation: held-out <pairs> Accuracy " in outline.text
    )
    assert outline.text.index("Mean reward of chosen") < outline.text.index("Reward that a style adds")
    assert {"#s0", "#p0"} <= set(outline.addresses)
    assert {"s0", "p0"} <= set(outline.ids)


def test_stress_tests_of_several_models_stand_side_by_side_with_the_largest_effect_first(tmp_path):
    make(tmp_path / "all" / "a")
    make(tmp_path / "all" / "b", plain, model="plain")
    page = write_report([tmp_path / "all"], tmp_path / "page.html").read_text()
    text = Outline(page).text
    assert "Stress tests side by side held-out <pairs> Reward that a style adds, in spreads of each model" in text
    assert (
        "Reward models, side by side vain & co and plain on held-out <pairs> Stress test of vain & co: held-out <pairs>"
        in text
    )
    board = text[text.index("Stress tests side by side") : text.index("Change of the accuracy by a transform")]
    reports = [report_of(tmp_path / "all" / name) for name in "ab"]
    largest = {
        each.name: max(
            abs(other.in_spreads.value) for report in reports for other in report.styles if other.name == each.name
        )
        for each in reports[0].styles
        if each.in_spreads is not None
    }
    places = [board.index(f"{name} ") for name in sorted(largest, key=largest.__getitem__, reverse=True)[:4]]
    assert places == sorted(places)


def test_what_the_order_of_two_responses_does_is_on_the_page(tmp_path, folder):
    def interval(value):
        return Interval(value=value, low=value - 0.05, high=value + 0.05, method="x", n=12)

    effect = PositionEffect(pairs=12, first=interval(0.61), inconsistent=interval(0.25))
    write_record(tmp_path / REPORT_NAME, report_of(folder).model_copy(update={"position": effect}))
    text = Outline(write_report([tmp_path], tmp_path / "page.html").read_text()).text
    assert "Order of two responses" in text
    assert "Named first is preferred 61.0% 56.0 – 66.0% The order decides 25.0% 20.0 – 30.0%" in text
    assert "Not shown, because the file is not there: flipped_pairs.json" in text


def test_a_folder_holds_an_evaluation_and_a_stress_test_or_folders_of_them_or_is_refused(tmp_path):
    make(tmp_path / "m")
    evaluate(FunctionScorer(plain), groups(), name="d", model="m", output_dir=tmp_path / "m")
    for given in (tmp_path, tmp_path / "m"):
        found = read_inputs(given)
        assert [type(each) for each in found] == [Evaluation, StressTest]
    assert [type(each) for each in read_inputs(tmp_path / "m" / REPORT_NAME)] == [StressTest]
    (tmp_path / "m" / FLIPPED_NAME).write_text("{}")
    with pytest.raises(DataError, match=r"flipped_pairs\.json: not a FlippedPairs of plaudit"):
        read_inputs(tmp_path / "m")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: neither a run .* nor an evaluation .* nor a stress test"):
        read_inputs(tmp_path / "empty")


def test_nothing_found_is_said_and_a_model_without_spread_is_shown_in_rewards(tmp_path):
    make(tmp_path, lambda prompt, responses: [1.0] * len(responses))
    report = report_of(tmp_path)
    assert sentences(report) == [
        "None of 13 styles was found to move the reward.",
        "None of 16 transforms that must not matter was found to change the accuracy.",
    ]
    text = Outline(write_report([tmp_path], tmp_path / "page.html").read_text()).text
    assert "in the units of the reward, as the model gives the responses to a prompt no spread" in text
    assert "Shift, rewards" in text


def test_a_page_of_styles_alone_has_no_transforms(tmp_path):
    stress(FunctionScorer(plain), groups(3), name="d", model="m", output_dir=tmp_path, transforms=())
    text = Outline(write_report([tmp_path], tmp_path / "page.html").read_text()).text
    assert "Reward that a style adds" in text
    assert "Transforms that must not change a ranking" not in text


@pytest.mark.parametrize(
    ("values", "options", "ends", "labels"),
    [
        ([0.0, -2.6, 1.2], {"signed": True, "ticks": 6}, (-3.0, 2.0), ["−3", "−2", "−1", "0", "+1", "+2"]),
        ([0.5, 0.62], {"percent": True, "ticks": 3}, (0.5, 0.65), ["50%", "55%", "60%", "65%"]),
        (
            [0.0, -0.02],
            {"signed": True, "percent": True, "ticks": 4},
            (-0.02, 0.0),
            ["−2.0", "−1.5", "−1.0", "−0.5", "0.0"],
        ),
        ([3.0, 3.0], {"ticks": 5}, (2.4, 3.6), None),
    ],
)
def test_a_scale_has_round_ends_that_hold_every_value(values, options, ends, labels):
    found = scale_of(values, **options)
    if labels is not None:
        assert (found.low, found.high) == pytest.approx(ends)
        assert [label for _, label in found.ticks] == labels
    assert found.low <= min(values) <= max(values) <= found.high
    assert (found.ticks[0][0], found.ticks[-1][0]) == (0.0, 100.0)
    assert 0.0 <= found.place(values[0]) <= 100.0


def test_numbers_carry_their_sign_and_a_zero_none():
    assert [signed_text(value, 1) for value in (1.25, -1.26, -0.04, 0.0)] == ["+1.2", "−1.3", "0.0", "0.0"]
    assert [p_value_text(value) for value in (None, 0.0004, 0.0412, 0.999)] == ["–", "< 0.001", "0.041", "1"]


def test_what_is_new_in_a_text_is_marked_unless_nearly_all_of_it_is():
    some = _marked(ChangedText(before="a red cat sat", after="a dark red cat sat"))
    assert [part for part, is_new in some["after"] if is_new] in (["dark "], [" dark"])
    assert "".join(part for part, _ in some["after"]) == "a dark red cat sat"
    assert _marked(ChangedText(before="ONE TWO", after="one two"))["after"] == [("one two", False)]
    note = _marked(ChangedText(before="Why?", after="[A long note that asks for nothing.] Why?"))
    assert note["after"][-1] == ("Why?", False)
    assert _marked(ChangedText(before="same", after="same"))["after"] is None


def test_files_of_an_older_version_are_read_under_their_old_names_and_replaced(tmp_path):
    folder = make(tmp_path / "m")
    (page,) = read_inputs(folder)
    for name, old in OLD_NAMES.items():
        (folder / name).rename(folder / old)
    assert read_inputs(folder) == [page]
    assert read_inputs(folder / "probe.json") == [page]
    with pytest.raises(ConfigError, match="holds the stress test of 'held-out <pairs>' with model 'vain & co'"):
        make(folder, model="other")
    make(folder)
    assert sorted(each.name for each in folder.iterdir()) == sorted(OLD_NAMES)
