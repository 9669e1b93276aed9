"""The prefix tree gives every sequence back, shares what it should, and lays segments out depth first."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plaudit.batching.prefix_tree import build_prefix_tree


def tree_of(*sequences, **options):
    return build_prefix_tree([np.asarray(each, dtype=np.int32) for each in sequences], **options)


def depth_of(tree):
    """Return the number of segments on the longest path."""
    depths = []
    for parent in tree.parent:
        depths.append(1 if parent < 0 else depths[parent] + 1)
    return max(depths)


def check(tree, sequences):
    """Every sequence, its positions and the depth-first layout, from the definition of the fields."""
    first = tree.position_starts()
    for k, wanted in enumerate(sequences):
        assert tree.sequence(k).tolist() == list(wanted)
        path = tree.path(k)
        segment = np.searchsorted(tree.start, path, side="right") - 1
        assert (first[segment] + path - tree.start[segment]).tolist() == list(range(len(wanted)))
    ends = tree.subtree_ends()
    for segment, parent in enumerate(tree.parent.tolist()):
        assert tree.start[segment] < tree.start[segment + 1] <= ends[segment]
        if parent >= 0:
            assert parent < segment
            assert tree.start[parent + 1] <= tree.start[segment]
            assert ends[segment] <= ends[parent]
    sees = [(k <= q) and q < ends[s] for s, q, k in _pairs(tree)]
    truth = [q == k or k in set(_ancestors(tree, q)) for _, q, k in _pairs(tree)]
    assert sees == truth


def _pairs(tree):
    owner = np.repeat(np.arange(tree.num_segments), np.diff(tree.start))
    return [(int(owner[k]), q, k) for q in range(tree.num_tokens) for k in range(tree.num_tokens)]


def _ancestors(tree, token):
    """Yield the tokens before ``token`` in its segment and in the segments above, by walking up the parents."""
    segment = int(np.searchsorted(tree.start, token, side="right") - 1)
    yield from range(tree.start[segment], token)
    while (segment := int(tree.parent[segment])) >= 0:
        yield from range(tree.start[segment], tree.start[segment + 1])


def trie_size(sequences):
    """Return the number of distinct non-empty prefixes."""
    return len({tuple(each[:length]) for each in sequences for length in range(1, len(each) + 1)})


tokens = st.integers(0, 2)
some_sequences = st.lists(st.lists(tokens, min_size=1, max_size=9), min_size=1, max_size=6)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(some_sequences, st.sampled_from([0, 1, 2, 5, 8]), st.sampled_from([None, 1, 2, 3]))
def test_every_sequence_comes_back_with_its_positions_and_sees_its_ancestors_only(sequences, saving, depth):
    tree = tree_of(*sequences, min_saving=saving, max_depth=depth)
    check(tree, sequences)
    assert depth_of(tree) <= (depth or 100)
    assert trie_size(sequences) <= tree.num_tokens <= sum(map(len, sequences))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(some_sequences)
def test_without_a_minimum_saving_it_holds_each_distinct_prefix_once(sequences):
    assert tree_of(*sequences, min_saving=0).num_tokens == trie_size(sequences)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(some_sequences, st.integers(1, 12))
def test_a_higher_minimum_saving_never_stores_fewer_tokens(sequences, saving):
    fewer, more = tree_of(*sequences, min_saving=saving), tree_of(*sequences, min_saving=saving + 1)
    assert fewer.num_tokens <= more.num_tokens


def test_two_responses_to_one_prompt_are_a_trunk_and_two_leaves():
    tree = tree_of([1, 2, 3, 7, 8], [1, 2, 3, 9], min_saving=1)
    assert tree.ids.tolist() == [1, 2, 3, 7, 8, 9]
    assert tree.start.tolist() == [0, 3, 5, 6]
    assert tree.parent.tolist() == [-1, 0, 0]
    assert tree.end.tolist() == [4, 5]
    assert tree.subtree_ends().tolist() == [6, 5, 6]
    assert tree.position_starts().tolist() == [0, 3, 3]


def test_a_prefix_of_length_zero_gives_separate_roots():
    tree = tree_of([1, 2], [3, 4], min_saving=0)
    assert tree.parent.tolist() == [-1, -1]
    assert tree.subtree_ends().tolist() == [2, 4]


def test_identical_sequences_are_stored_once_and_end_at_the_same_token():
    tree = tree_of([1, 2, 3], [1, 2, 3], [1, 2, 3])
    assert tree.ids.tolist() == [1, 2, 3]
    assert tree.end.tolist() == [2, 2, 2]


def test_a_sequence_that_begins_another_ends_inside_it():
    tree = tree_of([1, 2, 3, 4], [1, 2])
    assert tree.ids.tolist() == [1, 2, 3, 4]
    assert tree.end.tolist() == [3, 1]
    assert tree.num_segments == 1


def test_a_branch_that_saves_too_little_is_not_made():
    # sharing [1, 2, 3] between two saves 3 tokens
    assert tree_of([1, 2, 3, 7], [1, 2, 3, 8], min_saving=3).num_tokens == 5
    assert tree_of([1, 2, 3, 7], [1, 2, 3, 8], min_saving=4).num_tokens == 8


def test_savings_of_a_trunk_count_all_its_branches():
    # shared by three, 2 tokens are saved twice: 4
    sequences = ([1, 2, 5], [1, 2, 6], [1, 2, 7])
    assert tree_of(*sequences, min_saving=4).num_tokens == 5
    assert tree_of(*sequences, min_saving=5).num_tokens == 9


def test_a_tree_of_five_levels_is_found_and_can_be_limited():
    chain = [list(range(10 * level, 10 * level + 5)) for level in range(5)]
    sequences = [[*itertools.chain(*chain[: level + 1]), *[90 + level] * 3] for level in range(5)]
    tree = tree_of(*sequences, min_saving=1)
    check(tree, sequences)
    assert depth_of(tree) == 5
    assert tree.num_tokens == trie_size(sequences)
    trunk = tree_of(*sequences, min_saving=1, max_depth=2)
    check(trunk, sequences)
    assert depth_of(trunk) == 2
    # one trunk of 5; the sequences below it are apart: 8·5 + 5·(0+1+2+3+4) − 4·5 saved
    assert trunk.num_tokens == sum(map(len, sequences)) - 4 * 5


def test_no_sequence_or_an_empty_one_is_refused():
    for wrong in ((), ([1], [])):
        with pytest.raises(ValueError, match="at least one sequence, and no empty one"):
            tree_of(*wrong)
