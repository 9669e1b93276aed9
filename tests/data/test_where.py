"""Rows that a config does not want are left out by a column's value, counted, and never guessed."""

from __future__ import annotations

import pytest

from plaudit.data.reading.options import DataFile
from plaudit.data.reading.read import place_of
from plaudit.errors import DataError
from plaudit.training.config import DataSection
from plaudit.training.prepare import prepare_groups


def row(n, part, **more):
    return {"prompt": f"q{n}", "chosen": "yes", "rejected": "no", "split": part, **more}


def test_rows_of_another_value_are_left_out_and_counted(read, write_rows):
    path = write_rows([row(0, "train"), row(1, "val"), row(2, "train")])
    groups = read(path, where={"split": "train"})
    assert [group.prompt[0].content for group in groups] == ["q0", "q2"]
    assert groups.report.dropped == {"split is not 'train'": 1}
    assert groups.report.rows == 3


def test_true_is_not_one(read, write_rows):
    path = write_rows([row(0, "a", flag=True), row(1, "a", flag=1)])
    assert len(read(path, where={"flag": True})) == 1
    assert len(read(path, where={"flag": 1})) == 1


def test_a_column_that_is_not_there_is_an_error(read, write_rows):
    path = write_rows([row(0, "train")])
    with pytest.raises(DataError, match=r"rows.jsonl:1: part is missing; where asks for it, and the row has: prompt"):
        read(path, where={"part": "train"})
    assert (
        len(
            read(
                write_rows([row(0, "x"), {"prompt": "q", "chosen": "a", "rejected": "b"}], "mixed.jsonl"),
                where={"split": "x"},
                on_error="skip",
            )
        )
        == 1
    )


def test_rows_of_a_prompt_join_across_unwanted_ones(read, write_rows):
    rows = [{"prompt": "q", "response": f"r{n}", "label": n % 2 == 0, "split": "ab"[n % 2]} for n in range(4)]
    (group,) = read(write_rows(rows), where={"split": "a"}, group_by_prompt=True)
    assert group.responses == ("r0", "r2")


def test_a_revision_is_of_the_hub_and_comes_before_that_of_the_catalogue(write_rows):
    assert place_of("webgpt_comparisons").revision == "refs/convert/parquet"
    assert place_of("webgpt_comparisons", revision="main").revision == "main"
    assert place_of("someone/thing", revision="abc").revision == "abc"
    with pytest.raises(DataError, match="revision are of data sets on the hub"):
        place_of(str(write_rows([row(0, "a")])), revision="main")


def test_files_of_one_name_need_a_source_each_where_they_are_held_out(tmp_path, write_rows):
    for part in ("a", "b"):
        write_rows([row(n, part) for n in range(20)], f"{part}/rows.jsonl")
    files = tuple(DataFile(path=str(tmp_path / part / "rows.jsonl")) for part in ("a", "b"))
    with pytest.raises(DataError, match=r"two held-out groups have the id 'rows:\d+'; .*a source each"):
        prepare_groups(DataSection(train=files, held_out_share=0.5), tmp_path / "cache")
    named = tuple(file.model_copy(update={"source": part}) for file, part in zip(files, "ab", strict=True))
    train, held_out = prepare_groups(DataSection(train=named, held_out_share=0.5), tmp_path / "cache")
    assert len({group.id for groups in (train, held_out) for group in groups}) == 40


def test_one_file_has_no_splits(read, write_rows):
    with pytest.raises(DataError, match="split is 'test', but this is one file"):
        read(write_rows([row(0, "a")]), split="test")
