"""Official figures and step figures of two models: equal to the results, tested by prompt, adjusted by family."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
from typer.testing import CliRunner

from plaudit.cli.main import app
from plaudit.evaluation.compare.leaderboard import leaderboards, official_leaderboard
from plaudit.evaluation.compare.metrics import _official_pairs
from plaudit.evaluation.compare.models import Scored, compare, matched
from plaudit.evaluation.compare.records import ModelComparison
from plaudit.evaluation.metrics.metric_set import MetricSet
from plaudit.evaluation.official.catalog import benchmark_named
from plaudit.evaluation.result import assemble_result
from plaudit.evaluation.store.published import recorded_items
from plaudit.records import ItemScore, LabelCounts, write_json_lines, write_record
from plaudit.statistics.compare import BOOTSTRAP, SIGN_FLIPS, SWAPS, PairedSettings
from plaudit.statistics.compare import compare as compare_metrics
from plaudit.statistics.metric import Exact, RowMean, RowStatistic
from plaudit.statistics.paired_tests import paired_difference, permutation_test

RIGHT, WRONG = (1.0, 0.0), (0.0, 1.0)


def pair(name: str, subset: str, rewards) -> ItemScore:
    return ItemScore(
        id=name, source=subset, prompt_key=name, rewards=rewards, lengths=(3, 4), preferences=((0, 1),),
        metadata={"subset": subset},
    )  # fmt: skip


def reward_bench(rights: dict[str, list[bool]]) -> list[ItemScore]:
    """Return one pair of RewardBench for each entry: subset → whether the model has it right."""
    return [
        pair(f"{subset}-{k}", subset, RIGHT if right else WRONG)
        for subset, every in rights.items()
        for k, right in enumerate(every)
    ]


def as_scored(tmp_path, items, model: str, name: str = "reward_bench") -> Scored:
    result = assemble_result(items, name=name, benchmark=benchmark_named(name), model=model, resamples=20)
    return Scored(tmp_path / model / "items.jsonl", tuple(items), result)


def drawn(seed: int, rate: float = 0.7) -> dict[str, list[bool]]:
    rng = np.random.default_rng(seed)
    sizes = {"alpacaeval-easy": 30, "mt-bench-hard": 8, "llmbar-natural": 25, "donotanswer": 40, "math-prm": 20}
    return {subset: (rng.random(size) < rate).tolist() for subset, size in sizes.items()}


def by_name(found: ModelComparison) -> dict[tuple[str, str], object]:
    return {(row.family, row.name): row for row in found.metrics}


def test_every_official_figure_is_that_of_the_results(tmp_path):
    first, second = (as_scored(tmp_path, reward_bench(drawn(k)), "ab"[k]) for k in (0, 1))
    compared = compare(first, second, tie_rule="loss")
    found = by_name(compared)
    for (family, name), row in found.items():
        for side, value in ((first, row.first), (second, row.second)):
            (measure,) = (each for each in side.result.measures if each.kind == "benchmark")
            figures = measure.slices[name] if family == "subsets" else measure.metrics
            assert value == pytest.approx(figures["score" if family == "subsets" else name].value)
    assert [name for family, name in found if family == "primary"] == ["score"]
    assert {name for family, name in found if family == "subsets"} == set(drawn(0))
    assert {name for family, name in found if family == "further"} == {"tie_rate"}
    # no two rewards are equal, so that the score with ties shared is the score itself
    again = next(each for each in compared.not_tested if each.name == "score_ties_shared")
    assert again.reason.endswith("of the same rows as score: one hypothesis, tested once")
    # with one subset of safety the exchanged weights change nothing
    assert {"chat", "chat_hard", "safety", "reasoning"} == {name for family, name in found if family == "sections"}


def test_the_difference_of_a_blend_of_unequal_subsets_is_worked_out(tmp_path):
    # Chat: 4 of 4 against 0 of 4. Chat hard: 1 of 2 against 2 of 2. Score: mean of both, .75 against .5.
    first = reward_bench({"alpacaeval-easy": [True] * 4, "mt-bench-hard": [True, False]})
    second = reward_bench({"alpacaeval-easy": [False] * 4, "mt-bench-hard": [True, True]})
    found = by_name(
        compare(*(as_scored(tmp_path, each, "ab"[k]) for k, each in enumerate((first, second))), tie_rule="loss")
    )
    score = found["primary", "score"]
    assert (score.first, score.second, score.difference.value, score.prompts) == (0.75, 0.5, 0.25, 6)
    assert score.test == SWAPS
    # Four pairs move it by ± 1/8, one by ± 1/4, and 1/4 was found: of 32 ways, all but the 8 of ∓ 2 ± 2 eighths.
    # Over its error: a pair of n in a subset, with the difference d, adds (d − mean d) ÷ 2n to what that is made of.
    far = []
    for signs in itertools.product((1, -1), repeat=5):
        subsets = np.array(signs[:4], dtype=float), np.array([0.0, -signs[4]])
        difference = sum(each.mean() for each in subsets) / 2
        error = math.sqrt(sum((((each - each.mean()) / (2 * len(each))) ** 2).sum() for each in subsets))
        far.append((abs(difference), abs(difference) / error))
    plain, studentised = np.mean(np.array(far) >= np.array(far[0]) - 1e-6, axis=0)
    assert plain == 24 / 32
    assert score.p_value == pytest.approx(max(plain, studentised), abs=0.04)
    chat = found["sections", "chat"]
    # one subset of the section is here, so it is a mean over pairs like that subset
    assert (chat.p_value, chat.test) == (2 / 16, SIGN_FLIPS)
    subset = found["subsets", "alpacaeval-easy"]
    assert (subset.p_value, subset.test) == (2 / 16, SIGN_FLIPS)


def test_a_family_is_adjusted_by_holm_on_its_own(tmp_path):
    first = reward_bench({"alpacaeval-easy": [True] * 12, "mt-bench-hard": [True, False], "donotanswer": [True]})
    second = reward_bench({"alpacaeval-easy": [False] * 12, "mt-bench-hard": [False, True], "donotanswer": [True]})
    found = compare(*(as_scored(tmp_path, each, "ab"[k]) for k, each in enumerate((first, second))), tie_rule="loss")
    rows = by_name(found)
    headline, subset = rows["primary", "score"], rows["subsets", "alpacaeval-easy"]
    assert headline.p_holm == headline.p_value
    assert subset.p_value == 2 / 2**12
    assert subset.p_holm == pytest.approx(3 * 2 / 2**12)
    assert subset.verdict == "a is higher over 12 prompts"
    assert rows["subsets", "donotanswer"].verdict == "cannot be told apart over 1 prompt"


def judgebench(rights: dict[str, list[bool]], split: str = "gpt-4o-2024-05-13") -> list[ItemScore]:
    """Return one pair of JudgeBench for each entry: category → whether the model has it right."""
    items = []
    for category, every in rights.items():
        for k, right in enumerate(every):
            metadata = {"subset": split, "category": category, "better": 0}
            made = pair(f"{split}-{category}-{k}", split, RIGHT if right else WRONG)
            items.append(made.model_copy(update={"metadata": metadata}))
    return items


def test_one_hypothesis_is_tested_once(tmp_path):
    first = {"math": [True] * 10, "coding": [True, False, True]}
    second = {"math": [False] * 10, "coding": [True, True, False]}
    sides = [as_scored(tmp_path, judgebench(each), "ab"[k], "judgebench") for k, each in enumerate((first, second))]
    found = compare(*sides, tie_rule="loss")
    rows = by_name(found)
    # With one model of responses its figure is the score, and "macro" is another one.
    assert ("sections", "gpt-4o-2024-05-13") not in rows
    (again,) = (each for each in found.not_tested if each.name == "gpt-4o-2024-05-13")
    assert again.reason == "it is of the same rows as score: one hypothesis, tested once"
    assert (again.first, again.second) == (rows["primary", "score"].first, rows["primary", "score"].second)
    assert {name for family, name in rows if family == "sections"} == {"math", "coding", "macro"}
    assert rows["sections", "math"].p_holm == pytest.approx(3 * rows["sections", "math"].p_value)
    # Two subsets of as many pairs, of which as many are right, are two hypotheses.
    twice = {"math": [True, False], "coding": [True, False]}
    other = {"math": [False, True], "coding": [False, True]}
    sides = [as_scored(tmp_path, judgebench(each), "cd"[k], "judgebench") for k, each in enumerate((twice, other))]
    rows = by_name(compare(*sides, tie_rule="loss"))
    assert {"math", "coding"} <= {name for family, name in rows if family == "sections"}


def test_the_share_of_one_subset_has_the_test_and_interval_of_judgements(tmp_path):
    first, second = (as_scored(tmp_path, reward_bench(drawn(k)), "ab"[k]) for k in (0, 1))
    row = by_name(compare(first, second, tie_rule="loss"))["subsets", "donotanswer"]
    differences = np.subtract(*(np.array(drawn(k)["donotanswer"], dtype=float) for k in (0, 1)))
    assert row.p_value == permutation_test(differences, range(40))
    assert row.difference == paired_difference(differences, range(40))


def test_what_only_one_result_has_is_counted_in_every_row(tmp_path):
    first, second = reward_bench(drawn(0)), reward_bench(drawn(1))
    sides = as_scored(tmp_path, first[2:], "a"), as_scored(tmp_path, second[:-5], "b")
    found = compare(*sides, tie_rule="loss", intersection=True)
    headline = by_name(found)["primary", "score"]
    assert (headline.left_out.first_only, headline.left_out.second_only, headline.left_out.unmade) == (5, 2, 0)
    assert headline.tie_rule == benchmark_named("reward_bench").ties
    (judgements,) = found.overall
    assert (judgements.left_out.first_only, judgements.left_out.second_only) == (5, 2)
    easy = next(row for row in found.slices if row.slice == "alpacaeval-easy")
    assert (easy.left_out.first_only, easy.left_out.second_only) == (0, 2)
    assert headline.first == pytest.approx(benchmark_named("reward_bench").metrics(first[2:-5]).metrics["score"].value)


def test_a_benchmark_outside_the_catalogue_and_of_one_side_only_are_named(tmp_path):
    first, second = (as_scored(tmp_path, reward_bench(drawn(k)), "ab"[k]) for k in (0, 1))
    own = [Scored(each.path, each.items, each.result.model_copy(update={"name": "mine"})) for each in (first, second)]
    assert compare(*own, tie_rule="loss").not_compared == {"benchmark": "mine is not in the catalogue of benchmarks"}
    plain = Scored(second.path, second.items, None)
    assert "of no benchmark" in compare(first, plain, tie_rule="loss").not_compared["benchmark"]
    assert compare(Scored(first.path, first.items, None), plain, tie_rule="loss").not_compared == {}


def solution(name: str, labels, steps, *, reward=0.5) -> ItemScore:
    return ItemScore(
        id=name, source="s", prompt_key=name, rewards=(reward,), lengths=(9,), steps=(steps,), step_labels=(labels,)
    )  # fmt: skip


def steps_of(rows, model: str, tmp_path, rewards=None) -> Scored:
    own = rewards or (0.5,) * len(rows)
    items = tuple(solution(f"q{k}", *row, reward=own[k]) for k, row in enumerate(rows))
    return Scored(
        tmp_path / model / "items.jsonl", items, assemble_result(items, name="steps", model=model, resamples=20)
    )


GOOD, BAD = (1.0, 1.0), (1.0, 0.0)


def test_first_error_location_and_step_accuracy_are_tested_by_prompt(tmp_path):
    # Six solutions with an error in step 2 and six without; the first model locates all, the second none.
    first = steps_of([(BAD, (0.9, 0.1))] * 6 + [(GOOD, (0.9, 0.8))] * 6, "a", tmp_path)
    second = steps_of([(BAD, (0.2, 0.7))] * 6 + [(GOOD, (0.9, 0.3))] * 5 + [(GOOD, (0.9, 0.8))], "b", tmp_path)
    found = {row.name: row for row in compare(first, second, tie_rule="loss").metrics}
    location = found["first_error_accuracy"]
    assert (location.first, location.second, location.n, location.prompts) == (1.0, 1 / 12, 12, 12)
    assert (location.p_value, location.test) == (2 / 2**11, SIGN_FLIPS)
    assert found["first_error_accuracy_erroneous"].p_value == 2 / 2**6
    accuracy = found["step_accuracy"]
    # Wrong steps of the second model: two of each of six, and one of five: 17 of 24.
    assert accuracy.difference.value == pytest.approx(17 / 24)
    assert accuracy.p_value == 2 / 2**11
    f1 = found["first_error_f1"]
    assert (f1.first, f1.second, f1.test) == (1.0, 0.0, SWAPS)
    assert f1.p_value < 0.01
    assert found["step_auc"].test == found["step_error_f1"].test == BOOTSTRAP
    assert {row.family for row in found.values()} == {"steps"}
    assert all(row.p_holm >= row.p_value for row in found.values())


def test_step_figures_are_those_of_the_results(tmp_path):
    rng = np.random.default_rng(3)
    labels = [BAD if k % 2 else GOOD for k in range(30)]
    sides = [
        steps_of([(each, tuple(np.clip(rng.normal(0.6, 0.3, 2), 0, 1).tolist())) for each in labels], model, tmp_path)
        for model in "ab"
    ]
    found = compare(*sides, tie_rule="loss")
    for row in found.metrics:
        for side, value in zip(sides, (row.first, row.second), strict=True):
            (measure,) = (each for each in side.result.measures if each.kind == "step")
            assert value == pytest.approx(measure.metrics[row.name].value)
            assert row.difference.low <= row.difference.value <= row.difference.high
    assert {"step_auc", "step_accuracy", "step_error_f1", "first_error_f1"} <= {row.name for row in found.metrics}


def test_a_response_that_one_model_has_not_judged_is_left_out_for_both_and_counted(tmp_path):
    first = steps_of([(BAD, (0.9, 0.1)), (GOOD, (0.9, 0.8)), (BAD, (0.9, 0.2))], "a", tmp_path)
    second = steps_of([(BAD, None), (GOOD, (0.9, 0.8)), (BAD, (0.9, None))], "b", tmp_path)
    found = {row.name: row for row in compare(first, second, tie_rule="loss").metrics}
    assert (found["step_accuracy"].n, found["step_accuracy"].left_out.unmade) == (2, 2)


def test_a_model_of_whole_responses_beside_one_of_steps_says_what_is_missing(tmp_path):
    first = steps_of([(BAD, (0.9, 0.1)), (GOOD, (0.9, 0.8))] * 4, "a", tmp_path)
    second = steps_of([(BAD, (0.4,)), (GOOD, (0.7,))] * 4, "b", tmp_path, rewards=(0.4, 0.7) * 4)
    missing = {each.name: each for each in compare(first, second, tie_rule="loss").not_tested}
    assert "the second" in missing["step_accuracy"].reason
    assert missing["step_accuracy"].second is None
    (area,) = compare(first, second, tie_rule="loss").metrics
    assert (area.name, area.first, area.second) == ("response_auc", 0.5, 1.0)


def test_published_predictions_are_what_a_model_says_and_no_part_of_the_data(tmp_path):
    def processbench(predictions):
        return [
            ItemScore(
                id=f"processbench/gsm8k-{k}",
                source="gsm8k",
                prompt_key=f"p{k}",
                rewards=(None,),
                lengths=(9,),
                metadata={
                    "subset": "gsm8k",
                    "ids": [f"gsm8k-{k}"],
                    "errors": [error],
                    "num_steps": [3],
                    "longest_steps": [0],
                    "predictions": [guess],
                },
            )
            for k, (error, guess) in enumerate(zip([-1, 1, 2, -1], predictions, strict=True))
        ]

    sides = [
        as_scored(tmp_path, processbench(each), model, "processbench")
        for each, model in (([-1, 1, 2, -1], "a"), ([0, 1, 0, None], "b"))
    ]
    found = by_name(compare(*sides, tie_rule="loss"))
    f1 = found["primary", "f1"]
    # The second locates one of two errors and clears none: harmonic mean of ½ and 0.
    assert (f1.first, f1.second, f1.test) == (1.0, 0.0, SWAPS)
    assert found["sections", "gsm8k_accuracy_correct"].difference.value == 1.0


def test_judges_that_publish_only_who_won_are_compared_over_all_items_and_not_where_they_agree(tmp_path):
    def judge(name, wins):
        rows = [
            {"subset": "alpacaeval-easy", "id": k, "text_chosen": "a", "text_rejected": "b", "results": won}
            for k, won in enumerate(wins)
        ]
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return recorded_items(str(path), "reward_bench")[1]

    first, second = judge("first", [1] * 8 + [0] * 2), judge("second", [0] * 4 + [1] * 6)
    pairs, differs = matched(first, second)
    assert (len(pairs), differs) == (10, [])
    board = official_leaderboard({"first": first, "second": second}, benchmark_named("reward_bench"))
    assert {each.name: each.score.value for each in board.standings} == {"first": 0.8, "second": 0.6}


def test_metrics_that_are_not_of_the_same_rows_are_not_tested():
    settings = PairedSettings()
    assert "not made from rows" in compare_metrics(Exact(0.5, 3), Exact(0.5, 3), settings)
    rows = [RowStatistic(lambda chosen: float(len(chosen)), np.array(list(each))) for each in ("ab", "ac")]
    assert "different rows" in compare_metrics(*rows, settings)
    assert "different ways" in compare_metrics(rows[0], RowMean(np.ones(2), ["a", "b"]), settings)


@pytest.mark.slow
def test_the_letters_of_a_leaderboard_say_what_compare_does(tmp_path):
    for seed in range(4):
        models = {name: reward_bench(drawn(seed * 2 + k, 0.55 + 0.2 * k)) for k, name in enumerate("ab")}
        found = compare(*(as_scored(tmp_path, items, name) for name, items in models.items()), tie_rule="loss")
        (board,) = leaderboards(models, tie_rule="loss")
        official = official_leaderboard(models, benchmark_named("reward_bench"), resamples=20)
        for told_apart, standings in (
            ("better" in found.overall[0].verdict, board.standings),
            ("higher" in by_name(found)["primary", "score"].verdict, official.standings),
        ):
            assert (len({each.letters for each in standings}) == 2) == told_apart
        assert [each.score.value for each in official.standings] == sorted(
            (by_name(found)["primary", "score"].first, by_name(found)["primary", "score"].second), reverse=True
        )


def test_the_command_prints_every_figure_with_its_test_and_writes_it(tmp_path):
    for k in (0, 1):
        side = as_scored(tmp_path, reward_bench(drawn(k)), "ab"[k])
        write_json_lines(side.path, side.items)
        write_record(side.path.parent / "result.json", side.result)
    command = ["compare", str(tmp_path / "a"), str(tmp_path / "b"), "-o", str(tmp_path / "c.json")]
    done = CliRunner().invoke(app, command, env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    for words in (
        "the official metric",
        "other official metrics",
        "by subset",
        "score: ",
        f"{SWAPS}",
        "ties, benchmark:",
    ):
        assert words in done.output
    written = json.loads((tmp_path / "c.json").read_text())
    (headline,) = (row for row in written["metrics"] if row["family"] == "primary")
    assert {"first", "second", "difference", "p_value", "p_holm", "prompts", "tie_rule", "left_out"} <= set(headline)


@pytest.mark.parametrize(("subsets", "families"), [(1, ["primary"]), (2, ["primary", "subsets", "subsets"])])
def test_a_single_subset_is_the_whole_and_no_hypothesis_of_its_own(subsets, families):
    def made():
        metric = RowMean(np.array([1.0, 0.0]), ["p", "q"])
        found = MetricSet("benchmark", "score", LabelCounts(n=2, scored=2, unscored=0, failed=0))
        found.put("score", metric, "")
        found.slices = {f"model {k}": {"score": metric} for k in range(subsets)}
        return found

    assert [pair.family for pair in _official_pairs(made(), made())] == families
