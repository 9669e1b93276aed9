"""Reports in a real browser: no error, no request, nothing wider than the window, and the script does what it says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.reports.chromium import Chromium, chromium, find_chromium
from tests.reports.test_audit import make as make_group
from tests.reports.test_page import Noisy, groups, make_run
from tests.reports.test_stress import make as make_stress_test

from plaudit.data.audit.run import audit_groups
from plaudit.data.reading.write import write_groups
from plaudit.data.schema.group_set import GroupSet
from plaudit.evaluation.run import evaluate
from plaudit.reports.audit import write_audit
from plaudit.reports.page import write_report

pytestmark = pytest.mark.skipif(find_chromium() is None, reason="there is no Chromium on this machine")

COUNT = 60
OVERFLOWING = """
[...document.querySelectorAll("main *")]
  .filter((node) => node.getBoundingClientRect().right > innerWidth + 1)
  .filter((node) => !node.closest(".scroll, figure.wide, pre, .text, svg"))
  .map((node) => node.outerHTML.slice(0, 90))
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_run(tmp_path_factory.mktemp("run"))
    write_groups(folder / "data" / "held_out.jsonl", groups(COUNT))
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    timed = [json.dumps(row | {"seconds": 30.0 * row["step"]}) for row in rows]
    (folder / "metrics.jsonl").write_text("\n".join(timed) + "\n")
    return folder


@pytest.fixture(scope="module")
def page(run: Path) -> Path:
    return write_report([run], run / "page.html")


@pytest.fixture(scope="module")
def several(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("several")
    other = make_run(folder / "a_run_with_a_rather_long_name_of_its_own")
    for name, count in (("e", COUNT), ("f", 9)):
        model = f"/srv/a_model_with_a_rather_long_name_{name}"
        evaluate(Noisy(), groups(count), name="held-out <pairs>", model=model, output_dir=folder / name)
    return write_report([run, other, folder / "e", folder / "f"], folder / "page.html")


@pytest.fixture(scope="module")
def stress(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stress")
    for model in ("one", "/srv/another_model_with_a_long_name"):
        make_stress_test(folder / Path(model).name, model=model)
    return write_report([folder], folder / "page.html")


@pytest.fixture(scope="module")
def audit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = GroupSet.from_groups(make_group(number) for number in range(120))
    return write_audit(audit_groups(found, name="pairs", against=found.select([3, 4])), tmp_path_factory.mktemp("a"))[1]


@pytest.mark.parametrize("width", [400, 1400])
@pytest.mark.parametrize("name", ["page", "several", "stress", "audit"])
def test_nothing_is_wider_than_the_window_and_nothing_goes_wrong(
    browser: Chromium, request: pytest.FixtureRequest, name: str, width: int
):
    browser.open(request.getfixturevalue(name), width=width)
    assert browser.complaints == []
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.run(OVERFLOWING) == []


def test_intervals_of_metrics_are_not_cut_on_a_phone(browser: Chromium, page: Path):
    browser.open(page, width=400)
    wide = "[...document.querySelectorAll('.figures')].filter((each) => each.scrollWidth > each.clientWidth).length"
    assert browser.run(wide) == 0


def test_without_scripts_every_number_is_there(browser: Chromium, page: Path):
    browser.open(page, width=1400)
    with_script = browser.run("document.querySelectorAll('main td').length")
    browser.open(page, width=1400, scripts=False)
    assert browser.complaints == []
    root = browser.call("DOM.getDocument")["root"]["nodeId"]
    cells = browser.call("DOM.querySelectorAll", nodeId=root, selector="main td")["nodeIds"]
    assert len(cells) == with_script
    assert browser.call("DOM.querySelectorAll", nodeId=root, selector=".browser")["nodeIds"] == []
    browser.call("Emulation.setScriptExecutionDisabled", value=False)


def test_contents_lead_to_every_section(browser: Chromium, page: Path):
    browser.open(page, width=1400)
    links = "[...document.querySelectorAll('nav a')]"
    assert browser.run(f"{links}.map((each) => each.textContent)") == [
        *("Training", "held-out <pairs>", "Preferences", "The pairs it gets most confidently wrong", "All items"),
        *("Best of n", "How it was made"),
    ]
    assert browser.run(f"{links}.every((each) => document.querySelector(each.getAttribute('href')))")


def test_training_curves_stand_above_the_verdict_over_steps_and_over_wall_time(browser: Chromium, page: Path):
    browser.open(page, width=1400)
    titles = "[...document.querySelectorAll('.plots.small h4')].map((each) => each.textContent)"
    assert browser.run(titles) == ["Loss by step", "Accuracy by step", "Loss by minutes", "Accuracy by minutes"]
    bottom = browser.run("document.querySelector('.plots.small').getBoundingClientRect().bottom")
    assert bottom < min(700, browser.run("document.querySelector('.big').getBoundingClientRect().top"))


def test_a_point_of_a_plot_says_its_value(browser: Chromium, page: Path):
    browser.open(page, width=1400)
    box = browser.run(
        "(() => { const box = document.querySelector('svg[data-points]').getBoundingClientRect();"
        "return [box.left, box.top, box.width, box.height]; })()"
    )
    browser.point_at(box[0] + box[2] - 1, box[1] + box[3] / 2)
    assert not browser.run("document.querySelector('#tip').hidden")
    # the last of ten steps: 0.7 − 100 ÷ 1000, the running average over one value
    assert browser.run("document.querySelector('#tip').textContent") in (
        "step 100, training 0.6",
        "step 100, held out 0.61",
    )
    browser.point_at(2, 2)
    assert browser.run("document.querySelector('#tip').hidden")


def test_a_click_on_a_heading_sorts_a_table_by_number(browser: Chromium, page: Path):
    browser.open(page, width=1400)
    column = "[...document.querySelectorAll('.figures tbody')][0].querySelectorAll('tr td:nth-child(2)')"
    values = f"[...{column}].map((each) => Number(each.textContent.replace('−', '-').replace('%', '')))"
    head = "document.querySelectorAll('.figures th')[1]"
    browser.run(f"{head}.click()")
    falling = browser.run(values)
    assert falling == sorted(falling, reverse=True)
    browser.run(f"{head}.click()")
    assert browser.run(values) == sorted(falling)
    assert browser.run(f"{head}.getAttribute('aria-sort')") == "ascending"


def test_a_long_table_has_a_filter(browser: Chromium, page: Path):
    browser.open(page, width=1400)
    browser.run(
        "(() => { const field = document.querySelector('.filter'); field.value = 'length'; "
        "field.dispatchEvent(new Event('input')); })()"
    )
    rows = browser.run(
        "[...document.querySelector('.filter').nextElementSibling.querySelectorAll('tbody tr:not([hidden])')]"
        ".map((each) => each.textContent)"
    )
    assert 0 < len(rows) < 12
    assert all("length" in row for row in rows)


def test_all_items_can_be_browsed_and_their_texts_stay_texts(browser: Chromium, page: Path):
    browser.open(page, width=1400)
    lines = "[...document.querySelectorAll('.browser .line')].map((each) => each.textContent)"
    note = "document.querySelector('.browser .note').textContent"
    assert browser.run(note) == f"1–25 of {COUNT}"
    seen = list(browser.run(lines))
    for _ in range(2):
        browser.run("[...document.querySelectorAll('.browser button')][1].click()")
        seen += browser.run(lines)
    assert sorted(seen) == sorted(f"What is {k} & <b>why</b>?" for k in range(COUNT))
    assert browser.run("[...document.querySelectorAll('.browser button')][1].disabled")
    browser.run(
        "(() => { const field = document.querySelector('.browser input'); field.value = 'alert(7)'; "
        "field.dispatchEvent(new Event('input')); })()"
    )
    assert browser.run(note) == "1–1 of 1"
    browser.run("document.querySelector('.browser details').open = true")
    browser.run("new Promise((done) => setTimeout(done, 50))")
    texts = browser.run("[...document.querySelectorAll('.browser .text')].map((each) => each.textContent)")
    assert texts == ["What is 7 & <b>why</b>?", "<script>alert(7)</script>", "no <img src=http://evil.example/p>"]
    assert browser.run("document.querySelectorAll('.browser img, .browser script').length") == 0
    assert browser.complaints == []


def test_wrong_items_alone_can_be_shown(browser: Chromium, run: Path, page: Path):
    browser.open(page, width=1400)
    items = (run / "eval" / "held-out" / "items.jsonl").read_text().splitlines()
    rewards = [json.loads(line)["rewards"] for line in items]
    wrong = sum(chosen < rejected for chosen, rejected in rewards)
    assert 0 < wrong < COUNT
    browser.run(
        "(() => { const field = document.querySelector('.browser select'); field.value = 'wrong'; "
        "field.dispatchEvent(new Event('change')); })()"
    )
    assert browser.run("document.querySelector('.browser .note').textContent").endswith(f"of {wrong}")
    margins = browser.run("[...document.querySelectorAll('.browser .meta')].map((each) => each.textContent)")
    worst = min(chosen - rejected for chosen, rejected in rewards)
    assert float(margins[0].removeprefix("margin ").replace("−", "-")) == pytest.approx(worst, rel=1e-3)
