import math

import numpy as np
import pytest

from plaudit.evaluation.metrics.preference import labelled_pairs
from plaudit.evaluation.result import assemble_result
from plaudit.records import ItemScore, Result


def item(
    name: str,
    rewards: tuple[float | None, ...],
    *,
    preferences: tuple[tuple[int, int], ...] = ((0, 1),),
    probabilities: tuple[float | None, ...] | None = None,
    lengths: tuple[int, ...] | None = None,
    prompt: str | None = None,
    source: str = "s",
) -> ItemScore:
    return ItemScore(
        id=name,
        source=source,
        prompt_key=prompt or name,
        rewards=rewards,
        lengths=lengths or (10,) * len(rewards),
        preferences=preferences,
        probabilities=probabilities or (None,) * len(preferences),
        margins=(None,) * len(preferences),
    )


def result(*items: ItemScore, **options) -> Result:
    return assemble_result(items, name="d", model="m", resamples=50, **options)


def value(found: Result, name: str) -> float:
    return found.preference.metrics[name].value


def wilson(right: int, n: int) -> tuple[float, float]:
    z, p = 1.959963984540054, right / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return centre - half, centre + half


FOUR = (
    item("right and longer", (2.0, 1.0), lengths=(30, 10), source="a"),
    item("wrong and shorter", (0.0, 3.0), lengths=(10, 30), source="a"),
    item("right and shorter", (1.0, -1.0), lengths=(5, 50), source="b"),
    item("tied, same length", (1.0, 1.0), source="b"),
)


def test_accuracy_and_its_interval_are_those_worked_out_by_hand():
    found = result(*FOUR)
    accuracy = found.preference.metrics["accuracy"]
    assert accuracy.value == 2 / 4  # the tie counts as wrong
    assert (accuracy.low, accuracy.high) == pytest.approx(wilson(2, 4))
    assert (found.n, found.scored, found.preference.details["ties"], found.tie_rule) == (4, 4, 1, "loss")
    assert value(found, "accuracy_chosen_longer") == 1.0
    assert found.preference.metrics["accuracy_chosen_longer"].n == 1
    assert value(found, "accuracy_chosen_shorter") == 1 / 2
    assert value(found, "chosen_reward") == (2 + 0 + 1 + 1) / 4
    assert value(found, "rejected_reward") == (1 + 3 - 1 + 1) / 4
    assert value(found, "margin") == (1 - 3 + 2 + 0) / 4


def test_a_tie_is_half_right_when_asked():
    half = result(*FOUR, tie_rule="half")
    assert value(half, "accuracy") == 2.5 / 4
    assert (half.preference.details["ties"], half.tie_rule) == (1, "half")


def test_a_tie_is_left_out_and_still_counted_when_asked():
    rest = result(*FOUR, tie_rule="exclude")
    assert value(rest, "accuracy") == pytest.approx(2 / 3)
    assert (rest.preference.metrics["accuracy"].n, rest.preference.details["ties"], rest.scored) == (3, 1, 4)


def test_the_baseline_sees_lengths_only_and_tosses_a_coin_at_equal_ones():
    found = result(*FOUR)
    assert found.preference.baselines["accuracy"]["longer_response"].value == (1 + 0 + 0 + 0.5) / 4
    assert "first_response" not in found.preference.baselines["accuracy"]  # the preferred response always stands first


def test_the_first_response_is_a_baseline_where_sides_are_mixed():
    found = result(item("x", (1.0, 0.0)), item("y", (0.0, 1.0), preferences=((1, 0),)), item("z", (1.0, 0.0)))
    assert found.preference.baselines["accuracy"]["first_response"].value == pytest.approx(2 / 3)
    assert value(found, "accuracy") == 1.0


def test_each_source_has_its_accuracy_and_its_own_baseline():
    slices = result(*FOUR).preference.slices
    assert sorted(slices) == ["a", "b"]
    assert slices["a"]["accuracy"].value == 1 / 2
    assert slices["a"]["longer_response"].value == 1 / 2
    assert slices["b"]["accuracy"].value == 1 / 2
    assert slices["b"]["longer_response"].value == 0.5 / 2
    assert slices["b"]["accuracy"].n == 2


def test_calibration_figures_are_those_worked_out_by_hand():
    even = math.log(3)  # σ(log 3) = 3/4
    right = [item(f"r{k}", (even, 0.0)) for k in range(12)]
    found = result(*right, *(item(f"w{k}", (0.0, even)) for k in range(4)))
    assert value(found, "brier") == pytest.approx((3 * (1 / 4) ** 2 + (3 / 4) ** 2) / 4)
    # Three in four right at a certainty of 3/4: the margins are already at the right temperature.
    assert value(found, "temperature") == pytest.approx(1.0, abs=1e-3)


def test_too_large_margins_need_a_temperature_above_one():
    right = [item(f"r{k}", (2 * math.log(3), 0.0)) for k in range(12)]
    found = result(*right, *(item(f"w{k}", (0.0, 2 * math.log(3))) for k in range(4)))
    assert value(found, "temperature") == pytest.approx(2.0, abs=2e-3)


def test_without_both_right_and_wrong_pairs_there_is_no_temperature():
    assert "temperature" not in result(item("x", (1.0, 0.0)), item("y", (2.0, 0.0))).preference.metrics


def test_a_model_worse_than_chance_has_no_temperature():
    assert (
        "temperature"
        not in result(item("r", (1.0, 0.0)), *(item(f"w{k}", (0.0, 2.0)) for k in range(6))).preference.metrics
    )


def test_every_item_is_scored_unscored_or_failed():
    found = result(
        item("scored", (1.0, 0.0)),
        item("no preference", (1.0, 0.0), preferences=()),
        item("even label", (1.0, 0.0), probabilities=(0.5,)),
        item("failed", (1.0, None)),
        item("no preference and no reward", (None, None), preferences=()),
    )
    assert (found.n, found.scored, found.unscored, found.failed) == (5, 1, 3, 1)
    assert found.preference.metrics["accuracy"].n == 1


def test_a_soft_label_turns_its_pair():
    found = result(
        item("likely", (1.0, 1.0 - math.log(3)), probabilities=(0.75,)),
        item("unlikely", (2.0, 2.0 - math.log(3)), probabilities=(0.25,)),
    )
    assert value(found, "accuracy") == 1 / 2
    # σ(log 3) = 3/4 for the right side, and, turned, 1/4 for the right side
    assert value(found, "brier") == pytest.approx(((1 / 4) ** 2 + (3 / 4) ** 2) / 2)
    assert value(found, "margin") == pytest.approx(0)


def test_labelled_pairs_are_turned_to_the_side_the_label_holds_better():
    pairs = labelled_pairs(
        item(
            "x",
            (1.0, 4.0, 2.0),
            preferences=((0, 1), (1, 2), (0, 2)),
            probabilities=(0.1, 0.5, None),
            lengths=(1, 2, 4),
        )
    )
    assert [(p.chosen, p.rejected, p.margin) for p in pairs] == [(1, 0, 3.0), (0, 2, -1.0)]


def test_pairs_of_one_prompt_are_evidence_of_one_prompt():
    """Ten right pairs of one prompt and ten wrong ones of another: the evidence is two prompts."""
    right = [item(f"r{k}", (1.0, 0.0), prompt="p") for k in range(10)]
    wrong = [item(f"w{k}", (0.0, 1.0), prompt="q") for k in range(10)]
    accuracy = result(*right, *wrong).preference.metrics["accuracy"]
    assert accuracy.value == 1 / 2
    assert (accuracy.low, accuracy.high) == pytest.approx((0.0, 1.0), abs=1e-9)
    assert accuracy.method == "logit student (2 clusters)"


@pytest.mark.parametrize("right", [0, 1])
def test_a_share_that_every_resample_agrees_on_gets_the_interval_of_its_prompts(right: int):
    rows = [item(f"i{k}", (float(right), 1.0 - right), prompt=f"p{k // 5}") for k in range(30)]
    accuracy = result(*rows).preference.metrics["accuracy"]
    assert (accuracy.value, accuracy.n) == (right, 30)
    # 30 pairs, but 6 prompts: Wilson of all of 6 is from 6 ÷ (6 + z²) to 1, of none its mirror image
    far = 6 / (6 + 1.959963984540054**2)
    assert (accuracy.low, accuracy.high) == pytest.approx((far, 1.0) if right else (0.0, 1 - far))
    assert accuracy.method == "wilson over 6 prompts"


def test_the_interval_of_the_calibration_error_of_a_calibrated_model_begins_at_zero():
    # A true probability of σ(m) for every margin: what error there is is chance, and stands beside it.
    for seed in range(6):
        draws = np.random.default_rng(seed)
        logits = np.abs(draws.normal(scale=1.5, size=120))
        margins = np.where(draws.random(120) < 1 / (1 + np.exp(-logits)), logits, -logits)
        found = result(*(item(f"i{k}", (float(margin), 0.0)) for k, margin in enumerate(margins)))
        error = found.preference.metrics["expected_calibration_error"]
        by_chance = found.preference.baselines["expected_calibration_error"]["calibrated_model"]
        assert error.low == 0.0 < error.value < error.high < 0.3
        assert by_chance.value == pytest.approx(error.value, abs=0.05)


def test_a_temperature_that_rests_on_one_wrong_pair_has_a_wide_interval():
    # With w of nine wrong, σ(log 3 ÷ T) = (9 − w) ÷ 9: w = 1 gives T = log 3 ÷ log 8.
    even = math.log(3)
    found = result(*(item(f"r{k}", (even, 0.0)) for k in range(8)), item("w", (0.0, even)))
    temperature = found.preference.metrics["temperature"]
    assert temperature.value == pytest.approx(even / math.log(8), rel=1e-3)
    # Scores m σ(−m): 8 of log 8 ÷ 9 and one of −8 log 8 ÷ 9; curvature 9 · log² 8 · 8 ÷ 81; t = 2.306.
    error = math.sqrt(9 / 8 * (8 + 64) / 81) / (8 / 9 * math.log(8))
    assert temperature.high == pytest.approx(temperature.value * math.exp(2.306 * error), rel=1e-3)
    assert temperature.low == pytest.approx(temperature.value * math.exp(-2.306 * error), rel=1e-3)
    assert temperature.method == "sandwich (9 clusters)"


def test_a_ranking_is_every_one_of_its_pairs_and_one_prompt_says_nothing_about_others():
    found = result(item("x", (3.0, 1.0, 2.0), preferences=((0, 1), (0, 2), (1, 2))))
    accuracy = found.preference.metrics["accuracy"]
    assert accuracy.value == pytest.approx(2 / 3)
    assert (found.n, found.scored, accuracy.n) == (1, 1, 3)
    assert (accuracy.low, accuracy.high) == (0.0, 1.0)
    assert "margin" not in found.preference.metrics


def test_correlation_with_length_is_over_ranks():
    # 20 responses of rising length; their rewards rise too, but for one swap of neighbours
    rewards = [float(k) ** 3 for k in range(20)]
    rewards[6], rewards[7] = rewards[7], rewards[6]
    rows = [item(f"i{k}", (rewards[k], rewards[k + 1]), lengths=(k + 1, k + 2)) for k in range(0, 20, 2)]
    # Spearman: 1 − 6 Σd² ÷ n(n² − 1), and the swap has Σd² = 2
    assert value(result(*rows), "reward_length_correlation") == pytest.approx(1 - 6 * 2 / (20 * 399))


def test_equal_lengths_give_no_correlation_rather_than_a_number():
    found = result(item("x", (1.0, 0.0)), item("y", (2.0, 0.0)), item("z", (0.0, 1.0)))
    assert "reward_length_correlation" not in found.preference.metrics
    assert "margin_length_correlation" not in found.preference.metrics


def test_histograms_hold_every_pair_and_no_bin_spans_zero():
    draws = np.random.default_rng(3)
    rows = [item(f"i{k}", (float(draws.normal()), float(draws.normal()))) for k in range(200)]
    found = result(*rows)
    margins = found.preference.curves["margins"]
    assert sum(row["count"] for row in margins) == 200
    assert all(row["high"] <= 1e-12 or row["low"] >= -1e-12 for row in margins)
    right = sum(row["count"] for row in margins if row["low"] >= -1e-12)
    assert right / 200 == value(found, "accuracy")
    assert sum(row["chosen"] for row in found.preference.curves["rewards"]) == 200
    assert sum(row["rejected"] for row in found.preference.curves["rewards"]) == 200


def test_reliability_bins_hold_every_pair_and_an_interval_around_their_share():
    draws = np.random.default_rng(3)
    rows = [item(f"i{k}", (float(draws.normal(0.5)), float(draws.normal()))) for k in range(100)]
    bins = result(*rows).preference.curves["reliability"]
    assert sum(row["n"] for row in bins) == 100
    assert len(bins) == 10
    assert all(row["low"] <= row["accuracy"] <= row["high"] for row in bins)
    assert all(0.5 <= row["confidence"] <= 1.0 for row in bins)
    assert [row["confidence"] for row in bins] == sorted(row["confidence"] for row in bins)


@pytest.mark.parametrize("size", [1e-300, 1e6])
def test_extreme_rewards_give_finite_figures(size: float):
    found = result(item("x", (size, 0.0)), item("y", (0.0, size)), item("z", (-size, size)))
    assert value(found, "accuracy") == pytest.approx(1 / 3)
    Result.model_validate_json(found.model_dump_json())


def test_a_model_that_gives_everything_one_reward_decides_nothing():
    rows = [item(f"i{k}", (0.0, 0.0), lengths=(k, 9 - k)) for k in range(8)]
    found = result(*rows)
    assert (value(found, "accuracy"), found.preference.details["ties"]) == (0.0, 8)
    assert value(found, "brier") == 0.25
    assert value(result(*rows, tie_rule="half"), "accuracy") == 0.5
    assert "accuracy" not in result(*rows, tie_rule="exclude").preference.metrics


def test_no_draw_is_in_a_metric_of_preferences_so_the_seed_moves_nothing():
    rows = [item(f"i{k}", (float(k % 3), 1.0), lengths=(k % 7, 3), prompt=f"p{k // 2}") for k in range(30)]
    first, again, other = result(*rows, seed=1), result(*rows, seed=1), result(*rows, seed=2)
    assert first.preference.metrics == again.preference.metrics
    assert value(first, "margin") == value(other, "margin")
    assert first.preference.metrics == other.preference.metrics
