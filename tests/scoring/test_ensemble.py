"""An ensemble's rewards are the stated function of its members', response by response, in order."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import pytest

from plaudit.data.schema.group import Group, conversation
from plaudit.errors import ConfigError, ModelError, UnknownNameError
from plaudit.scoring import ensemble
from plaudit.scoring.ensemble import EnsembleScorer, Scale, measure_scales
from plaudit.scoring.function import FunctionScorer
from plaudit.scoring.scorer import GroupRewards, ResponseTruncation, ScorerInfo


@dataclass
class Fixed:
    """Answers with what was written down for each group, and notes how many groups it was asked for."""

    answers: dict[str, GroupRewards]
    asked: list[str] = field(default_factory=list)

    def score_groups(self, groups):
        for group in groups:
            self.asked.append(group.id)
            yield self.answers[group.id]


def fixed(*rewards, **fields):
    return Fixed({"a": GroupRewards(id="a", rewards=rewards, **fields)})


def group(count, name="a"):
    return Group(conversation("hi"), tuple(f"response {k}" for k in range(count)), id=name)


def together(members, rule="mean", responses=2, **options):
    (found,) = EnsembleScorer(members, rule, **options).score_groups([group(responses)])
    return found


# ------------------------------------------------------------------------------------------- the rules


def test_the_rules_on_numbers_worked_out_by_hand():
    members = [fixed(1.0, -2.0), fixed(3.0, 0.0), fixed(8.0, 2.0)]
    # response 0: mean 4, deviations -3, -1, 4, variance (9 + 1 + 16) / 3; response 1: mean 0, variance (4 + 0 + 4) / 3
    stds = (math.sqrt(26 / 3), math.sqrt(8 / 3))
    assert together(members, "mean").rewards == (4.0, 0.0)
    assert together(members, "minimum").rewards == (1.0, -2.0)
    assert together(members, "mean_minus_std").rewards == pytest.approx((4 - stds[0], -stds[1]), abs=1e-12)
    assert together(members, "mean_minus_std", penalty=0.5).rewards == pytest.approx((4 - stds[0] / 2, -stds[1] / 2))
    assert together(members, "mean_minus_std", penalty=0.0).rewards == (4.0, 0.0)


def test_what_a_member_truncated_is_what_the_ensemble_did():
    cut = fixed(1.0, 2.0, truncation=ResponseTruncation((0, 7), 1))
    more = fixed(1.0, 2.0, truncation=ResponseTruncation((3, 5)))
    assert together([cut, fixed(1.0, 2.0), more]).truncation == ResponseTruncation((3, 7), 1)
    assert together([fixed(1.0, 2.0), fixed(1.0, 2.0)]).truncation is None


def test_the_uncertainty_is_the_standard_deviation_over_the_members_themselves():
    members = [fixed(1.0, 5.0), fixed(4.0, 5.0)]
    # two members: half their distance; dividing by M - 1 would give 2.12
    for rule in ("mean", "minimum", "mean_minus_std"):
        assert together(members, rule).uncertainty == (1.5, 0.0)


def test_without_scales_the_member_with_the_lowest_offset_decides_the_minimum_alone_and_with_them_it_does_not():
    # the same order of responses, but member 2 gives every reward 100 less; member 1 is the sure one
    members = [fixed(0.0, 4.0), fixed(-99.0, -101.0)]
    assert together(members, "minimum").rewards == (-99.0, -101.0)
    scales = [Scale(2.0, 2.0), Scale(-100.0, 1.0)]
    found = together(members, "minimum", scales=scales)
    # standardised: (-1, 1) and (1, -1)
    assert found.rewards == (-1.0, -1.0)
    assert found.uncertainty == (1.0, 1.0)


def test_scales_are_measured_on_the_rewards_that_there_are():
    members = [fixed(1.0, None, 5.0), fixed(2.0, math.nan, -2.0)]
    assert measure_scales(members, [group(3)]) == (Scale(3.0, 2.0), Scale(0.0, 2.0))
    with pytest.raises(ConfigError, match="member 2 gave 2 rewards and no two different ones"):
        measure_scales([fixed(1.0, 2.0), fixed(3.0, 3.0)], [group(2)])


# ------------------------------------------------------------------------------ what a member lacks


def test_a_response_that_one_member_could_not_score_has_no_reward_and_the_reason_names_the_member():
    members = [fixed(1.0, 2.0), fixed(3.0, None, reason="longer than max_length"), fixed(5.0, 6.0)]
    for rule in ("mean", "minimum", "mean_minus_std"):
        found = together(members, rule, names=["x", "runs/y", "z"])
        assert found.rewards[1] is None
        assert found.rewards[0] is not None
        assert found.uncertainty is not None
        assert found.uncertainty[1] is None
        assert found.reason == "longer than max_length, by member 2 of 3: runs/y"


def test_each_reason_stands_once_with_all_the_members_that_gave_it():
    members = [
        fixed(None, 2.0, reason="too long"),
        fixed(None, 2.0, reason="too long"),
        fixed(1.0, math.inf),
    ]
    found = together(members)
    assert found.rewards == (None, None)
    assert found.reason == (
        "too long, by members 1 and 2 of 3: member 1 and member 2; "
        "no finite reward and no reason, by member 3 of 3: member 3"
    )


def test_attributes_and_steps_are_put_together_where_every_member_has_them():
    members = [
        fixed(0.0, 0.0, attributes={"style": (1.0, 2.0), "only here": (1.0, 1.0)}, steps=((0.2, 0.8), (0.5,))),
        fixed(0.0, 0.0, attributes={"style": (3.0, None)}, steps=((0.4, 0.2), (0.5, 0.5))),
    ]
    found = together(members, "minimum")
    assert found.attributes == {"style": (1.0, None)}
    # the members split response 1 into different steps
    assert found.steps == ((0.2, 0.2), None)
    mean = together(members, "mean", scales=[Scale(1.0, 2.0), Scale(1.0, 2.0)])
    assert mean.attributes == {"style": (2.0, None)}
    assert mean.steps is not None
    assert mean.steps[0] == pytest.approx((0.3, 0.5))
    assert together([*members, fixed(0.0, 0.0)]).steps is None
    assert together([*members, fixed(0.0, 0.0)]).attributes == {}


def test_probabilities_of_steps_stay_probabilities_where_the_members_disagree():
    # mean 1/3, standard deviation 0.471; of the log-odds mean -2/3, standard deviation 0.943
    members = [fixed(0.0, steps=((value, 0.5),)) for value in (0.0, 0.0, 1.0)]
    assert together(members, "mean_minus_std", responses=1).steps == ((0.0, 0.5),)
    others = [fixed(0.0, steps=((value, 0.5),)) for value in (0.0, 0.0, -2.0)]
    found = together(others, "mean_minus_std", responses=1).steps
    assert found is not None
    assert found[0] == pytest.approx((-2 / 3 - math.sqrt(8 / 9), 0.5))


# ------------------------------------------------------------------------- members that compare responses


class Comparing(Fixed):
    """Gives win rates, and strengths beside them."""

    info = ScorerInfo(scale="win_rates", strengths="log_odds_differences", relative=True)

    def __init__(self, win_rates, strengths):
        super().__init__({"a": GroupRewards("a", win_rates, strengths=strengths)})


def test_members_that_compare_responses_stand_together_with_their_like_only_and_take_no_scale():
    comparing, other = Comparing((0.5, 0.5), (0.0, 0.0)), fixed(1.0, 2.0)
    with pytest.raises(ConfigError, match="y compares responses and x does not; win rates have no common unit"):
        EnsembleScorer([other, comparing], names=["x", "y"])
    with pytest.raises(ConfigError, match="x and y give win rates, which lie within 0 to 1 and take no scale"):
        EnsembleScorer([comparing, comparing], names=["x", "y"], scales=[Scale(0.5, 0.1)] * 2)
    assert not EnsembleScorer([other, other]).info.relative


def test_the_strengths_of_an_ensemble_are_those_of_its_members_by_its_rule():
    members = [Comparing((0.75, 0.25), (0.5, -0.5)), Comparing((0.5, 0.5), (0.1, -0.1))]
    made = EnsembleScorer(members, "mean_minus_std", penalty=0.5, names=["x", "y"])
    assert (made.info.relative, made.info.scale, made.info.strengths) == (True, "win_rates", "order")
    assert EnsembleScorer(members).info.strengths == "log_odds_differences"
    # means 0.3 and -0.3, both standard deviations 0.2
    (found,) = made.score_groups([group(2)])
    assert found.strengths == pytest.approx((0.2, -0.4))
    assert together(members).rewards == (0.625, 0.375)
    plain = EnsembleScorer([fixed(1.0), fixed(3.0)], scales=[Scale(0.0, 2.0), Scale(0.0, 1.0)])
    (same,) = plain.score_groups([group(1)])
    assert (same.rewards, same.strengths, plain.info.strengths) == ((1.75,), None, None)


# -------------------------------------------------------------------------------- order and memory


def test_groups_come_in_order_and_no_member_reads_further_ahead_than_a_window(monkeypatch):
    monkeypatch.setattr(ensemble, "WINDOW", 4)
    names = [f"g{k}" for k in range(10)]
    members = [Fixed({name: GroupRewards(name, (float(k) * sign,)) for k, name in enumerate(names)}) for sign in (1, 3)]
    read = []

    def stream():
        for name in names:
            read.append(name)
            yield group(1, name)

    iterator = EnsembleScorer(members).score_groups(stream())
    assert read == []
    found = [next(iterator)]
    assert read == names[:4] == members[0].asked == members[1].asked
    found.extend(iterator)
    assert [each.id for each in found] == names
    assert [each.rewards for each in found] == [(2.0 * k,) for k in range(10)]


def test_a_member_that_answers_out_of_order_or_too_little_is_an_error():
    class Lazy(Fixed):
        def score_groups(self, groups):
            yield from list(super().score_groups(groups))[1:]

    class Turned(Fixed):
        def score_groups(self, groups):
            yield from list(super().score_groups(groups))[::-1]

    good = Fixed({name: GroupRewards(name, (0.0,)) for name in "ab"})
    groups = [group(1, "a"), group(1, "b")]
    for bad in (Lazy(good.answers), Turned(good.answers)):
        with pytest.raises(ModelError, match="in the order of its input"):
            list(EnsembleScorer([good, bad], names=["x", "y"]).score_groups(groups))
    with pytest.raises(ModelError, match="y gave 2 rewards for the 1 responses of group 'a'"):
        list(EnsembleScorer([good, fixed(1.0, 2.0)], names=["x", "y"]).score_groups(groups[:1]))


def test_what_makes_no_ensemble_is_refused():
    one = fixed(1.0)
    with pytest.raises(ConfigError, match="at least two members, not 1"):
        EnsembleScorer([one])
    with pytest.raises(UnknownNameError, match="unknown rule 'minimun'; did you mean 'minimum'"):
        EnsembleScorer([one, one], "minimun")
    with pytest.raises(ConfigError, match="scales has 1 entries for 2 members"):
        EnsembleScorer([one, one], scales=[Scale(0.0, 1.0)])
    for penalty in (-1.0, math.nan):
        with pytest.raises(ConfigError, match="penalty is"):
            EnsembleScorer([one, one], penalty=penalty)
    for mean, std in ((0.0, 0.0), (math.nan, 1.0), (0.0, -1.0)):
        with pytest.raises(ConfigError, match="a scale needs"):
            Scale(mean, std)


def test_an_ensemble_is_told_from_another_by_its_rule_its_scales_and_its_members():
    one, other = fixed(1.0), FunctionScorer(lambda prompt, responses: [0.0] * len(responses))
    plain = EnsembleScorer([one, other])
    others = [
        EnsembleScorer([one, other], "minimum"),
        EnsembleScorer([one, other], penalty=2.0),
        EnsembleScorer([one, other], scales=[Scale(0.0, 1.0), Scale(0.0, 2.0)]),
        EnsembleScorer([one, other, one]),
    ]
    assert len({plain.info.recipe_hash, *(each.info.recipe_hash for each in others)}) == 5
    assert plain.info.recipe_hash == EnsembleScorer([one, other]).info.recipe_hash
