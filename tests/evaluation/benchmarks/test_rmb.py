import numpy as np
import pytest

from plaudit.errors import DataError
from plaudit.evaluation.official.catalog import benchmark_named

BENCH = benchmark_named("rmb")


def answer(text):
    return {"llm_name": "m", "answer": text}


def pair(uid, prompt, chosen, reject, category="Helpfulness/Chat/Discussion"):
    return {
        "pair_uid": uid,
        "conversation_input": [{"role": "user", "content": prompt}],
        "chosen": answer(chosen),
        "reject": answer(reject),
        "category_path": f"Pairwise_set/{category}",
    }


def best_of(uid, prompt, best, losers, category="Helpfulness/Chat/Discussion"):
    return {
        "bon_uid": uid,
        "conversation_input": [{"role": "user", "content": prompt}],
        "bon_best": answer(best),
        "loser_list": [answer(text) for text in losers],
        "category_path": f"BoN_set/{category}",
    }


def slow(rows, rewards):
    """Read row by row from the texts: a pair or a list is won where the best beats every other one strictly."""
    won = {}
    for row in rows:
        kind, goal = row["category_path"].split("/")[:2]
        prompt = row["conversation_input"][0]["content"]
        sides = [row["chosen"], row["reject"]] if kind == "Pairwise_set" else [row["bon_best"], *row["loser_list"]]
        values = [rewards.get((row["category_path"], prompt, side["answer"])) for side in sides]
        right = None not in values and all(values[0] > other for other in values[1:])
        won.setdefault((goal, kind), []).append(float(right))
    means = {key: np.mean(values) for key, values in won.items()}
    return means, np.mean(list(means.values()))


@pytest.mark.parametrize("seed", range(5))
def test_figures_equal_a_slow_reading_with_ties_and_missing_rewards(tmp_path, estimate, score, write_rows, seed):
    rng = np.random.default_rng(seed)
    rows, rewards = [], {}
    for category in ("Helpfulness/Chat/Discussion", "Helpfulness/Code/Documentation", "Harmlessness/S1"):
        for number in range(int(rng.integers(4, 12))):
            prompt, texts = f"p{rng.integers(4)}", [f"r{k}" for k in rng.permutation(6)]
            rows.append(pair(f"{category}{number}", prompt, texts[0], texts[1], category))
            rows.append(best_of(f"{category}{number}", prompt, texts[0], texts[1 : rng.integers(2, 6)], category))
    loaded = BENCH.load(write_rows(tmp_path / "rows.jsonl", rows))

    def reward(group, index):
        key = (group.source, group.prompt[0].content, group.responses[index])
        value = None if rng.random() < 0.03 else float(rng.integers(4))
        return rewards.setdefault(key, value)

    measure = BENCH.measure(score(loaded, reward), estimate)
    means, overall = slow(rows, rewards)
    names = {"Helpfulness": "helpful", "Harmlessness": "harmless", "Pairwise_set": "pairwise", "BoN_set": "best_of_n"}
    found = {(goal, kind): measure.metrics[f"{names[goal]}_{names[kind]}"].value for goal, kind in means}
    assert found == pytest.approx(means)
    assert measure.metrics["score"].value == pytest.approx(overall)
    assert measure.details["comparisons"] == len(rows)


def test_every_response_of_a_prompt_is_scored_once(tmp_path, write_rows):
    rows = [pair("1", "p", "a", "b"), pair("2", "p", "b", "c"), pair("3", "p", "a", "c"), pair("4", "q", "a", "b")]
    loaded = BENCH.load(write_rows(tmp_path / "rows.jsonl", rows))
    assert [group.responses for group in loaded.groups] == [("a", "b", "c"), ("a", "b")]
    assert loaded.facts[loaded.groups[0].id]["comparisons"] == [[0, 1], [1, 2], [0, 2]]
    assert loaded.found == {"Pairwise_set/Helpfulness/Chat/Discussion": 4}


def test_a_row_with_an_empty_response_fails_alone_and_is_counted(tmp_path, estimate, score, write_rows):
    rows = [pair("1", "p", "a", "b"), pair("2", "p", "a", "  ")]
    loaded = BENCH.load(write_rows(tmp_path / "rows.jsonl", rows))
    assert loaded.refused == ()
    rewards = score(loaded, lambda group, index: -index if group.responses[index].strip() else float("nan"))
    measure = BENCH.measure(rewards, estimate)
    assert measure.metrics["helpful_pairwise"].value == pytest.approx(1 / 2)
    assert measure.metrics["helpful_pairwise"].n == 2
    assert (measure.counts.n, measure.counts.scored, measure.counts.failed) == (2, 1, 1)
    assert measure.metrics["score_ties_shared"].value == 1.0


def test_a_tie_at_the_top_of_a_list_is_lost_and_shared_under_the_common_rule(tmp_path, estimate, score, write_rows):
    loaded = BENCH.load(write_rows(tmp_path / "rows.jsonl", [best_of("1", "p", "a", ["b", "c", "d"])]))
    rewards = {"a": 2.0, "b": 2.0, "c": 2.0, "d": 0.0}
    figures = BENCH.measure(score(loaded, lambda group, k: rewards[group.responses[k]]), estimate).metrics
    assert figures["helpful_best_of_n"].value == 0.0
    assert figures["score_ties_shared"].value == pytest.approx(1 / 3)
    assert figures["tie_rate"].value == 1.0


def test_published_rewards_of_pairs_are_read(tmp_path, estimate, write_rows):
    category = "Pairwise_set/Helpfulness/Chat/Discussion"
    rows = [
        {"pair_uid": 1, "category_path": category, "chosen_reward": 0.5, "reject_reward": 0.1, "is_correct": True},
        {"pair_uid": 2, "category_path": category, "chosen_reward": 0.1, "reject_reward": 0.1, "is_correct": False},
        {"pair_uid": 3, "category_path": category, "chosen_reward": None, "reject_reward": 0.1, "is_correct": False},
    ]
    measure = BENCH.measure(BENCH.read_results(write_rows(tmp_path / "result.json", rows)), estimate)
    assert measure.metrics["helpful_pairwise"].value == pytest.approx(1 / 3)
    assert measure.baselines["helpful_pairwise"]["random"].value == 0.5
    assert "longer_response" not in measure.baselines["helpful_pairwise"]  # the file has no texts
    assert measure.counts.failed == 1


def test_a_list_without_losers_is_an_error(tmp_path, write_rows):
    with pytest.raises(DataError, match=r"rows\.jsonl:1: loser_list is empty"):
        BENCH.load(write_rows(tmp_path / "rows.jsonl", [best_of("1", "p", "a", [])]))
