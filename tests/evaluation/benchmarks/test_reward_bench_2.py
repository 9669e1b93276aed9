import math

import numpy as np
import pytest

from plaudit.errors import DataError
from plaudit.evaluation.metrics.composite import composite_of
from plaudit.evaluation.official.benchmarks.reward_bench_2 import TIES_SCORE, TiesPrompt, best_of_n, decide_ties
from plaudit.evaluation.official.catalog import benchmark_named

BENCH = benchmark_named("reward_bench_2")


def slow_ties(rows):
    """The official computation, step by step: ``rows`` are (id, number of right ones, scores)."""
    scored = {}
    for id, right, scores in rows:
        kind, key = id.split(":")
        scored.setdefault((kind, key), []).extend((k < right, value) for k, value in enumerate(scores))
    ref, tied = {}, {}
    for (kind, key), samples in scored.items():
        good = [value for is_right, value in samples if is_right]
        bad = [value for is_right, value in samples if not is_right]
        margin = min(good) - max(bad)
        spread = max(good) - min(good) if len(good) > 1 else None
        (ref if kind == "ref" else tied)[key] = (margin > 0, spread, margin)
    keys = sorted(set(ref) & set(tied))
    spreads = np.array([tied[key][1] for key in keys], dtype=float)
    of_tied = np.array([tied[key][2] for key in keys], dtype=float)
    of_ref = np.array([ref[key][2] for key in keys], dtype=float)
    with np.errstate(all="ignore"):
        relative = np.nan_to_num(np.tanh(np.minimum(of_ref, of_tied) / spreads - 1), nan=0.0)
    return (
        0.30 * np.mean([each[0] for each in tied.values()])
        + 0.30 * np.mean([each[0] for each in ref.values()])
        + 0.20 * np.mean(of_tied > spreads)
        + 0.20 * np.mean(np.minimum(of_ref, of_tied) > spreads)
        + 0.01 * np.mean(relative)
    )


def prompts(rows):
    split = [(id.split(":"), right, scores) for id, right, scores in rows]
    return [TiesPrompt(key, kind, tuple(s[:right]), tuple(s[right:])) for (kind, key), right, s in split]


def ties_score(ties):
    return composite_of(decide_ties(ties), TIES_SCORE).value


@pytest.mark.parametrize("seed", range(30))
def test_the_ties_score_equals_the_official_one_on_random_scores_with_many_equal_ones(seed):
    rng = np.random.default_rng(seed)
    rows = []
    for key in range(int(rng.integers(2, 8))):
        grid = float(rng.choice([0.0, 1.0, 10.0]))  # 0: all right answers are equal, so the spread is 0
        level = float(rng.integers(-1, 3))
        if key == 0 or rng.random() < 0.8:
            right = int(rng.integers(2, 5))
            good = level + grid * rng.integers(0, 2, right)
            rows.append((f"tied:{key}", right, [*good, *map(float, rng.integers(-1, 2, int(rng.integers(1, 5))))]))
        if key == 0 or rng.random() < 0.8:
            rows.append((f"ref:{key}", 1, [level, *map(float, rng.integers(-1, 2, int(rng.integers(1, 5))))]))
    assert ties_score(prompts(rows)) == pytest.approx(slow_ties(rows), abs=1e-12)


def test_a_tied_prompt_with_one_right_response_has_no_spread_and_counts_in_the_first_mean_only():
    """Of key 1 all five terms are 1 but tanh(2 ÷ 1 − 1); key 2 would add two more if its spread were taken as 0."""
    prompts = [
        TiesPrompt("1", "ref", (3.0,), (0.0,)),
        TiesPrompt("1", "tied", (3.0, 2.0), (0.0,)),
        TiesPrompt("2", "ref", (0.0,), (1.0,)),
        TiesPrompt("2", "tied", (1.0,), (0.0,)),
    ]
    expected = 0.3 * 1 + 0.3 * 0.5 + 0.2 + 0.2 + 0.01 * math.tanh(1)
    assert ties_score(prompts) == pytest.approx(expected)


def test_the_ties_score_by_hand():
    # Right 3 and 2, wrong 0: spread 1, margin 2; the reference beats its wrong one by 1.5.
    rows = [("tied:a", 2, [3.0, 2.0, 0.0]), ("ref:a", 1, [1.5, 0.0])]
    expected = 0.3 + 0.3 + 0.2 + 0.2 + 0.01 * math.tanh(1.5 / 1 - 1)
    assert ties_score(prompts(rows)) == pytest.approx(expected)
    # Equal right answers: the quotient is +inf and its tanh 1, so the score passes 1 by 0.01.
    assert ties_score(prompts([("tied:a", 2, [3.0, 3.0, 0.0]), ("ref:a", 1, [1.0, 0.0])])) == pytest.approx(1.01)
    # Equal right answers below the wrong one: −inf, tanh −1; nothing else is right but the reference.
    lost = ties_score(prompts([("tied:a", 2, [0.0, 0.0, 1.0]), ("ref:a", 1, [1.0, 0.0])]))
    assert lost == pytest.approx(0.3 - 0.01)
    # Everything equal: 0 ÷ 0 is no number and counts 0.
    assert ties_score(prompts([("tied:a", 2, [0.0, 0.0, 0.0]), ("ref:a", 1, [0.0, 0.0])])) == pytest.approx(0.0)


def test_keys_of_one_kind_only_count_in_their_accuracy_alone():
    both = [("tied:a", 2, [3.0, 3.0, 0.0]), ("ref:a", 1, [1.0, 0.0])]
    assert ties_score(prompts([*both, ("ref:b", 1, [0.0, 1.0])])) == pytest.approx(1.01 - 0.3 / 2)
    assert ties_score(prompts([*both, ("tied:c", 2, [0.0, 2.0, 1.0])])) == pytest.approx(1.01 - 0.3 / 2)
    assert ties_score(prompts([("ref:b", 1, [1.0, 0.0])])) is None


def test_a_missing_score_makes_its_comparisons_lost_and_its_tanh_zero():
    rows = [("tied:a", 2, [3.0, math.nan, 0.0]), ("ref:a", 1, [1.0, 0.0])]
    assert ties_score(prompts(rows)) == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("rewards", "worth"),
    [
        ((1, 0, 0, 0), 1.0),
        ((1, 1, 0, 0), 1 / 2),
        ((1, 1, 1, 1), 1 / 4),
        ((0, 1, 0, 0), 0.0),
        ((1, 0, None, 0), 0.0),
        ((None, 0, 0, 0), 0.0),
    ],
)
def test_best_of_four_shares_a_tie_at_the_top(rewards, worth):
    assert best_of_n(rewards) == worth


def best(subset, index, *, wrong=3):
    texts = [f"wrong {k}" for k in range(wrong)]
    return {"id": f"{index}", "subset": subset, "prompt": f"{subset}{index}", "chosen": ["right"], "rejected": texts}


def ties(id, right, wrong):
    return best("Ties", id, wrong=wrong) | {"chosen": [f"right {k}" for k in range(right)]}


@pytest.mark.parametrize("seed", range(4))
def test_all_figures_equal_a_slow_reading(tmp_path, estimate, score, write_rows, seed):
    rng = np.random.default_rng(seed)
    subsets = ("Factuality", "Precise IF", "Math", "Safety", "Focus")
    rows = [best(subset, index, wrong=int(rng.integers(3, 6))) for subset in subsets for index in range(7)]
    rows += [ties(f"{kind}:{key}", 1 if kind == "ref" else 3, 3) for kind in ("ref", "tied") for key in range(6)]
    items = score(BENCH.load(write_rows(tmp_path / "test.jsonl", rows)), lambda *_: float(rng.integers(4)))
    measure = BENCH.measure(items, estimate)
    expected = {subset: [] for subset in subsets}
    of_ties = []
    for item in items:
        if item.metadata["subset"] == "Ties":
            id = f"{item.metadata['kind']}:{item.metadata['key']}"
            of_ties.append((id, item.metadata["right"], list(item.rewards)))
            continue
        winners = [k for k, reward in enumerate(item.rewards) if reward == max(item.rewards)]
        expected[item.metadata["subset"]].append(1 / len(winners) if 0 in winners else 0.0)
    means = {subset: np.mean(each) for subset, each in expected.items()} | {"Ties": slow_ties(of_ties)}
    assert {name: measure.metrics[name].value for name in means} == pytest.approx(means)
    assert measure.metrics["score"].value == pytest.approx(np.mean(list(means.values())))
    assert measure.primary == "score"
    assert set(measure.slices) == set(means)
    values = [each["score"].value for each in measure.slices.values()]
    assert values == sorted(values)


def test_ties_without_a_shared_key_have_no_score_and_say_so(tmp_path, estimate, score, write_rows):
    loaded = BENCH.load(write_rows(tmp_path / "test.jsonl", [ties("ref:1", 1, 2), ties("tied:2", 2, 2)]))
    measure = BENCH.measure(score(loaded, lambda group, k: -float(k)), estimate)
    assert measure.absent["Ties"] == "a part of it has no row here"
    assert measure.missing["Ties"] == "2 of 102 rows"


def test_the_random_baseline_is_one_in_n(tmp_path, estimate, score, write_rows):
    rows = [best("Math", 0, wrong=3), best("Math", 1, wrong=9)]
    measure = BENCH.measure(
        score(BENCH.load(write_rows(tmp_path / "test.jsonl", rows)), lambda group, k: -float(k)), estimate
    )
    assert measure.baselines["Math"]["random"].value == pytest.approx((1 / 4 + 1 / 10) / 2)


def test_an_id_of_ties_must_say_its_kind(tmp_path, write_rows):
    with pytest.raises(DataError, match=r"test\.jsonl:1: id is '7'; in Ties it must be ref:K or tied:K"):
        BENCH.load(write_rows(tmp_path / "test.jsonl", [ties("7", 1, 2)]))
