"""RewardMATH gives the published accuracy and MRR, also where rewards tie or lack, and for judges."""

from __future__ import annotations

import itertools
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest

from plaudit.errors import DataError
from plaudit.evaluation.official.benchmarks.rewardmath import AGGREGATIONS, REWARDMATH, decide
from plaudit.evaluation.store.items import item_score
from plaudit.records import ItemScore
from plaudit.scoring.scorer import GroupRewards
from plaudit.statistics.metric import IntervalSettings

DATA = Path(os.environ.get("PLAUDIT_DATA") or Path(__file__).resolve().parents[4] / "shared" / "data")
RESULTS = DATA / "benchmarks" / "rewardmath" / "results"


def rows_of(problem, steps, *, subject="Algebra"):
    """Return the official rows of a problem: one chosen solution, then rejected ones, with these numbers of steps."""
    return [
        {
            "problem": f"problem {problem}",
            "answer": "1",
            "eval_solution": [f"Step {place} of solution {k}." for place in range(count)],
            "solution_reference": "human_to_GPT-4" if k == 0 else f"model-{k}",
            "solution_type": "chosen" if k == 0 else "rejected",
            "subject": subject,
            "level": 1,
            "problem_id": problem,
            "id": 10 * problem + k,
        }
        for k, count in enumerate(steps)
    ]


def load(tmp_path, rows):
    path = tmp_path / "RewardMATH_direct.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    return REWARDMATH.load(str(path))


def item_of(rewards, *, chosen=1, steps=None, name="rewardmath/0"):
    return ItemScore(
        id=name,
        source="math",
        prompt_key=name,
        rewards=tuple(rewards),
        lengths=(),
        steps=steps,
        metadata={"subset": "math", "chosen": [k < chosen for k in range(len(rewards))]},
    )


def slow_figures(chosen, rejected):
    """Read the official code as it stands: sort (reward, "rej" or "cho") downwards; the first "cho" has the rank."""
    order = sorted([(each, "rej") for each in rejected] + [(each, "cho") for each in chosen], reverse=True)
    rank = next(place for place, (_, side) in enumerate(order, start=1) if side == "cho")
    return min(chosen) > max(rejected), 1 / rank


def slow_aggregation(steps, how):
    p = np.array(steps)
    with np.errstate(divide="ignore"):
        return {
            "min": p.min(),
            "max": p.max(),
            "product": math.prod(steps),
            "geometric_mean": math.prod(steps) ** (1 / len(steps)),
            "mean": sum(steps) / len(steps),
            "mean_logit": 1 / (1 + np.exp(-np.mean(np.log(p / (1 - p))))),
            "mean_odds": np.mean(p / (1 - p)),
            "last": steps[-1],
        }[how]


@pytest.fixture(scope="module")
def estimate():
    return IntervalSettings(confidence=0.95, resamples=100, seed=0)


def test_a_small_case_worked_by_hand(estimate):
    items = [
        item_of([0.9, 0.1, 0.8], name="a"),  # first: 1, 1
        item_of([0.5, 0.5, 0.1], name="b"),  # a tie is lost: 0, ½
        item_of([0.2, 0.9, 0.3], name="c"),  # last: 0, ⅓
        item_of([0.7, 0.7, 0.7], name="d"),  # all equal: 0, ⅓
    ]
    measure = REWARDMATH.measure(items, estimate)
    value = {name: interval.value for name, interval in measure.metrics.items()}
    assert value["accuracy"] == 0.25
    assert value["mrr"] == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 3) / 4)
    assert value["accuracy_ties_won"] == 0.75
    assert value["accuracy_ties_shared"] == pytest.approx((1 + 1 / 2 + 0 + 1 / 3) / 4)
    assert value["tie_rate"] == 0.5
    beside = {name: rules["random"].value for name, rules in measure.baselines.items()}
    assert beside["accuracy"] == beside["accuracy_ties_won"] == pytest.approx(1 / 3)
    assert beside["mrr"] == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    assert measure.details["problems_not_of_1_and_9"] == 4
    assert measure.primary == "accuracy"


@pytest.mark.parametrize("seed", range(6))
def test_figures_equal_a_slow_reading_of_the_official_code(estimate, seed):
    rng = np.random.default_rng(seed)
    items, wanted = [], []
    for number in range(30):
        chosen, rejected = int(rng.integers(1, 3)), int(rng.integers(1, 10))
        rewards = rng.integers(0, 5, chosen + rejected).astype(float).tolist()
        items.append(item_of(rewards, chosen=chosen, name=f"p{number}"))
        wanted.append(slow_figures(rewards[:chosen], rewards[chosen:]))
    measure = REWARDMATH.measure(items, estimate)
    assert measure.metrics["accuracy"].value == pytest.approx(np.mean([each[0] for each in wanted]))
    assert measure.metrics["mrr"].value == pytest.approx(np.mean([each[1] for each in wanted]))


@pytest.mark.parametrize("ties", [True, False])
def test_every_aggregation_of_steps_equals_a_slow_reading_of_the_official_code(estimate, ties):
    rng = np.random.default_rng(0)
    items, every = [], {how: [] for how in AGGREGATIONS}
    for number in range(20):
        counts = rng.integers(1, 5, 10)
        steps = [
            tuple((rng.choice([0.1, 0.5, 0.9], n) if ties else rng.uniform(0.02, 0.98, n)).tolist()) for n in counts
        ]
        items.append(item_of([min(each) for each in steps], steps=tuple(steps), name=f"p{number}"))
        for how, found in every.items():
            made = [slow_aggregation(each, how) for each in steps]
            found.append(slow_figures(made[:1], made[1:]))
    measure = REWARDMATH.measure(items, estimate)
    assert len(AGGREGATIONS) == 8
    for how, wanted in every.items():
        if ties and how in ("mean_logit", "mean"):
            continue  # equal real numbers may round apart in a sum, and then it is no tie
        assert measure.metrics[f"accuracy_{how}"].value == pytest.approx(np.mean([each[0] for each in wanted]))
        assert measure.metrics[f"mrr_{how}"].value == pytest.approx(np.mean([each[1] for each in wanted]))
    assert measure.metrics["accuracy_min"] == measure.metrics["accuracy"]
    assert measure.baselines["mrr_last"] == measure.baselines["mrr"]


def test_missing_rewards_lose_and_are_counted(estimate):
    items = [
        item_of([None, 0.1, 0.2], name="a"),  # the chosen one ranks last
        item_of([0.9, None, 0.2], name="b"),  # a rejected one without a reward stands above
        item_of([0.9, 0.1, 0.2], name="c"),
    ]
    measure = REWARDMATH.measure(items, estimate)
    assert measure.metrics["accuracy"].value == pytest.approx(1 / 3)
    assert measure.metrics["mrr"].value == pytest.approx((1 / 3 + 1 / 2 + 1) / 3)
    assert (measure.counts.scored, measure.counts.failed) == (1, 2)
    assert measure.details["comparisons_without_a_reward"] == 2
    assert measure.metrics["accuracy_ties_shared"].value == 1.0


def test_a_solution_that_lacks_the_reward_of_a_step_lacks_that_of_the_whole(estimate):
    items = [
        item_of([0.5, 0.1], steps=((0.9, None), (0.1,))),
        item_of([0.5, 0.1], steps=((0.9, 0.8), (0.1,)), name="b"),
    ]
    measure = REWARDMATH.measure(items, estimate)
    assert (measure.metrics["accuracy"].value, measure.metrics["accuracy_last"].value) == (1.0, 0.5)


def test_log_odds_of_steps_have_no_product(estimate):
    items = [item_of([2.0, -1.0], steps=((2.0, 3.0), (-1.0,)))]
    measure = REWARDMATH.measure(items, estimate)
    assert measure.metrics["accuracy_min"].value == 1.0
    of_probabilities = ("product", "geometric_mean", "mean_logit", "mean_odds")
    assert {name for name in measure.absent if name.startswith("accuracy_")} == {
        f"{name}_{how}" for name in ("accuracy", "accuracy_ties_won") for how in of_probabilities
    }


def test_a_probability_that_rounding_put_above_one_is_still_one(estimate):
    items = [item_of([0.9, 0.1], steps=((1.0000002, 0.9), (0.1,)))]
    measure = REWARDMATH.measure(items, estimate)
    assert measure.metrics["accuracy_geometric_mean"].value == measure.metrics["accuracy_mean_odds"].value == 1.0


@pytest.mark.parametrize(
    ("chosen", "rewards"), [(1, (1, 1, 1, 0)), (2, (2, 1, 1, 1)), (1, (0, 1, 0, 0)), (2, (1, 1, 1, 3))]
)
def test_shared_ties_are_the_mean_over_every_order_of_equal_rewards(chosen, rewards):
    accuracy, reciprocal = [], []
    for order in itertools.permutations(range(len(rewards))):
        ranked = sorted(range(len(rewards)), key=lambda k: (-rewards[k], order[k]))
        accuracy.append(set(ranked[:chosen]) == set(range(chosen)))
        reciprocal.append(1 / (1 + min(ranked.index(k) for k in range(chosen))))
    first, second = decide(item_of([float(reward) for reward in rewards], chosen=chosen))
    assert first.common == pytest.approx(np.mean(accuracy))
    assert second.common == pytest.approx(np.mean(reciprocal))


def test_random_rewards_reach_the_mean_over_every_order():
    for chosen, total in ((1, 4), (2, 4)):
        orders = list(itertools.permutations(range(total)))
        first, second = decide(item_of([0.0] * total, chosen=chosen))
        assert first.chance == pytest.approx(np.mean([set(each[:chosen]) == set(range(chosen)) for each in orders]))
        ranks = [1 + min(each.index(k) for k in range(chosen)) for each in orders]
        assert second.chance == pytest.approx(np.mean([1 / rank for rank in ranks]))


def test_a_problem_is_one_group_with_unlabelled_steps_and_what_is_missing_is_named(tmp_path, estimate):
    rows = rows_of(7, (2, 1, 3)) + rows_of(8, (1, 1), subject="Geometry")
    loaded = load(tmp_path, rows)
    assert [group.id for group in loaded.groups] == ["rewardmath/7", "rewardmath/8"]
    first = loaded.groups[0]
    assert first.responses[0] == "Step 0 of solution 0.\nStep 1 of solution 0."
    assert [[step.label for step in steps] for steps in first.steps] == [[None] * 2, [None], [None] * 3]
    assert first.outcomes == (True, False, False)
    assert [(each.chosen, each.rejected) for each in first.preferences] == [(0, 1), (0, 2)]
    assert loaded.missing == {"math": "2 of 483 rows"}
    items = [
        item_score(group, GroupRewards(group.id, tuple(map(float, rewards)))).model_copy(
            update={"metadata": dict(loaded.facts[group.id])}
        )
        for group, rewards in zip(loaded.groups, [(3, 1, 2), (1, 2)], strict=True)
    ]
    measure = REWARDMATH.measure(items, estimate)
    assert {name: figures["accuracy"].value for name, figures in measure.slices.items()} == {
        "Geometry": 0.0,
        "Algebra": 1.0,
    }
    assert measure.baselines["accuracy"]["longer_response"].value == 0.0
    again = [ItemScore.model_validate_json(item.model_dump_json()) for item in items]
    assert REWARDMATH.measure(again, estimate) == measure


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("solution_type", "right", "solution_type is 'right'; allowed: rejected, chosen"),
        ("eval_solution", "text", "eval_solution is 'text'; it must be a list"),
        ("problem_id", None, "problem_id is missing"),
    ],
)
def test_a_row_of_another_layout_is_refused_with_its_place(tmp_path, field, value, words):
    rows = rows_of(0, (1, 1, 1))
    rows[2][field] = value
    with pytest.raises(DataError, match=rf"RewardMATH_direct\.json:3: {words}"):
        load(tmp_path, rows)


def write_results(tmp_path, *rows):
    path = tmp_path / "model_reward.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    return str(path)


def test_the_verdicts_of_a_judge_count_by_its_wins(tmp_path, estimate):
    names = ["model-1", "model-2", "model-3"]
    places = ["A", "B", "A"]
    rows = [
        {"problem": "p", "solution_reference": names, "score": ["A", "B", "A"], "chosen_position": places},  # rank 1
        {"problem": "q", "solution_reference": names, "score": ["A", "A", None], "chosen_position": places},  # rank 3
    ]
    measure = REWARDMATH.measure(REWARDMATH.read_results(write_results(tmp_path, *rows)), estimate)
    assert measure.metrics["accuracy"].value == 0.5
    assert measure.metrics["mrr"].value == pytest.approx((1 + 1 / 3) / 2)
    assert (measure.details["verdicts"], measure.details["verdicts_unreadable"]) == (6, 1)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"problem": "p", "solution_reference": ["a", "b"], "score": [1.0]}, "score has 1 entries for 2 solutions"),
        ({"problem": "p", "solution_reference": ["a"], "score": ["high"]}, r"score\[0\] is 'high'"),
        (
            {"problem": "p", "solution_reference": ["a"], "score": ["C"], "chosen_position": ["A"]},
            r"score\[0\] is 'C'; of a judge it must be A, B or null",
        ),
        ({"problem": "", "solution_reference": ["a"], "score": [1.0]}, "is empty"),
    ],
)
def test_results_of_another_layout_are_refused_with_their_place(tmp_path, row, words):
    with pytest.raises(DataError, match=rf"model_reward\.json:1: .*{words}"):
        REWARDMATH.read_results(write_results(tmp_path, row))


def test_a_problem_without_a_chosen_solution_is_left_out_and_counted(tmp_path, estimate):
    rows = [
        {"problem": "p", "solution_reference": ["human_to_GPT-4", "b"], "score": [1.0, 0.0]},
        {"problem": "q", "solution_reference": ["a", "b"], "score": [1.0, 0.0]},
    ]
    measure = REWARDMATH.measure(REWARDMATH.read_results(write_results(tmp_path, *rows)), estimate)
    assert measure.metrics["accuracy"].value == 1.0
    assert measure.details["problems_without_a_side_left_out"] == 1


@pytest.mark.parametrize(
    ("name", "figures"),
    [
        ("ArmoRM", {"accuracy": 20.50, "mrr": 0.4218}),
        (
            "Math_Shepherd",
            {
                "accuracy": 17.18,
                "mrr": 0.3468,
                "accuracy_product": 17.18,
                "mrr_product": 0.3468,
                "accuracy_last": 18.22,
                "mrr_last": 0.3883,
                "accuracy_min": 15.32,
            },
        ),
    ],
)
def test_published_results_give_the_known_answers(name, figures, estimate):
    path = RESULTS / f"{name}_reward.json"
    if not path.exists():
        pytest.skip(f"{path.name} is not here; set PLAUDIT_DATA to the folder that holds it")
    items = REWARDMATH.read_results(str(path))
    measure = REWARDMATH.measure(items, estimate)
    assert measure.missing == {}
    assert measure.counts.scored == 483
    for figure, wanted in figures.items():
        value = measure.metrics[figure].value
        assert round(100 * value, 2) == wanted if figure.startswith("accuracy") else round(value, 4) == wanted
    assert measure.baselines["accuracy"]["random"].value == pytest.approx(0.1)


def test_published_verdicts_of_a_judge_equal_a_slow_reading_of_the_official_code(estimate):
    path = RESULTS / "gpt4o_pairwise_reward.json"
    if not path.exists():
        pytest.skip(f"{path.name} is not here; set PLAUDIT_DATA to the folder that holds it")
    wanted = []
    for row in json.loads(path.read_text(encoding="utf-8")):
        won = [score == own for score, own in zip(row["score"], row["chosen_position"], strict=True)]
        wanted.append(slow_figures([sum(won) + 1], [1 if each else len(won) + 2 for each in won]))
    measure = REWARDMATH.measure(REWARDMATH.read_results(str(path)), estimate)
    assert measure.metrics["accuracy"].value == pytest.approx(np.mean([each[0] for each in wanted]))
    assert measure.metrics["mrr"].value == pytest.approx(np.mean([each[1] for each in wanted]))
    assert measure.details["verdicts_unreadable"] == 4
