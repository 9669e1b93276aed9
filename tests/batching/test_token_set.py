"""Token sets come back from disk as they went in, are made once, and never half."""

from __future__ import annotations

import dataclasses
import json
import pickle

import numpy as np
import pyarrow as pa
import pytest

from plaudit.batching.encode import Encoder, EncodingReport
from plaudit.batching.planner import GroupSizes
from plaudit.batching.token_set import TokenSet, encode_stream, encode_to_file
from plaudit.data.schema.group import Group, Preference, Step, conversation
from plaudit.errors import OutputError


@pytest.fixture
def encoder(tokenizer):
    rule = {"chat_template": tokenizer.chat_template, "special_tokens": False, "final_token": None}
    return Encoder(tokenizer=tokenizer, max_length=64, truncation="truncate_prompt", **rule)


@pytest.fixture
def groups(make_groups):
    labelled = Group(
        conversation("hi"),
        ("cat dog", "no"),
        (Preference(0, 1, 0.5, 0.75),),
        ranks=(1, 2),
        ratings={"help": (1.0, None), "brief": (0.0, 2.0)},
        outcomes=(True, False),
        steps=((Step(3, 1.0), Step(7, None)), None),
        id="labelled",
    )
    return [
        *make_groups(300),
        labelled,
        Group(conversation("hi"), ("alone",)),
        Group(conversation("hi"), ("cat " * 99,)),
    ]


def assert_same(one, other):
    for field in dataclasses.fields(one):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if field.name == "tree":
            assert_same(a, b)
        elif field.name == "ratings":
            assert list(a) == list(b)
            for name in a:
                np.testing.assert_array_equal(a[name], b[name])
        else:
            np.testing.assert_array_equal(a, b)
            assert np.asarray(a).dtype == np.asarray(b).dtype


def test_a_token_set_gives_back_what_was_encoded_by_row_and_in_order(tmp_path, encoder, groups):
    tokens = encode_to_file(groups, encoder, tmp_path / "set.arrow")
    wanted = list(encode_stream(groups, encoder, EncodingReport()))
    assert len(tokens) == len(wanted) == 302
    for one, other in zip(tokens, wanted, strict=True):
        assert_same(one, other)
    for row in (0, 255, 256, 300, 301):
        assert_same(tokens[row], wanted[row])
    sizes, known = tokens.sizes, GroupSizes.of(wanted)
    for field in dataclasses.fields(GroupSizes):
        np.testing.assert_array_equal(getattr(sizes, field.name), getattr(known, field.name))
    assert tokens.num_pairs.tolist() == [len(each.pair_chosen) for each in wanted]
    assert tokens.report.as_dict()["dropped"] == {"responses alone longer than max_length": 1}


def test_rows_that_are_not_there_are_an_error(tmp_path, encoder, groups):
    tokens = encode_to_file(groups[:2], encoder, tmp_path / "set.arrow")
    for row in (-1, 2):
        with pytest.raises(IndexError, match=f"row {row} of 2"):
            tokens[row]


def test_the_second_call_reads_and_encodes_nothing(tmp_path, encoder, groups):
    path = tmp_path / "set.arrow"
    first = encode_to_file(groups, encoder, path)

    def untouchable():
        raise AssertionError("the groups were read again")
        yield

    second = encode_to_file(untouchable(), encoder, path)
    assert len(second) == len(first)
    assert second.report.as_dict() == first.report.as_dict()


def test_a_file_with_the_columns_of_another_version_is_made_again(tmp_path, encoder, groups):
    path = tmp_path / "set.arrow"
    encode_to_file(groups[:3], encoder, path)
    with pa.ipc.open_file(path) as reader:
        table = reader.read_all().drop_columns(["step_repeats"])
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(ValueError, match="has the columns index, ids"):
        TokenSet(path, EncodingReport())
    assert len(encode_to_file(groups[:3], encoder, path)[0].step_repeats) == 0


def test_a_token_set_in_which_a_bit_was_flipped_is_made_again(tmp_path, encoder, groups):
    path = tmp_path / "set.arrow"
    encode_to_file(groups, encoder, path)
    whole = path.read_bytes()
    place = whole.index(encode_to_file(groups, encoder, path)[2].tree.ids.tobytes())
    for where in (place, len(whole) // 2):
        path.write_bytes(whole[:where] + bytes([whole[where] ^ 1]) + whole[where + 1 :])
        encode_to_file(groups, encoder, path)
        assert path.read_bytes() == whole


def test_a_token_set_of_plaudit_0_1_has_no_checksum_and_is_used(tmp_path, encoder, groups):
    path = tmp_path / "set.arrow"
    encode_to_file(groups, encoder, path)
    report = json.loads(path.with_suffix(".report.json").read_text())
    del report["arrow_file"]
    path.with_suffix(".report.json").write_text(json.dumps(report))
    assert_same(encode_to_file([], encoder, path)[300], encode_to_file(groups, encoder, tmp_path / "new.arrow")[300])


def test_an_interrupted_write_leaves_no_file(tmp_path, encoder, groups):
    def broken():
        yield from groups[:290]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode_to_file(broken(), encoder, tmp_path / "set.arrow")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_an_output_error(tmp_path, encoder, groups):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        encode_to_file(groups[:1], encoder, tmp_path / "file" / "set.arrow")


def test_an_empty_token_set_can_be_written_and_read(tmp_path, encoder):
    for _ in range(2):
        tokens = encode_to_file([], encoder, tmp_path / "set.arrow")
        assert len(tokens) == 0
        assert list(tokens) == []


def test_progress_counts_groups_read(tmp_path, encoder, groups):
    seen = []
    encode_to_file(groups, encoder, tmp_path / "set.arrow", progress=seen.append)
    assert seen[-1] == len(groups)
    assert seen == sorted(seen)


def test_a_token_set_is_read_through_the_file_and_not_held(tmp_path, encoder, groups):
    tokens = encode_to_file(groups, encoder, tmp_path / "set.arrow")
    ids = tokens[0].tree.ids
    assert not ids.flags.owndata
    assert not ids.flags.writeable
    assert isinstance(tokens, TokenSet)


def test_a_token_group_survives_pickling(tmp_path, encoder, groups):
    group = encode_to_file(groups, encoder, tmp_path / "set.arrow")[300]
    assert_same(pickle.loads(pickle.dumps(group)), group)
