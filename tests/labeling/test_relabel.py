"""A gold scorer's rewards become the labels: every pair once, every kind of change counted, resumable."""

from __future__ import annotations

import gzip
import json
import math
import re
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plaudit.data.reading.options import ReadingOptions
from plaudit.data.reading.read import read_groups
from plaudit.data.reading.write import write_groups
from plaudit.data.schema.group import Group, Preference, Step, conversation
from plaudit.errors import ConfigError, DataError, ModelError, OutputError
from plaudit.labeling import relabel as relabelling
from plaudit.labeling.pseudo_label import record_path
from plaudit.labeling.relabel import (
    RelabelRecord,
    RelabelRule,
    RelabelTally,
    relabel_file,
    relabelled,
    relabelled_group,
)
from plaudit.models.checkpoint.files import save_reward_model
from plaudit.models.heads.language_model import COMPARISON
from plaudit.opening import load
from plaudit.scoring.files import read_rewards
from plaudit.scoring.function import FunctionScorer
from plaudit.scoring.scorer import GroupRewards, ScorerInfo

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")

LOG4 = math.log(4)
"""A lead of log 4 is a probability of 4 ÷ 5."""


def group(*rewards, preferences=(), id="g", prompt="hi", **fields):
    """A group whose responses say their own rewards."""
    return Group(
        conversation(prompt),
        tuple(f"{reward} #{k}" for k, reward in enumerate(rewards)),
        tuple(each if isinstance(each, Preference) else Preference(*each) for each in preferences),
        id=id,
        **fields,
    )


def reading(prompt, responses):
    """The rewards that the responses say; ``None`` is missing."""
    words = [response.split()[0] for response in responses]
    return [None if word == "None" else float(word) for word in words]


def run(*groups, scorer=None, **rule):
    tally = RelabelTally()
    scorer = scorer or FunctionScorer(reading)
    found = list(relabelled(scorer, groups, rule=RelabelRule(**rule), tally=tally))
    return found, tally.counts()


# --------------------------------------------------------------------------------------------- preferences


def test_chosen_is_the_response_of_the_higher_reward():
    found, counts = run(group(3, 1, preferences=[(0, 1)]), group(1, 3, preferences=[(0, 1)]))
    assert [each.preferences for each in found] == [(Preference(0, 1),), (Preference(1, 0),)]
    assert (counts.pairs, counts.agreed, counts.swapped) == (2, 1, 1)
    assert [each.ratings for each in found] == [{"gold": (3.0, 1.0)}, {"gold": (1.0, 3.0)}]


def test_soft_labels_are_the_probability_by_the_lead_and_the_temperature():
    found, _ = run(group(LOG4, 0, preferences=[(1, 0)]), labels="soft", temperature=1.0)
    assert found[0].preferences == (Preference(0, 1, probability=pytest.approx(0.8)),)
    found, _ = run(group(LOG4, 0, preferences=[(1, 0)]), labels="soft", temperature=2.0)
    # σ(log 2) = 2 ÷ 3
    assert found[0].preferences == (Preference(0, 1, probability=pytest.approx(2 / 3)),)
    found, _ = run(group(1e99, -1e99, preferences=[(1, 0)]), labels="soft", temperature=1.0)
    assert found[0].preferences == (Preference(0, 1, probability=1.0),)


def test_soft_labels_of_rewards_that_are_no_log_odds_need_the_temperature_that_fits_them(tmp_path, source, gold):
    with pytest.raises(ConfigError, match="so no difference of them is a log-odds; give the temperature"):
        run(group(52, 50, preferences=[(1, 0)]), labels="soft")
    with pytest.raises(ConfigError, match="give the temperature"):
        relabel_file(gold[0], source, tmp_path / "out.jsonl", rule=RelabelRule(labels="soft"))
    assert not list(tmp_path.glob("out*"))


def test_equal_rewards_make_no_hard_preference_and_a_soft_one_of_one_half():
    tied = group(2, 2, preferences=[(1, 0)])
    found, counts = run(tied)
    assert (found[0].preferences, counts.ties, counts.pairs) == ((), 1, 1)
    found, counts = run(tied, labels="soft", temperature=1.0)
    assert (found[0].preferences, counts.ties) == ((Preference(0, 1, probability=0.5),), 1)
    assert counts.agreement is None


def test_a_pair_without_a_reward_has_no_label_any_more_and_its_group_is_counted_by_reason():
    found, counts = run(group(3, None, 1, preferences=[(0, 1), (2, 0)]), group(1, 2, preferences=[(0, 1)], id="h"))
    assert [each.preferences for each in found] == [(Preference(0, 2),), (Preference(1, 0),)]
    assert found[0].ratings == {"gold": (3.0, None, 1.0)}
    assert (counts.unscored_pairs, counts.swapped, counts.pairs) == (1, 2, 3)
    assert (counts.groups, counts.scored) == (2, 1)
    assert counts.unscored == {"the function gave no finite number": 1}


def test_each_pair_is_labelled_once_however_often_the_data_name_it():
    twice = group(3, 1, preferences=[Preference(0, 1, margin=2.0), (0, 1), (1, 0)])
    found, counts = run(twice)
    assert found[0].preferences == (Preference(0, 1),)
    # the data say both: they decide nothing
    assert (counts.pairs, counts.repeated, counts.newly_decided, counts.margins_dropped) == (1, 2, 1, 1)


def test_a_soft_label_of_the_data_decides_for_its_likelier_side():
    found, counts = run(
        group(3, 1, preferences=[Preference(1, 0, probability=0.2)]),
        group(3, 1, preferences=[Preference(1, 0, probability=0.5)]),
    )
    assert [each.preferences for each in found] == [(Preference(0, 1),)] * 2
    assert (counts.agreed, counts.swapped, counts.newly_decided) == (1, 0, 1)


def test_all_pairs_of_a_group_can_be_labelled_those_of_the_data_first():
    found, counts = run(group(1, 3, 2, preferences=[(2, 1)]), pairs="all")
    assert found[0].preferences == (Preference(1, 2), Preference(1, 0), Preference(2, 0))
    assert (counts.pairs, counts.swapped, counts.newly_decided) == (3, 1, 2)
    found, counts = run(group(1, 3, 2), pairs="given")
    assert (found[0].preferences, counts.pairs) == ((), 0)


# -------------------------------------------------------------------------------------------- other labels


def test_ranks_follow_the_rewards_and_other_labels_stay():
    rich = group(
        2, 5, 5, None,
        ranks=(1, 2, 3, 4),
        ratings={"help": (1.0, None, 2.0, 3.0)},
        outcomes=(True, False, None, None),
        steps=((Step(1, 1.0),), None, None, None),
        source="s",
    )  # fmt: skip
    (found,), counts = run(rich)
    assert found.ranks == (3, 1, 1, None)
    assert found.ratings == {"help": (1.0, None, 2.0, 3.0), "gold": (2.0, 5.0, 5.0, None)}
    kept = (found.prompt, found.responses, found.outcomes, found.steps, found.id, found.source)
    assert kept == (rich.prompt, rich.responses, rich.outcomes, rich.steps, rich.id, rich.source)
    assert (counts.ranked, counts.ranks_changed) == (1, 1)


def test_ranks_that_say_the_same_in_other_numbers_have_not_changed():
    _, counts = run(group(9, 5, 5, ranks=(1, 4, 4)), group(9, 5, 4, ranks=(1, 2, 2)), group(9, 5))
    assert (counts.ranked, counts.ranks_changed) == (2, 1)


def test_the_labels_of_the_data_can_be_kept_as_ratings():
    (found,), _ = run(
        group(1, 2, 3, 4, preferences=[(0, 1), (0, 2), Preference(2, 1, probability=0.5)], ranks=(1, 3, 2, None)),
        keep_original=True,
    )
    # response 2 lost one preference and tied one; response 3 is in none
    assert found.ratings == {
        "original_wins": (1.0, 0.25, 0.25, None),
        "original_rank": (1.0, 3.0, 2.0, None),
        "gold": (1.0, 2.0, 3.0, 4.0),
    }
    (plain,), _ = run(group(1, 2), keep_original=True)
    assert plain.ratings == {"gold": (1.0, 2.0)}


def test_a_rating_of_the_same_name_is_never_written_over():
    rated = group(1, 2, ratings={"gold": (0.0, 0.0)}, id="g7")
    with pytest.raises(DataError, match="group 'g7' has a rating 'gold' already"):
        run(rated)
    (found,), _ = run(rated, attribute="armorm")
    assert set(found.ratings) == {"gold", "armorm"}


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"labels": "soft", "temperature": 0.0}, "temperature is 0.0"),
        ({"labels": "soft", "temperature": math.nan}, "temperature is nan"),
        ({"temperature": 2.0}, "hard labels have none"),
        ({"attribute": ""}, "give the rewards another name"),
        ({"attribute": "original_rank"}, "give the rewards another name"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(rule, words):
    with pytest.raises(ConfigError, match=words):
        RelabelRule(**rule)


# -------------------------------------------------------------------------------------------- as properties


@st.composite
def labelled_groups(draw):
    size = draw(st.integers(1, 5))
    pairs = [(i, j) for i in range(size) for j in range(size) if i != j]
    chosen = draw(st.lists(st.sampled_from(pairs), max_size=6)) if pairs else []
    probability = st.sampled_from([None, 0.0, 0.3, 0.5, 0.9])
    preferences = [Preference(i, j, probability=draw(probability)) for i, j in chosen]
    rewards = draw(st.lists(st.sampled_from([None, -1.5, 0.0, 0.25, 2.0]), min_size=size, max_size=size))
    return group(*range(size), preferences=preferences), rewards


@settings(max_examples=200, deadline=None)
@given(labelled_groups(), st.sampled_from(["given", "all"]), st.sampled_from(["hard", "soft"]))
def test_negated_rewards_turn_every_preference_and_the_counts_add_up(case, pairs, labels):
    given_group, rewards = case
    rule, tally, turned_tally = RelabelRule(labels, pairs=pairs), RelabelTally(), RelabelTally()
    made = relabelled_group(given_group, rewards, rule=rule, tally=tally)
    negated = [None if reward is None else -reward for reward in rewards]
    turned = relabelled_group(given_group, negated, rule=rule, tally=turned_tally)
    decided = [(p.chosen, p.rejected, p.probability) for p in made.preferences if p.probability != 0.5]
    assert [(p.rejected, p.chosen, p.probability) for p in turned.preferences if p.probability != 0.5] == decided
    assert (tally.agreed, tally.swapped) == (turned_tally.swapped, turned_tally.agreed)
    for chosen, rejected, probability in decided:
        assert rewards[chosen] > rewards[rejected]
        assert (probability is None) == (labels == "hard")
    counts = tally.counts()
    two_by_two = {frozenset((p.chosen, p.rejected)) for p in given_group.preferences}
    size = len(given_group.responses)
    assert counts.pairs == (len(two_by_two) if pairs == "given" else size * (size - 1) // 2)
    found = counts.agreed + counts.swapped + counts.newly_decided + counts.ties + counts.unscored_pairs
    assert found == counts.pairs
    assert len(made.preferences) == counts.pairs - counts.unscored_pairs - (counts.ties if labels == "hard" else 0)
    assert counts.repeated == len(given_group.preferences) - len(two_by_two)


@settings(max_examples=100, deadline=None)
@given(labelled_groups(), st.sampled_from(["given", "all"]))
def test_what_was_relabelled_agrees_with_the_same_rewards(case, pairs):
    given_group, rewards = case
    rule = RelabelRule(pairs=pairs)
    once = relabelled_group(given_group, rewards, rule=rule, tally=RelabelTally())
    tally = RelabelTally()
    again = relabelled_group(once, rewards, rule=RelabelRule(attribute="again"), tally=tally)
    assert again.preferences == once.preferences
    assert (tally.agreed, tally.swapped) == (len(once.preferences), 0)


def test_the_agreement_resamples_prompts_where_one_comes_twice():
    once = [group(2, 1, preferences=[(1, 0) if n % 4 == 0 else (0, 1)], prompt=f"q{n}", id=f"g{n}") for n in range(20)]
    _, counts = run(*once)
    assert (counts.agreement.value, counts.agreement.n, counts.agreement.method) == (0.75, 20, "wilson")
    _, counts = run(*once, *once)
    assert counts.agreement.value == 0.75
    assert "cluster" in counts.agreement.method


def test_a_scorer_that_answers_out_of_order_is_an_error():
    class Turned(FunctionScorer):
        def score_groups(self, groups):
            yield from reversed(list(super().score_groups(groups)))

    with pytest.raises(ModelError, match="in the order of its input"):
        run(group(1, 2, id="a"), group(1, 2, id="b"), scorer=Turned(reading))


# ----------------------------------------------------------------------------------------------------- files

GROUPS = 23


@pytest.fixture
def source(make_labelled_groups, tmp_path):
    path = tmp_path / "groups.jsonl"
    write_groups(path, make_labelled_groups(GROUPS))
    return str(path)


@pytest.fixture
def gold(tmp_path, monkeypatch):
    """Return the name of a function that counts its calls and can die, and the module it is in."""
    (tmp_path / "golden.py").write_text(
        "calls, die_after = [], None\n"
        "def reward(prompt, responses):\n"
        "    if len(calls) == die_after:\n"
        "        raise KeyboardInterrupt\n"
        "    calls.append(1)\n"
        "    return [None if '9' in prompt[-1].content else float(len(each)) for each in responses]\n"
    )
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "golden", raising=False)
    import golden

    return "golden:reward", golden


def test_a_file_is_relabelled_as_groups_in_memory_are_and_its_record_says_how(source, gold, tmp_path):
    name, module = gold
    out = tmp_path / "out.jsonl"
    rule = RelabelRule("soft", 2.0, "all", "length", True)
    record = relabel_file(name, source, out, rule=rule)
    tally = RelabelTally()
    expected = list(relabelled(FunctionScorer(module.reward), read_groups(source), rule=rule, tally=tally))
    assert list(read_groups(out)) == expected
    assert record.counts == tally.counts()
    assert sum(record.counts.unscored.values()) > 0
    assert RelabelRecord.model_validate_json(record_path(out).read_bytes()) == record
    settings_found = (record.labels, record.temperature, record.pairs, record.attribute, record.keep_original)
    assert settings_found == ("soft", 2.0, "all", "length", True)
    assert record.identity["data_fingerprint"] == read_groups(source).fingerprint
    assert sorted(path.name for path in tmp_path.glob("out*")) == ["out.jsonl", "out.record.json"]


def test_columns_of_other_names_are_relabelled(gold, tmp_path):
    rows, out = tmp_path / "own.jsonl", tmp_path / "out.jsonl"
    rows.write_text('{"question": "a", "good": "b", "bad": "ccc"}\n')
    columns = {"prompt": "question", "chosen": "good", "rejected": "bad"}
    relabel_file(gold[0], str(rows), out, rule=RelabelRule(), reading=ReadingOptions(columns=columns))
    (group,) = read_groups(out)
    assert [group.responses[each.chosen] for each in group.preferences] == ["ccc"]


@pytest.mark.parametrize(("died_after", "torn", "kept"), [(0, 0, 0), (3, 0, 3), (12, 0, 12), (12, 9, 11), (22, 0, 22)])
def test_a_killed_run_goes_on_and_writes_the_same_bytes(source, gold, tmp_path, died_after, torn, kept):
    name, module = gold
    relabel_file(name, source, tmp_path / "whole.jsonl", rule=RelabelRule())
    module.calls.clear()
    module.die_after = died_after
    out = tmp_path / "out.jsonl"
    with pytest.raises(KeyboardInterrupt):
        relabel_file(name, source, out, rule=RelabelRule())
    assert not out.exists()
    partial = tmp_path / "out.jsonl.partial"
    if torn:
        partial.write_bytes(partial.read_bytes()[:-torn])
    module.die_after = None
    module.calls.clear()
    seen = []
    record = relabel_file(
        name, source, out, rule=RelabelRule(), progress=lambda done, total: seen.append((done, total))
    )
    assert record.resumed == kept
    assert len(module.calls) == GROUPS - kept
    assert seen[-1] == (GROUPS, GROUPS)
    assert out.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert record.counts == RelabelRecord.model_validate_json(record_path(tmp_path / "whole.jsonl").read_bytes()).counts


class InWindows:
    """Gives rewards that depend on the place in a window of five groups, as batches move last digits; may die."""

    info = ScorerInfo(window=5)

    def __init__(self, stop=None):
        self.stop = stop

    def score_groups(self, groups):
        for place, group in enumerate(groups):
            if place == self.stop:
                raise KeyboardInterrupt
            yield GroupRewards(group.id, tuple(len(each) + place % 5 / 8 for each in group.responses))


@pytest.mark.parametrize(("stop", "kept"), [(4, 0), (5, 5), (13, 10), (22, 20)])
def test_a_scorer_of_windows_goes_on_at_the_end_of_one(source, tmp_path, monkeypatch, stop, kept):
    def relabel(out, scorer):
        monkeypatch.setattr(relabelling, "open_scorer", lambda *_, **__: scorer)
        return relabel_file("windows", source, out, rule=RelabelRule())

    relabel(tmp_path / "whole.jsonl", InWindows())
    with pytest.raises(KeyboardInterrupt):
        relabel(tmp_path / "out.jsonl", InWindows(stop))
    assert relabel(tmp_path / "out.jsonl", InWindows()).resumed == kept
    assert (tmp_path / "out.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_a_run_killed_while_it_writes_scores_nothing_again(source, gold, tmp_path, monkeypatch):
    name, module = gold
    out = tmp_path / "out.jsonl"

    def killed(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(relabelling, "write_groups", killed)
    with pytest.raises(KeyboardInterrupt):
        relabel_file(name, source, out, rule=RelabelRule())
    assert len(list(read_rewards(tmp_path / "out.jsonl.partial"))) == GROUPS
    monkeypatch.setattr(relabelling, "write_groups", write_groups)
    module.calls.clear()
    # the rewards do not depend on the rule: another one may follow
    assert relabel_file(name, source, out, rule=RelabelRule(labels="soft", temperature=1.0)).resumed == GROUPS
    assert module.calls == []


def interrupted(gold, source, out, **options):
    name, module = gold
    module.calls.clear()
    module.die_after = 7
    with pytest.raises(KeyboardInterrupt):
        relabel_file(name, source, out, rule=RelabelRule(), **options)
    module.die_after = None


def test_what_was_begun_with_another_model_input_or_shard_is_refused(source, gold, tmp_path, make_groups):
    out = tmp_path / "out.jsonl"
    interrupted(gold, source, out)
    name, module = gold
    module.other = module.reward
    write_groups(tmp_path / "others.jsonl", make_groups(GROUPS, seed=9))
    for model, data, options, words in [
        ("golden:other", source, {}, "model golden:reward there and golden:other here"),
        (name, str(tmp_path / "others.jsonl"), {}, "data .* there and .* here"),
        (name, source, {"max_tokens": 9}, "max_tokens nothing there and 9 here"),
    ]:
        with pytest.raises(ConfigError, match=f"was begun by another run: {words}; remove it to start again"):
            relabel_file(model, data, out, rule=RelabelRule(), **options)
    assert relabel_file(name, source, out, rule=RelabelRule()).resumed == 7


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b'{"id": "g1", "rewards": [1.0]}\n', r":2: these are not the rewards of group 'g0'"),
        (b"{}\n", r":2: not a line of rewards"),
        (b"garbage\n", r":2: not a line of rewards"),
    ],
)
def test_a_partial_file_that_was_tampered_with_is_an_error_that_names_the_line(source, gold, tmp_path, line, words):
    out = tmp_path / "out.jsonl"
    interrupted(gold, source, out)
    partial = tmp_path / "out.jsonl.partial"
    header, rest = partial.read_bytes().split(b"\n", 1)
    partial.write_bytes(header + b"\n" + line + rest)
    with pytest.raises(DataError, match=words):
        relabel_file(gold[0], source, out, rule=RelabelRule())


def test_rewards_under_another_id_are_not_taken_for_those_of_the_group(source, gold, tmp_path):
    out = tmp_path / "out.jsonl"
    interrupted(gold, source, out)
    partial = tmp_path / "out.jsonl.partial"
    partial.write_text(partial.read_text().replace('"id": "g3"', '"id": "g4"'))
    with pytest.raises(DataError, match=r":5: these are not the rewards of group 'g3'"):
        relabel_file(gold[0], source, out, rule=RelabelRule())


def test_shards_side_by_side_equal_the_whole(source, gold, tmp_path):
    relabel_file(gold[0], source, tmp_path / "whole.jsonl", rule=RelabelRule())
    parts = []
    for number in range(3):
        part = tmp_path / f"part{number}.jsonl"
        relabel_file(gold[0], source, part, rule=RelabelRule(), shard=(number, 3))
        parts.append(part.read_bytes())
    assert b"".join(parts) == (tmp_path / "whole.jsonl").read_bytes()


def test_nothing_is_scored_for_an_output_that_cannot_be(source, gold, tmp_path):
    name, module = gold
    (tmp_path / "there.jsonl").write_text("mine\n")
    for out, options, error, words in [
        ("there.jsonl", {}, ConfigError, "exists; add --overwrite"),
        ("out.json", {}, OutputError, r"written to \.jsonl or \.jsonl\.gz"),
        ("out.jsonl", {"shard": (2, 2)}, ConfigError, "numbered from 0"),
        ("out.jsonl", {"rule": RelabelRule(attribute="safe")}, DataError, "group 'g0' has a rating 'safe' already"),
    ]:
        with pytest.raises(error, match=words):
            relabel_file(name, source, tmp_path / out, **({"rule": RelabelRule()} | options))
    assert module.calls == []
    assert (tmp_path / "there.jsonl").read_text() == "mine\n"
    relabel_file(name, source, tmp_path / "there.jsonl", rule=RelabelRule(), overwrite=True)
    assert len(list(read_groups(tmp_path / "there.jsonl"))) == GROUPS


def test_rows_left_out_are_in_the_record_and_compressed_output_is_the_same(source, gold, tmp_path):
    rows = tmp_path / "groups.jsonl"
    rows.write_text(rows.read_text() + '{"id": "bad", "prompt": "p", "responses": [], "preferences": []}\n')
    with pytest.raises(DataError, match=":24: responses is empty"):
        relabel_file(gold[0], source, tmp_path / "out.jsonl", rule=RelabelRule())
    skipping = ReadingOptions(on_error="skip")
    record = relabel_file(gold[0], source, tmp_path / "out.jsonl", rule=RelabelRule(), reading=skipping)
    assert record.dropped_rows == {"malformed responses": 1}
    relabel_file(gold[0], source, tmp_path / "out.jsonl.gz", rule=RelabelRule(), reading=skipping, overwrite=True)
    assert gzip.decompress((tmp_path / "out.jsonl.gz").read_bytes()) == (tmp_path / "out.jsonl").read_bytes()


def test_a_reward_model_relabels_and_trained_again_does_not_go_on(source, tmp_path, make_decoder, monkeypatch):
    save_reward_model(make_decoder(max_length=256), tmp_path / "model")
    model, out = str(tmp_path / "model"), tmp_path / "out.jsonl"
    record = relabel_file(model, source, out, rule=RelabelRule(pairs="all"))
    scorer = load(tmp_path / "model")
    for group_found, rewards in zip(read_groups(out), scorer.score_groups(read_groups(source)), strict=True):
        assert group_found.ratings["gold"] == pytest.approx(rewards.rewards, abs=1e-6)
        for each in group_found.preferences:
            assert group_found.ratings["gold"][each.chosen] > group_found.ratings["gold"][each.rejected]
    assert record.identity["recipe_hash"] == scorer.info.recipe_hash
    monkeypatch.setattr(relabelling, "write_groups", lambda *arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        relabel_file(model, source, out, rule=RelabelRule(), overwrite=True)
    save_reward_model(make_decoder(max_length=256, seed=1), tmp_path / "model")
    out.unlink()
    with pytest.raises(ConfigError, match=r"weights_hash .* there and .* here"):
        relabel_file(model, source, out, rule=RelabelRule())


def test_a_model_that_compares_gives_soft_labels_of_its_own_probability(tmp_path, make_decoder, make_groups):
    save_reward_model(make_decoder(head=COMPARISON, init_std=0.2, max_length=256), tmp_path / "model")
    write_groups(tmp_path / "pairs.jsonl", make_groups(6, responses=(2, 2)))
    out = tmp_path / "out.jsonl"
    relabel_file(str(tmp_path / "model"), str(tmp_path / "pairs.jsonl"), out, rule=RelabelRule(labels="soft"))
    scorer = load(tmp_path / "model")
    for each in read_groups(out):
        (preference,) = each.preferences
        first, second = each.responses[preference.chosen], each.responses[preference.rejected]
        assert preference.probability == pytest.approx(scorer.probability(each.prompt, first, second), abs=1e-5)
        assert preference.probability >= 0.5


def test_every_line_of_the_partial_file_is_of_rewards_with_its_reason(source, gold, tmp_path):
    interrupted(gold, source, tmp_path / "out.jsonl")
    header, *lines = [json.loads(line) for line in (tmp_path / "out.jsonl.partial").read_text().splitlines()]
    assert [line["id"] for line in lines] == [f"g{n}" for n in range(7)]
    assert header["identity"]["model"] == "golden:reward"
    assert [each.id for each in read_rewards(tmp_path / "out.jsonl.partial")] == [line["id"] for line in lines]


def test_the_page_about_it_runs(tmp_path, monkeypatch, make_groups, capsys):
    page = (Path(__file__).resolve().parents[2] / "docs" / "how_to" / "relabel.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    for name, seed, groups in (("gold", 0, 40), ("on_policy", 0, 40), ("gold_test", 1, 5)):
        write_groups(f"{name}.jsonl", make_groups(groups, seed=seed))
    exec(compile(example, "relabel.md", "exec"), {})
    assert "left_out=0" in capsys.readouterr().out
    mixed = list(read_groups("reward_model.jsonl"))
    assert len(mixed) + len(read_groups("policy_prompts.jsonl")) == 40
    sources = [each.source for each in mixed]
    assert sources.count("on_policy") == round(0.75 * len(mixed))
