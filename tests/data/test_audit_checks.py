"""Each check of an audit against counts made by hand."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from plaudit.data.audit.findings import AuditReport, by_gap, by_share
from plaudit.data.audit.length import Cut, common_start, cut_lengths, identical_after_cut, length_histogram
from plaudit.data.audit.noise import bag_of_words_margins, logistic_weights
from plaudit.data.audit.run import audit_groups
from plaudit.data.audit.table import FORMAT, STYLE, AuditTable
from plaudit.data.schema.group import Group, Message, Preference
from plaudit.data.schema.group_set import GroupSet
from plaudit.errors import ConfigError, DataError
from plaudit.statistics.intervals import wilson_interval


def pair(prompt, chosen, rejected, number=0, source="", **label):
    return Group(
        (Message("user", prompt),), (chosen, rejected), (Preference(0, 1, **label),), id=str(number), source=source
    )


def set_of(*pairs):
    return GroupSet.from_groups(pair(*each, number=number) for number, each in enumerate(pairs))


def flagged(patterns, text):
    groups = set_of(("q", text, "w"))
    table = AuditTable.of(groups)
    row = (table.responses.style if patterns is STYLE else table.responses.format)[0]
    return {name for name, is_there in zip(patterns, row.tolist(), strict=True) if is_there}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain words", set()),
        ("a **bold** word", {"bold text"}),
        ("a ** b ** c * d", {"bold text"}),
        ("# Title\ntext", {"heading", "several lines"}),
        ("text #1", {"digit"}),
        ("so:\n- one\n- two", {"list", "several lines"}),
        ("1. first", {"list", "digit"}),
        ("it is - well - so", set()),
        ("```py\nx\n```", {"code block", "several lines"}),
        ("use `x` here", {"inline code"}),
        ("| a | b |\n| c | d |", {"table", "several lines"}),
        ("see https://a.b", {"link"}),
        ("fine 😀", {"emoji"}),
        ("I'm sorry, but I can't help", {"refusal", "politeness"}),
        ("As an AI it is so", {"refusal"}),
        ("I can help, thanks!", {"politeness", "exclamation mark"}),
        ("Perhaps so?", {"hedging", "question"}),
    ],
)
def test_marks_of_style_are_what_they_say(text, expected):
    assert flagged(STYLE, text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Fine words.", set()),
        (" Fine words.", {"leading whitespace"}),
        ("Fine words. ", {"trailing space"}),
        ("Fine words.\n", {"trailing line break"}),
        ("Assistant: fine.", {"opens with a turn marker"}),
        ("Response A: Fine.", {"opens with a turn marker"}),
        ("Assistants are fine.", set()),
        ("Fine.\n\nHuman: more?", {"holds a turn marker"}),
        ("Fine.<|im_end|>", {"special token"}),
        ("[INST] Fine. [/INST] Fine.", {"special token"}),
        ('"Fine words."', {"in quote marks"}),
        ('"Fine" words.', set()),
        ("Fine words", {"ends without a mark"}),
        ("fine words.", {"opens in lower case"}),
        ("Fine\u200b words.", {"invisible character"}),
        ("Fine\u00a0words.", {"no-break space"}),
        ("Fine\r\nwords.", {"carriage return"}),
        ("Fine\twords.", {"tab"}),
        ("Fine  words.", {"double space"}),
        ("The chosen response is fine.", {"names the verdict"}),
    ],
)
def test_marks_of_format_are_what_they_say(text, expected):
    assert flagged(FORMAT, text) == expected


def test_the_table_turns_improbable_labels_and_leaves_out_ties():
    groups = GroupSet.from_groups(
        [
            pair("q", "aa", "b", 0, "x", probability=0.2),
            pair("q", "aa", "b", 1, "y", probability=0.5),
            Group(
                (Message("user", "long"), Message("assistant", "ab"), Message("user", "c")),
                ("one", "two2", "three"),
                (Preference(2, 0), Preference(1, 2)),
                id="2",
                source="x",
            ),
            Group((Message("user", "z"),), ("alone",), id="3"),
        ]
    )
    table = AuditTable.of(groups)
    assert table.ties == 1
    assert table.pairs.group.tolist() == [0, 2, 2]
    assert table.pairs.chosen.tolist() == [1, 6, 5]
    assert table.pairs.rejected.tolist() == [0, 4, 6]
    assert table.responses.group.tolist() == [0, 0, 1, 1, 2, 2, 2, 3]
    assert table.responses.characters.tolist() == [2, 1, 2, 1, 3, 4, 5, 5]
    # The turns long, ab and c with a line break between them.
    assert table.prompt_characters.tolist() == [1, 1, 9, 1]
    assert table.prompts.tolist() == [0, 0, 1, 2]
    assert (table.sources, table.source.tolist()) == (("x", "y", ""), [0, 1, 0, 2])


def test_longer_wins_counts_ties_as_one_half():
    report = audit_groups(set_of(("p", "aaa", "b"), ("q", "aa", "bb"), ("r", "a", "bbb"), ("s", "aaaa", "b")))
    found = report.find("length", "longer response wins")
    assert found.rate == wilson_interval(2.5, 4)
    assert found.figures["ties"].value == 0.25
    # Differences 2, 0, −2, 3 against −2, 0, 2, −3: of 16 comparisons 3 and 4 and 1 and 4 are won, with ties ½:
    # 2 > −2, 0, −3 and ties with 2: 3.5; 0 > −2, −3 and ties with 0: 2.5; −2 > −3 and ties with −2: 1.5; 3: 4.
    assert found.figures["auc"].value == pytest.approx((3.5 + 2.5 + 1.5 + 4) / 16)
    assert found.p_value == 1.0


def test_rates_are_given_by_source_where_there_are_several():
    groups = [pair(f"q{n}", "aa" if n % 3 else "a", "b", n, "even" if n % 2 == 0 else "odd") for n in range(12)]
    found = audit_groups(GroupSet.from_groups(groups)).find("length", "longer response wins")
    # Of the even numbers 0 to 10, 0 and 6 are ties; of the odd ones, 3 and 9.
    assert {name: (each.value, each.n) for name, each in found.by_source.items()} == {
        "even": (5 / 6, 6),
        "odd": (5 / 6, 6),
    }


def test_of_very_many_sources_the_largest_are_named_and_the_others_counted():
    groups = [pair(f"q{n}", "a", "b", n, f"s{n % 40 if n < 80 else 0}") for n in range(90)]
    report = audit_groups(GroupSet.from_groups(groups))
    assert len(report.sources) == 31
    assert next(iter(report.sources.items())) == ("s0", 12)
    assert report.sources["(10 smaller sources)"] == 20
    assert len(report.find("length", "longer response wins").by_source) == 30


def test_sides_that_differ_in_case_and_marks_only_are_told():
    report = audit_groups(set_of(("p", "Yes.", "yes"), ("q", "yes", "no")))
    found = report.find("repeats", "sides equal after normalisation")
    assert (found.count, found.rate.n, [each.row for each in found.examples]) == (1, 2, [0])
    # One text cannot contradict itself.
    both = audit_groups(set_of(("p", "Yes.", "yes"), ("p", "yes", "YES!")))
    assert both.find("repeats", "contradictory pairs").count == 0


def test_responses_without_a_letter_or_digit_are_told():
    found = audit_groups(set_of(("p", "...", "7"), ("q", "é", "-- !"))).find("reading", "responses without content")
    assert (found.count, found.rate.n, [each.row for each in found.examples]) == (2, 4, [0, 1])


def test_groups_without_preferences_are_judged_for_what_they_have():
    groups = GroupSet.from_groups(Group((Message("user", "q"),), ("a", "b"), id=str(n)) for n in range(3))
    report = audit_groups(groups)
    assert (report.pairs, report.find("repeats", "repeated groups").count) == (0, 2)
    assert report.not_judged["length, style, format, labels"] == "no group has a preference with a winner"
    assert audit_groups(GroupSet.from_groups([])).groups == 0


def test_what_was_not_judged_is_said():
    assert set(audit_groups(set_of(("p", "a", "b"))).not_judged) == {
        "toxicity",
        "wrong labels, from repeated pairs",
        "wrong labels, from a judge of words",
        "truncation",
        "leakage between splits",
        "contamination",
    }


@given(st.text("ab", max_size=9), st.text("ab", max_size=9))
def test_the_common_start_is_that_of_a_letter_by_letter_search(first, second):
    expected = 0
    while expected < min(len(first), len(second)) and first[expected] == second[expected]:
        expected += 1
    assert common_start(first, second) == expected


def test_pairs_are_identical_after_truncation_where_they_differ_only_beyond_it():
    # Prompt of 4 characters; the sides differ from the 6th, at once, and at the end of the shorter one.
    table = AuditTable.of(set_of(("1234", "sameXx", "sameY"), ("abcd", "X", "Y"), ("efgh", "same", "same and more")))
    cuts = {}
    for limit in (4, 5, 8, 9, 30):
        cut = Cut(limit)
        cuts[limit] = identical_after_cut(table, cut_lengths(table, cut), cut).count
    # Of 4 characters nothing of a response is left; of 5 the first pair is "s", the second differs, the third is "s";
    # of 8 "same" and "same", and the third ends there; of 9 X or Y is seen, and " " after "same".
    assert cuts == {4: 3, 5: 2, 8: 2, 9: 0, 30: 0}


def test_a_tokenizer_counts_tokens_and_is_asked_in_batches():
    calls = []

    def tokenize(texts):
        calls.append(len(texts))
        return [[ord(word[0]) for word in text.split()] for text in texts]

    groups = set_of(("one two", "a b c", "a b d"), ("one", "x", "y z"))
    cut = Cut(4, tokenize, "words")
    report = audit_groups(groups, cut=cut)
    found = report.find("truncation", "identical after truncation")
    assert (found.count, found.figures["longer than the limit"].value) == (1, 0.5)
    assert "tokens of words" in found.summary
    histogram = report.histograms["tokens of words"]
    assert sum(row["prompt"] for row in histogram) == 2
    assert sum(row["chosen"] for row in histogram) == 2
    assert calls == [4, 2]


def test_a_tokenizer_that_loses_a_text_is_an_error():
    cut = Cut(4, lambda texts: [[1]] * (len(texts) - 1), "lossy")
    with pytest.raises(DataError, match="the tokenizer gave 1 lists of tokens for 2 texts"):
        audit_groups(set_of(("p", "a", "b")), cut=cut)
    with pytest.raises(ConfigError, match="max_length is 0"):
        Cut(0)


def test_a_histogram_keeps_every_length_and_puts_the_longest_in_the_last_bin():
    lengths = np.arange(1, 1001)
    rows = length_histogram(lengths, lengths, np.full(1000, 500))
    for side in ("prompt", "chosen", "rejected"):
        assert sum(row[side] for row in rows) == 1000
    # The 99 % point of 3000 lengths lies among the largest 30, which are 15 of prompts and 15 of chosen ones.
    assert (rows[-1]["prompt"], rows[-1]["high"]) == (15, 1000)


def test_the_judge_of_words_stands_where_its_gradient_is_zero():
    # Rows of 1 alone: the mean loss log(1 + e^−w) + ½ 0.001 w² has its minimum where σ(−w) = 0.001 w.
    (weight,) = logistic_weights(sparse.csr_array(np.ones((7, 1))))
    assert 1 / (1 + np.exp(weight)) == pytest.approx(0.001 * weight, rel=1e-2)
    # As often 1 as −1: nothing to learn.
    assert logistic_weights(sparse.csr_array(np.array([[1.0], [-1.0]]))) == pytest.approx([0.0], abs=1e-6)


def test_the_judge_learns_a_word_that_tells_and_judges_prompts_that_it_has_not_seen():
    groups = [pair(f"q{n}", f"good w{n % 9}", f"bad w{n % 7}", n) for n in range(200)]
    # In every tenth pair the label is the other way round.
    groups = [
        dataclasses.replace(group, preferences=(Preference(1, 0),)) if n % 10 == 0 else group
        for n, group in enumerate(groups)
    ]
    judged = bag_of_words_margins(AuditTable.of(GroupSet.from_groups(groups)), seed=0)
    assert judged.pairs.tolist() == list(range(200))
    assert ((judged.margins < 0) == (np.arange(200) % 10 == 0)).all()
    # One prompt is one fold: nothing is left to learn from, and nothing is said.
    alone = [dataclasses.replace(group, prompt=groups[0].prompt) for group in groups]
    assert (bag_of_words_margins(AuditTable.of(GroupSet.from_groups(alone)), seed=0).margins == 0).all()


def test_severities_follow_their_rules():
    surely, hardly = wilson_interval(50, 1000), wilson_interval(12, 1000)
    assert by_share(50, surely, alarm=0.01) == "alarm"
    assert by_share(12, hardly, alarm=0.01) == "notice"
    assert by_share(0, wilson_interval(0, 1000), alarm=0.0) == "ok"
    assert by_share(1, wilson_interval(1, 1000), alarm=0.0) == "alarm"
    assert [by_gap(p, gap, alarm=0.1) for p, gap in ((0.02, 0.5), (0.001, 0.05), (0.001, -0.2))] == [
        "ok",
        "notice",
        "alarm",
    ]


def test_the_report_comes_back_from_json_and_names_are_unique():
    report = audit_groups(set_of(("p", "a", "b"), ("p", "b", "a")), cut=Cut(3))
    assert AuditReport.model_validate_json(report.model_dump_json()) == report
    keys = [(finding.check, finding.name) for finding in report.findings]
    assert len(set(keys)) == len(keys)
    with pytest.raises(KeyError, match=re.escape("no finding 'x' of the check 'repeats'")):
        report.find("repeats", "x")


def test_every_group_is_read_in_batches_whatever_the_selection():
    groups = GroupSet.from_groups(pair(f"q{n}", "a" * (n % 7 + 1), "b" * (n % 5 + 1), n) for n in range(300))
    chosen = groups.select(np.arange(299, -1, -3))
    table = AuditTable.of(chosen)
    lengths = [(len(group.responses[0]), len(group.responses[1])) for group in chosen]
    assert table.responses.characters.reshape(-1, 2).tolist() == [list(each) for each in lengths]
    assert table.ids(np.array([0, 2])) == ["299", "293"]
