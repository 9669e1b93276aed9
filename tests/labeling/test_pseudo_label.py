"""Pseudo-labels point to the response that the scorer prefers, are kept by confidence, and are all counted."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from plaudit.data.reading.read import read_groups
from plaudit.data.schema.group import Group, Preference, conversation
from plaudit.errors import ConfigError, DataError, ModelError
from plaudit.labeling.pseudo_label import (
    PseudoTally,
    pseudo_labelled,
    read_pseudo_labels,
    record_path,
    write_pseudo_labels,
)
from plaudit.scoring.ensemble import EnsembleScorer
from plaudit.scoring.function import FunctionScorer
from plaudit.scoring.scorer import GroupRewards, ScorerInfo

LOG4 = math.log(4)
"""A lead of log 4 is a probability of 4 ÷ 5."""


def group(*rewards, id="g", preferences=(), prompt="hi", **fields):
    """A group whose responses say their own rewards."""
    return Group(
        conversation(prompt),
        tuple(f"{reward} #{k}" for k, reward in enumerate(rewards)),
        tuple(Preference(*each) for each in preferences),
        id=id,
        **fields,
    )


def reading(prompt, responses):
    """The rewards that the responses say; ``None`` is missing."""
    words = [response.split()[0] for response in responses]
    return [None if word == "None" else float(word) for word in words]


class Stating:
    """Gives the rewards that the responses say, and says what they are."""

    def __init__(self, scale="log_odds_differences", strengths=None):
        self.info = ScorerInfo(scale=scale, strengths=strengths, relative=strengths is not None)

    def score_groups(self, groups):
        for rewards in FunctionScorer(reading).score_groups(groups):
            if self.info.strengths is None:
                yield rewards
                continue
            # win rates, which keep the order and nothing else
            rates = tuple(None if each is None else 1 / (1 + math.exp(-each)) for each in rewards.rewards)
            yield replace(rewards, rewards=rates, strengths=rewards.rewards)


SCORER = Stating()


def labelled(*groups, scorer=SCORER, **options):
    """The groups that are kept, and the tally."""
    tally = PseudoTally()
    return list(pseudo_labelled(scorer, groups, model="m", tally=tally, **options)), tally


def chosen_texts(found):
    """(chosen, rejected) as rewards, for every preference."""
    return [
        (float(each.responses[p.chosen].split()[0]), float(each.responses[p.rejected].split()[0]))
        for each in found
        for p in each.preferences
    ]


# ------------------------------------------------------------------------------------- the label is applied


def test_chosen_is_what_the_scorer_prefers_wherever_it_stands():
    found, _ = labelled(group(3, 0), group(0, 3))
    assert [each.preferences for each in found] == [(Preference(0, 1),), (Preference(1, 0),)]
    assert chosen_texts(found) == [(3, 0), (3, 0)]


def test_preferences_of_the_data_do_not_enter_the_labels():
    for gold in ([], [(0, 1)], [(1, 0)], [(0, 1), (1, 0)]):
        found, _ = labelled(group(3, 0, preferences=gold))
        assert found[0].preferences == (Preference(0, 1),)


def test_no_other_label_of_the_data_is_passed_on():
    rich = group(3, 0, ranks=(2, 1), ratings={"a": (0.0, 1.0)}, outcomes=(False, True), source="file")
    (found,), _ = labelled(rich)
    assert found == Group(rich.prompt, rich.responses, (Preference(0, 1),), id="g", source="pseudo:m")


# -------------------------------------------------------------------------------------------- the threshold


def test_a_confidence_equal_to_the_threshold_is_kept_and_the_next_smaller_one_is_not():
    exact = 1.0 / (1.0 + math.exp(-LOG4))
    for threshold, kept in ((exact, 1), (math.nextafter(exact, 1.0), 0), (math.nextafter(exact, 0.0), 1)):
        for order in ((LOG4, 0), (0, LOG4)):
            found, tally = labelled(group(*order), threshold=threshold)
            assert len(found) == tally.kept == kept
            assert tally.below == 1 - kept


def test_the_default_threshold_is_four_fifths():
    found, tally = labelled(group(1.387, 0, id="a"), group(1.385, 0, id="b"))
    # σ(1.387) = 0.80011, σ(1.385) = 0.79979
    assert [each.id for each in found] == ["a"]
    assert (tally.kept, tally.below) == (1, 1)


def test_a_tie_is_never_kept_and_anything_else_is_at_one_half():
    found, tally = labelled(group(1, 1, id="tie"), group(1, 1.001, id="near"), threshold=0.5)
    assert [each.id for each in found] == ["near"]
    assert (tally.pairs, tally.kept, tally.below, tally.ties) == (2, 1, 0, 1)


def test_a_temperature_divides_the_lead():
    # a lead of log 4 at temperature 2 has the odds √4 = 2
    found, _ = labelled(group(LOG4, 0), threshold=0.6, soft=True, temperature=2.0)
    assert found[0].preferences[0].probability == pytest.approx(2 / 3)
    assert labelled(group(LOG4, 0), threshold=0.67, temperature=2.0)[0] == []


def test_soft_labels_carry_the_confidence_and_hard_ones_do_not():
    soft, _ = labelled(group(0, LOG4), threshold=0.7, soft=True)
    assert soft[0].preferences[0].probability == pytest.approx(0.8)
    hard, _ = labelled(group(0, LOG4), threshold=0.7)
    assert hard[0].preferences[0].probability is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"threshold": 0.49}, "threshold is 0.49; it must lie between 0.5 and 1"),
        ({"threshold": math.nan}, "threshold is nan"),
        ({"threshold": 1.01}, "threshold is 1.01"),
        ({"temperature": 0.0}, "temperature is 0.0; it must be a number above 0"),
        ({"temperature": math.inf}, "temperature is inf"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        labelled(group(1, 0), **options)


# ------------------------------------------------------------------------------------------ several responses


def test_all_pairs_of_a_group_are_looked_at_and_those_that_are_sure_are_kept():
    # leads: 3−0 and 3−1 are above log 4 = 1.386, 1−0 is not
    found, tally = labelled(group(1, 3, 0))
    assert chosen_texts(found) == [(3, 1), (3, 0)]
    assert (tally.pairs, tally.kept, tally.below, tally.responses_left_out) == (3, 2, 1, 0)


def test_best_against_worst_is_one_pair_and_leaves_the_others_out():
    found, tally = labelled(group(1, 3, 0, 2), pairs="best_vs_worst")
    assert found[0].responses == ("3 #1", "0 #2")
    assert found[0].preferences == (Preference(0, 1),)
    assert (tally.pairs, tally.kept, tally.responses_left_out) == (1, 1, 2)


def test_of_equal_best_and_worst_responses_the_first_is_taken():
    found, _ = labelled(group(3, 3, 0, 0), pairs="best_vs_worst")
    assert found[0].responses == ("3 #0", "0 #2")
    assert labelled(group(1, 1, 1), pairs="best_vs_worst", threshold=0.5)[1].ties == 1


def test_a_response_that_no_kept_pair_names_is_left_out_and_the_indices_follow():
    # kept: 9 > 0 only at 0.999 (lead 9); the response between them goes
    found, tally = labelled(group(0, 4, 9), threshold=0.9995)
    assert found[0].responses == ("0 #0", "9 #2")
    assert found[0].preferences == (Preference(1, 0),)
    assert tally.responses_left_out == 1


# ------------------------------------------------------------------------------------------------ the counts


def test_every_pair_is_counted_once():
    groups = [group(3, 0), group(0.1, 0), group(2, 2), group(1, None), group(5), group(3, None, 0)]
    for choice, pairs, unscored in (("all", 7, 3), ("best_vs_worst", 5, 1)):
        found, tally = labelled(*groups, pairs=choice)
        assert len(found) == tally.groups_kept == 2
        assert (tally.groups, tally.single_responses) == (6, 1)
        assert (tally.pairs, tally.kept, tally.below, tally.ties, tally.unscored) == (pairs, 2, 1, 1, unscored)
        assert tally.reasons == {"the function gave no finite number": 2}
        assert tally.largest_confidence == pytest.approx(1 / (1 + math.exp(-3)))


def test_a_group_without_any_reward_has_unscored_pairs_and_no_largest_confidence():
    for choice, pairs in (("all", 3), ("best_vs_worst", 1)):
        found, tally = labelled(group(None, None, None), pairs=choice)
        assert (found, tally.unscored, tally.pairs, tally.largest_confidence) == ([], pairs, pairs, None)


def test_the_accuracy_is_that_of_all_and_of_the_kept_labels_with_wilson_intervals():
    right = [group(3, 0, preferences=[(0, 1)], prompt=f"r{k}") for k in range(6)]
    wrong = [group(3, 0, preferences=[(1, 0)], prompt="w0")]
    wrong_below = [group(0.1, 0, preferences=[(1, 0)], prompt=f"b{k}") for k in range(3)]
    without = [group(3, 0), group(1, 1, preferences=[(0, 1)]), group(None, 1, preferences=[(0, 1)])]
    _, tally = labelled(*right, *wrong, *wrong_below, *without)
    every, kept = tally.accuracy(kept_only=False), tally.accuracy(kept_only=True)
    assert (every.value, every.n, every.method) == (0.6, 10, "wilson")
    # Wilson's interval of 6 of 10: (0.6 + 1.9208/10 ∓ 1.96 √(0.024 + 0.009604)) ÷ 1.38416
    assert (every.low, every.high) == (pytest.approx(0.3127, abs=2e-4), pytest.approx(0.8318, abs=2e-4))
    assert (kept.value, kept.n) == (pytest.approx(6 / 7), 7)


def test_pairs_of_one_prompt_are_not_counted_as_independent():
    several = [group(3, 2, 0, preferences=[(0, 1), (0, 2), (1, 2)], prompt=f"p{k}") for k in range(5)]
    _, tally = labelled(*several)
    found = tally.accuracy(kept_only=False)
    assert (found.n, found.method) == (15, "wilson over 5 prompts")


def test_a_gold_probability_below_one_half_turns_the_gold_preference_round_and_one_half_is_none():
    _, tally = labelled(group(3, 0, preferences=[(1, 0, None, 0.2)], prompt="a"))
    assert tally.accuracy(kept_only=False).value == 1.0
    _, tally = labelled(group(3, 0, preferences=[(1, 0, None, 0.5)]))
    assert tally.accuracy(kept_only=False) is None


def test_gold_preferences_that_contradict_each_other_are_counted_and_not_used():
    _, tally = labelled(group(3, 0, preferences=[(0, 1), (1, 0)]), group(3, 0, preferences=[(0, 1), (0, 1)]))
    assert tally.contradictory_gold == 1
    assert tally.accuracy(kept_only=False).n == 1


# ------------------------------------------------------------------------------------ the unit of the rewards


@pytest.mark.parametrize(
    ("scorer", "words"),
    [
        (Stating("ratings"), "gives rewards that are ratings"),
        (Stating("probabilities"), "gives rewards that are probabilities"),
        (Stating("win_rates"), "gives rewards that are win rates"),
        (Stating("order"), "of which only the order counts"),
        (Stating(None), "does not say what they are"),
        (FunctionScorer(reading), "does not say what they are"),
        (Stating("win_rates", "order"), "of which only the order counts"),
    ],
)
def test_rewards_that_are_no_log_odds_are_refused_unless_a_temperature_was_fitted_to_them(scorer, words, tmp_path):
    with pytest.raises(ConfigError, match=f"{words}, so no difference of them is a log-odds; give the temperature"):
        labelled(group(52, 50), scorer=scorer)
    with pytest.raises(ConfigError, match=words):
        write(tmp_path / "labels.jsonl", group(52, 50), scorer=scorer)
    assert list(tmp_path.iterdir()) == []
    # ratings of 100 whose differences a temperature of 5 fits: 2 ÷ 5 is a log-odds
    (found,), _ = labelled(group(52, 50), scorer=scorer, soft=True, threshold=0.5, temperature=5.0)
    assert found.preferences[0].probability == pytest.approx(1 / (1 + math.exp(-0.4)))


@pytest.mark.parametrize("scale", ["log_odds_values", "log_odds_differences", "assumed_log_odds_differences"])
def test_log_odds_of_every_kind_are_read_as_they_are_and_the_record_names_their_unit(scale, tmp_path):
    record = write(tmp_path / "labels.jsonl", group(3, 0), scorer=Stating(scale))
    assert (record.kept, record.temperature, record.unit) == (1, 1.0, scale)


def test_a_scorer_of_win_rates_labels_with_its_strengths(tmp_path):
    # win rates .999 and .001 differ by less than 1; the strengths by 2 log 999
    odds = math.log(999)
    scorer = Stating("win_rates", "log_odds_differences")
    (found,), tally = labelled(group(odds, -odds), scorer=scorer, soft=True)
    assert found.preferences[0].probability == pytest.approx(999**2 / (1 + 999**2))
    assert tally.kept == 1
    record = write(tmp_path / "labels.jsonl", group(odds, -odds), scorer=scorer)
    assert record.unit == "log_odds_differences"
    ensemble = EnsembleScorer([scorer, scorer])
    assert labelled(group(odds, -odds), scorer=ensemble)[1].largest_confidence > 0.999


def test_best_and_worst_of_a_scorer_of_win_rates_have_the_highest_and_lowest_strength():
    found, _ = labelled(group(0, 3, -3), scorer=Stating("win_rates", "log_odds_differences"), pairs="best_vs_worst")
    assert found[0].responses == ("3 #1", "-3 #2")


def test_groups_are_read_no_further_ahead_than_the_scorer_reads():
    read = []

    def many():
        for k in range(1000):
            read.append(k)
            yield group(3, 0, id=str(k))

    for scorer in (SCORER, Stating("win_rates", "log_odds_differences")):
        read.clear()
        stream = pseudo_labelled(scorer, many(), model="m", tally=PseudoTally())
        assert next(stream).id == "0"
        assert len(read) <= 2


# ----------------------------------------------------------------------------------------------- the files


def write(path, *groups, scorer=SCORER, **options):
    return write_pseudo_labels(path, scorer, groups, model="abc", data_fingerprint="f", **options)


def test_what_is_written_is_read_back_with_its_record(tmp_path):
    path = tmp_path / "deep" / "labels.jsonl"
    groups = [group(0, 3, id="a", preferences=[(0, 1)]), group(0, 0.1, id="b"), group(1, 1, id="c")]
    record = write(path, *groups, soft=True)
    (found,) = read_groups(path, format="groups", cache_dir=tmp_path / "cache")
    assert (found.id, found.source, found.preferences[0].chosen) == ("a", "pseudo:abc", 1)
    assert record_path(path) == tmp_path / "deep" / "labels.record.json"
    assert read_pseudo_labels(path) == record
    assert record.pairs == record.kept + record.below + record.ties + record.unscored == 3
    assert (record.model, record.data_fingerprint, record.threshold, record.soft) == ("abc", "f", 0.8, True)
    assert (record.accuracy.value, record.accuracy_kept.n) == (0.0, 1)


def test_a_labelling_that_fails_leaves_neither_file_nor_record(tmp_path):
    path = tmp_path / "labels.jsonl"
    write(path, group(3, 0))

    def broken(prompt, responses):
        raise ZeroDivisionError

    with pytest.raises(ModelError):
        write(path, group(3, 0), scorer=FunctionScorer(broken), temperature=1.0)
    # the older labels are whole, and without their record nobody takes them for those of the failed labelling
    assert read_pseudo_labels(path) is None
    assert list(tmp_path.iterdir()) == [path]


def test_a_record_that_is_not_one_is_an_error(tmp_path):
    path = tmp_path / "labels.jsonl"
    write(path, group(3, 0))
    record_path(path).write_text(json.dumps({"model": 3}))
    with pytest.raises(DataError, match="not a record of pseudo-labels"):
        read_pseudo_labels(path)


class Late:
    """A scorer that reads everything before it answers, and answers too much."""

    info = ScorerInfo(scale="log_odds_differences")

    def score_groups(self, groups):
        for each in [*groups, group(1, 2, id="more")]:
            yield GroupRewards(each.id, tuple(reading(each.prompt, each.responses)))


def test_more_rewards_than_groups_are_an_error():
    with pytest.raises(ModelError, match="more results than the 1 groups"):
        labelled(group(3, 0), scorer=Late())
