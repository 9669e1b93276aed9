"""The same rows read the same from every kind of file, each with the place it stands at."""

from __future__ import annotations

import csv
import gzip
import json

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from plaudit.data.reading.files import is_hub_name, read_rows
from plaudit.errors import DataError

ROWS = [
    {"prompt": "What, now?", "chosen": 'A "quoted" one', "rejected": "two\nlines", "margin": 1.5},
    {"prompt": "Où?", "chosen": "Là.", "rejected": "123", "margin": None},
]


def write_jsonl(folder):
    path = folder / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def write_jsonl_with_byte_order_mark(folder):
    path = folder / "pairs.jsonl"
    lines = "\n\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS)
    path.write_bytes(b"\xef\xbb\xbf" + lines.encode())
    return path


def write_gzip(folder):
    path = folder / "pairs.jsonl.gz"
    path.write_bytes(gzip.compress("\r\n".join(json.dumps(row) for row in ROWS).encode()))
    return path


def write_json(folder):
    path = folder / "pairs.json"
    path.write_text(json.dumps(ROWS, indent=2))
    return path


def write_csv(folder):
    path = folder / "pairs.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(ROWS[0]))
        writer.writeheader()
        writer.writerows(ROWS)
    return path


def write_parquet(folder):
    path = folder / "pairs.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS), path)
    return path


def write_dataset(folder):
    datasets.Dataset.from_list(ROWS).save_to_disk(str(folder / "pairs"))
    return folder / "pairs"


def write_dataset_dict(folder):
    splits = {"train": datasets.Dataset.from_list(ROWS), "test": datasets.Dataset.from_list(ROWS[:1])}
    datasets.DatasetDict(splits).save_to_disk(str(folder / "pairs"))
    return folder / "pairs"


WRITERS = [
    (write_jsonl, [1, 2]),
    (write_jsonl_with_byte_order_mark, [1, 3]),
    (write_gzip, [1, 2]),
    (write_json, [1, 2]),
    (write_csv, [2, 4]),  # the first row holds a line break
    (write_parquet, [1, 2]),
    (write_dataset, [1, 2]),
    (write_dataset_dict, [1, 2]),
]


@pytest.mark.parametrize(("write", "numbers"), WRITERS)
def test_every_kind_of_file_gives_the_same_rows_and_their_numbers(write, numbers, tmp_path):
    rows = list(read_rows(write(tmp_path)))
    as_text = [{name: "" if value is None else str(value) for name, value in row.items()} for row in ROWS]
    assert [row for _, row in rows] == (as_text if write is write_csv else ROWS)
    assert [number for number, _ in rows] == numbers


@pytest.mark.parametrize(("write", "numbers"), WRITERS)
def test_every_kind_of_file_gives_the_same_groups(write, numbers, tmp_path, read):
    groups = read(write(tmp_path))
    assert [group.responses for group in groups] == [('A "quoted" one', "two\nlines"), ("Là.", "123")]
    assert [group.preferences[0].margin for group in groups] == [1.5, None]
    assert [group.id for group in groups] == [f"pairs:{number}" for number in numbers]
    assert {group.source for group in groups} == {"pairs"}


def test_a_csv_row_is_numbered_by_its_first_line(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text('prompt,label\n"two\nlines",True\nlast,\n')
    assert list(read_rows(path)) == [
        (2, {"prompt": "two\nlines", "label": "True"}),
        (4, {"prompt": "last", "label": ""}),
    ]


def test_a_csv_cell_may_be_longer_than_the_usual_limit(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("prompt\n" + "x" * 200_000 + "\n")
    ((_, row),) = read_rows(path)
    assert len(row["prompt"]) == 200_000


def test_a_split_is_chosen_by_name(tmp_path, read):
    folder = write_dataset_dict(tmp_path)
    assert len(read(folder, split="test")) == 1
    with pytest.raises(DataError, match="there is no split 'dev'; it has: train, test"):
        read(folder, split="dev")


def test_conversations_in_parquet_read_as_messages(tmp_path, read):
    row = {
        "chosen": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes."}],
        "rejected": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "No."}],
    }
    path = tmp_path / "chat.parquet"
    pq.write_table(pa.Table.from_pylist([row]), path)
    (group,) = read(path)
    assert group.responses == ("Yes.", "No.")


def test_rows_of_the_hub_are_streamed_and_cached_by_commit(read, monkeypatch):
    calls = []
    commit = ["one"]

    def load(name, *, split, streaming):
        calls.append((name, split, streaming))
        return iter(ROWS)

    monkeypatch.setattr(datasets, "load_dataset", load)
    monkeypatch.setattr("plaudit.data.reading.cache.hub_commit", lambda name: commit[0])
    assert len(read("owner/name", split="test")) == 2
    assert read("owner/name", split="test")[0].id == "name:1"
    assert calls == [("owner/name", "test", True)]
    commit[0] = "two"
    read("owner/name", split="test")
    assert len(calls) == 2


def test_a_folder_here_comes_before_a_name_on_the_hub(tmp_path, monkeypatch):
    (tmp_path / "owner" / "name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert not is_hub_name("owner/name")
    assert is_hub_name("owner/other-name.v2")
    assert not is_hub_name("a/b/c")
