"""Public data sets read as a slow, obvious count says they should."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from plaudit.data.schema.steps import label_steps_once

DATA = Path(os.environ.get("PLAUDIT_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
HH = ("harmless-base", "helpful-base", "helpful-online", "helpful-rejection-sampled")


def need(name):
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{name} is not here; set PLAUDIT_DATA to the folder that holds it")
    return path


def rows_of(path):
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


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
    if chosen[-1] == rejected[-1]:
        return "chosen equals rejected"
    return "group"


@pytest.mark.parametrize("name", HH)
def test_every_hh_row_is_a_group_or_a_counted_drop(name, read):
    path = need(f"hh_rlhf/{name}.jsonl")
    rows = rows_of(path)
    expected = Counter(verdict_on(row) for row in rows)
    groups = read(path)
    assert groups.report.format == "hh"
    assert groups.report.rows == len(rows)
    assert len(groups) == expected.pop("group")
    assert groups.report.dropped == dict(expected)


def test_an_hh_group_holds_the_turns_of_its_line(read):
    path = need("hh_rlhf/harmless-base.jsonl")
    rows = rows_of(path)
    roles = {"Human": "user", "Assistant": "assistant"}
    for group in list(read(path))[::97]:
        row = rows[int(group.id.partition(":")[2]) - 1]
        *prompt, (_, chosen) = turns_of(row["chosen"])
        assert group.responses == (chosen, turns_of(row["rejected"])[-1][1])
        assert [(turn.role, turn.content) for turn in group.prompt] == [(roles[who], text) for who, text in prompt]


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("arena_bench/rated.jsonl", "responses"),
        ("finegrained_rlhf/ranked.jsonl", "responses"),
        ("just_eval/rated.jsonl", "responses"),
        ("unieval/rated.jsonl", "responses"),
        ("unieval/ranked.jsonl", "responses"),
        ("alce/rated.jsonl", "responses"),
        ("gsm8k_solutions/outcome.jsonl", "outcome"),
        ("qa_eval/outcome.jsonl", "outcome"),
        ("big_bench_mistake/steps.jsonl", "stepwise"),
    ],
)
def test_every_row_with_its_labels_is_there(name, format, read):
    path = need(name)
    rows = rows_of(path)
    groups = read(path)
    assert groups.report.format == format
    assert groups.report.dropped == {}
    assert len(groups) == len(rows)
    for group, row in zip(groups, rows, strict=True):
        assert group.id == row["id"]
        assert group.source == row["source"]
        if "ranks" in row:
            assert list(group.ranks) == row["ranks"]
        if "scores" in row:
            assert list(group.ratings["score"]) == row["scores"]
        if format == "outcome":
            assert (group.responses, group.outcomes) == ((row["response"],), (row["label"],))
        if "steps" in row:
            starts = [0, *(step.end + 1 for step in group.steps[0])]
            pieces = [group.responses[0][a : step.end] for a, step in zip(starts, group.steps[0], strict=False)]
            assert pieces == row["steps"]
            assert [step.label for step in group.steps[0]] == row["labels"]
        if name.endswith("rated.jsonl"):
            for index, response in enumerate(row["responses"]):
                given = {key: values[index] for key, values in group.ratings.items() if values[index] is not None}
                assert given == {key: value for key, value in response["ratings"].items() if value is not None}


def pieces(response, steps):
    """Return the text and label of each step of a response, found by its offsets alone."""
    starts = [0, *(step.end for step in steps)]
    return [(response[start : step.end].strip(), step.label) for start, step in zip(starts, steps, strict=False)]


def sample(name, read):
    path = need(f"prm_formats/openr_samples_{name}.jsonl")
    groups = read(path)
    rows = rows_of(path)
    assert (len(groups), groups.report.rows, groups.report.dropped) == (len(rows), len(rows), {})
    return groups, rows


def test_every_rating_of_prm800k_is_the_last_label_of_one_path(read):
    groups, rows = sample("prm800k", read)
    for group, row in zip(groups, rows, strict=True):
        found = Counter()
        for response, steps in zip(group.responses, label_steps_once(group).steps, strict=True):
            found.update((text, label) for text, label in pieces(response, steps) if label is not None)
        completions = [
            (completion["text"].strip(), completion["rating"])
            for step in row["label"]["steps"]
            for completion in step["completions"] or ()
        ]
        assert set(found) == {each for each in completions if each[1] is not None}
        # Each step adds what was not followed as a path of its own, and nothing else does.
        branches = 0
        for step in row["label"]["steps"]:
            branches += len(step["completions"] or ()) - (step["chosen_completion"] is not None)
        is_extended = row["label"]["finish_reason"] == "found_error"
        assert len(group.responses) == branches + (not is_extended)
        for response, steps in zip(group.responses, group.steps, strict=True):
            assert response == "\n".join(text for text, _ in pieces(response, steps))


def test_math_shepherd_steps_are_the_lines_of_the_input(read):
    groups, rows = sample("math-shepherd", read)
    for group, row in zip(groups, rows, strict=True):
        lines = row["input"].splitlines()
        signs = [line[-1] for line in row["label"].splitlines()]
        (found,) = (pieces(*each) for each in zip(group.responses, group.steps, strict=True))
        assert [label for _, label in found] == [{"+": 1.0, "-": 0.0}[sign] for sign in signs]
        assert [f"{text} ки" for text, _ in found[1:]] == lines[1:]
        assert f"{group.prompt[0].content} {found[0][0]} ки" == lines[0]


def leaves(node, above=()):
    path = (*above, (node["text"].strip(), node["mc_value"]))
    return [leaf for child in node["children"] for leaf in leaves(child, path)] or [path]


def test_every_leaf_of_a_math_aps_tree_is_a_response(read):
    groups, rows = sample("math-aps-tree", read)
    for group, row in zip(groups, rows, strict=True):
        found = [tuple(pieces(*each)) for each in zip(group.responses, group.steps, strict=True)]
        assert found == [path[1:] for path in leaves(row["reasoning_steps"])]


def test_math_aps_prefixes_are_whole_responses_or_steps_of_them(read):
    groups, rows = sample("math-aps", read)
    for group, row in zip(groups, rows, strict=True):
        values = {}
        for entry in row["reasoning_steps"]:
            text = entry["solution_prefix"].removeprefix(row["question"]).strip()
            values.setdefault(text, []).append(entry["mc_value"])
        values.pop("")
        found = {}
        for response, steps in zip(group.responses, group.steps, strict=True):
            assert response in values
            for step in steps:
                found.setdefault(response[: step.end], set()).add(step.label)
        assert found.keys() == values.keys()
        for text, labels in found.items():
            assert labels <= {*values[text], sum(values[text]) / len(values[text])}
