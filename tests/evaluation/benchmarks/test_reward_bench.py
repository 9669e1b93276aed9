import numpy as np
import pytest

from plaudit.evaluation.official.benchmarks.reward_bench import SECTIONS
from plaudit.evaluation.official.catalog import benchmark_named

BENCH = benchmark_named("reward_bench")


def row(subset, index):
    return {"prompt": f"{subset} {index}", "chosen": "yes", "rejected": "never", "subset": subset, "id": index}


def slow_sections(accuracies, weights):
    """The official function, written out: per section the weighted sum over the subsets there are, and the weights."""
    sections = {}
    for section, subsets in weights.items():
        total, weight = 0.0, 0.0
        for subset in subsets:
            if subset in accuracies:
                total += accuracies[subset] * subsets[subset]
                weight += subsets[subset]
        if weight > 0:
            sections[section] = total / weight
    return sections


@pytest.mark.parametrize("seed", range(4))
def test_sections_equal_the_official_function_on_random_rewards(tmp_path, estimate, score, draws, write_rows, seed):
    rng = np.random.default_rng(seed)
    subsets = [subset for section in SECTIONS.values() for subset in section if rng.random() < 0.8]
    rows = [row(subset, index) for subset in subsets for index in range(int(rng.integers(1, 6)))]
    items = score(BENCH.load(write_rows(tmp_path / "filtered.jsonl", rows)), draws(rng))
    measure = BENCH.measure(items, estimate)
    won = {subset: [] for subset in subsets}
    for item in items:
        chosen, rejected = item.rewards
        won[item.metadata["subset"]].append(chosen is not None and rejected is not None and chosen > rejected)
    accuracies = {subset: np.mean(each) for subset, each in won.items()}
    sections = slow_sections(accuracies, SECTIONS)
    found = {name: measure.metrics[name].value for name in SECTIONS if name in measure.metrics}
    for name in set(sections) - set(found):
        assert measure.absent[name] == "none of its comparisons has its rewards"
    assert found == pytest.approx({name: sections[name] for name in found})
    if len(found) == 4:
        assert measure.metrics["score"].value == pytest.approx(np.mean(list(sections.values())))


def test_math_weighs_as_much_as_all_code():
    assert (
        SECTIONS["reasoning"]["math-prm"] == sum(w for s, w in SECTIONS["reasoning"].items() if s != "math-prm") == 984
    )
    assert sum(count for count in BENCH.expected.values() if count is not None) == 2985


def test_a_section_by_hand_and_with_the_weights_of_earlier_releases(tmp_path, estimate, score, write_rows):
    rows = [row("xstest-should-refuse", 0), row("xstest-should-respond", 0)]
    loaded = BENCH.load(write_rows(tmp_path / "filtered.jsonl", rows))
    items = score(loaded, lambda group, k: float(k == 0) if group.source == "xstest-should-refuse" else 1.0)
    figures = BENCH.measure(items, estimate).metrics
    assert figures["safety"].value == pytest.approx(154 / 404)  # the other pair is a tie, which is lost
    assert figures["safety_weights_exchanged"].value == pytest.approx(250 / 404)
    assert figures["score_ties_shared"].value == pytest.approx((154 + 0.5 * 250) / 404)
    assert "score_with_prior_sets" not in figures


def test_prior_sets_count_half(tmp_path, estimate, score, write_rows):
    prompt = [{"role": "user", "content": "p"}, {"role": "assistant", "content": "a"}, {"role": "user", "content": "q"}]
    rows = [row(subset, 0) for section in SECTIONS.values() for subset in section]
    rows += [row(subset, 0) | {"prompt": prompt} for subset in ("anthropic_helpful", "shp")]
    write_rows(tmp_path / "data" / "raw-00000-of-00001.jsonl", rows)
    write_rows(tmp_path / "data" / "filtered-00000-of-00001.jsonl", rows[:-2])
    for index, name in ((-2, "anthropic_helpful"), (-1, "shp")):
        write_rows(tmp_path / "data" / f"{name}-00000-of-00001.jsonl", [{**rows[index], "subset": None}])
    loaded = BENCH.load(str(tmp_path))
    assert loaded.found["shp"] == loaded.found["anthropic_helpful"] == 1
    assert len(next(group for group in loaded.groups if group.source == "shp").prompt) == 3
    items = score(loaded, lambda group, k: float(k == 0) if group.source != "shp" else -float(k == 0))
    measure = BENCH.measure(items, estimate)
    assert measure.metrics["score"].value == 1.0
    assert measure.metrics["prior_sets"].value == pytest.approx(1 / 2)
    assert measure.metrics["score_with_prior_sets"].value == pytest.approx((4 + 0.5 * 0.5) / 4.5)
    assert measure.missing["math-prm"] == "1 of 447 rows"
    assert "shp" not in measure.missing


def test_subsets_that_are_not_official_and_repeated_ids_are_named(tmp_path, write_rows):
    rows = [row("donotanswer", 1), row("donotanswer", 1), row("mine", 1)]
    loaded = BENCH.load(write_rows(tmp_path / "filtered.jsonl", rows))
    assert loaded.repeated == 1
    assert [group.id for group in loaded.groups][:2] == [
        "reward_bench/donotanswer/1",
        "reward_bench/donotanswer/1#2",
    ]
    assert loaded.missing["mine"] == "1 rows of a subset that is not official"
    assert loaded.missing["donotanswer"] == "2 of 136 rows"
