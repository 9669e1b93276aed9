"""Counterfactual groups have the pairs they should have, of the texts they should have, and nothing else."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plaudit.config import Config, load_config
from plaudit.data.mixing.augment import augmented, write_augmented
from plaudit.data.mixing.config import Augmentation, Counterfactual, Restyle, Shuffle, Truncation
from plaudit.data.mixing.counterfactual import NO_PARTNER, NO_TRIPLE, NOTHING_BORROWED
from plaudit.data.mixing.edits import decided_pairs
from plaudit.data.mixing.report import AugmentReport, AugmentTally
from plaudit.data.reading.read import read_groups
from plaudit.data.reading.write import write_groups
from plaudit.data.schema.group import Group, Preference, conversation
from plaudit.data.schema.group_set import GroupSet
from plaudit.errors import ConfigError

FIRST = (Preference(0, 1),)


def pair(number, prompt=None, *, preferences=FIRST, **fields):
    """A pair whose texts say where they come from: ``w3`` is the chosen response of group 3, ``l3`` the rejected."""
    return Group(
        conversation(prompt or f"question {number}"),
        (f"w{number}", f"l{number}"),
        preferences,
        id=f"g{number}",
        **fields,
    )


def made_by(groups, rule=None, *, seed=0):
    """(the groups that came through, those that were added, the report)."""
    tally = AugmentTally()
    given = groups if isinstance(groups, GroupSet) else GroupSet.from_groups(groups)
    found = list(augmented(given, rule or Counterfactual(), seed=seed, tally=tally))
    report = tally.report(rule or Counterfactual())
    assert len(found) == report.groups_out
    given_ids = {group.id for group in given}
    return [g for g in found if g.id in given_ids], [g for g in found if g.id not in given_ids], report


def texts(group, probability):
    """(chosen, rejected) texts of the preferences of one probability."""
    return [
        (group.responses[each.chosen], group.responses[each.rejected])
        for each in group.preferences
        if each.probability == probability
    ]


# ------------------------------------------------------------------------------------------- counterfactual


def test_two_partners_give_the_fourteen_pairs_of_the_paper():
    # Three groups: the two partners of g0 are g1 and g2, in whatever order, unless one is drawn twice.
    for seed in range(20):
        _, added, _ = made_by([pair(0), pair(1), pair(2)], seed=seed)
        first = next(each for each in added if each.id == "g0#counterfactual")
        if len(first.responses) == 6:
            break
    others = ["w1", "l1", "w2", "l2"]
    assert sorted(texts(first, None)) == sorted((own, other) for own in ("w0", "l0") for other in others)
    assert {frozenset(each) for each in texts(first, 0.5)} == {
        frozenset(each) for each in [("w1", "l1"), ("w1", "w2"), ("w1", "l2"), ("l1", "w2"), ("l1", "l2"), ("w2", "l2")]
    }
    assert len(first.preferences) == 8 + 6
    assert first.prompt == conversation("question 0")
    assert first.source == "counterfactual:"


def test_own_chosen_leaves_the_rejected_response_out_and_ties_can_be_left_out():
    _, added, report = made_by([pair(0), pair(1)], Counterfactual(own="chosen", ties=False, partners=1))
    assert [sorted(texts(each, None)) for each in added] == [[("w0", "l1"), ("w0", "w1")], [("w1", "l0"), ("w1", "w0")]]
    assert [sorted(each.responses) for each in added] == [["l1", "w0", "w1"], ["l0", "w0", "w1"]]
    assert report.preferences_made == {"contextual": 4, "tie": 0}


def test_original_groups_pass_through_untouched_and_in_order(make_labelled_groups):
    given = make_labelled_groups(40)
    kept, added, report = made_by(given)
    assert kept == given
    assert (report.groups_in, report.groups_added, report.augmented) == (40, 40, 40)
    assert [each.id for each in added] == [f"{group.id}#counterfactual" for group in given]


def test_a_group_of_many_preferences_gives_one_triple_of_them():
    many = Group(conversation("q"), ("a", "b", "c"), (Preference(0, 1), Preference(2, 0, probability=0.1)), id="many")
    assert decided_pairs(many) == [(0, 1), (0, 2)]
    owns = set()
    for seed in range(20):
        _, added, _ = made_by([many, pair(1)], Counterfactual(partners=1), seed=seed)
        owns.add(frozenset(own for own, _ in texts(added[0], None)))
    assert owns == {frozenset("ab"), frozenset("ac")}


def test_a_group_that_decides_nothing_is_neither_augmented_nor_borrowed_from():
    undecided = [
        pair(1, preferences=()),
        pair(2, preferences=(Preference(0, 1, probability=0.5),)),
        pair(3, preferences=(Preference(0, 1), Preference(1, 0))),
        Group(conversation("question 4"), ("same", " same\n"), (Preference(0, 1),), id="g4"),
    ]
    kept, added, report = made_by([pair(0), *undecided, pair(5)])
    assert len(kept) == 6
    assert report.left_alone == {NO_TRIPLE: 4}
    assert [each.id for each in added] == ["g0#counterfactual", "g5#counterfactual"]
    assert {text for each in added for text in each.responses} == {"w0", "l0", "w5", "l5"}


def test_a_partner_never_has_the_same_prompt():
    same = [pair(n, prompt="again and again") for n in range(4)]
    _, added, report = made_by(same)
    assert added == []
    assert report.left_alone == {NO_PARTNER: 4}
    # three of one prompt and two others: more than half of the groups share a prompt, some find no partner
    _, added, report = made_by([*same[:3], pair(7), pair(8)], Counterfactual(partners=1))
    for each in added:
        own = {"w0", "l0", "w1", "l1", "w2", "l2"} if each.prompt == same[0].prompt else {"w7", "l7", "w8", "l8"}
        foreign = set(each.responses) - own
        assert foreign or each.prompt != same[0].prompt
    assert len(added) + report.left_alone.get(NO_PARTNER, 0) == 5


def test_a_borrowed_text_that_equals_one_of_the_group_is_left_out_and_counted():
    refusal = "I cannot help with that."
    groups = [
        Group(conversation(f"q{n}"), (refusal, f"bad {n}"), (Preference(0, 1),), id=f"g{n}", source="s")
        for n in range(2)
    ]
    _, added, report = made_by(groups, Counterfactual(partners=2))
    # both partners of either group are the other one: of four borrowed texts one is new
    assert [sorted(texts(each, None)) for each in added] == [
        sorted([(refusal, "bad 1"), ("bad 0", "bad 1")]),
        sorted([(refusal, "bad 0"), ("bad 1", "bad 0")]),
    ]
    assert report.responses_left_out == {"equal to a response of the group": 4, "borrowed already": 2}
    assert report.preferences_made == {"contextual": 4, "tie": 0}
    twins = [dataclasses.replace(groups[0], prompt=conversation(f"other {n}"), id=f"t{n}") for n in range(2)]
    _, added, report = made_by(twins)
    assert added == []
    assert report.left_alone == {NOTHING_BORROWED: 2}


def test_partners_can_be_kept_within_a_source():
    groups = [pair(n, source="ab"[n % 2]) for n in range(40)]
    _, added, _ = made_by(groups, Counterfactual(partners_from="same_source", partners=3))
    assert len(added) == 40
    for each in added:
        assert len({int(text[1:]) % 2 for text in each.responses}) == 1
    _, mixed, _ = made_by(groups, Counterfactual(partners=3))
    assert any(len({int(text[1:]) % 2 for text in each.responses}) == 2 for each in mixed)


def test_white_space_at_the_ends_does_not_travel_with_a_response():
    groups = [
        Group(conversation(f"q{n}"), (f" w{n}\n", f"l{n} \n\n"), (Preference(0, 1),), id=f"g{n}") for n in range(5)
    ]
    kept, added, _ = made_by(groups)
    assert kept == groups
    assert all(text == text.strip() for each in added for text in each.responses)


groups_of_few_prompts = st.lists(st.integers(0, 6), min_size=1, max_size=40).map(
    lambda prompts: [pair(n, prompt=f"question {prompt}") for n, prompt in enumerate(prompts)]
)


@settings(max_examples=60, deadline=None)
@given(groups_of_few_prompts, st.integers(1, 4), st.sampled_from(["both", "chosen"]), st.integers(-(2**70), 2**70))
def test_whatever_the_data_pairs_are_of_two_texts_once_and_own_beats_foreign(groups, partners, own, seed):
    prompt_of = {text: group.prompt for group in groups for text in group.responses}
    kept, added, report = made_by(groups, Counterfactual(partners=partners, own=own), seed=seed)
    assert kept == groups
    made = Counter()
    for each in added:
        assert len(set(each.responses)) == len(each.responses)
        pairs = [frozenset((p.chosen, p.rejected)) for p in each.preferences]
        assert len(set(pairs)) == len(pairs)
        assert all(len(two) == 2 for two in pairs)
        for chosen, rejected in texts(each, None):
            assert prompt_of[chosen] == each.prompt != prompt_of[rejected]
        for first, second in texts(each, 0.5):
            assert each.prompt not in (prompt_of[first], prompt_of[second])
        mine = [text for text in each.responses if prompt_of[text] == each.prompt]
        borrowed = len(each.responses) - len(mine)
        assert len(mine) == (2 if own == "both" else 1)
        assert len(texts(each, None)) == len(mine) * borrowed
        assert len(texts(each, 0.5)) == borrowed * (borrowed - 1) // 2
        made.update({"contextual": len(texts(each, None)), "tie": len(texts(each, 0.5))})
    assert made == Counter(report.preferences_made)


@settings(max_examples=40, deadline=None)
@given(groups_of_few_prompts, st.integers(0, 5))
def test_where_no_prompt_has_half_of_the_groups_each_is_a_partner_equally_often(groups, seed):
    most = max(Counter(group.prompt for group in groups).values())
    _, added, report = made_by(groups, Counterfactual(partners=1), seed=seed)
    used = Counter(text for each in added for text in each.responses)
    if 2 * most <= len(groups):
        # once in its own group and once in that of which it is the partner
        assert set(used.values()) == {2}
        assert len(used) == 2 * len(groups)
        assert report.left_alone == {}
    else:
        assert max(used.values(), default=2) <= 2


@settings(max_examples=30, deadline=None)
@given(groups_of_few_prompts, st.randoms(use_true_random=False), st.integers(0, 5))
def test_the_draws_depend_on_the_groups_and_the_seed_and_not_on_the_order(groups, draws, seed):
    turned = list(groups)
    draws.shuffle(turned)
    first, second = (made_by(each, seed=seed)[1] for each in (groups, turned))
    assert {each.id: each for each in first} == {each.id: each for each in second}


def test_another_seed_draws_other_partners():
    groups = [pair(n) for n in range(30)]
    assert made_by(groups, seed=0)[1] == made_by(groups, seed=0)[1]
    assert made_by(groups, seed=0)[1] != made_by(groups, seed=1)[1]


def test_a_selection_is_augmented_from_itself_alone():
    groups = GroupSet.from_groups([pair(n, source="ab"[n % 2]) for n in range(30)]).select([4, 2, 9, 17, 6])
    for rule in (Counterfactual(), Counterfactual(partners_from="same_source")):
        _, added, _ = made_by(groups, rule)
        assert {int(text[1:]) for each in added for text in each.responses} <= {4, 2, 9, 17, 6}
        assert len(added) == 5
    assert all(len({int(text[1:]) % 2 for text in each.responses}) == 1 for each in added)


# ------------------------------------------------------------------------------------------- rules in a row


def test_rules_are_applied_one_after_the_other_and_the_record_adds_up(tmp_path):
    long = " ".join(["word"] * 40)
    groups = GroupSet.from_groups(
        [
            Group(
                conversation(f"q{n}"), (f"**w{n}** {long}", f"l{n} {long}"), (Preference(0, 1),), id=f"g{n}", source="s"
            )
            for n in range(20)
        ]
    )
    rules = [Counterfactual(), Restyle(), Shuffle(), Truncation(share=1.0)]
    record = write_augmented(tmp_path / "out.jsonl", groups, rules, seed=3)
    read = list(read_groups(tmp_path / "out.jsonl", cache_dir=tmp_path / "cache"))
    assert len(read) == record.groups_out
    assert [report.groups_in for report in record.rules] == [20, 40, 80, 80]
    assert record.rules[3].groups_out == record.groups_out
    assert [report.rule.type for report in record.rules] == ["counterfactual", "style", "shuffle", "truncation"]
    assert record.data_fingerprint == groups.fingerprint
    found = (tmp_path / "out.record.json").read_text()
    assert type(record).model_validate_json(found) == record
    again = write_augmented(tmp_path / "again.jsonl", groups, rules, seed=3)
    assert (tmp_path / "again.jsonl").read_bytes() == (tmp_path / "out.jsonl").read_bytes()
    assert again.rules == record.rules


@pytest.mark.parametrize("rules", [[], [Shuffle(), Shuffle()]])
def test_no_rule_and_a_rule_that_comes_twice_are_refused(tmp_path, rules):
    with pytest.raises(ConfigError, match="each kind once"):
        write_augmented(tmp_path / "out.jsonl", GroupSet.from_groups([pair(0)]), rules, seed=0)
    assert list(tmp_path.iterdir()) == []


class Rules(Config):
    """A config that holds rules."""

    rules: tuple[Augmentation, ...]
    """The rules."""


def test_rules_are_read_from_yaml_by_their_type(tmp_path):
    path = tmp_path / "rules.yaml"
    path.write_text("rules:\n  - {type: counterfactual, own: chosen}\n  - {type: truncation, keep: [0.2, 0.5]}\n")
    assert load_config(Rules, path).rules == (Counterfactual(own="chosen"), Truncation(keep=(0.2, 0.5)))
    for text, words in [
        ("{type: truncation, keep: [0.5, 0.2]}", "it must ascend"),
        ("{type: style, transforms: [bold, bold]}", "comes twice"),
        ("{type: counterfactual, partners: 0}", "partners"),
        ("{type: counterfactuals}", "counterfactual"),
    ]:
        path.write_text(f"rules: [{text}]\n")
        with pytest.raises(ConfigError, match=words):
            load_config(Rules, path)


def test_the_page_about_it_runs(tmp_path, monkeypatch, make_groups, capsys):
    page = (Path(__file__).resolve().parents[2] / "docs" / "how_to" / "augment.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    (listed,) = re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    write_groups("pairs.jsonl", make_groups(20))
    exec(compile(example, "augment.md", "exec"), {})
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()] == [
        ["counterfactual", "20"],
        ["truncation", "40"],
        ["shuffle", str(len(read_groups("more.jsonl")))],
    ]
    Path("rules.yaml").write_text("rules:\n" + listed)
    rules = load_config(Rules, Path("rules.yaml")).rules
    assert [rule.type for rule in rules] == ["counterfactual", "style", "truncation", "shuffle"]
    assert rules[0] == Counterfactual()
    assert rules[2] == Truncation()


def test_a_report_that_does_not_add_up_is_refused():
    sound = {"rule": Shuffle(), "groups_in": 3, "groups_out": 4, "groups_added": 1, "augmented": 2}
    AugmentReport(**sound, left_alone={"one response": 1})
    with pytest.raises(ValueError, match="do not add up"):
        AugmentReport(**sound)
    with pytest.raises(ValueError, match="do not add up"):
        AugmentReport(**(sound | {"groups_out": 3}), left_alone={"one response": 1})
