"""A killed probe goes on with the same result; planted bullets have their exact shift; orders and turns are kept."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from plaudit.data.schema.group import Group, Preference, conversation
from plaudit.errors import ConfigError, DataError
from plaudit.evaluation.stress.robustness import FlippedPairs, flipped_pairs, stress_report, within_prompt_spread
from plaudit.evaluation.stress.run import FLIPPED_NAME, ITEMS_NAME, PARTIAL_NAME, REPORT_NAME, stress, stress_items
from plaudit.evaluation.stress.transforms import STYLES, TRANSFORMS
from plaudit.records import read_items
from plaudit.scoring.function import FunctionScorer
from plaudit.scoring.scorer import GroupRewards, ScorerInfo
from plaudit.statistics.position_bias import pairs_in_both_orders

BY_NAME = {each.name: each for each in TRANSFORMS}
STYLE = {each.name: each for each in STYLES}


class Killed(Exception):
    """Stands for the end of the process."""


class Counting:
    """Rewards by length and line breaks, one group at a time; ends after ``stop`` groups."""

    def __init__(self, stop=math.inf):
        self.stop = stop
        self.asked = []

    def score_groups(self, groups):
        for group in groups:
            if len(self.asked) == self.stop:
                raise Killed
            self.asked.append((group.prompt, group.responses))
            yield GroupRewards(group.id, tuple(len(r) / 7 + 0.3 * r.count("\n") for r in group.responses))


class Comparing(Counting):
    """Compares in both orders with 0.4 of log-odds for the one named first, a window of three groups at a time."""

    info = ScorerInfo(relative=True)

    def score_groups(self, groups):
        window = []
        for found in super().score_groups(groups):
            values = np.array(found.rewards)
            table = values[:, None] - values[None, :] + 0.4
            np.fill_diagonal(table, math.nan)
            strengths = tuple((values - values.mean()).tolist())
            window.append(GroupRewards(found.id, strengths, comparisons=pairs_in_both_orders(table)))
            if len(window) == 3:
                yield from window
                window.clear()
        yield from window


def pairs(count=4):
    made = []
    for k in range(count):
        texts = (f"Yes, it is number {k}. So it is.", f"NO {k}")
        made.append(Group(conversation(f"What is {k}?"), texts, (Preference(0, 1),), id=str(k)))
    return made


def run(scorer, folder, groups=None, **options):
    return stress(scorer, groups or pairs(), **{"name": "d", "model": "m", "output_dir": folder} | options)


def without_date(report):
    return report.model_copy(update={"created": ""})


# ----------------------------------------------------------------------------------------- killed and resumed


@pytest.mark.parametrize("kind", [Counting, Comparing])
@pytest.mark.parametrize("stop", [0, 2, 5, 40, 57])
def test_a_killed_probe_goes_on_where_it_stopped_with_the_same_result(tmp_path, kind, stop):
    whole = kind()
    wanted = run(whole, tmp_path / "whole")
    first = kind(stop)
    with pytest.raises(Killed):
        run(first, tmp_path / "killed")
    assert not (tmp_path / "killed" / REPORT_NAME).exists()
    with (tmp_path / "killed" / PARTIAL_NAME).open("a") as file:
        file.write('{"version":1,"id":"0","sou')  # what a kill in the middle of a write leaves
    second = kind()
    found = run(second, tmp_path / "killed")
    assert without_date(found) == without_date(wanted)
    for name in (ITEMS_NAME, FLIPPED_NAME):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not (tmp_path / "killed" / PARTIAL_NAME).exists()
    # what was answered is not asked again: of the last window of the comparing model nothing was
    kept = stop if kind is Counting else stop // 3 * 3
    assert second.asked == whole.asked[kept:]


def test_progress_is_told_in_items_and_first_of_those_on_file(tmp_path):
    seen = []
    with pytest.raises(Killed):
        run(Counting(6), tmp_path)
    run(Counting(), tmp_path, progress=lambda done, total: seen.append((done, total)))
    total = 4 + 4 * len(TRANSFORMS) + 8  # groups, each transform of them, responses
    assert seen[0] == (6, total)
    assert [done for done, _ in seen] == list(range(6, total + 1))
    assert {each for _, each in seen} == {total}
    assert len(read_items(tmp_path / ITEMS_NAME)) == total


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": 1}, "seed 0 there and 1 here"),
        ({"model": "other"}, "model m there and other here"),
        ({"recipe_hash": "b"}, "recipe_hash a there and b here"),
        ({"weights_hash": "v"}, "weights_hash w there and v here"),
        ({"data_fingerprint": "other"}, "data nothing there and other here"),
        ({"styles": STYLES[:3]}, "styles .* there and .* here"),
        ({"transforms": TRANSFORMS[:3]}, "transforms .* there and .* here"),
    ],
)
def test_an_unfinished_probe_of_something_else_is_not_taken_up(tmp_path, change, words):
    options = {"recipe_hash": "a", "weights_hash": "w"}
    with pytest.raises(Killed):
        run(Counting(3), tmp_path, **options)
    with pytest.raises(ConfigError, match=rf"stress_items\.partial\.jsonl was begun by another run: {words};"):
        run(Counting(), tmp_path, **options | change)


def test_a_file_of_others_under_the_name_of_the_report_is_kept_unless_it_may_go(tmp_path):
    (tmp_path / "out").mkdir()
    mine = tmp_path / "out" / "stress.json"
    mine.write_text("MINE")
    with pytest.raises(ConfigError, match=r"stress\.json exists, and plaudit did not write it; add --overwrite"):
        run(Counting(), tmp_path / "out")
    assert mine.read_text() == "MINE"
    run(Counting(), tmp_path / "out", overwrite=True)
    assert mine.read_text() != "MINE"


def test_work_that_plaudit_0_1_left_unfinished_is_named_and_goes_with_overwrite(tmp_path):
    old = tmp_path / "probe_items.partial.jsonl"
    old.write_text("{}\n")
    with pytest.raises(ConfigError, match=r"probe_items\.partial\.jsonl is work that plaudit 0\.1 left unfinished"):
        run(Counting(), tmp_path)
    assert old.exists()
    run(Counting(), tmp_path, overwrite=True)
    assert not old.exists()


class InWindows(Counting):
    """Gives rewards that depend on the place in a window of seven groups, as batches move last digits."""

    @property
    def info(self):
        return ScorerInfo(window=7)

    def score_groups(self, groups):
        for place, found in enumerate(super().score_groups(groups)):
            yield GroupRewards(found.id, tuple(reward + place % 7 / 8 for reward in found.rewards))


@pytest.mark.parametrize("stop", [6, 7, 33, 57])
def test_a_scorer_of_windows_goes_on_at_the_end_of_one(tmp_path, stop):
    whole = InWindows()
    run(whole, tmp_path / "whole")
    with pytest.raises(Killed):
        run(InWindows(stop), tmp_path / "killed")
    second = InWindows()
    run(second, tmp_path / "killed")
    assert second.asked == whole.asked[stop // 7 * 7 :]
    assert (tmp_path / "killed" / ITEMS_NAME).read_bytes() == (tmp_path / "whole" / ITEMS_NAME).read_bytes()


def test_items_on_file_that_are_of_other_texts_or_probes_are_refused(tmp_path):
    with pytest.raises(Killed):
        run(Counting(12), tmp_path)
    before = (tmp_path / PARTIAL_NAME).read_text()
    with pytest.raises(DataError, match=r"stress_items\.partial\.jsonl:2: item '0' is not group '7'"):
        run(Counting(), tmp_path, groups=[Group(conversation("x"), ("a", "b"), (Preference(0, 1),), id="7")] * 4)
    lines = before.splitlines(keepends=True)
    lines[5] = lines[5].replace("prompt double blanks", "prompt note")
    (tmp_path / PARTIAL_NAME).write_text("".join(lines))
    words = "jsonl:6: item '0' is of transform prompt note, but this .* asks for transform prompt double blanks"
    with pytest.raises(DataError, match=words):
        run(Counting(), tmp_path)


# ------------------------------------------------------------------------------------------------ planted shifts


def bullets(text):
    return text.count("- ")


def test_a_model_that_pays_one_for_every_bullet_shows_exactly_that_shift():
    """The style puts a bullet before every line; taking the markdown away takes the bullets back."""
    for lines in (1, 3):
        groups = [
            Group(conversation(f"q{k}"), ("\n".join(["One more line. Yes."] * lines), "- a\n- b\n- c"), id=str(k))
            for k in range(6)
        ]
        model = FunctionScorer(lambda _, responses: [float(bullets(r)) for r in responses])
        report = stress_report(stress_items(model, groups, transforms=()), name="d", model="m")
        found = {each.name: each for each in report.styles}
        assert (found["list"].difference.value, found["list"].difference.low) == (lines, lines)
        assert (found["list"].difference.high, found["list"].changed) == (lines, 6)
        assert (found["no markdown"].difference.value, found["no markdown"].changed) == (-3.0, 6)
        others = [each.difference.value for each in report.styles if each.name not in ("list", "no markdown")]
        assert others == [0.0] * (len(STYLES) - 2)
        # rewards 0 and 3 within every prompt: a spread of 3 ÷ √2
        assert report.spread == pytest.approx(3 / math.sqrt(2))
        assert found["list"].in_spreads.value == pytest.approx(lines * math.sqrt(2) / 3)


def test_a_model_that_reads_nothing_shows_no_shift():
    """One says the same of every text; one draws a number for each text it is asked about."""
    flat = FunctionScorer(lambda _, responses: [1.0] * len(responses))
    report = stress_report(stress_items(flat, pairs(20), transforms=()), name="d", model="m")
    assert all(each.difference.low == 0.0 == each.difference.high for each in report.styles if each.changed)
    assert (report.spread, {each.in_spreads for each in report.styles}) == (0.0, {None})
    draws = np.random.default_rng(1)
    noise = FunctionScorer(lambda _, responses: draws.normal(size=len(responses)).tolist())
    report = stress_report(stress_items(noise, pairs(60)), name="d", model="m")
    shown = [each for each in report.styles if each.in_spreads is not None]
    assert len(shown) >= 7
    assert all(each.in_spreads.low <= 0.0 <= each.in_spreads.high for each in shown)
    assert {each.verdict for each in (*report.styles, *report.transforms)} == {"not found"}


def test_the_spread_is_that_within_prompts_whatever_the_level_of_each(make_item):
    items = [make_item("a", (100.0, 102.0)), make_item("b", (1.0, 1.0, 4.0)), make_item("c", (7.0, None))]
    # squares about the mean of each group: 1 + 1, and 1 + 1 + 4, over (2 − 1) + (3 − 1) + (1 − 1)
    assert within_prompt_spread(items) == pytest.approx(math.sqrt(8 / 3))
    assert within_prompt_spread([make_item("c", (7.0, None))]) is None


def test_items_without_a_reward_are_counted_by_reason_and_what_is_not_asked_is_not_among_them():
    def rewards(prompt, responses):
        return [math.nan if r.startswith("# ") else float(len(r)) for r in responses]

    used = [BY_NAME["lower case"]]
    groups = [Group(conversation("q"), ("Same", "same"), (Preference(0, 1),)), *pairs(2)]
    items = stress_items(FunctionScorer(rewards), groups, transforms=used, styles=[STYLE["heading"]])
    report = stress_report(items, name="d", model="m")
    assert sum(report.failures.values()) == 6  # each response under its heading
    assert all("response 1" in reason for reason in report.failures)
    assert report.styles[0].failed == 6
    assert report.transforms[0].left_out == {"different responses would become equal": 1}


# ------------------------------------------------------------------------------------------- orders and turned pairs


def test_what_the_order_does_is_told_of_the_groups_as_they_are(tmp_path):
    """Margins of 3.4 and 0.1 log-odds, and 0.4 for the one named first: it wins in both orders of the close pair."""
    texts = {"far": ("a" * 24, "b"), "close": ("a" * 7, "b" * 7)}
    groups = [Group(conversation(name), pair, (Preference(0, 1),), id=name) for name, pair in texts.items()]
    report = run(Comparing(), tmp_path, groups=groups)
    margin = 23 / 7
    sigma = [1 / (1 + math.exp(-value)) for value in (margin + 0.4, 0.4 - margin, 0.4, 0.4)]
    assert report.position.pairs == 2
    assert report.position.first.value == pytest.approx(sum(sigma) / 4)
    assert report.position.inconsistent.value == 0.5
    assert run(Counting(), tmp_path / "other", groups=groups).position is None


def test_a_model_that_compares_keeps_its_orders_group_by_group(tmp_path, make_decoder):
    """The real scorer adds to its position bias once per group, in the order of the groups, also where it has one."""
    from plaudit.models.heads.language_model import COMPARISON
    from plaudit.models.parity import choose_layout
    from plaudit.scoring.local.pairwise import PairwiseScorer

    model = make_decoder(head=COMPARISON, init_std=0.2, max_length=256)
    choose_layout(model, "shared_prefix")
    scorer = PairwiseScorer(model)
    groups = [*pairs(2), Group(conversation("alone"), ("one",), id="alone"), *pairs(3)[2:]]
    report = run(scorer, tmp_path, groups=groups, transforms=[BY_NAME["closing"]], styles=[STYLE["bold"]])
    orders = [item.comparisons for item in read_items(tmp_path / ITEMS_NAME) if item.metadata["probe"] == "original"]
    assert [len(each) for each in orders] == [1, 1, 0, 1]
    alone = PairwiseScorer(model)
    list(alone.score_groups(groups))
    assert report.position.pairs == alone.position_bias.pairs == 3
    assert report.position.first.value == pytest.approx(
        sum(first for first, *_ in alone.position_bias.sums) / 3, abs=1e-6
    )


def test_the_clearest_flipped_pairs_are_kept_with_their_texts_before_and_after():
    """A fence turns every pair; of five prompts the three whose smaller margin is largest are kept."""

    def reward(text):
        return (-1.0 if text.startswith("```") else 1.0) * len(text.strip("`\n"))

    model = FunctionScorer(lambda _, responses: [reward(r) for r in responses])
    groups = [
        Group(conversation(f"q{k}"), ("x" * (10 + k), "y" * 5), (Preference(0, 1),), id=str(k), source="s")
        for k in range(5)
    ]
    used = [BY_NAME["code fence"], BY_NAME["closing"]]
    items = stress_items(model, groups, transforms=used, styles=())
    found = flipped_pairs(groups, items, used, seed=0)
    assert [(each.transform, each.id) for each in found.pairs] == [("code fence", str(k)) for k in (4, 3, 2)]
    first = found.pairs[0]
    assert (first.chosen_rewards, first.rejected_rewards) == ((14.0, -14.0), (5.0, -5.0))
    assert (first.rejected.before, first.rejected.after) == ("yyyyy", "```\nyyyyy\n```")
    assert first.prompt.before == first.prompt.after == "q4"


def test_pairs_that_become_wrong_stand_before_those_that_become_right_and_a_tie_is_no_turn():
    def reward(text):
        return (-1.0 if text.startswith("Here") else 1.0) * len(text.split("\n\n")[-1])

    model = FunctionScorer(lambda _, responses: [reward(r) for r in responses])
    texts = {"right": ("xx", "x", 0), "wrong": ("x", "x" * 90, 0), "tie": ("xx", "yy", 0)}
    groups = [Group(conversation(name), pair[:2], (Preference(0, 1),), id=name) for name, pair in texts.items()]
    used = [BY_NAME["opening"]]
    found = flipped_pairs(groups, stress_items(model, groups, transforms=used, styles=()), used, seed=0)
    assert [each.id for each in found.pairs] == ["right", "wrong"]


def test_a_long_text_is_cut_around_what_changes():
    text = "begin " + "word " * 2000 + "end"
    model = FunctionScorer(
        lambda _, responses: [len(r) * (-1.0 if r.endswith("response.") else 1.0) for r in responses]
    )
    groups = [Group(conversation("q"), (text, "short"), (Preference(0, 1),))]
    used = [BY_NAME["closing"]]
    (pair,) = flipped_pairs(groups, stress_items(model, groups, transforms=used, styles=()), used, seed=0).pairs
    assert pair.chosen.after.endswith("end\n\nThis is the end of my response.")
    assert pair.chosen.before.endswith("word end")
    assert pair.chosen.after.startswith("…")
    assert max(len(pair.chosen.before), len(pair.chosen.after)) <= 1202
    assert pair.chosen.after.startswith(pair.chosen.before[:500])


def test_the_files_can_be_read_again_and_give_the_report_again(tmp_path):
    report = run(Counting(), tmp_path, recipe_hash="r", weights_hash="w")
    again = stress_report(read_items(tmp_path / ITEMS_NAME), name="d", model="m")
    hashes = {"recipe_hash": "r", "weights_hash": "w"}
    assert without_date(again.model_copy(update=hashes)) == without_date(report)
    assert FlippedPairs.model_validate_json((tmp_path / FLIPPED_NAME).read_text()).max_characters == 1200
    assert json.loads((tmp_path / REPORT_NAME).read_text())["weights_hash"] == "w"
