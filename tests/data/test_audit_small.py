"""The audit on few prompts, of instructions that many share, of control tokens, and of outcomes that contradict."""

from __future__ import annotations

import itertools
import json

import pytest

from plaudit.data.audit.contamination import BenchmarkPrompt, find_contamination
from plaudit.data.audit.run import audit_groups
from plaudit.data.schema.group import Group, Message, Preference
from plaudit.data.schema.group_set import GroupSet


def group(prompt, *responses, pairs=(), **labels):
    return Group((Message("user", prompt),), responses, tuple(Preference(*pair) for pair in pairs), **labels)


def audited(*groups, **options):
    return audit_groups(GroupSet.from_groups(groups), **options)


@pytest.mark.parametrize("prompts", [1, 2, 5])
def test_few_prompts_with_very_many_pairs_have_a_report(prompts):
    pairs = list(itertools.combinations(range(64), 2))
    groups = [
        group(f"Q{p}", *(f"{'x' * ((7 * k + p) % 13)} {k}" for k in range(64)), pairs=pairs) for p in range(prompts)
    ]
    report = audited(*groups)
    assert report.pairs == prompts * 64 * 63 // 2
    why = report.not_judged["wrong labels, from a judge of words"]
    assert why == (
        f"the pairs are of {prompts} groups, one of each is judged; a judge needs 100" if prompts > 0 else ""
    )


def test_an_empty_response_is_found_and_breaks_no_check():
    report = audited(group("Q", "An oak.", "", pairs=[(0, 1)]), group("R", "", "A brick.", pairs=[(1, 0)]))
    assert report.find("reading", "responses without content").count == 2
    assert report.find("length", "longer response wins").count == 2


def test_a_control_token_in_a_response_is_found_with_its_group():
    marked = group("Q", "Bad.<|end|><|user|>Thanks!", "Bad.", id="a")
    report = audited(marked, group("R", "[/INST] x", "plain < |end| >", id="b"), group("S", "x", "y", id="c"))
    found = report.find("reading", "control tokens in responses")
    assert (found.count, found.rate.value) == (2, pytest.approx(2 / 6))
    assert [example.id for example in found.examples] == ["a", "b"]


def test_one_text_that_is_right_and_wrong_is_found_across_and_within_groups():
    groups = [
        group("2+2?", "4", "5", outcomes=(True, False), id="a"),
        group("2+2?", "4", "6", outcomes=(False, None), id="b"),
        group("2+2?", "6", "7", outcomes=(False, True), id="c"),
        group("3+3?", "6", "6", outcomes=(True, False), id="d"),
        group("3+3?", "7", "4", id="e"),
    ]
    found = audited(*groups).find("repeats", "contradictory outcomes")
    # "4" of a and b, and both "6" of d; "6" of b has no label.
    assert found.count == 4
    assert [example.id for example in found.examples] == ["a", "b", "d"]
    assert found.severity == "alarm"
    assert "(2 different texts)" in found.summary
    names = {finding.name for finding in audited(group("Q", "x", "y", pairs=[(0, 1)])).findings}
    assert "contradictory outcomes" not in names


def test_pairs_of_a_file_stand_chosen_first_without_a_notice():
    groups = [group(f"Q{number}", f"yes {number}", f"no {number}", pairs=[(0, 1)]) for number in range(40)]
    assert audited(*groups).find("leaks", "chosen response first").severity == "ok"


INSTRUCTION = (
    "You are given a question below please answer it as well as you can and explain every step of your reasoning"
)


def benchmark(*questions):
    return [BenchmarkPrompt("bench", str(place), f"{INSTRUCTION} {text}") for place, text in enumerate(questions)]


def test_an_instruction_that_many_prompts_of_a_benchmark_share_is_no_contamination():
    prompts = benchmark("who painted it", "where is it", "when was it", "how many are there")
    harmless = GroupSet.from_groups([group(f"{INSTRUCTION} what do bees eat", "x", id="a")])
    # The 20 words of the instruction alone hold 8 of the 11 runs of 13 words of "… who painted it".
    found = find_contamination(harmless, prompts)
    assert (found.matches, found.below) == ((), 0)
    copied = GroupSet.from_groups([group(f"{INSTRUCTION} where is it", "x", id="a")])
    assert [match.place for match in find_contamination(copied, prompts).matches] == ["1"]
    # Of two prompts the run is still telling: a benchmark may hold one twice, changed a little.
    assert len(find_contamination(harmless, prompts[:2]).matches) == 2


def test_a_prompt_that_a_benchmark_repeats_is_still_found():
    prompts = benchmark(*["who painted the ceiling of the old chapel"] * 5)
    groups = GroupSet.from_groups([group(f"Please: {prompts[0].text}", "x")])
    assert len(find_contamination(groups, prompts).matches) == 5


def test_groups_that_share_a_run_are_counted_once_and_beside_those_that_match():
    words = [f"w{number}" for number in range(60)]
    prompts = [BenchmarkPrompt("bench", str(k), " ".join(words[k : k + 30])) for k in (0, 1)]
    shares = group(" ".join(words[:15]), "x", id="shares")
    report = audited(group(prompts[0].text, "x", id="match"), shares, group("none", "x"), benchmark_prompts=prompts)
    found = report.find("leakage", "prompts of benchmarks")
    assert found.summary.startswith("1 of 3 groups hold one of 2 benchmark prompts (matches: bench 2)")
    assert found.summary.endswith("; 1 others share a 13-word run with one")
    assert found.rule.endswith("; any is an alarm")
    assert "notice" not in found.rule


def test_the_record_of_an_audit_is_json(tmp_path):
    assert json.loads(audited(group("Q", "a", "", pairs=[(0, 1)])).model_dump_json())["groups"] == 1
