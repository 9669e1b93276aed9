"""The known defects of public data are found without being told, in the numbers of a slow, obvious count."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from plaudit.data.audit.duplicates import similar_prompts
from plaudit.data.audit.length import Cut
from plaudit.data.audit.run import audit_groups
from plaudit.data.reading.read import read_groups

DATA = Path(os.environ.get("PLAUDIT_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
HH = ("harmless-base", "helpful-base", "helpful-online", "helpful-rejection-sampled")
LIMIT = 800


def turns_of(transcript):
    """Split a transcript by hand: paragraph by paragraph."""
    turns = []
    for paragraph in transcript.split("\n\n"):
        speaker, colon, rest = paragraph.partition(":")
        if colon and speaker in ("Human", "Assistant"):
            turns.append([speaker, rest])
        elif turns:
            turns[-1][1] += "\n\n" + paragraph
    return [(speaker, text.strip()) for speaker, text in turns]


def verdict_on(row):
    if row["chosen"] == row["rejected"]:
        return "chosen equals rejected"
    chosen, rejected = turns_of(row["chosen"]), turns_of(row["rejected"])
    if chosen[-1][0] == "Human" or rejected[-1][0] == "Human":
        return "last turn is not the assistant's"
    if chosen[:-1] != rejected[:-1]:
        return "dialogues differ before the last turn"
    if any(text == "" for _, text in chosen[:-1]):
        return "empty turn in the prompt"
    return "chosen equals rejected" if chosen[-1] == rejected[-1] else "group"


@pytest.fixture(scope="module")
def rows():
    """Return every row of the four files, in order."""
    folder = DATA / "hh_rlhf"
    if not folder.exists():
        pytest.skip("hh_rlhf is not here; set PLAUDIT_DATA to the folder that holds it")
    return [json.loads(line) for name in HH for line in (folder / f"{name}.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def groups(rows, tmp_path_factory):
    """Return the groups of the four files."""
    paths = [DATA / "hh_rlhf" / f"{name}.jsonl" for name in HH]
    return read_groups(paths, cache_dir=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def report(groups):
    """Return the audit of the four files."""
    return audit_groups(groups, cut=Cut(LIMIT))


@pytest.fixture(scope="module")
def pairs(rows):
    """Return (prompt, chosen, rejected) of every row that is a group, by hand."""
    found = []
    for row in rows:
        if verdict_on(row) == "group":
            *prompt, (_, chosen) = turns_of(row["chosen"])
            found.append(("\n".join(text for _, text in prompt), chosen, turns_of(row["rejected"])[-1][1]))
    return found


def test_every_defect_of_the_rows_is_a_finding_with_its_count(rows, report):
    expected = Counter(verdict_on(row) for row in rows)
    assert report.groups == report.pairs == expected.pop("group")
    found = {finding.name: finding for finding in report.findings if finding.check == "reading"}
    for name in ("responses without content", "control tokens in responses"):
        found.pop(name)
    assert {name: finding.count for name, finding in found.items()} == dict(expected)
    assert all(finding.rate.n == len(rows) for finding in found.values())
    equal = found["chosen equals rejected"]
    assert round(100 * equal.rate.value, 1) == 0.4
    assert equal.severity == "notice"
    assert all(".jsonl:" in example.place for example in equal.examples)


def test_the_longer_response_wins_as_often_as_a_loop_says(pairs, report):
    wins = sum((len(chosen) > len(rejected)) + 0.5 * (len(chosen) == len(rejected)) for _, chosen, rejected in pairs)
    found = report.find("length", "longer response wins")
    assert found.rate.value == pytest.approx(wins / len(pairs))
    assert found.severity == "notice"
    assert set(found.by_source) == set(HH)


def test_pairs_identical_after_truncation_are_those_of_a_slice(pairs, report):
    found = report.find("truncation", "identical after truncation")
    # Prompt and response stand side by side, with nothing between them.
    assert found.count == sum((p + c)[:LIMIT] == (p + r)[:LIMIT] for p, c, r in pairs)


def test_marks_are_counted_as_by_hand(pairs, report):
    found = report.find("style", "question")
    assert found.figures["on chosen"].value == pytest.approx(sum("?" in c for _, c, _ in pairs) / len(pairs))
    assert found.count == sum(("?" in c) != ("?" in r) for _, c, r in pairs)
    space = report.find("leaks", "double space")
    assert space.figures["on chosen"].value > 0.0
    empty = report.find("reading", "responses without content")
    assert empty.count == sum(not any(letter.isalnum() for letter in text) for _, *both in pairs for text in both)


def test_near_duplicates_are_those_of_all_pairs_of_prompts(groups):
    """Compare with the exact Jaccard similarity of every two prompts, of which a matrix product counts the n-grams."""
    clusters = similar_prompts(groups).near
    rows, columns, numbers = [], [], {}
    for row, group in enumerate(groups):
        words = " ".join(turn.content.lower() for turn in group.prompt)
        words = "".join(letter if letter.isalnum() else " " for letter in words).split()
        grams = {tuple(words[i : i + 3]) for i in range(len(words) - 2)} or {tuple(words)}
        rows += [row] * len(grams)
        columns += [numbers.setdefault(gram, len(numbers)) for gram in grams]
    holds = sparse.csr_array((np.ones(len(rows)), (rows, columns)))
    both = (holds @ holds.T).tocoo()
    sizes = holds.sum(axis=1)
    first, second = both.coords
    similarity = both.data / (sizes[first] + sizes[second] - both.data)
    is_pair = first < second
    similarity, joined = similarity[is_pair], (clusters[first] == clusters[second])[is_pair]
    assert (similarity >= 0.87).sum() > 10
    assert joined[similarity >= 0.87].all()
    assert joined[similarity >= 0.8].mean() > 0.95
    assert joined[similarity < 0.6].mean() < 0.01


def test_an_honest_answer_where_labels_are_not_repeated_and_words_do_not_tell(report):
    assert "0 pairs of texts are labelled more than once" in report.not_judged["wrong labels, from repeated pairs"]
    assert "knows too little" in report.not_judged["wrong labels, from a judge of words"]
