"""Listed words are found as whole words, in any case, in prompts and responses."""

from __future__ import annotations

import pytest

from plaudit.data.audit.reading import read_words
from plaudit.data.audit.run import audit_groups
from plaudit.data.schema.group import Group, Message, Preference
from plaudit.data.schema.group_set import GroupSet
from plaudit.errors import DataError


def audited(rows, words):
    groups = [
        Group((Message("user", prompt),), (chosen, rejected), (Preference(0, 1),), id=f"g{number}")
        for number, (prompt, chosen, rejected) in enumerate(rows)
    ]
    return audit_groups(GroupSet.from_groups(groups), words=words)


def test_whole_words_are_counted_by_side_and_their_places_given():
    rows = [
        ("a plain question", "fine", "You FOO!"),
        ("what is foo?", "food is no hit", "neither is foo_bar"),
        ("c", "a very  bad\nthing", "c++ (c++)"),
    ]
    report = audited(rows, ["foo", "bad thing", "c++"])
    responses = report.find("reading", "listed words in responses")
    assert responses.count == 3
    assert responses.summary == "3 of 6 responses hold a listed word; 33.33% of chosen; 66.67% of rejected"
    assert [example.id for example in responses.examples] == ["g0", "g2"]
    prompts = report.find("reading", "listed words in prompts")
    # one of three: the interval begins at 6 %, above the limit of 1 %
    assert (prompts.count, prompts.severity) == (1, "alarm")
    assert [example.id for example in prompts.examples] == ["g1"]


def test_without_a_list_nothing_is_searched_and_toxicity_is_said_not_to_be_judged():
    report = audited([("q", "a", "b")], [])
    assert "toxicity" in report.not_judged
    with pytest.raises(KeyError):
        report.find("reading", "listed words in responses")


def test_a_list_is_one_word_a_line(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("# not these\nfoo\n\n  bad thing \n", encoding="utf-8")
    assert read_words(path) == ("foo", "bad thing")
    path.write_text("# nothing\n", encoding="utf-8")
    with pytest.raises(DataError, match="holds no word"):
        read_words(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_words(tmp_path / "none.txt")
