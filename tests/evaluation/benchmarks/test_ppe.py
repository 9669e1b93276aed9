"""PPE: correctness over 32 answers, preference over battles between models."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import optimize, stats

from plaudit.errors import DataError
from plaudit.evaluation.official.benchmarks.ppe_correctness import (
    end_score,
    loss,
    max_score,
    max_score_of_chance,
    rewards_of,
    scaled,
)
from plaudit.evaluation.official.benchmarks.ppe_preference import (
    Battles,
    ratings,
    row_wise_pearson,
    separation,
    win_rates,
)
from plaudit.evaluation.official.catalog import benchmark_named

CORRECTNESS, PREFERENCE = benchmark_named("ppe_correctness"), benchmark_named("ppe_preference")


def answers(index, truth, pairs, texts=None):
    given = texts or [f"answer {k}" for k in range(len(truth))]
    return {
        "question_id": index,
        "model_name": "m",
        "prompt": f"question {index}",
        **{f"response_{k + 1}": text for k, text in enumerate(given)},
        "scores": truth,
        "sampled_conflict_pairs": pairs,
    }


def slow_accuracy(rewards, truth, pairs):
    return np.mean([(truth[i] > truth[j]) == (rewards[i] > rewards[j]) for i, j in pairs])


def slow_auc(values, labels):
    wins = [
        1.0 if good > bad else 0.5 if good == bad else 0.0
        for good, right in zip(values, labels, strict=True)
        if right
        for bad, wrong in zip(values, labels, strict=True)
        if not wrong
    ]
    return np.mean(wins)


@pytest.mark.parametrize("seed", range(4))
def test_accuracy_and_area_equal_a_slow_reading_with_ties_and_missing_rewards(
    tmp_path, estimate, score, draws, write_rows, seed
):
    rng = np.random.default_rng(seed)
    for name in ("MATH", "GPQA"):
        rows = []
        for index in range(8):
            truth = [True, False, *map(bool, rng.integers(0, 2, 4))]
            conflict = [[i, j] for i, j in itertools.permutations(range(6), 2) if truth[i] != truth[j]]
            rows.append(answers(index, truth, [conflict[k] for k in rng.choice(len(conflict), 3)]))
        write_rows(tmp_path / f"PPE-{name}-Best-of-K" / "data" / "train-0.jsonl", rows)
    items = score(CORRECTNESS.load(str(tmp_path)), draws(rng))
    measure = CORRECTNESS.measure(items, estimate)
    accuracies, areas = {}, {}
    for name in ("MATH", "GPQA"):
        own = [item for item in items if item.metadata["subset"] == name]
        filled = [[-math.inf if reward is None else reward for reward in item.rewards] for item in own]
        truths = [item.metadata["truth"] for item in own]
        accuracies[name] = np.mean(
            [slow_accuracy(r, t, item.metadata["pairs"]) for r, t, item in zip(filled, truths, own, strict=True)]
        )
        values = []
        for rewards in filled:
            present = [reward for reward in rewards if reward > -math.inf]
            width = (max(present) - min(present)) or 1.0
            values += [0.0 if reward == -math.inf else (reward - min(present)) / width for reward in rewards]
        areas[name] = slow_auc(values, [right for truth in truths for right in truth])
    for name, accuracy in accuracies.items():
        assert measure.metrics[f"accuracy_{name}"].value == pytest.approx(accuracy)
        assert measure.metrics[f"auc_{name}"].value == pytest.approx(areas[name])
    assert measure.metrics["score"].value == pytest.approx(np.mean(list(accuracies.values())))
    assert measure.metrics["auc"].value == pytest.approx(np.mean(list(areas.values())))
    assert measure.missing["MATH"] == "8 of 512 rows"


@pytest.mark.parametrize("seed", range(8))
def test_best_of_k_is_the_mean_over_all_orders(seed):
    rng = np.random.default_rng(seed)
    rewards, truth = rng.integers(0, 3, 6).astype(float), rng.random(6) < 0.5
    ends, highs, losses = [], [], []
    for order in itertools.permutations(range(6)):
        best, trajectory, oracle = order[0], [], []
        for k in order:
            best = k if rewards[k] > rewards[best] else best  # the first of equal ones stays
            trajectory.append(float(truth[best]))
            oracle.append(max([*oracle[-1:], float(truth[k])]))
        ends.append(trajectory[-1])
        highs.append(max(trajectory))
        losses.append(np.mean((np.array(oracle) - np.array(trajectory)) ** 2))
    assert end_score(rewards, truth) == pytest.approx(np.mean(ends))
    assert max_score(rewards, truth) == pytest.approx(np.mean(highs))
    assert loss(rewards, truth) == pytest.approx(np.mean(losses), abs=1e-12)


PERFECT = [(total, right) for total in range(2, 33) for right in range(1, total)]


def test_the_loss_of_a_perfect_order_is_not_below_0_whatever_rounding_does():
    losses = [loss(np.arange(total, 0, -1.0), np.arange(total) < right) for total, right in PERFECT]
    assert min(losses) >= 0.0
    assert max(losses) < 1e-15


@pytest.mark.parametrize("total", [6, 10, 32])
def test_perfect_orders_beside_others_are_measured(tmp_path, estimate, score, write_rows, total):
    rows = [answers(index, [k < 2 for k in range(total)], [[0, 3]]) for index in range(4)]
    loaded = CORRECTNESS.load(write_rows(tmp_path / "ppe-math.jsonl", rows))
    wrong = loaded.groups[0]
    items = score(loaded, lambda group, k: float(k if group is wrong else -k))
    found = CORRECTNESS.measure(items, estimate).metrics["loss"]
    assert 0.0 <= found.low < found.value < found.high <= 1.0
    assert found.value == pytest.approx(loss(np.arange(total, dtype=float), np.arange(total) < 2) / 4)


def test_the_chance_of_max_score_is_the_mean_over_all_assignments():
    truth = np.array([True, True, False, False, False])
    each = [max_score(np.array(order, dtype=float), truth) for order in itertools.permutations(range(5))]
    assert max_score_of_chance(truth) == pytest.approx(np.mean(each))


def test_an_empty_answer_is_missing_and_a_repeated_one_is_scored_once(tmp_path, estimate, score, write_rows):
    row = answers(0, [True, False, False, True], [[0, 1], [2, 3]], texts=["a", "", "b", "a"])
    loaded = CORRECTNESS.load(write_rows(tmp_path / "ppe-ifeval.jsonl", [row]))
    assert loaded.groups[0].responses == ("a", "b")
    items = score(loaded, lambda group, k: float(group.responses[k] == "a"))
    assert list(rewards_of(items[0])) == [1.0, -math.inf, 0.0, 1.0]
    assert CORRECTNESS.measure(items, estimate).metrics["accuracy_IFEval"].value == 1.0


def test_scaling_is_by_prompt_and_leaves_no_number_undefined():
    assert list(scaled(np.array([2.0, 4.0, -np.inf]))) == [0.0, 1.0, 0.0]
    assert list(scaled(np.array([3.0, 3.0]))) == [0.0, 0.0]
    assert list(scaled(np.array([-np.inf, -np.inf]))) == [0.0, 0.0]


def test_a_file_that_names_no_set_is_refused(tmp_path, write_rows):
    with pytest.raises(DataError, match=r"rows\.jsonl:1: the path names none of the sets MMLU-Pro, MATH"):
        CORRECTNESS.load(write_rows(tmp_path / "rows.jsonl", [answers(0, [True, False], [[0, 1]])]))


def battles(rng, count, number, ties=0.2):
    first = rng.integers(0, count, number)
    second = (first + rng.integers(1, count, number)) % count
    won = rng.choice([0.0, 0.5, 1.0], number, p=[(1 - ties) / 2, ties, (1 - ties) / 2])
    return Battles(first, second, won, count)


def test_ratings_are_those_of_maximum_likelihood_on_the_scale_of_elo():
    fought = battles(np.random.default_rng(0), 5, 400)

    def unlikelihood(strength):
        gap = strength[fought.first] - strength[fought.second]
        return np.sum(fought.won * np.logaddexp(0, -gap) + (1 - fought.won) * np.logaddexp(0, gap))

    found = optimize.minimize(unlikelihood, np.zeros(5), method="BFGS", options={"gtol": 1e-8}).x
    assert ratings(fought) == pytest.approx(1000 + 400 / np.log(10) * (found - found.mean()), abs=0.05)


def test_a_model_that_wins_ten_to_one_stands_400_points_above():
    won = np.array([1.0] * 10 + [0.0])
    fought = Battles(np.zeros(11, dtype=np.int64), np.ones(11, dtype=np.int64), won, 2)
    high, low = ratings(fought)
    assert high - low == pytest.approx(400, abs=0.5)
    always = Battles(np.zeros(3, dtype=np.int64), np.ones(3, dtype=np.int64), np.ones(3), 2)
    assert np.isfinite(ratings(always)).all()


def test_row_wise_pearson_is_the_mean_over_the_rows_of_the_win_rates():
    rng = np.random.default_rng(1)
    true, predicted = battles(rng, 4, 300), battles(rng, 4, 300)
    rows = [
        stats.pearsonr(own[~np.isnan(own)], other[~np.isnan(other)]).statistic
        for own, other in zip(win_rates(true), win_rates(predicted), strict=True)
    ]
    assert row_wise_pearson(true, predicted) == pytest.approx(np.mean(rows))


def test_predictions_that_are_the_truth_separate_and_agree_and_their_reverse_do_not():
    rng = np.random.default_rng(2)
    first, second = np.repeat([0, 0, 1], 100), np.repeat([1, 2, 2], 100)
    true = Battles(first, second, (rng.random(300) < 0.85).astype(float), 3)
    same = separation(true, true, resamples=40, seed=0)
    turned = separation(true, Battles(first, second, 1 - true.won, 3), resamples=40, seed=0)
    assert (same["confidence_agreement"], turned["confidence_agreement"]) == (1.0, -1.0)
    assert same["separability"] == turned["separability"] == 1.0
    assert same["brier"] == pytest.approx(0.0, abs=0.01)
    assert turned["brier"] == pytest.approx(1.0, abs=0.01)


def vote(index, winner, models=("x", "y"), **fields):
    return {
        "question_id": index,
        "prompt": f"p{index}",
        "response_1": "one",
        "response_2": "another",
        "model_a": models[0],
        "model_b": models[1],
        "winner": winner,
        "language": "English",
        **fields,
    }


def test_the_accuracy_leaves_out_what_people_tied_and_takes_the_second_of_equal_rewards(
    tmp_path, estimate, score, write_rows
):
    winners = ["model_a", "model_b", "model_b", "tie", "model_a", "tie (bothbad)"]
    rows = [vote(index, winner, is_code=index < 2) for index, winner in enumerate(winners)]
    loaded = PREFERENCE.load(write_rows(tmp_path / "test.jsonl", rows))
    rewards = {0: (2.0, 1.0), 1: (2.0, 1.0), 2: (1.0, 1.0), 3: (1.0, 0.0), 4: (None, 1.0), 5: (0.0, 1.0)}
    items = score(loaded, lambda group, k: rewards[int(group.id.split("/")[1])][k])
    measure = PREFERENCE.measure(items, estimate)
    assert measure.metrics["score"].value == 2 / 4  # right, wrong, equal and the second won, missing
    assert measure.metrics["score_ties_shared"].value == 1.5 / 3
    assert measure.metrics["accuracy_is_code"].value == 1 / 2
    assert measure.details["battles_tied_by_people"] == 2
    assert (measure.counts.n, measure.counts.failed) == (6, 1)
    assert measure.baselines["score"]["first_response"].value == 2 / 4
    assert measure.missing == {"human preference": "6 of 16038 rows"}


def test_rewards_that_agree_with_every_vote_rank_the_models_alike(tmp_path, estimate, score, write_rows):
    rng = np.random.default_rng(3)
    strength = {"a": 0.0, "b": 1.0, "c": 2.0, "d": 3.0}
    rows = []
    for index in range(300):
        one, other = rng.choice(list(strength), 2, replace=False)
        wins = rng.random() < 1 / (1 + math.exp(strength[other] - strength[one]))
        rows.append(vote(index, "model_a" if wins else "model_b", (one, other)))
    loaded = PREFERENCE.load(write_rows(tmp_path / "test.jsonl", rows))
    items = score(loaded, lambda group, k: float(group.preferences[0].chosen == k))
    figures = PREFERENCE.measure(items, estimate).metrics
    for name in ("score", "spearman", "kendall_tau", "row_wise_pearson", "confidence_agreement"):
        assert figures[name].value == pytest.approx(1.0)
    assert figures["spearman"].low <= 1.0
    assert figures["brier"].method.startswith("no interval")


def test_a_winner_of_another_name_is_no_tie(tmp_path, write_rows):
    path = write_rows(tmp_path / "battles.jsonl", [vote(0, "model_a"), vote(1, "Model B")])
    with pytest.raises(DataError, match=r"battles\.jsonl:2: winner is 'Model B'; it must be one of model_a"):
        PREFERENCE.load(str(path))
