"""Equal and similar prompts share a cluster, whatever their case and marks; a split by cluster keeps them together."""

from __future__ import annotations

import random
import runpy
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plaudit.data.audit.duplicates import bands, components, numbered, similar_prompts
from plaudit.data.mixing.splits import split_by_cluster
from plaudit.data.schema.group import Group, Message
from plaudit.data.schema.group_set import GroupSet
from plaudit.data.schema.normalised import batches, ngrams, normalised, words_of
from plaudit.errors import ConfigError, DataError

WORDS = [f"{first}{second}" for first in ("ba", "ko", "li", "mu", "te", "su") for second in ("n", "ra", "sto", "vi")]


def make(text, number=0, *earlier):
    return Group((*earlier, Message("user", text)), (f"response {number}",), id=str(number))


def set_of(*texts):
    return GroupSet.from_groups(make(text, number) for number, text in enumerate(texts))


def plain(*texts):
    return normalised(pa.array(texts)).to_pylist()


def draw_text(draw, length):
    return " ".join(draw.choice(WORDS) + str(draw.randrange(40)) for _ in range(length))


def jaccard(first, second, size=3):
    """Return the similarity of two texts by its definition."""
    sets = []
    for text in (first, second):
        words = text.split()
        sets.append({tuple(words[i : i + size]) for i in range(len(words) - size + 1)})
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def test_case_spaces_and_marks_are_the_same_text_but_signs_of_arithmetic_are_not():
    assert plain("  What's the\n “Answer”?! ") == ["what s the answer"]
    assert plain("ＦＵＬＬ width", "2+2", "2-2", "a / b") == ["full width", "2+2", "2-2", "a / b"]
    assert plain("???", " … ") == ["???", "..."]


def test_a_script_without_spaces_has_a_word_per_character():
    assert plain("日本 is 国", "Žluťoučký") == ["日 本 is 国", "žluťoučký"]
    assert words_of(normalised(pa.array(["日本", "abc"]))).counts.tolist() == [2, 1]


@settings(deadline=None)
@given(
    st.lists(st.lists(st.sampled_from("abcd"), max_size=7), min_size=1, max_size=6), st.integers(1, 5), st.booleans()
)
def test_n_grams_are_equal_where_the_words_are(texts, size, whole):
    made = ngrams(words_of(pa.array([" ".join(text) for text in texts])), size, whole=whole)
    expected, lengths = [], []
    for text in texts:
        words = text or [""]
        grams = [tuple(words[i : i + size]) for i in range(len(words) - size + 1)]
        grams = grams or ([tuple(words)] if whole else [])
        expected += grams
        lengths.append(len(grams))
    assert made.counts.tolist() == lengths
    numbers = {gram: number for number, gram in enumerate(dict.fromkeys(expected))}
    hashes = {value: number for number, value in enumerate(dict.fromkeys(made.hashes.tolist()))}
    assert [hashes[value] for value in made.hashes.tolist()] == [numbers[gram] for gram in expected]


def test_batches_hold_the_groups_of_a_selection_in_its_order():
    groups = set_of(*"abcdef").select([5, 0, 3, 3, 1])
    seen = [(start, table.column("id").to_pylist()) for start, table in batches(groups, ["id"], rows=2)]
    assert seen == [(0, ["5", "0"]), (2, ["3", "3"]), (4, ["1"])]


def test_equal_prompts_share_a_number_from_zero_in_order():
    assert similar_prompts(set_of("Hello!", "bye", "hello", "Bye.", "HELLO ?")).exact.tolist() == [0, 1, 0, 1, 0]
    assert similar_prompts(GroupSet.from_groups([])).exact.tolist() == []


def test_every_turn_of_a_prompt_counts():
    one = make("why", 0, Message("user", "sky"), Message("assistant", "blue"))
    other = make("why", 1, Message("user", "sea"), Message("assistant", "blue"))
    assert similar_prompts(GroupSet.from_groups([one, other, one])).exact.tolist() == [0, 1, 0]


def test_numbers_count_from_the_first_seen():
    assert numbered(np.array([7, 3, 7, 9, 3])).tolist() == [0, 1, 0, 2, 1]


@settings(deadline=None)
@given(
    st.integers(1, 12).flatmap(
        lambda n: st.tuples(st.just(n), st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1))))
    )
)
def test_components_are_those_of_a_search_through_the_graph(drawn):
    count, pairs = drawn
    found = components(count, np.array(pairs, dtype=np.int64).reshape(-1, 2))
    label = list(range(count))
    for _ in range(count):
        for a, b in pairs:
            label[a] = label[b] = min(label[a], label[b])
    assert numbered(found).tolist() == numbered(np.array(label)).tolist()


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.8, 0.9, 1.0])
def test_bands_keep_the_stated_share_of_pairs_at_the_threshold_and_longer_ones_would_not(threshold):
    count, size = bands(threshold)
    assert count * size <= 128
    assert 1 - (1 - threshold**size) ** count >= 0.99
    if size < 128:
        assert 1 - (1 - threshold ** (size + 1)) ** (128 // (size + 1)) < 0.99


def test_near_duplicates_are_found_and_what_is_less_alike_is_not():
    draw = random.Random(5)
    texts, close, far = [], [], []
    for _ in range(300):
        words = draw_text(draw, 60).split()
        near, distant = list(words), list(words)
        near[draw.randrange(60)] = "changed"
        for position in range(2, 60, 6):
            distant[position] = "other"
        texts += [" ".join(each) for each in (words, near, distant)]
        close.append(jaccard(texts[-3], texts[-2]))
        far.append(jaccard(texts[-3], texts[-1]))
    assert min(close) > 0.9
    assert max(far) < 0.5
    found = similar_prompts(set_of(*texts))
    near = found.near.reshape(300, 3)
    assert (near[:, 0] == near[:, 1]).all()
    assert (near[:, 0] != near[:, 2]).all()
    assert len(np.unique(near)) == 600
    assert len(np.unique(found.exact)) == 900
    assert found.uncompared == 0


def test_the_share_of_pairs_found_rises_through_the_threshold():
    """Of pairs at similarity 0.73 few are joined, of pairs at 0.9 nearly all: the estimate has standard error 0.035."""
    draw = random.Random(2)
    shares = {}
    for changed in (1, 2, 4):
        texts, alike = [], []
        for _ in range(200):
            words = draw_text(draw, 62).split()
            other = list(words)
            for position in range(changed):
                other[5 + 12 * position] = "other"
            texts += [" ".join(words), " ".join(other)]
            alike.append(jaccard(texts[-2], texts[-1]))
        near = similar_prompts(set_of(*texts)).near.reshape(200, 2)
        shares[round(float(np.mean(alike)), 2)] = float((near[:, 0] == near[:, 1]).mean())
    # Of 60 n-grams each change takes three: 57 ÷ 63, 54 ÷ 66 and 48 ÷ 72.
    assert list(shares) == [0.9, 0.82, 0.67]
    assert shares[0.9] > 0.97
    assert 0.5 < shares[0.82] < 0.9
    assert shares[0.67] < 0.03


def test_clusters_do_not_depend_on_the_order_of_the_groups():
    draw = random.Random(1)
    texts = [draw_text(draw, 30) for _ in range(40)]
    texts += [f"{text} indeed" for text in texts[:20]]
    order = list(range(60))
    draw.shuffle(order)
    forward = similar_prompts(set_of(*texts)).near
    shuffled = similar_prompts(set_of(*(texts[i] for i in order))).near
    assert numbered(shuffled[np.argsort(order)]).tolist() == forward.tolist()
    assert len(np.unique(forward)) == 40


def test_a_crowded_band_of_prompts_that_are_not_alike_costs_no_more_than_its_size():
    from plaudit.data.audit.duplicates import _joined

    # One bucket of 20 prompts; 0 and 10 are alike, and so on to 9 and 19: ten kinds, of which eight rounds see eight.
    signatures = np.repeat(np.arange(10, dtype=np.uint32)[:, None], 128, axis=1)
    edges, uncompared = _joined(np.zeros(20, np.uint64), np.concatenate([signatures, signatures]), 0.8)
    assert sorted(map(tuple, edges.tolist())) == [(kind, kind + 10) for kind in range(8)]
    assert uncompared == 3


def test_short_prompts_are_near_only_when_equal():
    found = similar_prompts(set_of("hi", "Hi!", "hi there", "thanks"))
    assert found.near.tolist() == [0, 0, 1, 2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"threshold": 0.0}, "threshold is 0.0"), ({"threshold": 1.1}, "threshold is 1.1"), ({"words": 0}, "words is 0")],
)
def test_a_wrong_setting_is_named(arguments, message):
    with pytest.raises(ConfigError, match=message):
        similar_prompts(set_of("a"), **arguments)


def test_a_split_by_cluster_tears_no_cluster_and_takes_about_the_asked_share():
    draw = random.Random(0)
    texts = [draw_text(draw, 30) for _ in range(400)]
    groups = set_of(*texts, *(f"{text} please" for text in texts))
    clusters = similar_prompts(groups).near
    assert len(np.unique(clusters)) == 400
    shares = []
    for seed in range(10):
        kept, held_out = split_by_cluster(groups, clusters, held_out=0.3, seed=seed)
        numbers = [{clusters[int(group.id)] for group in side} for side in (kept, held_out)]
        assert not numbers[0] & numbers[1]
        assert len(kept) + len(held_out) == 800
        shares.append(len(numbers[1]) / 400)
    # The mean of 10 shares of 400 clusters has standard deviation sqrt(.3 * .7 / 4000) = 0.0073; five of them.
    assert abs(np.mean(shares) - 0.3) < 0.037


def test_a_split_by_cluster_does_not_depend_on_the_order_of_the_groups():
    texts = [f"question {number // 2}" + "!" * (number % 2) for number in range(200)]
    sides = []
    for order in (range(200), range(199, -1, -1)):
        groups = GroupSet.from_groups([make(texts[i], i) for i in order])
        sides.append([{group.id for group in side} for side in _split(groups)])
    assert sides[0] == sides[1]


def _split(groups):
    return split_by_cluster(groups, similar_prompts(groups).exact, held_out=0.4, seed=3)


def test_clusters_that_do_not_fit_the_groups_are_refused():
    groups = set_of("a", "b", "b")
    with pytest.raises(DataError, match="clusters has 2 entries for 3 groups"):
        split_by_cluster(groups, np.array([0, 1]), held_out=0.5, seed=0)
    with pytest.raises(DataError, match="1 prompts are in more than one cluster"):
        split_by_cluster(groups, np.array([0, 1, 2]), held_out=0.5, seed=0)
    with pytest.raises(DataError, match=r"held_out is 1\.5"):
        split_by_cluster(groups, np.array([0, 1, 1]), held_out=1.5, seed=0)
    with pytest.raises(DataError, match="1 clusters cannot be split into two sides"):
        split_by_cluster(groups, np.array([0, 0, 0]), held_out=0.5, seed=0)


@pytest.mark.slow
def test_time_grows_with_the_number_of_groups_and_memory_stays_small():
    bench = runpy.run_path(str(Path(__file__).resolve().parents[2] / "benchmarks" / "bench_audit.py"))
    small, large = (bench["in_fresh_process"]("duplicates", rows) for rows in (50_000, 200_000))
    assert large["cpu_seconds"] / small["cpu_seconds"] < 4 * 1.5
    assert large["peak_rss_mb"] < 1500
    assert large["near_found"] >= 0.999 * large["near_planted"]
