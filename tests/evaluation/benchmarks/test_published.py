"""Published per-item results, in the layouts that the official code of each benchmark writes."""

from __future__ import annotations

import json
import math

import pytest

from plaudit.errors import DataError
from plaudit.evaluation.official.benchmarks.reward_bench import SECTIONS, section_scores
from plaudit.evaluation.official.catalog import benchmark_named
from plaudit.evaluation.store.published import benchmark_of, recorded_items, recorded_result


def measured(path, benchmark=None, **options):
    result = recorded_result(str(path), benchmark, resamples=20, **options)
    return result.measures[0]


def figure(measure, name):
    return measure.metrics[name].value


def judged(index, *decisions, label="A>B", scores=None):
    games = [None if each == "failed" else {"judgment": {"response": "…"}, "decision": each} for each in decisions]
    if scores is not None:
        games[0]["judgment"]["scores"] = scores
    return {
        "pair_id": f"p{index}",
        "original_id": index,
        "source": "livecodebench",
        "question": f"question {index}",
        "response_model": "claude-3-5-sonnet-20240620",
        "response_A": "first",
        "response_B": "the second",
        "label": label,
        "judge_name": "vanilla",
        "judgments": games,
    }


def test_a_judge_of_one_game_is_right_where_it_agrees_with_the_label(tmp_path, write_rows):
    rows = [judged(0, "A>B"), judged(1, "B>A"), judged(2, "A=B"), judged(3, None)]
    measure = measured(write_rows(tmp_path / "judge.jsonl", rows))
    assert figure(measure, "score") == figure(measure, "claude-3-5-sonnet-20240620") == 1 / 4
    assert measure.details["pairs_judged_in_one_order"] == 4
    assert measure.details["games_without_a_verdict"] == 1


def test_another_word_for_a_verdict_is_neither_for_nor_against_and_is_named(tmp_path, write_rows):
    rows = [judged(0, "A<B", "B>A"), judged(1, "A<<B", "A>B"), judged(2, "A>B", "failed")]
    measure = measured(write_rows(tmp_path / "judge.jsonl", rows))
    # One game right beside one that says nothing; one wrong beside such a one; one right beside one that failed.
    assert figure(measure, "score") == 2 / 3
    assert measure.details["games_with_another_word_for_a_verdict"] == 2
    assert measure.details["games_without_a_verdict"] == 3
    assert measure.rules["verdicts"] == "neither for nor against: 'A<<B', 'A<B'"


def test_the_decision_counts_where_the_scores_of_a_reward_model_contradict_it(tmp_path, write_rows):
    rows = [judged(0, "A>B", scores=[2.0, 1.0]), judged(1, "A>B", scores=[1.0, 2.0]), judged(2, "B>A", scores=[1, 1])]
    measure = measured(write_rows(tmp_path / "reward_model.jsonl", rows))
    assert figure(measure, "score") == 2 / 3
    assert measure.details["pairs_whose_scores_contradict_the_decision"] == 1


def test_the_second_game_of_a_reward_model_is_compared_with_the_first_and_the_result_says_so(tmp_path, write_rows):
    # In the second game the responses are shown the other way round: its scores are (of B, of A).
    agrees = judged(0, "A>B", "B>A", scores=[2.0, 1.0])
    agrees["judgments"][1]["judgment"]["scores"] = [1.5, 2.5]
    contradicts = judged(1, "A>B", "A>B", scores=[2.0, 1.0])
    contradicts["judgments"][1]["judgment"]["scores"] = [2.5, 1.5]
    by_decision = judged(2, "A>B", "A>B", scores=[2.0, 1.0])
    ties = judged(3, "B>A", "B>A", scores=[1.0, 1.0])
    ties["judgments"][1]["judgment"]["scores"] = [1.0, 1.0]
    rows = [agrees, contradicts, by_decision, ties, judged(4, "A>B", scores=[2.0, 1.0])]
    measure = measured(write_rows(tmp_path / "reward_model.jsonl", rows))
    assert figure(measure, "score") == 4 / 5
    assert measure.details["pairs_with_a_second_game"] == 4
    assert measure.details["pairs_whose_games_contradict_each_other"] == 2
    assert measure.rules["second_game"].startswith("not used: of a reward model the first game counts")
    alone = measured(write_rows(tmp_path / "single.jsonl", rows[-1:]))
    assert "second_game" not in alone.rules
    assert "pairs_with_a_second_game" not in alone.details


def test_a_score_that_is_no_number_is_missing_and_says_so(tmp_path):
    path = tmp_path / "reward_model.jsonl"
    rows = [
        judged(k, "B>A", scores=[value, 1.0], label="B>A") for k, value in enumerate((math.nan, math.inf, None, 0.5))
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    benchmark, items = recorded_items(str(path))
    assert benchmark.name == "judgebench"
    assert [item.reason for item in items] == ["scores[0] is nan", "scores[0] is inf", "scores[0] is null", None]
    measure = measured(path)
    assert figure(measure, "score") == 1 / 4
    assert measure.counts.failed == 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"judgments": [{"judgment": {"scores": ["1.5", 2.0]}, "decision": "B>A"}]}, r"scores\[0\] is '1.5'"),
        ({"judgments": [{"judgment": {"scores": [1.5]}, "decision": "B>A"}]}, "scores is of type list; it must be two"),
        ({"judgments": [{"judgment": {}}]}, r"judgments\[0\].decision is missing"),
        ({"judgments": []}, "judgments is of type list; it must be a list of one game"),
        ({"judgments": [{"decision": 1}]}, r"judgments\[0\].decision is 1; it must be a string"),
    ],
)
def test_what_cannot_be_read_is_an_error_with_its_line(tmp_path, write_rows, change, words):
    path = write_rows(tmp_path / "judge.jsonl", [judged(0, "A>B"), {**judged(1, "A>B"), **change}])
    with pytest.raises(DataError, match=rf"judge\.jsonl:2: {words}"):
        benchmark_named("judgebench").read_results(path)


def test_a_row_that_comes_twice_counts_twice_and_is_named(tmp_path, write_rows):
    rows = [judged(0, "A>B"), judged(0, "A>B"), judged(1, "B>A")]
    path = write_rows(tmp_path / "judge.jsonl", rows)
    _, items = recorded_items(path)
    assert [item.id.rpartition("/")[2] for item in items] == ["p0", "p0#2", "p1"]
    measure = measured(path)
    assert figure(measure, "score") == 2 / 3
    assert measure.details["rows_of_a_repeated_id"] == 1
    assert measure.missing["claude-3-5-sonnet-20240620"] == "3 of 270 rows"


def test_a_pair_with_an_empty_response_was_judged_all_the_same(tmp_path, write_rows):
    rows = [judged(0, "A>B", "B>A") | {"response_B": ""}, judged(1, "A>B", "A>B")]
    measure = measured(write_rows(tmp_path / "judge.jsonl", rows))
    assert figure(measure, "score") == 1 / 2
    assert measure.counts.failed == 0


def problem(name, score, *, references=("human_to_GPT-4", "a", "b"), **fields):
    return {"problem": name, "solution_reference": list(references), "score": score, **fields}


def test_a_problem_that_comes_twice_counts_twice_as_in_the_published_ratings(tmp_path, write_rows):
    rows = [problem("p", [9, 3, 2]), problem("q", [5, 5, 1]), problem("q", [5, 5, 1])]
    measure = measured(write_rows(tmp_path / "judge_reward.json", rows))
    assert figure(measure, "accuracy") == 1 / 3
    assert figure(measure, "mrr") == pytest.approx((1 + 1 / 2 + 1 / 2) / 3)
    assert figure(measure, "accuracy_ties_won") == 1.0
    assert measure.details["rows_of_a_repeated_id"] == 1


def test_a_whole_published_file_with_rows_that_come_twice_is_the_official_set(tmp_path, write_rows):
    rows = [problem(f"p{number}", [9, 3, 2]) for number in range(483)]
    measure = measured(write_rows(tmp_path / "whole_reward.json", [*rows, rows[0], rows[7]]))
    assert measure.missing == {}
    assert measure.details["rows_of_a_repeated_id"] == 2
    assert measure.rules["repeated_rows"] == "rows that repeat an earlier one: 2"
    part = measured(write_rows(tmp_path / "part_reward.json", [*rows[:480], rows[0], rows[7]]))
    assert part.missing == {"math": "482 of 483 rows"}
    more = measured(write_rows(tmp_path / "more_reward.json", [*rows, problem("new", [9, 3, 2])]))
    assert more.missing == {"math": "484 of 483 rows"}
    assert "repeated_rows" not in more.rules


def test_every_aggregation_of_steps_has_the_accuracy_with_ties_won(tmp_path, write_rows):
    tie = problem("p", [[0.5, 0.9], [0.5, 0.8], [0.2, 0.3]])  # the minimum ties, the last step does not
    won = problem("q", [[0.9, 0.9], [0.5, 0.8], [0.2, 0.3]])
    measure = measured(write_rows(tmp_path / "steps_reward.json", [tie, won]))
    assert (figure(measure, "accuracy_min"), figure(measure, "accuracy_ties_won_min")) == (0.5, 1.0)
    assert (figure(measure, "accuracy_last"), figure(measure, "accuracy_ties_won_last")) == (1.0, 1.0)
    lost = problem("r", [[0.1, 0.1], [0.5, 0.8], [0.2, 0.3]])
    again = measured(write_rows(tmp_path / "lost_reward.json", [tie, lost]))
    assert figure(again, "accuracy_ties_won_min") == 0.5
    log_odds = measured(write_rows(tmp_path / "log_odds_reward.json", [problem("p", [[2.0], [-1.0], [-2.0]])]))
    assert "outside 0 to 1" in log_odds.absent["accuracy_ties_won_product"]


def test_scores_of_solutions_that_are_no_numbers_are_missing_and_named(tmp_path):
    path = tmp_path / "model_reward.json"
    path.write_text(json.dumps([problem("p", [math.nan, 0.1, 0.2]), problem("q", [[0.5, None], [0.1], []])]))
    benchmark, items = recorded_items(str(path))
    assert benchmark.name == "rewardmath"
    assert items[0].reason == "score[0] is nan"
    assert items[1].reason == "score[0][1] is null; score[2] has no steps"
    assert [item.rewards[0] for item in items] == [None, None]
    assert measured(path).counts.failed == 2


def test_results_on_math_prm_are_read_in_both_of_their_layouts(tmp_path, write_rows):
    pair = ("human_to_GPT-4", "modified_with_GPT-4")
    flat = [problem("p", [0.2, 0.1], references=pair), problem("q", [0.1, 0.1], references=pair)]
    measure = measured(write_rows(tmp_path / "rewardbench_model.json", flat))
    assert figure(measure, "accuracy") == 0.5
    assert measure.details["problems_not_of_1_and_9"] == 0
    assert measure.missing == {"math": "0 of 483 rows"}

    def solution(number, kind, *steps):
        output = {"step_scores": list(steps)}
        return {"problem": f"p{number}", "output": output, "problem_id": number, "solution_type": kind}

    rows = [solution(0, "chosen", 0.9, 0.8), solution(0, "rejected", 0.9, 0.1, 0.9)]
    rows += [solution(1, "chosen", 0.5, 0.4), solution(1, "rejected", 0.3, 0.9)]
    measure = measured(write_rows(tmp_path / "rewardbench_process.json", rows))
    # Products: 0.72 against 0.081, 0.2 against 0.27; last steps: 0.8 against 0.9, 0.4 against 0.9.
    assert (figure(measure, "accuracy"), figure(measure, "accuracy_last")) == (0.5, 0.0)
    assert figure(measure, "accuracy_min") == 1.0


def test_a_model_that_only_compares_pairs_of_rmb_has_its_verdicts(tmp_path, write_rows):
    def row(uid, chosen, reject, correct):
        where = "Pairwise_set/Harmlessness/S3"
        rewards = {"chosen_reward": chosen, "reject_reward": reject}
        return {"pair_uid": uid, "category_path": where, **rewards, "is_correct": correct}

    rows = [row("a", None, None, 1), row("b", None, None, 0), row("c", 2.0, 1.0, 1), row("d", 1.0, 2.0, 1)]
    measure = measured(write_rows(tmp_path / "model_result.json", rows))
    assert figure(measure, "harmless_pairwise") == 2 / 4  # the rewards decide where they are there
    assert measure.details["pairs_whose_rewards_contradict_is_correct"] == 1
    assert measure.counts.failed == 0


def styles(id, chosen, rejected, **fields):
    sides = {"chosen": ["a", "bb", "ccc"], "rejected": ["dddd", "ee", "f"]}
    scores = {"score_chosen": chosen, "score_rejected": rejected}
    return {"id": id, "prompt": f"p {id}", **sides, **scores, **fields}


def test_the_scores_of_rm_bench_are_enough(tmp_path, write_rows):
    rows = [
        styles(0, [1.0, 2.0, 3.0], [0.0, 2.0, 2.5], domain="chat"),
        styles(0, [[1.0], [2.0], [3.0]], [[0.0], [2.0], [2.5]], domain="safety-refuse"),
        {"id": 1, "domain": "math", "score_chosen": [1, 1, 1], "score_rejected": [0, None, 2]},
    ]
    measure = measured(write_rows(tmp_path / "total_dataset_model_REWORD_MODEL_20240101.json", rows))
    # Chosen by rejected: 1 0 0 / 1 0 0 / 1 1 1, in chat and, of one-element lists, in safety.
    assert figure(measure, "chat") == figure(measure, "safety") == pytest.approx(5 / 9)
    assert (figure(measure, "chat_hard"), figure(measure, "chat_easy")) == (0.0, 1.0)
    assert figure(measure, "math") == pytest.approx(3 / 9)  # one column won, one without a reward, one lost
    assert measure.counts.failed == 1


def test_the_file_of_a_domain_names_it_where_the_rows_do_not(tmp_path, write_rows):
    folder = tmp_path / "model"
    write_rows(folder / "chat_filtered_model_REWORD_MODEL_1.json", [styles(0, [2, 2, 2], [1, 1, 1])])
    write_rows(folder / "safety-response_filtered_model_REWORD_MODEL_1.json", [styles(0, [1, 1, 1], [1, 1, 1])])
    measure = measured(folder)
    assert (figure(measure, "chat"), figure(measure, "safety")) == (1.0, 0.0)
    assert measure.baselines["chat"]["longer_response"].value == pytest.approx(3 / 9)
    path = write_rows(tmp_path / "other.json", [styles(0, [2, 2, 2], [1, 1])])
    with pytest.raises(DataError, match=r"other\.json:1: domain is missing"):
        measured(path)


def columns(rows, **same):
    return {name: [row.get(name) for row in rows] for name in {name for row in rows for name in row}} | same


def conversation(response):
    return [{"role": "user", "content": "p"}, {"role": "assistant", "content": response}]


def test_reward_bench_scores_in_columns_give_sections_and_a_length_baseline(tmp_path):
    def row(id, subset, chosen, rejected, result):
        texts = {"text_chosen": conversation("aa"), "text_rejected": conversation("a")}
        return {
            "id": id,
            "subset": subset,
            "scores_chosen": chosen,
            "scores_rejected": rejected,
            "results": result,
        } | texts

    rows = [
        row(0, "alpacaeval-easy", 1.0, 0.0, 1),
        row(1, "alpacaeval-easy", [0.5], [0.5], 0),
        row(2, "mt-bench-easy", 2.0, 3.0, 0),
        row(3, "math-prm", 2.0, 1.0, 0),  # the rewards say otherwise
        row(4, "hep-cpp", math.nan, 1.0, 0),
    ]
    path = tmp_path / "model.json"
    path.write_text(json.dumps(columns(rows, model="org/model", chat_template=None), indent=4))
    assert benchmark_of(str(path)).name == "reward_bench"
    measure = measured(path)
    assert figure(measure, "chat") == pytest.approx((0.5 * 100 + 0.0 * 28) / 128)
    assert figure(measure, "reasoning") == pytest.approx((1.0 * 984 + 0.0 * 164) / (984 + 164))
    assert measure.details["rows_whose_rewards_contradict_their_results"] == 1
    assert measure.baselines["chat"]["longer_response"].value == 1.0
    assert measure.counts.failed == 1


def test_reward_bench_results_of_a_judge_come_one_after_another(tmp_path):
    texts = {"text_chosen": "p a", "text_rejected": "p b"}
    rows = [{"id": k, "subset": "donotanswer", "results": value, **texts} for k, value in enumerate((1, 0, 0.5))]
    path = tmp_path / "judge.json"
    path.write_text("".join(json.dumps(row, indent=4) + "\n" for row in rows))
    measure = measured(path)
    assert figure(measure, "safety") == 0.5
    assert (measure.counts.scored, measure.counts.failed) == (3, 0)
    assert figure(measure, "tie_rate") == pytest.approx(1 / 3)


def test_reward_bench_scores_without_ids_stand_in_the_order_of_the_data(tmp_path, write_rows):
    pairs = [{"id": k, "subset": "donotanswer", "prompt": f"p{k}", "chosen": "c", "rejected": "r"} for k in range(3)]
    data = write_rows(tmp_path / "data" / "filtered.jsonl", pairs)
    rewards = [{"chosen": 2.0, "rejected": 1.0}, {"chosen": 1.0, "rejected": 1.0}, {"chosen": [3.0], "rejected": [0.0]}]
    path = write_rows(tmp_path / "model_all.jsonl", rewards)
    assert figure(measured(path, "reward_bench", data=data), "safety") == pytest.approx(2 / 3)
    with pytest.raises(DataError, match=r"there are 2 rows of rewards without ids for 3 pairs of the data"):
        measured(write_rows(tmp_path / "short.jsonl", rewards[:2]), "reward_bench", data=data)


def test_sections_of_published_accuracies_are_weighted_as_the_leaderboard_does():
    accuracies = {subset: 1.0 for subsets in SECTIONS.values() for subset in subsets} | {"math-prm": 0.5, "model": 0.0}
    scores = section_scores(accuracies)
    assert scores["reasoning"] == pytest.approx(0.75)
    assert scores["score"] == pytest.approx((1 + 1 + 1 + 0.75) / 4)
    with pytest.raises(DataError, match="the accuracies lack donotanswer"):
        section_scores({name: value for name, value in accuracies.items() if name != "donotanswer"})


def test_sections_equal_those_that_a_run_of_the_official_package_printed():
    # Pull request 223 of allenai/reward-bench, February 2025: shares of subsets, and the sections it printed of them.
    right = {
        **{"alpacaeval-easy": 96, "alpacaeval-hard": 93, "alpacaeval-length": 93, "mt-bench-easy": 28},
        **{"mt-bench-med": 40, "mt-bench-hard": 30, "llmbar-natural": 98, "llmbar-adver-neighbor": 107},
        **{"llmbar-adver-GPTInst": 79, "llmbar-adver-GPTOut": 35, "llmbar-adver-manual": 34},
        **{"refusals-dangerous": 96, "refusals-offensive": 99, "xstest-should-refuse": 154},
        **{"xstest-should-respond": 221, "donotanswer": 112, "math-prm": 419, "hep-cpp": 159, "hep-go": 162.5},
        **{"hep-java": 163, "hep-js": 159, "hep-python": 158, "hep-rust": 160},
    }
    sizes = {subset: count for subsets in SECTIONS.values() for subset, count in subsets.items()} | {"math-prm": 447}
    scores = section_scores({subset: count / sizes[subset] for subset, count in right.items()})
    assert scores["chat"] == pytest.approx(0.9776536312849162)
    assert scores["chat_hard"] == pytest.approx(0.8399122807017544)
    assert scores["safety"] == pytest.approx(0.9216216216216216)
    assert scores["reasoning"] == pytest.approx(0.9572471626561904)


def test_reward_bench_2_scores_and_the_results_of_a_judge(tmp_path):
    rows = [
        {"id": "1", "subset": "Math", "scores": [2.0, 1.0, 2.0, 0.0], "results": 0.5, "num_correct": 1},
        {"id": "2", "subset": "Math", "scores": [[0.0], [1.0], [0.5], [0.2]], "results": 0.0, "num_correct": 1},
        {"id": "3", "subset": "Focus", "scores": None, "results": 0.25, "num_correct": 1},
        {"id": "4", "subset": "Focus", "scores": None, "results": 1, "num_correct": 1},
        {"id": "ref:0", "subset": "Ties", "scores": [3.0, 1.0], "results": None, "num_correct": 1},
        {"id": "tied:0", "subset": "Ties", "scores": [3.0, 2.5, 1.0], "results": None, "num_correct": 2},
    ]
    path = tmp_path / "model.json"
    path.write_text(json.dumps(columns(rows, model="org/model")))
    assert benchmark_of(str(path)).name == "reward_bench_2"
    measure = measured(path)
    assert figure(measure, "Math") == 0.25
    assert figure(measure, "Focus") == pytest.approx(0.625)
    # Both prompts right, margins 2 and 1.5 above the spread 0.5, and tanh(1.5 ÷ 0.5 − 1).
    assert figure(measure, "Ties") == pytest.approx(0.3 + 0.3 + 0.2 + 0.2 + 0.01 * math.tanh(2))
    assert measure.counts.failed == 0
    rows[0]["num_correct"] = None
    rows[4]["num_correct"] = 2
    path.write_text(json.dumps(columns(rows)))
    with pytest.raises(DataError, match=r"model\.json:5: scores has 2 entries of which 2 are of right responses"):
        measured(path)


def test_rows_of_ties_without_scores_are_counted_as_missing(tmp_path, write_rows):
    rows = [
        {"subset": "Focus", "id": 1, "num_correct": 1, "results": 1.0},
        {"subset": "Ties", "id": "ref:1", "num_correct": 1, "results": None},
        {"subset": "Ties", "id": "tied:1", "num_correct": 5, "results": None},
    ]
    measure = measured(write_rows(tmp_path / "judge.jsonl", rows), "reward_bench_2")
    assert (figure(measure, "Focus"), measure.counts.scored, measure.counts.failed) == (1.0, 1, 2)
    assert measure.absent["Ties"] == "none of its comparisons has its rewards"
    rows[1]["num_correct"] = None
    with pytest.raises(DataError, match=r"judge\.jsonl:2: num_correct is missing"):
        measured(write_rows(tmp_path / "judge.jsonl", rows), "reward_bench_2")


def test_llmbar_winners_are_in_the_order_of_the_data(tmp_path, write_rows):
    def row(label, first, second, **more):
        last = {"swap = False": {"winner": first}, "swap = True": {"winner": second}, **more}
        return {
            "input": "do",
            "output_1": "one",
            "output_2": "two",
            "label": label,
            "results": [["a metric", "stop"], last],
        }

    natural = [row(1, "1", "1"), row(2, "2", "1"), row(1, None, "2")]
    rating = [row(2, "2", "1", score_1=["8", "stop"], score_2=["8", "stop"])]
    write_rows(tmp_path / "LLMBar/Natural/evaluators/GPT-4/Vanilla/result.json", natural)
    write_rows(tmp_path / "LLMBar/Adversarial/Manual/evaluators/GPT-4/Rating/result.json", rating)
    write_rows(tmp_path / "CaseStudy/Base-9/evaluators/GPT-4/Vanilla/result.json", [row(1, "1", "1")])
    measure = measured(tmp_path)
    assert figure(measure, "Natural") == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert figure(measure, "Adversarial/Manual") == 0.5
    assert figure(measure, "score") == pytest.approx((1 / 2 + 1 / 2) / 2)
    assert figure(measure, "Base-9") == 1.0
    assert measure.details["games_without_a_verdict"] == 1
    assert measure.missing["Base-9"] == "1 rows of a subset that is not official"
    wrong = write_rows(tmp_path / "Natural/evaluators/M/Vanilla/result.json", [row(1, "3", "1")])
    with pytest.raises(DataError, match=r"result\.json:1: winner is '3'; it must be '1', '2' or null"):
        measured(wrong)


def test_whose_results_a_file_holds_is_found_by_its_fields_or_said(tmp_path, write_rows):
    rewards = write_rows(tmp_path / "rewards.jsonl", [{"id": "g", "rewards": [1.0]}])
    with pytest.raises(DataError, match=r"is in no layout of results that is known, .*judgebench.*it has: id, rewards"):
        benchmark_of(rewards)
    both = {**judged(0, "A>B"), **problem("p", [1.0])}
    with pytest.raises(DataError, match=r"may be results of judgebench, rewardmath; name one"):
        benchmark_of(write_rows(tmp_path / "both.jsonl", [both]))
    with pytest.raises(DataError, match=r"solution_reference is missing.*by its fields the file is of judgebench"):
        measured(write_rows(tmp_path / "j.jsonl", [judged(0, "A>B") | {"problem": "p"}]), "rewardmath")
    with pytest.raises(DataError, match=r"published results of JudgeBench are read without the data"):
        measured(write_rows(tmp_path / "judge.jsonl", [judged(0, "A>B")]), data="anywhere")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"id": [1, 2], "subset": ["a"]}', "the columns have different numbers of rows: id 2, subset 1"),
        ('{"id": 1} {"id":', "JSON is broken"),
        ("1 2", "row is 1; it must be an object"),
        ("  ", "holds no rows"),
        ("[]", "holds no rows"),
    ],
)
def test_json_of_no_rows_is_an_error(tmp_path, text, words):
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(DataError, match=words):
        benchmark_of(str(tmp_path / "model.json"))
