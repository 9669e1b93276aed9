"""Two results side by side: worked counts and p-values, what is not the same, missing rewards, slices, verdicts."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from plaudit.cli.main import app
from plaudit.errors import ConfigError, DataError
from plaudit.evaluation.compare.correctness import correctness, kinds_of
from plaudit.evaluation.compare.models import Scored, compare, matched, read_scored
from plaudit.evaluation.compare.records import ModelComparison
from plaudit.evaluation.result import assemble_result
from plaudit.records import ItemScore, write_json_lines, write_record
from plaudit.statistics.paired_tests import paired_difference, permutation_test


def item(name: str, *rewards: float | None, prompt: str | None = None, **labels) -> ItemScore:
    labels = labels or {"preferences": ((0, 1),)}
    labels = {"source": "s", "lengths": (3,) * len(rewards)} | labels
    return ItemScore(id=name, prompt_key=prompt or name, rewards=rewards, **labels)


def scored(tmp_path, *items: ItemScore, model: str = "m") -> Scored:
    result = assemble_result(items, name="pairs", model=model, resamples=20)
    return Scored(tmp_path / model / "items.jsonl", items, result)


RIGHT, WRONG, TIED = (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)


def both(tmp_path, *rows, **labels):
    """Return two results; ``rows`` hold the rewards of the first and the second model of each pair."""
    return tuple(
        scored(tmp_path, *(item(f"i{k}", *row[side], **labels) for k, row in enumerate(rows)), model="ab"[side])
        for side in (0, 1)
    )


def test_wins_losses_and_the_p_value_are_mcnemars(tmp_path):
    # Seven pairs right for the first only, one for the second only, two alike: 2 (1 + 8) ÷ 2⁸ = 18 ÷ 256.
    first, second = both(tmp_path, *[(RIGHT, WRONG)] * 7, (WRONG, RIGHT), (RIGHT, RIGHT), (WRONG, WRONG))
    found = compare(first, second, tie_rule="loss")
    (row,) = found.overall
    assert (row.wins, row.losses, row.draws, row.n, row.prompts) == (7, 1, 2, 10, 10)
    assert (row.first, row.second, row.difference.value) == pytest.approx((0.8, 0.2, 0.6))
    assert row.p_value == row.sign_p_value == row.p_holm == pytest.approx(18 / 256)
    assert row.verdict == "cannot be told apart at n = 10"
    assert compare(first, second, tie_rule="loss", alpha=0.1).overall[0].verdict == "a is better at n = 10"
    assert compare(second, first, tie_rule="loss", alpha=0.1).overall[0].verdict == "a is better at n = 10"
    assert found.items == {"first": 10, "second": 10, "compared": 10}


def test_the_detectable_difference_is_two_point_eight_standard_errors(tmp_path):
    first, second = both(tmp_path, *[(RIGHT, WRONG)] * 3, *[(WRONG, RIGHT)] * 3, *[(RIGHT, RIGHT)] * 14)
    (row,) = compare(first, second, tie_rule="loss").overall
    # Six of twenty differ, mean 0: variance 6 ÷ 19 of one pair; 1.959964 + 0.841621 = 2.801585 standard errors.
    assert row.detectable == pytest.approx(2.801585 * (6 / 19 / 20) ** 0.5)


def test_pairs_of_one_prompt_are_one_piece_of_evidence(tmp_path):
    first, second = both(tmp_path, *[(RIGHT, WRONG)] * 12, prompt="p", preferences=((0, 1),))
    (row,) = compare(first, second, tie_rule="loss").overall
    assert (row.p_value, row.prompts, row.detectable) == (1.0, 1, None)
    assert (row.difference.low, row.difference.high) == (-1.0, 1.0)
    assert row.verdict == "cannot be told apart at n = 12 (1 prompt)"


@pytest.mark.parametrize(("rule", "n", "value"), [("loss", 2, 0.0), ("half", 2, 0.25), ("exclude", 1, 0.0)])
def test_ties_count_by_the_rule_and_excluded_ones_are_counted(tmp_path, rule, n, value):
    first, second = both(tmp_path, (TIED, WRONG), (RIGHT, RIGHT))
    found = compare(first, second, tie_rule=rule)
    assert (found.overall[0].n, found.overall[0].difference.value) == (n, value)
    assert found.left_out == ({"preference": 1} if rule == "exclude" else {})


def test_a_missing_reward_of_one_model_leaves_the_pair_out_and_is_counted(tmp_path):
    first, second = both(tmp_path, (RIGHT, (None, 1.0)), (RIGHT, WRONG))
    found = compare(first, second, tie_rule="loss")
    assert (found.overall[0].n, found.left_out) == (1, {"preference": 1})
    nothing = both(tmp_path, (RIGHT, (None, 1.0)))
    with pytest.raises(DataError, match="no judgement that both models made, out of 1 items"):
        compare(*nothing, tie_rule="loss")


def test_every_kind_of_label_has_its_judgements():
    rows = [
        item("a", 3.0, 2.0, 2.0, ranks=(1, 2, 3), ratings={"x": (1.0, 2.0, None)}, attributes={"x": (0.0, 5.0, 1.0)}),
        item("b", 1.0, 1.0, 0.0, outcomes=(True, False, None)),
        item("c", 1.0, 0.0, outcomes=(True, None)),
        item("d", 1.0, 0.0, preferences=((0, 1), (1, 0), (0, 1)), probabilities=(None, 0.4, 0.5)),
    ]
    assert kinds_of(rows) == ["preference", "ranking", "rating x", "outcome"]
    assert correctness(rows, "ranking", "half").right.tolist() == [1, 1, 0.5]
    assert correctness(rows, "rating x", "half").right.tolist() == [1]  # by the model's own output, not its reward
    assert correctness(rows, "outcome", "loss").right.tolist() == [0.5]  # one of two is drawn
    assert correctness(rows, "preference", "loss").right.tolist() == [1, 1]
    assert kinds_of([item("a", 1.0, 2.0, ranks=(1, 1))]) == []


def test_the_same_items_are_asked_for_and_what_differs_is_named(tmp_path):
    ours = [item("a", *RIGHT), item("b", *RIGHT), item("c", *RIGHT), item("d", *RIGHT)]
    theirs = [
        item("d", *WRONG, lengths=(3, 4)),
        item("c", *WRONG, prompt="other"),
        item("a", *WRONG),
        item("e", *RIGHT),
    ]
    pairs, differs = matched(ours, theirs)
    assert [(one.id, other.id) for one, other in pairs] == [("a", "a")]
    assert differs == [
        "1 items are in the first only ('b')",
        "1 items are in the second only ('e')",
        "1 items differ in prompt_key ('c')",
        "1 items differ in lengths ('d')",
    ]
    first, second = scored(tmp_path, *ours, model="a"), scored(tmp_path, *theirs, model="b")
    with pytest.raises(DataError, match=r"not about the same items: 1 items are in the first only \('b'\)"):
        compare(first, second, tie_rule="loss")
    found = compare(first, second, tie_rule="loss", intersection=True)
    assert (found.items["compared"], found.overall[0].n, len(found.differs)) == (1, 1, 4)


def test_items_of_one_id_are_matched_in_their_order():
    ours, theirs = [item("a", 1.0, 0.0), item("a", 2.0, 0.0)], [item("a", 3.0, 0.0), item("a", 4.0, 0.0)]
    pairs, differs = matched(ours, theirs)
    assert [(one.rewards[0], other.rewards[0]) for one, other in pairs] == [(1, 3), (2, 4)]
    assert differs == []
    assert matched(ours, theirs[:1])[1] == ["1 items are in the first only ('a')"]


def sided(tmp_path):
    """Return two models that differ in one source of four, and on chance elsewhere."""
    rows = []
    for source in "wxyz":
        for k in range(12):
            model = (RIGHT, WRONG) if source == "x" or k % 2 else (WRONG, RIGHT)
            rows.append((f"{source}{k}", source, model))
    return tuple(
        scored(
            tmp_path,
            *(item(name, *row[side], source=source, preferences=((0, 1),)) for name, source, row in rows),
            model="ab"[side],
        )
        for side in (0, 1)
    )


def test_slices_are_adjusted_over_all_of_them_and_the_surest_comes_first(tmp_path):
    found = compare(*sided(tmp_path), tie_rule="loss")
    assert [row.slice for row in found.slices] == ["x", "w", "y", "z"]
    surest = found.slices[0]
    assert surest.p_value == pytest.approx(2 / 2**12)
    assert surest.p_holm == surest.p_false_discovery == pytest.approx(4 * 2 / 2**12)
    assert surest.verdict == "a is better at n = 12"
    assert {row.p_value for row in found.slices[1:]} == {1.0}
    # The overall test is no member of that family.
    assert found.overall[0].p_holm == found.overall[0].p_value


def test_the_numbers_are_those_of_the_statistics(tmp_path):
    first, second = sided(tmp_path)
    (row,) = compare(first, second, tie_rule="loss").overall
    ours, theirs = (correctness(each.items, "preference", "loss") for each in (first, second))
    assert row.p_value == permutation_test(ours.right - theirs.right, ours.prompts)
    assert row.difference == paired_difference(ours.right - theirs.right, ours.prompts)


def test_a_level_outside_0_to_1_is_refused(tmp_path):
    rows = [item("a", *RIGHT)]
    with pytest.raises(ConfigError, match="alpha is 5"):
        compare(scored(tmp_path, *rows), scored(tmp_path, *rows), tie_rule="loss", alpha=5)


def write(scored_: Scored) -> None:
    write_json_lines(scored_.path, scored_.items)
    write_record(scored_.path.parent / "result.json", scored_.result)


def run(*arguments):
    return CliRunner().invoke(app, ["compare", *map(str, arguments)])


def test_the_command_prints_a_table_and_writes_the_comparison(tmp_path):
    for each in sided(tmp_path):
        write(each)
    done = run(tmp_path / "a", tmp_path / "b" / "result.json")
    assert done.exit_code == 0, done.output
    assert run(tmp_path / "a", tmp_path / "b", "-o", tmp_path / "c.json").exit_code == 0
    found = ModelComparison.model_validate_json((tmp_path / "c.json").read_text())
    assert (found.first, found.second, found.overall[0].n) == ("a", "b", 48)
    assert "by source, the most certain difference first" in done.output
    assert f"{found.overall[0].verdict}: the first less the second +" in done.output
    assert found.tie_rule == "loss"


def test_nothing_is_written_beside_either_result_unless_asked(tmp_path):
    for each in sided(tmp_path):
        write(each)
    before = sorted(tmp_path.rglob("*"))
    done = run(tmp_path / "a", tmp_path / "b")
    assert done.exit_code == 0
    assert "wrote" not in done.output
    assert sorted(tmp_path.rglob("*")) == before


def test_a_comparison_of_version_1_is_read_and_its_old_names_still_work(tmp_path):
    for each in sided(tmp_path):
        write(each)
    run(tmp_path / "a", tmp_path / "b", "-o", tmp_path / "c.json")
    old = json.loads((tmp_path / "c.json").read_text())
    tested = old["overall"][0]
    shared = ("version", "n", "prompts", "first", "second", "difference", "p_value", "p_holm", "p_false_discovery")
    row = {name: tested[name] for name in (*shared, "tie_rule", "left_out", "verdict")}
    row |= {"measure": "benchmark", "family": "headline", "name": "score", "n_second": 4, "test": "swaps"}
    del old["metrics"]
    found = ModelComparison.model_validate_json(json.dumps(old | {"version": 1, "figures": [row]}))
    assert (found.version, found.metrics[0].family, found.metrics[0].name) == (2, "primary", "score")
    with pytest.warns(DeprecationWarning, match=r"ModelComparison\.figures is called ModelComparison\.metrics"):
        assert found.figures == found.metrics


def test_the_command_says_in_one_line_what_is_wrong(tmp_path):
    first, second = sided(tmp_path)
    write(first)
    missing = run(tmp_path / "a", tmp_path / "b")
    assert missing.exit_code == 2
    assert "does not exist; a comparison needs the folder" in missing.output
    write(Scored(second.path, second.items[1:], second.result.model_copy(update={"tie_rule": "half"})))
    rules = run(tmp_path / "a", tmp_path / "b")
    assert "by different rules, half and loss" in rules.output
    other = run(tmp_path / "a", tmp_path / "b", "--tie-rule", "loss")
    assert "1 items are in the first only ('w0')" in other.output
    assert run(tmp_path / "a", tmp_path / "b", "--tie-rule", "loss", "--intersection").exit_code == 0
    (tmp_path / "b" / "result.json").write_text("{}")
    assert "result.json is no record of plaudit" in run(tmp_path / "a", tmp_path / "b").output
    (tmp_path / "a" / "items.jsonl").write_text("{}\n")
    with pytest.raises(DataError, match=r"items.jsonl:1: not an item"):
        read_scored(tmp_path / "a")
