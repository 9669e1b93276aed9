"""Reading: order, ids, sources, counts, limits, the cache."""

from __future__ import annotations

import json
import os

import pytest

from plaudit.data.reading import read as reading
from plaudit.data.reading.write import write_groups
from plaudit.data.schema.group import Group, Message
from plaudit.errors import DataError, OutputError


def pair(number, **fields):
    return {"prompt": f"Q{number}", "chosen": f"yes {number}", "rejected": f"no {number}", **fields}


def ids(groups):
    return [group.id for group in groups]


def test_groups_come_in_the_order_of_the_lines_with_their_line_in_the_id(write_rows, read):
    groups = read(write_rows([pair(0), pair(1), pair(2, id="own"), pair(3, id=17)]))
    assert ids(groups) == ["rows:1", "rows:2", "own", "17"]
    assert [group.prompt[0].content for group in groups] == ["Q0", "Q1", "Q2", "Q3"]


def test_the_source_is_the_argument_else_that_of_the_row_else_the_file(write_rows, read):
    path = write_rows([pair(0), pair(1, source="web")])
    assert [group.source for group in read(path)] == ["rows", "web"]
    assert [group.source for group in read(path, source="mine")] == ["mine", "mine"]
    assert ids(read(path, source="mine")) == ["mine:1", "mine:2"]


def test_several_files_are_read_one_after_the_other(write_rows, read):
    paths = [write_rows([pair(0)], "a.jsonl"), write_rows([pair(1), pair(2)], "b.jsonl")]
    groups = read(paths)
    assert ids(groups) == ["a:1", "b:1", "b:2"]
    assert groups.report.path == f"{paths[0]}, {paths[1]}"
    assert groups.report.rows == 3


def test_files_of_one_name_still_give_different_ids(write_rows, read):
    paths = [write_rows([pair(0)], "x/train.jsonl"), write_rows([pair(0)], "y/train.jsonl")]
    assert ids(read(paths)) == ["train/1:1", "train/2:1"]
    assert ids(read(paths, source="s")) == ["s/1:1", "s/2:1"]


def test_an_id_may_not_come_twice_in_several_files(write_rows, read):
    paths = [write_rows([pair(0, id="a")], "x.jsonl"), write_rows([pair(1, id="a")], "y.jsonl")]
    with pytest.raises(ValueError, match=r"y\.jsonl:1: id 'a' is already that of .*x\.jsonl:1"):
        read(paths)


def test_unusable_rows_are_counted_with_examples_even_when_errors_are_raised(write_rows, read):
    same = {**pair(1), "rejected": "yes 1"}
    path = write_rows([pair(0), same, pair(2), same])
    report = read(path).report
    assert (report.rows, report.groups, report.dropped) == (4, 2, {"chosen equals rejected": 2})
    assert report.examples["chosen equals rejected"] == (
        f"{path}:2: chosen equals rejected",
        f"{path}:4: chosen equals rejected",
    )
    assert "dropped  2  chosen equals rejected" in report.table()


def test_the_report_says_which_format_was_taken_and_which_fields_were_not(write_rows, read):
    report = read(write_rows([pair(0, margn=1.0), pair(1, note="x")])).report
    assert (report.format, report.detected) == ("trl", True)
    assert report.ignored_fields == ("margn", "note")
    assert "trl (detected)" in report.table()
    assert not read(write_rows([pair(0)]), format="trl").report.detected


def test_only_the_first_examples_of_a_reason_are_kept(write_rows, read):
    path = write_rows([pair(0), *["{" for _ in range(9)]])
    report = read(path, on_error="skip").report
    assert report.dropped == {"malformed JSON": 9}
    assert len(report.examples["malformed JSON"]) == 5


def test_a_limit_counts_groups_and_the_rows_it_took(write_rows, read):
    same = {**pair(1), "rejected": "yes 1"}
    path = write_rows([same, pair(0), same, pair(2), same, pair(3)])
    report = read(path, limit=2).report
    # Lines 1 to 4 were needed for two groups; of these, 1 and 3 were unusable.
    assert (report.rows, report.groups, report.dropped) == (4, 2, {"chosen equals rejected": 2})


def test_a_bad_row_after_the_limit_is_not_reached(write_rows, read):
    path = write_rows([pair(0), "{", pair(2)])
    assert len(read(path, limit=1)) == 1


def test_blocks_do_not_show(write_rows, read, monkeypatch):
    rows = [pair(number) if number % 5 else "{" for number in range(53)]
    path = write_rows(rows, "a.jsonl")
    whole = read(path, on_error="skip", format="trl")
    monkeypatch.setattr(reading, "BLOCK_ROWS", 7)
    other = path.parent / "b"
    other.mkdir()
    again = reading.read_groups(path, cache_dir=other, on_error="skip", format="trl")
    assert again.report == whole.report
    assert list(again) == list(whole)
    assert again.fingerprint == whole.fingerprint


@pytest.mark.slow
def test_two_processes_read_what_one_reads(write_rows, read, tmp_path):
    path = write_rows([pair(number) if number % 100 else "{" for number in range(5000)])
    one = read(path, on_error="skip", format="trl")
    two = reading.read_groups(path, cache_dir=tmp_path / "two", on_error="skip", format="trl", num_proc=2)
    assert (two.report, two.fingerprint) == (one.report, one.fingerprint)


def test_the_first_row_that_can_be_read_decides_the_format(write_rows, read):
    groups = read(write_rows(["{", pair(0)]), on_error="skip")
    assert (groups.report.format, len(groups)) == ("trl", 1)


def test_a_file_that_shows_no_format_is_an_error_even_when_rows_may_be_skipped(write_rows, read):
    path = write_rows([{"a": 1}, {"a": 2}])
    with pytest.raises(DataError, match=r"rows\.jsonl:1: format cannot be told from the fields a"):
        read(path, on_error="skip")


def test_long_rows_are_read_in_smaller_blocks(write_rows, read, monkeypatch):
    sizes = []
    convert = reading.convert
    monkeypatch.setattr(reading, "BLOCK_BYTES", 250)
    monkeypatch.setattr(reading, "convert", lambda block: sizes.append(len(block.rows)) or convert(block))
    rows = [pair(number, chosen="x" * 100) for number in range(5)]
    assert len(read(write_rows(rows))) == 5
    # A line has about 150 characters, so two of them reach 250.
    assert sizes == [2, 2, 1]


def test_steps_are_joined_by_the_separator_asked_for(write_rows, read):
    path = write_rows([{"prompt": "Q", "steps": ["a", "b"], "labels": [1, 0]}])
    assert read(path)[0].responses == ("a\nb",)
    assert read(path, step_separator="|")[0].responses == ("a|b",)


def test_a_second_reading_does_not_touch_the_rows(write_rows, read, monkeypatch):
    path = write_rows([pair(0), pair(1)])
    first = read(path)

    def fail(*arguments):
        raise AssertionError("the file was read again")

    monkeypatch.setattr(reading, "rows_of", fail)
    second = read(path)
    assert (list(second), second.report, second.fingerprint) == (list(first), first.report, first.fingerprint)


def test_a_changed_file_or_option_is_read_again(write_rows, read):
    path = write_rows([pair(0)])
    assert len(read(path)) == 1
    write_rows([pair(0), pair(1)])
    assert len(read(path)) == 2
    os.utime(path, ns=(1, 1))
    assert len(read(path)) == 2
    assert len(read(path, limit=1)) == 1


def test_an_interrupted_reading_leaves_nothing_behind(write_rows, read, tmp_path, monkeypatch):
    path = write_rows([pair(number) for number in range(30)])
    monkeypatch.setattr(reading, "BLOCK_ROWS", 10)
    convert = reading.convert

    def interrupted(block):
        if block.rows[0][0] > 20:
            raise KeyboardInterrupt
        return convert(block)

    monkeypatch.setattr(reading, "convert", interrupted)
    with pytest.raises(KeyboardInterrupt):
        read(path)
    assert list((tmp_path / "cache").iterdir()) == []
    monkeypatch.setattr(reading, "convert", convert)
    assert len(read(path)) == 30


def test_a_cache_file_of_the_wrong_size_is_made_again(write_rows, read, tmp_path):
    path = write_rows([pair(0), pair(1)])
    read(path)
    (arrow,) = (tmp_path / "cache").glob("*/groups.arrow")
    arrow.write_bytes(arrow.read_bytes()[:100])
    assert len(read(path)) == 2


def test_a_file_without_one_usable_row_gives_an_empty_set(write_rows, read):
    groups = read(write_rows([{**pair(0), "rejected": "yes 0"}]))
    assert (len(groups), list(groups), groups.report.rows) == (0, [], 1)


GROUPS = [Group((Message("user", f"Q{n}é"),), ("a\u2028b", "c"), id=str(n), source="s") for n in range(3)]


@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.gz"])
def test_written_groups_read_back_equal_and_write_the_same_bytes(name, tmp_path, read):
    path = tmp_path / name
    assert write_groups(path, iter(GROUPS)) == 3
    groups = read(path)
    assert groups.report.format == "groups"
    assert list(groups) == GROUPS
    first = path.read_bytes()
    write_groups(path, groups)
    assert path.read_bytes() == first


def test_an_interrupted_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "out.jsonl"
    path.write_text("old\n")

    def failing():
        yield GROUPS[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_groups(path, failing())
    assert path.read_text() == "old\n"
    assert list(tmp_path.iterdir()) == [path]


def test_groups_are_written_to_json_lines_only(tmp_path):
    with pytest.raises(OutputError, match=r"groups are written to \.jsonl or \.jsonl\.gz"):
        write_groups(tmp_path / "out.csv", GROUPS)


def test_a_cache_that_cannot_be_made_is_named(write_rows, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(OutputError, match=r"cannot write .*file/cache"):
        reading.read_groups(write_rows([pair(0)]), cache_dir=blocked / "cache")


def test_a_report_is_plain_json(write_rows, read):
    report = read(write_rows([pair(0)])).report
    assert json.loads(report.model_dump_json())["groups"] == 1
