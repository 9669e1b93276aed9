"""Benchmark prompts inside groups are found whole, by n-grams, and in no other group."""

from __future__ import annotations

import random
import runpy
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plaudit.data.audit.contamination import BenchmarkPrompt, find_contamination, read_benchmark_prompts
from plaudit.data.schema.group import Group, Message
from plaudit.data.schema.group_set import GroupSet
from plaudit.errors import ConfigError, DataError


def words(first, last):
    return " ".join(f"w{number}" for number in range(first, last))


def groups_of(*prompts):
    turns = [prompt if isinstance(prompt, tuple) else (prompt,) for prompt in prompts]
    return GroupSet.from_groups(
        Group(
            tuple(
                Message("user" if (len(each) - 1 - i) % 2 == 0 else "assistant", text) for i, text in enumerate(each)
            ),
            ("response",),
            id=f"g{number}",
            source="s",
        )
        for number, each in enumerate(turns)
    )


def prompts_of(*texts):
    return [BenchmarkPrompt("bench", f"bench.jsonl:{number}", text) for number, text in enumerate(texts, start=1)]


def found(groups, prompts, **arguments):
    matches = find_contamination(groups, prompts, **arguments).matches
    return [(match.row, match.place, match.kind, match.share) for match in matches]


def test_an_equal_prompt_is_found_whatever_its_case_and_marks_with_both_places():
    groups = groups_of("something else", "What IS the capital, of France")
    (match,) = find_contamination(groups, prompts_of("what is the capital of France?")).matches
    assert (match.row, match.id, match.source) == (1, "g1", "s")
    assert (match.benchmark, match.place, match.kind, match.share) == ("bench", "bench.jsonl:1", "equal", 1.0)


def test_a_last_turn_that_equals_a_short_prompt_is_found_but_not_a_part_of_a_turn():
    groups = groups_of(("Hello there", "Hi!", "Who are you?"), "tell me who are you please")
    assert found(groups, prompts_of("who are you")) == [(0, "bench.jsonl:1", "equal", 1.0)]


def test_the_share_is_that_of_the_benchmark_prompts_n_grams():
    # 20 words have 8 n-grams of 13; the first 15 words hold 3 of them, the first 17 hold 5, of the first 12 none.
    prompts = prompts_of(words(0, 20))
    groups = groups_of(f"a b {words(0, 15)} c", f"x {words(0, 17)}", words(0, 12), f"y {words(0, 20)} z")
    assert found(groups, prompts) == [(1, "bench.jsonl:1", "contained", 5 / 8), (3, "bench.jsonl:1", "contained", 1.0)]
    assert found(groups, prompts, min_share=0.3)[0] == (0, "bench.jsonl:1", "contained", 3 / 8)
    assert find_contamination(groups, prompts).below == 1


def test_a_prompt_shorter_than_an_n_gram_is_contained_whole_or_not():
    prompts = prompts_of("one two three four five six", "one two three four")
    groups = groups_of("so one two three four five six it is", "one two three four five", "ONE two, three four")
    assert found(groups, prompts) == [(0, "bench.jsonl:1", "contained", 1.0), (2, "bench.jsonl:2", "equal", 1.0)]


def test_repeated_n_grams_count_once_on_both_sides():
    prompts = prompts_of("a b c d e a b c d e a b c d e x y z v w")
    text = "a b c d e " * 6
    # With n = 5 the prompt has the 5 rotations of abcde and 5 n-grams with a letter after them: 10 different ones.
    assert found(groups_of(text), prompts, words=5, min_share=0.1) == [(0, "bench.jsonl:1", "contained", 0.5)]


def test_a_row_can_hold_several_prompts_and_a_prompt_be_in_several_rows():
    prompts = prompts_of(
        "the first long question here", "the second long question here", "the first long question here"
    )
    groups = groups_of("the first long question here the second long question here", "the second long question here")
    assert [(row, place) for row, place, _, _ in found(groups, prompts)] == [
        (0, "bench.jsonl:1"),
        (0, "bench.jsonl:2"),
        (0, "bench.jsonl:3"),
        (1, "bench.jsonl:2"),
    ]
    result = find_contamination(groups, prompts)
    assert (result.rows.tolist(), result.groups, result.prompts) == ([0, 1], 2, 3)


def test_a_clean_set_has_no_match():
    assert found(groups_of(*(words(n * 50, n * 50 + 40) for n in range(30))), prompts_of(words(9000, 9050))) == []


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_it_agrees_with_a_slow_search_by_tuples(data):
    letters = st.lists(st.sampled_from("abc"), min_size=1, max_size=12)
    texts = data.draw(st.lists(letters, min_size=1, max_size=5))
    wanted = data.draw(st.lists(letters, min_size=1, max_size=4))
    size = data.draw(st.integers(5, 7))
    expected = []
    for row, text in enumerate(texts):
        for number, prompt in enumerate(wanted, start=1):
            length = min(size, len(prompt))
            grams = {tuple(prompt[i : i + length]) for i in range(len(prompt) - length + 1)}
            mine = {tuple(text[i : i + length]) for i in range(len(text) - length + 1)}
            share = len(grams & mine) / len(grams)
            if text == prompt:
                expected.append((row, f"bench.jsonl:{number}", "equal", 1.0))
            elif length >= 5 and share >= 0.5:
                expected.append((row, f"bench.jsonl:{number}", "contained", share))
    groups = groups_of(*(" ".join(text) for text in texts))
    assert found(groups, prompts_of(*(" ".join(prompt) for prompt in wanted)), words=size) == expected


def test_nothing_to_look_for_and_wrong_settings_are_errors():
    groups = groups_of("a")
    with pytest.raises(DataError, match="the list of benchmark prompts is empty"):
        find_contamination(groups, [])
    with pytest.raises(DataError, match=r"bench, bench\.jsonl:1: the prompt is empty"):
        find_contamination(groups, prompts_of("  "))
    with pytest.raises(ConfigError, match="words is 4; it must be at least 5"):
        find_contamination(groups, prompts_of("a"), words=4)
    with pytest.raises(ConfigError, match="min_share is 0"):
        find_contamination(groups, prompts_of("a"), min_share=0.0)


def test_prompts_are_read_from_the_first_known_field(write_rows):
    turns = [{"role": "user", "content": "u"}, {"role": "assistant", "content": "a"}, {"role": "user", "content": "v"}]
    path = write_rows([{"prompt": "p", "question": "q"}, {"question": "q"}, {"prompt": turns}], "my_bench.jsonl")
    assert read_benchmark_prompts(path) == [
        BenchmarkPrompt("my_bench", f"{path}:1", "p"),
        BenchmarkPrompt("my_bench", f"{path}:2", "q"),
        BenchmarkPrompt("my_bench", f"{path}:3", "u\nv"),
    ]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "x"}, r"there is no prompt; the row has: text; allowed: prompt, question"),
        ({"prompt": " "}, "prompt is empty"),
        ({"prompt": 3}, "prompt is 3; it must be a list"),
        ({"prompt": [{"role": "user"}]}, r"prompt\[0\]\.content is None"),
    ],
)
def test_a_row_without_a_prompt_names_file_and_line(row, message, write_rows):
    path = write_rows([{"prompt": "fine"}, row])
    with pytest.raises(DataError, match=f"{path.name}:2: {message}"):
        read_benchmark_prompts(path)


def test_planted_prompts_are_all_found_among_others():
    draw = random.Random(4)
    vocabulary = [f"v{number}" for number in range(300)]
    texts = [" ".join(draw.choices(vocabulary, k=draw.randint(5, 60))) for _ in range(25_000)]
    wanted = [" ".join(f"b{draw.randrange(900)}" for _ in range(draw.randint(5, 50))) for _ in range(80)]
    places = draw.sample(range(25_000), 40)
    for number, row in enumerate(places):
        texts[row] = f"{texts[row]} {wanted[number].upper()}! and then"
    hits = {(row, place, share) for row, place, _, share in found(groups_of(*texts), prompts_of(*wanted))}
    assert hits == {(row, f"bench.jsonl:{number}", 1.0) for number, row in enumerate(places, start=1)}


@pytest.mark.slow
def test_prompts_planted_in_two_hundred_thousand_rows_are_found_in_minutes():
    bench = runpy.run_path(str(Path(__file__).resolve().parents[2] / "benchmarks" / "bench_audit.py"))
    figures = bench["in_fresh_process"]("contamination", 200_000)
    assert (figures["found"], figures["planted"], figures["others"]) == (500, 500, 0)
    assert figures["peak_rss_mb"] < 3000
    assert figures["seconds"] < 300
