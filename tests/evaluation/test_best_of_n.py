import math
from collections.abc import Iterable, Iterator

import numpy as np
import pytest

from plaudit.data.schema.group import Group, conversation
from plaudit.errors import DataError
from plaudit.evaluation.metrics.best_of_n import (
    BestOfN,
    LabelledGroup,
    best_of_n,
    counts_up_to,
    put_curve,
    reached_by_most,
)
from plaudit.evaluation.metrics.metric_set import MetricSet
from plaudit.evaluation.metrics.order import wins
from plaudit.evaluation.result import assemble_result
from plaudit.records import LabelCounts, Result
from plaudit.scoring.scorer import GroupRewards


class FromText:
    """Reads the reward from the second word of a response."""

    def score_groups(self, groups: Iterable[Group]) -> Iterator[GroupRewards]:
        for group in groups:
            yield GroupRewards(id=group.id, rewards=tuple(float(text.split()[1]) for text in group.responses))


def gold(group: Group) -> list[float]:
    return [float(text.split()[0]) for text in group.responses]


def group(name: str, *gold_and_reward: str, prompt: str | None = None) -> Group:
    return Group(prompt=conversation(prompt or name), responses=gold_and_reward, id=name)


def run(*groups: Group, counts: tuple[int, ...] = (1, 2, 3), gold=gold, **options) -> BestOfN:
    return best_of_n(
        FromText(),
        groups,
        gold,
        name="d",
        model="m",
        gold_name="first word",
        counts=counts,
        **options,
    )


def test_the_table_is_the_expectation_over_all_sets_of_n():
    # Gold 0, 3, 6; the model ranks them 3 > 0 > 6.
    found = run(group("x", "0 2", "3 5", "6 1"), group("y", "6 1", "0 2", "3 5"))
    assert [row.n for row in found.rows] == [1, 2, 3]
    # n = 2: of {0,3} it takes 3, of {0,6} 0, of {3,6} 3; the oracle 3, 6, 6
    assert [row.chosen.value for row in found.rows] == pytest.approx([3, (3 + 0 + 3) / 3, 3])
    assert [row.oracle.value for row in found.rows] == pytest.approx([3, (3 + 6 + 6) / 3, 6])
    assert [row.mean.value for row in found.rows] == pytest.approx([3, 3, 3])


def test_equal_rewards_are_drawn_between():
    found = run(group("x", "0 7", "4 7"), group("y", "0 7", "4 7"), counts=(2,))
    assert found.rows[0].chosen.value == pytest.approx(2)
    assert found.rows[0].oracle.value == pytest.approx(4)


def test_rows_are_means_over_groups_with_intervals_over_prompts():
    found = run(group("x", "0 1", "2 2"), group("y", "4 1", "8 0"), group("z", "1 0", "3 4"), counts=(2, 1, 2))
    assert [row.n for row in found.rows] == [1, 2]
    assert found.rows[1].chosen.value == pytest.approx((2 + 4 + 3) / 3)
    assert found.rows[1].chosen.n == 3
    # 4.3027 is Student's t for two degrees of freedom; three prompts of one group: variance 1 ÷ 3.
    half = 4.302653 * math.sqrt(1 / 3)
    assert found.rows[1].chosen.low == pytest.approx(3 - half)
    assert found.rows[1].chosen.high == pytest.approx(3 + half)


def test_a_group_that_cannot_fill_every_row_is_left_out_and_counted():
    seen: list[int] = []
    found = run(
        group("whole", "0 1", "2 2"),
        group("whole too", "0 1", "2 2"),
        group("short", "9 9"),
        group("no reward", "9 9", "9 nan"),
        group("no gold", "nan 1", "2 2"),
        counts=(1, 2),
        progress=seen.append,
    )
    assert (found.groups, found.left_out) == (2, 3)
    assert found.rows[0].mean.value == 1
    assert seen == [1, 2, 3, 4, 5]


def test_nothing_to_choose_from_is_an_empty_table():
    assert run().rows == ()
    assert run(group("short", "1 1")).left_out == 1


def test_one_prompt_gives_no_interval_and_so_no_rows():
    found = run(group("x", "0 2", "3 5", "6 1"))
    assert (found.groups, found.rows) == (1, ())


def test_wrong_counts_and_wrong_gold_rewards_are_errors():
    with pytest.raises(DataError, match="at least 1"):
        run(counts=(0, 1))
    with pytest.raises(DataError, match="gave 1 numbers for the 2 responses of group 'x'"):
        run(group("x", "0 1", "2 2"), gold=lambda _: [math.pi])


def labelled(prompt: int, worth, rewards=None) -> LabelledGroup:
    known = np.array(worth, dtype=float)
    own = known if rewards is None else np.array(rewards, dtype=float)
    return LabelledGroup(known, own, np.full(len(known), 9.0), prompt)


@pytest.mark.parametrize(
    ("largest", "counts"),
    [(2, (1, 2)), (3, (1, 2, 3)), (4, (1, 2, 4)), (5, (1, 2, 4, 5)), (64, (1, 2, 4, 8, 16, 32, 64)), (1, (1,))],
)
def test_the_n_are_powers_of_two_and_the_largest(largest, counts):
    assert counts_up_to(largest) == counts


def test_the_largest_n_is_one_that_nine_groups_in_ten_have():
    assert reached_by_most([4] * 9 + [2]) == 4
    assert reached_by_most([4] * 8 + [2, 2]) == 2
    assert reached_by_most([2] * 9 + [64]) == 2
    assert reached_by_most([1] * 50 + [8, 9]) == 8  # groups of one choose nothing
    assert reached_by_most([1, 1]) is None
    assert reached_by_most([]) is None


def curve_of(groups) -> MetricSet:
    found = MetricSet("rating", "spearman", LabelCounts(n=0, scored=0, unscored=0, failed=0))
    put_curve(found, groups, is_proportion=False)
    return found


def test_every_n_is_over_the_same_groups_and_the_others_are_counted(estimate):
    groups = [labelled(k, [0, 1, 2, 3]) for k in range(18)]
    groups += [labelled(18, [100, 200]), labelled(19, [100, 200, 300]), labelled(20, [7]), labelled(21, range(6))]
    curve = curve_of(groups).best_of_n(estimate)
    assert [point.n for point in curve.points] == [1, 2, 4]
    assert (curve.groups, curve.left_out, curve.largest_k) == (19, 3, 6)
    assert {point.gold.n for point in curve.points} == {19}
    # the group of six is averaged over all its sets of four, whose best is 3, 4, 5 in 1, 4, 10 of 15
    assert curve.points[2].gold.value == pytest.approx((18 * 3 + (3 + 4 * 4 + 10 * 5) / 15) / 19)


def test_there_is_a_reason_where_there_is_no_curve():
    assert curve_of([labelled(0, [1])]).absent == {"best_of_n": "no group has two labelled responses to choose from"}
    assert curve_of([labelled(0, [1, 2, 3]), labelled(0, [3, 2, 1])]).absent == {
        "best_of_n": "fewer than two prompts have 3 labelled responses to choose from"
    }


def test_the_share_of_others_beaten_is_the_same_in_groups_of_any_size():
    assert wins(np.array([3.0, 1.0, 2.0])) == pytest.approx([1, 0, 1 / 2])
    assert wins(np.array([2.0, 2.0, 1.0, 0.0])) == pytest.approx([5 / 6, 5 / 6, 1 / 3, 0])
    assert wins(np.array([5.0, 4.0])) == pytest.approx([1, 0])


def evaluated(make_item, count: int = 12, **labels) -> Result:
    items = [make_item(f"i{k}", (1.0, 3.0, 2.0), **labels) for k in range(count)]
    return assemble_result(items, name="d", model="m", resamples=20)


def test_an_evaluation_has_a_curve_for_each_rating_the_outcome_and_the_ranks(make_item):
    result = evaluated(
        make_item,
        ratings={"gold": (0.0, 5.0, 1.0), "tone": (9.0, 1.0, 5.0)},
        outcomes=(True, False, True),
        ranks=(3, 1, 2),
    )
    found = {measure.name: measure.best_of_n for measure in result.measures}
    assert {name: [point.gold.value for point in curve.points] for name, curve in found.items()} == {
        "ranking": pytest.approx(
            [1 / 2, 5 / 6, 1]
        ),  # of {1, 2}, {1, 3}, {2, 3} it takes 1, 1 and the second: 1, 1, 1/2
        "rating gold": pytest.approx([2, 11 / 3, 5]),
        "rating tone": pytest.approx([5, 7 / 3, 1]),
        "outcome": pytest.approx([2 / 3, 1 / 3, 0]),
    }
    assert [found["rating gold"].peak, found["rating tone"].peak, found["outcome"].peak] == [3, 1, 1]
    assert found["rating gold"].points[2].regret.value == 0.0
    assert found["rating tone"].points[2].recovered.value == -1.0  # (1 − 5) ÷ (9 − 5)
    again = Result.model_validate_json(result.model_dump_json())
    assert again.measures == result.measures


def test_the_largest_n_of_the_outcome_is_the_best_of_k(make_item):
    rng = np.random.default_rng(0)
    items = [
        make_item(
            f"i{k}", tuple(rng.integers(0, 3, 5).astype(float)), outcomes=tuple(bool(x) for x in rng.integers(0, 2, 5))
        )
        for k in range(60)
    ]
    (measure,) = assemble_result(items, name="d", model="m", resamples=20).measures
    last = measure.best_of_n.points[-1]
    for mine, theirs in (
        (last.gold, measure.metrics["best_of_k"]),
        (last.oracle, measure.baselines["best_of_k"]["oracle"]),
        (measure.best_of_n.random, measure.baselines["best_of_k"]["random"]),
    ):
        assert (mine.value, mine.low, mine.high) == pytest.approx((theirs.value, theirs.low, theirs.high), abs=1e-9)


def test_the_models_own_output_chooses_where_it_has_one_of_that_name(make_item):
    result = evaluated(make_item, ratings={"tone": (9.0, 1.0, 5.0)}, attributes={"tone": (8.0, 2.0, 4.0)})
    assert result.measures[0].best_of_n.points[-1].gold.value == 9.0
    assert result.measures[0].best_of_n.points[-1].proxy.value == 8.0


def test_only_labelled_responses_are_chosen_from_and_a_group_without_a_reward_is_in_no_point(make_item):
    items = [make_item(f"i{k}", (1.0, 3.0, 2.0), ratings={"gold": (0.0, None, 1.0)}) for k in range(5)]
    items += [make_item(f"j{k}", (1.0, None, 2.0), ratings={"gold": (0.0, 7.0, 1.0)}) for k in range(2)]
    (measure,) = assemble_result(items, name="d", model="m", resamples=20).measures
    assert (measure.counts.failed, measure.details["unrated_responses"]) == (2, 5)
    assert [point.n for point in measure.best_of_n.points] == [1, 2]
    assert (measure.best_of_n.groups, measure.best_of_n.points[1].gold.value) == (5, 1.0)


def test_a_label_without_a_choice_says_why_there_is_no_curve(make_item):
    items = [make_item(f"i{k}", (1.0,), ratings={"gold": (float(k),)}) for k in range(5)]
    (measure,) = assemble_result(items, name="d", model="m", resamples=20).measures
    assert measure.best_of_n is None
    assert measure.absent["best_of_n"] == "no group has two labelled responses to choose from"


def test_ranks_of_a_random_response_beat_half_of_the_others_whatever_the_rewards(make_item):
    # twenty shares of ½ have Wilson's interval of ten right of twenty
    rng = np.random.default_rng(1)
    items = [
        make_item(f"i{k}", tuple(rng.normal(size=7)), ranks=tuple(int(rank) + 1 for rank in rng.permutation(7)))
        for k in range(20)
    ]
    (measure,) = assemble_result(items, name="d", model="m", resamples=20).measures
    random = measure.best_of_n.random
    assert (random.value, random.low, random.high) == pytest.approx((0.5, 0.2993, 0.7007), abs=1e-4)
    first = measure.best_of_n.points[0].gold
    assert (first.value, first.low, first.high) == (random.value, random.low, random.high)
